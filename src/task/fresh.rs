//! One file read anew, and the entry that follows from it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnose::{Diagnostic, Severity};
use super::parse::{self, Parsed, Rules};
use super::registry::{Change, Entry};
use super::scan::{self, Candidate, Content, Stamp, What};
use crate::model::ids::TaskId;
use crate::model::task::Task;

/// A file as it was just read.
pub struct Fresh {
    pub stamp: Option<Stamp>,
    pub id: Option<TaskId>,
    pub file: PathBuf,
    /// `None` when there is no text to judge; `loose` says why.
    pub parsed: Option<Parsed>,
    pub loose: Vec<Diagnostic>,
    /// What was read, of a good task.
    pub text: Option<Arc<[u8]>>,
    is_empty: bool,
}

impl Fresh {
    /// Reads what lies at `found` below `root`; people see it as `file`.
    pub fn read(root: &Path, file: &Path, found: &Candidate, rules: &Rules) -> Self {
        let file = file.to_owned();
        let id = id_of(&found.path);
        let mut fresh = Self {
            stamp: None,
            id: id.as_ref().ok().cloned(),
            file,
            parsed: None,
            loose: Vec::new(),
            text: None,
            is_empty: false,
        };
        let content = match &found.what {
            What::NoFile(kind) => Ok(Content::NoFile(kind)),
            What::Hidden(error) => Err(io::Error::from(error.kind())),
            What::File(_) => scan::read(&root.join(&found.path)),
        };
        let error =
            |code, message: String| Diagnostic::whole_file(&fresh.file, Severity::Error, code, message);
        let only =
            |found: Diagnostic| Parsed::Task { task: None, says_disabled: false, diagnostics: vec![found] };
        let parsed = match content {
            Ok(Content::Bytes(bytes, stamp)) => {
                fresh.stamp = Some(stamp);
                fresh.is_empty = bytes.iter().all(u8::is_ascii_whitespace);
                match &id {
                    Err(_) if is_loud(&found.path) => {
                        let has_fence = bytes.starts_with(b"---");
                        let warning =
                            || parse::not_read(&fresh.file, "the name ends in `.MD`", "name it `.md`");
                        Parsed::NotATask(has_fence.then(warning))
                    }
                    Ok(id) => {
                        let parsed = parse::parse(id, &fresh.file, &bytes, rules);
                        if matches!(parsed, Parsed::Task { task: Some(_), .. }) {
                            fresh.text = Some(Arc::from(bytes));
                        }
                        parsed
                    }
                    Err(why) if bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes).starts_with(b"---") => {
                        fresh.loose = vec![bad_name(&fresh.file, why)];
                        return fresh;
                    }
                    Err(_) => Parsed::NotATask(None),
                }
            }
            Ok(Content::TooLarge(bytes, stamp)) => {
                fresh.stamp = Some(stamp);
                only(parse::too_large(&fresh.file, bytes))
            }
            Ok(Content::NoFile(kind)) => {
                let message = format!("this is {kind}, not a file");
                fresh.loose = vec![error("E123", message).with_help("task files are regular files")];
                return fresh;
            }
            Err(failure) => {
                let message = format!("the file cannot be read: {failure}");
                let help = if failure.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
                    "a link that leads back to itself: put a file in its place"
                } else {
                    "let the daemon's user read it"
                };
                only(error("E122", message).with_help(help))
            }
        };
        fresh.parsed = Some(parsed);
        fresh
    }

    /// Emptied, or cut off in the middle: what a writer leaves that is not done yet.
    pub fn looks_half_written(&self) -> bool {
        match &self.parsed {
            Some(Parsed::Task { task: None, says_disabled, .. }) => !says_disabled,
            Some(Parsed::NotATask(_)) => self.is_empty,
            Some(Parsed::Task { task: Some(_), .. }) | None => false,
        }
    }
}

/// Named like a task, but for the case of its ending.
fn is_loud(path: &Path) -> bool {
    path.extension().is_some_and(|end| end != "md" && end.eq_ignore_ascii_case("md"))
}

fn bad_name(file: &Path, why: &str) -> Diagnostic {
    let message = format!("the name gives no task id: {why}");
    Diagnostic::whole_file(file, Severity::Error, "E124", message)
        .with_help("rename the file, for instance to `db-backup.md`")
}

/// The id that a path below the tasks folder gives.
pub fn id_of(path: &Path) -> Result<TaskId, String> {
    let Some(text) = path.to_str() else { return Err("it is not UTF-8".to_owned()) };
    TaskId::parse(text.strip_suffix(".md").unwrap_or(text)).map_err(|error| error.why.to_owned())
}

pub fn remove(entries: &mut BTreeMap<TaskId, Arc<Entry>>, id: Option<TaskId>, change: &mut Change) {
    if let Some(id) = id
        && entries.remove(&id).is_some()
    {
        change.removed.push(id);
    }
}

/// The entry that follows `before` when the file reads as it now does.
pub fn merge(
    before: Option<&Arc<Entry>>,
    task: Option<Box<Task>>,
    says_disabled: bool,
    diagnostics: Vec<Diagnostic>,
    file: PathBuf,
    now_ms: i64,
) -> Entry {
    if let Some(task) = task {
        let task: Arc<Task> = Arc::from(task);
        return Entry {
            enabled: task.enabled,
            file: Arc::clone(&task.file),
            definition: Some(task),
            stale_since: None,
            expires_ms: None,
            diagnostics,
            text_says_disabled: false,
            expired: false,
        };
    }
    let definition = before.and_then(|entry| entry.definition.clone());
    Entry {
        enabled: !says_disabled && definition.as_ref().is_some_and(|task| task.enabled),
        file: file.into(),
        stale_since: Some(before.and_then(|entry| entry.stale_since).unwrap_or(now_ms)),
        expires_ms: None,
        diagnostics,
        text_says_disabled: says_disabled,
        expired: before.is_some_and(|entry| entry.expired),
        definition,
    }
}

/// Says what happened between two entries of one task.
pub fn note(id: &TaskId, before: Option<&Arc<Entry>>, next: &Entry, change: &mut Change) {
    let id = id.clone();
    let Some(before) = before else {
        if next.is_broken() {
            change.broken.push(id.clone());
        }
        change.added.push(id);
        return;
    };
    match (before.is_broken(), next.is_broken()) {
        (false, true) => change.broken.push(id.clone()),
        (true, false) => change.mended.push(id.clone()),
        (true, true) | (false, false) => {}
    }
    match (before.enabled, next.enabled) {
        (false, true) => change.enabled.push(id.clone()),
        (true, false) => change.disabled.push(id.clone()),
        (true, true) | (false, false) => {}
    }
    if before.hash() != next.hash() {
        change.changed.push(id);
    }
}
