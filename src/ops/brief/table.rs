//! What happened since, counted.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, params};

use crate::model::run::RunState;

/// Runs by task and state since `since_ms`; a row that stands for several missed instants counts as many.
pub fn runs(conn: &Connection, since_ms: i64) -> rusqlite::Result<Vec<(String, RunState, u64)>> {
    let rows = conn
        .prepare_cached(
            "SELECT task, state, sum(coalesce(missed_count, 1)) FROM runs WHERE claimed_ms >= ?1 AND ticket IS NULL \
             GROUP BY task, state",
        )?
        .query_map([since_ms], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let known = |(task, state, n): (String, String, i64)| {
        Some((task, RunState::parse(&state)?, u64::try_from(n).unwrap_or(0)))
    };
    Ok(rows.into_iter().filter_map(known).collect())
}

/// Tickets that became done, were closed, and were made since then.
pub fn tickets(conn: &Connection, since_ms: i64) -> rusqlite::Result<(u64, u64, u64)> {
    conn.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 'done' AND updated_ms >= ?1), \
         count(*) FILTER (WHERE state = 'closed' AND updated_ms >= ?1), \
         count(*) FILTER (WHERE created_ms >= ?1) FROM tickets",
    )?
    .query_row([since_ms], |row| {
        let number =
            |column| Ok::<_, rusqlite::Error>(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0));
        Ok((number(0)?, number(1)?, number(2)?))
    })
}

/// What runs of agents that ended since then have cost, each a decimal text; none where it is not known.
pub fn costs(conn: &Connection, since_ms: i64) -> rusqlite::Result<Vec<Option<String>>> {
    conn.prepare_cached("SELECT cost_usd FROM usage WHERE at_ms >= ?1")?
        .query_map([since_ms], |row| row.get(0))?
        .collect()
}

/// When the last run of `task` that ended well before `run` began.
pub fn last_ok(conn: &Connection, task: &str, before_run: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT max(started_ms) FROM runs WHERE task = ?1 AND id < ?2 AND state = 'ok'")?
        .query_row(params![task, before_run], |row| row.get(0))
}
