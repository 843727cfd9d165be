//! Messages between people and a worker: onto its input while it works, with a receipt when it shows that it
//! read them.

use tracing::warn;

use super::attend::{AGAIN, Attendant};
use super::dialect;
use crate::model::message::{Message, MessageId, MessageState};
use crate::model::worker::AgentEvent;
use crate::platform::failpoint;
use crate::platform::process::{self, spec::name};
use crate::store::Tx;
use crate::ticket::inbox::Query;
use crate::ticket::{self, TicketError, Tickets};

/// Times that a note about a message is offered to the database.
const NOTES_MAX: u32 = 20;

impl Attendant {
    /// Which of the messages that it was given the worker has read, as `said` shows.
    pub(super) fn shown_read(&self, said: &[AgentEvent]) -> Vec<MessageId> {
        shown_read(&self.prompted, &self.sent, said)
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

    /// After a restart: what was in hand is on the worker's input already, or goes there now, or was in its prompt.
    pub(super) async fn resume_messages(&mut self) {
        let Some(me) = self.me() else { return };
        let mut mine = self.in_hand(&me).await;
        mine.retain(|message| !self.prompted.contains(&message.id));
        let path = self.dispatch.runs.run_dir(self.worker.run).join(name::STDIN);
        let input = tokio::fs::read_to_string(&path).await.unwrap_or_default();
        let is_live = self.worker.dialect.is_live();
        for message in mine {
            let line = dialect::input_line(message.id.0, &message.text);
            let is_there = is_live && input.lines().any(|known| known == line);
            match message.state() {
                MessageState::Claimed if is_there => {
                    self.sent.push(message.id);
                    self.note(message.id, "its delivery", || self.dispatch.tickets.deliver(message.id, &me))
                        .await;
                }
                MessageState::Claimed if is_live => self.send(&me, message.id, &message.text).await,
                MessageState::Delivered if is_there => self.sent.push(message.id),
                MessageState::Delivered => self.prompted.push(message.id),
                MessageState::Received
                | MessageState::Queued
                | MessageState::Claimed
                | MessageState::Acked
                | MessageState::Expired
                | MessageState::Failed
                | MessageState::Dead => {}
            }
        }
    }

    /// Whatever the database needs for it: the receipt of a message that is not known here would be lost.
    async fn in_hand(&self, me: &ticket::Worker) -> Vec<Message> {
        for tries in 1.. {
            match self.dispatch.tickets.in_hand(me).await {
                Ok(found) => return found,
                Err(e) if tries >= NOTES_MAX => {
                    warn!(error = %e, "could not look for messages");
                    break;
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
        Vec::new()
    }
}

/// The prompt has been read when the worker says anything of its own. An echo of what it was not given means
/// nothing.
fn shown_read(prompted: &[MessageId], sent: &[MessageId], said: &[AgentEvent]) -> Vec<MessageId> {
    let mut read = Vec::new();
    for event in said {
        match event {
            AgentEvent::Echo { message } if *message > 0 => {
                let id = MessageId(*message);
                if sent.contains(&id) || prompted.contains(&id) {
                    read.push(id);
                }
            }
            AgentEvent::Echo { .. }
            | AgentEvent::Text(_)
            | AgentEvent::Usage { .. }
            | AgentEvent::TurnOver(_) => read.extend(prompted),
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
    read.sort_unstable();
    read.dedup();
    read
}

/// Notes that a message was read, in the transaction that takes in what shows it: a daemon that dies in between
/// would see no sign of it again. What is no longer the worker's to read stays as it is.
pub(super) fn acknowledge(
    tickets: &Tickets,
    tx: &Tx<'_>,
    id: MessageId,
    me: &ticket::Worker,
    now_ms: i64,
) -> Result<(), TicketError> {
    match tickets.ack_in(tx, id, me, now_ms) {
        Err(e @ (TicketError::Store(_) | TicketError::Sql(_))) => return Err(e),
        Err(e) => warn!(message = id.0, error = %e, "could not note of a message that it was read"),
        Ok(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_it_was_given_counts_as_read_and_each_once() {
        let (prompted, sent) = ([MessageId(1), MessageId(2)], [MessageId(7), MessageId(8)]);
        let text = || AgentEvent::Text("so".into());
        let echo = |message| AgentEvent::Echo { message };
        let table = [
            (vec![AgentEvent::Raw], vec![]),
            (vec![text(), text(), echo(0)], vec![1, 2]),
            (vec![echo(8), echo(8)], vec![8]),
            (vec![echo(2)], vec![2]),
            (vec![echo(99)], vec![]),
            (vec![echo(99), text(), echo(7)], vec![1, 2, 7]),
        ];
        for (said, want) in table {
            let read: Vec<i64> = shown_read(&prompted, &sent, &said).iter().map(|id| id.0).collect();
            assert_eq!(read, want, "{said:?}");
        }
    }
}
