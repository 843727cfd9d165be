//! `@startup`: tasks that run once each time the daemon starts.

use std::sync::Arc;

use tracing::error;

use crate::model::run::Trigger;
use crate::run::RunError;
use crate::run::flight::{self, Request};

use super::App;
use super::claims::{self, SCHEDULER};

/// Claims every enabled `@startup` task; one whose last run was adopted follows its `overlap`.
pub async fn run(app: App) {
    let tasks: Vec<_> = app
        .snapshot()
        .entries
        .values()
        .filter_map(|entry| entry.runnable())
        .filter(|task| task.schedule.has_startup())
        .map(Arc::clone)
        .collect();
    for task in tasks {
        let request = Request {
            task: Arc::clone(&task),
            trigger: Trigger::Startup,
            scheduled_ms: None,
            attempt: 1,
            actor: SCHEDULER.to_owned(),
            extra_env: Vec::new(),
            forced: false,
            expired: false,
            request_key: None,
            now_ms: app.clock.wall_ms(),
        };
        let (journal, runs) = (app.journal.clone(), app.runs.clone());
        let claim = app
            .store
            .write(move |tx| -> Result<_, RunError> { flight::claim(tx, &journal, runs.gates(), &request) })
            .await;
        match claim {
            Ok(claim) => claims::act(&app, &task, claim),
            Err(e) => error!(task = %task.id, error = %e, "could not start an @startup task"),
        }
    }
}
