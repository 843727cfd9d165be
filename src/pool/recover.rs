//! After a start, and every ten minutes: what was begun is finished, what drifts is mended, what is in
//! quarantine gets its next try. Nothing here is on the way to serving.

use std::time::Duration;

use tracing::{info, warn};

use crate::model::slot::{Slot, SlotState, Step};
use crate::platform::failpoint;
use crate::platform::git::{Budget, Found, Head, Tree};

use super::base::{Ground, blocking};
use super::heal::{Healed, UPKEEP_MAX};
use super::{PoolError, Pools, table};

/// How often slots are looked after.
const TEND_EVERY: Duration = Duration::from_secs(600);
/// Waits before a slot on which work stopped halfway is taken up again; after the last its next round has to do.
const LATER: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
];

/// What a round came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tended {
    /// Slots that were worked on, well afterwards or not.
    pub healed: Vec<Healed>,
    /// Pools that could not be looked at, and why.
    pub trouble: Vec<(String, String)>,
}

impl Pools {
    /// Marks what an earlier daemon had begun, so that nobody takes it for going on. Touches no repository;
    /// [`Pools::tend`] does the work. Leases stay: they belong to tickets and runs, not to the daemon.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn recover(&self) -> Result<u32, PoolError> {
        let slots = self.0.store.read(|conn| Ok::<_, PoolError>(table::all(conn)?)).await?;
        failpoint::hit("pool.recover")?;
        let mut begun = 0;
        for slot in slots.into_iter().filter(|slot| slot.state().is_intent()) {
            self.step(&slot, Step::Recover, super::heal::orphan, Vec::new()).await?;
            begun += 1;
        }
        if begun > 0 {
            info!(begun, "slots were being worked on when the last daemon ended");
        }
        Ok(begun)
    }

    /// Looks after all slots, now and every ten minutes, and after remotes that are not reached. Does not return.
    pub async fn tend(&self) {
        tokio::join!(self.tend_slots(), self.ask_again());
    }

    async fn tend_slots(&self) {
        loop {
            self.tend_once().await;
            tokio::time::sleep(TEND_EVERY).await;
        }
    }

    /// One round over all slots, one after the other: upkeep takes no more than one core.
    pub async fn tend_once(&self) -> Tended {
        let mut tended = Tended::default();
        for pool in &self.0.pools {
            let name = &pool.config.name;
            let rows = match self.slots(name).await {
                Ok(rows) => rows,
                Err(e) => {
                    warn!(error = %e, "cannot look after the slots");
                    tended.trouble.push((name.clone(), e.to_string()));
                    continue;
                }
            };
            let budget = Budget::new(UPKEEP_MAX);
            let ground = match self.ground(pool, budget).await {
                Ok(ground) => ground,
                Err(e) => {
                    warn!(pool = name, error = %e, "cannot look after the pool");
                    tended.trouble.push((name.clone(), e.to_string()));
                    continue;
                }
            };
            for row in rows {
                match self.tend_slot(&ground, &row).await {
                    Ok(healed) => tended.healed.extend(healed),
                    Err(e) => {
                        warn!(slot = row.id, error = %e, "could not look after a slot");
                        self.finish_later(&row.id);
                    }
                }
            }
        }
        tended
    }

    async fn tend_slot(&self, ground: &Ground, row: &Slot) -> Result<Option<Healed>, PoolError> {
        let needs = match row.state() {
            SlotState::Leased => false,
            SlotState::Free => drifts(ground, row).await,
            SlotState::Preparing | SlotState::Releasing | SlotState::Rebuilding | SlotState::Quarantined => {
                true
            }
        };
        if !needs {
            return Ok(None);
        }
        let healed = self.mend(ground, row, Budget::new(UPKEEP_MAX)).await?;
        Ok(healed.inspect(|healed| {
            info!(slot = healed.slot, state = healed.state.name(), "looked after a slot");
        }))
    }

    /// Finishes in the background what ran out of its caller's time, or what the database did not take: until then
    /// nobody has the slot, and nobody can get it.
    pub(super) fn finish_later(&self, slot: &str) {
        let (pools, id) = (self.clone(), slot.to_owned());
        tokio::spawn(async move {
            for wait in LATER {
                tokio::time::sleep(wait).await;
                match pools.finish(&id).await {
                    Ok(()) => return,
                    Err(PoolError::Busy { .. }) => {}
                    Err(e) => warn!(slot = id, error = %e, "work on a slot stopped halfway"),
                }
            }
        });
    }

    /// Finishes what was begun on a slot.
    ///
    /// # Errors
    /// [`PoolError::Busy`] when it is not finished yet, since somebody is at the desk, only to look perhaps.
    async fn finish(&self, id: &str) -> Result<(), PoolError> {
        let Some(row) = self.begun(id).await? else { return Ok(()) };
        let ground = self.ground(self.pool(&row.pool)?, Budget::new(UPKEEP_MAX)).await?;
        self.tend_slot(&ground, &row).await?;
        match self.begun(id).await? {
            Some(row) => Err(PoolError::Busy { state: row.state(), slot: row.id }),
            None => Ok(()),
        }
    }

    /// The slot if something is being done to it, or was.
    async fn begun(&self, id: &str) -> Result<Option<Slot>, PoolError> {
        let id = id.to_owned();
        let row = self.0.store.read(move |conn| Ok::<_, PoolError>(table::get(conn, &id)?)).await?;
        Ok(row.filter(|row| row.state().is_intent()))
    }
}

/// Whether a free slot is not as release leaves one; a base that has moved on since is no drift, and a slot
/// that was never made is none either.
async fn drifts(ground: &Ground, row: &Slot) -> bool {
    let (repo, path, keep) = (ground.repo.clone(), ground.dir.join(&row.id), ground.keep.clone());
    let was_made = row.base_commit.is_some();
    let looked = blocking(move || {
        let budget = Budget::new(UPKEEP_MAX);
        let is_well = |tree: Tree| {
            let state = tree.inspect(&keep, budget)?;
            Ok(matches!(state.head, Head::Detached(_)) && state.dirt().is_empty())
        };
        match repo.find(&path)? {
            Found::Ours(tree) => is_well(tree).map(|well| !well),
            Found::Missing { .. } => Ok(was_made),
            Found::Strange { .. } => Ok(true),
        }
    });
    looked.await.unwrap_or(true)
}
