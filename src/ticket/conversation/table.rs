//! The rows of `comments`, and a ticket's report.

use rusqlite::{Connection, Row, params};

use crate::model::ids::{RunId, TicketId};
use crate::model::ticket::Report;

use super::super::board::table::unreadable;
use super::Author;

/// What a comment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentKind {
    Comment,
    /// Also sent to the worker.
    Message,
    Ask,
    Report,
    /// From lucid itself.
    Notice,
}

impl CommentKind {
    pub const ALL: [Self; 5] = [Self::Comment, Self::Message, Self::Ask, Self::Report, Self::Notice];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Message => "message",
            Self::Ask => "ask",
            Self::Report => "report",
            Self::Notice => "notice",
        }
    }
}

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    pub id: i64,
    pub at_ms: i64,
    pub kind: CommentKind,
    pub author: String,
    pub run: Option<RunId>,
    pub body: String,
}

pub(super) fn insert(
    conn: &Connection,
    ticket: &TicketId,
    kind: CommentKind,
    body: &str,
    author: &Author,
    now_ms: i64,
) -> rusqlite::Result<Comment> {
    let (name, run) = (author.name(), author.run());
    let id = conn
        .prepare_cached(
            "INSERT INTO comments (ticket, at_ms, kind, author, run, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .insert(params![ticket.number(), now_ms, kind.name(), name, run.map(|run| run.0), body])?;
    Ok(Comment { id, at_ms: now_ms, kind, author: name, run, body: body.to_owned() })
}

pub(super) fn after(
    conn: &Connection,
    ticket: &TicketId,
    id: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Comment>> {
    conn.prepare_cached(
        "SELECT id, at_ms, kind, author, run, body FROM comments \
         WHERE ticket = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?
    .query_map(params![ticket.number(), id, limit], read)?
    .collect()
}

/// The last `limit`, oldest first, and how many there are before them.
pub(super) fn last(
    conn: &Connection,
    ticket: &TicketId,
    limit: u32,
) -> rusqlite::Result<(Vec<Comment>, usize)> {
    let mut found = conn
        .prepare_cached(
            "SELECT id, at_ms, kind, author, run, body FROM comments WHERE ticket = ?1 ORDER BY id DESC LIMIT ?2",
        )?
        .query_map(params![ticket.number(), limit], read)?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    found.reverse();
    let first = found.first().map_or(i64::MAX, |comment| comment.id);
    let before = conn
        .prepare_cached("SELECT count(*) FROM comments WHERE ticket = ?1 AND id < ?2")?
        .query_row(params![ticket.number(), first], |row| row.get::<_, i64>(0))?;
    Ok((found, usize::try_from(before).unwrap_or(0)))
}

pub(super) fn set_report(
    conn: &Connection,
    ticket: &TicketId,
    report: &Report,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let report =
        serde_json::to_string(report).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    conn.prepare_cached(
        "UPDATE tickets SET report = ?2, updated_ms = ?3, version = version + 1 WHERE id = ?1",
    )?
    .execute(params![ticket.number(), report, now_ms])?;
    Ok(())
}

pub(super) fn has_reported(conn: &Connection, ticket: &TicketId, run: RunId) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM comments WHERE ticket = ?1 AND kind = 'report' AND run = ?2)",
    )?
    .query_row(params![ticket.number(), run.0], |row| row.get(0))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Comment> {
    let kind: String = row.get(2)?;
    let known = CommentKind::ALL.into_iter().find(|k| k.name() == kind);
    Ok(Comment {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        kind: known.ok_or_else(|| unreadable(format!("no kind of comment `{kind}`")))?,
        author: row.get(3)?,
        run: row.get::<_, Option<i64>>(4)?.map(RunId),
        body: row.get(5)?,
    })
}
