//! Workers, their usage, refused requests and resting profiles, in the database.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::classify::Heard;
use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::slot::LeaseId;
use crate::model::worker::{Dialect, Standing, Tokens, Verdict};

/// A worker as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Worker {
    pub run: RunId,
    /// Of its run.
    pub fence: Fence,
    pub task: String,
    pub ticket: Option<TicketId>,
    pub agent: String,
    pub dialect: Dialect,
    pub attempt: u32,
    pub place: Option<Place>,
    /// Bytes of its output that have been taken in.
    pub read_bytes: u64,
    pub heard: Heard,
    pub started_ms: i64,
}

/// The slot that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub pool: String,
    pub lease: LeaseId,
    pub slot: String,
    pub branch: Option<String>,
    pub base_commit: String,
}

const COLUMNS: &str = "w.run, r.fence, r.task, w.ticket, w.agent, w.dialect, w.attempt, w.pool, w.lease, w.slot, \
     w.branch, w.base_commit, w.read_bytes, w.heard, w.started_ms";

/// Makes way for the worker of a run that starts once more: the gate of the last one never opened, so it was none.
pub fn make_way(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "DELETE FROM workers WHERE run = ?1 AND EXISTS (SELECT 1 FROM runs WHERE id = ?1 AND state = 'claimed')",
    )?
    .execute([run.0])?;
    Ok(())
}

pub fn insert(conn: &Connection, worker: &Worker) -> rusqlite::Result<()> {
    let place = worker.place.as_ref();
    conn.prepare_cached(
        "INSERT INTO workers (run, ticket, agent, dialect, attempt, pool, lease, slot, branch, base_commit, \
         started_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        worker.run.0,
        worker.ticket.as_ref().map(ToString::to_string),
        worker.agent,
        worker.dialect.name(),
        worker.attempt,
        place.map(|p| &p.pool),
        place.map(|p| p.lease.0),
        place.map(|p| &p.slot),
        place.and_then(|p| p.branch.as_ref()),
        place.map(|p| &p.base_commit),
        worker.started_ms,
    ])?;
    Ok(())
}

/// Those whose end has not been written yet.
pub fn unfinished(conn: &Connection) -> rusqlite::Result<Vec<Worker>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM workers w JOIN runs r ON r.id = w.run WHERE w.ended_ms IS NULL ORDER BY w.run"
    ))?
    .query_map([], read)?
    .collect()
}

/// The worker of a task's run, whether its end has been written or not.
pub fn of_run(conn: &Connection, run: RunId) -> rusqlite::Result<Option<Worker>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM workers w JOIN runs r ON r.id = w.run WHERE w.run = ?1 AND w.ticket IS NULL"
    ))?
    .query_row([run.0], read)
    .optional()
}

/// Whether the ticket or run has a worker whose end has not been written yet.
pub fn is_open(conn: &Connection, ticket: Option<&str>, run: Option<RunId>) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM workers WHERE ended_ms IS NULL AND (ticket = ?1 OR run = ?2)")?
        .exists(params![ticket, run.map(|run| run.0)])
}

/// Moves the mark of what has been taken in. False when it does not stand at `from_bytes`: somebody was
/// there before.
pub fn advance(
    conn: &Connection,
    run: RunId,
    from_bytes: u64,
    to_bytes: u64,
    heard: &Heard,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE workers SET read_bytes = ?3, heard = ?4, session = ?5 \
             WHERE run = ?1 AND read_bytes = ?2 AND ended_ms IS NULL",
        )?
        .execute(params![
            run.0,
            i64::try_from(from_bytes).unwrap_or(i64::MAX),
            i64::try_from(to_bytes).unwrap_or(i64::MAX),
            serde_json::to_string(heard).unwrap_or_else(|_| "{}".to_owned()),
            heard.session,
        ])?;
    Ok(changed == 1)
}

