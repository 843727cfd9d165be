//! Carries the tick's plans to the ledger and starts what got its row.
//!
//! Everything here runs beside the tick and answers it by message.

use std::sync::Arc;

use tracing::{error, warn};

use crate::dispatch::Dispatch;
use crate::model::event::{Event, EventKind};
use crate::model::ids::TaskId;
use crate::model::run::{Run, StopReason, Trigger};
use crate::model::task::{CatchUp, Task};
use crate::model::time::millis;
use crate::platform::failpoint;
use crate::run::flight::{self, Claim, Request};
use crate::run::{RunError, table};
use crate::store::Tx;

use super::App;
use super::message::{self, Again, Due, ToTick, answer};

/// Tasks whose rows are written in one transaction.
const CHUNK_TASKS: usize = 128;
/// Wait before a retry that a pause, a drain or an edited file holds back is looked at again.
const RETRY_PUT_OFF_MS: i64 = 5_000;
/// Retries looked at in one go.
const RETRIES_MAX: u32 = 256;
/// Who asks for what the clock brings.
pub const SCHEDULER: &str = "scheduler";

/// What one task's plan came to.
#[derive(Debug)]
struct Carried {
    task: Arc<Task>,
    covered_ms: i64,
    again: Again,
    claims: Vec<Claim>,
}

/// Writes the rows of all plans and starts what may start.
pub fn send(app: &App, mut due: Vec<Due>) {
    while !due.is_empty() {
        let rest = due.split_off(due.len().min(CHUNK_TASKS));
        let chunk = std::mem::replace(&mut due, rest);
        let app = app.clone();
        tokio::spawn(async move { carry(&app, chunk).await });
    }
}

async fn carry(app: &App, chunk: Vec<Due>) {
    let tasks: Vec<(TaskId, i64)> = chunk.iter().map(|due| (due.task.id.clone(), due.covered_ms)).collect();
    let worker = app.clone();
    let carried = app
        .store
        .write(move |tx| -> Result<Vec<Carried>, RunError> {
            chunk.iter().map(|due| carry_one(&worker, tx, due)).collect()
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
            for (task, covered_ms) in tasks {
                let next = message::again(app.clock.wall_ms());
                answer(app, ToTick::Covered { task, covered_ms, next });
            }
        }
    }
}

fn carry_one(app: &App, tx: &Tx<'_>, due: &Due) -> Result<Carried, RunError> {
    let mut carried = Carried {
        task: Arc::clone(&due.task),
        covered_ms: due.covered_ms,
        again: Again::WhenDue,
        claims: Vec::new(),
    };
    let now_ms = app.clock.wall_ms();
    if let Some(missed) = due.plan.missed {
        let standing = table::standing(tx, &due.task.id, now_ms)?;
        if standing.is_some_and(|s| s.enabled && s.present) {
            let request = request(due, Trigger::Schedule, missed.from.as_millisecond(), now_ms);
            let count = i64::try_from(missed.count).unwrap_or(i64::MAX);
            flight::miss(tx, &app.journal, &request, missed.to.as_millisecond(), count)?;
        }
        carried.covered_ms = missed.to.as_millisecond();
    }
    for fire in &due.plan.fires {
        let at_ms = fire.at.as_millisecond();
        // One at a time until the gap is made up for: each waits for its predecessor instead of being skipped.
        if due.task.catch_up == CatchUp::All && (due.backlog || due.plan.fires.len() > 1) {
            let busy = !carried.claims.is_empty() || table::holder(tx, &due.task.flight_key())?.is_some();
            if busy {
                carried.again = Again::Spaced(now_ms + spacing_ms(app));
                break;
            }
        }
        let claim =
            flight::claim(tx, &app.journal, app.runs.gates(), &request(due, fire.trigger, at_ms, now_ms))?;
        if matches!(claim, Claim::Stale) {
            // The reload that is on its way brings the new definition with it.
            carried.again = message::again(now_ms);
            break;
        }
        carried.claims.push(claim);
        carried.covered_ms = at_ms;
    }
    table::cover(tx, &due.task.id, carried.covered_ms)?;
    Ok(carried)
}

fn spacing_ms(app: &App) -> i64 {
    millis(app.config.scheduler.catch_up_spacing)
}

fn request(due: &Due, trigger: Trigger, at_ms: i64, now_ms: i64) -> Request {
    Request {
        task: Arc::clone(&due.task),
        trigger,
        scheduled_ms: Some(at_ms),
        attempt: 1,
        actor: SCHEDULER.to_owned(),
        extra_env: Vec::new(),
        forced: false,
        expired: due.expired,
        request_key: None,
        now_ms,
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
    let now_ms = app.clock.wall_ms();
    let (claims, next) = app
        .store
        .write(move |tx| -> Result<_, RunError> {
            failpoint::hit("claims.retry").map_err(crate::store::StoreError::from)?;
            let mut claims = Vec::new();
            for run in table::retries_due(tx, now_ms, RETRIES_MAX)? {
                let definition = snapshot.definition(&run.task);
                claims.extend(retry_one(tx, &worker, &run, definition, now_ms)?);
            }
            Ok((claims, table::next_retry_ms(tx)?))
        })
        .await?;
    for (task, claim) in claims {
        act(app, &task, claim);
    }
    if let Some(at) = next {
        answer(app, ToTick::RetryAt(at));
    }
    Ok(())
}

/// Takes up one retry: it goes, it is put off while something holds everything back, or it is dropped
/// and the journal says why.
fn retry_one(
    tx: &Tx<'_>,
    app: &App,
    run: &Run,
    definition: Option<Arc<Task>>,
    now_ms: i64,
) -> Result<Option<(Arc<Task>, Claim)>, RunError> {
    let Some(task) = definition else {
        drop_retry(tx, app, run, "its task file is gone or broken", now_ms)?;
        return Ok(None);
    };
    let request = Request {
        task: Arc::clone(&task),
        trigger: Trigger::Retry,
        scheduled_ms: run.scheduled_ms,
        attempt: run.attempt + 1,
        actor: SCHEDULER.to_owned(),
        extra_env: run.extra_env.clone(),
        forced: run.forced,
        expired: false,
        request_key: None,
        now_ms,
    };
    let claim = flight::claim(tx, &app.journal, app.runs.gates(), &request)?;
    match &claim {
        Claim::Refused { .. } | Claim::Stale => {
            table::set_retry(tx, run.id, Some(now_ms + RETRY_PUT_OFF_MS))?;
        }
        Claim::Taken { holder } => {
            drop_retry(tx, app, run, &format!("{} is running", holder.id), now_ms)?;
        }
        Claim::Off => drop_retry(tx, app, run, "the task is disabled", now_ms)?,
        Claim::Go(_)
        | Claim::Waits(_)
        | Claim::Replaces { .. }
        | Claim::Skipped(_)
        | Claim::Covered
        | Claim::Known(_) => table::set_retry(tx, run.id, None)?,
    }
    Ok(Some((task, claim)))
}

fn drop_retry(tx: &Tx<'_>, app: &App, run: &Run, why: &str, now_ms: i64) -> Result<(), RunError> {
    table::set_retry(tx, run.id, None)?;
    let event = Event::new(EventKind::RetryDropped).task(&run.task).run(run.id).actor(SCHEDULER);
    app.journal.record(tx, now_ms, event.data(serde_json::json!({"reason": why})))?;
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
