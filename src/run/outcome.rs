//! From what the keeper saw to what the ledger says, and whether to try again. Pure.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::model::run::{Outcome, Run, RunState, StopReason};
use crate::model::task::{Retries, RetryWhen};
use crate::platform::process::spec::{Cause, End, Exit};
use crate::run::RunError;

/// Reasons of runs whose provider has turned them away, for now.
pub const TURNED_AWAY: [&str; 2] = ["rate_limited", "overloaded"];

/// What a run came to for somebody who understands what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub outcome: Outcome,
    /// Another try before then, milliseconds since the epoch, would end the same way.
    pub not_before_ms: Option<i64>,
}

/// Asked at the end of a run whose exit alone does not say what it came to; `None`: this one's does.
pub type Judge = Arc<
    dyn Fn(Run, Outcome) -> Pin<Box<dyn Future<Output = Result<Option<Judged>, RunError>> + Send>>
        + Send
        + Sync,
>;

/// Reads a keeper's result.
#[must_use]
pub fn decide(exit: &Exit, success_codes: &[i32]) -> Outcome {
    let (exit_code, signal) = match &exit.end {
        End::Code(code) | End::Preflight { code } => (Some(*code), None),
        End::Signal(signal) => (None, Some(*signal)),
        End::Spawn { code, .. } => (Some(*code), None),
    };
    let (state, reason) = match &exit.cause {
        Cause::Timeout => (RunState::Timeout, Some("timeout".to_owned())),
        Cause::Idle => (RunState::Timeout, Some("idle".to_owned())),
        Cause::Stop(reason) => match StopReason::parse(reason) {
            Some(StopReason::Timeout | StopReason::Idle) => (RunState::Timeout, Some(reason.clone())),
            // Its work was done: what hung was only the program.
            Some(StopReason::TurnOver) => (RunState::Ok, Some(reason.clone())),
            Some(StopReason::Cancelled | StopReason::Replaced | StopReason::Shutdown) | None => {
                (RunState::Killed, Some(reason.clone()))
            }
        },
        Cause::Itself => match &exit.end {
            End::Code(code) if success_codes.contains(code) => (RunState::Ok, None),
            End::Code(_) => (RunState::Failed, Some("exit".to_owned())),
            End::Signal(_) => (RunState::Failed, Some("signal".to_owned())),
            End::Spawn { .. } => (RunState::Failed, Some("spawn".to_owned())),
            End::Preflight { .. } => (RunState::Blocked, Some("preflight".to_owned())),
        },
    };
    Outcome { state, reason, exit_code, signal }
}

/// A run that ended without a result.
#[must_use]
pub fn lost(reason: &str) -> Outcome {
    Outcome { state: RunState::Lost, reason: Some(reason.to_owned()), exit_code: None, signal: None }
}

/// How long to wait before attempt `attempt + 1`, or `None` when there is to be none.
#[must_use]
pub fn retry_after(outcome: &Outcome, retries: &Retries, attempt: u32) -> Option<Duration> {
    if attempt > retries.max {
        return None;
    }
    let class = match outcome.state {
        RunState::Timeout => RetryWhen::Timeout,
        RunState::Failed => match outcome.reason.as_deref() {
            // With a colon and a text when there was not even a keeper to start it.
            Some(reason) if reason.starts_with("spawn") => RetryWhen::Spawn,
            Some(reason) if TURNED_AWAY.contains(&reason) => RetryWhen::RateLimit,
            Some(_) | None => RetryWhen::Exit,
        },
        RunState::Ok
        | RunState::Killed
        | RunState::Lost
        | RunState::Blocked
        | RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::NotStarted
        | RunState::Skipped
        | RunState::Missed
        | RunState::KillFailed => return None,
    };
    retries.when.contains(&class).then(|| delay(retries, attempt))
}

