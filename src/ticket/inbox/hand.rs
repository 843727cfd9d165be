//! What becomes of a message in a worker's hand.

use crate::model::message::{Illegal, Message, MessageId, MessageState, Step};
use crate::model::ticket::{Step as TicketStep, TicketState};
use crate::platform::failpoint;
use crate::store::Tx;
use crate::ticket::board::find;
use crate::ticket::{Author, TicketError, Tickets, Worker};

use super::table;

impl Tickets {
    /// What the worker's attempt has claimed or been given and has not shown to have read, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn in_hand(&self, worker: &Worker) -> Result<Vec<Message>, TicketError> {
        let worker = worker.clone();
        self.store.read(move |conn| Ok(table::in_hand(conn, &worker.ticket, worker.fence)?)).await
    }

    /// Notes in the caller's transaction that the worker has read a message. Nothing has changed where it is
    /// refused.
    ///
    /// # Errors
    /// As [`Tickets::deliver`].
    pub fn ack_in(
        &self,
        tx: &Tx<'_>,
        id: MessageId,
        worker: &Worker,
        now_ms: i64,
    ) -> Result<Message, TicketError> {
        self.step_by_worker(tx, id, worker, Step::Ack(worker.fence), now_ms)
    }

    pub(super) async fn by_worker(
        &self,
        id: MessageId,
        worker: &Worker,
        step: Step,
    ) -> Result<Message, TicketError> {
        let (this, worker, now_ms) = (self.clone(), worker.clone(), self.clock.wall_ms());
        self.store.write(move |tx| this.step_by_worker(tx, id, &worker, step.clone(), now_ms)).await
    }

    fn step_by_worker(
        &self,
        tx: &Tx<'_>,
        id: MessageId,
        worker: &Worker,
        step: Step,
        now_ms: i64,
    ) -> Result<Message, TicketError> {
        failpoint::hit("message.step")?;
        let author = Author::Worker(worker.clone());
        self.admit(tx, &worker.ticket, &author, now_ms)?;
        let message = table::get(tx, id)?.filter(|m| m.ticket == worker.ticket);
        let message = message.ok_or(TicketError::NoMessage(id))?;
        if matches!(step, Step::Fail { .. }) && message.fence != Some(worker.fence) {
            return Err(Illegal::Fence.into());
        }
        let message = self.step_message(tx, message, step, &author, now_ms)?;
        if message.state() == MessageState::Delivered
            && find(tx, &worker.ticket)?.state() == TicketState::Todo
        {
            // A worker that was answered while it was still there goes on.
            self.step_in(tx, &worker.ticket, TicketStep::Resume, &author, now_ms)?;
        }
        Ok(message)
    }
}
