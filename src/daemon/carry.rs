//! The transactions that the clock brings: rows for what is due, and retries taken up again.
//!
//! Everything here runs inside the caller's transaction and has no effect but rows and events; the time is a value.

use std::sync::Arc;

use jiff::Timestamp;

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::TaskId;
use crate::model::run::{Run, Trigger};
use crate::model::task::{CatchUp, Task};
use crate::model::time::millis;
use crate::platform::failpoint;
use crate::run::flight::{self, Claim, Gates, Request};
use crate::run::outcome::{self, TURNED_AWAY};
use crate::run::{RunError, history, table};
use crate::store::Tx;
use crate::task::agenda::{Again, Due};
use crate::task::due::{self, Instants, Missed};

use super::claims::SCHEDULER;

/// Wait before a retry that a pause, a drain or an edited file holds back is looked at again: each look is a commit,
/// and a pause may last for weeks.
const RETRY_PUT_OFF_MS: i64 = 30_000;
/// Retries looked at in one go.
const RETRIES_MAX: u32 = 256;

/// What these transactions need to know beside their subject.
#[derive(Clone)]
pub struct Ledger {
    pub journal: Journal,
    pub gates: Gates,
    /// Between two runs that make up for a gap.
    pub spacing_ms: i64,
    pub now_ms: i64,
}

/// What one task's plan came to.
#[derive(Debug)]
pub struct Carried {
    pub task: Arc<Task>,
    /// Every instant up to here is decided; none for a plan of a definition that no longer counts.
    pub covered_ms: Option<i64>,
    pub again: Again,
    pub claims: Vec<Claim>,
}

/// What became of the retries that were due.
#[derive(Debug)]
pub struct TakenUp {
    pub claims: Vec<(Arc<Task>, Claim)>,
    /// When the next one is due.
    pub next_ms: Option<i64>,
}

impl Ledger {
    /// Writes the rows of one task's plan.
    ///
    /// # Errors
    /// Only what the database says.
    pub fn carry(&self, tx: &Tx<'_>, due: &Due) -> Result<Carried, RunError> {
        let mut carried = Carried {
            task: Arc::clone(&due.task),
            covered_ms: None,
            again: Again::WhenDue,
            claims: Vec::new(),
        };
        let standing = table::standing(tx, &due.task.id, self.now_ms)?;
        if standing.as_ref().is_some_and(|s| s.hash != due.task.hash.to_string()) {
            // The reload that is on its way brings the new definition with it, and has said from when that counts.
            carried.again = Again::after_failure(self.now_ms);
            return Ok(carried);
        }
        let mut covered_ms = due.covered_ms;
        if let Some(missed) = due.plan.missed {
            if standing.is_some_and(|s| s.enabled && s.present) {
                self.miss(tx, due, missed)?;
            }
            covered_ms = missed.to.as_millisecond();
        }
        for fire in &due.plan.fires {
            let at_ms = fire.at.as_millisecond();
            // One at a time until the gap is made up for: each waits for its predecessor instead of being skipped.
            if due.task.settings.catch_up == CatchUp::All && (due.backlog || due.plan.fires.len() > 1) {
                let busy = !carried.claims.is_empty() || table::holder(tx, &due.task.flight_key())?.is_some();
                if busy {
                    carried.again = Again::Spaced(self.now_ms + self.spacing_ms);
                    break;
                }
            }
            let request = self.due(due, fire.trigger, at_ms);
            carried.claims.push(flight::claim(tx, &self.journal, self.gates, &request)?);
            covered_ms = at_ms;
        }
        table::cover(tx, &due.task.id, covered_ms)?;
        carried.covered_ms = Some(covered_ms);
        Ok(carried)
    }

    /// A row for each stretch of a gap that has none.
    fn miss(&self, tx: &Tx<'_>, due: &Due, missed: Missed) -> Result<(), RunError> {
        let (from_ms, to_ms) = (missed.from.as_millisecond(), missed.to.as_millisecond());
        let at = |ms| Timestamp::from_millisecond(ms).unwrap_or(missed.from);
        let decided: Vec<_> = history::table::decided(tx, &due.task.id, from_ms, to_ms)?
            .into_iter()
            .map(|(from, to)| (at(from), at(to)))
            .collect();
        for left in due::without(&Instants::new(&due.task, due.anchor), missed, &decided) {
            let request = self.due(due, Trigger::Schedule, left.from.as_millisecond());
            let count = i64::try_from(left.count).unwrap_or(i64::MAX);
            flight::miss(tx, &self.journal, &request, left.to.as_millisecond(), count)?;
        }
        Ok(())
    }

