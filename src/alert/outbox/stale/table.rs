//! Rows of `outbox` that have waited for too long, were left in the middle of a call, or were dated by a clock that has
//! been set since.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, params};

/// Whether a row is marked as being sent that has been tried at most `attempts_max` times.
pub(in crate::alert) fn is_any_left(conn: &Connection, attempts_max: u32) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM outbox WHERE state = 'sending' AND attempts <= ?1")?
        .exists([attempts_max])
}

/// Rows that were left in the middle of a call, tried at most `attempts_max` times. An edit does no harm twice, and of
/// several only the newest is needed.
pub(in crate::alert) fn recover(
    conn: &Connection,
    attempts_max: u32,
    now_ms: i64,
) -> rusqlite::Result<usize> {
    conn.execute(
        "UPDATE outbox SET state = 'dropped', ended_ms = ?1 WHERE state = 'sending' AND purpose = 'edit' \
         AND EXISTS (SELECT 1 FROM outbox AS newer WHERE newer.original = outbox.original \
         AND newer.purpose = 'edit' AND (newer.state = 'pending' \
         OR newer.state = 'sending' AND newer.id > outbox.id))",
        [now_ms],
    )?;
    conn.execute(
        "UPDATE outbox SET state = 'pending', doubtful = max(doubtful, purpose <> 'edit') \
         WHERE state = 'sending' AND attempts <= ?1",
        [attempts_max],
    )
}

/// Gives up what has waited since before `before_ms`; which rows.
pub(in crate::alert) fn expire(conn: &Connection, before_ms: i64, now_ms: i64) -> rusqlite::Result<Vec<i64>> {
    conn.prepare_cached(
        "UPDATE outbox SET state = CASE WHEN purpose = 'edit' THEN 'dropped' ELSE 'dead' END, ended_ms = ?2, \
         error = 'not delivered within 24 h' || coalesce('; last: ' || error, '') \
         WHERE state = 'pending' AND created_ms < ?1 AND not_before_ms < ?2 RETURNING id",
    )?
    .query_map(params![before_ms, now_ms], |row| row.get(0))?
    .collect()
}

/// Whether something has waited since before `before_ms`.
pub(in crate::alert) fn is_stale(conn: &Connection, before_ms: i64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM outbox WHERE state = 'pending' AND created_ms < ?1")?
        .exists([before_ms])
}

/// Dates what is in line as if the wall clock had always gone as it does since it was set by `step_ms`: what was made
/// by the old clock lies on its side of `now_ms` less half a step.
pub(in crate::alert) fn shift(conn: &Connection, step_ms: i64, now_ms: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE outbox SET created_ms = created_ms + ?1, not_before_ms = not_before_ms + ?1 \
         WHERE state IN ('pending', 'sending') AND CASE WHEN ?1 > 0 THEN created_ms <= ?2 ELSE created_ms >= ?2 END",
    )?
    .execute(params![step_ms, now_ms.saturating_sub(step_ms / 2)])
}
