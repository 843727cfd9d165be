//! A ticket: a piece of work with a conversation. Its states and every way from one to the next.
//!
//! The state is private to this file; a change of state is [`Ticket::apply`], which takes what happened
//! and gives the next state or says that this cannot be. Whether a ticket can be dispatched right now
//! ("blocked") is worked out by whoever dispatches, never kept here.

use serde::{Deserialize, Serialize};

use super::ids::{RunId, TicketId};

/// Where a ticket stands. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    Todo,
    InProgress,
    /// A person has to answer.
    NeedsInput,
    /// Parked for something outside; never dispatched.
    Waiting,
    /// Work is there, a decision is not.
    Review,
    /// The recorded commit is on the base branch.
    Done,
    /// Over without a commit, for a reason that is kept.
    Closed,
}

impl TicketState {
    pub const ALL: [Self; 7] = [
        Self::Todo,
        Self::InProgress,
        Self::NeedsInput,
        Self::Waiting,
        Self::Review,
        Self::Done,
        Self::Closed,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::NeedsInput => "needs_input",
            Self::Waiting => "waiting",
            Self::Review => "review",
            Self::Done => "done",
            Self::Closed => "closed",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Nothing follows but being opened again.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Done | Self::Closed => true,
            Self::Todo | Self::InProgress | Self::NeedsInput | Self::Waiting | Self::Review => false,
        }
    }
}

/// How urgent; the order is that of dispatch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Critical,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Higher goes first; what the database orders by.
    #[must_use]
    pub fn rank(self) -> i64 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }
}

/// What a worker needs of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub need: String,
    #[serde(default)]
    pub why: Option<String>,
    #[serde(default)]
    pub how: Option<String>,
    #[serde(default)]
    pub options: Vec<String>,
}

/// How a worker says it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The worker's own word for it: `done`, `partial`, `failed`, …
    pub status: String,
    /// One line.
    pub summary: String,
    #[serde(default)]
    pub commit: Option<String>,
    /// What was measured.
    #[serde(default)]
    pub evidence: Option<String>,
}

/// Why a ticket is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs: `pool_full`, `parked`, `attempts_spent`, …
    pub code: String,
    pub text: String,
    /// Milliseconds since the epoch.
    pub since_ms: i64,
}

/// What the base branch says about a recorded commit, after a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateAnswer {
    Merged,
    NotMerged,
    /// No commit is recorded.
    NoCommit,
    /// The remote or the repository could not be asked; that is no yes.
    Unreadable(String),
}

/// What can happen to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A worker has its slot and its run.
    Start,
    /// A question; whatever the worker ends with afterwards, it stands.
    Ask(Ask),
    /// A person has answered or written.
    Reply,
    /// A message has reached the worker that is still at work.
    Resume,
    /// Parked, perhaps until a date (milliseconds since the epoch).
    Park {
        text: String,
        until_ms: Option<i64>,
    },
    /// The work is there.
    Review,
    /// Back in line: the worker is gone, or a person says so.
    Requeue,
    /// Tried too often, or failed for good: a person has to look.
    GiveUp {
        code: String,
        text: String,
    },
    Done(GateAnswer),
    Close {
        text: String,
    },
}

impl Step {
    fn verb(&self) -> &'static str {
        match self {
            Self::Start => "be started",
            Self::Ask(_) => "ask",
            Self::Reply => "be replied to",
            Self::Resume => "go on",
            Self::Park { .. } => "be parked",
            Self::Review => "go to review",
            Self::Requeue => "go back to todo",
            Self::GiveUp { .. } => "be given up",
            Self::Done(_) => "be done",
            Self::Close { .. } => "be closed",
        }
    }
}

/// A step that is not to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("a ticket that is {} cannot {step}", from.name())]
    State { from: TicketState, step: &'static str },
    #[error("the gate to done is closed: {}", told(.0))]
    Gate(GateAnswer),
}

fn told(answer: &GateAnswer) -> String {
    match answer {
        GateAnswer::Merged => "the commit is on the base branch".to_owned(),
        GateAnswer::NotMerged => "the recorded commit is not on the base branch".to_owned(),
        GateAnswer::NoCommit => "no commit is recorded".to_owned(),
        GateAnswer::Unreadable(why) => format!("the base branch cannot be read: {why}"),
    }
}

/// One ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub id: TicketId,
    pub title: String,
    pub body: String,
    state: TicketState,
    pub priority: Priority,
    pub assignee: Option<String>,
    /// Profile that is to work on it; none leaves it to dispatch.
    pub agent: Option<String>,
    pub pool: Option<String>,
    /// Attempts that were started.
    pub attempt: u32,
    pub max_attempts: Option<u32>,
    /// Of the last attempt.
    pub branch: Option<String>,
    /// The recorded commit: what the gate to done looks at, and nothing else.
    pub commit: Option<String>,
    /// Of the last attempt.
    pub run: Option<RunId>,
    /// Of the last attempt while it lives.
    pub slot: Option<String>,
    /// When the worker is expected to have said something.
    pub check_in_ms: Option<i64>,
    /// A run works on it now.
    pub live: bool,
    pub reason: Option<Reason>,
    /// When what it waits for is expected.
    pub until_ms: Option<i64>,
    pub ask: Option<Ask>,
    pub report: Option<Report>,
    pub created_ms: i64,
    pub updated_ms: i64,
    /// Rises with every change a person could have seen.
    pub version: i64,
}