    fn due(&self, due: &Due, trigger: Trigger, at_ms: i64) -> Request {
        Request {
            task: Arc::clone(&due.task),
            trigger,
            scheduled_ms: Some(at_ms),
            attempt: 1,
            actor: SCHEDULER.to_owned(),
            extra_env: Vec::new(),
            forced: false,
            expired: due.expired,
            request_key: None,
            now_ms: self.now_ms,
        }
    }

    /// Takes up the retries that are due; one whose key is taken gives way.
    ///
    /// # Errors
    /// Only what the database says.
    pub fn take_up(
        &self,
        tx: &Tx<'_>,
        definition: impl Fn(&TaskId) -> Option<Arc<Task>>,
    ) -> Result<TakenUp, RunError> {
        failpoint::hit("claims.retry")?;
        let mut claims = Vec::new();
        for run in table::retries_due(tx, self.now_ms, RETRIES_MAX)? {
            claims.extend(self.retry(tx, &run, definition(&run.task))?);
        }
        Ok(TakenUp { claims, next_ms: table::next_retry_ms(tx)? })
    }

    /// Takes up one retry: it goes, it is put off while something holds everything back, or it is dropped
    /// and the journal says why.
    fn retry(
        &self,
        tx: &Tx<'_>,
        run: &Run,
        definition: Option<Arc<Task>>,
    ) -> Result<Option<(Arc<Task>, Claim)>, RunError> {
        let Some(task) = definition else {
            self.drop_retry(tx, run, "its task file is gone or broken")?;
            return Ok(None);
        };
        let request = Request {
            task: Arc::clone(&task),
            trigger: Trigger::Retry,
            scheduled_ms: run.scheduled_ms,
            attempt: run.attempt + 1,
            actor: SCHEDULER.to_owned(),
            extra_env: run.extra_env.clone(),
            forced: run.forced,
            expired: false,
            request_key: None,
            now_ms: self.now_ms,
        };
        let claim = flight::claim(tx, &self.journal, self.gates, &request)?;
        match &claim {
            Claim::Refused { .. } | Claim::Stale => {
                let again_ms = self.now_ms + RETRY_PUT_OFF_MS;
                let ends_ms = crate::task::table::pause_ends_ms(tx, &run.task, self.now_ms)?;
                table::set_retry(
                    tx,
                    run.id,
                    Some(ends_ms.map_or(again_ms, |ends_ms| ends_ms.min(again_ms))),
                )?;
            }
            Claim::Taken { holder } => self.drop_retry(tx, run, &format!("{} is running", holder.id))?,
            Claim::Off => self.drop_retry(tx, run, "the task is disabled")?,
            Claim::Go(_)
            | Claim::Waits(_)
            | Claim::Replaces { .. }
            | Claim::Skipped(_)
            | Claim::Covered
            | Claim::Known(_) => table::set_retry(tx, run.id, None)?,
        }
        Ok(Some((task, claim)))
    }

    /// Has the retries looked at now that a pause of `task`, or of everything, has put off beyond their own time.
    ///
    /// # Errors
    /// Only what the database says.
    pub fn wake_retries(
        &self,
        tx: &Tx<'_>,
        task: Option<&TaskId>,
        definition: impl Fn(&TaskId) -> Option<Arc<Task>>,
    ) -> Result<(), RunError> {
        for run in history::table::to_be_retried(tx)? {
            let is_meant = task.is_none_or(|task| run.task == *task);
            // Whoever was turned away has been told a time that nobody knows here.
            let was_told = run.reason.as_deref().is_some_and(|reason| TURNED_AWAY.contains(&reason));
            let Some(definition) = definition(&run.task).filter(|_| is_meant && !was_told) else { continue };
            let wait = millis(outcome::delay(&definition.settings.retries, run.attempt));
            let is_over = run.ended_ms.is_some_and(|ended| ended.saturating_add(wait) <= self.now_ms);
            if is_over && run.retry_ms.is_some_and(|at| at > self.now_ms) {
                table::set_retry(tx, run.id, Some(self.now_ms))?;
            }
        }
        Ok(())
    }

    fn drop_retry(&self, tx: &Tx<'_>, run: &Run, why: &str) -> Result<(), RunError> {
        table::set_retry(tx, run.id, None)?;
        let event = Event::new(EventKind::RetryDropped).task(&run.task).run(run.id).actor(SCHEDULER);
        self.journal.record(tx, self.now_ms, event.data(serde_json::json!({"reason": why})))?;
        Ok(())
    }
}
