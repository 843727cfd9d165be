//! The rows of `tickets` and `attempts`.

use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use crate::model::ids::{RunId, TicketId};
use crate::model::ticket::{Priority, Reason, Ticket, TicketState};

use super::super::Worker;
use super::{Ending, NewAttempt, NewTicket};

/// A ticket with its last attempt.
const SELECT: &str = "SELECT t.*, a.attempt, a.run, a.branch, a.slot, a.check_in_ms, \
     a.run IS NOT NULL AND a.ended_ms IS NULL AS live \
     FROM tickets t LEFT JOIN attempts a ON a.ticket = t.id \
     AND a.attempt = (SELECT max(attempt) FROM attempts WHERE ticket = t.id)";

/// Which tickets, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Empty stands for all.
    pub states: Vec<TicketState>,
    pub priority: Option<Priority>,
    pub assignee: Option<String>,
    /// Part of the title or body.
    pub text: Option<String>,
    /// Only numbers below this one.
    pub before: Option<i64>,
    pub limit: u32,
}

pub fn insert(conn: &Connection, prefix: &str, new: &NewTicket, now_ms: i64) -> rusqlite::Result<TicketId> {
    let number = conn
        .prepare_cached(
            "INSERT INTO tickets (prefix, title, body, state, priority, assignee, agent, pool, \
             max_attempts, created_ms, updated_ms) \
             VALUES (?1, ?2, ?3, 'todo', ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
        )?
        .insert(params![
            prefix,
            new.title,
            new.body,
            new.priority.rank(),
            new.assignee,
            new.agent,
            new.pool,
            new.max_attempts,
            now_ms,
        ])?;
    identifier(prefix, number)
}

pub fn get(conn: &Connection, id: &TicketId) -> rusqlite::Result<Option<Ticket>> {
    conn.prepare_cached(&format!("{SELECT} WHERE t.id = ?1 AND t.prefix = ?2"))?
        .query_row(params![id.number(), id.prefix()], read)
        .optional()
}

/// How many tickets wait for a person, which of them the longest, and since when.
pub fn needing_a_person(conn: &Connection) -> rusqlite::Result<Option<(u32, String, i64)>> {
    conn.prepare_cached(
        "SELECT count(*) OVER (), prefix || '-' || id, coalesce(reason_since_ms, updated_ms) AS since \
         FROM tickets WHERE state = 'needs_input' ORDER BY since LIMIT 1",
    )?
    .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .optional()
}

pub fn list(conn: &Connection, query: &Query) -> rusqlite::Result<Vec<Ticket>> {
    let mut sql = format!("{SELECT} WHERE t.id < ?");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(query.before.unwrap_or(i64::MAX))];
    if !query.states.is_empty() {
        sql.push_str(" AND t.state IN (SELECT value FROM json_each(?))");
        let names: Vec<&str> = query.states.iter().map(|state| state.name()).collect();
        values.push(Box::new(serde_json::Value::from(names).to_string()));
    }
    if let Some(priority) = query.priority {
        sql.push_str(" AND t.priority = ?");
        values.push(Box::new(priority.rank()));
    }
    if let Some(assignee) = &query.assignee {
        sql.push_str(" AND t.assignee = ?");
        values.push(Box::new(assignee.clone()));
    }
    if let Some(text) = &query.text {
        // instr knows no wildcards, so any text is only text.
        sql.push_str(" AND (instr(lower(t.title), lower(?)) OR instr(lower(t.body), lower(?)))");
        values.push(Box::new(text.clone()));
        values.push(Box::new(text.clone()));
    }
    sql.push_str(" ORDER BY t.id DESC LIMIT ?");
    values.push(Box::new(query.limit));
    conn.prepare_cached(&sql)?.query_map(params_from_iter(values), read)?.collect()
}

pub fn ready(conn: &Connection) -> rusqlite::Result<Vec<Ticket>> {
    conn.prepare_cached(&format!(
        "{SELECT} WHERE t.state = 'todo' AND (a.run IS NULL OR a.ended_ms IS NOT NULL) \
         ORDER BY t.priority DESC, t.id"
    ))?
    .query_map([], read)?
    .collect()
}

/// Live attempts whose check-in is past and whose worker was not heard since it was set.
pub fn overdue(conn: &Connection, now_ms: i64) -> rusqlite::Result<Vec<Ticket>> {
    conn.prepare_cached(&format!("{SELECT} WHERE a.ended_ms IS NULL AND a.check_in_ms <= ?1 ORDER BY t.id"))?
        .query_map([now_ms], read)?
        .collect()
}

/// Writes the whole row back where it is still at its version; `false` when it has moved on.
pub fn update(conn: &Connection, ticket: &Ticket) -> rusqlite::Result<bool> {
    let reason = ticket.reason.as_ref();
    let json = |value: serde_json::Result<String>| {
        value.map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
    };
    let ask = ticket.ask.as_ref().map(|ask| json(serde_json::to_string(ask))).transpose()?;
    let report = ticket.report.as_ref().map(|report| json(serde_json::to_string(report))).transpose()?;
    let changed = conn
        .prepare_cached(
            "UPDATE tickets SET title = ?3, body = ?4, state = ?5, priority = ?6, assignee = ?7, agent = ?8, \
             pool = ?9, commit_id = ?10, reason_code = ?11, reason_text = ?12, reason_since_ms = ?13, \
             until_ms = ?14, ask = ?15, report = ?16, updated_ms = ?17, version = version + 1 \
             WHERE id = ?1 AND version = ?2",
        )?
        .execute(params![
            ticket.id.number(),
            ticket.version,
            ticket.title,
            ticket.body,
            ticket.state().name(),
            ticket.priority.rank(),
            ticket.assignee,
            ticket.agent,
            ticket.pool,
            ticket.commit,
            reason.map(|r| &r.code),
            reason.map(|r| &r.text),
            reason.map(|r| r.since_ms),
            ticket.until_ms,
            ask,
            report,
            ticket.updated_ms,
        ])?;
    Ok(changed == 1)
}

