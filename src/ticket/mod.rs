//! Tickets as they are kept: the board, the conversation, what workers print, what files belong to it,
//! and what people send to workers.
//!
//! It knows runs and slots only by number and name. Who works on what is decided by whoever dispatches;
//! whether a commit is merged is a value that comes in. Every write of a worker names its run and fence,
//! which stand in the WHERE of the statement that lets it in: one that is late changes nothing.

pub mod board;
pub mod brief;
pub mod context;
pub mod conversation;
pub mod events;
pub mod inbox;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use crate::journal::Journal;
use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::message::{self, MessageId};
use crate::model::ticket;
use crate::platform::clock::Clock;
use crate::platform::failpoint::Fault;
use crate::store::{Store, StoreError};

use self::events::Hub;

/// Why something was not done to a ticket; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error("there is no ticket {0}")]
    NoTicket(TicketId),
    #[error("there is no message {}", .0.0)]
    NoMessage(MessageId),
    #[error("the ticket has no such file")]
    NoLink,
    #[error(transparent)]
    Illegal(#[from] ticket::Illegal),
    #[error(transparent)]
    Message(#[from] message::Illegal),
    /// The worker's attempt is over, or never was.
    #[error("run {run} no longer works on {ticket}")]
    Stale { ticket: TicketId, run: RunId },
    /// Somebody else was faster.
    #[error("the ticket has changed: it is at version {version}, {}", state.name())]
    Changed { version: i64, state: ticket::TicketState },
    /// A message would be in line for a worker that does not come.
    #[error("{}", .0.why)]
    Unread(Unread),
    /// What was asked for needs the worker to be gone.
    #[error("run {run} is at work on {ticket}")]
    AtWork { ticket: TicketId, run: RunId },
    /// A text that is empty, too long or of the wrong kind; the field by name.
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
}

impl TicketError {
    /// What the database said, apart from what is wrong with the question.
    ///
    /// # Errors
    /// Itself, where the database has answered.
    pub fn database(self) -> Result<StoreError, Self> {
        match self {
            Self::Store(error) => Ok(error),
            Self::Sql(error) => Ok(error.into()),
            other => Err(other),
        }
    }
}

impl From<Fault> for TicketError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

/// Why no worker reads what is written to a ticket now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub why: String,
    /// The command after which one would.
    pub way: Option<String>,
}

impl Unread {
    /// Both in one line.
    #[must_use]
    pub fn told(&self) -> String {
        let way = self.way.as_ref().map(|way| format!("; to have one read it: {way}")).unwrap_or_default();
        format!("{}{way}", self.why)
    }
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// Or a task with the right to write to tickets; by name.
    Person(String),
    Worker(Worker),
    /// A part of the daemon, by name.
    Lucid(&'static str),
}

/// A worker as its token says: let in only while this attempt is the ticket's live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub ticket: TicketId,
    pub run: RunId,
    pub fence: Fence,
}

impl Author {
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Person(name) => name.clone(),
            Self::Worker(worker) => format!("run:{}", worker.run),
            Self::Lucid(part) => (*part).to_owned(),
        }
    }

    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Worker(worker) => Some(worker.run),
            Self::Person(_) | Self::Lucid(_) => None,
        }
    }
}

/// Limits of messages, from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRules {
    /// Longest time in line.
    pub expire_after: Duration,
    /// Failed deliveries after which a message is dead.
    pub max_attempts: u32,
}

/// All tickets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tickets {
    store: Store,
    journal: Journal,
    clock: Clock,
    hub: Hub,
    prefix: Arc<str>,
    messages: MessageRules,
    /// Whose tickets no worker is put on.
    human: Arc<str>,
}

impl Tickets {
    /// `prefix` names the tickets that are made from now on.
    #[must_use]
    pub fn new(store: Store, journal: Journal, clock: Clock, prefix: &str, messages: MessageRules) -> Self {
        Self { store, journal, clock, hub: Hub::default(), prefix: prefix.into(), messages, human: "".into() }
    }

    /// Tickets that are assigned to `human` are given to no worker.
    #[must_use]
    pub fn with_human(self, human: &str) -> Self {
        Self { human: human.into(), ..self }
    }

    /// Reads a ticket in the caller's transaction.
    ///
    /// # Errors
    /// [`TicketError::NoTicket`] when there is none.
    pub fn find_in(&self, tx: &crate::store::Tx<'_>, id: &TicketId) -> Result<ticket::Ticket, TicketError> {
        board::find(tx, id)
    }

    /// Notes that a worker was heard of. False when its attempt is over.
    ///
    /// # Errors
    /// What the database says.
    pub fn hear(&self, tx: &crate::store::Tx<'_>, worker: &Worker, now_ms: i64) -> Result<bool, TicketError> {
        Ok(board::table::hear(tx, worker, now_ms)?)
    }
}

/// Holds a text within its limit.
fn bounded(field: &'static str, text: &str, max_bytes: usize) -> Result<(), TicketError> {
    if text.trim().is_empty() {
        return Err(TicketError::Invalid { field, why: "is empty".to_owned() });
    }
    at_most(field, text, max_bytes)
}

/// Holds a title within its limit, and to one line that every screen shows as it is.
fn titled(title: &str, max_bytes: usize) -> Result<(), TicketError> {
    if title.chars().any(char::is_control) {
        let why = "has a line break or another control character; more than a line belongs in the body";
        return Err(TicketError::Invalid { field: "title", why: why.to_owned() });
    }
    bounded("title", title, max_bytes)
}

fn at_most(field: &'static str, text: &str, max_bytes: usize) -> Result<(), TicketError> {
    if text.len() > max_bytes {
        let why = format!("has {} bytes, more than {max_bytes}", text.len());
        return Err(TicketError::Invalid { field, why });
    }
    Ok(())
}
