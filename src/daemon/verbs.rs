//! What people and programs can ask the daemon to do. Each answers after the change is durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::model::event::{Event, EventKind};
use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Run, RunState, StopReason, Trigger};
use crate::model::schedule::format_duration;
use crate::run::flight::{self, Claim, Request};
use crate::run::stop::Stopped;
use crate::run::{RunError, history};
use crate::store::StoreError;
use crate::task::Edit;
use crate::task::table::{self, Pause};

use super::claims;
use super::message::{ToTick, answer};
use super::refused::{Refused, RefusedKind};
use super::{App, Leave};

/// A wish to run a task now.
#[derive(Debug, Clone, Default)]
pub struct ManualRun {
    /// Also when it is disabled or paused.
    pub force: bool,
    pub env: Vec<(String, String)>,
    pub actor: String,
    /// The same key is the same request: it never starts a second run.
    pub request_key: Option<String>,
}

/// A wish to pause.
#[derive(Debug, Clone, Default)]
pub struct PauseFor {
    pub for_: Option<Duration>,
    pub reason: Option<String>,
    pub actor: String,
}

/// Most variables, and most bytes of them, that a manual run may bring along.
pub const EXTRA_ENV_MAX: usize = 64;
pub const EXTRA_ENV_MAX_BYTES: usize = 32 * 1024;

impl App {
    /// Starts a task now, or puts it in line for its lock or place.
    ///
    /// # Errors
    /// [`Refused`]: unknown, disabled, paused, draining, or already running.
    pub async fn run_now(&self, id: &TaskId, manual: ManualRun) -> Result<Run, Refused> {
        check_env(&manual.env)?;
        self.start_now(id, Trigger::Manual, None, manual).await
    }

    async fn start_now(
        &self,
        id: &TaskId,
        trigger: Trigger,
        again: Option<&Run>,
        manual: ManualRun,
    ) -> Result<Run, Refused> {
        let retries = again.map(|run| run.id);
        let snapshot = self.snapshot();
        let entry = snapshot.get(id).ok_or_else(|| self.no_task(id))?;
        let task = entry.definition.clone().ok_or_else(|| Refused::broken(id))?;
        if !entry.enabled && !manual.force {
            return Err(Refused::disabled(id));
        }
        let request = Request {
            task: Arc::clone(&task),
            trigger,
            scheduled_ms: again.and_then(|run| run.scheduled_ms),
            attempt: again.map_or(1, |run| run.attempt + 1),
            actor: manual.actor,
            extra_env: manual.env,
            forced: manual.force,
            expired: entry.expired,
            request_key: manual.request_key,
            now_ms: self.clock.wall_ms(),
        };
        let (journal, runs) = (self.journal.clone(), self.runs.clone());
        let claim = self
            .store
            .write(move |tx| -> Result<Claim, RunError> {
                let claim = flight::claim(tx, &journal, runs.gates(), &request)?;
                // By hand instead of by the plan: the plan is carried out.
                if let (Some(id), Claim::Go(_) | Claim::Waits(_)) = (retries, &claim) {
                    crate::run::table::set_retry(tx, id, None)?;
                }
                Ok(claim)
            })
            .await?;
        claims::act(self, &task, claim.clone());
        match claim {
            Claim::Go(run) | Claim::Waits(run) | Claim::Skipped(run) | Claim::Known(run) => Ok(run),
            Claim::Replaces { run, holder: _ } => Ok(run),
            Claim::Taken { holder } => Err(self.already_running(&holder)),
            Claim::Refused { reason: "paused" } if self.is_all_paused().await? => {
                Err(Refused::paused_with_all(id))
            }
            Claim::Refused { reason } => Err(Refused::held(id, reason)),
            Claim::Off => Err(Refused::disabled(id)),
            Claim::Covered | Claim::Stale => Err(Refused::new(
                RefusedKind::Conflict,
                "changed",
                format!("the file of {id} is being read anew"),
                "try again in a moment",
            )),
        }
    }

    async fn is_all_paused(&self) -> Result<bool, StoreError> {
        let pause = self.store.read(|conn| Ok::<_, StoreError>(table::paused_all(conn)?)).await?;
        Ok(pause.is_some_and(|pause| pause.holds_at(self.clock.wall_ms())))
    }

