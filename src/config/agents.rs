//! Agent profiles, and where tickets go that name none.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::worker::Dialect;

/// An agent program and how it is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    /// Program and arguments; the dialect's own flags follow. `lucid` as the program is this one.
    pub command: Vec<String>,
    pub dialect: Dialect,
    pub model: Option<String>,
    /// Workers at once.
    pub max_parallel: u32,
    /// Hard limit of one worker.
    pub max_runtime: Duration,
    /// From its last word to its end.
    pub end_grace: Duration,
    /// Least wait before an overloaded provider is tried again.
    pub overload_backoff: Duration,
    /// Profiles that take over while this one rests.
    pub fallback: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Names of secrets that become variables of its environment.
    pub secrets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// Of tickets that name none.
    pub pool: Option<String>,
    /// Of tickets that name none.
    pub agent: Option<String>,
    pub max_attempts: u32,
    /// After this long a worker is expected to have said something.
    pub check_in: Duration,
}
