//! The last transaction of a run: its end, its retry, and whoever waited for its place.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracing::{error, info, warn};

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::RunId;
use crate::model::run::{Outcome, Run, RunState, Step};
use crate::model::task::{Kind, OnInterrupt, Task};
use crate::model::time::millis;
use crate::platform::failpoint;
use crate::platform::process::spec::Exit;
use crate::run::flight::{self, Gates};
use crate::run::outcome;
use crate::run::{Notice, RunError, Runs, table};
use crate::store::Tx;

/// Most times one due instant is run again after being cut off, by `on_interrupt: rerun`.
const RERUN_MAX: u32 = 3;
/// Times that a run's own words are looked for before its exit counts, and the wait between two.
const HEARINGS: u32 = 10;
const HEARING_PAUSE: Duration = Duration::from_secs(1);
/// Wait before an interrupted run is run again.
const RERUN_DELAY: Duration = Duration::from_secs(5);

impl Runs {
    pub(super) async fn finish_from(&self, run: Run, task: Option<&Arc<Task>>, exit: &Exit) {
        let codes = task.map_or(&[0][..], |task| &task.settings.success_codes);
        let outcome = outcome::decide(exit, codes);
        let mut end = End::of(run, task, outcome, exit);
        if end.may_say_more(task) {
            let ask = || (self.judge)(end.run.clone(), end.outcome.clone());
            if let Some(judged) = self.hear(end.run.id, ask).await {
                end = End::of(end.run, task, judged.outcome, exit);
                end.not_before_ms = judged.not_before_ms;
            }
        }
        self.record_end(end).await;
    }

    /// What the run's own words say of its end, if they are to be had: an end must not wait for them for ever.
    async fn hear<F, W>(&self, id: RunId, ask: F) -> Option<outcome::Judged>
    where
        F: Fn() -> W,
        W: Future<Output = Result<Option<outcome::Judged>, RunError>>,
    {
        for _ in 1..HEARINGS {
            match ask().await {
                Ok(judged) => return judged,
                Err(e) => {
                    warn!(run = id.0, error = %e, "could not read what a run said of its end; trying again");
                }
            }
            tokio::time::sleep(HEARING_PAUSE).await;
        }
        ask().await.unwrap_or_else(|e| {
            error!(run = id.0, error = %e, "what a run said of its end stays unread; its exit counts");
            None
        })
    }

    /// Writes the end of a run, plans its retry, and lets go whoever waited for it.
    pub(super) async fn finish(&self, run: Run, task: Option<&Arc<Task>>, outcome: Outcome) {
        self.record_end(End::new(run, task, outcome, self.clock.wall_ms())).await;
    }

    async fn record_end(&self, end: End) {
        let Some(written) = self.insist(end.run.id, || self.write_end(end.clone())).await else { return };
        failpoint::pass("run.finish.after");
        let Written { run, promoted } = written;
        if let Some(run) = run {
            info!(run = run.id.0, task = %run.task, state = run.state().name(), reason = run.reason, "run over");
            self.tell(Notice::Ended(Box::new(run)));
        }
        if !promoted.is_empty() {
            self.tell(Notice::Promoted(promoted));
        }
    }

    async fn write_end(&self, end: End) -> Result<Written, RunError> {
        let (journal, gates, now_ms) = (self.journal.clone(), self.gates(), self.clock.wall_ms());
        self.store.write(move |tx| end.write(tx, &journal, gates, now_ms)).await
    }
}

/// What the last transaction of a run came to.
#[derive(Debug, Default)]
pub struct Written {
    /// `None`: somebody else has written its end.
    pub run: Option<Run>,
    /// They have their place now and are to be started.
    pub promoted: Vec<Run>,
}

/// Everything that the last transaction of a run needs.
#[derive(Debug, Clone)]
pub struct End {
    run: Run,
    outcome: Outcome,
    ended_ms: i64,
    duration_ms: Option<i64>,
    log_bytes: Option<i64>,
    /// By the task's `retries`.
    retry_after: Option<Duration>,
    /// No retry before then.
    not_before_ms: Option<i64>,
    reruns: bool,
}

