//! The tasks folder, read without a daemon.

use std::sync::Arc;

use super::config;
use super::context::{Context, quoted};
use super::failure::{Exit, Failure};
use crate::daemon;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::task::{Registry, Snapshot, names};

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
    let entry =
        snapshot.get(id).ok_or_else(|| no_such_task(id, snapshot.entries.keys().map(TaskId::as_str)))?;
    entry.definition.clone().ok_or_else(|| Failure::Ended {
        exit: Exit::No,
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

/// No such task in the files, whose ids are `known`.
fn no_such_task<'k>(id: &TaskId, known: impl IntoIterator<Item = &'k str>) -> Failure {
    let near = names::near(known, id.as_str());
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    Failure::Ended {
        exit: Exit::NoSuchId,
        message: format!("there is no task {}", quoted(id.as_str())),
        help: Some(format!("{near}list them with `lucid check` or `lucid tasks`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_one_is_offered_it() {
        let help =
            |id: &str| no_such_task(&TaskId::parse(id).unwrap(), ["git-sync", "pulse"]).help().unwrap();
        assert!(help("pulce").starts_with("did you mean `pulse`? list them"), "{}", help("pulce"));
        assert!(help("other").starts_with("list them"), "{}", help("other"));
    }
}
