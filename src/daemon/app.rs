//! The running daemon as one value: everything that more than one part of it needs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::alert::Alerts;
use crate::config::{Config, Sources};
use crate::dispatch::Dispatch;
use crate::dispatch::gate::Gate;
use crate::journal::Journal;
use crate::model::ids::{RunId, TaskId};
use crate::ops::Ops;
use crate::platform::clock::Clock;
use crate::pool::Pools;
use crate::run::Runs;
use crate::store::{self, Store};
use crate::task::{Registry, Snapshot};
use crate::ticket::Tickets;

use super::message::ToTick;
use super::phone::Phone;
use super::ring::LogRing;
use super::settings::SettingsLook;

/// The daemon. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

pub struct Inner {
    pub config: Arc<Config>,
    /// Where the settings came from, to be read again.
    pub sources: Sources,
    pub clock: Clock,
    pub store: Store,
    pub journal: Journal,
    /// Only a reload locks it; readers take [`App::snapshot`].
    pub registry: Arc<Mutex<Registry>>,
    pub tasks: RwLock<Arc<Snapshot>>,
    pub runs: Runs,
    pub pools: Pools,
    pub dispatch: Dispatch,
    pub tickets: Tickets,
    pub alerts: Alerts,
    /// Why no alert can be sent although the settings name a way.
    pub mute: Option<String>,
    /// What is known of those who write to the bot.
    pub phone: Phone,
    /// Asked before a ticket is done.
    pub gate: Gate,
    /// The built-in actions that happen in here.
    pub ops: Ops,
    /// What was last seen of the settings and of what they name.
    pub settings: SettingsLook,
    /// The newest backup, as last seen.
    pub backups: super::backups::BackupLook,
    /// Who looks at which login.
    pub looks: super::looks::Looks,
    pub log: LogRing,
    pub host: String,
    pub started: Timestamp,
    /// Counts the starts of the daemon on this state directory.
    pub epoch: i64,
    /// What the database had to say at start and since: restored, disk full, …
    pub store_notices: Mutex<Vec<(i64, store::Notice)>>,
    /// Something may be startable: look at promotions, retries and the registry now.
    pub wake: Notify,
    /// The next due instant of all and whose it is, as the tick last saw it.
    pub next: watch::Sender<Option<(Timestamp, TaskId)>>,
    /// The database and the tick have heard of the files at least once.
    pub synced: AtomicBool,
    /// One reload at a time.
    pub reloading: tokio::sync::Mutex<()>,
    /// To the tick, from whoever finishes something it waits for.
    pub to_tick: mpsc::UnboundedSender<ToTick>,
    /// Milliseconds since boot at the last finished tick; its age is the scheduler's health.
    pub ticked_ms: AtomicI64,
    pub shutdown: Shutdown,
}

/// How far the daemon is on its way out.
#[derive(Debug, Default)]
pub struct Shutdown {
    /// The tick and everything that starts something ends on this.
    pub token: CancellationToken,
    /// Listeners end on this: the runs that were to end have ended.
    pub closed: CancellationToken,
    kind: AtomicU8,
    by: OnceLock<String>,
}

/// Why the daemon goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Runs go on under their keepers.
    RunsAlive,
    /// Runs are ended first, each within its grace, at most 90 s.
    EndRuns,
    /// Runs are killed at once.
    KillRuns,
}

impl Shutdown {
    /// Begins, or sharpens, the shutdown, as `by` wants.
    pub fn begin(&self, leave: Leave, by: &str) {
        // Whoever was first has stopped it.
        let _ = self.by.set(by.to_owned());
        let rank = match leave {
            Leave::RunsAlive => 0,
            Leave::EndRuns => 1,
            Leave::KillRuns => 2,
        };
        self.kind.fetch_max(rank, Ordering::AcqRel);
        self.token.cancel();
    }

    /// Who wanted it.
    #[must_use]
    pub fn by(&self) -> &str {
        self.by.get().map_or("somebody", String::as_str)
    }

    #[must_use]
    pub fn leave(&self) -> Leave {
        match self.kind.load(Ordering::Acquire) {
            0 => Leave::RunsAlive,
            1 => Leave::EndRuns,
            _ => Leave::KillRuns,
        }
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    #[must_use]
    pub fn run_dir(&self, id: RunId) -> PathBuf {
        self.runs.run_dir(id)
    }

    /// Remembers a notice of the database, for `problems`.
    pub fn note(&self, notice: store::Notice) {
        let now_ms = self.clock.wall_ms();
        let mut notices = self.store_notices.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest of each kind: a disk that stays full says so with every write.
        notices.retain(|(_, old)| std::mem::discriminant(old) != std::mem::discriminant(&notice));
        notices.push((now_ms, notice));
    }

    /// How long ago the scheduler last looked, by a clock that nobody sets.
    #[must_use]
    pub fn tick_age_ms(&self) -> i64 {
        let now_ms = crate::model::time::millis(self.clock.boot());
        now_ms - self.ticked_ms.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn uptime_ms(&self) -> i64 {
        (self.clock.wall_ms() - self.started.as_millisecond()).max(0)
    }
}