/// Records what an attempt has left.
pub fn set_commit(conn: &Connection, id: &TicketId, commit: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE tickets SET commit_id = ?2, version = version + 1 WHERE id = ?1 AND commit_id IS NOT ?2",
    )?
    .execute(params![id.number(), commit])?;
    Ok(())
}

pub fn set_reason(conn: &Connection, id: &TicketId, reason: Option<&Reason>) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE tickets SET reason_code = ?2, reason_text = ?3, \
         reason_since_ms = CASE WHEN reason_code = ?2 THEN reason_since_ms ELSE ?4 END \
         WHERE id = ?1 AND state = 'todo' AND (reason_code IS NOT ?2 OR reason_text IS NOT ?3)",
    )?
    .execute(params![
        id.number(),
        reason.map(|r| &r.code),
        reason.map(|r| &r.text),
        reason.map(|r| r.since_ms),
    ])?;
    Ok(())
}

pub fn insert_attempt(
    conn: &Connection,
    id: &TicketId,
    attempt: u32,
    new: &NewAttempt,
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO attempts (ticket, attempt, run, fence, branch, slot, lease, agent, started_ms, \
         heard_ms, check_in_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)",
    )?
    .execute(params![
        id.number(),
        attempt,
        new.run.0,
        new.fence.0,
        new.branch,
        new.slot,
        new.lease,
        new.agent,
        now_ms,
        new.check_in_ms,
    ])?;
    Ok(())
}

/// Ends the live attempt of this run and fence; `false` when there is none.
pub fn end_attempt(conn: &Connection, id: &TicketId, ending: &Ending, now_ms: i64) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE attempts SET ended_ms = ?4, outcome = ?5, check_in_ms = NULL \
             WHERE ticket = ?1 AND run = ?2 AND fence = ?3 AND ended_ms IS NULL",
        )?
        .execute(params![id.number(), ending.run.0, ending.fence.0, now_ms, ending.outcome])?;
    Ok(changed == 1)
}

pub fn set_check_in(conn: &Connection, id: &TicketId, at_ms: Option<i64>) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE attempts SET check_in_ms = ?2 WHERE ticket = ?1 AND ended_ms IS NULL")?
        .execute(params![id.number(), at_ms])?;
    Ok(())
}

/// Notes that a worker was heard; `false` when its attempt is not the live one.
pub fn hear(conn: &Connection, worker: &Worker, now_ms: i64) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE attempts SET heard_ms = max(heard_ms, ?4) \
             WHERE ticket = ?1 AND run = ?2 AND fence = ?3 AND ended_ms IS NULL",
        )?
        .execute(params![worker.ticket.number(), worker.run.0, worker.fence.0, now_ms])?;
    Ok(changed == 1)
}

pub(in crate::ticket) fn identifier(prefix: &str, number: i64) -> rusqlite::Result<TicketId> {
    TicketId::new(prefix, number).map_err(|e| unreadable(e.to_string()))
}

pub(in crate::ticket) fn unreadable(why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Ticket> {
    let (prefix, state): (String, String) = (row.get("prefix")?, row.get("state")?);
    let id = identifier(&prefix, row.get("id")?)?;
    let state = TicketState::parse(&state).ok_or_else(|| unreadable(format!("no state `{state}`")))?;
    let rank: i64 = row.get("priority")?;
    let priority = Priority::ALL.into_iter().find(|p| p.rank() == rank);
    let mut ticket = Ticket::new(id, row.get("title")?, state, row.get("created_ms")?);
    ticket.body = row.get("body")?;
    ticket.priority = priority.ok_or_else(|| unreadable(format!("no priority {rank}")))?;
    ticket.assignee = row.get("assignee")?;
    ticket.agent = row.get("agent")?;
    ticket.pool = row.get("pool")?;
    ticket.attempt = row.get::<_, Option<u32>>("attempt")?.unwrap_or(0);
    ticket.max_attempts = row.get("max_attempts")?;
    ticket.branch = row.get("branch")?;
    ticket.commit = row.get("commit_id")?;
    ticket.run = row.get::<_, Option<i64>>("run")?.map(RunId);
    ticket.live = row.get("live")?;
    ticket.slot = row.get::<_, Option<String>>("slot")?.filter(|_| ticket.live);
    ticket.check_in_ms = row.get("check_in_ms")?;
    if let (Some(code), Some(since_ms)) = (row.get("reason_code")?, row.get("reason_since_ms")?) {
        let text: Option<String> = row.get("reason_text")?;
        ticket.reason = Some(Reason { code, text: text.unwrap_or_default(), since_ms });
    }
    ticket.until_ms = row.get("until_ms")?;
    let json = |name: &str| row.get::<_, Option<String>>(name);
    let bad = |error: serde_json::Error| unreadable(error.to_string());
    ticket.ask = json("ask")?.map(|text| serde_json::from_str(&text)).transpose().map_err(bad)?;
    ticket.report = json("report")?.map(|text| serde_json::from_str(&text)).transpose().map_err(bad)?;
    ticket.updated_ms = row.get("updated_ms")?;
    ticket.version = row.get("version")?;
    Ok(ticket)
}
