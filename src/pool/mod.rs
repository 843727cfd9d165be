//! Worktree slots: leased to tickets and runs, clean when handed over, nobody's work lost.
//!
//! Git is the truth; the database holds the lease and the intent. Whoever holds a lease names it by id.
//! Nothing here runs git under a transaction or a lock that another slot could want.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::journal::Journal;
use crate::model::ids::Fence;
use crate::model::slot::{Illegal, SlotState};
use crate::platform::clock::Clock;
use crate::store::{Store, StoreError};

pub use crate::model::slot::{Holder, LeaseId};

/// A slot that is the holder's until the lease is released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    pub lease: LeaseId,
    pub fence: Fence,
    /// `POOL-n`
    pub slot: String,
    pub path: PathBuf,
    /// The full id of the commit it stands at, detached and clean.
    pub base_commit: String,
    /// What the holder should know: healed, rescued, an origin that was not reached.
    pub notes: Vec<String>,
}

/// Why there is no slot.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error("no pool `{0}`")]
    NoSuchPool(String),
    #[error("pool {pool} is full: {leased} of {slots} slots are in use")]
    PoolFull { pool: String, slots: u32, leased: u32 },
    #[error("pool {pool} has no usable slot: {quarantined} of {slots} are in quarantine")]
    Quarantined { pool: String, slots: u32, quarantined: u32 },
    #[error("{holder} already has slot {slot}")]
    AlreadyLeased { holder: String, slot: String, lease: LeaseId },
    #[error("pool {pool}: no slot was ready within its time; {why}")]
    TimedOut { pool: String, why: String },
    #[error("pool {pool}: {why}")]
    Git { pool: String, why: String },
    #[error(transparent)]
    Pool(#[from] PoolError),
}

/// What stops a change to a lease.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("no pool `{0}`")]
    NoSuchPool(String),
    #[error("no slot `{0}`")]
    NoSuchSlot(String),
    #[error("{0} is over")]
    LeaseOver(LeaseId),
    #[error("slot {slot} is {}", state.name())]
    Busy { slot: String, state: SlotState },
    #[error("{0}")]
    Git(String),
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The remote could not be asked, so nothing is known about it.
#[derive(Debug, thiserror::Error)]
#[error("the remote of pool {pool} cannot be read: {why}")]
pub struct RemoteUnreadable {
    pub pool: String,
    pub why: String,
}

/// What came of giving a lease back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The slot is clean and free; the refs that keep what was unsaved in it.
    Cleaned { rescued: Vec<String> },
    /// It could be neither cleaned nor made anew and is out of use.
    Quarantined { why: String },
    /// Cleaning goes on in the background.
    Later,
    /// This lease was given back before.
    Already,
}

/// The base of a pool, resolved once and passed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Full id.
    pub commit: String,
    /// Why the remote was not asked successfully; the commit is the last known one then.
    pub stale: Option<String>,
}

/// All pools. Cheap to clone.
#[derive(Clone)]
pub struct Pools(Arc<Inner>);

struct Inner {
    store: Store,
    journal: Journal,
    clock: Clock,
    pools: Vec<config::Pool>,
}

impl Pools {
    /// Leases a slot and brings it to the base; full pools answer at once.
    ///
    /// # Errors
    /// [`ClaimError`]; no lease is left behind.
    pub async fn claim(&self, holder: Holder, pool: &str, budget: Duration) -> Result<Leased, ClaimError> {
        let _ = (holder, budget, &self.0);
        Err(ClaimError::NoSuchPool(pool.to_owned()))
    }

    /// Gives a lease back and cleans its slot. Again for the same lease it does nothing.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn release(&self, lease: LeaseId) -> Result<Released, PoolError> {
        let _ = lease;
        Ok(Released::Already)
    }

    /// Slots that a claim could have now.
    ///
    /// # Errors
    /// [`PoolError::NoSuchPool`], and what the database says.
    pub async fn free_slots(&self, pool: &str) -> Result<u32, PoolError> {
        Err(PoolError::NoSuchPool(pool.to_owned()))
    }

    /// The base after one fetch; call it once a tick and pass it down.
    ///
    /// # Errors
    /// [`PoolError::Git`] when there is no such ref, fetched or not.
    pub async fn base(&self, pool: &str) -> Result<Base, PoolError> {
        Err(PoolError::NoSuchPool(pool.to_owned()))
    }

    /// Whether `commit` is in the pool's base on the remote, after a fetch.
    ///
    /// # Errors
    /// [`RemoteUnreadable`]: not known, which is not yes.
    pub async fn is_ancestor(&self, pool: &str, commit: &str) -> Result<bool, RemoteUnreadable> {
        let _ = commit;
        Err(RemoteUnreadable { pool: pool.to_owned(), why: String::new() })
    }

    /// Makes the work branch at the slot's HEAD and checks it out.
    ///
    /// # Errors
    /// The lease is over, or git refuses the name.
    pub async fn branch(&self, lease: LeaseId, name: &str) -> Result<(), PoolError> {
        let _ = name;
        Err(PoolError::LeaseOver(lease))
    }

    /// The full id of the slot's HEAD.
    ///
    /// # Errors
    /// The lease is over, or git cannot tell.
    pub async fn head(&self, lease: LeaseId) -> Result<String, PoolError> {
        Err(PoolError::LeaseOver(lease))
    }

    /// The commits made since the claim, newest first, at most 1,000.
    ///
    /// # Errors
    /// The lease is over, or git cannot tell.
    pub async fn run_commits(&self, lease: LeaseId) -> Result<Vec<String>, PoolError> {
        Err(PoolError::LeaseOver(lease))
    }
}
