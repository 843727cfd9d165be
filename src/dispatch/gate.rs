//! The gate to `done`: whoever knows the pools answers whether a commit is on a pool's base branch.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::ticket::GateAnswer;
use crate::pool::Pools;

/// What is asked: the pool (none is the default one) and the recorded commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateQuestion {
    pub pool: Option<String>,
    pub commit: String,
}

/// Fetches, then answers; [`GateAnswer::Unreadable`] when it cannot.
pub type Gate = Arc<dyn Fn(GateQuestion) -> Pin<Box<dyn Future<Output = GateAnswer> + Send>> + Send + Sync>;

/// Asks the pool's remote; a question that names no pool is for `usual`.
pub(crate) async fn ask(pools: &Pools, question: GateQuestion, usual: Option<String>) -> GateAnswer {
    let Some(pool) = question.pool.or(usual).or_else(|| pools.names().next().map(str::to_owned)) else {
        return GateAnswer::Unreadable("no pool is set up that has a base branch".into());
    };
    match pools.is_ancestor(&pool, &question.commit).await {
        Ok(true) => GateAnswer::Merged,
        Ok(false) => GateAnswer::NotMerged,
        Err(e) => GateAnswer::Unreadable(e.to_string()),
    }
}
