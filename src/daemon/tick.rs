//! The exact timer: sleeps to the next due instant, plans what is due, hands it on, and never waits
//! for the database, a file or a process. What it asks for comes back to it as a message.
//!
//! The wall clock is read anew at each wake, at least every `scheduler.tick`, so a clock that jumps
//! or a machine that slept is noticed at once. `wake` is the backstop: any number of calls is safe,
//! since a due instant is decided by its row in the ledger and not by who asked.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::model::event::{Event, EventKind};
use crate::model::time::millis;
use crate::task::agenda::Agenda;
use crate::task::due::{CORRECTION_MS, Policy};

use super::App;
use super::claims;
use super::message::ToTick;

/// A wall clock that has moved this much against the time since boot was set by somebody.
const STEP_MS: i64 = 2_000;

pub struct Tick {
    app: App,
    inbox: mpsc::UnboundedReceiver<ToTick>,
    agenda: Agenda,
    clocks: Clocks,
}

/// Wall and boot clock at the last look.
struct Clocks {
    wall_ms: i64,
    boot: Duration,
    awake: Duration,
}

impl Clocks {
    fn read(app: &App) -> Self {
        Self { wall_ms: app.clock.wall_ms(), boot: app.clock.boot(), awake: app.clock.awake() }
    }
}

impl Tick {
    #[must_use]
    pub fn new(app: App, inbox: mpsc::UnboundedReceiver<ToTick>, retry_ms: Option<i64>) -> Self {
        let clocks = Clocks::read(&app);
        let mut agenda = Agenda::default();
        if let Some(at) = retry_ms {
            agenda.retry_at(at);
        }
        Self { app, inbox, agenda, clocks }
    }

    /// Runs until the daemon goes down.
    pub async fn run(mut self) {
        let stop = self.app.shutdown.token.clone();
        loop {
            let pause = self.pause();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                message = self.inbox.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = self.app.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            self.tick();
        }
    }

    fn pause(&self) -> Duration {
        let now_ms = self.app.clock.wall_ms();
        let longest = self.app.config.scheduler.tick;
        self.agenda
            .next_ms()
            .map_or(longest, |at| Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0)).min(longest))
    }

    fn take(&mut self, message: ToTick) {
        match message {
            ToTick::Synced(all) => self.agenda.sync(all),
            ToTick::RetryAt(at) => return self.agenda.retry_at(at),
            ToTick::Covered { task, covered_ms, next } => {
                self.agenda.covered(&task, covered_ms, next, self.clocks.wall_ms);
            }
        }
        self.publish();
    }

    /// One look: everything due goes out, whatever it was that woke us.
    fn tick(&mut self) {
        self.watch_clocks();
        let now_ms = self.app.clock.wall_ms();
        let due = self.agenda.due(now_ms, self.policy());
        if !due.is_empty() {
            debug!(tasks = due.len(), "due");
            claims::send(&self.app, due);
        }
        if self.agenda.take_retry(now_ms) {
            claims::send_retries(&self.app);
        }
        self.app.ticked_ms.store(millis(self.clocks.boot), std::sync::atomic::Ordering::Release);
    }

    fn policy(&self) -> Policy {
        let scheduler = &self.app.config.scheduler;
        Policy {
            misfire_after: scheduler.misfire_after,
            catch_up_max: u32::try_from(scheduler.catch_up_max).unwrap_or(u32::MAX),
        }
    }

    fn watch_clocks(&mut self) {
        let now = Clocks::read(&self.app);
        let boot_ms = millis(now.boot.saturating_sub(self.clocks.boot));
        let slept_ms = boot_ms - millis(now.awake.saturating_sub(self.clocks.awake));
        let step_ms = now.wall_ms - self.clocks.wall_ms - boot_ms;
        self.clocks = now;
        if slept_ms >= STEP_MS {
            warn!(slept_ms, "the machine slept");
            self.tell(EventKind::Suspended, serde_json::json!({"slept_ms": slept_ms}));
        }
        if step_ms.abs() >= STEP_MS {
            warn!(step_ms, "the wall clock was set");
            self.tell(EventKind::ClockStepped, serde_json::json!({"step_ms": step_ms}));
            if step_ms <= -CORRECTION_MS {
                self.follow_correction();
            }
        }
    }

    /// Instants that the old clock had reached in what is now the future are due again.
    fn follow_correction(&mut self) {
        self.agenda.correct(self.clocks.wall_ms);
        self.publish();
        // The database follows with the reload, or a restart would bring the old marks back.
        self.app.synced.store(false, std::sync::atomic::Ordering::Release);
        let app = self.app.clone();
        tokio::spawn(async move {
            if let Err(e) = app.reload("clock").await {
                warn!(error = %e, "could not write down the corrected clock; the next reload does");
            }
        });
    }

    fn tell(&self, kind: EventKind, data: serde_json::Value) {
        claims::record(&self.app, Event::new(kind).actor("scheduler").data(data));
    }

    fn publish(&self) {
        let first = self
            .agenda
            .first()
            .and_then(|(at, id)| Some((Timestamp::from_millisecond(at).ok()?, id.clone())));
        self.app.next.send_if_modified(|old| {
            let changed = *old != first;
            *old = first;
            changed
        });
    }
}
