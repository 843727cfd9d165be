//! What the tick and those it sends out say to each other.

use crate::model::ids::TaskId;
use crate::task::agenda::{Again, Standing};

use super::App;

/// What comes back to the tick.
#[derive(Debug)]
pub enum ToTick {
    /// The registry and the database agree on these tasks; those not named are gone.
    Synced(Vec<Standing>),
    /// A plan of this task is done with: every instant up to `covered_ms` is decided, nothing where there is none.
    Covered { task: TaskId, covered_ms: Option<i64>, next: Again },
    /// A run is to be tried again then.
    RetryAt(i64),
}

/// Tells the tick. It is gone only while the daemon goes down.
pub fn answer(app: &App, message: ToTick) {
    if app.to_tick.send(message).is_err() {
        tracing::debug!("the tick has ended");
    }
}
