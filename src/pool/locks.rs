//! Locks that git left behind in slots: old ones without a living holder go, so that whoever works there
//! next does not stumble over them.

use std::time::SystemTime;

use serde_json::json;

use crate::model::event::{Event, EventKind};
use crate::platform::git::{Budget, Found};

use super::base::blocking;
use super::heal::UPKEEP_MAX;
use super::{PoolError, Pools, record};

/// A lock that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleLock {
    pub slot: String,
    /// The lock's file name.
    pub lock: String,
}

impl Pools {
    /// Removes locks that were last touched before `before` from all slots that nobody is at work on, and
    /// records it. A slot that cannot be looked at is left to its next healing.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn remove_stale_locks(&self, before: SystemTime) -> Result<Vec<StaleLock>, PoolError> {
        let mut removed = Vec::new();
        for pool in &self.0.pools {
            let Ok(ground) = super::base::ground(pool, Budget::new(UPKEEP_MAX)).await else { continue };
            for slot in self.slots(&pool.config.name).await? {
                let Some(desk) = self.try_desk(&slot.id) else { continue };
                let (repo, path) = (ground.repo.clone(), ground.dir.join(&slot.id));
                let swept = blocking(move || match repo.find(&path)? {
                    Found::Ours(tree) => tree.remove_old_locks(before),
                    Found::Missing { .. } | Found::Strange { .. } => Ok(Vec::new()),
                });
                let locks = swept.await.unwrap_or_else(|error| {
                    tracing::warn!(slot = slot.id, %error, "could not look for stale locks");
                    Vec::new()
                });
                drop(desk);
                let names =
                    locks.iter().filter_map(|lock| Some(lock.file_name()?.to_string_lossy().into_owned()));
                let names: Vec<String> = names.collect();
                if names.is_empty() {
                    continue;
                }
                let found: Vec<String> = names.iter().map(|name| format!("stale {name}")).collect();
                let event = Event::new(EventKind::SlotHealed)
                    .data(json!({"found": found, "rescued": [], "notes": ["removed by the heartbeat"]}));
                let (journal, now_ms, told) = (self.0.journal.clone(), self.0.clock.wall_ms(), slot.clone());
                self.0
                    .store
                    .write(move |tx| record(tx, &journal, now_ms, &told, std::slice::from_ref(&event)))
                    .await?;
                removed.extend(names.into_iter().map(|lock| StaleLock { slot: slot.id.clone(), lock }));
            }
        }
        Ok(removed)
    }
}
