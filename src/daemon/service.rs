//! The service manager: says when lucid is ready, reloading, stopping, and, after a real look at
//! itself, that it is well.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use crate::model::time::millis;
use crate::run::RunError;

use super::App;

/// A tick older than this many of its longest sleeps means that the scheduler hangs.
const TICKS_MISSED_MAX: u32 = 3;
/// A write that takes longer than this means that the database hangs.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// Tells the service manager; without one this does nothing.
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        warn!(error = %e, "could not reach the service manager");
    }
}

/// Sends the watchdog's sign of life for as long as the daemon finds itself well.
pub async fn watchdog(app: App) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    loop {
        tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            () = tokio::time::sleep(limit / 3) => {}
        }
        match check(&app).await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(why) => warn!(why, "not well: the watchdog gets no sign of life"),
        }
    }
}

/// Looks whether the scheduler ticks and the database takes a write.
///
/// # Errors
/// Says in words what hangs.
pub async fn check(app: &App) -> Result<(), String> {
    let age_ms = app.tick_age_ms();
    let longest = app.config.scheduler.tick * TICKS_MISSED_MAX;
    if age_ms > millis(longest) {
        return Err(format!("the scheduler's last tick was {age_ms} ms ago"));
    }
    let write = app.store.write(|_| -> Result<(), RunError> { Ok(()) });
    match tokio::time::timeout(WRITE_MAX, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(format!("the database takes no write: {e}")),
        Err(_) => Err(format!("the database took longer than {} s for a write", WRITE_MAX.as_secs())),
    }
}

/// A reload has begun; the service manager waits for [`reloaded`].
pub fn reloading(app: &App) {
    let monotonic_us = i128::try_from(app.clock.awake().as_micros()).unwrap_or(0);
    tell(&[NotifyState::Reloading, NotifyState::MonotonicUsec(monotonic_us)]);
}

/// The reload is over.
pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}
