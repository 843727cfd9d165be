//! The tasks that there are, each in its last good version.
//!
//! [`Registry::reload`] looks at the folder, reads what changed and makes a new [`Snapshot`];
//! readers hold the old one as long as they like. A file that stops being readable keeps its last
//! good version for [`STALE_MAX`], unless its text says `enabled: false` or it is gone: both stop
//! it at once. Blocking, so it runs on a thread that may wait; it never starts or stops a run.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod closed;
mod glance;
mod last_good;
mod snapshot;

pub use glance::LOOK_TWICE_AFTER;
pub use last_good::{Kept, Text};
pub use snapshot::Snapshot;

use self::last_good::Texts;
use super::diagnose::Diagnostic;
use super::fresh::{Fresh, id_of, merge, note, remove};
use super::parse::{Parsed, Rules};
use super::scan::{self, Candidate, Stamp, What};
use super::share::Shared;
use crate::model::digest::Digest;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::model::time::millis;

/// How long the last good version of a broken file goes on, unless the config says otherwise.
pub const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// A file that changed less than this ago may be half written: a good task waits before it is
/// called broken or gone.
const SETTLE_MS: i64 = 1000;

/// A file read so soon after its change could change again under the same time stamp.
const RACY_MS: i64 = 2000;

/// From this many files on they are read on several threads.
const PARALLEL_MIN_FILES: usize = 256;
const THREADS_MAX: usize = 4;
/// Files that are read before the first of them is taken over; bounds what waits in memory.
const READ_AHEAD_FILES: usize = 1024;

/// One task of the folder, good or not.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The last good version; `None` when there was none.
    pub definition: Option<Arc<Task>>,
    /// As shown to people.
    pub file: Arc<Path>,
    /// Since when the file is worse than `definition`, milliseconds since the epoch.
    pub stale_since: Option<i64>,
    /// When a stale `definition` is given up, milliseconds since the epoch.
    pub expires_ms: Option<i64>,
    pub diagnostics: Vec<Diagnostic>,
    /// What the definition says, unless the text of a broken file says `enabled: false`.
    pub enabled: bool,
    /// The file cannot be read as a task, but its text says `enabled: false`.
    pub text_says_disabled: bool,
    /// The file has been broken for so long that its definition only says which instants are skipped.
    pub expired: bool,
}

impl Entry {
    /// The definition to run by a schedule: good or stale, and switched on.
    #[must_use]
    pub fn runnable(&self) -> Option<&Arc<Task>> {
        self.definition.as_ref().filter(|_| self.enabled && !self.expired)
    }

    /// Of the bytes that the definition was read from.
    #[must_use]
    pub fn hash(&self) -> Option<Digest> {
        self.definition.as_ref().map(|task| task.hash)
    }

    /// The file as it stands now is no task that could run.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.definition.is_none() || self.stale_since.is_some()
    }
}

/// What a reload changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    pub added: Vec<TaskId>,
    /// A new good version.
    pub changed: Vec<TaskId>,
    /// Switched on or off, by a good file or by the text of a broken one.
    pub enabled: Vec<TaskId>,
    pub disabled: Vec<TaskId>,
    pub removed: Vec<TaskId>,
    /// Stopped being readable, or came unreadable.
    pub broken: Vec<TaskId>,
    /// Readable again.
    pub mended: Vec<TaskId>,
    /// Broken for so long that the last good version was given up.
    pub expired: Vec<TaskId>,
    /// A file looks half written: look again after [`RETRY_AFTER`].
    pub unsettled: bool,
}

/// When to look again at a file that seems half written.
pub const RETRY_AFTER: Duration = Duration::from_millis(400);

impl Change {
    /// Nothing that anyone would have to be told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self { unsettled: self.unsettled, ..Self::default() }
    }
}

/// What is known about a file, so that it is read again only when it changed.
#[derive(Debug)]
struct Seen {
    stamp: Option<Stamp>,
    /// The stamp may hide a further change.
    racy: bool,
    loose: Box<[Diagnostic]>,
}

/// Reads one folder again and again.
#[derive(Debug)]
pub struct Registry {
    root: PathBuf,
    /// What stands before a file's name where people see it.
    shown_root: PathBuf,
    rules: Rules,
    stale_max: Duration,
    seen: HashMap<PathBuf, Seen>,
    /// How many of `seen` this round of glances has looked at.
    glanced: usize,
    shared: Shared,
    texts: Texts,
    snapshot: Arc<Snapshot>,
}

