//! Reading the ledger: lists, the row behind an instant, counts. Nothing here writes.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Run, RunState, Trigger};
use crate::run::live::table::{FAILED, LIVE};
use crate::run::table::{COLUMNS, read};

/// Which rows of the ledger are wanted.
#[derive(Debug, Clone, Default)]
pub struct Query {
    pub task: Option<TaskId>,
    /// Without attempts on tickets, which the task that dispatches them has started.
    pub own: bool,
    pub states: Vec<RunState>,
    pub trigger: Option<Trigger>,
    /// Claimed at or after.
    pub since_ms: Option<i64>,
    /// Only numbers below this one: the keyset cursor.
    pub before: Option<RunId>,
    pub limit: u32,
}

/// Newest first.
pub fn query(conn: &Connection, query: &Query) -> rusqlite::Result<Vec<Run>> {
    let base = if query.own { "ticket IS NULL" } else { "1" };
    let mut sql = format!("SELECT {COLUMNS} FROM runs WHERE {base}");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut clause = |text: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(text);
        sql.push_str(&values.len().to_string());
    };
    if let Some(task) = &query.task {
        clause(" AND task = ?", Box::new(task.as_str().to_owned()));
    }
    if let Some(trigger) = query.trigger {
        clause(" AND trigger = ?", Box::new(trigger.name()));
    }
    if let Some(since) = query.since_ms {
        clause(" AND claimed_ms >= ?", Box::new(since));
    }
    if let Some(before) = query.before {
        clause(" AND id < ?", Box::new(before.0));
    }
    if !query.states.is_empty() {
        let names: Vec<String> = query.states.iter().map(|s| format!("'{}'", s.name())).collect();
        sql.push_str(&format!(" AND state IN ({})", names.join(", ")));
        // Said twice, where there is an index that knows only the other words.
        if query.states.iter().all(|state| state.is_live()) {
            sql.push_str(&format!(" AND {LIVE}"));
        } else if query.states.iter().all(|state| state.is_failure()) {
            sql.push_str(&format!(" AND {FAILED}"));
        }
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {}", query.limit));
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    conn.prepare_cached(&sql)?.query_map(values.as_slice(), read)?.collect()
}

/// The row that covers the instant `at_ms` of `task`: the instant's own, else a `missed` span around it.
pub fn covering(conn: &Connection, task: &TaskId, at_ms: i64) -> rusqlite::Result<Option<Run>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE task = ?1 AND scheduled_ms <= ?2 \
         AND coalesce(missed_to_ms, scheduled_ms) >= ?2 ORDER BY id DESC LIMIT 1"
    ))?
    .query_row(params![task.as_str(), at_ms], read)
    .optional()
}

/// Runs that wait to be tried again.
pub fn to_be_retried(conn: &Connection) -> rusqlite::Result<Vec<Run>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE retry_ms IS NOT NULL ORDER BY id"))?
        .query_map([], read)?
        .collect()
}

/// The newest runs of every task, at most `each` of them, newest first within a task.
pub fn recent(conn: &Connection, each: u32) -> rusqlite::Result<Vec<Run>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs WHERE id IN (SELECT r.id FROM tasks t JOIN runs r ON r.id IN \
         (SELECT id FROM runs WHERE task = t.id AND ticket IS NULL ORDER BY id DESC LIMIT ?1)) ORDER BY task, id DESC"
    ))?
    .query_map([each], read)?
    .collect()
}

/// Counts runs by state since `since_ms`.
pub fn counts_since(conn: &Connection, since_ms: i64) -> rusqlite::Result<Vec<(RunState, i64)>> {
    let rows = conn
        .prepare_cached("SELECT state, count(*) FROM runs WHERE claimed_ms >= ?1 GROUP BY state")?
        .query_map([since_ms], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().filter_map(|(name, n)| Some((RunState::parse(&name)?, n))).collect())
}

/// Tasks whose newest run that ended was a failure; attempts on tickets are none of theirs.
pub fn failing(conn: &Connection) -> rusqlite::Result<Vec<TaskId>> {
    let names = conn
        .prepare_cached(&format!(
            // By the few failures, not by the many tasks.
            "SELECT f.task FROM (SELECT task, max(id) AS id FROM runs WHERE {FAILED} AND ticket IS NULL \
             GROUP BY task) f \
             JOIN tasks t ON t.id = f.task WHERE t.present = 1 AND NOT EXISTS (SELECT 1 FROM runs \
             WHERE task = f.task AND ticket IS NULL AND id > f.id AND state IN ('ok', 'killed')) ORDER BY f.task"
        ))?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| TaskId::parse(name).ok()).collect())
}

/// How many of the newest runs of `task` that ended by themselves have failed, and when the first of them did.
pub fn failures_in_a_row(conn: &Connection, task: &TaskId) -> rusqlite::Result<(u32, Option<i64>)> {
    conn.prepare_cached(&format!(
        "SELECT count(*), min(ended_ms) FROM runs WHERE task = ?1 AND ticket IS NULL AND {FAILED} \
         AND id > coalesce( \
         (SELECT max(id) FROM runs WHERE task = ?1 AND ticket IS NULL AND state IN ('ok', 'killed')), 0)"
    ))?
    .query_row([task.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The oldest instant of `task` that has a row of its own.
pub fn oldest_instant(conn: &Connection, task: &TaskId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT min(scheduled_ms) FROM runs WHERE task = ?1 AND trigger IN ('schedule', 'catch_up')",
    )?
    .query_row([task.as_str()], |row| row.get(0))
}

/// What has a row already of the instants between two: stretches of time, in order.
pub fn decided(conn: &Connection, task: &TaskId, from: i64, to: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let of = |more: &str| {
        format!(
            "SELECT scheduled_ms, coalesce(missed_to_ms, scheduled_ms) FROM runs WHERE task = ?1 \
             AND trigger IN ('schedule', 'catch_up') AND {more}"
        )
    };
    let span = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    // Stretches do not overlap, so that at most the last of them reaches in from before; after a clock was put right
    // runs may lie within one.
    let before = conn
        .prepare_cached(&of(
            "scheduled_ms < ?2 AND missed_to_ms IS NOT NULL ORDER BY scheduled_ms DESC LIMIT 1",
        ))?
        .query_row(params![task.as_str(), from], span)
        .optional()?;
    let mut statement = conn.prepare_cached(&of("scheduled_ms BETWEEN ?2 AND ?3 ORDER BY scheduled_ms"))?;
    let within = statement.query_map(params![task.as_str(), from, to], span)?;
    before.filter(|(_, end)| *end >= from).map(Ok).into_iter().chain(within).collect()
}
