//! The ledger's SQL. Every change of state is one `UPDATE` that names the state it leaves and the
//! fence it holds, and must change exactly one row.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::ids::{Fence, RunId, TaskId};
use crate::model::run::{Run, RunState, StopReason, Trigger, Waiting};
use crate::run::live::table::LIVE;
use crate::store::count_up;

pub(super) const COLUMNS: &str = "id, task, ticket, attempt, trigger, state, waiting, reason, exit_code, signal, actor, \
     scheduled_ms, missed_to_ms, missed_count, claimed_ms, started_ms, ended_ms, duration_ms, fence, \
     keeper_pid, keeper_start, boot_id, stop_reason, definition_hash, retry_ms, log_bytes, extra_env, forced";

/// What the claim adds to the row that is no part of [`Run`].
#[derive(Debug, Clone, Default)]
pub struct Extras {
    pub flight_key: String,
    pub argv: Vec<String>,
    pub locks: Vec<String>,
    /// Takes a place under `max_parallel_runs`.
    pub counted: bool,
    pub request_key: Option<String>,
}

/// Inserts `run` as it stands (its id is ignored) and gives the number it got.
///
/// # Errors
/// A constraint violation when the single-flight key or the due instant is taken.
pub fn insert(conn: &Connection, run: &Run, extras: &Extras) -> rusqlite::Result<RunId> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO runs (task, ticket, attempt, trigger, state, waiting, flight_key, reason, exit_code, \
         actor, scheduled_ms, missed_to_ms, missed_count, claimed_ms, ended_ms, fence, definition_hash, argv, \
         locks, counted, extra_env, forced, request_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, \
         ?21, ?22, ?23)",
    )?;
    statement.execute(params![
        run.task.as_str(),
        run.ticket,
        run.attempt,
        run.trigger.name(),
        run.state().name(),
        run.waiting.map(Waiting::name),
        extras.flight_key,
        run.reason,
        run.exit_code,
        run.actor,
        run.scheduled_ms,
        run.missed_to_ms,
        run.missed_count,
        run.claimed_ms,
        run.ended_ms,
        run.fence.0,
        run.definition_hash,
        json(&extras.argv),
        json(&extras.locks),
        extras.counted,
        json(&run.extra_env),
        run.forced,
        extras.request_key,
    ])?;
    Ok(RunId(conn.last_insert_rowid()))
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

/// The next fence; rises for the life of the database.
pub fn next_fence(conn: &Connection) -> rusqlite::Result<Fence> {
    count_up(conn, "fence").map(Fence)
}

/// Counts one more start of the daemon and gives its number.
pub fn next_epoch(conn: &Connection) -> rusqlite::Result<i64> {
    count_up(conn, "epoch")
}

pub fn get(conn: &Connection, id: RunId) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?
        .query_row([id.0], read)
        .optional()
}

/// The run that was asked for with `key` at or after `since_ms`; an older one gives the key up.
pub fn by_request_key(conn: &Connection, key: &str, since_ms: i64) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached("UPDATE runs SET request_key = NULL WHERE request_key = ?1 AND claimed_ms < ?2")?
        .execute(params![key, since_ms])?;
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE request_key = ?1"))?
        .query_row([key], read)
        .optional()
}

/// The live run that holds `flight_key`, one that merely waits behind it excluded.
pub fn holder(conn: &Connection, flight_key: &str) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE flight_key = ?1 \
         AND {LIVE} AND (waiting IS NULL OR waiting <> 'overlap')"
    ))?
    .query_row([flight_key], read)
    .optional()
}

/// The run that waits behind the holder of `flight_key`.
pub fn queued(conn: &Connection, flight_key: &str) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE flight_key = ?1 AND waiting = 'overlap'"))?
        .query_row([flight_key], read)
        .optional()
}

/// Whether the due instant already has its row.
pub fn has_instant(conn: &Connection, task: &TaskId, scheduled_ms: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM runs WHERE task = ?1 AND scheduled_ms = ?2 AND trigger IN ('schedule', 'catch_up')",
    )?
    .exists(params![task.as_str(), scheduled_ms])
}

/// Takes all of `names` for `run`, or none and says who holds the first that is taken.
pub fn take_locks(conn: &Connection, run: RunId, names: &[String]) -> rusqlite::Result<Option<RunId>> {
    for name in names {
        let holder: Option<i64> = conn
            .prepare_cached("SELECT run FROM locks WHERE name = ?1 AND run <> ?2")?
            .query_row(params![name, run.0], |row| row.get(0))
            .optional()?;
        if let Some(holder) = holder {
            return Ok(Some(RunId(holder)));
        }
    }
    for name in names {
        conn.prepare_cached("INSERT OR IGNORE INTO locks (name, run) VALUES (?1, ?2)")?
            .execute(params![name, run.0])?;
    }
    Ok(None)
}

