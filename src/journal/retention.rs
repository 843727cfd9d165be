//! How much of the journal is kept. Only the oldest end is ever cut, so a reader can tell from the
//! oldest number alone whether it has missed something; and never past a durable cursor.

use super::{Journal, table};
use crate::store::StoreError;

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
        let bytes = i64::try_from(keep.bytes).unwrap_or(i64::MAX);
        let (before, slowest) = self
            .store
            .read(move |conn| {
                let by_age = table::first_since(conn, cutoff_ms)?;
                let by_count = table::first_of_newest(conn, i64::from(keep.events))?.unwrap_or(0);
                let by_bytes = table::first_within_bytes(conn, bytes)?.unwrap_or(0);
                Ok::<_, StoreError>((by_age.max(by_count).max(by_bytes), table::slowest_cursor(conn)?))
            })
            .await?;
        let deleted = self
            .store
            .delete_in_chunks(move |tx, limit| {
                table::delete_before(tx, before, limit).map_err(StoreError::from)
            })
            .await?;
        Ok(Trimmed { deleted, held_at: slowest.filter(|seq| seq + 1 < before) })
    }
}
