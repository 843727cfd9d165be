//! What is the matter with a ticket: facts in, verdict out. Pure.
//!
//! Every ticket that is not over gets a verdict. A worker is ended only by silence or by the clock, never
//! because something merely looks odd, and nobody's decision is undone: what a person has parked, assigned
//! or asked to look at stays where it is.

use std::time::Duration;

use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::ticket::{GateAnswer, TicketState};
use crate::model::time::millis;

/// What is known of one ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub ticket: TicketId,
    pub state: TicketState,
    /// Somebody in particular has it.
    pub assignee: Option<String>,
    /// Since when it is where it is, milliseconds since the epoch.
    pub since_ms: i64,
    /// When what it waits for was expected.
    pub until_ms: Option<i64>,
    pub attempts: u32,
    pub max_attempts: u32,
    /// The live attempt, by the books.
    pub worker: Option<AtWork>,
    /// What the base says of the recorded commit; none when it was not asked.
    pub gate: Option<GateAnswer>,
}

/// A worker as the books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtWork {
    pub run: RunId,
    pub fence: Fence,
    pub agent: String,
    pub started_ms: i64,
    /// When it was last heard.
    pub heard_ms: i64,
    /// None for a profile that the config no longer has.
    pub max_runtime: Option<Duration>,
    pub run_state: RunNow,
}

/// How the worker's run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNow {
    Live,
    /// Something of it outlives SIGKILL.
    Unkillable,
    /// Since then, milliseconds since the epoch.
    Over(i64),
    /// The ledger does not know it.
    Unknown,
}

/// The times after which something is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A worker that was not heard for this long.
    pub silent_after: Duration,
    /// A question that nobody answered for this long.
    pub unanswered_after: Duration,
}

/// A worker's own limit ends it by itself; this long after it something must be wrong.
pub const OVERTIME: Duration = Duration::from_secs(5 * 60);
/// What is being written down right now looks odd for a moment.
pub const SETTLE: Duration = Duration::from_secs(60);

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    StaleInProgress(Stale),
    /// Nobody answered.
    StaleNeedsInput,
    OrphanWorker(Orphan),
    /// Its commit is on the base: nothing is left to decide.
    AutoClose,
    /// The date it was parked for has come.
    WaitOver,
    /// Its worker cannot be killed; only the machine can help.
    Unkillable,
}

/// Why a ticket in progress does not progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// There is no worker.
    NoRun,
    /// Nothing was heard for so many minutes.
    Silent(i64),
    /// Its limit has passed and it is still there.
    Overtime,
}

/// How a worker and its ticket came apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// The books have a worker whose run is over.
    RunOver,
    /// A worker goes on, silently, on a ticket that has moved on.
    TicketElsewhere,
}

impl Verdict {
    /// For programs and the log of learnings.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::StaleInProgress(_) => "stale_in_progress",
            Self::StaleNeedsInput => "stale_needs_input",
            Self::OrphanWorker(_) => "orphan_worker",
            Self::AutoClose => "auto_close",
            Self::WaitOver => "wait_over",
            Self::Unkillable => "unkillable",
        }
    }

    /// All names, in the order in which they are counted.
    pub const NAMES: [&'static str; 7] = [
        "healthy",
        "stale_in_progress",
        "stale_needs_input",
        "orphan_worker",
        "auto_close",
        "wait_over",
        "unkillable",
    ];
}

/// The whole policy on one screen.
#[must_use]
pub fn classify(facts: &Facts, limits: Limits, now_ms: i64) -> Verdict {
    let past = |since_ms: i64, limit: Duration| now_ms.saturating_sub(since_ms) >= millis(limit);
    if let Some(worker) = &facts.worker {
        return match (worker.run_state, facts.state) {
            (RunNow::Unkillable, _) => Verdict::Unkillable,
            (RunNow::Over(at_ms), _) if past(at_ms, SETTLE) => Verdict::OrphanWorker(Orphan::RunOver),
            (RunNow::Over(_), _) => Verdict::Healthy,
            (RunNow::Unknown, _) => Verdict::OrphanWorker(Orphan::RunOver),
            (RunNow::Live, TicketState::InProgress) => at_work(worker, limits, now_ms),
            (
                RunNow::Live,
                TicketState::Todo
                | TicketState::NeedsInput
                | TicketState::Waiting
                | TicketState::Review
                | TicketState::Done
                | TicketState::Closed,
            ) if past(facts.since_ms, limits.silent_after)
                && past(last_sign(worker), limits.silent_after) =>
            {
                Verdict::OrphanWorker(Orphan::TicketElsewhere)
            }
            (RunNow::Live, _) => Verdict::Healthy,
        };
    }
    match facts.state {
        TicketState::InProgress if past(facts.since_ms, SETTLE) => Verdict::StaleInProgress(Stale::NoRun),
        TicketState::NeedsInput
            if facts.assignee.is_none()
                && facts.attempts < facts.max_attempts
                && past(facts.since_ms, limits.unanswered_after) =>
        {
            Verdict::StaleNeedsInput
        }
        TicketState::Waiting if facts.until_ms.is_some_and(|until| until <= now_ms) => Verdict::WaitOver,
        TicketState::Review if facts.gate == Some(GateAnswer::Merged) => Verdict::AutoClose,
        TicketState::Todo
        | TicketState::InProgress
        | TicketState::NeedsInput
        | TicketState::Waiting
        | TicketState::Review
        | TicketState::Done
        | TicketState::Closed => Verdict::Healthy,
    }
}

fn at_work(worker: &AtWork, limits: Limits, now_ms: i64) -> Verdict {
    let overtime = worker.max_runtime.is_some_and(|limit| {
        now_ms.saturating_sub(worker.started_ms) >= millis(limit.saturating_add(OVERTIME))
    });
    if overtime {
        return Verdict::StaleInProgress(Stale::Overtime);
    }
    let silent_ms = now_ms.saturating_sub(last_sign(worker));
    if silent_ms >= millis(limits.silent_after) {
        return Verdict::StaleInProgress(Stale::Silent(silent_ms / 60_000));
    }
    Verdict::Healthy
}

fn last_sign(worker: &AtWork) -> i64 {
    worker.heard_ms.max(worker.started_ms)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