pub fn drop_locks(conn: &Connection, run: RunId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM locks WHERE run = ?1")?.execute([run.0])?;
    Ok(())
}

/// A run that waits, with the locks it needs.
#[derive(Debug)]
pub struct Waiter {
    pub run: Run,
    pub flight_key: String,
    pub locks: Vec<String>,
    pub counted: bool,
}

/// Whether any run waits for a key, a lock or a place.
pub fn is_anyone_waiting(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM runs WHERE waiting IS NOT NULL \
         UNION ALL SELECT 1 FROM runs WHERE state = 'not_started' AND ticket IS NULL LIMIT 1",
    )?
    .exists([])
}

/// Runs that wait for another run to end, the longest waiting first.
pub fn held_back(conn: &Connection) -> rusqlite::Result<Vec<Waiter>> {
    waiters(conn, "waiting IN ('overlap', 'lock')", u32::MAX)
}

/// At most `limit` runs that need nothing but a place, the longest waiting first.
pub fn wanting_a_place(conn: &Connection, limit: u32) -> rusqlite::Result<Vec<Waiter>> {
    waiters(conn, "waiting = 'parallel'", limit)
}

fn waiters(conn: &Connection, which: &str, limit: u32) -> rusqlite::Result<Vec<Waiter>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS}, flight_key, locks, counted FROM runs WHERE waiting IS NOT NULL AND {which} \
         ORDER BY id LIMIT ?1"
    ))?;
    let rows = statement.query_map([limit], |row| {
        let locks: String = row.get("locks")?;
        Ok(Waiter {
            run: read(row)?,
            flight_key: row.get("flight_key")?,
            locks: serde_json::from_str(&locks).unwrap_or_default(),
            counted: row.get("counted")?,
        })
    })?;
    rows.collect()
}

pub fn set_waiting(conn: &Connection, id: RunId, waiting: Option<Waiting>) -> rusqlite::Result<usize> {
    conn.prepare_cached("UPDATE runs SET waiting = ?2 WHERE id = ?1 AND state = 'claimed'")?
        .execute(params![id.0, waiting.map(Waiting::name)])
}

/// Writes what a step changed: one row that was still in `from` under the same fence.
///
/// Gives `false` when the row has moved on meanwhile; nothing has changed then.
pub fn update(conn: &Connection, run: &Run, from: RunState) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE runs SET state = ?3, waiting = ?4, reason = ?5, exit_code = ?6, signal = ?7, \
             started_ms = ?8, ended_ms = ?9, duration_ms = ?10, keeper_pid = ?11, keeper_start = ?12, \
             boot_id = ?13, stop_reason = ?14, retry_ms = ?15, log_bytes = ?16, attempt = ?17 \
             WHERE id = ?1 AND fence = ?2 AND state = ?18",
        )?
        .execute(params![
            run.id.0,
            run.fence.0,
            run.state().name(),
            run.waiting.map(Waiting::name),
            run.reason,
            run.exit_code,
            run.signal,
            run.started_ms,
            run.ended_ms,
            run.duration_ms,
            run.keeper_pid,
            run.keeper_start,
            run.boot_id,
            run.stop_reason.map(StopReason::name),
            run.retry_ms,
            run.log_bytes,
            run.attempt,
            from.name(),
        ])?;
    Ok(changed == 1)
}

/// Gives a row that is to start again its new fence.
pub fn set_fence(conn: &Connection, id: RunId, fence: Fence) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE runs SET fence = ?2 WHERE id = ?1")?.execute(params![id.0, fence.0])?;
    Ok(())
}

pub fn set_token(conn: &Connection, id: RunId, hash: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE runs SET token_hash = ?2 WHERE id = ?1")?.execute(params![id.0, hash])?;
    Ok(())
}

/// The run whose token has this hash.
pub fn by_token(conn: &Connection, hash: &[u8]) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE token_hash = ?1"))?
        .query_row([hash], read)
        .optional()
}

/// Rows whose gate never opened and that nobody has taken up again. Those of tickets are dispatched anew.
pub fn not_started(conn: &Connection) -> rusqlite::Result<Vec<Run>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE state = 'not_started' AND ticket IS NULL ORDER BY id"
    ))?
    .query_map([], read)?
    .collect()
}

/// Whether another live run holds the key that `id` would need.
pub fn is_taken(conn: &Connection, id: RunId) -> rusqlite::Result<bool> {
    conn.prepare_cached(&format!(
        "SELECT 1 FROM runs WHERE flight_key = (SELECT flight_key FROM runs WHERE id = ?1) AND id <> ?1 \
         AND {LIVE} AND (waiting IS NULL OR waiting <> 'overlap')"
    ))?
    .exists([id.0])
}

/// Retries that are due at `now_ms`, oldest first.
pub fn retries_due(conn: &Connection, now_ms: i64, limit: u32) -> rusqlite::Result<Vec<Run>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE retry_ms <= ?1 ORDER BY retry_ms, id LIMIT ?2"
    ))?
    .query_map(params![now_ms, limit], read)?
    .collect()
}

