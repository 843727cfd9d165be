//! Tickets and messages, from the daemon's values to those of the wire.

use serde_json::value::RawValue;

use super::convert::instant;
use super::wire;
use crate::model::message::Message;
use crate::model::ticket::Ticket;
use crate::ticket::conversation::Comment;
use crate::ticket::events::TicketEvent;

/// Bytes of a body in a list.
const BODY_IN_LIST_BYTES: usize = 2_000;

/// `max_attempts` counts where the ticket says none of its own.
#[must_use]
pub fn ticket(ticket: &Ticket, max_attempts: u32) -> wire::Ticket {
    wire::Ticket {
        id: ticket.id.to_string(),
        title: ticket.title.clone(),
        body: ticket.body.clone(),
        state: ticket.state(),
        priority: ticket.priority,
        assignee: ticket.assignee.clone(),
        agent: ticket.agent.clone(),
        pool: ticket.pool.clone(),
        attempt: ticket.attempt,
        max_attempts: ticket.max_attempts.or(Some(max_attempts)),
        branch: ticket.branch.clone(),
        commit: ticket.commit.clone(),
        run: ticket.run.map(|run| run.0),
        slot: ticket.slot.clone(),
        check_in_at: ticket.check_in_ms.map(instant),
        reason: ticket.reason.as_ref().map(|reason| wire::TicketReason {
            code: reason.code.clone(),
            text: reason.text.clone(),
            since: instant(reason.since_ms),
        }),
        until: ticket.until_ms.map(instant),
        ask: ticket.ask.clone(),
        report: ticket.report.clone(),
        created_at: instant(ticket.created_ms),
        updated_at: instant(ticket.updated_ms),
        version: ticket.version,
    }
}

/// For a list: a page must not be as long as all its bodies.
#[must_use]
pub fn listed(listed: &Ticket, max_attempts: u32) -> wire::Ticket {
    let mut wire = ticket(listed, max_attempts);
    let end = (0..=BODY_IN_LIST_BYTES).rev().find(|at| wire.body.is_char_boundary(*at));
    wire.body.truncate(end.unwrap_or(0));
    wire
}

#[must_use]
pub fn comment(comment: &Comment) -> wire::Comment {
    wire::Comment {
        id: comment.id,
        at: instant(comment.at_ms),
        kind: comment.kind.name().to_owned(),
        author: comment.author.clone(),
        run: comment.run.map(|run| run.0),
        body: comment.body.clone(),
    }
}

#[must_use]
pub fn ticket_event(event: &TicketEvent) -> wire::TicketEvent {
    // It was JSON when it was written; should it ever not be, the reader still gets JSON.
    let data = RawValue::from_string(event.data.clone()).unwrap_or_else(|_| RawValue::NULL.to_owned());
    wire::TicketEvent {
        seq: event.seq,
        at: instant(event.at_ms),
        kind: event.kind.clone(),
        source: event.source.name().to_owned(),
        run: event.run.map(|run| run.0),
        data,
    }
}

#[must_use]
pub fn message(message: &Message) -> wire::Message {
    wire::Message {
        id: message.id.0,
        ticket: message.ticket.to_string(),
        state: message.state(),
        attempts: message.attempts,
        text: message.text.clone(),
        author: message.author.clone(),
        via: message.via.clone(),
        created_at: instant(message.created_ms),
        delivered_at: message.delivered_ms.map(instant),
        acked_at: message.acked_ms.map(instant),
        error: message.error.clone(),
    }
}
