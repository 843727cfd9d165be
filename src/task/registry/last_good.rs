//! Last good versions over a restart: which texts the database is to keep, and what comes back of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Change, Entry, Registry, Snapshot};
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::task::parse::{self, Parsed};

/// Texts that wait for the database, in bytes; what is beyond is read again once these are kept.
const UNSAVED_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The text of a good file that is still to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub id: TaskId,
    /// SHA-256 of the bytes, hex.
    pub hash: Arc<str>,
    pub bytes: Arc<[u8]>,
}

/// A text that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub id: TaskId,
    pub bytes: Vec<u8>,
    /// Since when its file is worse, milliseconds since the epoch.
    pub broken_since_ms: Option<i64>,
}

/// What is kept, by hash, and what is not yet.
#[derive(Debug, Default)]
pub(super) struct Texts {
    saved: HashMap<TaskId, Arc<str>>,
    unsaved: BTreeMap<TaskId, Text>,
    unsaved_bytes: usize,
}

impl Texts {
    /// Takes the text of a good file where it is news; false when there is no room for it now.
    pub(super) fn take(&mut self, id: &TaskId, hash: &Arc<str>, bytes: Option<Arc<[u8]>>) -> bool {
        self.drop_unsaved(id);
        let Some(bytes) = bytes.filter(|_| self.saved.get(id) != Some(hash)) else { return true };
        if self.unsaved_bytes + bytes.len() > UNSAVED_MAX_BYTES {
            return false;
        }
        self.unsaved_bytes += bytes.len();
        self.unsaved.insert(id.clone(), Text { id: id.clone(), hash: Arc::clone(hash), bytes });
        true
    }

    /// The file is no task any more.
    pub(super) fn forget(&mut self, id: Option<&TaskId>) {
        if let Some(id) = id {
            self.drop_unsaved(id);
            self.saved.remove(id);
        }
    }

    fn drop_unsaved(&mut self, id: &TaskId) {
        if let Some(text) = self.unsaved.remove(id) {
            self.unsaved_bytes -= text.bytes.len();
        }
    }
}

impl Registry {
    /// Hashes of the texts that an earlier daemon kept.
    #[must_use]
    pub fn keeping(mut self, saved: HashMap<TaskId, Arc<str>>) -> Self {
        self.texts.saved = saved;
        self
    }

    /// Texts that are still to be kept.
    #[must_use]
    pub fn unsaved(&self) -> Vec<Text> {
        self.texts.unsaved.values().cloned().collect()
    }

    /// These are kept now.
    pub fn saved(&mut self, texts: &[Text]) {
        for text in texts {
            if self.texts.unsaved.get(&text.id) == Some(text) {
                self.texts.drop_unsaved(&text.id);
            }
            self.texts.saved.insert(text.id.clone(), Arc::clone(&text.hash));
        }
    }

    /// Tasks of `change` that are broken as far as this daemon knows, and were good for an earlier one.
    #[must_use]
    pub fn orphans(&self, change: &Change) -> Vec<TaskId> {
        let is_orphan = |id: &&TaskId| {
            let entry = self.snapshot.entries.get(id);
            entry.is_some_and(|entry| entry.definition.is_none()) && self.texts.saved.contains_key(id)
        };
        change.added.iter().filter(is_orphan).cloned().collect()
    }

    /// Gives broken tasks the last good version that was kept of them; its time has been running since then.
    pub fn revive(&mut self, kept: Vec<Kept>, now_ms: i64) {
        let mut entries = self.snapshot.entries.clone();
        for Kept { id, bytes, broken_since_ms } in kept {
            let Some(entry) = entries.get(&id).filter(|entry| entry.definition.is_none()) else { continue };
            let Parsed::Task { task: Some(mut task), .. } =
                parse::parse(&id, &entry.file, &bytes, &self.rules)
            else {
                // Good for another version of the program or of the config.
                continue;
            };
            self.shared.take(&mut task);
            let task: Arc<Task> = Arc::from(task);
            let since = broken_since_ms.or(entry.stale_since).unwrap_or(now_ms).min(now_ms);
            let revived = Entry {
                enabled: task.enabled && !entry.text_says_disabled,
                hash: Arc::clone(&task.hash),
                definition: Some(task),
                stale_since: Some(since),
                expires_ms: Some(since.saturating_add(self.stale_max_ms())),
                ..(**entry).clone()
            };
            entries.insert(id, Arc::new(revived));
        }
        self.expire(&mut entries, now_ms, &mut Change::default());
        let files = self.snapshot.files;
        let snapshot = Snapshot::new(entries, self.snapshot.loose.clone());
        self.snapshot = Arc::new(Snapshot { files, ..snapshot });
    }
}
