//! The table `idempotency`.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::Answer;
use crate::store::StoreError;

pub(super) struct Kept {
    pub asked: Vec<u8>,
    pub answer: Answer,
}

pub(super) fn find(db: &Connection, key: &str, since_ms: i64) -> Result<Option<Kept>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT body_hash, status, response FROM idempotency WHERE key = ?1 AND at_ms >= ?2",
    )?;
    let kept = query.query_row(params![key, since_ms], |row| {
        Ok(Kept { asked: row.get(0)?, answer: Answer { status: row.get(1)?, body: row.get(2)? } })
    });
    Ok(kept.optional()?)
}

/// Takes the place of an answer that has been forgotten but not yet deleted.
pub(super) fn keep(
    db: &Connection,
    key: &str,
    asked: [u8; 32],
    answer: &Answer,
    now_ms: i64,
) -> Result<(), StoreError> {
    db.prepare_cached(
        "INSERT INTO idempotency (key, body_hash, status, response, at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key) DO UPDATE SET body_hash = excluded.body_hash, status = excluded.status,
             response = excluded.response, at_ms = excluded.at_ms",
    )?
    .execute(params![key, asked, answer.status, answer.body, now_ms])?;
    Ok(())
}

pub(super) fn forget(db: &Connection, before_ms: i64) -> Result<usize, StoreError> {
    Ok(db.prepare_cached("DELETE FROM idempotency WHERE at_ms < ?1")?.execute([before_ms])?)
}