/// The wait after attempt `attempt` (1 is the first), grown by the backoff and capped.
#[must_use]
pub fn delay(retries: &Retries, attempt: u32) -> Duration {
    let mut millis = retries.delay.as_millis();
    for _ in 1..attempt {
        millis = millis.saturating_mul(u128::from(retries.backoff_milli)) / 1000;
        if millis >= retries.max_delay.as_millis() {
            return retries.max_delay;
        }
    }
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(retries.max_delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(end: End, cause: Cause) -> Exit {
        Exit {
            end,
            cause,
            started_ms: 0,
            ended_ms: 0,
            duration_ms: 0,
            log_bytes: 0,
            log_cut_bytes: 0,
            log_lost_bytes: 0,
            killed: 0,
            escalated: false,
            core: false,
            leftovers: 0,
        }
    }

    #[test]
    fn every_end_and_cause() {
        let cases = [
            (End::Code(0), Cause::Itself, RunState::Ok, None),
            (End::Code(10), Cause::Itself, RunState::Ok, None),
            (End::Code(1), Cause::Itself, RunState::Failed, Some("exit")),
            (End::Signal(11), Cause::Itself, RunState::Failed, Some("signal")),
            (End::Spawn { code: 127, error: "gone".into() }, Cause::Itself, RunState::Failed, Some("spawn")),
            (End::Preflight { code: 3 }, Cause::Itself, RunState::Blocked, Some("preflight")),
            // Exit code 0 after a TERM is still a timeout: the limit was hit.
            (End::Code(0), Cause::Timeout, RunState::Timeout, Some("timeout")),
            (End::Signal(9), Cause::Timeout, RunState::Timeout, Some("timeout")),
            (End::Signal(15), Cause::Idle, RunState::Timeout, Some("idle")),
            (End::Signal(15), Cause::Stop("cancelled".into()), RunState::Killed, Some("cancelled")),
            (End::Code(0), Cause::Stop("replaced".into()), RunState::Killed, Some("replaced")),
            (End::Signal(15), Cause::Stop("turn_over".into()), RunState::Ok, Some("turn_over")),
        ];
        for (end, cause, state, reason) in cases {
            let outcome = decide(&exit(end.clone(), cause.clone()), &[0, 10]);
            assert_eq!((outcome.state, outcome.reason.as_deref()), (state, reason), "{end:?} {cause:?}");
        }
    }

    #[test]
    fn delays_grow_and_stop_growing() {
        let retries = Retries {
            max: 5,
            delay: Duration::from_secs(10),
            backoff_milli: 2000,
            max_delay: Duration::from_secs(60),
            when: vec![RetryWhen::Exit],
        };
        let seconds: Vec<u64> = (1..=5).map(|n| delay(&retries, n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 60, 60]);
    }

    #[test]
    fn only_what_was_asked_for_is_tried_again() {
        let retries = Retries {
            max: 1,
            delay: Duration::from_secs(1),
            backoff_milli: 1000,
            max_delay: Duration::from_secs(1),
            when: vec![RetryWhen::Exit],
        };
        let failed = decide(&exit(End::Code(1), Cause::Itself), &[0]);
        assert_eq!(retry_after(&failed, &retries, 1), Some(Duration::from_secs(1)));
        assert_eq!(retry_after(&failed, &retries, 2), None, "the attempts are used up");
        let late = decide(&exit(End::Code(1), Cause::Timeout), &[0]);
        assert_eq!(retry_after(&late, &retries, 1), None);
        let mut limited = failed.clone();
        limited.reason = Some("rate_limited".to_owned());
        assert_eq!(retry_after(&limited, &retries, 1), None, "its exit is not what it failed of");
        let patient = Retries { when: vec![RetryWhen::RateLimit], ..retries.clone() };
        assert_eq!(retry_after(&limited, &patient, 1), Some(Duration::from_secs(1)));
        assert_eq!(retry_after(&failed, &patient, 1), None);
        let blocked = decide(&exit(End::Preflight { code: 1 }, Cause::Itself), &[0]);
        assert_eq!(retry_after(&blocked, &retries, 1), None, "preflight is never retried");
    }
}
