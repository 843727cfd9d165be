//! A run: one thing, once, in time. Its states and every way from one to the next.
//!
//! The state is private to this file; a change of state is a method that takes what happened
//! and gives the next state or says that this cannot be.

use serde::{Deserialize, Serialize};

pub use super::cause::{StopReason, Trigger, Waiting};
use super::ids::{Fence, RunId, TaskId};

/// Where a run stands. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Has its row and perhaps its key; no user code has run.
    Claimed,
    Running,
    /// Asked to end; its tree is not yet empty.
    Stopping,
    Ok,
    Failed,
    Timeout,
    Killed,
    /// Ended without leaving a result.
    Lost,
    /// The gate never opened: the same row may start once more.
    NotStarted,
    /// Could not be tried: preflight, a missing profile or pool.
    Blocked,
    Skipped,
    Missed,
    /// Something of it outlives SIGKILL; the key stays held.
    KillFailed,
}

impl RunState {
    pub const ALL: [Self; 13] = [
        Self::Claimed,
        Self::Running,
        Self::Stopping,
        Self::Ok,
        Self::Failed,
        Self::Timeout,
        Self::Killed,
        Self::Lost,
        Self::NotStarted,
        Self::Blocked,
        Self::Skipped,
        Self::Missed,
        Self::KillFailed,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::NotStarted => "not_started",
            Self::Blocked => "blocked",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::KillFailed => "kill_failed",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Holds its single-flight key.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Claimed | Self::Running | Self::Stopping | Self::KillFailed => true,
            Self::Ok
            | Self::Failed
            | Self::Timeout
            | Self::Killed
            | Self::Lost
            | Self::NotStarted
            | Self::Blocked
            | Self::Skipped
            | Self::Missed => false,
        }
    }

    fn ends_a_started_run(self) -> bool {
        matches!(self, Self::Ok | Self::Failed | Self::Timeout | Self::Killed | Self::Lost | Self::Blocked)
    }

    /// Ended in a way a person may have to look at.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Timeout | Self::Lost | Self::Blocked | Self::KillFailed)
    }

    /// Is over and has failed: what there is left to end is the wait for its retry.
    #[must_use]
    pub fn has_failed(self) -> bool {
        self.is_failure() && !self.is_live()
    }
}

/// How a run ended, as decided by `run::outcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub state: RunState,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// A step that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {} cannot {step}", from.name())]
pub struct Illegal {
    pub from: RunState,
    pub step: &'static str,
}

/// What can happen to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The keeper is recorded; "go" follows the commit.
    Start,
    Stop,
    /// The gate never opened.
    NeverStarted,
    /// A `not_started` row is taken up again.
    ClaimAgain,
    /// Given up before the gate opened.
    Skip,
    Finish(RunState),
    KillFailed,
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "be stopped",
            Self::NeverStarted => "turn out never to have started",
            Self::ClaimAgain => "be claimed again",
            Self::Skip => "be skipped",
            Self::Finish(_) => "finish so",
            Self::KillFailed => "outlive its kill",
        }
    }
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    pub task: TaskId,
    pub ticket: Option<String>,
    pub attempt: u32,
    pub trigger: Trigger,
    state: RunState,
    pub waiting: Option<Waiting>,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub actor: String,
    /// The due instant, milliseconds since the epoch; a manual run has none.
    pub scheduled_ms: Option<i64>,
    /// End of the span that a `missed` row covers.
    pub missed_to_ms: Option<i64>,
    /// Instants that a `missed` row covers.
    pub missed_count: Option<i64>,
    pub claimed_ms: i64,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub duration_ms: Option<i64>,
    pub fence: Fence,
    pub keeper_pid: Option<i32>,
    /// Start time of the keeper in clock ticks since boot, with the pid its identity.
    pub keeper_start: Option<i64>,
    pub boot_id: Option<String>,
    pub stop_reason: Option<StopReason>,
    pub definition_hash: String,
    /// When a retry of this run is due.
    pub retry_ms: Option<i64>,
    pub log_bytes: Option<i64>,
    /// Extra environment of a manual run, names and values.
    pub extra_env: Vec<(String, String)>,
    /// Runs although the task is disabled.
    pub forced: bool,
}

impl Run {
    /// A fresh row in `state`, which the caller has read from the ledger or is about to write.
    #[must_use]
    pub fn new(id: RunId, task: TaskId, trigger: Trigger, state: RunState) -> Self {
        Self {
            id,
            task,
            ticket: None,
            attempt: 1,
            trigger,
            state,
            waiting: None,
            reason: None,
            exit_code: None,
            signal: None,
            actor: String::new(),
            scheduled_ms: None,
            missed_to_ms: None,
            missed_count: None,
            claimed_ms: 0,
            started_ms: None,
            ended_ms: None,
            duration_ms: None,
            fence: Fence(0),
            keeper_pid: None,
            keeper_start: None,
            boot_id: None,
            stop_reason: None,
            definition_hash: String::new(),
            retry_ms: None,
            log_bytes: None,
            extra_env: Vec::new(),
            forced: false,
        }
    }

