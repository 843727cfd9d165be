//! An alert: one trouble from its first notice to its end, whatever is sent about it. The state is private to
//! this file.

use serde::{Deserialize, Serialize};

use super::notice::{Notice, Part};
use super::task::Severity;

/// Where an alert stands. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Firing,
    /// A person knows; nothing more is said until it is over or gets worse.
    Acked,
    /// Nothing is said until then.
    Muted,
    Resolved,
}

impl AlertState {
    pub const ALL: [Self; 4] = [Self::Firing, Self::Acked, Self::Muted, Self::Resolved];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acked => "acked",
            Self::Muted => "muted",
            Self::Resolved => "resolved",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// An alert's number. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub i64);

/// What can happen to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It happens again.
    Repeat,
    Ack,
    /// Until then, milliseconds since the epoch.
    Mute(i64),
    /// A person, or the time, ends the mute.
    Unmute,
    Resolve,
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Self::Repeat => "happen again",
            Self::Ack => "be acknowledged",
            Self::Mute(_) => "be muted",
            Self::Unmute => "be unmuted",
            Self::Resolve => "end",
        }
    }
}

/// A step that is not to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an alert that is {} cannot {step}", from.name())]
pub struct Illegal {
    pub from: AlertState,
    pub step: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// 0 before it has its row.
    pub id: AlertId,
    pub fingerprint: String,
    state: AlertState,
    /// The gravest so far.
    pub severity: Severity,
    pub count: i64,
    /// Milliseconds since the epoch, as all here.
    pub first_ms: i64,
    pub last_ms: i64,
    /// When a message of its own was last made.
    pub told_ms: Option<i64>,
    /// The one that it was folded into.
    pub storm: Option<AlertId>,
    pub muted_until_ms: Option<i64>,
    /// Who acknowledged or muted it last.
    pub actor: Option<String>,
    pub resolved_ms: Option<i64>,
    /// Good ends since it last happened, where one is not believed.
    pub goods: u32,
    /// The newest.
    pub notice: Notice,
    /// How it ended.
    pub ending: Vec<Part>,
}

impl Alert {
    /// A fresh one; muted from the start while its fingerprint is.
    #[must_use]
    pub fn begin(notice: Notice, now_ms: i64, muted_until_ms: Option<i64>) -> Self {
        let muted = muted_until_ms.filter(|until| *until > now_ms);
        let state = if muted.is_some() { AlertState::Muted } else { AlertState::Firing };
        Self::restore(state, AlertId(0), notice.fingerprint(), notice, (now_ms, now_ms), muted)
    }

    /// One in `state`, which the caller has read from its row.
    #[must_use]
    pub fn restore(
        state: AlertState,
        id: AlertId,
        fingerprint: String,
        notice: Notice,
        (first_ms, last_ms): (i64, i64),
        muted_until_ms: Option<i64>,
    ) -> Self {
        Self {
            id,
            fingerprint,
            state,
            severity: notice.severity,
            count: 1,
            first_ms,
            last_ms,
            told_ms: None,
            storm: None,
            muted_until_ms,
            actor: None,
            resolved_ms: None,
            goods: 0,
            notice,
            ending: Vec::new(),
        }
    }

    #[must_use]
    pub fn state(&self) -> AlertState {
        self.state
    }

    /// The state at `now_ms`: a mute that has run out is none.
    #[must_use]
    pub fn state_at(&self, now_ms: i64) -> AlertState {
        match self.state {
            AlertState::Muted if self.muted_until_ms.is_none_or(|until| until <= now_ms) => {
                AlertState::Firing
            }
            state => state,
        }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == AlertState::Resolved
    }

