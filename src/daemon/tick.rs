//! The exact timer: sleeps to the next due instant, plans what is due, hands it on, and never waits
//! for the database, a file or a process. What it asks for comes back to it as a message.
//!
//! The wall clock is read anew at each wake, at least every `scheduler.tick`, so a clock that jumps
//! or a machine that slept is noticed at once. `wake` is the backstop: any number of calls is safe,
//! since a due instant is decided by its row in the ledger and not by who asked.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::model::event::{Event, EventKind};
use crate::model::ids::TaskId;
use crate::model::time::millis;
use crate::task::due::{self, CORRECTION_MS, Instants, Policy};

use super::App;
use super::claims;
use super::message::{Again, Due, Synced, ToTick};

/// A wall clock that has moved this much against the time since boot was set by somebody.
const STEP_MS: i64 = 2_000;
struct Known {
    synced: Synced,
    due_ms: Option<i64>,
    /// A plan of it is on its way to the database.
    busy: bool,
    /// Instants of a gap are being made up for.
    backlog: bool,
}

pub struct Tick {
    app: App,
    inbox: mpsc::UnboundedReceiver<ToTick>,
    known: HashMap<TaskId, Known>,
    heap: BinaryHeap<Reverse<(i64, TaskId)>>,
    retry_ms: Option<i64>,
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
        Self { app, inbox, known: HashMap::new(), heap: BinaryHeap::new(), retry_ms, clocks }
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
        let due = self.heap.peek().map(|Reverse((due, _))| *due);
        let first = [due, self.retry_ms].into_iter().flatten().min();
        first
            .map_or(longest, |at| Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0)).min(longest))
    }

    fn take(&mut self, message: ToTick) {
        match message {
            ToTick::Synced(all) => self.sync(all),
            ToTick::RetryAt(at) => self.retry_ms = Some(self.retry_ms.map_or(at, |old| old.min(at))),
            ToTick::Covered { task, covered_ms, next } => {
                if let Some(known) = self.known.get_mut(&task) {
                    known.busy = false;
                    known.backlog = matches!(next, Again::Spaced(_));
                    // A plan from before the clock was corrected must not silence what follows.
                    if covered_ms <= self.clocks.wall_ms + CORRECTION_MS {
                        known.synced.covered_ms = known.synced.covered_ms.max(covered_ms);
                    }
                    let due = next_due(&known.synced);
                    known.due_ms = match next {
                        Again::WhenDue => due,
                        Again::NotBefore(at) | Again::Spaced(at) => due.map(|due| due.max(at)),
                    };
                    push(&mut self.heap, known.due_ms, &task);
                }
                self.publish();
            }
        }
    }

    fn sync(&mut self, all: Vec<Synced>) {
        let mut known = HashMap::with_capacity(all.len());
        self.heap.clear();
        for synced in all {
            let id = synced.task.id.clone();
            let (busy, backlog) = self.known.get(&id).map_or((false, false), |old| (old.busy, old.backlog));
            let due_ms = if busy { None } else { next_due(&synced) };
            push(&mut self.heap, due_ms, &id);
            known.insert(id, Known { synced, due_ms, busy, backlog });
        }
        self.known = known;
        self.publish();
    }

    /// One look: everything due goes out, whatever it was that woke us.
    fn tick(&mut self) {
        self.watch_clocks();
        let now_ms = self.app.clock.wall_ms();
        let mut due = Vec::new();
        while let Some(Reverse((at, _))) = self.heap.peek() {
            if *at > now_ms {
                break;
            }
            let Some(Reverse((at, id))) = self.heap.pop() else { break };
            let policy = self.policy();
            if let Some(known) = self.known.get_mut(&id)
                && known.due_ms == Some(at)
                && !known.busy
                && let Some(plan) = plan(known, now_ms, policy)
            {
                known.busy = true;
                known.due_ms = None;
                due.push(plan);
            }
        }
        if !due.is_empty() {
            debug!(tasks = due.len(), "due");
            claims::send(&self.app, due);
        }
        if self.retry_ms.is_some_and(|at| at <= now_ms) {
            self.retry_ms = None;
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

    /// The old clock was wrong: instants it had reached in what is now the future are due again,
    /// except those that have a row.
    fn follow_correction(&mut self) {
        let now_ms = self.clocks.wall_ms;
        let mut all: Vec<Synced> = self.known.drain().map(|(_, known)| known.synced).collect();
        for synced in &mut all {
            synced.covered_ms = synced.covered_ms.min(now_ms);
        }
        self.sync(all);
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
            .heap
            .peek()
            .and_then(|Reverse((at, id))| Some((Timestamp::from_millisecond(*at).ok()?, id.clone())));
        self.app.next.send_if_modified(|old| {
            let changed = *old != first;
            *old = first;
            changed
        });
    }
}

fn push(heap: &mut BinaryHeap<Reverse<(i64, TaskId)>>, due_ms: Option<i64>, id: &TaskId) {
    if let Some(due_ms) = due_ms {
        heap.push(Reverse((due_ms, id.clone())));
    }
}

fn next_due(synced: &Synced) -> Option<i64> {
    if !synced.enabled {
        return None;
    }
    let anchor = Timestamp::from_millisecond(synced.anchor_ms).ok()?;
    let covered = Timestamp::from_millisecond(synced.covered_ms).ok()?;
    Instants::new(&synced.task, anchor).next(covered).map(Timestamp::as_millisecond)
}

fn plan(known: &Known, now_ms: i64, policy: Policy) -> Option<Due> {
    let synced = &known.synced;
    let anchor = Timestamp::from_millisecond(synced.anchor_ms).ok()?;
    let covered = Timestamp::from_millisecond(synced.covered_ms).ok()?;
    let now = Timestamp::from_millisecond(now_ms).ok()?;
    let plan = due::plan(&synced.task, anchor, covered, now, policy);
    Some(Due {
        task: Arc::clone(&synced.task),
        plan,
        covered_ms: synced.covered_ms,
        backlog: known.backlog,
        expired: synced.expired,
    })
}
