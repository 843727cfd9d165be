//! Ending a run on request: the row first, then the keeper.

use std::time::Duration;

use serde_json::json;
use tracing::warn;

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::RunId;
use crate::model::run::{Run, RunState, Step, StopReason};
use crate::platform::failpoint;
use crate::platform::process;
use crate::run::{RunError, Runs, flight, step, table};
use crate::store::Tx;

/// What a request to stop met.
#[derive(Debug)]
pub enum Stopped {
    /// The keeper has been told; the run ends within its grace.
    Stopping(Run),
    /// It had not started and is over now.
    Over(Run),
    /// It had ended before, and is not tried again now.
    RetryDropped(Run),
    /// It had ended before.
    Already(Run),
    Unknown,
}

impl Runs {
    /// Asks the run to stop for `reason`; SIGKILL follows after `grace`, or the task's own when `None`.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn stop(
        &self,
        id: RunId,
        reason: StopReason,
        grace: Option<Duration>,
        actor: &str,
    ) -> Result<Stopped, RunError> {
        let (journal, now_ms, actor) = (self.journal.clone(), self.clock.wall_ms(), actor.to_owned());
        let stopped = self.store.write(move |tx| record(tx, &journal, id, reason, &actor, now_ms)).await?;
        match &stopped {
            Stopped::Stopping(run) => self.tell_keeper(run.id, reason, grace),
            // Its place and locks are free: somebody may be waiting for them.
            Stopped::Over(_) => self.look(),
            Stopped::RetryDropped(_) | Stopped::Already(_) | Stopped::Unknown => {}
        }
        Ok(stopped)
    }

    /// Tells the keeper of a run that is recorded as stopping.
    pub fn tell_keeper(&self, id: RunId, reason: StopReason, grace: Option<Duration>) {
        let told = failpoint::hit("run.stop.tell").map_err(std::io::Error::from);
        if let Err(e) = told.and_then(|()| process::stop(&self.run_dir(id), reason.name(), grace)) {
            // No reader: the keeper has just ended, and its own end is being settled.
            warn!(run = id.0, error = %e, "could not reach the keeper");
        }
    }
}

/// The daemon goes down and the gate never opened: a due instant starts once more with the next daemon. What somebody
/// asked for is not done at a time that nobody knows.
fn turn_back(tx: &Tx<'_>, journal: &Journal, run: Run, now_ms: i64) -> Result<Stopped, RunError> {
    let id = run.id;
    if run.scheduled_ms.is_some() {
        step::take(tx, journal, id, (Step::NeverStarted, EventKind::RunNotStarted, None), now_ms)?;
    } else {
        flight::give_up(tx, journal, run, "draining", now_ms)?;
    }
    Ok(table::get(tx, id)?.map_or(Stopped::Unknown, Stopped::Over))
}

/// What has ended and waits to be tried again is not.
fn drop_retry(
    tx: &Tx<'_>,
    journal: &Journal,
    mut run: Run,
    actor: &str,
    now_ms: i64,
) -> Result<Stopped, RunError> {
    table::set_retry(tx, run.id, None)?;
    run.retry_ms = None;
    let event = Event::new(EventKind::RetryDropped).task(&run.task).run(run.id).actor(actor);
    journal.record(tx, now_ms, event.data(json!({"reason": "cancelled"})))?;
    Ok(Stopped::RetryDropped(run))
}

/// Writes that a run is to end, in the caller's transaction; [`Runs::tell_keeper`] has to follow it for
/// one that is [`Stopped::Stopping`].
///
/// # Errors
/// Only what the database says.
pub fn record(
    tx: &Tx<'_>,
    journal: &Journal,
    id: RunId,
    reason: StopReason,
    actor: &str,
    now_ms: i64,
) -> Result<Stopped, RunError> {
    let Some(mut run) = table::get(tx, id)? else { return Ok(Stopped::Unknown) };
    let from = run.state();
    let kind = match from {
        RunState::Claimed if reason == StopReason::Shutdown && run.ticket.is_none() => {
            return turn_back(tx, journal, run, now_ms);
        }
        RunState::Claimed | RunState::NotStarted => {
            run.step(if from == RunState::Claimed { Step::Finish(RunState::Killed) } else { Step::Skip })?;
            run.reason = Some(reason.name().to_owned());
            run.ended_ms = Some(now_ms);
            run.waiting = None;
            EventKind::RunFinished
        }
        RunState::Running | RunState::Stopping => {
            run.step(Step::Stop)?;
            run.stop_reason = run.stop_reason.or(Some(reason));
            EventKind::RunStopping
        }
        RunState::KillFailed => return Ok(Stopped::Stopping(run)),
        RunState::Ok
        | RunState::Failed
        | RunState::Timeout
        | RunState::Killed
        | RunState::Lost
        | RunState::Blocked
        | RunState::Skipped
        | RunState::Missed => {
            if run.retry_ms.is_none() || reason != StopReason::Cancelled {
                return Ok(Stopped::Already(run));
            }
            return drop_retry(tx, journal, run, actor, now_ms);
        }
    };
    if !table::update(tx, &run, from)? {
        return Ok(Stopped::Already(run));
    }
    let data = json!({"state": run.state().name(), "reason": reason.name()});
    let event = Event::new(kind).task(&run.task).run(run.id).actor(actor).data(data);
    journal.record(tx, now_ms, event)?;
    if run.state().is_live() {
        return Ok(Stopped::Stopping(run));
    }
    table::drop_locks(tx, run.id)?;
    Ok(Stopped::Over(run))
}
