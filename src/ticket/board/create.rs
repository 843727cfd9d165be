//! Making tickets.

use serde_json::json;

use super::super::{Author, TicketError, Tickets, at_most, titled};
use super::{BODY_MAX_BYTES, NewTicket, TITLE_MAX_BYTES, find, names, table};
use crate::model::event::EventKind;
use crate::model::ticket::Ticket;
use crate::store::Tx;

impl Tickets {
    /// # Errors
    /// [`TicketError::Invalid`], or what the database says.
    pub async fn create(&self, new: NewTicket, author: &Author) -> Result<Ticket, TicketError> {
        titled(&new.title, TITLE_MAX_BYTES)?;
        at_most("body", &new.body, BODY_MAX_BYTES)?;
        names([("assignee", &new.assignee), ("agent", &new.agent), ("pool", &new.pool)])?;
        let (this, author, now_ms) = (self.clone(), author.clone(), self.clock.wall_ms());
        self.store.write(move |tx| this.create_in(tx, &new, &author, now_ms)).await
    }

    /// Makes a ticket in the caller's transaction; its texts are within their limits.
    ///
    /// # Errors
    /// What the database says.
    pub fn create_in(
        &self,
        tx: &Tx<'_>,
        new: &NewTicket,
        author: &Author,
        now_ms: i64,
    ) -> Result<Ticket, TicketError> {
        let id = table::insert(tx, &self.prefix, new, now_ms)?;
        let ticket = find(tx, &id)?;
        let data = json!({"title": ticket.title, "priority": ticket.priority.name()});
        self.tell(tx, &id, EventKind::TicketCreated, author, data, now_ms)?;
        Ok(ticket)
    }
}
