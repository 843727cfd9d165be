//! The built-in actions that task files name: the janitor, the reaper, the watchdog, upkeep of the pools, the
//! briefs, and the syncs of working copies.
//!
//! What has to happen inside the daemon is a method of [`Ops`], asked for over the socket by the action's
//! run. The syncs need nothing of the daemon and happen in the action's own process. Verdicts are pure
//! (`janitor::classify`, `watchdog::judge`, `brief::text`, `sync::select`); the rest carries them out by the
//! same functions that people's commands use.

pub mod brief;
pub mod janitor;
mod reap;
mod slots;
pub mod sync;
pub mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::config;
use crate::dispatch::gate::Gate;
use crate::dispatch::{Dispatch, DispatchError};
use crate::journal::Journal;
use crate::model::condition::Condition;
use crate::platform::clock::Clock;
use crate::pool::{PoolError, Pools};
use crate::run::{RunError, Runs};
use crate::store::{Store, StoreError};
use crate::ticket::{TicketError, Tickets};

/// The actions that are asked for by name; each is one function, whoever asks.
pub const UPKEEP: [&str; 4] = [JANITOR, QUEUE_REAPER, PICKUP_WATCHDOG, POOL_HEALTH];
pub const JANITOR: &str = "janitor";
pub const QUEUE_REAPER: &str = "queue-reaper";
pub const PICKUP_WATCHDOG: &str = "pickup-watchdog";
pub const POOL_HEALTH: &str = "pool-health";

/// What stops an action.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What an action did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many of what, in a fixed order.
    pub counts: Vec<(&'static str, usize)>,
    /// One line for each thing that a person may want to know.
    pub lines: Vec<String>,
}

impl Report {
    fn counting(names: &[&'static str]) -> Self {
        Self { counts: names.iter().map(|name| (*name, 0)).collect(), lines: Vec::new() }
    }

    fn count(&mut self, name: &'static str, more: usize) {
        match self.counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += more,
            None => self.counts.push((name, more)),
        }
    }
}

/// Everything the actions need. Cheap to clone.
#[derive(Clone)]
pub struct Ops(Arc<Inner>);

pub struct Inner {
    pub store: Store,
    pub journal: Journal,
    pub clock: Clock,
    pub runs: Runs,
    pub tickets: Tickets,
    pub pools: Pools,
    pub dispatch: Dispatch,
    pub gate: Gate,
    pub rules: config::Janitor,
    /// Tickets may wait this long for nothing before somebody is told.
    pub held_after: std::time::Duration,
    pub state_dir: PathBuf,
    pub turns: Turns,
}

/// One at a time of each action: whoever comes second waits and then looks at what is left.
#[derive(Default)]
pub struct Turns {
    janitor: Mutex<()>,
    reaper: Mutex<()>,
    watchdog: Mutex<()>,
    slots: Mutex<()>,
}

impl std::ops::Deref for Ops {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Ops {
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Says that `condition` holds.
    async fn raise(&self, condition: Condition, actor: &'static str) -> Result<(), OpsError> {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        self.store.write(move |tx| Ok::<_, OpsError>(journal.raise(tx, now_ms, &condition, actor)?)).await
    }

    /// Says that the condition `key` is over, if it stood.
    async fn clear(&self, key: &str, title: &str, actor: &'static str) -> Result<bool, OpsError> {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        let (key, title) = (key.to_owned(), title.to_owned());
        self.store.write(move |tx| Ok::<_, OpsError>(journal.clear(tx, now_ms, &key, &title, actor)?)).await
    }
}