/// Keeps the largest counts that were told for a message.
pub fn count(conn: &Connection, run: RunId, message: &str, tokens: Tokens) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO worker_messages (run, message, input, output, cache_read, cache_write) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (run, message) DO UPDATE SET \
         input = max(input, excluded.input), output = max(output, excluded.output), \
         cache_read = max(cache_read, excluded.cache_read), cache_write = max(cache_write, excluded.cache_write)",
    )?
    .execute(params![run.0, message, tokens.input, tokens.output, tokens.cache_read, tokens.cache_write])?;
    Ok(())
}

/// The sum over a run's messages.
pub fn counted(conn: &Connection, run: RunId) -> rusqlite::Result<Tokens> {
    conn.prepare_cached(
        "SELECT coalesce(sum(input), 0), coalesce(sum(output), 0), coalesce(sum(cache_read), 0), \
         coalesce(sum(cache_write), 0) FROM worker_messages WHERE run = ?1",
    )?
    .query_row([run.0], |row| {
        Ok(Tokens {
            input: row.get(0)?,
            output: row.get(1)?,
            cache_read: row.get(2)?,
            cache_write: row.get(3)?,
        })
    })
}

/// Writes a worker's end. False when it has been written before, or its run has another worker by now.
pub fn finish(
    conn: &Connection,
    worker: &Worker,
    verdict: &Verdict,
    not_before_ms: Option<i64>,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE workers SET ended_ms = ?2, verdict = ?3, not_before_ms = ?4 \
             WHERE run = ?1 AND started_ms = ?5 AND ended_ms IS NULL",
        )?
        .execute(params![worker.run.0, now_ms, verdict.name(), not_before_ms, worker.started_ms])?;
    if changed == 1 {
        conn.prepare_cached("DELETE FROM worker_messages WHERE run = ?1")?.execute([worker.run.0])?;
    }
    Ok(changed == 1)
}

/// Ends in a row, newest first, of the workers of a ticket: profile and verdict.
pub fn history(conn: &Connection, ticket: &TicketId, limit: u32) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare_cached(
        "SELECT agent, verdict FROM workers WHERE ticket = ?1 AND verdict IS NOT NULL ORDER BY run DESC LIMIT ?2",
    )?
    .query_map(params![ticket.to_string(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// What the last worker of a ticket left for the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legacy {
    pub agent: String,
    pub slot: Option<String>,
    pub session: Option<String>,
    pub verdict: Option<String>,
    pub not_before_ms: Option<i64>,
}

pub fn legacy(conn: &Connection, ticket: &TicketId) -> rusqlite::Result<Option<Legacy>> {
    conn.prepare_cached(
        "SELECT agent, slot, session, verdict, not_before_ms FROM workers WHERE ticket = ?1 \
         ORDER BY run DESC LIMIT 1",
    )?
    .query_row([ticket.to_string()], |row| {
        Ok(Legacy {
            agent: row.get(0)?,
            slot: row.get(1)?,
            session: row.get(2)?,
            verdict: row.get(3)?,
            not_before_ms: row.get(4)?,
        })
    })
    .optional()
}

/// Branches of a ticket's workers before `run`, the newest first, at most `limit`.
pub fn branches(
    conn: &Connection,
    ticket: &TicketId,
    run: RunId,
    limit: u32,
) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "SELECT branch FROM workers WHERE ticket = ?1 AND run < ?2 AND branch IS NOT NULL ORDER BY run DESC LIMIT ?3",
    )?
    .query_map(params![ticket.to_string(), run.0, limit], |row| row.get(0))?
    .collect()
}

/// Profiles that rest at `now_ms`.
pub fn resting(conn: &Connection, now_ms: i64) -> rusqlite::Result<BTreeMap<String, Standing>> {
    conn.prepare_cached(
        "SELECT agent, until_ms, reason FROM profiles WHERE state = 'disabled' OR until_ms > ?1",
    )?
    .query_map([now_ms], |row| {
        let (reason, until): (String, Option<i64>) = (row.get(2)?, row.get(1)?);
        let standing = match until {
            Some(until_ms) => Standing::Cooled { until_ms, reason },
            None => Standing::Disabled { reason },
        };
        Ok((row.get(0)?, standing))
    })?
    .collect()
}

