//! The row of `meta` that says what time is believed.

use rusqlite::{Connection, OptionalExtension as _};

use super::Belief;

const KEY: &str = "believed_time";

/// `None` where none has been kept, or none that this version can read.
///
/// # Errors
/// What the database says, and nothing else.
pub(super) fn get(conn: &Connection) -> rusqlite::Result<Option<Belief>> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([KEY], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// # Errors
/// What the database says, and nothing else.
pub(super) fn set(conn: &Connection, belief: &Belief) -> rusqlite::Result<()> {
    let text = serde_json::to_string(belief).unwrap_or_default();
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute([KEY, &text])
        .map(drop)
}