impl End {
    /// An end at `ended_ms`, with what `task` wants done about it.
    #[must_use]
    pub fn new(run: Run, task: Option<&Arc<Task>>, outcome: Outcome, ended_ms: i64) -> Self {
        let retry_after =
            task.and_then(|task| outcome::retry_after(&outcome, &task.settings.retries, run.attempt));
        let reruns = outcome.state == RunState::Lost
            && task.is_some_and(|task| match task.settings.on_interrupt {
                OnInterrupt::Rerun => true,
                OnInterrupt::Fail => false,
            });
        Self {
            ended_ms,
            duration_ms: None,
            log_bytes: None,
            run,
            outcome,
            retry_after,
            not_before_ms: None,
            reruns,
        }
    }

    /// An end that the keeper has seen and measured.
    fn of(run: Run, task: Option<&Arc<Task>>, outcome: Outcome, exit: &Exit) -> Self {
        Self {
            duration_ms: i64::try_from(exit.duration_ms).ok(),
            log_bytes: i64::try_from(exit.log_bytes).ok(),
            ..Self::new(run, task, outcome, exit.ended_ms)
        }
    }

    /// Writes the end, plans the retry, and lets go whoever may go at `now_ms`, which can be long after the end.
    /// Changes nothing when the run is over already or somebody else holds it by now.
    ///
    /// # Errors
    /// What the database says, and a run that cannot end in that state.
    pub fn write(
        &self,
        tx: &Tx<'_>,
        journal: &Journal,
        gates: Gates,
        now_ms: i64,
    ) -> Result<Written, RunError> {
        failpoint::hit("run.finish.tx")?;
        // As it stands now: a stop may have been recorded since it was last read.
        let Some(mut run) = table::get(tx, self.run.id)? else { return Ok(Written::default()) };
        let from = run.state();
        if run.fence != self.run.fence || !from.is_live() {
            return Ok(Written::default());
        }
        run.step(Step::Finish(self.outcome.state))?;
        run.waiting = None;
        run.reason.clone_from(&self.outcome.reason);
        // A stop that was recorded names the reason better than the keeper's own clock.
        if let Some(reason) = run.stop_reason.filter(|_| self.outcome.state == RunState::Killed) {
            run.reason = Some(reason.name().to_owned());
        }
        run.exit_code = self.outcome.exit_code;
        run.signal = self.outcome.signal;
        run.ended_ms = Some(self.ended_ms);
        run.duration_ms = self.duration_ms;
        run.log_bytes = self.log_bytes;
        run.retry_ms = self.retry_ms();
        if !table::update(tx, &run, from)? {
            return Ok(Written::default());
        }
        table::drop_locks(tx, run.id)?;
        // Asked for meanwhile, it did what the retry was to do.
        if run.state() == RunState::Ok
            && run.ticket.is_none()
            && let Some(failed) = table::drop_retry(tx, &run.task)?
        {
            let event = Event::new(EventKind::RetryDropped).task(&run.task).run(failed);
            let why = format!("{} has ended well since", run.id);
            journal.record(tx, self.ended_ms, event.data(json!({"reason": why})))?;
        }
        let event = Event::new(EventKind::RunFinished).task(&run.task).run(run.id).data(json!({
            "state": run.state().name(), "reason": run.reason, "exit_code": run.exit_code,
            "signal": run.signal, "duration_ms": run.duration_ms, "attempt": run.attempt,
            "trigger": run.trigger.name(),
        }));
        journal.record(tx, self.ended_ms, event)?;
        if let Some(at) = run.retry_ms {
            let event = Event::new(EventKind::RetryPlanned).task(&run.task).run(run.id);
            journal.record(tx, self.ended_ms, event.data(json!({"at_ms": at})))?;
        }
        let promoted = flight::promote(tx, journal, gates, now_ms)?;
        Ok(Written { run: Some(run), promoted })
    }

    /// Agents of tasks say themselves what became of their work; so may those whose task is gone by now. What
    /// becomes of a ticket is decided elsewhere.
    fn may_say_more(&self, task: Option<&Arc<Task>>) -> bool {
        self.run.ticket.is_none() && task.is_none_or(|task| matches!(task.kind, Kind::Agent(_)))
    }

    /// When to try again. An interrupted attempt counts like any other, so this comes to an end.
    fn retry_ms(&self) -> Option<i64> {
        let rerun = (self.reruns && self.run.attempt <= RERUN_MAX).then_some(RERUN_DELAY);
        let wait = self.retry_after.or(rerun)?;
        let at_ms = self.ended_ms.saturating_add(millis(wait));
        Some(self.not_before_ms.map_or(at_ms, |not_before| not_before.max(at_ms)))
    }
}
