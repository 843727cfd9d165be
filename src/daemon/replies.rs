//! What people write to tickets: to a worker, or about a login that they were asked to renew. An answer about a
//! login has that login looked at, at once.

use std::time::Duration;

use crate::alert::policy::Answered;
use crate::health;
use crate::model::ids::TicketId;
use crate::model::message::Message;
use crate::model::ticket::Ticket;
use crate::store::{StoreError, Tx};
use crate::ticket::{Author, TicketError, Tickets};

use tracing::warn;

use super::App;
use super::refused::{Refused, RefusedKind};

/// Whoever answers about a login waits so long for what is found.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// What became of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replied {
    pub message: Message,
    pub ticket: Ticket,
    /// The login that is to be looked at now: see [`App::look_at_login`].
    pub login: Option<String>,
}

/// Writes a reply down in the caller's transaction: a text, and by which way it came.
///
/// # Errors
/// As [`Tickets::reply_in`].
pub fn reply_in(
    tickets: &Tickets,
    tx: &Tx<'_>,
    id: &TicketId,
    said: (&str, &str),
    author: &Author,
    now_ms: i64,
) -> Result<Replied, TicketError> {
    let login = health::table::login_of(tx, &id.to_string()).map_err(StoreError::from)?;
    let ticket = tickets.find_in(tx, id)?;
    // A worker that somebody has put on it all the same reads what is for it.
    let login = login.filter(|_| !ticket.live && !ticket.state().is_over());
    let (message, ticket) = match login {
        Some(_) => tickets.answer_in(tx, id, said, author, now_ms)?,
        None => tickets.reply_in(tx, id, said, author, now_ms)?,
    };
    Ok(Replied { message, ticket, login })
}

impl App {
    /// Who acts on an answer to a ticket's question.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn answered(&self, ticket: &Ticket) -> Result<Answered, StoreError> {
        Ok(match self.login_of(&ticket.id).await? {
            Some(login) => {
                let check = self.config.token_checks.iter().find(|check| check.name == login);
                Answered::ByLook { portal: check.and_then(|check| check.portal.clone()) }
            }
            None if ticket.assignee.as_deref() == Some(self.config.health.human.as_str()) => {
                Answered::ByPerson
            }
            None => Answered::ByWorker,
        })
    }

    async fn login_of(&self, id: &TicketId) -> Result<Option<String>, StoreError> {
        let ticket = id.to_string();
        self.store.read(move |conn| Ok(health::table::login_of(conn, &ticket)?)).await
    }

    /// Has the login looked at that a ticket is about, where it is about one: somebody says that it is renewed.
    pub(super) async fn look_at_login_of(&self, id: &TicketId) {
        match self.login_of(id).await {
            Ok(Some(login)) => drop(self.look_at_login(&login)),
            Ok(None) => {}
            // What was asked for is done all the same.
            Err(e) => warn!(ticket = %id, error = %e, "whether a ticket is about a login could not be read"),
        }
    }

    /// Writes a reply down, and has the login looked at that it is about: what comes of that soon is in the answer.
    ///
    /// # Errors
    /// [`Refused`]: no such ticket, one that is over, no or too much text.
    pub async fn reply(
        &self,
        id: &TicketId,
        text: &str,
        via: &str,
        author: &Author,
    ) -> Result<Replied, Refused> {
        let (tickets, author, now_ms) = (self.tickets.clone(), author.clone(), self.clock.wall_ms());
        let (ticket, text, via) = (id.clone(), text.to_owned(), via.to_owned());
        let replied =
            self.store.write(move |tx| reply_in(&tickets, tx, &ticket, (&text, &via), &author, now_ms)).await;
        let mut replied = replied.map_err(|error| match error {
            TicketError::Illegal(illegal) => Refused::new(
                RefusedKind::Conflict,
                "illegal_step",
                illegal.to_string(),
                format!(
                    "open it again: lucid ticket move {id} todo; or note it: lucid ticket comment {id} TEXT"
                ),
            ),
            other => other.into(),
        })?;
        if let Some(login) = &replied.login {
            // It goes on by itself when nobody waits for it any more.
            let _ = tokio::time::timeout(LOOK_PATIENCE, self.look_at_login(login)).await;
            // The reply is written down, whatever cannot be read after it.
            if let Ok(Some(message)) = self.tickets.message(replied.message.id).await {
                replied.message = message;
            }
            if let Ok(ticket) = self.ticket(id).await {
                replied.ticket = ticket;
            }
        }
        Ok(replied)
    }
}
