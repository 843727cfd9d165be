//! What of the health is kept: rows of `meta`, and the failed runs of the ledger.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Standing;
use super::token::TokenState;

const STANDING: &str = "health";

/// What is known of a login, and the ticket that was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct TokenRow {
    pub state: TokenState,
    pub detail: String,
    /// Since when it is in this state, milliseconds since the epoch.
    pub since_ms: i64,
    pub at_ms: i64,
    /// The trouble that people have been told of and that is not over.
    pub told: Option<TokenState>,
    /// Its ticket's identifier, kept until the login is well again: there is never a second one.
    pub ticket: Option<String>,
}

pub fn standing(conn: &Connection) -> rusqlite::Result<Option<Standing>> {
    get(conn, STANDING)
}

pub fn set_standing(conn: &Connection, standing: &Standing) -> rusqlite::Result<()> {
    set(conn, STANDING, standing)
}

pub fn token(conn: &Connection, name: &str) -> rusqlite::Result<Option<TokenRow>> {
    get(conn, &token_key(name))
}

pub fn set_token(conn: &Connection, name: &str, row: &TokenRow) -> rusqlite::Result<()> {
    set(conn, &token_key(name), row)
}

/// Names of all logins that anything is known of, those no longer declared among them.
pub fn token_names(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached("SELECT substr(key, 7) FROM meta WHERE key LIKE 'token:%' ORDER BY key")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// The login that this ticket asks a person to renew.
pub fn login_of(conn: &Connection, ticket: &str) -> rusqlite::Result<Option<String>> {
    for name in token_names(conn)? {
        if token(conn, &name)?.and_then(|row| row.ticket).as_deref() == Some(ticket) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

pub fn forget_token(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([token_key(name)])?;
    Ok(())
}

fn token_key(name: &str) -> String {
    format!("token:{name}")
}

/// Text that a later version wrote and this one cannot read counts as none: it is found out again.
fn get<T: DeserializeOwned>(conn: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn set<T: Serialize>(conn: &Connection, key: &str, value: &T) -> rusqlite::Result<()> {
    let text = serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute(params![key, text])?;
    Ok(())
}

/// Runs of tasks that ended as failures since then, by task, the most first. Attempts on tickets are no
/// tasks' runs: they have their own limits.
pub fn failed_since(conn: &Connection, since_ms: i64) -> rusqlite::Result<Vec<(String, u32)>> {
    conn.prepare_cached(
        "SELECT task, count(*) FROM runs WHERE ended_ms >= ?1 AND ticket IS NULL \
         AND state IN ('failed', 'timeout', 'lost', 'blocked', 'kill_failed') \
         GROUP BY task ORDER BY count(*) DESC, task",
    )?
    .query_map([since_ms], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}
