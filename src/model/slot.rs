//! A slot of a worktree pool: who has it and what is being done to it.
//!
//! What the slot's files look like is for git to say; this is the lease and the intent, nothing else.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Fence, RunId};

/// A lease's number; it rises with every claim and is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// Every lease has its own fence: the same number.
    #[must_use]
    pub fn fence(self) -> Fence {
        Fence(self.0)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lease {}", self.0)
    }
}

/// Whose a lease is: never a process's, so it outlives every restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    Ticket(String),
    Run(RunId),
}

impl Holder {
    #[must_use]
    pub fn ticket(&self) -> Option<&str> {
        match self {
            Self::Ticket(ticket) => Some(ticket),
            Self::Run(_) => None,
        }
    }

    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) => Some(*run),
            Self::Ticket(_) => None,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket(ticket) => f.write_str(ticket),
            Self::Run(run) => write!(f, "{run}"),
        }
    }
}

/// Where a slot stands. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    Free,
    /// Being brought to a clean base, for a holder or for itself.
    Preparing,
    Leased,
    /// Given back, being cleaned.
    Releasing,
    /// Could not be cleaned twice: being set aside and made anew.
    Rebuilding,
    /// Could not be made anew either; tried again from time to time, in nobody's way.
    Quarantined,
}

impl SlotState {
    pub const ALL: [Self; 6] =
        [Self::Free, Self::Preparing, Self::Leased, Self::Releasing, Self::Rebuilding, Self::Quarantined];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Preparing => "preparing",
            Self::Leased => "leased",
            Self::Releasing => "releasing",
            Self::Rebuilding => "rebuilding",
            Self::Quarantined => "quarantined",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Something is being done to its files, or was when the daemon died.
    #[must_use]
    pub fn is_intent(self) -> bool {
        match self {
            Self::Preparing | Self::Releasing | Self::Rebuilding => true,
            Self::Free | Self::Leased | Self::Quarantined => false,
        }
    }
}

/// What can happen to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Somebody wants it.
    Claim,
    /// It was found to disagree with git while nobody had it.
    Mend,
    /// Verified for whoever claimed it.
    Verified,
    Release,
    /// Verified for nobody.
    Cleaned,
    /// Could not be cleaned twice.
    Rebuild,
    /// Could not be made anew.
    GiveUp,
    /// A quarantined slot gets its next try.
    Retry,
    /// Whoever was at it has died.
    Recover,
}

impl Step {
    fn verb(self) -> &'static str {
        match self {
            Self::Claim => "be claimed",
            Self::Mend => "be mended",
            Self::Verified => "be handed over",
            Self::Release => "be released",
            Self::Cleaned => "become free",
            Self::Rebuild => "be rebuilt",
            Self::GiveUp => "be quarantined",
            Self::Retry => "be tried again",
            Self::Recover => "be recovered",
        }
    }
}

/// A step that the state machine does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a slot that is {} cannot {step}", from.name())]
pub struct Illegal {
    pub from: SlotState,
    pub step: &'static str,
}

/// The lease side of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// `POOL-n`, unique over all pools.
    pub id: String,
    pub pool: String,
    pub number: u32,
    state: SlotState,
    /// Of whoever may touch its files; upkeep takes one as well.
    pub lease: Option<LeaseId>,
    pub holder: Option<Holder>,
    /// Ticket whose work may still lie in it, for the name of a rescue.
    pub former: Option<String>,
    /// The work branch made in it for this lease.
    pub branch: Option<String>,
    /// The commit it was handed over at.
    pub base_commit: Option<String>,
    /// Since when it is in its state, milliseconds since the epoch.
    pub since_ms: i64,
    /// What a person should know: why it is quarantined, what lies aside.
    pub note: Option<String>,
}

impl Slot {
    /// A slot as its row has it.
    #[must_use]
    pub fn new(pool: &str, number: u32, state: SlotState) -> Self {
        Self {
            id: format!("{pool}-{number}"),
            pool: pool.to_owned(),
            number,
            state,
            lease: None,
            holder: None,
            former: None,
            branch: None,
            base_commit: None,
            since_ms: 0,
            note: None,
        }
    }

    #[must_use]
    pub fn state(&self) -> SlotState {
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
pub fn next(from: SlotState, step: Step) -> Result<SlotState, Illegal> {
    use SlotState as S;
    let to = match from {
        S::Free => match step {
            Step::Claim | Step::Mend => Some(S::Preparing),
            Step::Verified
            | Step::Release
            | Step::Cleaned
            | Step::Rebuild
            | Step::GiveUp
            | Step::Retry
            | Step::Recover => None,
        },
        S::Preparing | S::Rebuilding => match step {
            Step::Verified => Some(S::Leased),
            Step::Cleaned => Some(S::Free),
            Step::Rebuild => (from == S::Preparing).then_some(S::Rebuilding),
            Step::GiveUp => (from == S::Rebuilding).then_some(S::Quarantined),
            Step::Release => Some(S::Releasing),
            Step::Recover => Some(S::Preparing),
            Step::Claim | Step::Mend | Step::Retry => None,
        },
        S::Leased => match step {
            Step::Release => Some(S::Releasing),
            Step::Claim
            | Step::Mend
            | Step::Verified
            | Step::Cleaned
            | Step::Rebuild
            | Step::GiveUp
            | Step::Retry
            | Step::Recover => None,
        },
        S::Releasing => match step {
            Step::Cleaned => Some(S::Free),
            Step::Rebuild => Some(S::Rebuilding),
            Step::Recover => Some(S::Preparing),
            Step::Claim | Step::Mend | Step::Verified | Step::Release | Step::GiveUp | Step::Retry => None,
        },
        S::Quarantined => match step {
            Step::Retry => Some(S::Rebuilding),
            Step::Claim
            | Step::Mend
            | Step::Verified
            | Step::Release
            | Step::Cleaned
            | Step::Rebuild
            | Step::GiveUp
            | Step::Recover => None,
        },
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
            Step::Claim,
            Step::Mend,
            Step::Verified,
            Step::Release,
            Step::Cleaned,
            Step::Rebuild,
            Step::GiveUp,
            Step::Retry,
            Step::Recover,
        ];
        let mut table = String::new();
        for from in SlotState::ALL {
            let ways: Vec<String> = steps
                .iter()
                .filter_map(|&step| next(from, step).ok().map(|to| format!("{step:?} -> {}", to.name())))
                .collect();
            writeln!(table, "{:<11} {}", from.name(), ways.join(" | ")).unwrap();
        }
        insta::assert_snapshot!(table, @r"
        free        Claim -> preparing | Mend -> preparing
        preparing   Verified -> leased | Release -> releasing | Cleaned -> free | Rebuild -> rebuilding | Recover -> preparing
        leased      Release -> releasing
        releasing   Cleaned -> free | Rebuild -> rebuilding | Recover -> preparing
        rebuilding  Verified -> leased | Release -> releasing | Cleaned -> free | GiveUp -> quarantined | Recover -> preparing
        quarantined Retry -> rebuilding
        ");
    }

    #[test]
    fn a_slot_in_use_is_neither_claimed_nor_mended() {
        for from in SlotState::ALL.into_iter().filter(|state| *state != SlotState::Free) {
            assert!(next(from, Step::Claim).is_err());
            assert!(next(from, Step::Mend).is_err());
        }
    }
}
