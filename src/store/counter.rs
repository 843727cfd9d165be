//! Numbers that only rise, for the life of the database.

use rusqlite::Connection;

/// Counts `key` up by one, from 1, and gives the number that it has now.
///
/// # Errors
/// Only what the database says.
pub fn count_up(conn: &Connection, key: &str) -> rusqlite::Result<i64> {
    // Two statements: the answer of one that changes and tells goes through a table of its own, which costs more.
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, '1') \
         ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
    )?
    .execute([key])?;
    conn.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
}
