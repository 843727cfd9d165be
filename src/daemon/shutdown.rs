//! Going down: nothing new, then the runs if they are to end, then the database.

use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::health::stopped;
use crate::model::event::{Event, EventKind};
use crate::model::ids::RunId;
use crate::model::run::{Run, StopReason};
use crate::platform::process::{self, Spec};
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
/// How long the database may take for a write.
const WRITE_MAX: Duration = Duration::from_secs(5);
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
    let written = app.store.write(move |tx| -> Result<(), RunError> {
        let event = Event::new(EventKind::DaemonStopping).actor("daemon").data(data.clone());
        journal.record(tx, now_ms, event)?;
        Ok(())
    });
    match tokio::time::timeout(WRITE_MAX, written).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => warn!(error = %e, "could not record that the daemon goes down"),
        Err(_) => warn!("the database does not take it that the daemon goes down"),
    }
}

async fn end_runs(app: &App) {
    if app.shutdown.leave() == Leave::RunsAlive {
        return;
    }
    app.runs.draining.store(true, std::sync::atomic::Ordering::Release);
    if end_live(app).await.is_none() {
        error!("the database does not say which runs are live; ending those that have a keeper");
        end_kept(app).await;
    }
}

/// Ends the runs that the database names; `None` when it does not answer.
async fn end_live(app: &App) -> Option<()> {
    let mut asked = app.shutdown.leave();
    let mut patience = stop_all(app, asked).await?;
    loop {
        let live = live(app).await?;
        if live.is_empty() {
            return Some(());
        }
        let now = app.shutdown.leave();
        if now != asked {
            asked = now;
            patience = stop_all(app, asked).await?;
        }
        if patience.is_zero() {
            let left: Vec<String> = live.iter().map(|run| run.id.to_string()).collect();
            warn!(runs = left.join(" "), "these runs did not end in time; their keepers go on ending them");
            return Some(());
        }
        tokio::time::sleep(LOOK).await;
        patience = patience.saturating_sub(LOOK);
    }
}

/// Asks every live run to end and gives the longest time that this may take.
async fn stop_all(app: &App, leave: Leave) -> Option<Duration> {
    let live = live(app).await?;
    info!(runs = live.len(), "ending the runs");
    let mut longest = Duration::ZERO;
    for run in live {
        let grace = grace(app, run.id, leave);
        longest = longest.max(grace);
        let stop = app.runs.stop(run.id, StopReason::Shutdown, Some(grace), "daemon");
        let why = match tokio::time::timeout(WRITE_MAX, stop).await {
            Ok(Ok(_)) => continue,
            Ok(Err(e)) => e.to_string(),
            Err(_) => "the database takes no write".to_owned(),
        };
        error!(run = run.id.0, why, "could not note that a run is to end; its keeper is told all the same");
        app.runs.tell_keeper(run.id, StopReason::Shutdown, Some(grace));
    }
    Some(longest + SLACK)
}

/// Asks until the database answers: taking no answer for no runs would leave them all. `None` when it has not for as
/// long as the runs themselves may take.
async fn live(app: &App) -> Option<Vec<Run>> {
    let begun = Instant::now();
    loop {
        let left = answer_max(app.shutdown.leave()).saturating_sub(begun.elapsed());
        if left.is_zero() {
            return None;
        }
        match tokio::time::timeout(left, app.live_runs()).await {
            Ok(Ok(live)) => return Some(live),
            Ok(Err(e)) => warn!(error = %e, "cannot tell which runs are live; asking again"),
            Err(_) => return None,
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// How long the database may take to say which runs are live.
fn answer_max(leave: Leave) -> Duration {
    match leave {
        Leave::RunsAlive | Leave::EndRuns => GRACE_MAX,
        Leave::KillRuns => SLACK,
    }
}

/// Ends whatever has a keeper, by the keepers alone; what became of it the next daemon writes down.
async fn end_kept(app: &App) {
    let mut kept = app.runs.kept().await;
    let (mut asked, mut patience) = (None, Duration::ZERO);
    while !kept.is_empty() {
        let leave = app.shutdown.leave();
        if asked != Some(leave) {
            asked = Some(leave);
            patience = SLACK;
            for run in &kept {
                let grace = grace(app, *run, leave);
                patience = patience.max(grace + SLACK);
                app.runs.tell_keeper(*run, StopReason::Shutdown, Some(grace));
            }
        }
        if patience.is_zero() {
            let left: Vec<String> = kept.iter().map(ToString::to_string).collect();
            warn!(runs = left.join(" "), "these runs did not end in time; their keepers go on ending them");
            return;
        }
        tokio::time::sleep(LOOK).await;
        patience = patience.saturating_sub(LOOK);
        kept.retain(|run| process::is_kept(&app.run_dir(*run)));
    }
}

fn grace(app: &App, id: RunId, leave: Leave) -> Duration {
    if leave == Leave::KillRuns {
        return Duration::ZERO;
    }
    let own = Spec::read(&app.run_dir(id)).map(|spec| Duration::from_millis(spec.kill_grace_ms));
    own.map_or(GRACE_MAX, |own| own.min(GRACE_MAX))
}
