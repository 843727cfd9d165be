//! How well the daemon finds itself and its box: what was seen from outside, what it sees itself, and what of
//! it is written down and told.

use std::time::{Duration, SystemTime};

use crate::health::standing::{self, Standing};
use crate::health::token::{self, TokenReport};
use crate::health::{look, table, verdict};
use crate::model::health::{Check, DAEMON, HealthState, TEXT_MAX_CHARS, one_line, worst};
use crate::model::time::millis;
use crate::run::RunError;
use crate::store::StoreError;

use super::problems::{Finding, Grave};
use super::refused::{Refused, RefusedKind};
use super::{App, StatusView};

/// The action whose runs look from outside.
pub const HEARTBEAT: &str = "heartbeat";
/// The action that looks after logins.
pub const TOKEN_HEALTH: &str = "token-health";

/// What was seen from outside longer ago than this says nothing of now.
const OUTSIDE_MAX_AGE: Duration = Duration::from_secs(3600);
/// A second look by the settings in force is given up after this, before the heartbeat gives up.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(15);
/// Checks that one report may bring.
const REPORT_MAX: usize = 200;
/// Locks that are named.
const LOCKS_NAMED_MAX: usize = 5;

/// The health as it is shown.
#[derive(Debug, Clone)]
pub struct HealthView {
    /// The worst of the checks.
    pub state: HealthState,
    /// Since when, as far as a heartbeat has seen it; milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// The last heartbeat.
    pub at_ms: Option<i64>,
    pub checks: Vec<Check>,
    /// What is wrong, the gravest first: of the checks, and everything else that is a problem.
    pub findings: Vec<Finding>,
}

