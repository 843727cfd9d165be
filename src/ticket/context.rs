//! Files that belong to a ticket. A path is data: it is kept and shown, and never opened here.

mod table;

use serde_json::json;

use crate::model::event::EventKind;
use crate::model::ids::TicketId;

use super::board::find;
use super::{Author, TicketError, Tickets, at_most, bounded};

pub use table::{Link, LinkSource};

pub const PATH_MAX_BYTES: usize = 4_096;
pub const TITLE_MAX_BYTES: usize = 512;
/// Files of one ticket.
pub const LINKS_MAX: usize = 200;

/// A file to be linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    pub path: String,
    pub title: Option<String>,
    pub source: LinkSource,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    New(Link),
    /// The path was there before; what is new of title and source counts.
    Known(Link),
}

impl Tickets {
    /// In the order in which they came.
    ///
    /// # Errors
    /// [`TicketError::NoTicket`], or what the database says.
    pub async fn links(&self, id: &TicketId) -> Result<Vec<Link>, TicketError> {
        let id = id.clone();
        self.store
            .read(move |conn| {
                find(conn, &id)?;
                Ok(table::list(conn, &id)?)
            })
            .await
    }

    /// Links a file; a path stands once.
    ///
    /// # Errors
    /// [`TicketError::Stale`] for a worker that is late, [`TicketError::Invalid`] for what is no path.
    pub async fn link(&self, id: &TicketId, new: NewLink, author: &Author) -> Result<Linked, TicketError> {
        bounded("path", &new.path, PATH_MAX_BYTES)?;
        at_most("title", new.title.as_deref().unwrap_or_default(), TITLE_MAX_BYTES)?;
        if new.path.contains('\0') {
            return Err(TicketError::Invalid { field: "path", why: "no path has a NUL in it".to_owned() });
        }
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                find(tx, &id)?;
                let known = table::list(tx, &id)?;
                if known.iter().any(|link| link.path == new.path) {
                    return Ok(Linked::Known(table::renew(tx, &id, &new)?));
                }
                if known.len() >= LINKS_MAX {
                    let why = format!("the ticket has {LINKS_MAX} files, which is all it may");
                    return Err(TicketError::Invalid { field: "path", why });
                }
                let link = table::insert(tx, &id, &new, &author.name(), now_ms)?;
                let data = json!({"fields": ["context"], "linked": link.path});
                this.tell(tx, &id, EventKind::TicketChanged, &author, data, now_ms)?;
                Ok(Linked::New(link))
            })
            .await
    }

    /// Takes a file from the ticket; the file stays where it is.
    ///
    /// # Errors
    /// [`TicketError::NoLink`] when it is none of this ticket's.
    pub async fn unlink(&self, id: &TicketId, link: i64, author: &Author) -> Result<(), TicketError> {
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                find(tx, &id)?;
                let path = table::delete(tx, &id, link)?.ok_or(TicketError::NoLink)?;
                let data = json!({"fields": ["context"], "unlinked": path});
                this.tell(tx, &id, EventKind::TicketChanged, &author, data, now_ms)
            })
            .await
    }
}