    fn already_running(&self, holder: &Run) -> Refused {
        let since = holder.started_ms.unwrap_or(holder.claimed_ms);
        let age = u64::try_from((self.clock.wall_ms() - since) / 1000).unwrap_or(0);
        Refused::new(
            RefusedKind::Conflict,
            "already_running",
            format!("{} is already running ({})", holder.id, format_duration(Duration::from_secs(age))),
            format!("follow it: lucid logs -f {}", holder.id.0),
        )
    }

    /// Asks a run to end; of one that has ended and waits to be tried again, that it is not.
    ///
    /// # Errors
    /// [`Refused`] when there is no such run, or it has ended.
    pub async fn kill_run(&self, id: RunId, actor: &str, grace: Option<Duration>) -> Result<Run, Refused> {
        match self.runs.stop(id, StopReason::Cancelled, grace, actor).await? {
            Stopped::Stopping(run) | Stopped::Over(run) | Stopped::RetryDropped(run) => Ok(run),
            Stopped::Already(run) => Err(Refused::ended(id, run.state())),
            Stopped::Unknown => Err(Refused::no_run(id)),
        }
    }

    /// Runs the task of an ended run once more, for the same due instant. The same key is the same request. Whoever
    /// forced the run that ended has not forced this one.
    ///
    /// # Errors
    /// As [`App::run_now`]; also when the run is still live.
    pub async fn retry_run(
        &self,
        id: RunId,
        actor: &str,
        request_key: Option<String>,
    ) -> Result<Run, Refused> {
        let run = self.run(id).await?.ok_or_else(|| Refused::no_run(id))?;
        if run.state().is_live() || run.state() == RunState::NotStarted {
            return Err(self.already_running(&run));
        }
        if let Some(ticket) = &run.ticket {
            let message = format!("run {id} was an attempt on {ticket}, which dispatch starts");
            let help = format!("lucid ticket move {ticket} todo");
            return Err(Refused::new(RefusedKind::Conflict, "is_an_attempt", message, help));
        }
        let manual =
            ManualRun { force: false, env: run.extra_env.clone(), actor: actor.to_owned(), request_key };
        self.start_now(&run.task, Trigger::Retry, Some(&run), manual).await
    }

