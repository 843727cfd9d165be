//! One thing, once, in time: from the claim in the ledger to the last word about how it ended.
//!
//! Knows runs and keepers; which task is due, and what a task file says, is decided elsewhere.

pub mod command;
pub mod finish;
pub mod flight;
pub mod history;
pub mod live;
pub mod orphans;
pub mod outcome;
pub mod recover;
pub mod retention;
pub mod step;
pub mod stop;
pub mod supervise;
pub mod table;
pub mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::journal::Journal;
use crate::model::ids::RunId;
use crate::model::run::{Illegal, Run};
use crate::platform::clock::Clock;
use crate::platform::failpoint::Fault;
use crate::platform::process::Nursery;
use crate::store::{Store, StoreError};

use self::command::Site;
use self::flight::Gates;

/// What stops a change to the ledger.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

impl From<Fault> for RunError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

/// What the rest of the daemon is told when something of a run has changed.
#[derive(Debug)]
pub enum Notice {
    /// These have their place now and are to be started.
    Promoted(Vec<Run>),
    /// The run is over; a retry may have been planned.
    Ended(Box<Run>),
    /// An event that a person must hear of.
    KillFailed(RunId),
    /// A place, a lock or a row may be free: look who can go.
    Look,
}

/// Starts runs, watches them, and writes down what became of them. Cheap to clone.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

pub struct Inner {
    pub store: Store,
    pub journal: Journal,
    pub nursery: Nursery,
    pub clock: Clock,
    pub site: Site,
    /// `runs/` in the state directory.
    pub dir: PathBuf,
    pub max_parallel_runs: u32,
    /// Whoever understands what agents say.
    pub judge: outcome::Judge,
    pub draining: AtomicBool,
    pub notices: mpsc::UnboundedSender<Notice>,
}

impl std::ops::Deref for Runs {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Runs {
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    #[must_use]
    pub fn gates(&self) -> Gates {
        Gates { max_parallel_runs: self.max_parallel_runs, draining: self.draining.load(Ordering::Acquire) }
    }

    /// Has somebody look at who waits.
    pub fn look(&self) {
        self.tell(Notice::Look);
    }

    /// The folder of one run.
    #[must_use]
    pub fn run_dir(&self, id: RunId) -> PathBuf {
        run_dir(&self.dir, id)
    }
}

/// The folder of run `id` below `runs/`.
#[must_use]
pub fn run_dir(runs: &Path, id: RunId) -> PathBuf {
    runs.join(id.0.to_string())
}
