//! The built-in actions as the daemon carries them out: which task switches dispatch, what a brief is made of,
//! what the syncs came to.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::Path;

use tracing::warn;

use crate::model::condition::{Condition, Mark};
use crate::model::ids::{RunId, TaskId};
use crate::model::task::Severity;
use crate::model::ticket::TicketState;
use crate::model::time::millis;
use crate::ops::brief::{self, Facts, Failing, Money, Need, Runs};
use crate::ops::janitor::learnings;
use crate::ops::watchdog::Switch;
use crate::ops::{self, OpsError, Report};
use crate::platform::{filesystem, glimpse};
use crate::store::StoreError;
use crate::ticket::board::Query;

use super::App;
use super::problems::Grave;
use super::refused::{Refused, RefusedKind};

/// Begins the key of what is said of a sync.
pub(super) const SYNC: &str = "sync:";
/// Tickets that a brief looks at.
const TICKETS_MAX: u32 = 10_000;

/// What became of one sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncResult {
    pub name: String,
    /// What it did, or why it did nothing.
    pub outcome: Result<String, String>,
}

impl App {
    /// Carries out one of [`ops::UPKEEP`].
    ///
    /// # Errors
    /// [`Refused`] when there is no such action, or the database does not answer.
    pub async fn upkeep(&self, action: &str) -> Result<Report, Refused> {
        Ok(match action {
            ops::JANITOR => self.ops.janitor().await?,
            ops::QUEUE_REAPER => self.ops.reap_queue().await?,
            ops::PICKUP_WATCHDOG => {
                let switch = self.switch().await?;
                self.ops.watch_pickup(switch).await?
            }
            ops::POOL_HEALTH => self.ops.look_after_slots().await?,
            other => {
                return Err(Refused::new(
                    RefusedKind::NotFound,
                    "no_such_action",
                    format!("there is no action `{other}` to be carried out by the daemon"),
                    format!("one of {}", ops::UPKEEP.join(", ")),
                ));
            }
        })
    }

    /// How the task stands that switches dispatch on.
    async fn switch(&self) -> Result<Switch, Refused> {
        let Some(task) = self.pickup_task() else { return Ok(self.broken_switch()) };
        let Some(view) = self.task(&task).await? else { return Ok(Switch::None) };
        if !view.entry.enabled {
            return Ok(Switch::Disabled(task));
        }
        if let Some(pause) = view.pause {
            return Ok(Switch::Paused { task, by: pause.actor });
        }
        if self.runs.gates().draining {
            return Ok(Switch::Draining(task));
        }
        Ok(Switch::On(task))
    }

    /// A file of that name that cannot be read is the likeliest to have been meant.
    fn broken_switch(&self) -> Switch {
        let snapshot = self.snapshot();
        let mut broken = snapshot.iter().filter(|(_, entry)| entry.definition.is_none());
        let meant = broken.find(|(id, _)| id.as_str() == super::dispatch::TICKET_PICKUP);
        meant.map_or(Switch::None, |(id, _)| Switch::Broken(id.clone()))
    }

    /// A brief; `asker` is the run that asks for it, so that it begins where that task's last one ended.
    ///
    /// # Errors
    /// What the database says.
    pub async fn brief(
        &self,
        kind: brief::Kind,
        asker: Option<(TaskId, RunId)>,
    ) -> Result<(Facts, String), Refused> {
        let now = self.clock.wall();
        let now_ms = now.as_millisecond();
        let reach_ms = millis(kind.reach());
        let week_ms = millis(brief::Kind::Weekly.reach());
        let counted = self
            .store
            .read(move |conn| {
                let last = match &asker {
                    Some((task, run)) => brief::table::last_ok(conn, task.as_str(), run.0)?,
                    None => None,
                };
                // Over a weekend it is a long night; never a month.
                let since_ms = last.filter(|last| now_ms - last <= week_ms).unwrap_or(now_ms - reach_ms);
                let runs = brief::table::runs(conn, since_ms)?;
                let costs = brief::table::costs(conn, since_ms)?;
                Ok::<_, StoreError>((since_ms, runs, brief::table::tickets(conn, since_ms)?, costs))
            })
            .await?;
        let (since_ms, runs, (done, closed, created), costs) = counted;
        let status = self.status().await?;
        let findings = self.troubles(&status).await?;
        let failing: Vec<Failing> = status
            .failing
            .iter()
            .map(|failing| Failing {
                task: failing.view.id.to_string(),
                how: failing.view.last_ended().map_or_else(String::new, super::why::sentence),
                runs: failing.runs as usize,
                since_ms: failing.since_ms,
            })
            .collect();
        let counts = self.by_state().await?;
        let facts = Facts {
            kind,
            host: self.host.clone(),
            now: now.to_zoned(self.config.zone.tz().clone()),
            health: health(findings.iter().map(|finding| finding.grave)),
            since_ms,
            needs_you: self.needs_you().await?,
            in_review: counts.get(&TicketState::Review.name()).copied().unwrap_or(0),
            waiting: counts.get(&TicketState::Waiting.name()).copied().unwrap_or(0),
            todo: counts.get(&TicketState::Todo.name()).copied().unwrap_or(0),
            standing: self.journal.standing("").await?.into_iter().map(|standing| standing.title).collect(),
            runs: Runs::of(&runs, &failing),
            failing,
            done,
            closed,
            created,
            money: Money::of(&costs),
            disk_free: self.disk_free().await,
            backup: self.newest_backup().await,
            janitor: self.learned(since_ms).await,
        };
        let text = brief::text(&facts);
        Ok((facts, text))
    }