    /// Pauses one task, or with `None` the whole schedule; survives restarts.
    ///
    /// # Errors
    /// [`Refused`] when there is no such task.
    pub async fn pause(&self, id: Option<&TaskId>, wish: PauseFor) -> Result<(), Refused> {
        let now_ms = self.clock.wall_ms();
        let length = wish.for_.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX / 2));
        let pause = Pause {
            at_ms: now_ms,
            until_ms: length.map(|ms| now_ms.saturating_add(ms)),
            reason: wish.reason,
            actor: wish.actor,
        };
        let (journal, task) = (self.journal.clone(), id.cloned());
        let known = self
            .store
            .write(move |tx| -> Result<bool, RunError> {
                match &task {
                    Some(id) if !table::pause(tx, id, &pause)? => return Ok(false),
                    Some(_) => {}
                    None => table::pause_all(tx, &pause)?,
                }
                let data = json!({"until_ms": pause.until_ms, "reason": pause.reason});
                let event = Event::new(EventKind::TaskPaused).actor(&pause.actor).data(data);
                journal.record(tx, now_ms, about(event, task.as_ref()))?;
                Ok(true)
            })
            .await?;
        match (known, id) {
            (false, Some(id)) => Err(self.no_task(id)),
            (_, _) => Ok(()),
        }
    }

    /// Ends a pause; `false` when there was none.
    ///
    /// # Errors
    /// [`Refused`] when there is no such task.
    pub async fn resume(&self, id: Option<&TaskId>, actor: &str) -> Result<bool, Refused> {
        if let Some(id) = id
            && self.snapshot().get(id).is_none()
        {
            return Err(self.no_task(id));
        }
        let (journal, task, actor) = (self.journal.clone(), id.cloned(), actor.to_owned());
        let now_ms = self.clock.wall_ms();
        let (snapshot, ledger) = (self.snapshot(), claims::ledger(self));
        let resumed = self
            .store
            .write(move |tx| -> Result<bool, RunError> {
                let resumed = match &task {
                    Some(id) => table::resume(tx, id)?,
                    None => table::resume_all(tx)?,
                };
                if resumed {
                    let event = Event::new(EventKind::TaskResumed).actor(&actor);
                    journal.record(tx, now_ms, about(event, task.as_ref()))?;
                    ledger.wake_retries(tx, task.as_ref(), |id| snapshot.definition(id))?;
                }
                Ok(resumed)
            })
            .await?;
        if resumed {
            answer(self, ToTick::RetryAt(now_ms));
        }
        Ok(resumed)
    }

    /// Rewrites the one line of the task's file that says whether it is on, and makes it count.
    ///
    /// # Errors
    /// [`Refused`] when there is no such task or its file cannot be written.
    pub async fn set_enabled(
        &self,
        id: &TaskId,
        enabled: bool,
        actor: &str,
    ) -> Result<Option<Edit>, Refused> {
        let path = {
            let snapshot = self.snapshot();
            snapshot.get(id).ok_or_else(|| self.no_task(id))?;
            self.config.tasks_dir.join(format!("{id}.md"))
        };
        let edit = tokio::task::spawn_blocking(move || crate::task::set_enabled(&path, enabled))
            .await
            .map_err(|e| Refused::unavailable(&e.to_string()))?
            .map_err(|e| {
                Refused::new(
                    RefusedKind::Unavailable,
                    "cannot_write",
                    format!("the file of {id} cannot be changed: {e}"),
                    "change `enabled:` by hand",
                )
            })?;
        self.reload(actor).await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        Ok(edit)
    }

    /// Starts nothing new; what runs goes on. Holds until [`App::undrain`] or a restart.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn drain(&self, actor: &str) -> Result<Vec<Run>, Refused> {
        self.set_draining(true, EventKind::Drained, actor).await
    }

    /// Starts new runs again.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn undrain(&self, actor: &str) -> Result<Vec<Run>, Refused> {
        let running = self.set_draining(false, EventKind::Undrained, actor).await?;
        self.runs.look();
        Ok(running)
    }

    async fn set_draining(&self, draining: bool, kind: EventKind, actor: &str) -> Result<Vec<Run>, Refused> {
        self.runs.draining.store(draining, Ordering::Release);
        let (journal, now_ms, actor) = (self.journal.clone(), self.clock.wall_ms(), actor.to_owned());
        self.store
            .write(move |tx| -> Result<(), RunError> {
                journal.record(tx, now_ms, Event::new(kind).actor(&actor))?;
                Ok(())
            })
            .await?;
        self.live_runs().await
    }

    /// Ends the daemon and its runs, each within its grace.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn stop(&self, actor: &str) -> Result<Vec<Run>, Refused> {
        tracing::info!(actor, "asked to stop");
        let running = self.live_runs().await?;
        self.shutdown.begin(Leave::EndRuns, actor);
        Ok(running)
    }

    /// Runs that are live now.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn live_runs(&self) -> Result<Vec<Run>, Refused> {
        let states = RunState::ALL.into_iter().filter(|s| s.is_live()).collect();
        self.list_runs(history::Query { states, limit: u32::MAX, ..history::Query::default() }).await
    }
}

fn about(event: Event, task: Option<&TaskId>) -> Event {
    match task {
        Some(task) => event.task(task),
        None => event,
    }
}

fn check_env(env: &[(String, String)]) -> Result<(), Refused> {
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bad = |what: String, help: &str| Err(Refused::new(RefusedKind::Invalid, "bad_env", what, help));
    if env.len() > EXTRA_ENV_MAX || bytes > EXTRA_ENV_MAX_BYTES {
        return bad(
            format!("more than {EXTRA_ENV_MAX} variables or {EXTRA_ENV_MAX_BYTES} bytes"),
            "put long values into a file and pass its name",
        );
    }
    for (name, value) in env {
        let first = name.bytes().next();
        let fits = first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !value.contains('\0');
        if !fits || name.starts_with("LUCID_") {
            return bad(
                format!("`{name}` cannot be set"),
                "use letters, digits and `_`; names that start with LUCID_ are lucid's own",
            );
        }
    }
    Ok(())
}
