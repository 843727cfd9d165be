//! Deleting old rows of the ledger.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, params};

use crate::model::ids::{RunId, TaskId};

/// Deletes at most `limit` ended rows of `task` that are beyond its newest `rows` or ended before
/// `oldest_ms`, and gives their numbers. Live rows, waiting retries and rows to be started again stay; what never
/// started for a ticket has had its successor in a new row.
pub fn delete_over(
    conn: &Connection,
    task: &TaskId,
    rows: u64,
    oldest_ms: i64,
    limit: u32,
) -> rusqlite::Result<Vec<RunId>> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE task = ?1 AND retry_ms IS NULL \
           AND state NOT IN ('claimed', 'running', 'stopping', 'kill_failed') \
           AND (state <> 'not_started' OR ticket IS NOT NULL) \
           AND (coalesce(ended_ms, claimed_ms) < ?3 OR id <= coalesce( \
             (SELECT id FROM runs WHERE task = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2), -1)) \
           ORDER BY id LIMIT ?4) RETURNING id",
    )?
    .query_map(params![task.as_str(), rows, oldest_ms, limit], |row| row.get(0).map(RunId))?
    .collect()
}

/// Every task that has rows, its file gone or not.
pub fn tasks(conn: &Connection) -> rusqlite::Result<Vec<TaskId>> {
    let names = conn
        .prepare_cached("SELECT DISTINCT task FROM runs")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| TaskId::parse(name).ok()).collect())
}