impl App {
    /// The health now. What only a heartbeat sees is as the last one saw it, if that is not long ago.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn health(&self, status: &StatusView) -> Result<HealthView, Refused> {
        let standing = self.standing().await?;
        let now_ms = self.clock.wall_ms();
        let fresh = standing.as_ref().filter(|standing| now_ms - standing.at_ms < millis(OUTSIDE_MAX_AGE));
        let outside = fresh.map(|standing| standing.outside.clone()).unwrap_or_default();
        self.view(status, outside, standing.as_ref()).await
    }

    /// The health now, everything looked at anew. Writes nothing down.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn look_at_health(&self, status: &StatusView) -> Result<HealthView, Refused> {
        let outside = self.look_outside().await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        let standing = self.standing().await?;
        self.view(status, outside, standing.as_ref()).await
    }

    /// What a heartbeat sees, by the settings that are in force.
    async fn look_outside(&self) -> Result<Vec<Check>, tokio::task::JoinError> {
        let app = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let begun = app.clock.boot();
            let mut checks = look::outside(&app.config, &app.runs.site.exe, app.clock);
            let took = app.clock.boot().saturating_sub(begun);
            tracing::debug!(?took, checks = checks.len(), "looked at the health from outside");
            // Whoever reads this has its answer.
            checks.push(verdict::api(Ok(Duration::ZERO), app.config.placement.restart()));
            checks
        });
        looked.await
    }

    /// A heartbeat reads the settings as they are now. Where they wait for a restart it has measured by others
    /// than everything else here, so that what it saw is looked at again.
    async fn by_own_settings(&self, seen: Vec<Check>) -> Vec<Check> {
        if !self.measures_otherwise().await {
            return seen;
        }
        match tokio::time::timeout(LOOK_AGAIN_MAX, self.look_outside()).await {
            Ok(Ok(own)) => own,
            Ok(Err(_)) | Err(_) => seen,
        }
    }

    /// Takes what a heartbeat has seen from outside, adds what only the daemon sees, writes down how that
    /// stands and tells the journal what has changed. Stale locks in slots are removed on the way.
    ///
    /// # Errors
    /// [`Refused`] for checks that are none of a heartbeat's, and what the database says.
    pub async fn report_health(&self, outside: Vec<Check>) -> Result<HealthView, Refused> {
        let outside = self.by_own_settings(admitted(outside)?).await;
        let locks = self.sweep_locks().await?;
        let status = self.status().await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        let mut beaten = self.standing().await?.unwrap_or_default();
        beaten.at_ms = self.clock.wall_ms();
        let mut view = self.view(&status, outside.clone(), Some(&beaten)).await?;
        view.checks.extend(locks);
        let (journal, host, now_ms) = (self.journal.clone(), self.host.clone(), self.clock.wall_ms());
        let checks = view.checks.clone();
        let after = self
            .store
            .write(move |tx| -> Result<Standing, RunError> {
                let before = table::standing(tx)?;
                let look = standing::Look { checks: &checks, outside: &outside, host: &host, now_ms };
                let (after, events) = standing::next(before.as_ref(), look);
                table::set_standing(tx, &after)?;
                for event in events {
                    journal.record(tx, now_ms, event.actor(HEARTBEAT))?;
                }
                Ok(after)
            })
            .await?;
        (view.since_ms, view.at_ms) = (Some(after.since_ms), Some(after.at_ms));
        Ok(view)
    }

    async fn standing(&self) -> Result<Option<Standing>, StoreError> {
        self.store.read(|conn| Ok::<_, StoreError>(table::standing(conn)?)).await
    }

    async fn view(
        &self,
        status: &StatusView,
        outside: Vec<Check>,
        standing: Option<&Standing>,
    ) -> Result<HealthView, Refused> {
        let mut own = outside;
        own.extend(self.inside(standing).await?);
        let mut findings = self.troubles(status).await?;
        // What is known of its cause is told, and not that it shows as well.
        own.retain(|check| !findings.iter().any(|finding| finding.id == check.id));
        let mut checks = own.clone();
        if !findings.iter().any(|finding| finding.id == DAEMON) {
            let well = "the scheduler ticks and the database takes writes";
            checks.insert(0, Check::new(DAEMON, HealthState::Healthy, well));
        }
        checks.extend(findings.iter().map(check));
        findings.extend(own.iter().filter_map(finding));
        findings.sort_by_key(|finding| finding.grave);
        let state = worst(&checks);
        let since_ms = standing.filter(|standing| standing.state == state).map(|standing| standing.since_ms);
        Ok(HealthView { state, since_ms, at_ms: standing.map(|standing| standing.at_ms), checks, findings })
    }

    /// What only the daemon can see.
    async fn inside(&self, standing: Option<&Standing>) -> Result<Vec<Check>, StoreError> {
        let rules = self.config.health.clone();
        let now_ms = self.clock.wall_ms();
        let since_ms = now_ms - millis(rules.failed_runs_window);
        let logins = self.config.token_checks.clone();
        let mut checks = self
            .store
            .read(move |conn| {
                let failed = table::failed_since(conn, since_ms)?;
                let mut checks =
                    vec![verdict::failed_runs(&failed, rules.failed_runs_critical, rules.failed_runs_window)];
                for login in &logins {
                    let Some(row) = table::token(conn, &login.name)? else { continue };
                    let report = TokenReport {
                        name: login.name.clone(),
                        state: row.state,
                        detail: row.detail,
                        looked_at: None,
                    };
                    checks.push(token::check(&report, login.portal.as_deref()));
                }
                Ok::<_, StoreError>(checks)
            })
            .await?;
        if self.has_heartbeat() {
            let last_ms = standing.map_or(0, |standing| standing.at_ms).max(self.started.as_millisecond());
            checks.push(verdict::heartbeat(last_ms, now_ms, OUTSIDE_MAX_AGE));
        }
        Ok(checks)
    }

    /// Whether a task is to look from outside by itself.
    fn has_heartbeat(&self) -> bool {
        self.snapshot().doing(HEARTBEAT).any(|(_, entry)| entry.enabled)
    }

    async fn sweep_locks(&self) -> Result<Option<Check>, Refused> {
        if self.pools.names().next().is_none() {
            return Ok(None);
        }
        let now_ms = u64::try_from(self.clock.wall_ms()).unwrap_or(0);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
        let before = now.checked_sub(self.config.health.lock_max_age).unwrap_or(SystemTime::UNIX_EPOCH);
        let removed = match self.pools.remove_stale_locks(before).await {
            Ok(removed) => removed,
            Err(e) => {
                let detail = format!("stale locks of git could not be looked for: {e}");
                return Ok(Some(Check::new("locks", HealthState::Degraded, &detail).hint("lucid pool")));
            }
        };
        let named =
            removed.iter().take(LOCKS_NAMED_MAX).map(|stale| format!("{} in {}", stale.lock, stale.slot));
        let detail = match removed.len() {
            0 => "no stale lock of git in a slot".to_owned(),
            n => {
                let noun = if n == 1 { "lock" } else { "locks" };
                format!("removed {n} stale {noun} of git: {}", named.collect::<Vec<_>>().join(", "))
            }
        };
        if !removed.is_empty() {
            tracing::warn!(detail, "a process that held them has died");
        }
        Ok(Some(Check::new("locks", HealthState::Healthy, &detail).value(removed.len().to_string())))
    }
}

