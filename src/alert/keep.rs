//! Keeps the parts of alerts and of the bot going: what panics is passed over or started again, and people can see
//! that it did. An alert that ends in silence is worse than none.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::Alerts;
use super::words::{clip, phrase};

/// First and longest wait before a part is started again.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// A part that went on for so long begins with the first wait anew.
const WELL_AFTER: Duration = Duration::from_secs(600);
/// Characters of a panic's text that are kept.
const WHY_CHARS: usize = 200;

/// What a part stumbled over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mishap {
    pub part: &'static str,
    /// Since the daemon started.
    pub count: u64,
    /// The last one, milliseconds since the epoch.
    pub at_ms: i64,
    pub why: String,
}

/// Does `work` to its end; the text of a panic in it.
///
/// # Errors
/// Only when it panics.
pub async fn unharmed<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| said(panic.as_ref()))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    clip(&phrase(text.unwrap_or("it did not say why")), WHY_CHARS).into_owned()
}

impl Alerts {
    /// Does `work` until it ends by itself, or `stop`; after a panic anew, later each time.
    pub async fn keep<W, F>(self, part: &'static str, stop: CancellationToken, mut work: W)
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut wait = WAIT.0;
        loop {
            let began = self.0.clock.boot();
            let Err(why) = unharmed(work()).await else { return };
            self.stumble(part, why);
            if self.0.clock.boot().saturating_sub(began) >= WELL_AFTER {
                wait = WAIT.0;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = wait.saturating_mul(2).min(WAIT.1);
        }
    }

    /// Notes that a part did not do what it was to do.
    pub fn stumble(&self, part: &'static str, why: String) {
        error!(part, why, "a part of alerts stumbled; it goes on");
        let at_ms = self.0.clock.wall_ms();
        let mut known = self.0.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.get(part).map_or(0, |mishap| mishap.count).saturating_add(1);
        known.insert(part, Mishap { part, count, at_ms, why });
    }

    /// What stumbled since the daemon started, the last of each part.
    #[must_use]
    pub fn mishaps(&self) -> Vec<Mishap> {
        self.0.mishaps.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
