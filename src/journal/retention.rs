//! How much of the journal is kept. Only the oldest end is ever cut, so a reader can tell from the
//! oldest number alone whether it has missed something; and never past a durable cursor.

use super::{Journal, table};
use crate::store::StoreError;

/// Events weighed in one read.
const STRETCH_EVENTS: i64 = 20_000;

/// What to keep; whichever limit is met first cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    pub age_ms: i64,
    pub events: u32,
    /// Of the events' data, with an allowance for the row.
    pub bytes: u64,
}

/// What a trim did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimmed {
    pub deleted: usize,
    /// The position of the cursor that kept more from going.
    pub held_at: Option<i64>,
}

impl Journal {
    /// Deletes, 500 rows a transaction, what `keep` does not cover. An event dated into the future by a
    /// jump of the clock stays, with all after it, until its age or the other limits come.
    ///
    /// # Errors
    /// When a read or a delete fails; what was deleted stays deleted.
    pub async fn trim(&self, now_ms: i64, keep: Keep) -> Result<Trimmed, StoreError> {
        let cutoff_ms = now_ms.saturating_sub(keep.age_ms);
        let (before, slowest) = self
            .store
            .read(move |conn| {
                let by_age = table::first_since(conn, cutoff_ms)?;
                let by_count = table::first_of_newest(conn, i64::from(keep.events))?.unwrap_or(0);
                Ok::<_, StoreError>((by_age.max(by_count), table::slowest_cursor(conn)?))
            })
            .await?;
        let before = before.max(self.first_within(keep.bytes).await?);
        let deleted = self
            .store
            .delete_in_chunks(move |tx, limit| {
                table::delete_before(tx, before, limit).map_err(StoreError::from)
            })
            .await?;
        Ok(Trimmed { deleted, held_at: slowest.filter(|seq| seq + 1 < before) })
    }

    /// The number of the oldest event that the newest `bytes` still hold; 0 when they hold all. Weighed
    /// in stretches: a read of the whole journal would be stopped by the limit on reads.
    async fn first_within(&self, bytes: u64) -> Result<i64, StoreError> {
        let mut left = i64::try_from(bytes).unwrap_or(i64::MAX);
        let mut below = i64::MAX;
        loop {
            let stretch = self
                .store
                .read(move |conn| Ok::<_, StoreError>(table::weigh(conn, below, STRETCH_EVENTS)?))
                .await?;
            if stretch.bytes > left {
                let fits = move |conn: &rusqlite::Connection| {
                    Ok::<_, StoreError>(table::first_that_fits(conn, below, STRETCH_EVENTS, left)?)
                };
                return self.store.read(fits).await;
            }
            if stretch.events < STRETCH_EVENTS {
                return Ok(0);
            }
            (left, below) = (left - stretch.bytes, stretch.below);
        }
    }
}
