//! The rows of `ticket_context`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::model::ids::TicketId;

use super::super::board::table::unreadable;
use super::NewLink;

/// Who linked it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkSource {
    #[default]
    Manual,
    /// A program that found it.
    Auto,
}

impl LinkSource {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Manual, Self::Auto].into_iter().find(|s| s.name() == name)
    }
}

/// A file that belongs to a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub id: i64,
    pub path: String,
    pub title: Option<String>,
    pub source: LinkSource,
    pub at_ms: i64,
    pub actor: String,
}

const COLUMNS: &str = "id, path, title, source, at_ms, actor";

pub(super) fn list(conn: &Connection, ticket: &TicketId) -> rusqlite::Result<Vec<Link>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM ticket_context WHERE ticket = ?1 ORDER BY id"))?
        .query_map([ticket.number()], read)?
        .collect()
}

pub(super) fn insert(
    conn: &Connection,
    ticket: &TicketId,
    new: &NewLink,
    actor: &str,
    now_ms: i64,
) -> rusqlite::Result<Link> {
    conn.prepare_cached(&format!(
        "INSERT INTO ticket_context (ticket, path, title, source, at_ms, actor) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING {COLUMNS}"
    ))?
    .query_row(params![ticket.number(), new.path, new.title, new.source.name(), now_ms, actor], read)
}

/// Gives a known path the new title; a person's link is not made a program's.
pub(super) fn renew(conn: &Connection, ticket: &TicketId, new: &NewLink) -> rusqlite::Result<Link> {
    conn.prepare_cached(&format!(
        "UPDATE ticket_context SET title = coalesce(?3, title), \
         source = CASE WHEN ?4 = 'manual' THEN 'manual' ELSE source END \
         WHERE ticket = ?1 AND path = ?2 RETURNING {COLUMNS}"
    ))?
    .query_row(params![ticket.number(), new.path, new.title, new.source.name()], read)
}

pub(super) fn delete(conn: &Connection, ticket: &TicketId, id: i64) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("DELETE FROM ticket_context WHERE ticket = ?1 AND id = ?2 RETURNING path")?
        .query_row(params![ticket.number(), id], |row| row.get(0))
        .optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Link> {
    let source: String = row.get(3)?;
    Ok(Link {
        id: row.get(0)?,
        path: row.get(1)?,
        title: row.get(2)?,
        source: LinkSource::parse(&source).ok_or_else(|| unreadable(format!("no source `{source}`")))?,
        at_ms: row.get(4)?,
        actor: row.get(5)?,
    })
}
