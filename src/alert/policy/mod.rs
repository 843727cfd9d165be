//! What an event leads to: pure, from the event and what belongs to it to what a person is told. Whether that is
//! said, folded or left unsaid is [`dedupe`](super::dedupe)'s business.

mod facts;
mod machine;
mod runs;
#[cfg(test)]
pub(crate) mod tests;
mod tickets;

use crate::model::event::{EventKind, Recorded};
use crate::model::ids::RunId;
use crate::model::notice::{Notice, Part};

use super::dedupe::Over;

pub use facts::{
    Answered, Before, EndFacts, Facts, FileFacts, MachineFacts, MessageFacts, Missed, RunFacts, TaskFacts,
    TicketFacts,
};

/// What an event leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Raise(Box<Notice>),
    Clear(Over),
    /// What a run has to say, to be sent as it is.
    Brief {
        run: RunId,
        text: Vec<Part>,
    },
}

impl Verdict {
    fn raise(notice: Notice) -> Self {
        Self::Raise(Box::new(notice))
    }
}

/// The events that lead to anything.
pub const KINDS: [EventKind; 24] = [
    EventKind::DaemonStarted,
    EventKind::DatabaseRestored,
    EventKind::DiskFull,
    EventKind::TaskBroken,
    EventKind::TaskMended,
    EventKind::TaskRemoved,
    EventKind::RunFinished,
    EventKind::RunMissed,
    EventKind::RunKillFailed,
    EventKind::SlotQuarantined,
    EventKind::SlotHealed,
    EventKind::SlotLeased,
    EventKind::SlotReleased,
    EventKind::TicketAsked,
    EventKind::TicketMoved,
    EventKind::AttemptStarted,
    EventKind::AttemptEnded,
    EventKind::MessageExpired,
    EventKind::MessageDead,
    EventKind::MessageQueued,
    EventKind::AgentCooled,
    EventKind::AgentDisabled,
    EventKind::ConditionRaised,
    EventKind::ConditionCleared,
];

/// What follows from one event. Facts that are missing or of another kind leave out what they would have told.
#[must_use]
pub fn judge(recorded: &Recorded, facts: &Facts) -> Vec<Verdict> {
    let event = &recorded.event;
    match event.kind {
        EventKind::RunFinished => runs::finished(event, facts),
        EventKind::RunMissed => runs::missed(event, facts),
        EventKind::RunKillFailed => runs::kill_failed(event, facts),
        EventKind::TaskBroken => runs::file_broken(event, facts),
        EventKind::TaskMended | EventKind::TaskRemoved => runs::file_mended(event),
        EventKind::TicketAsked => tickets::asked(event, facts),
        EventKind::TicketMoved => tickets::moved(event, facts),
        EventKind::AttemptStarted => tickets::started(event),
        EventKind::AttemptEnded => tickets::ended(event, facts),
        EventKind::MessageExpired | EventKind::MessageDead => tickets::message_lost(event, facts),
        EventKind::MessageQueued => tickets::message_queued(event),
        EventKind::DaemonStarted => machine::started(facts),
        EventKind::DatabaseRestored => machine::restored(facts),
        EventKind::DiskFull => machine::disk_full(facts),
        EventKind::SlotQuarantined => machine::quarantined(event),
        EventKind::SlotHealed | EventKind::SlotLeased | EventKind::SlotReleased => machine::healed(event),
        EventKind::AgentCooled | EventKind::AgentDisabled => machine::agent_rests(event),
        EventKind::ConditionRaised => machine::condition(event, facts),
        EventKind::ConditionCleared => machine::condition_over(event),
        EventKind::DaemonStopping
        | EventKind::ClockStepped
        | EventKind::Suspended
        | EventKind::BackupMade
        | EventKind::TaskAdded
        | EventKind::TaskChanged
        | EventKind::TaskEnabled
        | EventKind::TaskDisabled
        | EventKind::TaskPaused
        | EventKind::TaskResumed
        | EventKind::RunClaimed
        | EventKind::RunStarted
        | EventKind::RunStopping
        | EventKind::RunNotStarted
        | EventKind::RunSkipped
        | EventKind::RetryPlanned
        | EventKind::RetryDropped
        | EventKind::Drained
        | EventKind::Undrained
        | EventKind::SlotRescued
        | EventKind::PoolDrift
        | EventKind::TicketCreated
        | EventKind::TicketChanged
        | EventKind::TicketCommented
        | EventKind::TicketReported
        | EventKind::MessageDelivered
        | EventKind::MessageAcked
        | EventKind::MessageFailed
        | EventKind::AlertAcked
        | EventKind::AlertMuted
        | EventKind::AlertUnmuted
        | EventKind::ChannelBroken
        | EventKind::ChannelMended => Vec::new(),
    }
}

/// A text at `field` of an event's data.
fn text<'a>(event: &'a crate::model::event::Event, field: &str) -> Option<&'a str> {
    event.data.get(field).and_then(serde_json::Value::as_str)
}

fn number(event: &crate::model::event::Event, field: &str) -> Option<i64> {
    event.data.get(field).and_then(serde_json::Value::as_i64)
}

/// `1st`, `2nd`, `3rd`, `4th`, …
fn ordinal(n: u32) -> String {
    let ending = match (n % 10, n % 100) {
        (1, last) if last != 11 => "st",
        (2, last) if last != 12 => "nd",
        (3, last) if last != 13 => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

fn plain(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

fn bold(text: impl Into<String>) -> Part {
    Part::Bold(text.into())
}

fn code(text: impl Into<String>) -> Part {
    Part::Code(text.into())
}

#[cfg(test)]
mod ordinals {
    #[test]
    fn each_has_its_ending() {
        let told: Vec<String> =
            [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].into_iter().map(super::ordinal).collect();
        assert_eq!(told.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 101st 111th");
    }
}