    async fn needs_you(&self) -> Result<Vec<Need>, Refused> {
        let query = Query { states: vec![TicketState::NeedsInput], limit: TICKETS_MAX, ..Query::default() };
        let tickets = self.tickets.list(query).await?;
        let mut needs: Vec<Need> = tickets
            .into_iter()
            .map(|ticket| Need {
                ticket: ticket.id.to_string(),
                since_ms: ticket.reason.as_ref().map_or(ticket.updated_ms, |reason| reason.since_ms),
                title: ticket.title,
            })
            .collect();
        needs.sort_by_key(|need| need.since_ms);
        Ok(needs)
    }

    async fn by_state(&self) -> Result<BTreeMap<&'static str, u64>, Refused> {
        let states = vec![TicketState::Review, TicketState::Waiting, TicketState::Todo];
        let tickets = self.tickets.list(Query { states, limit: TICKETS_MAX, ..Query::default() }).await?;
        let mut counts = BTreeMap::new();
        for ticket in tickets {
            *counts.entry(ticket.state().name()).or_default() += 1;
        }
        Ok(counts)
    }

    async fn disk_free(&self) -> Option<u32> {
        let dir = self.config.state_dir.clone();
        glimpse::see(&self.config.state_dir, move || filesystem::free_percent(&dir).ok()).await.flatten()
    }

    async fn learned(&self, since_ms: i64) -> BTreeMap<String, u64> {
        let file = self.config.state_dir.join(learnings::FILE);
        let counted = tokio::task::spawn_blocking(move || count_learnings(&file, since_ms)).await;
        counted.unwrap_or_default()
    }

    /// Says what became of syncs: one that fails stands until it works again.
    ///
    /// # Errors
    /// What the database says.
    pub async fn synced(&self, results: Vec<SyncResult>, actor: &str) -> Result<(), Refused> {
        let (journal, now_ms, actor) = (self.journal.clone(), self.clock.wall_ms(), actor.to_owned());
        self.store
            .write(move |tx| {
                for SyncResult { name, outcome } in &results {
                    let key = format!("{SYNC}{name}");
                    match outcome {
                        Ok(_) => drop(journal.clear(
                            tx,
                            now_ms,
                            &key,
                            &format!("{name} is synced again"),
                            &actor,
                        )?),
                        Err(why) => {
                            let title = format!("{name} is not synced");
                            let condition =
                                Condition::new(&key, Severity::Warning, title).line(Mark::Bad, why.clone());
                            journal.raise(tx, now_ms, &condition, &actor)?;
                        }
                    }
                }
                Ok::<_, StoreError>(())
            })
            .await?;
        Ok(())
    }
}

fn health(graves: impl Iterator<Item = Grave>) -> &'static str {
    match graves.min() {
        Some(Grave::Critical) => "critical",
        Some(Grave::Warning) => "degraded",
        Some(Grave::Info) | None => "healthy",
    }
}

/// What was done since, by verdict; a line that does not read counts for nothing.
fn count_learnings(file: &Path, since_ms: i64) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let Ok(file) = std::fs::File::open(file) else { return counts };
    for line in std::io::BufReader::new(file).lines() {
        let Ok(line) = line else {
            warn!("the janitor's learnings cannot be read to their end");
            break;
        };
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let at = value["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        if at.is_some_and(|at| at.as_millisecond() >= since_ms) {
            let verdict = value["verdict"].as_str().unwrap_or("unknown").to_owned();
            *counts.entry(verdict).or_default() += 1;
        }
    }
    counts
}

impl From<OpsError> for Refused {
    fn from(error: OpsError) -> Self {
        match error {
            OpsError::Ticket(error) => error.into(),
            OpsError::Store(error) => error.into(),
            error @ (OpsError::Sql(_) | OpsError::Run(_) | OpsError::Dispatch(_) | OpsError::Pool(_)) => {
                Self::unavailable(&error.to_string())
            }
        }
    }
}
