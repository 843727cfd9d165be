//! Why a request was not done, in words for people and a code for programs.

use crate::model::ids::{RunId, TaskId};
use crate::model::run::RunState;
use crate::run::RunError;
use crate::store::StoreError;

/// A request that was turned down; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub kind: RefusedKind,
    /// For programs; never changes its meaning.
    pub code: &'static str,
    pub message: String,
    /// What to do about it.
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    NotFound,
    Conflict,
    /// What it was asked on condition of is no longer so.
    Changed,
    Disabled,
    Paused,
    Draining,
    Invalid,
    /// The database or the disk does not play along; may pass by itself.
    Unavailable,
}

impl Refused {
    #[must_use]
    pub fn new(
        kind: RefusedKind,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self { kind, code, message: message.into(), help: help.into() }
    }

    #[must_use]
    pub fn no_task(id: &TaskId) -> Self {
        Self::new(
            RefusedKind::NotFound,
            "no_such_task",
            format!("there is no task {id}"),
            "list them: lucid tasks",
        )
    }

    #[must_use]
    pub fn no_run(id: RunId) -> Self {
        Self::new(
            RefusedKind::NotFound,
            "no_such_run",
            format!("there is no run {id}"),
            "list them: lucid runs",
        )
    }

    /// What was to be done to a run needs it to be live.
    #[must_use]
    pub fn ended(id: RunId, state: RunState) -> Self {
        Self::new(
            RefusedKind::Conflict,
            "ended",
            format!("{id} has ended: {}", state.name()),
            format!("its output: lucid logs {}", id.0),
        )
    }

    #[must_use]
    pub fn broken(id: &TaskId) -> Self {
        Self::new(
            RefusedKind::Conflict,
            "broken",
            format!("the file of {id} has errors and no earlier version stands in for it"),
            "see them: lucid check",
        )
    }

    #[must_use]
    pub fn disabled(id: &TaskId) -> Self {
        Self::new(
            RefusedKind::Disabled,
            "disabled",
            format!("{id} is disabled"),
            format!("run it all the same: lucid run {id} --force; or switch it on: lucid enable {id}"),
        )
    }

    /// Held back by a pause, a drain or a file that has been broken for too long.
    #[must_use]
    pub fn held(id: &TaskId, reason: &'static str) -> Self {
        match reason {
            "paused" => Self::new(
                RefusedKind::Paused,
                "paused",
                format!("{id} is paused"),
                format!("run it all the same: lucid run {id} --force; or end the pause: lucid resume {id}"),
            ),
            "draining" => Self::new(
                RefusedKind::Draining,
                "draining",
                "the daemon is draining: it starts nothing new",
                "lucid undrain",
            ),
            other => Self::new(RefusedKind::Conflict, other, format!("{id}: {other}"), "lucid check"),
        }
    }

    /// Held back by the pause of the whole schedule, which the task's own `resume` does not end.
    #[must_use]
    pub fn paused_with_all(id: &TaskId) -> Self {
        Self::new(
            RefusedKind::Paused,
            "paused",
            format!("the whole schedule is paused, and {id} with it"),
            format!("run it all the same: lucid run {id} --force; or end the pause: lucid resume --all"),
        )
    }

    #[must_use]
    pub fn unavailable(why: &str) -> Self {
        Self::new(RefusedKind::Unavailable, "unavailable", why, "see: lucid problems")
    }
}

impl From<RunError> for Refused {
    fn from(error: RunError) -> Self {
        Self::unavailable(&error.to_string())
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::unavailable(&error.to_string())
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::unavailable(&error.to_string())
    }
}
