//! The gate to `done`: whoever knows the pools answers whether a commit is on a pool's base branch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::ticket::GateAnswer;

/// What is asked: the pool (none is the default one) and the recorded commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateQuestion {
    pub pool: Option<String>,
    pub commit: String,
}

/// Fetches, then answers; [`GateAnswer::Unreadable`] when it cannot.
pub type Gate = Arc<dyn Fn(GateQuestion) -> Pin<Box<dyn Future<Output = GateAnswer> + Send>> + Send + Sync>;

/// The gate where no pool is set up: there is no base branch to be on.
#[must_use]
pub fn without_pools() -> Gate {
    Arc::new(|_| {
        Box::pin(std::future::ready(GateAnswer::Unreadable(
            "no pool is set up that has a base branch".into(),
        )))
    })
}