/// Only what is seen from outside, and not too much of it.
fn admitted(mut checks: Vec<Check>) -> Result<Vec<Check>, Refused> {
    let invalid = |message: String| {
        let help =
            "a heartbeat reports disk:…, agent:…, backup and api; everything else the daemon sees itself";
        Refused::new(RefusedKind::Invalid, "invalid_check", message, help)
    };
    if checks.len() > REPORT_MAX {
        return Err(invalid(format!("{} checks are more than {REPORT_MAX}", checks.len())));
    }
    for check in &mut checks {
        if !look::is_outside(&check.id) || check.id.len() > TEXT_MAX_CHARS {
            return Err(invalid(format!("`{}` is no check of a heartbeat", one_line(&check.id))));
        }
        check.detail = one_line(&check.detail);
        for text in [&mut check.value, &mut check.warn_at, &mut check.critical_at, &mut check.hint] {
            *text = text.as_deref().map(one_line);
        }
    }
    Ok(checks)
}

fn check(finding: &Finding) -> Check {
    let state = match finding.grave {
        Grave::Critical => HealthState::Critical,
        Grave::Warning => HealthState::Degraded,
        Grave::Info => HealthState::Healthy,
    };
    // A check stands alone: what it is about is in its text.
    let is_of_one = ["task:", "slot:", "file:"].iter().any(|kind| finding.id.starts_with(kind));
    let text =
        if is_of_one { format!("{}: {}", finding.subject, finding.text) } else { finding.text.clone() };
    let mut check = Check::new(finding.id.clone(), state, &text);
    check.hint.clone_from(&finding.fix);
    check
}

fn finding(check: &Check) -> Option<Finding> {
    let grave = match check.state {
        HealthState::Healthy => return None,
        HealthState::Degraded => Grave::Warning,
        HealthState::Critical => Grave::Critical,
    };
    // `disk /`, `agent claude`, `failed runs`: a name that no other has.
    let subject = check.id.replacen(':', " ", 1).replace('_', " ");
    Some(Finding {
        id: check.id.clone(),
        grave,
        subject,
        text: check.detail.clone(),
        since_ms: None,
        fix: check.hint.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_reports_what_is_its_own_on_one_line_each() {
        let good =
            Check { hint: Some("a\nb".to_owned()), ..Check::new("disk:/", HealthState::Critical, "x") };
        let mut hostile = good.clone();
        hostile.detail = format!("\u{1b}[2J{}", "y".repeat(200_000));
        let taken = admitted(vec![good.clone(), hostile]).unwrap();
        assert_eq!(taken[0].hint.as_deref(), Some("a b"));
        assert!(taken[1].detail.starts_with("\\x1b[2Jyy") && taken[1].detail.len() < 400);
        let named = |id: &str| Check { id: id.to_owned(), ..good.clone() };
        for id in ["failed_runs", "token:mail", "task:x", "", "disk", &format!("disk:{}", "x".repeat(500))] {
            assert_eq!(admitted(vec![named(id)]).unwrap_err().kind, RefusedKind::Invalid, "{id}");
        }
        assert!(admitted(vec![good; REPORT_MAX + 1]).is_err());
    }
}
