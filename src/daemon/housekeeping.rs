//! What the daemon does for itself, in UTC and away from any run: retention, checkpoint, ballast,
//! pauses that have ended; and the backstop that bounds lateness should the exact timer have a bug.
//!
//! tokio-cron-scheduler carries the cadence. It is good at that and at nothing finer: it polls every
//! 500 ms, loses fires at ten thousand jobs and gets clock changes wrong, so no task of a user is
//! ever one of its jobs. `scheduler.housekeeping: false` does without its poll.

use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tracing::{debug, info, warn};

use crate::dispatch::Ages;
use crate::journal::Keep as KeepEvents;
use crate::model::event::{Event, EventKind};
use crate::model::time::millis;
use crate::platform::process;
use crate::pool::KeepAside;
use crate::run::RunError;
use crate::run::retention::{self, Keep, KeepOutputs};
use crate::store::{Ballast, StoreError};
use crate::task::table;
use crate::ticket::inbox::Reaped;

use super::App;
use super::message::ToTick;

/// The backstop: every second.
const SWEEP: &str = "* * * * * *";
/// Small upkeep: every minute.
const MINUTELY: &str = "13 * * * * *";
/// Giving back memory that is held and not needed: every minute.
const RESTING: &str = "29 * * * * *";
/// Folding the log into the database: every hour.
const HOURLY: &str = "41 7 * * * *";
/// Messages that each of the scheduler's seven channels holds; with four jobs, far more than ever wait.
const CHANNEL: usize = 64;
/// Journal bytes kept for each event that may be kept.
const EVENT_BYTES: u64 = 1024;
/// Without the scheduler's poll, upkeep happens this often.
const PLAIN_CADENCE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;

/// Runs until the daemon goes down.
pub async fn keep(app: App) {
    let stop = app.shutdown.token.clone();
    let retention = tokio::spawn(retain(app.clone()));
    if app.config.scheduler.housekeeping {
        match cadence(&app).await {
            Ok(mut scheduler) => {
                stop.cancelled().await;
                if let Err(e) = scheduler.shutdown().await {
                    warn!(error = %e, "the housekeeping scheduler did not stop");
                }
            }
            Err(e) => {
                warn!(error = %e, "the housekeeping scheduler did not start; using a plain timer");
                plain(&app).await;
            }
        }
    } else {
        plain(&app).await;
    }
    retention.abort();
}

async fn cadence(app: &App) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new_with_channel_size(CHANNEL).await?;
    let sweep = app.clone();
    scheduler
        .add(Job::new_async(SWEEP, move |_, _| {
            let app = sweep.clone();
            Box::pin(async move { app.wake.notify_one() })
        })?)
        .await?;
    let minutely = app.clone();
    scheduler
        .add(Job::new_async(MINUTELY, move |_, _| {
            let app = minutely.clone();
            Box::pin(async move { upkeep(&app).await })
        })?)
        .await?;
    let resting = app.clone();
    scheduler
        .add(Job::new_async(RESTING, move |_, _| {
            let app = resting.clone();
            Box::pin(async move { rest(&app).await })
        })?)
        .await?;
    let hourly = app.clone();
    scheduler
        .add(Job::new_async(HOURLY, move |_, _| {
            let app = hourly.clone();
            Box::pin(async move { checkpoint(&app).await })
        })?)
        .await?;
    scheduler.start().await?;
    Ok(scheduler)
}

async fn plain(app: &App) {
    let mut last_checkpoint_ms = app.clock.wall_ms();
    loop {
        tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            () = tokio::time::sleep(PLAIN_CADENCE) => {}
        }
        upkeep(app).await;
        if app.clock.wall_ms() - last_checkpoint_ms >= HOUR_MS {
            last_checkpoint_ms = app.clock.wall_ms();
            checkpoint(app).await;
            rest(app).await;
        }
    }
}

/// Pauses that have ended, messages that nobody takes, retries that nobody is waiting for, and the reserve for a full disk.
async fn upkeep(app: &App) {
    if let Err(e) = end_pauses(app).await {
        warn!(error = %e, "could not end pauses");
    }
    match app.ops.reap().await {
        Ok(reaped) if reaped == Reaped::default() => {}
        Ok(Reaped { requeued, expired, dead }) => info!(requeued, expired, dead, "messages to workers"),
        Err(e) => warn!(error = %e, "could not look after messages to workers"),
    }
    let next = app.store.read(|conn| Ok::<_, StoreError>(crate::run::table::next_retry_ms(conn)?)).await;
    if let Ok(Some(at)) = next {
        super::message::answer(app, ToTick::RetryAt(at));
    }
    // Whoever waits is told when it may go; should a telling be lost, this finds it.
    app.runs.look();
    let store = app.store.clone();
    match tokio::task::spawn_blocking(move || store.restore_ballast()).await {
        Ok(Ok(Ballast::Restored)) => info!("there is room again: the reserve for a full disk is back"),
        Ok(Ok(Ballast::Present | Ballast::NoRoom { .. })) => {}
        Ok(Err(e)) => warn!(error = %e, "could not lay the reserve for a full disk"),
        Err(e) => warn!(error = %e, "could not look at the reserve for a full disk"),
    }
}