impl Registry {
    /// An empty registry over `root`; the first [`Registry::reload`] fills it.
    #[must_use]
    pub fn new(root: PathBuf, rules: Rules) -> Self {
        let shown_root = root.file_name().map_or_else(|| root.clone(), PathBuf::from);
        Self {
            root,
            shown_root,
            rules,
            stale_max: STALE_MAX,
            seen: HashMap::new(),
            glanced: 0,
            shared: Shared::default(),
            texts: Texts::default(),
            snapshot: Arc::default(),
        }
    }

    /// Another time for which the last good version of a broken file goes on.
    #[must_use]
    pub fn stale_max(mut self, stale_max: Duration) -> Self {
        self.stale_max = stale_max;
        self
    }

    /// Another name for the folder where people see it.
    #[must_use]
    pub fn shown_as(mut self, shown_root: PathBuf) -> Self {
        self.shown_root = shown_root;
        self
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Other defaults or known names: every file is read again at the next reload.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        for seen in self.seen.values_mut() {
            seen.stamp = None;
        }
    }

    /// Looks at the folder and takes over what changed.
    ///
    /// A folder that is gone has no tasks; one that cannot be listed keeps those it had. Both are
    /// in [`Snapshot::loose`].
    pub fn reload(&mut self, now_ms: i64) -> Change {
        match scan::list(&self.root) {
            Ok(listed) => self.take_list(&listed, now_ms),
            Err(error) => {
                let mut change = Change::default();
                self.unlisted(&error, &mut change);
                change
            }
        }
    }

    fn take_list(&mut self, listed: &[Candidate], now_ms: i64) -> Change {
        let mut change = Change::default();
        let changed: Vec<&Candidate> = listed.iter().filter(|found| self.is_news(found)).collect();
        if changed.is_empty() && listed.len() == self.seen.len() && !self.expiry_is_due(now_ms) {
            return change;
        }
        let mut entries = self.snapshot.entries.clone();
        for part in changed.chunks(READ_AHEAD_FILES) {
            for (candidate, fresh) in part.iter().zip(self.read_all(part)) {
                self.take(&mut entries, &candidate.path, fresh, now_ms, &mut change);
            }
        }
        let closed = closed::closed(listed);
        self.forget(&mut entries, listed, &closed, now_ms, &mut change);
        self.expire(&mut entries, now_ms, &mut change);
        let loose: Vec<Diagnostic> = listed
            .iter()
            .filter_map(|found| self.seen.get(&found.path))
            .flat_map(|seen| seen.loose.iter().cloned())
            .collect();
        let mut snapshot = Snapshot::new(entries, loose);
        // What gives no task has one finding a file.
        snapshot.files += snapshot.loose.len();
        self.snapshot = Arc::new(Snapshot { closed, ..snapshot });
        change
    }

    fn is_news(&self, found: &Candidate) -> bool {
        match (&found.what, self.seen.get(&found.path)) {
            (What::File(stamp), Some(seen)) => seen.racy || seen.stamp != Some(*stamp),
            (What::File(_) | What::NoFile(_) | What::Hidden(_) | What::Folder(_), _) => true,
        }
    }

