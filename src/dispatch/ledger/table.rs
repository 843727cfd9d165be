//! Usage and refused requests, in the database.

use rusqlite::{Connection, params};

use super::{ApiError, MESSAGE_MAX_BYTES, Usage};
use crate::model::ids::RunId;
use crate::model::worker::Tokens;

pub fn use_up(conn: &Connection, usage: &Usage) -> rusqlite::Result<()> {
    let source = usage.cost_usd.as_ref().map(|_| "provider");
    conn.prepare_cached(
        "INSERT OR REPLACE INTO usage (run, ticket, task, agent, model, input, output, cache_read, cache_write, \
         cost_usd, cost_source, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        usage.run.0,
        usage.ticket,
        usage.task,
        usage.agent,
        usage.model,
        usage.tokens.input,
        usage.tokens.output,
        usage.tokens.cache_read,
        usage.tokens.cache_write,
        usage.cost_usd,
        source,
        usage.at_ms,
    ])?;
    Ok(())
}

/// Newest first.
pub fn used(
    conn: &Connection,
    ticket: Option<&str>,
    since_ms: i64,
    limit: u32,
) -> rusqlite::Result<Vec<Usage>> {
    conn.prepare_cached(
        "SELECT run, ticket, task, agent, model, input, output, cache_read, cache_write, cost_usd, at_ms \
         FROM usage WHERE at_ms >= ?2 AND (?1 IS NULL OR ticket = ?1) ORDER BY run DESC LIMIT ?3",
    )?
    .query_map(params![ticket, since_ms, limit], |row| {
        Ok(Usage {
            run: RunId(row.get(0)?),
            ticket: row.get(1)?,
            task: row.get(2)?,
            agent: row.get(3)?,
            model: row.get(4)?,
            tokens: Tokens {
                input: row.get(5)?,
                output: row.get(6)?,
                cache_read: row.get(7)?,
                cache_write: row.get(8)?,
            },
            cost_usd: row.get(9)?,
            at_ms: row.get(10)?,
        })
    })?
    .collect()
}

pub fn refuse(conn: &Connection, error: &ApiError) -> rusqlite::Result<()> {
    let mut end = error.message.len().min(MESSAGE_MAX_BYTES);
    while !error.message.is_char_boundary(end) {
        end -= 1;
    }
    conn.prepare_cached(
        "INSERT INTO api_errors (at_ms, kind, agent, ticket, run, status, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        error.at_ms,
        error.kind,
        error.agent,
        error.ticket,
        error.run.map(|run| run.0),
        error.status,
        &error.message[..end],
    ])?;
    Ok(())
}

/// Newest first.
pub fn refused(conn: &Connection, since_ms: i64, limit: u32) -> rusqlite::Result<Vec<ApiError>> {
    conn.prepare_cached(
        "SELECT at_ms, kind, agent, ticket, run, status, message FROM api_errors WHERE at_ms >= ?1 \
         ORDER BY id DESC LIMIT ?2",
    )?
    .query_map(params![since_ms, limit], |row| {
        Ok(ApiError {
            at_ms: row.get(0)?,
            kind: row.get(1)?,
            agent: row.get(2)?,
            ticket: row.get(3)?,
            run: row.get::<_, Option<i64>>(4)?.map(RunId),
            status: row.get(5)?,
            message: row.get(6)?,
        })
    })?
    .collect()
}

/// How many were refused since `since_ms`, by kind.
pub fn refused_by_kind(conn: &Connection, since_ms: i64) -> rusqlite::Result<Vec<(String, i64)>> {
    conn.prepare_cached(
        "SELECT kind, count(*) FROM api_errors WHERE at_ms >= ?1 GROUP BY kind ORDER BY kind",
    )?
    .query_map([since_ms], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Deletes at most `limit` rows of usage from before `before_ms`; how many.
pub fn trim_usage(conn: &Connection, before_ms: i64, limit: u32) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM usage WHERE run IN (SELECT run FROM usage WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
    )?
    .execute(params![before_ms, limit])
}

/// Deletes at most `limit` refused requests from before `before_ms` or beyond the newest `rows`; how many.
pub fn trim_refused(conn: &Connection, before_ms: i64, rows: u32, limit: u32) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM api_errors WHERE id IN (SELECT id FROM api_errors WHERE at_ms < ?1 \
         OR id <= (SELECT max(id) FROM api_errors) - ?2 ORDER BY id LIMIT ?3)",
    )?
    .execute(params![before_ms, rows, limit])
}
