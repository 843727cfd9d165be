//! How a tree of processes is brought to its end: SIGTERM, a grace, SIGKILL until nothing is left.
//!
//! Pure: time goes in, the next step comes out. Times are those of the clock that counts suspend.

use std::time::Duration;

use super::spec::{Cause, End};

/// What the run came to.
#[derive(Debug)]
pub struct Verdict {
    pub end: End,
    pub cause: Cause,
    pub killed: u32,
    pub escalated: bool,
    pub core: bool,
    pub leftovers: u32,
}

impl Verdict {
    /// It ended by itself, and nothing had to be ended for it.
    pub fn is_well(&self) -> bool {
        self.cause == Cause::Itself && self.killed == 0 && self.leftovers == 0 && !self.escalated
    }
}

/// Pause between two rounds of SIGKILL.
const KILL_PAUSE: Duration = Duration::from_millis(5);
/// What survives SIGKILL for this long is reported.
pub const KILL_FAILED_AFTER: Duration = Duration::from_secs(2);
/// Pause between two rounds after that.
const KILL_FAILED_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Terminate,
    Kill,
    /// The tree has outlived SIGKILL: say so, and go on.
    ReportFailure,
}

/// How far the ending of a tree has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody wants it to end.
    NotBegun,
    /// SIGTERM goes out at `at`.
    Planned {
        at: Duration,
        grace: Duration,
    },
    /// SIGTERM is out, SIGKILL follows at `kill_at`.
    Grace {
        kill_at: Duration,
    },
    Killing {
        since: Duration,
        next_at: Duration,
        reported: bool,
    },
}

impl Ending {
    pub fn has_begun(self) -> bool {
        self != Self::NotBegun
    }

    pub fn is_killing(self) -> bool {
        matches!(self, Self::Killing { .. })
    }

    /// Asks for the end at `at`, or brings forward one that is on its way: of two graces the shorter counts.
    #[must_use]
    pub fn ask(self, at: Duration, grace: Duration) -> Self {
        match self {
            Self::NotBegun => Self::Planned { at, grace },
            Self::Planned { at: planned, grace: other } => {
                Self::Planned { at: planned.min(at), grace: other.min(grace) }
            }
            Self::Grace { kill_at } => Self::Grace { kill_at: kill_at.min(at.saturating_add(grace)) },
            Self::Killing { .. } => self,
        }
    }

    /// The step that is due, if one is.
    #[must_use]
    pub fn step(self, now: Duration) -> (Self, Option<Step>) {
        match self {
            Self::Planned { at, grace } if now >= at => {
                (Self::Grace { kill_at: now.saturating_add(grace) }, Some(Step::Terminate))
            }
            Self::Grace { kill_at } if now >= kill_at => {
                let next_at = now + KILL_PAUSE;
                (Self::Killing { since: now, next_at, reported: false }, Some(Step::Kill))
            }
            Self::Killing { since, reported: false, .. } if now >= since + KILL_FAILED_AFTER => {
                (Self::Killing { since, next_at: now, reported: true }, Some(Step::ReportFailure))
            }
            Self::Killing { since, next_at, reported } if now >= next_at => {
                let pause = if reported { KILL_FAILED_PAUSE } else { KILL_PAUSE };
                (Self::Killing { since, next_at: now + pause, reported }, Some(Step::Kill))
            }
            Self::NotBegun | Self::Planned { .. } | Self::Grace { .. } | Self::Killing { .. } => (self, None),
        }
    }

    /// When [`Ending::step`] must be asked again.
    pub fn next_at(self) -> Option<Duration> {
        match self {
            Self::NotBegun => None,
            Self::Planned { at, .. } => Some(at),
            Self::Grace { kill_at } => Some(kill_at),
            Self::Killing { next_at, .. } => Some(next_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Runs the clock from one due time to the next, and writes down what happens when.
    fn history(mut ending: Ending, until: Duration) -> Vec<(Duration, Step)> {
        let mut steps = Vec::new();
        while let Some(at) = ending.next_at().filter(|at| *at < until) {
            let (next, step) = ending.step(at);
            ending = next;
            steps.extend(step.map(|step| (at, step)));
        }
        steps
    }

    #[test]
    fn term_then_kill_then_a_report_and_a_round_each_second() {
        let steps = history(Ending::NotBegun.ask(s(10), s(5)), s(20));
        assert_eq!(steps[..2], [(s(10), Step::Terminate), (s(15), Step::Kill)]);
        let reports: Vec<_> = steps.iter().filter(|(_, step)| *step == Step::ReportFailure).collect();
        assert_eq!(reports, [&(s(17), Step::ReportFailure)]);
        let late: Vec<_> = steps.iter().filter(|(at, step)| *at > s(17) && *step == Step::Kill).collect();
        assert_eq!(late.len(), 2, "{late:?}");
    }

    #[test]
    fn nothing_happens_before_its_time() {
        let ending = Ending::NotBegun.ask(s(10), s(5));
        assert_eq!(ending.step(s(9)), (ending, None));
        assert_eq!(Ending::NotBegun.step(s(99)), (Ending::NotBegun, None));
        assert_eq!(Ending::NotBegun.next_at(), None);
    }

    #[test]
    fn a_second_request_only_hurries() {
        let (grace, _) = Ending::NotBegun.ask(s(0), s(10)).step(s(0));
        assert_eq!(grace.ask(s(1), s(60)).next_at(), Some(s(10)));
        assert_eq!(grace.ask(s(1), s(2)).next_at(), Some(s(3)));
        let (killing, step) = grace.ask(s(1), s(0)).step(s(1));
        assert_eq!(step, Some(Step::Kill));
        assert_eq!(killing.ask(s(1), s(60)), killing);
    }

    #[test]
    fn an_endless_grace_does_not_overflow() {
        let (ending, _) = Ending::NotBegun.ask(s(1), Duration::MAX).step(s(1));
        assert_eq!(ending.next_at(), Some(Duration::MAX));
    }
}
