//! Tasks for the tests of other modules, from front-matter like anybody's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::parse::{Defaults, Known, Parsed, Rules, parse};
use crate::model::ids::TaskId;
use crate::model::schedule::Zone;
use crate::model::task::Task;

/// Parses `front`; a file without a kind gets a command.
#[must_use]
pub fn task(front: &str) -> Arc<Task> {
    named("sample", front)
}

/// The same under a name of its own.
#[must_use]
pub fn named(id: &str, front: &str) -> Arc<Task> {
    let kind = if front.contains("command:") { "" } else { "command: 'true'\n" };
    let text = format!("---\n{front}\n{kind}---\n");
    let id = TaskId::parse(id).unwrap();
    match parse(&id, Path::new("tasks/sample.md"), text.as_bytes(), &rules()) {
        Parsed::Task { task: Some(task), .. } => Arc::from(task),
        other => panic!("{text}\nis no task: {other:?}"),
    }
}

/// With which the tasks here are read.
#[must_use]
pub fn rules() -> Rules {
    Rules {
        defaults: Defaults {
            timeout: Duration::from_secs(600),
            agent_timeout: Duration::from_secs(3600),
            kill_grace: Duration::from_secs(10),
            catch_up_window: Duration::from_secs(6 * 3600),
            log_max_bytes: 10_000_000,
            keep_runs: 200,
            keep_for: Duration::from_secs(90 * 86_400),
            shell: "/bin/sh".to_owned(),
            zone: Zone::parse("UTC").unwrap(),
        },
        known: Known {
            profiles: BTreeSet::new(),
            actions: &["db-backup", "ticket-pickup"],
            ..Known::default()
        },
        now: None,
        here: None,
    }
}