    #[must_use]
    pub fn state(&self) -> RunState {
        self.state
    }

    /// Takes `step`.
    ///
    /// # Errors
    /// [`Illegal`] where the table has no such way; nothing has changed then.
    pub fn step(&mut self, step: Step) -> Result<(), Illegal> {
        self.state = next(self.state, step)?;
        Ok(())
    }
}

/// The whole machine on one screen: state × step → state.
///
/// # Errors
/// [`Illegal`] where there is no such way.
pub fn next(from: RunState, step: Step) -> Result<RunState, Illegal> {
    use RunState as S;
    let to = match from {
        S::Claimed => match step {
            Step::Start => Some(S::Running),
            Step::NeverStarted => Some(S::NotStarted),
            Step::Skip => Some(S::Skipped),
            Step::Finish(to @ (S::Failed | S::Blocked | S::Killed)) => Some(to),
            Step::Stop | Step::ClaimAgain | Step::KillFailed | Step::Finish(_) => None,
        },
        S::Running | S::Stopping | S::KillFailed => match step {
            Step::Stop => (from != S::KillFailed).then_some(S::Stopping),
            Step::NeverStarted => (from == S::Running).then_some(S::NotStarted),
            Step::KillFailed => Some(S::KillFailed),
            Step::Finish(to) => to.ends_a_started_run().then_some(to),
            Step::Start | Step::ClaimAgain | Step::Skip => None,
        },
        S::NotStarted => match step {
            Step::ClaimAgain => Some(S::Claimed),
            Step::Skip => Some(S::Skipped),
            Step::Start | Step::Stop | Step::NeverStarted | Step::KillFailed | Step::Finish(_) => None,
        },
        S::Ok | S::Failed | S::Timeout | S::Killed | S::Lost | S::Blocked | S::Skipped | S::Missed => None,
    };
    to.ok_or(Illegal { from, step: step.verb() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn the_whole_machine() {
        let steps = [
            Step::Start,
            Step::Stop,
            Step::NeverStarted,
            Step::ClaimAgain,
            Step::Skip,
            Step::KillFailed,
            Step::Finish(RunState::Ok),
            Step::Finish(RunState::Failed),
            Step::Finish(RunState::Timeout),
            Step::Finish(RunState::Killed),
            Step::Finish(RunState::Lost),
            Step::Finish(RunState::Blocked),
        ];
        let mut table = String::new();
        for from in RunState::ALL {
            let ways: Vec<String> = steps
                .iter()
                .filter_map(|&step| next(from, step).ok().map(|to| format!("{step:?} -> {}", to.name())))
                .collect();
            writeln!(
                table,
                "{:<11} {}",
                from.name(),
                if ways.is_empty() { "-".into() } else { ways.join(" | ") }
            )
            .expect("a String takes any text");
        }
        insta::assert_snapshot!(table, @r"
        claimed     Start -> running | NeverStarted -> not_started | Skip -> skipped | Finish(Failed) -> failed | Finish(Killed) -> killed | Finish(Blocked) -> blocked
        running     Stop -> stopping | NeverStarted -> not_started | KillFailed -> kill_failed | Finish(Ok) -> ok | Finish(Failed) -> failed | Finish(Timeout) -> timeout | Finish(Killed) -> killed | Finish(Lost) -> lost | Finish(Blocked) -> blocked
        stopping    Stop -> stopping | KillFailed -> kill_failed | Finish(Ok) -> ok | Finish(Failed) -> failed | Finish(Timeout) -> timeout | Finish(Killed) -> killed | Finish(Lost) -> lost | Finish(Blocked) -> blocked
        ok          -
        failed      -
        timeout     -
        killed      -
        lost        -
        not_started ClaimAgain -> claimed | Skip -> skipped
        blocked     -
        skipped     -
        missed      -
        kill_failed KillFailed -> kill_failed | Finish(Ok) -> ok | Finish(Failed) -> failed | Finish(Timeout) -> timeout | Finish(Killed) -> killed | Finish(Lost) -> lost | Finish(Blocked) -> blocked
        ");
    }

    #[test]
    fn an_ended_run_never_moves_but_a_not_started_one_may_start_again() {
        for from in RunState::ALL.into_iter().filter(|s| !s.is_live() && *s != RunState::NotStarted) {
            for to in RunState::ALL {
                assert!(next(from, Step::Finish(to)).is_err());
            }
            assert!(next(from, Step::Start).is_err());
            assert!(next(from, Step::ClaimAgain).is_err());
        }
    }
}
