//! The rows of `messages`.

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use crate::model::ids::{Fence, TicketId};
use crate::model::message::{Message, MessageId, MessageState};
use crate::model::ticket::TicketState;

use super::super::board::table::{identifier, unreadable};

const SELECT: &str = "SELECT m.*, t.prefix FROM messages m JOIN tickets t ON t.id = m.ticket";

/// Which messages, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub ticket: Option<TicketId>,
    /// Empty stands for all.
    pub states: Vec<MessageState>,
    pub before: Option<i64>,
    pub limit: u32,
}

/// What the reaper has to know of the ticket of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub live_fence: Option<Fence>,
    pub state: TicketState,
    /// Why the ticket waits.
    pub reason: Option<String>,
}

pub fn insert(
    conn: &Connection,
    ticket: &TicketId,
    text: &str,
    author: &str,
    via: &str,
    now_ms: i64,
) -> rusqlite::Result<Message> {
    let id = conn
        .prepare_cached(
            "INSERT INTO messages (ticket, state, text, author, via, created_ms, since_ms) \
             VALUES (?1, 'received', ?2, ?3, ?4, ?5, ?5)",
        )?
        .insert(params![ticket.number(), text, author, via, now_ms])?;
    let mut message = Message::new(MessageId(id), ticket.clone(), MessageState::Received, now_ms);
    (message.text, message.author, message.via) = (text.to_owned(), author.to_owned(), via.to_owned());
    Ok(message)
}

pub fn get(conn: &Connection, id: MessageId) -> rusqlite::Result<Option<Message>> {
    conn.prepare_cached(&format!("{SELECT} WHERE m.id = ?1"))?.query_row([id.0], read).optional()
}

pub fn list(conn: &Connection, query: &Query) -> rusqlite::Result<Vec<Message>> {
    let mut sql = format!("{SELECT} WHERE m.id < ?");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(query.before.unwrap_or(i64::MAX))];
    if let Some(ticket) = &query.ticket {
        sql.push_str(" AND m.ticket = ?");
        values.push(Box::new(ticket.number()));
    }
    if !query.states.is_empty() {
        sql.push_str(" AND m.state IN (SELECT value FROM json_each(?))");
        let names: Vec<&str> = query.states.iter().map(|state| state.name()).collect();
        values.push(Box::new(serde_json::Value::from(names).to_string()));
    }
    sql.push_str(" ORDER BY m.id DESC LIMIT ?");
    values.push(Box::new(query.limit));
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), read)?.collect()
}

/// In line for a ticket, oldest first.
pub fn queued(conn: &Connection, ticket: &TicketId) -> rusqlite::Result<Vec<Message>> {
    of_ticket(conn, ticket, MessageState::Queued)
}

/// Those that did not get through and are not in line yet.
pub fn failed(conn: &Connection, ticket: &TicketId) -> rusqlite::Result<Vec<Message>> {
    of_ticket(conn, ticket, MessageState::Failed)
}

fn of_ticket(conn: &Connection, ticket: &TicketId, state: MessageState) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&format!("{SELECT} WHERE m.ticket = ?1 AND m.state = ?2 ORDER BY m.id"))?
        .query_map(params![ticket.number(), state.name()], read)?
        .collect()
}

/// Claimed or delivered under a fence.
pub fn in_hand(conn: &Connection, ticket: &TicketId, fence: Fence) -> rusqlite::Result<Vec<Message>> {
    conn.prepare_cached(&format!(
        "{SELECT} WHERE m.ticket = ?1 AND m.fence = ?2 AND m.state IN ('claimed', 'delivered') ORDER BY m.id"
    ))?
    .query_map(params![ticket.number(), fence.0], read)?
    .collect()
}

/// All of which something may still become, with how their tickets stand.
pub fn under_way(conn: &Connection) -> rusqlite::Result<Vec<(Message, Standing)>> {
    conn.prepare_cached(
        "SELECT m.*, t.prefix, t.state AS ticket_state, t.reason_text, a.fence AS live_fence \
         FROM messages m JOIN tickets t ON t.id = m.ticket \
         LEFT JOIN attempts a ON a.ticket = t.id AND a.ended_ms IS NULL \
         WHERE m.state IN ('received', 'queued', 'claimed', 'delivered', 'failed') ORDER BY m.id",
    )?
    .query_map([], |row| {
        let state: String = row.get("ticket_state")?;
        let standing = Standing {
            live_fence: row.get::<_, Option<i64>>("live_fence")?.map(Fence),
            state: TicketState::parse(&state).ok_or_else(|| unreadable(format!("no state `{state}`")))?,
            reason: row.get("reason_text")?,
        };
        Ok((read(row)?, standing))
    })?
    .collect()
}

/// Writes what a step changed, where the row is still as it was read; `false` when it is not.
pub fn update(
    conn: &Connection,
    message: &Message,
    from: MessageState,
    fence: Option<Fence>,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE messages SET state = ?4, attempts = ?5, fence = ?6, since_ms = ?7, delivered_ms = ?8, \
             acked_ms = ?9, error = ?10 WHERE id = ?1 AND state = ?2 AND fence IS ?3",
        )?
        .execute(params![
            message.id.0,
            from.name(),
            fence.map(|fence| fence.0),
            message.state().name(),
            message.attempts,
            message.fence.map(|fence| fence.0),
            message.since_ms,
            message.delivered_ms,
            message.acked_ms,
            message.error,
        ])?;
    Ok(changed == 1)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    let (prefix, state): (String, String) = (row.get("prefix")?, row.get("state")?);
    let ticket = identifier(&prefix, row.get("ticket")?)?;
    let state = MessageState::parse(&state).ok_or_else(|| unreadable(format!("no state `{state}`")))?;
    let mut message = Message::new(MessageId(row.get("id")?), ticket, state, row.get("created_ms")?);
    message.attempts = row.get("attempts")?;
    message.text = row.get("text")?;
    message.author = row.get("author")?;
    message.via = row.get("via")?;
    message.fence = row.get::<_, Option<i64>>("fence")?.map(Fence);
    message.since_ms = row.get("since_ms")?;
    message.delivered_ms = row.get("delivered_ms")?;
    message.acked_ms = row.get("acked_ms")?;
    message.error = row.get("error")?;
    Ok(message)
}
