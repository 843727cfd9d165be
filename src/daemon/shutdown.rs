//! Going down: nothing new, then the runs if they are to end, then the database.

use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::json;
use tracing::{error, info, warn};

use crate::health::stopped;
use crate::model::event::{Event, EventKind};
use crate::model::ids::RunId;
use crate::model::run::{Run, StopReason};
use crate::platform::process::spec::Spec;
use crate::run::RunError;

use super::app::Leave;
use super::boot::Started;
use super::{App, service};

/// Longest grace that a run gets when the daemon is stopped for good.
const GRACE_MAX: Duration = Duration::from_secs(90);
/// How much longer than its grace a run's tree may take to vanish.
const SLACK: Duration = Duration::from_secs(5);
/// Wait before the database is asked again which runs are live.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How often the remaining runs are counted.
const LOOK: Duration = Duration::from_millis(50);

impl Started {
    /// Returns when the daemon has been asked to go and has gone: runs settled as asked, listeners
    /// closed, the log folded into the database.
    pub async fn until_gone(self) {
        let app = self.app;
        app.shutdown.token.cancelled().await;
        service::tell(&[NotifyState::Stopping]);
        if let Err(e) = self.tick.await {
            error!(error = %e, "the tick did not end well");
        }
        record(&app).await;
        end_runs(&app).await;
        app.shutdown.closed.cancel();
        app.alerts.settle_down().await;
        let store = app.store.clone();
        if let Err(e) = tokio::task::spawn_blocking(move || store.close()).await {
            error!(error = %e, "the database did not close well");
        }
        if let Err(e) = self.lock.release() {
            warn!(error = %e, "the state directory's lock was not given back; it falls with the process");
        }
        info!("gone");
    }
}

async fn record(app: &App) {
    let (journal, now_ms, by) = (app.journal.clone(), app.clock.wall_ms(), app.shutdown.by());
    // One that leaves its runs alive is to be back at once: a restart that fails is nobody's purpose.
    if app.shutdown.leave() != Leave::RunsAlive
        && let Err(e) = stopped::note(&app.config.state_dir, now_ms, by)
    {
        warn!(error = %e, "could not note who stops the daemon; a heartbeat will call it dead");
    }
    let data = json!({"by": by});
    let written = app
        .store
        .write(move |tx| -> Result<(), RunError> {
            let event = Event::new(EventKind::DaemonStopping).actor("daemon").data(data.clone());
            journal.record(tx, now_ms, event)?;
            Ok(())
        })
        .await;
    if let Err(e) = written {
        warn!(error = %e, "could not record that the daemon goes down");
    }
}

async fn end_runs(app: &App) {
    let mut asked = app.shutdown.leave();
    if asked == Leave::RunsAlive {
        return;
    }
    app.runs.draining.store(true, std::sync::atomic::Ordering::Release);
    let mut patience = stop_all(app, asked).await;
    loop {
        let live = live(app).await;
        if live.is_empty() {
            return;
        }
        let now = app.shutdown.leave();
        if now != asked {
            asked = now;
            patience = stop_all(app, asked).await;
        }
        if patience.is_zero() {
            let left: Vec<String> = live.iter().map(|run| run.id.to_string()).collect();
            warn!(runs = left.join(" "), "these runs did not end in time; their keepers go on ending them");
            return;
        }
        tokio::time::sleep(LOOK).await;
        patience = patience.saturating_sub(LOOK);
    }
}

/// Asks every live run to end and gives the longest time that this may take.
async fn stop_all(app: &App, leave: Leave) -> Duration {
    let live = live(app).await;
    info!(runs = live.len(), "ending the runs");
    let mut longest = Duration::ZERO;
    for run in live {
        let grace = match leave {
            Leave::RunsAlive | Leave::EndRuns => grace(app, run.id).min(GRACE_MAX),
            Leave::KillRuns => Duration::ZERO,
        };
        longest = longest.max(grace);
        if let Err(e) = app.runs.stop(run.id, StopReason::Shutdown, Some(grace), "daemon").await {
            error!(run = run.id.0, error = %e, "could not ask a run to end");
        }
    }
    longest + SLACK
}

/// Asks until the database answers: taking no answer for no runs would leave them all.
async fn live(app: &App) -> Vec<Run> {
    loop {
        match app.live_runs().await {
            Ok(live) => return live,
            Err(e) => warn!(error = %e, "cannot tell which runs are live; asking again"),
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn grace(app: &App, id: RunId) -> Duration {
    Spec::read(&app.run_dir(id)).map_or(GRACE_MAX, |spec| Duration::from_millis(spec.kill_grace_ms))
}
