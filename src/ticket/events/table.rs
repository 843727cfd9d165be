//! The rows of `ticket_events`.

use rusqlite::{Connection, Row, params};

use crate::model::ids::{RunId, TicketId};

use super::super::board::table::unreadable;
use super::{Source, TicketEvent};

/// Draws `count` numbers from the journal's sequence; the first.
pub fn draw(conn: &Connection, count: usize) -> rusqlite::Result<i64> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut raise =
        conn.prepare_cached("UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'events' RETURNING seq")?;
    let mut rows = raise.query([count])?;
    if let Some(row) = rows.next()? {
        return Ok(row.get::<_, i64>(0)? - count + 1);
    }
    // Nothing has ever been written to the journal.
    conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?1)", [count])?;
    Ok(1)
}

pub fn insert(conn: &Connection, ticket: &TicketId, event: &TicketEvent) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO ticket_events (seq, ticket, at_ms, source, type, run, data) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        event.seq,
        ticket.number(),
        event.at_ms,
        event.source.name(),
        event.kind,
        event.run.map(|run| run.0),
        event.data,
    ])?;
    Ok(())
}

/// A page in order that ends at `limit` events, or after the one with which it has `bytes`.
pub fn after(
    conn: &Connection,
    ticket: i64,
    seq: i64,
    limit: usize,
    bytes: usize,
) -> rusqlite::Result<Vec<TicketEvent>> {
    let mut statement = conn.prepare_cached(
        "SELECT seq, at_ms, source, type, run, data FROM ticket_events \
         WHERE ticket = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut page = Vec::new();
    let mut total = 0;
    for event in statement.query_map(params![ticket, seq, limit], read)? {
        let event = event?;
        total += event.data.len();
        page.push(event);
        if total >= bytes {
            break;
        }
    }
    Ok(page)
}

/// What is kept of a ticket's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Up to here nothing is kept any more.
    pub trimmed: i64,
    pub latest: i64,
    /// The highest number given to anything.
    pub given: i64,
}

pub fn span(conn: &Connection, ticket: i64) -> rusqlite::Result<Span> {
    conn.prepare_cached(
        "SELECT coalesce((SELECT trimmed_seq FROM tickets WHERE id = ?1), 0), \
         coalesce((SELECT max(seq) FROM ticket_events WHERE ticket = ?1), 0), \
         coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)",
    )?
    .query_row([ticket], |row| Ok(Span { trimmed: row.get(0)?, latest: row.get(1)?, given: row.get(2)? }))
}

/// Whether more than `limit` events follow `seq`.
pub fn is_behind(conn: &Connection, ticket: i64, seq: i64, limit: usize) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM ticket_events WHERE ticket = ?1 AND seq > ?2 ORDER BY seq LIMIT 1 OFFSET ?3",
    )?
    .exists(params![ticket, seq, i64::try_from(limit).unwrap_or(i64::MAX)])
}

/// Deletes at most `limit` of the oldest events of workers on tickets over since before `before_ms`, and
/// notes on each ticket how far.
pub fn trim(conn: &Connection, before_ms: i64, limit: usize) -> rusqlite::Result<usize> {
    let gone: Vec<(i64, i64)> = conn
        .prepare_cached(
            "DELETE FROM ticket_events WHERE seq IN (SELECT e.seq FROM ticket_events e \
             JOIN tickets t ON t.id = e.ticket WHERE e.source = 'worker' \
             AND t.state IN ('done', 'closed') AND t.updated_ms < ?1 ORDER BY e.seq LIMIT ?2) \
             RETURNING ticket, seq",
        )?
        .query_map(params![before_ms, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut mark =
        conn.prepare_cached("UPDATE tickets SET trimmed_seq = max(trimmed_seq, ?2) WHERE id = ?1")?;
    for (ticket, seq) in &gone {
        mark.execute(params![ticket, seq])?;
    }
    Ok(gone.len())
}

fn read(row: &Row<'_>) -> rusqlite::Result<TicketEvent> {
    let source: String = row.get(2)?;
    let source = [Source::Worker, Source::Lucid]
        .into_iter()
        .find(|s| s.name() == source)
        .ok_or_else(|| unreadable(format!("no source `{source}`")))?;
    Ok(TicketEvent {
        seq: row.get(0)?,
        at_ms: row.get(1)?,
        source,
        kind: row.get(3)?,
        run: row.get::<_, Option<i64>>(4)?.map(RunId),
        data: row.get(5)?,
    })
}
