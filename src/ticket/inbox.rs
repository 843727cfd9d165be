//! What people send to workers: written down at once, in line until a worker takes it, with receipts.
//!
//! The text is also a comment, so that it is in the next prompt whatever becomes of its delivery. Nothing
//! expires or dies without a word to whoever wrote it.

mod hand;
mod reap;
mod table;
#[cfg(test)]
mod tests;

use serde_json::json;

use crate::model::event::EventKind;
use crate::model::ids::{Fence, TicketId};
use crate::model::message::{Illegal, Message, MessageId, MessageState, Step};
use crate::model::ticket::{Step as TicketStep, Ticket, TicketState};
use crate::platform::failpoint;
use crate::store::Tx;

use super::board::{Ending, find};
use super::conversation::CommentKind;
use super::{Author, TicketError, Tickets, Unread, Worker, at_most, bounded};

pub use reap::Reaped;
pub use table::Query;

pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;
/// Of the way it came and of an error.
pub const VIA_MAX_BYTES: usize = 64;
pub const ERROR_MAX_BYTES: usize = 4 * 1024;
const REAPER: Author = Author::Lucid("messages");

impl Tickets {
    /// Puts a message in line for the ticket's worker, this one or the next, in the transaction of whatever it came
    /// with: a text, and by which way. One that was asked for moves the ticket back to `todo`. Where no worker reads
    /// it, it is a comment and its message has expired at once: whoever wrote it is told in the answer, and nobody
    /// else needs to be.
    ///
    /// # Errors
    /// [`TicketError::Illegal`] on a ticket that is over, [`TicketError::Invalid`] for no or too much text.
    pub fn reply_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        (text, via): (&str, &str),
        author: &Author,
        now_ms: i64,
    ) -> Result<(Message, Ticket), TicketError> {
        check(text, via)?;
        self.admit(tx, id, author, now_ms)?;
        let ticket = self.step_in(tx, id, TicketStep::Reply, author, now_ms)?;
        let (kind, step) = match self.unread(&ticket) {
            None => (CommentKind::Message, Step::Queue),
            Some(unread) => (CommentKind::Comment, Step::Expire { why: unread.told() }),
        };
        let message = self.take_down(tx, id, (text, via), (kind, step), author, now_ms)?;
        Ok((message, ticket))
    }

    /// Takes a reply that is for whoever looks after the ticket, which is no worker: it moves nothing and is in
    /// line until [`Tickets::heed_in`].
    ///
    /// # Errors
    /// [`TicketError::Invalid`] for no or too much text.
    pub fn answer_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        (text, via): (&str, &str),
        author: &Author,
        now_ms: i64,
    ) -> Result<(Message, Ticket), TicketError> {
        check(text, via)?;
        self.admit(tx, id, author, now_ms)?;
        let ticket = find(tx, id)?;
        let kept = (CommentKind::Message, Step::Queue);
        Ok((self.take_down(tx, id, (text, via), kept, author, now_ms)?, ticket))
    }

    /// The words in the conversation, and the message that they are.
    fn take_down(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        (text, via): (&str, &str),
        (kind, step): (CommentKind, Step),
        author: &Author,
        now_ms: i64,
    ) -> Result<Message, TicketError> {
        self.comment_in(tx, id, kind, text, author, now_ms)?;
        let received = table::insert(tx, id, text, &author.name(), via, now_ms)?;
        self.step_message(tx, received, step, author, now_ms)
    }

    /// Notes that what is in line for a ticket has been acted on. How much that was.
    ///
    /// # Errors
    /// What the database says.
    pub fn heed_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        author: &Author,
        now_ms: i64,
    ) -> Result<usize, TicketError> {
        let queued = table::queued(tx, id)?;
        let count = queued.len();
        for message in queued {
            self.step_message(tx, message, Step::Heed, author, now_ms)?;
        }
        Ok(count)
    }

    /// Why no worker reads what is written to `ticket` now; none where one does or will.
    #[must_use]
    pub fn unread(&self, ticket: &Ticket) -> Option<Unread> {
        if ticket.live {
            return None;
        }
        let id = &ticket.id;
        match ticket.state() {
            TicketState::Review | TicketState::Waiting | TicketState::Done | TicketState::Closed => {
                let why = format!("{id} is {}, where no worker is put on it", ticket.state().name());
                Some(Unread { why, way: Some(format!("lucid ticket move {id} todo")) })
            }
            TicketState::Todo | TicketState::InProgress | TicketState::NeedsInput => {
                let person = ticket.assignee.as_deref().filter(|who| *who == &*self.human)?;
                Some(Unread { why: format!("{id} is for {person}: no worker is put on it"), way: None })
            }
        }
    }

    /// Ends the waiting of what is in line for a ticket that no worker is put on any more.
    pub(super) fn let_go(&self, tx: &Tx<'_>, ticket: &Ticket, now_ms: i64) -> Result<(), TicketError> {
        let Some(unread) = self.unread(ticket) else { return Ok(()) };
        for message in table::queued(tx, &ticket.id)? {
            self.step_message(tx, message, Step::Expire { why: unread.told() }, &REAPER, now_ms)?;
        }
        Ok(())
    }

    /// # Errors
    /// What the database says.
    pub async fn message(&self, id: MessageId) -> Result<Option<Message>, TicketError> {
        self.store.read(move |conn| Ok(table::get(conn, id)?)).await
    }

    /// Newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn messages(&self, query: Query) -> Result<Vec<Message>, TicketError> {
        self.store.read(move |conn| Ok(table::list(conn, &query)?)).await
    }

    /// Takes everything that is in line for a worker, oldest first, in hand.
    ///
    /// # Errors
    /// [`TicketError::Stale`] when its attempt is over.
    pub async fn claim_all(&self, worker: &Worker) -> Result<Vec<Message>, TicketError> {
        let (this, worker, now_ms) = (self.clone(), worker.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                failpoint::hit("message.claim")?;
                let author = Author::Worker(worker.clone());
                this.admit(tx, &worker.ticket, &author, now_ms)?;
                let queued = table::queued(tx, &worker.ticket)?;
                let step = Step::Claim(worker.fence);
                queued.into_iter().map(|m| this.step_message(tx, m, step.clone(), &author, now_ms)).collect()
            })
            .await
    }

    /// Takes one message of the worker's ticket in hand.
    ///
    /// # Errors
    /// [`TicketError::Stale`], [`TicketError::NoMessage`], or [`TicketError::Message`] when it is not in line.
    pub async fn claim(&self, id: MessageId, worker: &Worker) -> Result<Message, TicketError> {
        self.by_worker(id, worker, Step::Claim(worker.fence)).await
    }

    /// Notes that a message is on the worker's input or in its prompt.
    ///
    /// # Errors
    /// As [`Tickets::claim`]; also when it is in another attempt's hand.
    pub async fn deliver(&self, id: MessageId, worker: &Worker) -> Result<Message, TicketError> {
        self.by_worker(id, worker, Step::Deliver(worker.fence)).await
    }

    /// Notes that the worker has read a message.
    ///
    /// # Errors
    /// As [`Tickets::deliver`].
    pub async fn ack(&self, id: MessageId, worker: &Worker) -> Result<Message, TicketError> {
        self.by_worker(id, worker, Step::Ack(worker.fence)).await
    }

    /// Notes that a message did not get through; it goes back in line or is dead, and its author is told.
    ///
    /// # Errors
    /// As [`Tickets::deliver`].
    pub async fn fail(&self, id: MessageId, worker: &Worker, error: &str) -> Result<Message, TicketError> {
        at_most("error", error, ERROR_MAX_BYTES)?;
        let step = Step::Fail { error: error.to_owned(), max_attempts: self.messages.max_attempts };
        self.by_worker(id, worker, step).await
    }

    /// Puts an expired or dead message in line again, from the beginning.
    ///
    /// # Errors
    /// [`TicketError::NoMessage`], [`TicketError::Message`] when it is under way or read, or
    /// [`TicketError::Unread`] when no worker would take it.
    pub async fn retry_message(&self, id: MessageId, author: &Author) -> Result<Message, TicketError> {
        self.by_person(id, Step::Retry, author).await
    }

    /// Takes a message out of the line; its text stays in the conversation.
    ///
    /// # Errors
    /// As [`Tickets::retry_message`].
    pub async fn drop_message(&self, id: MessageId, author: &Author) -> Result<Message, TicketError> {
        self.by_person(id, Step::Drop { who: author.name() }, author).await
    }

    async fn by_person(&self, id: MessageId, step: Step, author: &Author) -> Result<Message, TicketError> {
        let (this, author, now_ms) = (self.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                let message = table::get(tx, id)?.ok_or(TicketError::NoMessage(id))?;
                if step == Step::Retry {
                    this.has_reader(&find(tx, &message.ticket)?)?;
                }
                this.step_message(tx, message, step.clone(), &author, now_ms)
            })
            .await
    }

    /// Whether a message that is put in line again would be taken.
    fn has_reader(&self, ticket: &Ticket) -> Result<(), TicketError> {
        if ticket.state().is_over() {
            let from = ticket.state();
            return Err(crate::model::ticket::Illegal::State { from, step: "be replied to" }.into());
        }
        let unread = self.unread(ticket).or_else(|| {
            let asks = ticket.state() == TicketState::NeedsInput && !ticket.live;
            asks.then(|| Unread {
                why: format!("{} waits for an answer, and what was written before is none", ticket.id),
                way: Some(format!("lucid reply {} TEXT", ticket.id)),
            })
        });
        unread.map_or(Ok(()), |unread| Err(TicketError::Unread(unread)))
    }

    /// Where an attempt's end takes its ticket: to no decision while something waits that was not read.
    pub(super) fn after_what_was_read(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        ending: &Ending,
        now_ms: i64,
    ) -> Result<TicketStep, TicketError> {
        let has_reader = || Ok::<_, TicketError>(self.unread(&find(tx, id)?).is_none());
        if !ending.again
            || ending.then != TicketStep::Review
            || table::queued(tx, id)?.is_empty()
            || !has_reader()?
        {
            return Ok(ending.then.clone());
        }
        let body = "Its worker ended without having read what was written to it; the next one will.";
        self.comment_in(tx, id, CommentKind::Notice, body, &Author::Lucid("dispatch"), now_ms)?;
        Ok(TicketStep::Requeue)
    }

    /// What an ended attempt had in hand goes back in line, counted as failed; also what did not get through to it.
    pub(super) fn return_messages(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        fence: Fence,
        now_ms: i64,
    ) -> Result<(), TicketError> {
        for message in table::in_hand(tx, id, fence)? {
            let error = "its worker ended without having shown that it read it".to_owned();
            let fail = Step::Fail { error, max_attempts: self.messages.max_attempts };
            self.step_message(tx, message, fail, &REAPER, now_ms)?;
        }
        for message in table::failed(tx, id)? {
            self.step_message(tx, message, Step::Queue, &REAPER, now_ms)?;
        }
        Ok(())
    }

    /// Takes a step, with its event; and a word to the author where one is due.
    fn step_message(
        &self,
        tx: &Tx<'_>,
        mut message: Message,
        step: Step,
        author: &Author,
        now_ms: i64,
    ) -> Result<Message, TicketError> {
        let (from, fence) = (message.state(), message.fence);
        let is_drop = matches!(step, Step::Drop { .. });
        message.apply(step, now_ms)?;
        if !table::update(tx, &message, from, fence)? {
            return Err(Illegal::Fence.into());
        }
        let to = message.state();
        let kind = match to {
            MessageState::Received | MessageState::Claimed => return Ok(message),
            MessageState::Queued => EventKind::MessageQueued,
            MessageState::Delivered => EventKind::MessageDelivered,
            MessageState::Acked => EventKind::MessageAcked,
            MessageState::Expired => EventKind::MessageExpired,
            MessageState::Failed => EventKind::MessageFailed,
            MessageState::Dead => EventKind::MessageDead,
        };
        // Whoever wrote what never came in line has been told so in the answer.
        let is_told = from == MessageState::Received && to == MessageState::Expired;
        let data = json!({"message": message.id.0, "author": message.author, "via": message.via,
            "attempts": message.attempts, "error": message.error, "told": is_told});
        self.tell(tx, &message.ticket, kind, author, data, now_ms)?;
        if matches!(to, MessageState::Expired | MessageState::Dead) && !is_drop {
            let body = farewell(&message);
            self.comment_in(tx, &message.ticket, CommentKind::Notice, &body, &REAPER, now_ms)?;
        }
        Ok(message)
    }
}

fn check(text: &str, via: &str) -> Result<(), TicketError> {
    bounded("text", text, MESSAGE_MAX_BYTES)?;
    at_most("via", via, VIA_MAX_BYTES)
}

/// What the author is told.
fn farewell(message: &Message) -> String {
    let what = match message.state() {
        MessageState::Dead => format!("failed {} times and is given up", message.attempts),
        MessageState::Expired
        | MessageState::Received
        | MessageState::Queued
        | MessageState::Claimed
        | MessageState::Delivered
        | MessageState::Acked
        | MessageState::Failed => "has expired".to_owned(),
    };
    format!(
        "Message {} of {} {what}: {}. Its text stays in this conversation and is in the next prompt.",
        message.id.0,
        message.author,
        message.error.as_deref().unwrap_or("no reason is known"),
    )
}