pub fn next_retry_ms(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT min(retry_ms) FROM runs WHERE retry_ms IS NOT NULL")?
        .query_row([], |row| row.get(0))
}

/// Plans, puts off or forgets the retry of one run.
pub fn set_retry(conn: &Connection, id: RunId, retry_ms: Option<i64>) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE runs SET retry_ms = ?2 WHERE id = ?1")?.execute(params![id.0, retry_ms])?;
    Ok(())
}

/// Forgets the retry that waits for `task`, if any, and gives the run it belonged to.
pub fn drop_retry(conn: &Connection, task: &TaskId) -> rusqlite::Result<Option<RunId>> {
    // As in `count_up`: cheaper than one statement that changes and tells.
    let waiting: Option<i64> = conn
        .prepare_cached(
            "SELECT id FROM runs INDEXED BY runs_retry_by_task WHERE task = ?1 AND retry_ms IS NOT NULL",
        )?
        .query_row([task.as_str()], |row| row.get(0))
        .optional()?;
    let Some(id) = waiting.map(RunId) else { return Ok(None) };
    conn.prepare_cached(
        "UPDATE runs INDEXED BY runs_retry_by_task SET retry_ms = NULL WHERE task = ?1 AND retry_ms IS NOT NULL",
    )?
    .execute([task.as_str()])?;
    Ok(Some(id))
}

/// What the claim has to know of a task, read in the claim's own transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub enabled: bool,
    pub present: bool,
    pub hash: String,
    pub paused: bool,
}

pub fn standing(conn: &Connection, task: &TaskId, now_ms: i64) -> rusqlite::Result<Option<Standing>> {
    conn.prepare_cached(
        "SELECT enabled, present, hash, \
         (paused_at_ms IS NOT NULL AND coalesce(paused_until_ms > ?2, 1)) \
         OR EXISTS (SELECT 1 FROM meta WHERE key = 'pause_all' \
                    AND coalesce(json_extract(value, '$.until_ms') > ?2, 1)) \
         FROM tasks WHERE id = ?1",
    )?
    .query_row(params![task.as_str(), now_ms], |row| {
        Ok(Standing { enabled: row.get(0)?, present: row.get(1)?, hash: row.get(2)?, paused: row.get(3)? })
    })
    .optional()
}

/// Moves the mark up to which every due instant of `task` has a row; never back.
pub fn cover(conn: &Connection, task: &TaskId, covered_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE tasks SET covered_ms = max(covered_ms, ?2) WHERE id = ?1")?
        .execute(params![task.as_str(), covered_ms])?;
    Ok(())
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    let text = |name: &str| row.get::<_, String>(name);
    let bad = |name: &str, value: &str| {
        rusqlite::Error::FromSqlConversionFailure(
            0,
            rusqlite::types::Type::Text,
            format!("column {name} holds `{value}`, which this version does not know").into(),
        )
    };
    let task = text("task")?;
    let trigger = text("trigger")?;
    let state = text("state")?;
    let mut run = Run::new(
        RunId(row.get("id")?),
        TaskId::parse(&task).map_err(|_| bad("task", &task))?,
        Trigger::parse(&trigger).ok_or_else(|| bad("trigger", &trigger))?,
        RunState::parse(&state).ok_or_else(|| bad("state", &state))?,
    );
    run.ticket = row.get("ticket")?;
    run.attempt = row.get("attempt")?;
    run.waiting = row.get::<_, Option<String>>("waiting")?.as_deref().and_then(Waiting::parse);
    run.reason = row.get("reason")?;
    run.exit_code = row.get("exit_code")?;
    run.signal = row.get("signal")?;
    run.actor = row.get("actor")?;
    run.scheduled_ms = row.get("scheduled_ms")?;
    run.missed_to_ms = row.get("missed_to_ms")?;
    run.missed_count = row.get("missed_count")?;
    run.claimed_ms = row.get("claimed_ms")?;
    run.started_ms = row.get("started_ms")?;
    run.ended_ms = row.get("ended_ms")?;
    run.duration_ms = row.get("duration_ms")?;
    run.fence = Fence(row.get("fence")?);
    run.keeper_pid = row.get("keeper_pid")?;
    run.keeper_start = row.get("keeper_start")?;
    run.boot_id = row.get("boot_id")?;
    run.stop_reason = row.get::<_, Option<String>>("stop_reason")?.as_deref().and_then(StopReason::parse);
    run.definition_hash = row.get("definition_hash")?;
    run.retry_ms = row.get("retry_ms")?;
    run.log_bytes = row.get("log_bytes")?;
    run.extra_env = serde_json::from_str(&text("extra_env")?).unwrap_or_default();
    run.forced = row.get("forced")?;
    Ok(run)
}