/// Gives back what caches, the heap and code that only starting ran hold.
pub async fn rest(app: &App) {
    if let Err(e) = app.store.rest().await {
        warn!(error = %e, "could not empty the caches of the database");
    }
    match tokio::task::spawn_blocking(process::give_memory_back).await {
        Ok(Ok(())) => {}
        // Where /proc is hidden from us, memory is not worth a warning.
        Ok(Err(e)) => debug!(error = %e, "could not give memory back"),
        Err(e) => warn!(error = %e, "could not give memory back"),
    }
}

async fn end_pauses(app: &App) -> Result<(), RunError> {
    let (journal, now_ms) = (app.journal.clone(), app.clock.wall_ms());
    let over = app.store.read(move |conn| Ok::<_, StoreError>(table::pauses_over(conn, now_ms)?)).await?;
    let all_over = app
        .store
        .read(|conn| Ok::<_, StoreError>(table::paused_all(conn)?))
        .await?
        .is_some_and(|pause| !pause.holds_at(now_ms));
    if over.is_empty() && !all_over {
        return Ok(());
    }
    app.store
        .write(move |tx| -> Result<(), RunError> {
            for id in &over {
                if table::resume(tx, id)? {
                    let event = Event::new(EventKind::TaskResumed).task(id).actor("scheduler");
                    journal.record(tx, now_ms, event)?;
                }
            }
            if all_over && table::resume_all(tx)? {
                journal.record(tx, now_ms, Event::new(EventKind::TaskResumed).actor("scheduler"))?;
            }
            Ok(())
        })
        .await
}

async fn checkpoint(app: &App) {
    if let Err(e) = app.store.checkpoint().await {
        warn!(error = %e, "could not fold the log into the database");
    }
    if let Err(e) = app.store.incremental_vacuum().await {
        warn!(error = %e, "could not give back free pages");
    }
}

/// Deletes what is over the limits, every `retention.every`.
async fn retain(app: App) {
    loop {
        tokio::time::sleep(app.config.retention.every).await;
        match sweep(&app).await {
            Ok(swept) if swept == retention::Swept::default() => {}
            Ok(retention::Swept { rows, folders, bytes }) => {
                info!(rows, folders, bytes, "deleted what is over the limits of retention");
            }
            Err(e) => warn!(error = %e, "retention failed; the next round tries again"),
        }
    }
}

/// One round of retention. All of it goes by the one time that is believed.
///
/// # Errors
/// Only what the database says.
pub async fn sweep(app: &App) -> Result<retention::Swept, RunError> {
    let limits = &app.config.retention;
    let now_ms = app.believed_ms().await?;
    let snapshot = app.snapshot();
    let tasks = app.store.read(|conn| Ok::<_, StoreError>(retention::table::tasks(conn)?)).await?;
    let keeps = tasks
        .into_iter()
        .map(|task| {
            let definition = snapshot.get(&task).and_then(|entry| entry.definition.clone());
            let rows = definition.as_ref().map_or(limits.runs_per_task, |d| u64::from(d.settings.keep_runs));
            let age = definition.map_or(limits.runs, |d| d.settings.keep_for);
            Keep { task, rows: rows.min(limits.runs_per_task), age: age.min(limits.runs) }
        })
        .collect();
    let mut swept = app.runs.sweep_rows(keeps, limits.runs, now_ms).await?;
    let outputs = KeepOutputs { age: limits.outputs, bytes: limits.outputs_max };
    let folders = app.runs.sweep_outputs(outputs, now_ms).await?;
    swept.folders += folders.folders;
    swept.bytes += folders.bytes;
    let events = KeepEvents {
        age_ms: millis(limits.events),
        events: u32::try_from(limits.events_max).unwrap_or(u32::MAX),
        bytes: limits.events_max.saturating_mul(EVENT_BYTES),
    };
    app.journal.trim(now_ms, events).await?;
    app.alerts.trim(now_ms.saturating_sub(events.age_ms)).await?;
    // What workers printed goes with the outputs of runs, once its ticket is over.
    let age_ms = millis(limits.runs);
    app.tickets.trim_events(now_ms.saturating_sub(age_ms)).await?;
    let ages = Ages { workers: limits.runs, usage: limits.usage, refused: limits.api_errors };
    if let Err(e) = app.dispatch.trim(ages, now_ms).await {
        warn!(error = %e, "could not trim what agents have left");
    }
    let keep = KeepAside { age: limits.aside, count: limits.aside_max };
    app.pools.sweep_aside(keep, now_ms).await;
    Ok(swept)
}
