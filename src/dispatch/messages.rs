//! Messages between people and a worker: onto its input while it works, with a receipt when it shows that it
//! read them.

use tracing::warn;

use super::attend::{AGAIN, Attendant};
use super::dialect;
use crate::model::message::{Message, MessageId, MessageState};
use crate::model::worker::AgentEvent;
use crate::platform::failpoint;
use crate::platform::process::{self, spec::name};
use crate::ticket::inbox::Query;
use crate::ticket::{self, TicketError};

/// Messages looked at after a restart.
const MESSAGES_MAX: u32 = 200;
/// Times that a note about a message is offered to the database.
const NOTES_MAX: u32 = 20;

impl Attendant {
    pub(super) async fn acknowledge(&mut self, said: &[AgentEvent]) {
        let Some(me) = self.me() else { return };
        let mut read = Vec::new();
        for event in said {
            match event {
                AgentEvent::Echo { message } if *message > 0 => {
                    self.sent.retain(|id| id.0 != *message);
                    read.push(MessageId(*message));
                }
                AgentEvent::Echo { .. }
                | AgentEvent::Text(_)
                | AgentEvent::Usage { .. }
                | AgentEvent::TurnOver(_) => {
                    read.append(&mut self.prompted);
                }
                AgentEvent::Session { .. }
                | AgentEvent::Tool { .. }
                | AgentEvent::ToolResult { .. }
                | AgentEvent::Limit(_)
                | AgentEvent::Retry { .. }
                | AgentEvent::Trouble { .. }
                | AgentEvent::Question(_)
                | AgentEvent::Raw => {}
            }
        }
        for id in read {
            self.note(id, "that it was read", || self.dispatch.tickets.ack(id, &me)).await;
        }
    }

    fn me(&self) -> Option<ticket::Worker> {
        let ticket = self.worker.ticket.clone()?;
        Some(ticket::Worker { ticket, run: self.worker.run, fence: self.worker.fence })
    }

    /// Puts what is in line for it on its input.
    pub(super) async fn deliver(&mut self) {
        let Some(me) = self.me().filter(|_| self.worker.dialect.is_live()) else { return };
        let waiting = Query {
            ticket: Some(me.ticket.clone()),
            states: vec![MessageState::Queued],
            before: None,
            limit: 1,
        };
        match self.dispatch.tickets.messages(waiting).await {
            Ok(found) if found.is_empty() => return,
            Ok(_) => {}
            Err(e) => return warn!(error = %e, "could not look for messages"),
        }
        let claimed = match self.dispatch.tickets.claim_all(&me).await {
            Ok(claimed) => claimed,
            Err(e) => return warn!(ticket = %me.ticket, error = %e, "could not take messages in hand"),
        };
        for message in claimed {
            self.send(&me, message.id, &message.text).await;
        }
    }

    async fn send(&mut self, me: &ticket::Worker, id: MessageId, text: &str) {
        let (dir, line) = (self.dispatch.runs.run_dir(self.worker.run), dialect::input_line(id.0, text));
        let written = tokio::task::spawn_blocking(move || process::append_stdin(&dir, &line)).await;
        let why = match written {
            Ok(Ok(())) => {
                failpoint::pass("message.appended");
                self.sent.push(id);
                return self.note(id, "its delivery", || self.dispatch.tickets.deliver(id, me)).await;
            }
            Ok(Err(e)) => e.to_string(),
            Err(e) => e.to_string(),
        };
        self.note(id, "that it did not get through", || self.dispatch.tickets.fail(id, me, &why)).await;
    }

    /// Notes something of a message, though the database may need a few tries: one that was read and of which that
    /// is not known would be sent again, or its author told that it was not.
    async fn note<F, W>(&self, id: MessageId, what: &str, work: F)
    where
        F: Fn() -> W,
        W: Future<Output = Result<Message, TicketError>>,
    {
        for tries in 1.. {
            match work().await {
                Ok(_) => return,
                Err(TicketError::Store(_) | TicketError::Sql(_)) if tries < NOTES_MAX => {}
                Err(e) => return warn!(message = id.0, error = %e, "could not note of a message {what}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// After a restart: what was in hand is on the worker's input already, or goes there now.
    pub(super) async fn resume_messages(&mut self) {
        let Some(me) = self.me().filter(|_| self.worker.dialect.is_live()) else { return };
        let in_hand = Query {
            ticket: Some(me.ticket.clone()),
            states: vec![MessageState::Claimed, MessageState::Delivered],
            before: None,
            limit: MESSAGES_MAX,
        };
        let mut mine = match self.dispatch.tickets.messages(in_hand).await {
            Ok(found) => found,
            Err(e) => return warn!(error = %e, "could not look for messages"),
        };
        mine.retain(|message| message.fence == Some(me.fence) && !self.prompted.contains(&message.id));
        let path = self.dispatch.runs.run_dir(self.worker.run).join(name::STDIN);
        let input = tokio::fs::read_to_string(&path).await.unwrap_or_default();
        for message in mine {
            let line = dialect::input_line(message.id.0, &message.text);
            let is_there = input.lines().any(|known| known == line);
            match message.state() {
                MessageState::Claimed if !is_there => self.send(&me, message.id, &message.text).await,
                MessageState::Claimed => {
                    self.sent.push(message.id);
                    self.note(message.id, "its delivery", || self.dispatch.tickets.deliver(message.id, &me))
                        .await;
                }
                MessageState::Delivered if is_there => self.sent.push(message.id),
                MessageState::Delivered => self.prompted.push(message.id),
                MessageState::Received
                | MessageState::Queued
                | MessageState::Acked
                | MessageState::Expired
                | MessageState::Failed
                | MessageState::Dead => {}
            }
        }
    }
}