    /// Takes `step`.
    ///
    /// # Errors
    /// [`Illegal`] when it is over; nothing has changed then.
    pub fn step(&mut self, step: Step, now_ms: i64) -> Result<(), Illegal> {
        self.state = next(self.state_at(now_ms), step)?;
        match step {
            Step::Repeat => {
                self.count = self.count.saturating_add(1);
                self.last_ms = now_ms;
                self.goods = 0;
            }
            Step::Mute(until) => self.muted_until_ms = Some(until),
            Step::Unmute | Step::Ack => self.muted_until_ms = None,
            Step::Resolve => self.resolved_ms = Some(now_ms),
        }
        Ok(())
    }

    /// It has become graver than what a person acknowledged or muted: that was said of the lesser thing.
    pub fn worsen(&mut self, severity: Severity) {
        self.severity = severity;
        match self.state {
            AlertState::Acked | AlertState::Muted => {
                self.state = AlertState::Firing;
                self.muted_until_ms = None;
            }
            AlertState::Firing | AlertState::Resolved => {}
        }
    }
}

/// The whole machine on one screen.
fn next(from: AlertState, step: Step) -> Result<AlertState, Illegal> {
    use AlertState as S;
    match (from, step) {
        (S::Firing | S::Acked | S::Muted, Step::Repeat) => Ok(from),
        (S::Firing | S::Acked | S::Muted, Step::Ack) => Ok(S::Acked),
        (S::Firing | S::Acked | S::Muted, Step::Mute(_)) => Ok(S::Muted),
        (S::Muted | S::Firing, Step::Unmute) => Ok(S::Firing),
        (S::Acked, Step::Unmute) => Ok(S::Acked),
        (S::Firing | S::Acked | S::Muted, Step::Resolve) => Ok(S::Resolved),
        (S::Resolved, Step::Repeat | Step::Ack | Step::Mute(_) | Step::Unmute | Step::Resolve) => {
            Err(Illegal { from, step: step.verb() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::notice::NoticeKind;
    use super::*;

    fn alert(state: AlertState) -> Alert {
        let notice = Notice::new(NoticeKind::TaskFailed, "task:t".to_owned(), Severity::Warning);
        let muted = (state == AlertState::Muted).then_some(100);
        Alert::restore(state, AlertId(1), notice.fingerprint(), notice, (1, 1), muted)
    }

    #[test]
    fn the_whole_machine() {
        let mut table = String::new();
        for from in AlertState::ALL {
            let cells: Vec<String> = [Step::Repeat, Step::Ack, Step::Mute(200), Step::Unmute, Step::Resolve]
                .into_iter()
                .map(|step| {
                    let mut alert = alert(from);
                    let before = alert.clone();
                    match alert.step(step, 50) {
                        Ok(()) => alert.state().name().to_owned(),
                        Err(_) => {
                            assert_eq!(alert, before);
                            "-".to_owned()
                        }
                    }
                })
                .collect();
            table.push_str(&format!("{:<8} {}\n", from.name(), cells.join(" ")));
        }
        // repeat, ack, mute, unmute, resolve
        insta::assert_snapshot!(table, @r"
        firing   firing acked muted firing resolved
        acked    acked acked muted acked resolved
        muted    muted acked muted firing resolved
        resolved - - - - -
        ");
    }

    #[test]
    fn a_mute_runs_out_by_itself() {
        let mut muted = alert(AlertState::Muted);
        assert_eq!((muted.state_at(99), muted.state_at(100)), (AlertState::Muted, AlertState::Firing));
        muted.step(Step::Repeat, 100).unwrap();
        assert_eq!((muted.state(), muted.count, muted.last_ms), (AlertState::Firing, 2, 100));
    }

    #[test]
    fn what_gets_worse_speaks_again() {
        let mut acked = alert(AlertState::Acked);
        acked.worsen(Severity::Critical);
        assert_eq!((acked.state(), acked.severity), (AlertState::Firing, Severity::Critical));
        let mut muted = alert(AlertState::Muted);
        muted.worsen(Severity::Critical);
        assert_eq!((muted.state(), muted.muted_until_ms), (AlertState::Firing, None));
        let mut over = alert(AlertState::Resolved);
        over.worsen(Severity::Critical);
        assert!(over.is_over());
    }
}