    fn read_all(&self, changed: &[&Candidate]) -> Vec<Fresh> {
        let one = |found: &&Candidate| {
            // An empty path would leave a slash at the end.
            let is_root = found.path.as_os_str().is_empty();
            let file = if is_root { self.shown_root.clone() } else { self.shown_root.join(&found.path) };
            Fresh::read(&self.root, &file, found, &self.rules, self.known(&found.path))
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        if changed.len() < PARALLEL_MIN_FILES || threads < 2 {
            return changed.iter().map(one).collect();
        }
        let share = changed.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let workers: Vec<_> = changed
                .chunks(share)
                .map(|part| (part, scope.spawn(move || part.iter().map(one).collect())))
                .collect();
            workers
                .into_iter()
                // A file that brings a thread down is read once more here, where it is seen.
                .flat_map(|(part, worker): (_, std::thread::ScopedJoinHandle<'_, Vec<Fresh>>)| {
                    worker.join().unwrap_or_else(|_| part.iter().map(one).collect())
                })
                .collect()
        })
    }

    fn take(
        &mut self,
        entries: &mut BTreeMap<TaskId, Arc<Entry>>,
        path: &Path,
        mut fresh: Fresh,
        now_ms: i64,
        change: &mut Change,
    ) {
        let age_ms = fresh.stamp.map_or(i64::MAX, |stamp| now_ms.saturating_sub(stamp.modified_ms()));
        let racy = (..RACY_MS).contains(&age_ms);
        if let Some(seen) = self.seen.get_mut(path).filter(|_| fresh.is_same) {
            *seen = Seen { stamp: fresh.stamp, racy, loose: std::mem::take(&mut seen.loose) };
            return;
        }
        let before = fresh.id.as_ref().and_then(|id| entries.get(id));
        let was_good = before.is_some_and(|entry| !entry.is_broken());
        let had_one = before.is_some_and(|entry| entry.definition.is_some());
        if had_one || fresh.id.as_ref().is_some_and(|id| self.texts.keeps(id)) {
            fresh.was_a_task();
        }
        if was_good && (0..SETTLE_MS).contains(&age_ms) && fresh.looks_half_written() {
            change.unsettled = true;
            return;
        }
        let mut stamp = fresh.stamp;
        let loose = match (fresh.id, fresh.parsed) {
            (Some(id), Some(Parsed::Task { mut task, says_disabled, diagnostics })) => {
                if let Some(task) = &mut task {
                    self.shared.take(task);
                    if !self.texts.take(&id, task.hash, fresh.text) {
                        // Read once more when there is room for it.
                        stamp = None;
                        change.unsettled = true;
                    }
                }
                let next = merge(before, task, says_disabled, diagnostics, fresh.file, now_ms);
                let next = self.lasting(next);
                note(&id, before, &next, change);
                entries.insert(id, Arc::new(next));
                Vec::new()
            }
            (id, Some(Parsed::NotATask(warning))) => {
                self.texts.forget(id.as_ref());
                remove(entries, id, change);
                warning.into_iter().collect()
            }
            (id, None) => {
                self.texts.forget(id.as_ref());
                remove(entries, id, change);
                fresh.loose
            }
            (None, Some(Parsed::Task { diagnostics, .. })) => diagnostics,
        };
        self.seen.insert(path.to_owned(), Seen { stamp, racy, loose: loose.into() });
    }

    /// A stale entry with the end of its time.
    fn lasting(&self, entry: Entry) -> Entry {
        let since = entry.stale_since.filter(|_| entry.definition.is_some() && !entry.expired);
        let expires_ms = since.map(|since| since.saturating_add(self.stale_max_ms()));
        Entry { expires_ms, ..entry }
    }

    /// Drops what is no longer in the folder, but for what may be in one that is `closed`.
    fn forget(
        &mut self,
        entries: &mut BTreeMap<TaskId, Arc<Entry>>,
        listed: &[Candidate],
        closed: &[PathBuf],
        now_ms: i64,
        change: &mut Change,
    ) {
        if listed.len() == self.seen.len() {
            return;
        }
        let mut seen = std::mem::take(&mut self.seen);
        seen.retain(|path, seen| {
            if listed.binary_search_by(|found| found.path.as_path().cmp(path)).is_ok() {
                return true;
            }
            if closed.iter().any(|folder| path.starts_with(folder)) {
                seen.stamp = None;
                self.close(entries, path, now_ms, change);
                return true;
            }
            let id = id_of(path).ok();
            self.texts.forget(id.as_ref());
            remove(entries, id, change);
            false
        });
        self.seen = seen;
    }

    /// Gives up last good versions that are older than allowed.
    fn expire(&self, entries: &mut BTreeMap<TaskId, Arc<Entry>>, now_ms: i64, change: &mut Change) {
        for (id, entry) in entries.iter_mut() {
            if entry.expires_ms.is_some_and(|at| at <= now_ms) {
                *entry = Arc::new(Entry { expired: true, expires_ms: None, ..(**entry).clone() });
                change.expired.push(id.clone());
            }
        }
    }

    fn expiry_is_due(&self, now_ms: i64) -> bool {
        self.snapshot.expires_ms.is_some_and(|at| at <= now_ms)
    }

    fn stale_max_ms(&self) -> i64 {
        millis(self.stale_max)
    }
}
