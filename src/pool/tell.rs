//! Whom to tell that unsaved work was rescued, in the transaction that records it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::model::event::{Event, EventKind};
use crate::model::slot::Slot;
use crate::store::{StoreError, Tx};

use super::Pools;

/// What a ticket's last worker left unsaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// The ticket whose lease it was.
    pub ticket: String,
    pub slot: String,
    pub repo: PathBuf,
    /// Full names of the refs that keep it.
    pub refs: Vec<String>,
}

/// Called with the time in milliseconds since the epoch.
pub type OnRescue = Arc<dyn Fn(&Tx<'_>, &Rescued, i64) -> Result<(), StoreError> + Send + Sync>;

impl Pools {
    /// Has `tell` called in the transaction with which a slot is taken from a ticket that left something unsaved.
    /// The first call counts.
    pub fn on_rescue(&self, tell: OnRescue) {
        let _ = self.0.on_rescue.set(tell);
    }

    /// What `events` say was rescued of the ticket that had the slot last, beyond what is on its branch. What a claim finds is nobody's: it is not
    /// the work of whoever gets the slot.
    pub(super) fn of_former(&self, slot: &Slot, events: &[Event]) -> Option<(OnRescue, Rescued)> {
        let is_unsaved = |event: &&Event| event.data.get("unsaved").and_then(Value::as_bool) == Some(true);
        let rescues = events.iter().filter(|event| event.kind == EventKind::SlotRescued).filter(is_unsaved);
        let refs: Vec<String> =
            rescues.filter_map(|event| event.data.get("ref")?.as_str().map(str::to_owned)).collect();
        if refs.is_empty() {
            return None;
        }
        let repo = self.pool(&slot.pool).ok()?.config.repo.clone();
        let rescued = Rescued { ticket: slot.former.clone()?, slot: slot.id.clone(), repo, refs };
        Some((self.0.on_rescue.get()?.clone(), rescued))
    }
}
