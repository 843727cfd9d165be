//! Carries the tick's plans to the ledger and starts what got its row.
//!
//! Everything here runs beside the tick and answers it by message.

use std::sync::Arc;

use tracing::{error, warn};

use crate::dispatch::Dispatch;
use crate::model::event::Event;
use crate::model::ids::TaskId;
use crate::model::run::{Run, StopReason};
use crate::model::task::Task;
use crate::model::time::millis;
use crate::platform::failpoint;
use crate::run::RunError;
use crate::run::flight::Claim;
use crate::task::agenda::{Again, Due};

use super::App;
use super::carry::{Carried, Ledger, TakenUp};
use super::message::{ToTick, answer};

/// Tasks whose rows are written in one transaction.
const CHUNK_TASKS: usize = 128;
/// Who asks for what the clock brings.
pub const SCHEDULER: &str = "scheduler";

/// Writes the rows of all plans and starts what may start.
pub fn send(app: &App, mut due: Vec<Due>) {
    let app = app.clone();
    tokio::spawn(async move {
        // One part after the other: what the first has started is recorded before the last has its rows.
        while !due.is_empty() && !app.shutdown.token.is_cancelled() {
            let rest = due.split_off(due.len().min(CHUNK_TASKS));
            carry(&app, std::mem::replace(&mut due, rest)).await;
        }
    });
}

async fn carry(app: &App, chunk: Vec<Due>) {
    let tasks: Vec<TaskId> = chunk.iter().map(|due| due.task.id.clone()).collect();
    let worker = app.clone();
    let carried = app
        .store
        .write(move |tx| -> Result<Vec<Carried>, RunError> {
            let ledger = ledger(&worker);
            chunk.iter().map(|due| ledger.carry(tx, due)).collect()
        })
        .await;
    match carried {
        Ok(all) => {
            failpoint::pass("claims.carry");
            for carried in all {
                finish(app, carried);
            }
        }
        Err(e) => {
            error!(error = %e, "could not write what is due; trying again");
            for task in tasks {
                let next = Again::after_failure(app.clock.wall_ms());
                answer(app, ToTick::Covered { task, covered_ms: None, next });
            }
        }
    }
}

/// As things are at this moment.
pub fn ledger(app: &App) -> Ledger {
    Ledger {
        journal: app.journal.clone(),
        gates: app.runs.gates(),
        spacing_ms: millis(app.config.scheduler.catch_up_spacing),
        now_ms: app.clock.wall_ms(),
    }
}

fn finish(app: &App, carried: Carried) {
    let Carried { task, covered_ms, again, claims } = carried;
    answer(app, ToTick::Covered { task: task.id.clone(), covered_ms, next: again });
    for claim in claims {
        act(app, &task, claim);
    }
}

/// Does what a claim asks for.
pub fn act(app: &App, task: &Arc<Task>, claim: Claim) {
    match claim {
        Claim::Go(run) => launch(app, run, Arc::clone(task)),
        Claim::Replaces { run: _, holder } => {
            app.runs.tell_keeper(holder, StopReason::Replaced, None);
            // A holder that had not begun is over already.
            app.runs.look();
        }
        Claim::Waits(_)
        | Claim::Skipped(_)
        | Claim::Covered
        | Claim::Known(_)
        | Claim::Off
        | Claim::Stale
        | Claim::Taken { .. }
        | Claim::Refused { .. } => {}
    }
}

fn launch(app: &App, run: Run, task: Arc<Task>) {
    if Dispatch::is_for(&task) {
        let dispatch = app.dispatch.clone();
        tokio::spawn(async move { dispatch.launch_task(run, task).await });
        return;
    }
    let runs = app.runs.clone();
    tokio::spawn(async move { runs.launch(run, task).await });
}

/// Starts runs that have been given their place; one whose task is gone ends `blocked`.
pub fn start_promoted(app: &App, runs: Vec<Run>) {
    let snapshot = app.snapshot();
    for run in runs {
        match snapshot.definition(&run.task) {
            Some(task) => launch(app, run, task),
            None => {
                let app = app.clone();
                tokio::spawn(async move { app.runs.block(run, "its task file is gone or broken").await });
            }
        }
    }
}

/// Claims every retry that is due; one whose key is taken gives way.
pub fn send_retries(app: &App) {
    let app = app.clone();
    tokio::spawn(async move {
        if let Err(e) = retry(&app).await {
            error!(error = %e, "could not take up what is to be tried again");
            let at = app.clock.wall_ms() + 1_000;
            answer(&app, ToTick::RetryAt(at));
        }
    });
}

async fn retry(app: &App) -> Result<(), RunError> {
    let snapshot = app.snapshot();
    let worker = app.clone();
    let TakenUp { claims, next_ms } =
        app.store.write(move |tx| ledger(&worker).take_up(tx, |task| snapshot.definition(task))).await?;
    for (task, claim) in claims {
        act(app, &task, claim);
    }
    if let Some(at) = next_ms {
        answer(app, ToTick::RetryAt(at));
    }
    Ok(())
}

/// Writes an event that belongs to no other change.
pub fn record(app: &App, event: Event) {
    let app = app.clone();
    tokio::spawn(async move {
        let (journal, now_ms) = (app.journal.clone(), app.clock.wall_ms());
        let written = app
            .store
            .write(move |tx| -> Result<(), RunError> {
                journal.record(tx, now_ms, event.clone())?;
                Ok(())
            })
            .await;
        if let Err(e) = written {
            warn!(error = %e, "could not record an event");
        }
    });
}
