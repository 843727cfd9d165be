//! Rows of `outbox` that were given up.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension as _};

use super::{Lost, LostOutputs};
use crate::model::ids::RunId;

/// What has died since `since_ms`.
pub(in crate::alert) fn since(conn: &Connection, since_ms: i64) -> rusqlite::Result<Lost> {
    let (alerts, why) = alerts(conn, since_ms)?;
    Ok(Lost { alerts, why, outputs: outputs(conn, since_ms)? })
}

/// Firing alerts with a message that has died since `since_ms` and none of their own after it: how many, and what
/// the newest died of.
fn alerts(conn: &Connection, since_ms: i64) -> rusqlite::Result<(i64, Option<String>)> {
    conn.prepare_cached(
        "WITH lost AS (SELECT alert, error, ended_ms FROM outbox AS o WHERE state = 'dead' AND ended_ms >= ?1 \
         AND EXISTS (SELECT 1 FROM alerts WHERE id = o.alert AND state = 'firing') \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE alert = o.alert AND id > o.id AND purpose <> 'edit' \
         AND state = 'delivered')) \
         SELECT count(DISTINCT alert), (SELECT error FROM lost ORDER BY ended_ms DESC LIMIT 1) FROM lost",
    )?
    .query_row([since_ms], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Output that was given up since `since_ms`.
fn outputs(conn: &Connection, since_ms: i64) -> rusqlite::Result<LostOutputs> {
    let count = conn
        .prepare_cached(
            "SELECT count(*) FROM outbox WHERE state = 'dead' AND purpose = 'brief' AND ended_ms >= ?1",
        )?
        .query_row([since_ms], |row| row.get(0))?;
    let newest = conn
        .prepare_cached(
            "SELECT run, error, ended_ms FROM outbox WHERE state = 'dead' AND purpose = 'brief' \
             AND ended_ms >= ?1 ORDER BY ended_ms DESC, id DESC LIMIT 1",
        )?
        .query_row([since_ms], |row| {
            let run = row.get::<_, Option<i64>>(0)?.map(RunId);
            Ok(LostOutputs { count, run, why: row.get(1)?, at_ms: row.get(2)? })
        })
        .optional()?;
    Ok(newest.unwrap_or_default())
}
