//! Giving a lease back: its work is rescued, its slot left clean, for nobody to trip over.

use crate::model::event::{Event, EventKind};
use crate::model::slot::{Slot, SlotState, Step};
use crate::platform::failpoint;
use crate::platform::git::Budget;

use serde_json::json;

use super::base::{Ground, blocking};
use super::heal::{Settled, UPKEEP_MAX};
use super::{LeaseId, PoolError, Pools, Released, table};

impl Pools {
    /// Gives a lease back and cleans its slot. Again for the same lease it does nothing, and for one that
    /// is over it touches nobody else's. The caller has seen to it that no process of the holder is left.
    ///
    /// # Errors
    /// Only what the database says; a slot that cannot be cleaned is no error of the caller's.
    pub async fn release(&self, lease: LeaseId) -> Result<Released, PoolError> {
        let pools = self.clone();
        match tokio::spawn(async move { pools.release_now(lease).await }).await {
            Ok(result) => result,
            Err(e) => Err(PoolError::Git(e.to_string())),
        }
    }

    async fn release_now(&self, lease: LeaseId) -> Result<Released, PoolError> {
        let found = self.0.store.read(move |conn| Ok::<_, PoolError>(table::by_lease(conn, lease)?)).await?;
        let Some(row) = found.filter(|slot| slot.state() == SlotState::Leased) else {
            return Ok(Released::Already);
        };
        let former = row.holder.as_ref().and_then(|holder| holder.ticket()).map(str::to_owned);
        let name = move |slot: &mut Slot| slot.former.clone_from(&former);
        let Some(releasing) = self.step(&row, Step::Release, name, Vec::new()).await? else {
            return Ok(Released::Already);
        };
        failpoint::pass("pool.releasing");
        let budget = Budget::new(UPKEEP_MAX);
        let Ok(pool) = self.pool(&releasing.pool) else { return Ok(Released::Later) };
        let Some(desk) = self.try_desk(&releasing.id) else {
            self.finish_later(&releasing.id);
            return Ok(Released::Later);
        };
        let ground = match self.ground(pool, budget).await {
            Ok(ground) => ground,
            Err(e) => {
                let why = e.to_string();
                drop(desk);
                self.finish_later(&releasing.id);
                self.drifted(&releasing.pool, &why).await?;
                return Ok(Released::Later);
            }
        };
        let (id, branch) = (releasing.id.clone(), releasing.branch.clone());
        let settled = match self.settle(&ground, &desk, releasing, Step::Cleaned, budget).await {
            Ok(settled) => settled,
            Err(e) => {
                drop(desk);
                self.finish_later(&id);
                return Err(e);
            }
        };
        match settled {
            Settled::Clean { report, .. } => {
                if let Some(branch) = branch {
                    drop_branch(&ground, branch, budget).await;
                }
                Ok(Released::Cleaned { rescued: report.rescued })
            }
            Settled::Quarantined { why } => Ok(Released::Quarantined { why }),
            Settled::TimedOut { .. } => {
                drop(desk);
                self.finish_later(&id);
                Ok(Released::Later)
            }
            Settled::Gone => Ok(Released::Already),
        }
    }

    /// Tells the journal what keeps a pool from its work.
    pub(super) async fn drifted(&self, pool: &str, why: &str) -> Result<(), PoolError> {
        let (journal, now_ms) = (self.0.journal.clone(), self.0.clock.wall_ms());
        let event = Event::new(EventKind::PoolDrift).actor("pool").data(json!({"pool": pool, "why": why}));
        self.0
            .store
            .write(move |tx| {
                journal.record(tx, now_ms, event.clone())?;
                Ok::<_, PoolError>(())
            })
            .await
    }
}

/// A work branch on which nothing was done is of no use to anybody; one with work stays.
async fn drop_branch(ground: &Ground, branch: String, budget: Budget) {
    let (repo, base) = (ground.repo.clone(), ground.base.clone());
    let name = branch.clone();
    if let Err(e) = blocking(move || repo.delete_empty_branch(&name, &base, budget)).await {
        tracing::warn!(branch, error = %e, "an empty work branch could not be deleted");
    }
}
