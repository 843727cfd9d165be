//! Worktree slots: leased to tickets and runs, clean when handed over, nobody's work lost.
//!
//! Git is the truth; the database holds the lease and the intent. Whoever holds a lease names it by id.
//! Nothing here runs git under a transaction or a lock that another slot could want.

mod aside;
mod base;
mod claim;
mod heal;
mod locks;
mod recipe;
mod recover;
mod release;
mod table;
mod tell;
#[cfg(test)]
mod tests;
mod view;
mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::json;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use crate::config;
use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::Fence;
use crate::model::slot::{Illegal, Slot, SlotState, Step};
use crate::platform::clock::Clock;
use crate::platform::failpoint::{self, Fault};
use crate::platform::git::GitError;
use crate::store::{Store, StoreError, Tx};

use base::Origin;
use recipe::Report;

pub use crate::model::slot::{Holder, LeaseId};
pub use aside::KeepAside;
pub use base::Behind;
pub use heal::Healed;
pub use recover::Tended;
pub use tell::{OnRescue, Rescued};
pub use view::{PoolView, SlotView};

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
    #[error("pool {pool} is full: {leased} of {slots} slots are in use, {quarantined} in quarantine")]
    PoolFull { pool: String, slots: u32, leased: u32, quarantined: u32 },
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

impl From<Fault> for PoolError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

impl From<GitError> for PoolError {
    fn from(error: GitError) -> Self {
        Self::Git(error.to_string())
    }
}

impl From<rusqlite::Error> for PoolError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
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

/// Slots of all pools, counted by their leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub slots: u32,
    pub free: u32,
    pub quarantined: u32,
}

/// All pools. Cheap to clone.
#[derive(Clone)]
pub struct Pools(Arc<Inner>);

struct Inner {
    store: Store,
    journal: Journal,
    clock: Clock,
    pools: Vec<Pool>,
    /// Whoever works on a slot's files holds its lock; nobody waits for it who could take another slot.
    desks: HashMap<String, Arc<Mutex<()>>>,
    freed: Notify,
    on_rescue: OnceLock<OnRescue>,
}

/// One pool of the config, with what is known of its repository.
#[derive(Clone)]
struct Pool {
    config: config::Pool,
    origin: Arc<Origin>,
}

/// The right to work on one slot's files.
type Desk = OwnedMutexGuard<()>;

