//! What the janitor has to know of every ticket that is not over, in one look.

use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::classify::RunNow;
use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::run::RunState;
use crate::model::ticket::TicketState;

/// One ticket with its live attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub ticket: TicketId,
    pub state: TicketState,
    pub assignee: Option<String>,
    pub since_ms: i64,
    pub until_ms: Option<i64>,
    pub attempts: u32,
    pub max_attempts: Option<u32>,
    pub pool: Option<String>,
    pub commit: Option<String>,
    pub version: i64,
    pub worker: Option<Worker>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub run: RunId,
    pub fence: Fence,
    pub agent: String,
    pub started_ms: i64,
    pub heard_ms: i64,
    pub run_state: RunNow,
}

/// When the box last woke, had its clock set or got its daemon back, since `from_ms`; `from_ms` when it did not.
pub fn awake_since(conn: &Connection, from_ms: i64) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "SELECT coalesce(max(at_ms), ?1) FROM events \
         WHERE at_ms >= ?1 AND kind IN ('suspended', 'clock_stepped', 'daemon_started')",
    )?
    .query_row([from_ms], |row| row.get(0))
}

/// Every ticket that is not over, and those that are and still have a worker; oldest first.
pub fn open(conn: &Connection) -> rusqlite::Result<Vec<Seen>> {
    conn.prepare_cached(
        "SELECT t.prefix, t.id, t.state, t.assignee, t.updated_ms, t.reason_since_ms, t.until_ms, \
         t.max_attempts, t.pool, t.commit_id, t.version, \
         (SELECT coalesce(max(attempt), 0) FROM attempts WHERE ticket = t.id) AS attempts, \
         a.run, a.fence, a.agent, a.started_ms, a.heard_ms, r.state AS run_state, r.ended_ms \
         FROM tickets t LEFT JOIN attempts a ON a.ticket = t.id AND a.ended_ms IS NULL \
         LEFT JOIN runs r ON r.id = a.run \
         WHERE t.state NOT IN ('done', 'closed') OR a.run IS NOT NULL ORDER BY t.id",
    )?
    .query_map([], read)?
    .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Seen> {
    let bad = |why: String| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, why.into());
    let (prefix, number): (String, i64) = (row.get("prefix")?, row.get("id")?);
    let state: String = row.get("state")?;
    let state = TicketState::parse(&state).ok_or_else(|| bad(format!("no state `{state}`")))?;
    let updated_ms: i64 = row.get("updated_ms")?;
    // A question's age is its own: what is written beside it changes the ticket, not the question.
    let since_ms = row.get::<_, Option<i64>>("reason_since_ms")?;
    let since_ms = since_ms.filter(|_| state == TicketState::NeedsInput).unwrap_or(updated_ms);
    Ok(Seen {
        ticket: TicketId::new(&prefix, number).map_err(|e| bad(e.to_string()))?,
        state,
        assignee: row.get("assignee")?,
        since_ms,
        until_ms: row.get("until_ms")?,
        attempts: row.get("attempts")?,
        max_attempts: row.get("max_attempts")?,
        pool: row.get("pool")?,
        commit: row.get("commit_id")?,
        version: row.get("version")?,
        worker: worker(row)?,
    })
}

fn worker(row: &Row<'_>) -> rusqlite::Result<Option<Worker>> {
    let Some(run) = row.get::<_, Option<i64>>("run")? else { return Ok(None) };
    let name: Option<String> = row.get("run_state")?;
    let ended_ms: Option<i64> = row.get("ended_ms")?;
    let run_state = match name.as_deref().and_then(RunState::parse) {
        None => RunNow::Unknown,
        Some(RunState::KillFailed) => RunNow::Unkillable,
        Some(state) if state.is_live() => RunNow::Live,
        // It starts once more.
        Some(RunState::NotStarted) => RunNow::Live,
        Some(_) => RunNow::Over(ended_ms.unwrap_or(0)),
    };
    Ok(Some(Worker {
        run: RunId(run),
        fence: Fence(row.get("fence")?),
        agent: row.get("agent")?,
        started_ms: row.get("started_ms")?,
        heard_ms: row.get("heard_ms")?,
        run_state,
    }))
}
