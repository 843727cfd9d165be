//! The rows of `mutes`.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::alert::table::{column, name_of, parse_severity};
use crate::model::task::Severity;

pub(in crate::alert) fn mute(
    conn: &Connection,
    (fingerprint, severity): (&str, Severity),
    until_ms: i64,
    who: &str,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO mutes (fingerprint, until_ms, actor, severity) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (fingerprint) DO UPDATE SET until_ms = excluded.until_ms, actor = excluded.actor, \
         severity = excluded.severity",
    )?
    .execute(params![fingerprint, until_ms, who, name_of(severity)])
    .map(|_rows| ())
}

pub(in crate::alert) fn unmute(conn: &Connection, fingerprint: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM mutes WHERE fingerprint = ?1", [fingerprint]).map(|_rows| ())
}

/// How grave what was muted was.
pub(in crate::alert) fn muted_severity(
    conn: &Connection,
    fingerprint: &str,
) -> rusqlite::Result<Option<Severity>> {
    conn.prepare_cached("SELECT severity FROM mutes WHERE fingerprint = ?1")?
        .query_row([fingerprint], |row| column(row, 0, parse_severity))
        .optional()
}

/// Until when a fingerprint is muted.
pub(in crate::alert) fn muted_until(
    conn: &Connection,
    fingerprint: &str,
    now_ms: i64,
) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT until_ms FROM mutes WHERE fingerprint = ?1 AND until_ms > ?2")?
        .query_row(params![fingerprint, now_ms], |row| row.get(0))
        .optional()
}

/// Fingerprints that are muted: until when, and by whom.
pub(in crate::alert) fn mutes(
    conn: &Connection,
    now_ms: i64,
) -> rusqlite::Result<Vec<(String, i64, String)>> {
    conn.prepare_cached(
        "SELECT fingerprint, until_ms, actor FROM mutes WHERE until_ms > ?1 ORDER BY fingerprint LIMIT 1000",
    )?
    .query_map([now_ms], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
    .collect()
}

pub(in crate::alert) fn forget_mutes(conn: &Connection, now_ms: i64) -> rusqlite::Result<usize> {
    conn.execute("DELETE FROM mutes WHERE until_ms <= ?1", [now_ms])
}
