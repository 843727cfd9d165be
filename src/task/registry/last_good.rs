//! Last good versions over a restart: which texts the database is to keep, and what comes back of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Change, Entry, Registry, Snapshot};
use crate::model::digest::Digest;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::task::parse::{self, Parsed};

/// Texts that wait for the database, in bytes; what is beyond is read again once these are kept.
const UNSAVED_MAX_BYTES: usize = 32 * 1024 * 1024;

/// The text of a good file that is still to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub id: TaskId,
    pub hash: Digest,
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
    saved: HashMap<TaskId, Digest>,
    unsaved: BTreeMap<TaskId, Text>,
    unsaved_bytes: usize,
}

impl Texts {
    /// Takes the text of a good file where it is news; false when there is no room for it now.
    pub(super) fn take(&mut self, id: &TaskId, hash: Digest, bytes: Option<Arc<[u8]>>) -> bool {
        self.drop_unsaved(id);
        let Some(bytes) = bytes.filter(|_| self.saved.get(id) != Some(&hash)) else { return true };
        if self.unsaved_bytes + bytes.len() > UNSAVED_MAX_BYTES {
            return false;
        }
        self.unsaved_bytes += bytes.len();
        self.unsaved.insert(id.clone(), Text { id: id.clone(), hash, bytes });
        true
    }

    /// The file is no task any more.
    pub(super) fn forget(&mut self, id: Option<&TaskId>) {
        if let Some(id) = id {
            self.drop_unsaved(id);
            self.saved.remove(id);
        }
    }

    /// Whether there is a good text of `id`, of this daemon or an earlier one.
    pub(super) fn keeps(&self, id: &TaskId) -> bool {
        self.saved.contains_key(id) || self.unsaved.contains_key(id)
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
    pub fn keeping(mut self, saved: HashMap<TaskId, Digest>) -> Self {
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
            self.texts.saved.insert(text.id.clone(), text.hash);
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
                definition: Some(task),
                stale_since: Some(since),
                expires_ms: Some(since.saturating_add(self.stale_max_ms())),
                ..(**entry).clone()
            };
            entries.insert(id, Arc::new(revived));
        }
        self.expire(&mut entries, now_ms, &mut Change::default());
        let (files, closed) = (self.snapshot.files, self.snapshot.closed.clone());
        let snapshot = Snapshot::new(entries, self.snapshot.loose.clone());
        self.snapshot = Arc::new(Snapshot { files, closed, ..snapshot });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::task::registry::STALE_MAX;
    use crate::task::tests::rules;

    const GOOD: &str = "---\ncommand: ./x\nschedule: every 5m\n---\n";
    const NOW_MS: i64 = 4_000_000_000_000;

    fn stale_ms() -> i64 {
        crate::model::time::millis(STALE_MAX)
    }

    fn id() -> TaskId {
        TaskId::parse("a").unwrap()
    }

    /// A later daemon over a file that reads `now`, and what an earlier one kept of it.
    fn revived(now: &str, broken_since_ms: Option<i64>) -> Arc<Entry> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.md"), GOOD).unwrap();
        let mut first = Registry::new(dir.path().to_owned(), rules());
        first.reload(NOW_MS);
        let texts = first.unsaved();
        first.saved(&texts);
        assert_eq!((texts.len(), first.unsaved().len()), (1, 0));
        assert_eq!(&*texts[0].bytes, GOOD.as_bytes());

        fs::write(dir.path().join("a.md"), now).unwrap();
        let saved = HashMap::from([(id(), texts[0].hash)]);
        let mut second = Registry::new(dir.path().to_owned(), rules()).keeping(saved);
        let change = second.reload(NOW_MS);
        assert_eq!(second.orphans(&change), [id()]);
        second.revive(vec![Kept { id: id(), bytes: texts[0].bytes.to_vec(), broken_since_ms }], NOW_MS);
        let snapshot = second.snapshot();
        assert_eq!((snapshot.files, snapshot.broken, snapshot.entries.len()), (1, 0, 1));
        Arc::clone(snapshot.get(&id()).unwrap())
    }

    #[test]
    fn a_last_good_version_comes_back_with_what_is_left_of_its_time() {
        let broken = "---\ncommand: ./x\ntimeout: 1:30\n---\n";
        let entry = revived(broken, None);
        assert!(entry.runnable().is_some() && entry.is_broken());
        assert_eq!((entry.stale_since, entry.expires_ms), (Some(NOW_MS), Some(NOW_MS + stale_ms())));
        assert_eq!(entry.diagnostics.first().map(|found| found.code), Some("E105"));
        let since = NOW_MS - stale_ms() + 1;
        assert_eq!(revived(broken, Some(since)).expires_ms, Some(NOW_MS + 1));
        let entry = revived(broken, Some(since - 1));
        assert!(entry.expired && entry.runnable().is_none() && entry.definition.is_some());
        // A mark from a clock that was wrong gives no more than its time.
        assert_eq!(revived(broken, Some(NOW_MS + stale_ms())).stale_since, Some(NOW_MS));
    }

    #[test]
    fn what_reads_as_no_task_since_then_is_a_broken_one() {
        for now in ["", "# A note\n", "\n---\ncommand: ./x\n---\n", " ---\ncommand: ./x\n---\n"] {
            let entry = revived(now, None);
            assert!(entry.runnable().is_some() && entry.is_broken(), "{now:?}");
            assert_eq!(entry.diagnostics.first().map(|found| found.code), Some("E127"), "{now:?}");
        }
        assert!(revived("\n---\nenabled: false\n---\n", None).runnable().is_none());
    }

    #[test]
    fn a_broken_text_that_says_disabled_stays_off() {
        let entry = revived("---\ncommand: ./x\nenabled: false\ntimeout: 1:30\n---\n", None);
        assert!(entry.runnable().is_none() && entry.definition.is_some() && entry.text_says_disabled);
    }

    #[test]
    fn what_waits_for_the_database_is_bounded_and_news_only() {
        let mut texts = Texts::default();
        let big: Arc<[u8]> = vec![b'x'; UNSAVED_MAX_BYTES].into();
        assert!(texts.take(&id(), Digest::from([1; 32]), Some(Arc::clone(&big))));
        let other = TaskId::parse("b").unwrap();
        assert!(!texts.take(&other, Digest::from([2; 32]), Some(vec![b'y'].into())));
        // In place of the one before it there is room.
        assert!(texts.take(&id(), Digest::from([3; 32]), Some(vec![b'z'].into())));
        assert_eq!((texts.unsaved_bytes, texts.unsaved.len()), (1, 1));
        texts.saved.insert(other.clone(), Digest::from([2; 32]));
        assert!(texts.take(&other, Digest::from([2; 32]), Some(big)));
        assert_eq!(texts.unsaved.len(), 1, "it is kept already");
        texts.forget(Some(&id()));
        assert_eq!((texts.unsaved_bytes, texts.unsaved.len()), (0, 0));
    }
}