/// Profiles that wait for a person, each with the reason and since when.
pub fn disabled(conn: &Connection) -> rusqlite::Result<Vec<(String, String, i64)>> {
    conn.prepare_cached(
        "SELECT agent, reason, since_ms FROM profiles WHERE state = 'disabled' ORDER BY agent",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
    .collect()
}

/// Lets a profile rest until then, or until a person says otherwise. False when it was for a person to say already:
/// no time ends that.
pub fn rest(
    conn: &Connection,
    agent: &str,
    until_ms: Option<i64>,
    reason: &str,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    let state = if until_ms.is_some() { "cooled" } else { "disabled" };
    let changed = conn
        .prepare_cached(
            "INSERT INTO profiles (agent, state, until_ms, reason, since_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (agent) DO UPDATE SET state = excluded.state, until_ms = excluded.until_ms, \
             reason = excluded.reason, since_ms = excluded.since_ms \
             WHERE profiles.state <> 'disabled' OR excluded.state = 'disabled'",
        )?
        .execute(params![agent, state, until_ms, reason, now_ms])?;
    Ok(changed == 1)
}

/// Ends a profile's rest. False when it did not rest.
pub fn wake(conn: &Connection, agent: &str) -> rusqlite::Result<bool> {
    Ok(conn.prepare_cached("DELETE FROM profiles WHERE agent = ?1")?.execute([agent])? == 1)
}

/// Deletes rests that are over; whose they were.
pub fn end_rests(conn: &Connection, now_ms: i64) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("DELETE FROM profiles WHERE until_ms <= ?1 RETURNING agent")?
        .query_map([now_ms], |row| row.get(0))?
        .collect()
}

/// Deletes at most `limit` workers that ended before `before_ms` and whose ticket, if any, is over; how many.
pub fn trim(conn: &Connection, before_ms: i64, limit: u32) -> rusqlite::Result<usize> {
    const OLD: &str = "SELECT w.run FROM workers w WHERE w.ended_ms < ?1 AND NOT EXISTS (SELECT 1 FROM tickets t \
         WHERE t.prefix || '-' || t.id = w.ticket AND t.state NOT IN ('done', 'closed')) ORDER BY w.run LIMIT ?2";
    conn.prepare_cached(&format!("DELETE FROM worker_messages WHERE run IN ({OLD})"))?
        .execute(params![before_ms, limit])?;
    conn.prepare_cached(&format!("DELETE FROM workers WHERE run IN ({OLD})"))?
        .execute(params![before_ms, limit])
}

fn read(row: &Row<'_>) -> rusqlite::Result<Worker> {
    let bad = |name: &str, value: &str| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            rusqlite::types::Type::Text,
            format!("column {name} holds `{value}`, which this version does not know").into(),
        )
    };
    let dialect: String = row.get("dialect")?;
    let ticket: Option<String> = row.get("ticket")?;
    let ticket = ticket.map(|text| text.parse().map_err(|_| bad("ticket", &text))).transpose()?;
    let place = match row.get::<_, Option<String>>("pool")? {
        None => None,
        Some(pool) => Some(Place {
            pool,
            lease: LeaseId(row.get("lease")?),
            slot: row.get::<_, Option<String>>("slot")?.unwrap_or_default(),
            branch: row.get("branch")?,
            base_commit: row.get::<_, Option<String>>("base_commit")?.unwrap_or_default(),
        }),
    };
    let heard: String = row.get("heard")?;
    Ok(Worker {
        run: RunId(row.get("run")?),
        fence: Fence(row.get("fence")?),
        task: row.get("task")?,
        ticket,
        agent: row.get("agent")?,
        dialect: Dialect::parse(&dialect).ok_or_else(|| bad("dialect", &dialect))?,
        attempt: row.get("attempt")?,
        place,
        read_bytes: u64::try_from(row.get::<_, i64>("read_bytes")?).unwrap_or(0),
        heard: serde_json::from_str(&heard).unwrap_or_default(),
        started_ms: row.get("started_ms")?,
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
