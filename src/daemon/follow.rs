//! What goes on beside the tick: runs that end, files that change, a database that has something to say.

use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use crate::model::event::{Event, EventKind};
use crate::run::Notice;
use crate::store;
use crate::task::watch::Wake;
use crate::task::{Watch, registry, watch};

use super::App;
use super::claims;
use super::message::ToTick;

/// A full disk is told again after this time.
const FULL_AGAIN: Duration = Duration::from_secs(60);
/// Wait before runs that wait are looked at again when the database did not answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts what was given its place and takes up again what never started, until the daemon goes down.
pub async fn notices(app: App, mut notices: mpsc::UnboundedReceiver<Notice>) {
    resume(&app).await;
    loop {
        let notice = tokio::select! {
            () = app.shutdown.closed.cancelled() => return,
            notice = notices.recv() => notice,
        };
        match notice {
            Some(Notice::Promoted(runs)) => claims::start_promoted(&app, runs),
            Some(Notice::Look) => resume(&app).await,
            Some(Notice::Ended(run)) => {
                app.dispatch.run_over(run.id);
                if let Some(at) = run.retry_ms {
                    super::message::answer(&app, ToTick::RetryAt(at));
                }
            }
            Some(Notice::KillFailed(run)) => error!(run = run.0, "a run outlives SIGKILL"),
            None => return,
        }
    }
}

/// Rows that never started start once more, and whoever waits is looked at.
async fn resume(app: &App) {
    if app.shutdown.token.is_cancelled() {
        return;
    }
    match app.runs.claim_again().await {
        Ok(runs) => claims::start_promoted(app, runs),
        Err(e) => {
            error!(error = %e, "could not take up runs that wait; trying again");
            let runs = app.runs.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LOOK_AGAIN).await;
                runs.look();
            });
        }
    }
}

/// Reads the task files again whenever they change.
pub async fn files(app: App) {
    let mut watch = Watch::start(app.config.tasks_dir.clone(), app.config.scheduler.rescan);
    // What changed since the files were read at the start, and what may have.
    let look_twice_at = Instant::now() + registry::LOOK_TWICE_AFTER;
    let mut is_first = true;
    loop {
        let wake = tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            wake = watch.next() => wake,
            () = sleep_until(look_twice_at), if is_first => {
                is_first = false;
                watch.attach();
                Wake::Look
            }
        };
        if wake == Wake::Glance {
            if app.is_current().await {
                continue;
            }
            watch.attach();
        }
        loop {
            match app.reload("files").await {
                Ok(change) if change.unsettled => {
                    tokio::time::sleep(registry::RETRY_AFTER).await;
                }
                Ok(_) => break,
                Err(e) => {
                    warn!(error = %e, "could not take over the task files; what counted before still does");
                    tokio::time::sleep(watch::BLIND_RESCAN).await;
                }
            }
        }
    }
}

/// Remembers what the database reports, and records it where it can.
pub async fn database(app: App) {
    let mut notices = app.store.notices();
    let mut full_said = None;
    loop {
        let notice = tokio::select! {
            () = app.shutdown.closed.cancelled() => return,
            notice = notices.recv() => notice,
        };
        match notice {
            Ok(notice) => {
                if !matches!(notice, store::Notice::DiskFull { .. }) {
                    warn!(notice = %notice, "the database");
                } else if full_said.is_none_or(|at: Duration| app.clock.boot() - at >= FULL_AGAIN) {
                    // Recording it is a write as well: once a minute, or it would feed itself.
                    full_said = Some(app.clock.boot());
                    warn!(notice = %notice, "the database");
                    claims::record(&app, Event::new(EventKind::DiskFull).actor("daemon"));
                }
                app.note(notice);
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}
