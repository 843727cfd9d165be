//! Taking a slot: a lease in one transaction, then verification; the next slot where one fails.

use std::time::Duration;

use crate::model::slot::{Slot, SlotState, Step};
use crate::platform::failpoint;
use crate::platform::git::Budget;

use super::heal::Settled;
use super::{ClaimError, Desk, Holder, Leased, Pool, PoolError, Pools, table};

impl Pools {
    /// Leases a slot and brings it to the base, fetched a moment ago where the remote answers; a full pool
    /// answers at once. `budget` bounds all of it. It goes on when its caller no longer waits: the lease
    /// is then the holder's all the same.
    ///
    /// # Errors
    /// [`ClaimError`]; the holder has no lease then that it had not before.
    pub async fn claim(&self, holder: Holder, pool: &str, budget: Duration) -> Result<Leased, ClaimError> {
        self.claim_at(holder, pool, None, budget).await
    }

    /// As [`Pools::claim`], from `base` (`REMOTE/BRANCH`) instead of the pool's; never from another one than that.
    /// Release brings the slot to the pool's own base all the same.
    ///
    /// # Errors
    /// As [`Pools::claim`]; [`ClaimError::Git`] too where there is no such base.
    pub async fn claim_at(
        &self,
        holder: Holder,
        pool: &str,
        base: Option<&str>,
        budget: Duration,
    ) -> Result<Leased, ClaimError> {
        let (pools, pool, budget) = (self.clone(), pool.to_owned(), Budget::new(budget));
        let (name, base) = (pool.clone(), base.map(str::to_owned));
        let claim = async move { pools.claim_within(holder, &pool, base.as_deref(), budget).await };
        match tokio::spawn(claim).await {
            Ok(result) => result,
            Err(e) => Err(ClaimError::Git { pool: name, why: e.to_string() }),
        }
    }

    async fn claim_within(
        &self,
        holder: Holder,
        name: &str,
        base: Option<&str>,
        budget: Budget,
    ) -> Result<Leased, ClaimError> {
        let pool = self.pool(name).map_err(|_| ClaimError::NoSuchPool(name.to_owned()))?.with_base(base);
        self.refuse_if_full(&holder, name).await?;
        self.freshen_for_claim(&pool, budget).await;
        let ground = self.ground(&pool, budget).await.map_err(|e| match (e, base) {
            (PoolError::Git(why), None) => ClaimError::Git { pool: name.to_owned(), why },
            (PoolError::Git(why), Some(base)) => ClaimError::Git {
                pool: name.to_owned(),
                why: format!(
                    "no slot can start from {base}: {why}; `{}` lists what there is",
                    pool.list_by_hand()
                ),
            },
            (other, _) => ClaimError::Pool(other),
        })?;
        let mut tried: Vec<String> = Vec::new();
        loop {
            let Some((desk, slot)) = self.take(&holder, name, &tried).await? else {
                return Err(self.none_left(name).await?);
            };
            failpoint::pass("pool.claimed");
            let id = slot.id.clone();
            let settled = match self.settle(&ground, &desk, slot, Step::Verified, budget).await {
                Ok(settled) => settled,
                Err(e) => {
                    drop(desk);
                    self.finish_later(&id);
                    return Err(e.into());
                }
            };
            match settled {
                Settled::Clean { slot, report } => return Ok(leased(&pool, &ground.dir, *slot, report)),
                Settled::Quarantined { .. } | Settled::Gone => tried.push(id),
                Settled::TimedOut { why } => {
                    drop(desk);
                    self.finish_later(&id);
                    return Err(ClaimError::TimedOut { pool: name.to_owned(), why });
                }
            }
        }
    }

    /// The lease in one transaction, on a slot at whose desk nobody is.
    async fn take(
        &self,
        holder: &Holder,
        pool: &str,
        tried: &[String],
    ) -> Result<Option<(Desk, Slot)>, ClaimError> {
        let free = self.slots(pool).await?;
        let free = free.into_iter().filter(|slot| slot.state() == SlotState::Free);
        for row in free.filter(|slot| !tried.contains(&slot.id)) {
            let Some(desk) = self.try_desk(&row.id) else { continue };
            let given = holder.clone();
            let claimed =
                self.step(&row, Step::Claim, move |slot| slot.holder = Some(given.clone()), Vec::new());
            match claimed.await {
                Ok(Some(slot)) => return Ok(Some((desk, slot))),
                Ok(None) => {}
                Err(e) => {
                    // The index of holders has refused it: somebody claims for the same holder just now.
                    self.refuse_if_held(holder).await?;
                    return Err(e.into());
                }
            }
        }
        Ok(None)
    }

    async fn refuse_if_held(&self, holder: &Holder) -> Result<(), ClaimError> {
        let wanted = holder.clone();
        let held =
            self.0.store.read(move |conn| Ok::<_, PoolError>(table::by_holder(conn, &wanted)?)).await?;
        match held.and_then(|slot| Some((slot.lease?, slot.id))) {
            Some((lease, slot)) => Err(ClaimError::AlreadyLeased { holder: holder.to_string(), slot, lease }),
            None => Ok(()),
        }
    }

    /// Before any git: most claims that cannot be served end here.
    async fn refuse_if_full(&self, holder: &Holder, pool: &str) -> Result<(), ClaimError> {
        self.refuse_if_held(holder).await?;
        if self.free_slots(pool).await? == 0 { Err(self.none_left(pool).await?) } else { Ok(()) }
    }

    async fn none_left(&self, pool: &str) -> Result<ClaimError, PoolError> {
        let slots = self.slots(pool).await?;
        let count = |wanted: SlotState| {
            u32::try_from(slots.iter().filter(|slot| slot.state() == wanted).count()).unwrap_or(u32::MAX)
        };
        let (quarantined, free) = (count(SlotState::Quarantined), count(SlotState::Free));
        let all = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let pool = pool.to_owned();
        Ok(if quarantined == all {
            ClaimError::Quarantined { pool, slots: all, quarantined }
        } else {
            ClaimError::PoolFull { pool, slots: all, leased: all - quarantined - free, quarantined }
        })
    }
}

fn leased(pool: &Pool, dir: &std::path::Path, slot: Slot, report: super::recipe::Report) -> Leased {
    let lease = slot.lease.unwrap_or(super::LeaseId(0));
    let mut notes = Vec::new();
    if !report.dirt.is_empty() {
        notes.push(format!("the slot was healed; found: {}", report.dirt.join(", ")));
    }
    notes.extend(report.rescued.iter().map(|reference| format!("unsaved work is in {reference}")));
    notes.extend(report.notes);
    notes.extend(pool.unread());
    Leased {
        lease,
        fence: lease.fence(),
        path: dir.join(&slot.id),
        base_commit: slot.base_commit.unwrap_or_default(),
        slot: slot.id,
        notes,
    }
}