impl Ticket {
    /// A row in `state`, which the caller has read from the board or is about to write.
    #[must_use]
    pub fn new(id: TicketId, title: String, state: TicketState, now_ms: i64) -> Self {
        Self {
            id,
            title,
            body: String::new(),
            state,
            priority: Priority::Normal,
            assignee: None,
            agent: None,
            pool: None,
            attempt: 0,
            max_attempts: None,
            branch: None,
            commit: None,
            run: None,
            slot: None,
            check_in_ms: None,
            live: false,
            reason: None,
            until_ms: None,
            ask: None,
            report: None,
            created_ms: now_ms,
            updated_ms: now_ms,
            version: 1,
        }
    }

    #[must_use]
    pub fn state(&self) -> TicketState {
        self.state
    }

    /// Takes `step`, and what comes with it: the question, the reason, the date.
    ///
    /// # Errors
    /// [`Illegal`] when the state does not allow it or the gate to done is closed; nothing has changed.
    pub fn apply(&mut self, step: Step, now_ms: i64) -> Result<(), Illegal> {
        let to = next(self.state, &step)?;
        let reason =
            |code: &str, text: String| Some(Reason { code: code.to_owned(), text, since_ms: now_ms });
        match step {
            Step::Ask(ask) => {
                self.reason = reason("asked", ask.need.clone());
                (self.ask, self.until_ms) = (Some(ask), None);
            }
            Step::Park { text, until_ms } => {
                (self.reason, self.until_ms) = (reason("parked", text), until_ms);
            }
            Step::GiveUp { code, text } => {
                (self.reason, self.until_ms) = (reason(&code, text), None);
            }
            Step::Close { text } => {
                (self.reason, self.until_ms) = (reason("closed", text), None);
            }
            Step::Start | Step::Review | Step::Requeue | Step::Resume | Step::Done(_) => {
                (self.reason, self.until_ms) = (None, None);
            }
            Step::Reply if to == self.state => {}
            Step::Reply => (self.reason, self.until_ms) = (None, None),
        }
        if to != TicketState::NeedsInput {
            self.ask = None;
        }
        // More is wanted than what was handed in: the gate must not open for that.
        if to == TicketState::Todo && (self.state == TicketState::Review || self.state.is_over()) {
            self.commit = None;
        }
        self.state = to;
        self.updated_ms = now_ms;
        Ok(())
    }
}

/// The whole policy on one screen.
fn next(from: TicketState, step: &Step) -> Result<TicketState, Illegal> {
    use TicketState::{Closed, Done, InProgress, NeedsInput, Review, Todo, Waiting};
    let refuse = || Err(Illegal::State { from, step: step.verb() });
    match (step, from) {
        (Step::Start, Todo) => Ok(InProgress),
        (Step::Start, InProgress | NeedsInput | Waiting | Review | Done | Closed) => refuse(),
        (Step::Ask(_), Todo | InProgress | NeedsInput | Waiting | Review) => Ok(NeedsInput),
        (Step::Reply, NeedsInput) => Ok(Todo),
        (Step::Reply, Todo | InProgress | Waiting | Review) => Ok(from),
        (Step::Resume, Todo | InProgress) => Ok(InProgress),
        (Step::Resume, NeedsInput | Waiting | Review | Done | Closed) => refuse(),
        (Step::Park { .. }, Todo | InProgress | NeedsInput | Waiting | Review) => Ok(Waiting),
        (Step::Review, Todo | InProgress | NeedsInput | Waiting) => Ok(Review),
        (Step::Review, Review | Done | Closed) => refuse(),
        (Step::Requeue, InProgress | NeedsInput | Waiting | Review | Done | Closed) => Ok(Todo),
        (Step::Requeue, Todo) => refuse(),
        (Step::GiveUp { .. }, Todo | InProgress | NeedsInput | Waiting | Review) => Ok(NeedsInput),
        (Step::Done(GateAnswer::Merged), Todo | InProgress | NeedsInput | Waiting | Review) => Ok(Done),
        (Step::Done(answer), Todo | InProgress | NeedsInput | Waiting | Review) => {
            Err(Illegal::Gate(answer.clone()))
        }
        (Step::Close { .. }, Todo | InProgress | NeedsInput | Waiting | Review) => Ok(Closed),
        (
            Step::Ask(_)
            | Step::Reply
            | Step::Park { .. }
            | Step::GiveUp { .. }
            | Step::Done(_)
            | Step::Close { .. },
            Done | Closed,
        ) => refuse(),
    }
}

#[cfg(test)]
mod tests;
