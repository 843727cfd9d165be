//! What the tick and those it sends out say to each other.

use std::sync::Arc;

use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::task::due::Plan;

use super::App;

/// Wait before what the database would not take is planned again.
const AGAIN_MS: i64 = 1_000;

/// A task with what the tick decided about its instants.
#[derive(Debug, Clone)]
pub struct Due {
    pub task: Arc<Task>,
    pub plan: Plan,
    pub covered_ms: i64,
    /// Instants of a gap are being made up for.
    pub backlog: bool,
    /// Its file has been broken for too long: instants are skipped with that reason.
    pub expired: bool,
}

/// What comes back to the tick.
#[derive(Debug)]
pub enum ToTick {
    /// The registry and the database agree on these tasks; those not named are gone.
    Synced(Vec<Synced>),
    /// A plan of this task has its rows: every instant up to `covered_ms` is decided.
    Covered { task: TaskId, covered_ms: i64, next: Again },
    /// A run is to be tried again then.
    RetryAt(i64),
}

/// When a task whose plan was carried out is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    WhenDue,
    /// Not before this wall time, since the database did not take the plan.
    NotBefore(i64),
    /// Not before this wall time: more instants of a gap are to be made up for, one run after the other.
    Spaced(i64),
}

/// A task as the tick needs it.
#[derive(Debug, Clone)]
pub struct Synced {
    pub task: Arc<Task>,
    pub anchor_ms: i64,
    pub covered_ms: i64,
    pub expired: bool,
    pub enabled: bool,
}

/// The wait after which a plan that met a failing database is made again.
#[must_use]
pub fn again(now_ms: i64) -> Again {
    Again::NotBefore(now_ms + AGAIN_MS)
}

/// Tells the tick. It is gone only while the daemon goes down.
pub fn answer(app: &App, message: ToTick) {
    if app.to_tick.send(message).is_err() {
        tracing::debug!("the tick has ended");
    }
}
