//! What the task files came to at one moment, and what is asked of all of them together. It only answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Entry;
use crate::model::ids::TaskId;
use crate::model::task::{Kind, Task};
use crate::task::diagnose::{Diagnostic, Severity};

/// The folder at one moment. Never changes.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub entries: BTreeMap<TaskId, Arc<Entry>>,
    /// Findings that belong to no task: names that are no ids, a folder that is missing.
    pub loose: Vec<Diagnostic>,
    /// Folders that could not be listed, by their paths below the tasks folder; its own, missing or not, is empty.
    pub closed: Vec<PathBuf>,
    /// Task files seen, readable or not.
    pub files: usize,
    /// Tasks that are switched on.
    pub enabled: usize,
    /// Tasks without any definition that counts.
    pub broken: usize,
    /// Those that are built-ins: few among many, and asked for with every look at how things stand.
    pub(super) actions: Vec<TaskId>,
    /// When the first stale definition is given up, milliseconds since the epoch.
    pub(super) expires_ms: Option<i64>,
    /// Those with errors in their files, likewise.
    pub(super) faulty: Vec<TaskId>,
}

impl Snapshot {
    pub(super) fn new(entries: BTreeMap<TaskId, Arc<Entry>>, loose: Vec<Diagnostic>) -> Self {
        let enabled = entries.values().filter(|entry| entry.enabled).count();
        let broken = entries.values().filter(|entry| entry.definition.is_none()).count();
        let is_action = |entry: &Entry| {
            entry.definition.as_ref().is_some_and(|task| matches!(task.kind, Kind::Action(_)))
        };
        let those = |is_one: &dyn Fn(&Entry) -> bool| {
            entries.iter().filter(|(_, entry)| is_one(entry)).map(|(id, _)| id.clone()).collect()
        };
        let (actions, faulty) = (those(&is_action), those(&|entry| entry.diagnostics.iter().any(is_error)));
        let files = entries.len();
        let expires_ms = entries.values().filter_map(|entry| entry.expires_ms).min();
        Self { closed: Vec::new(), files, enabled, broken, entries, loose, actions, expires_ms, faulty }
    }

    /// The tasks that do the built-in `action`, switched on or not, by id.
    pub fn doing(&self, action: &str) -> impl Iterator<Item = (&TaskId, &Arc<Entry>)> {
        self.actions.iter().filter_map(|id| self.entries.get_key_value(id)).filter(move |(_, entry)| {
            entry
                .definition
                .as_ref()
                .is_some_and(|task| matches!(&task.kind, Kind::Action(name) if name == action))
        })
    }

    #[must_use]
    pub fn get(&self, id: &TaskId) -> Option<&Arc<Entry>> {
        self.entries.get(id)
    }

    /// Whether a task that is not here may be there all the same, in a folder that could not be listed.
    #[must_use]
    pub fn hides(&self, id: &TaskId) -> bool {
        let path = Path::new(id.as_str());
        self.closed.iter().any(|folder| path != folder && path.starts_with(folder))
    }

    /// Every task, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&TaskId, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// The definition of `id` that counts, switched on or not.
    #[must_use]
    pub fn definition(&self, id: &TaskId) -> Option<Arc<Task>> {
        self.entries.get(id)?.definition.clone()
    }

    /// Everything that is to be said, in the order of the files.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.loose.iter().chain(self.entries.values().flat_map(|entry| entry.diagnostics.iter()))
    }

    /// The errors among them.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let faulty = self.faulty.iter().filter_map(|id| self.entries.get(id));
        let found = self.loose.iter().chain(faulty.flat_map(|entry| entry.diagnostics.iter()));
        found.filter(|found| is_error(found))
    }

    /// How many files have errors, whether they give a task or not.
    #[must_use]
    pub fn files_with_errors(&self) -> usize {
        self.errors().map(|found| &found.file).collect::<BTreeSet<_>>().len()
    }
}

fn is_error(found: &Diagnostic) -> bool {
    found.severity == Severity::Error
}