impl Pools {
    /// The pools of the config. Reads no repository: one that is missing troubles nobody but its pool.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn open(
        configs: &[config::Pool],
        store: Store,
        journal: Journal,
        clock: Clock,
    ) -> Result<Self, PoolError> {
        let (rows, now_ms) = (configs.to_vec(), clock.wall_ms());
        store
            .write(move |tx| {
                rows.iter().try_for_each(|pool| table::ensure(tx, &pool.name, pool.slots, now_ms))?;
                Ok::<_, PoolError>(())
            })
            .await?;
        let ids = configs.iter().flat_map(|pool| (0..pool.slots).map(|n| slot_id(&pool.name, n)));
        let desks = ids.map(|id| (id, Arc::default())).collect();
        let mut origins: HashMap<PathBuf, Arc<Origin>> = HashMap::new();
        let pools = configs
            .iter()
            .map(|config| {
                let origin =
                    origins.entry(config.repo.clone()).or_insert_with(|| Arc::new(Origin::new(&config.repo)));
                Pool { config: config.clone(), origin: Arc::clone(origin) }
            })
            .collect();
        let (freed, on_rescue) = (Notify::new(), OnceLock::new());
        Ok(Self(Arc::new(Inner { store, journal, clock, pools, desks, freed, on_rescue })))
    }

    /// Their names, in the order of the config.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.pools.iter().map(|pool| pool.config.name.as_str())
    }

    /// Slots that a claim could have now.
    ///
    /// # Errors
    /// [`PoolError::NoSuchPool`], and what the database says.
    pub async fn free_slots(&self, pool: &str) -> Result<u32, PoolError> {
        self.pool(pool)?;
        let free = self.slots(pool).await?.into_iter().filter(|slot| slot.state() == SlotState::Free);
        Ok(u32::try_from(free.count()).unwrap_or(u32::MAX))
    }

    /// Whether a slot of the pool that is free now became so after `since_ms`, milliseconds since the epoch: git
    /// works there.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn freed_since(&self, pool: &str, since_ms: i64) -> Result<bool, PoolError> {
        let slots = self.slots(pool).await?;
        Ok(slots.iter().any(|slot| slot.state() == SlotState::Free && slot.since_ms > since_ms))
    }

    /// Comes back when a slot has become free since it last did, whoever had it. For one who waits.
    pub async fn freed(&self) {
        self.0.freed.notified().await;
    }

    /// How many slots there are and how they stand; `None` without pools.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn counts(&self) -> Result<Option<Counts>, StoreError> {
        if self.0.pools.is_empty() {
            return Ok(None);
        }
        let mut slots = self.0.store.read(|conn| Ok::<_, StoreError>(table::all(conn)?)).await?;
        slots.retain(|slot| self.0.desks.contains_key(&slot.id));
        let count = |wanted: Option<SlotState>| {
            let counted = slots.iter().filter(|slot| wanted.is_none_or(|state| slot.state() == state));
            u32::try_from(counted.count()).unwrap_or(u32::MAX)
        };
        Ok(Some(Counts {
            slots: count(None),
            free: count(Some(SlotState::Free)),
            quarantined: count(Some(SlotState::Quarantined)),
        }))
    }

    /// The slots that are out of use.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn quarantined(&self) -> Result<Vec<Slot>, StoreError> {
        let mut slots = self.0.store.read(|conn| Ok::<_, StoreError>(table::all(conn)?)).await?;
        slots.retain(|slot| slot.state() == SlotState::Quarantined && self.0.desks.contains_key(&slot.id));
        Ok(slots)
    }

    /// The leases that somebody has, of all pools.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn leases(&self) -> Result<Vec<Slot>, PoolError> {
        let mut slots = self.0.store.read(|conn| Ok::<_, PoolError>(table::all(conn)?)).await?;
        slots.retain(|slot| slot.state() == SlotState::Leased);
        Ok(slots)
    }

    fn pool(&self, name: &str) -> Result<&Pool, PoolError> {
        let found = self.0.pools.iter().find(|pool| pool.config.name == name);
        found.ok_or_else(|| PoolError::NoSuchPool(name.to_owned()))
    }

    /// The slots that the config gives the pool.
    async fn slots(&self, pool: &str) -> Result<Vec<Slot>, PoolError> {
        let mut slots = self.0.store.read(|conn| Ok::<_, PoolError>(table::all(conn)?)).await?;
        slots.retain(|slot| slot.pool == pool && self.0.desks.contains_key(&slot.id));
        Ok(slots)
    }

    /// The desk of a slot if nobody is at work there.
    fn try_desk(&self, slot: &str) -> Option<Desk> {
        Arc::clone(self.0.desks.get(slot)?).try_lock_owned().ok()
    }

    /// Takes `step` with the slot that stands as `slot` says, and `with` what goes with it. `None` when the
    /// row has moved on: then nothing has changed.
    async fn step(
        &self,
        slot: &Slot,
        step: Step,
        with: impl Fn(&mut Slot) + Send + 'static,
        events: Vec<Event>,
    ) -> Result<Option<Slot>, PoolError> {
        let (before, journal, now_ms) = (slot.clone(), self.0.journal.clone(), self.0.clock.wall_ms());
        let rescued = self.of_former(slot, &events);
        self.0
            .store
            .write(move |tx| {
                failpoint::hit("pool.step")?;
                let mut after = before.clone();
                after.step(step)?;
                after.since_ms = now_ms;
                if step == Step::Claim || step == Step::Mend || step == Step::Retry {
                    after.lease = Some(table::next_lease(tx)?);
                }
                with(&mut after);
                if !table::update(tx, &after, before.state(), before.lease)? {
                    return Ok(None);
                }
                record(tx, &journal, now_ms, &after, &events)?;
                if let Some((tell, rescued)) = &rescued {
                    tell(tx, rescued, now_ms)?;
                }
                Ok(Some(after))
            })
            .await
    }
}

/// Writes events about `slot`, each with the ticket or run it was for.
fn record(
    tx: &Tx<'_>,
    journal: &Journal,
    now_ms: i64,
    slot: &Slot,
    events: &[Event],
) -> Result<(), PoolError> {
    for event in events {
        let mut event = event.clone().actor("pool");
        if let Some(data) = event.data.as_object_mut() {
            data.insert("pool".to_owned(), json!(slot.pool));
            data.insert("slot".to_owned(), json!(slot.id));
        }
        match &slot.holder {
            Some(Holder::Ticket(ticket)) => event = event.ticket(ticket),
            Some(Holder::Run(run)) => event = event.run(*run),
            None => event.ticket = event.ticket.or_else(|| slot.former.clone()),
        }
        journal.record(tx, now_ms, event)?;
    }
    Ok(())
}

/// What a report has to tell the journal.
fn told(report: &Report) -> Vec<Event> {
    let rescued = report.rescued.iter().map(|reference| {
        let unsaved = report.unsaved.contains(reference);
        let data = json!({"ref": reference, "found": report.dirt, "unsaved": unsaved});
        Event::new(EventKind::SlotRescued).data(data)
    });
    let healed = (!report.dirt.is_empty()).then(|| {
        let data = json!({"found": report.dirt, "rescued": report.rescued, "notes": report.notes});
        Event::new(EventKind::SlotHealed).data(data)
    });
    rescued.chain(healed).collect()
}

fn slot_id(pool: &str, number: u32) -> String {
    format!("{pool}-{number}")
}
