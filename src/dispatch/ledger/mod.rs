//! What agents used and what their providers refused: rows that are written once and only read.

pub(crate) mod table;

use std::time::Duration;

use super::{Dispatch, DispatchError, table as workers};

use crate::model::ids::RunId;
use crate::model::time::millis;
use crate::model::worker::Tokens;

/// What one run used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub run: RunId,
    pub ticket: Option<String>,
    pub task: String,
    pub agent: String,
    pub model: Option<String>,
    pub tokens: Tokens,
    /// Decimal US dollars, where the provider told.
    pub cost_usd: Option<String>,
    pub at_ms: i64,
}

/// A request that a provider refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiError {
    pub at_ms: i64,
    /// `rate_limited`, `overloaded`, `auth`, `billing`, …
    pub kind: String,
    pub agent: Option<String>,
    pub ticket: Option<String>,
    pub run: Option<RunId>,
    pub status: Option<u16>,
    pub message: String,
}

/// Longest message of a refused request that is kept, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 2048;

/// The most refused requests that are kept, whatever their age: scripts may tell of them too.
const REFUSED_MAX: u32 = 100_000;
/// Rows deleted in one transaction.
const CHUNK_ROWS: u32 = 500;

/// How long what agents leave behind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    pub workers: Duration,
    pub usage: Duration,
    pub refused: Duration,
}

impl Dispatch {
    /// Deletes what is too old at `now_ms`; how many rows.
    ///
    /// # Errors
    /// Only what the database says; what went before stays gone.
    pub async fn trim(&self, ages: Ages, now_ms: i64) -> Result<usize, DispatchError> {
        let before = |age: Duration| now_ms.saturating_sub(millis(age));
        let (workers, usage, refused) = (before(ages.workers), before(ages.usage), before(ages.refused));
        let mut gone = 0;
        loop {
            let chunk = self
                .store
                .write(move |tx| {
                    Ok::<_, DispatchError>([
                        workers::trim(tx, workers, CHUNK_ROWS)?,
                        table::trim_usage(tx, usage, CHUNK_ROWS)?,
                        table::trim_refused(tx, refused, REFUSED_MAX, CHUNK_ROWS)?,
                    ])
                })
                .await?;
            gone += chunk.iter().sum::<usize>();
            if chunk.iter().all(|rows| *rows < CHUNK_ROWS as usize) {
                return Ok(gone);
            }
        }
    }
}
