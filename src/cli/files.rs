//! The tasks folder, read without a daemon.

use std::sync::Arc;

use super::config;
use super::context::Context;
use super::failure::Failure;
use super::next::no_such_task;
use crate::daemon;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::task::{Registry, Snapshot};

/// The tasks whose files can be read and are switched on, by id.
///
/// # Errors
/// No configuration, or one that is refused.
pub fn tasks(context: &Context) -> Result<Vec<Arc<Task>>, Failure> {
    Ok(snapshot(context)?.entries.values().filter_map(|entry| entry.runnable().cloned()).collect())
}

/// One task, enabled or not.
///
/// # Errors
/// No such task, a file that is no good, or as [`tasks`].
pub fn task(context: &Context, id: &TaskId) -> Result<Arc<Task>, Failure> {
    let snapshot = snapshot(context)?;
    let entry = snapshot.get(id).ok_or_else(|| no_such_task(id))?;
    entry.definition.clone().ok_or_else(|| Failure::Ended {
        exit: super::failure::Exit::No,
        message: format!("{} has errors", super::look::clean(&entry.file.to_string_lossy())),
        help: Some("see them with `lucid check`".to_owned()),
    })
}

fn snapshot(context: &Context) -> Result<Arc<Snapshot>, Failure> {
    let config = config::load(context)?;
    let mut registry = Registry::new(config.tasks_dir.clone(), daemon::rules(&config));
    registry.reload(context.clock.wall_ms());
    Ok(registry.snapshot())
}
