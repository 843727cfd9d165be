//! Everything that happens is one [`Event`], written in the transaction of the change it tells of.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::{RunId, TaskId};

/// A fact, before it has a sequence number.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    pub task: Option<TaskId>,
    pub run: Option<RunId>,
    /// Ticket identifier (`MC-1`).
    pub ticket: Option<String>,
    /// Who caused it: `scheduler`, `cli:alice`, `run:#12`, …
    pub actor: Option<String>,
    pub data: Value,
}

impl Event {
    #[must_use]
    pub fn new(kind: EventKind) -> Self {
        Self { kind, task: None, run: None, ticket: None, actor: None, data: Value::Null }
    }

    #[must_use]
    pub fn task(mut self, task: &TaskId) -> Self {
        self.task = Some(task.clone());
        self
    }

    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    #[must_use]
    pub fn ticket(mut self, ticket: &(impl ToString + ?Sized)) -> Self {
        self.ticket = Some(ticket.to_string());
        self
    }

    #[must_use]
    pub fn actor(mut self, actor: &str) -> Self {
        self.actor = Some(actor.to_owned());
        self
    }

    #[must_use]
    pub fn data(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

/// An event as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Rises over the whole database.
    pub seq: i64,
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub event: Event,
}

/// The kinds of facts, named as they stand in the database and on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    DaemonStarted,
    DaemonStopping,
    ClockStepped,
    Suspended,
    DatabaseRestored,
    DiskFull,
    BackupMade,
    TaskAdded,
    TaskChanged,
    TaskRemoved,
    TaskBroken,
    TaskMended,
    TaskEnabled,
    TaskDisabled,
    TaskPaused,
    TaskResumed,
    RunClaimed,
    RunStarted,
    RunStopping,
    RunFinished,
    RunNotStarted,
    RunSkipped,
    RunMissed,
    RunKillFailed,
    RetryPlanned,
    RetryDropped,
    Drained,
    Undrained,
    /// A slot was verified and handed over.
    SlotLeased,
    SlotReleased,
    /// A slot disagreed with git and agrees again.
    SlotHealed,
    /// Work that only the slot had is in a ref of its own.
    SlotRescued,
    /// A slot could be neither cleaned nor made anew: a person must hear of it.
    SlotQuarantined,
    /// A pool or a slot is not as its lease says, and what is known about it.
    PoolDrift,
    TicketCreated,
    /// Its text, priority or whose it is.
    TicketChanged,
    /// Its state.
    TicketMoved,
    TicketCommented,
    TicketAsked,
    TicketReported,
    AttemptStarted,
    AttemptEnded,
    MessageQueued,
    MessageDelivered,
    MessageAcked,
    MessageExpired,
    MessageFailed,
    MessageDead,
    /// A profile gets no work for a while.
    AgentCooled,
    /// A profile gets no work until a person has mended it.
    AgentDisabled,
    /// Something lasting that a person should hear of; see [`Condition`](super::condition::Condition).
    ConditionRaised,
    /// It is over.
    ConditionCleared,
    /// A person has taken note of an alert.
    AlertAcked,
    AlertMuted,
    AlertUnmuted,
    /// No alert gets through any more until a person has mended it.
    ChannelBroken,
    ChannelMended,
}

impl EventKind {
    /// The wire name; the same that serde writes.
    #[must_use]
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(name)) => name,
            Ok(_) | Err(_) => String::new(),
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(Value::String(name.to_owned())).ok()
    }
}
