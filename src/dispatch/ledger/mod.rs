//! What agents used and what their providers refused: rows that are written once and only read.

pub(crate) mod table;

use crate::model::ids::RunId;
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
