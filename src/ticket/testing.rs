//! A database with tickets in a temporary folder, for the tests of this module.

pub mod table;

use std::time::Duration;

use tempfile::TempDir;

use crate::journal::Journal;
use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::message::Message;
use crate::model::ticket::Ticket;
use crate::platform::clock::Clock;
use crate::store::Store;

use super::board::{NewAttempt, NewTicket};
use super::{Author, MessageRules, TicketError, Tickets, Worker};

pub struct World {
    _dir: TempDir,
    pub store: Store,
    pub journal: Journal,
    pub tickets: Tickets,
}

pub fn world() -> World {
    world_with(MessageRules { expire_after: Duration::from_secs(1800), max_attempts: 3 })
}

pub fn world_with(rules: MessageRules) -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store = Store::open(dir.path(), clock.wall_ms()).unwrap().store;
    let journal = Journal::new(store.clone());
    let tickets = Tickets::new(store.clone(), journal.clone(), clock, "MC", rules);
    World { _dir: dir, store, journal, tickets }
}

pub fn alice() -> Author {
    Author::Person("user:alice".into())
}

impl World {
    pub async fn ticket(&self) -> TicketId {
        let new = NewTicket { title: "Fix the login".into(), ..NewTicket::default() };
        self.tickets.create(new, &alice()).await.unwrap().id
    }

    /// Somebody writes to the worker of `id`.
    pub async fn reply(
        &self,
        id: &TicketId,
        text: &str,
        via: &str,
        author: &Author,
    ) -> Result<(Message, Ticket), TicketError> {
        let (tickets, id, author) = (self.tickets.clone(), id.clone(), author.clone());
        let (text, via, now_ms) = (text.to_owned(), via.to_owned(), Clock::system().wall_ms());
        self.store.write(move |tx| tickets.reply_in(tx, &id, (&text, &via), &author, now_ms)).await
    }

    /// Puts a worker on `id`.
    pub async fn work(&self, id: &TicketId, run: i64, fence: i64) -> Result<Worker, TicketError> {
        let new = NewAttempt {
            run: RunId(run),
            fence: Fence(fence),
            agent: "fake".into(),
            branch: Some(format!("cr/{id}-fix-1")),
            slot: Some("main-1".into()),
            lease: Some(5),
            check_in_ms: None,
        };
        let (tickets, ticket, now_ms) = (self.tickets.clone(), id.clone(), Clock::system().wall_ms());
        self.store.write(move |tx| tickets.begin_attempt(tx, &ticket, &new, now_ms)).await.map(|_| Worker {
            ticket: id.clone(),
            run: RunId(run),
            fence: Fence(fence),
        })
    }
}
