//! Everything that is wrong now, each with the command that mends it.

use crate::model::health::DAEMON;
use crate::store::{self, StoreError};

use super::App;
use super::refused::Refused;
use super::view::StatusView;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stays the same while the same thing is wrong.
    pub id: String,
    pub grave: Grave,
    pub subject: String,
    pub text: String,
    pub since_ms: Option<i64>,
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grave {
    Critical,
    Warning,
    Info,
}

impl App {
    /// What is wrong beside what the checks of the health say, the gravest first.
    ///
    /// # Errors
    /// Only what the database says.
    pub(super) async fn troubles(&self, status: &StatusView) -> Result<Vec<Finding>, Refused> {
        let mut findings = Vec::new();
        self.hung(&mut findings).await;
        self.misled(&mut findings).await;
        self.database(&mut findings);
        self.failing(status, &mut findings);
        self.files(&mut findings);
        self.held(status, &mut findings);
        self.slots(&mut findings).await?;
        self.agents_off(&mut findings).await?;
        self.behind(&mut findings);
        self.unheard(&mut findings).await?;
        self.unanswered(&mut findings);
        self.needed(&mut findings).await?;
        findings.sort_by_key(|finding| finding.grave);
        Ok(findings)
    }

    async fn hung(&self, findings: &mut Vec<Finding>) {
        if self.shutdown.token.is_cancelled() {
            return;
        }
        if let Err(why) = super::service::check(self).await {
            findings.push(Finding {
                id: DAEMON.into(),
                grave: Grave::Critical,
                subject: "daemon".into(),
                text: why,
                since_ms: None,
                fix: Some(self.config.placement.replace(std::process::id())),
            });
        }
    }

    /// Nothing is broken, but somebody is waited for.
    async fn needed(&self, findings: &mut Vec<Finding>) -> Result<(), Refused> {
        if let Some((count, oldest, since_ms)) = self.tickets.needing_a_person().await? {
            let text = match count {
                1 => format!("{oldest} waits for a person"),
                n => format!("{n} tickets wait for a person, {oldest} the longest"),
            };
            findings.push(Finding {
                id: "tickets:needs_input".into(),
                grave: Grave::Info,
                subject: "tickets".into(),
                text,
                since_ms: Some(since_ms),
                fix: Some("lucid tickets --state needs_input".into()),
            });
        }
        Ok(())
    }

    fn database(&self, findings: &mut Vec<Finding>) {
        let notices = self.store_notices.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        for (at_ms, notice) in notices {
            let (id, grave, fix) = match notice {
                store::Notice::Restored { .. } => ("restored", Grave::Critical, "lucid runs"),
                store::Notice::CommitsLost { .. } => ("commits_lost", Grave::Critical, "lucid runs"),
                store::Notice::DiskFull { .. } => ("disk_full", Grave::Critical, "df -h"),
                store::Notice::NoBallast { .. } => ("no_ballast", Grave::Warning, "df -h"),
                store::Notice::DoubtfulFilesystem { .. } => {
                    ("filesystem", Grave::Warning, "lucid config --effective")
                }
                store::Notice::Migrated { .. } => continue,
            };
            findings.retain(|finding| finding.id != format!("database:{id}"));
            findings.push(Finding {
                id: format!("database:{id}"),
                grave,
                subject: "database".into(),
                text: notice.to_string(),
                since_ms: Some(at_ms),
                fix: Some(fix.into()),
            });
        }
    }

    fn failing(&self, status: &StatusView, findings: &mut Vec<Finding>) {
        for failing in &status.failing {
            let view = &failing.view;
            let Some(last) = view.last_ended() else { continue };
            findings.push(Finding {
                id: format!("task:{}", view.id),
                grave: Grave::Warning,
                subject: view.id.to_string(),
                text: format!("{} in a row; {}", failed_runs(failing.runs), super::why::sentence(last)),
                since_ms: failing.since_ms,
                fix: Some(format!("lucid logs {}", last.id.0)),
            });
        }
    }

    fn files(&self, findings: &mut Vec<Finding>) {
        let snapshot = self.snapshot();
        for diagnostic in snapshot.errors() {
            let place = diagnostic.file.display();
            findings.push(Finding {
                id: format!("file:{place}:{}", diagnostic.code),
                grave: Grave::Warning,
                subject: place.to_string(),
                text: format!("{}: {}", diagnostic.code, diagnostic.message),
                since_ms: None,
                fix: Some("lucid check".into()),
            });
        }
    }

    fn held(&self, status: &StatusView, findings: &mut Vec<Finding>) {
        if self.runs.gates().draining {
            findings.push(Finding {
                id: "daemon:draining".into(),
                grave: Grave::Info,
                subject: "daemon".into(),
                text: "draining: nothing new is started".into(),
                since_ms: None,
                fix: Some("lucid undrain".into()),
            });
        }
        if let Some(pause) = &status.paused_all {
            findings.push(Finding {
                id: "daemon:paused".into(),
                grave: Grave::Info,
                subject: "daemon".into(),
                text: format!("the whole schedule is paused by {}", pause.actor),
                since_ms: Some(pause.at_ms),
                fix: Some("lucid resume --all".into()),
            });
        }
    }

    /// From the leases alone: git is asked by `lucid pool`, not by every look at what is wrong.
    async fn slots(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        for slot in self.pools.quarantined().await? {
            findings.push(Finding {
                id: format!("slot:{}", slot.id),
                grave: Grave::Warning,
                subject: slot.id.clone(),
                text: format!(
                    "the slot is in quarantine: {}",
                    slot.note.as_deref().unwrap_or("no reason noted")
                ),
                since_ms: Some(slot.since_ms),
                fix: Some(format!("lucid pool heal {}", slot.id)),
            });
        }
        Ok(())
    }

    /// Whatever is meant for them waits, and nothing but a person ends that.
    async fn agents_off(&self, findings: &mut Vec<Finding>) -> Result<(), Refused> {
        for (agent, reason, since_ms) in self.dispatch.disabled().await? {
            findings.push(Finding {
                id: format!("agent_disabled:{agent}"),
                grave: Grave::Warning,
                subject: format!("agent {agent}"),
                text: format!("it is disabled and gets no work: {reason}"),
                since_ms: Some(since_ms),
                fix: Some(format!("lucid agents enable {agent}")),
            });
        }
        Ok(())
    }

    /// Work goes on from an old base, which nobody would see otherwise.
    fn behind(&self, findings: &mut Vec<Finding>) {
        findings.extend(self.pools.behind().into_iter().map(|behind| Finding {
            id: format!("remote:{}", behind.pool),
            grave: Grave::Warning,
            subject: format!("pool {}", behind.pool),
            text: behind.why,
            since_ms: Some(behind.since_ms),
            fix: Some(behind.fix),
        }));
    }
}

fn failed_runs(count: u32) -> String {
    if count == 1 { "1 failed run".to_owned() } else { format!("{count} failed runs") }
}
