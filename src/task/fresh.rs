//! One file read anew, and the entry that follows from it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnose::{Diagnostic, Severity};
use super::off;
use super::parse::{self, Parsed, Rules};
use super::registry::{Change, Entry};
use super::scan::{self, Candidate, Content, Folder, Stamp, What};
use crate::model::digest::Digest;
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
    /// The bytes are those that were known; nothing else was looked at.
    pub is_same: bool,
    is_empty: bool,
    /// What was read says `enabled: false`, task or not.
    is_off: bool,
}

impl Fresh {
    /// Reads what lies at `found` below `root`; people see it as `file`. What says the same as `known` is not parsed.
    pub fn read(root: &Path, file: &Path, found: &Candidate, rules: &Rules, known: Option<Digest>) -> Self {
        let file = file.to_owned();
        let id = id_of(&found.path);
        let mut fresh = Self {
            stamp: None,
            id: id.as_ref().ok().cloned(),
            file,
            parsed: None,
            loose: Vec::new(),
            text: None,
            is_same: false,
            is_empty: false,
            is_off: false,
        };
        let content = match &found.what {
            What::Folder(why) => {
                fresh.loose = vec![left_out(&fresh.file, why)];
                return fresh;
            }
            What::NoFile(kind) => Ok(Content::NoFile(kind)),
            What::Hidden(error) => Err(io::Error::from(error.kind())),
            What::File(_) => scan::read(&root.join(&found.path)),
        };
        let error =
            |code, message: String| Diagnostic::whole_file(&fresh.file, Severity::Error, code, message);
        let only = |says_disabled, found: Diagnostic| Parsed::Task {
            task: None,
            says_disabled,
            diagnostics: vec![found],
        };
        let parsed = match content {
            Ok(Content::Bytes(bytes, stamp)) => {
                fresh.stamp = Some(stamp);
                fresh.is_same = known.is_some_and(|known| known == parse::hash_of(&bytes));
                if fresh.is_same {
                    return fresh;
                }
                fresh.is_empty = bytes.iter().all(u8::is_ascii_whitespace);
                fresh.parsed = fresh.judge(&id, &found.path, bytes, rules);
                return fresh;
            }
            Ok(Content::TooLarge(size, bytes, stamp)) => {
                fresh.stamp = Some(stamp);
                only(off::says_disabled(&bytes), parse::too_large(&fresh.file, size))
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
                only(false, error("E122", message).with_help(help))
            }
        };
        fresh.parsed = Some(parsed);
        fresh
    }

    /// What comes of the bytes; `None` where the name alone is wrong.
    fn judge(
        &mut self,
        id: &Result<TaskId, String>,
        path: &Path,
        bytes: Vec<u8>,
        rules: &Rules,
    ) -> Option<Parsed> {
        let is_fenced = bytes.strip_prefix(parse::BYTE_ORDER_MARK).unwrap_or(&bytes).starts_with(b"---");
        Some(match id {
            Err(_) if path.extension().is_none_or(|end| end != "md") => {
                Parsed::NotATask(is_fenced.then(|| bad_end(&self.file)))
            }
            Ok(id) => {
                let parsed = parse::parse(id, &self.file, &bytes, rules);
                match &parsed {
                    Parsed::Task { task: Some(_), .. } => self.text = Some(Arc::from(bytes)),
                    Parsed::NotATask(_) => self.is_off = off::says_disabled(&bytes),
                    Parsed::Task { task: None, .. } => {}
                }
                parsed
            }
            Err(why) if is_fenced => {
                self.loose = vec![bad_name(&self.file, why)];
                return None;
            }
            Err(_) => Parsed::NotATask(None),
        })
    }

    /// What was a task a moment ago is a broken one, not none.
    pub fn was_a_task(&mut self) {
        let Some(Parsed::NotATask(warning)) = &self.parsed else { return };
        let found = no_longer(&self.file, warning.as_ref(), self.is_empty);
        self.parsed = Some(Parsed::Task { task: None, says_disabled: self.is_off, diagnostics: vec![found] });
    }

    /// Emptied, or cut off in the middle: what a writer leaves that is not done yet.
    pub fn looks_half_written(&self) -> bool {
        matches!(&self.parsed, Some(Parsed::Task { task: None, says_disabled: false, .. }))
    }
}

/// What is said of a task whose file reads as none, with the reason where one was found.
fn no_longer(file: &Path, warning: Option<&Diagnostic>, is_empty: bool) -> Diagnostic {
    const END: &str = "to end the task, write `enabled: false` or remove the file";
    let plain = || {
        let why = if is_empty { "the file is empty" } else { "the file does not begin with a line `---`" };
        Diagnostic::whole_file(file, Severity::Error, "E127", why.to_owned())
    };
    let mut found = warning.cloned().unwrap_or_else(plain);
    let mend = found.help.take().map_or_else(String::new, |help| format!("{help}; "));
    let why = found.message.strip_prefix(parse::NOT_READ).unwrap_or(&found.message);
    let message = format!("no longer read as a task: {why}");
    Diagnostic { severity: Severity::Error, code: "E127", message, ..found }.with_help(mend + END)
}

fn left_out(folder: &Path, why: &Folder) -> Diagnostic {
    const RENAME: &str = "or start its name with `_` if it holds no tasks";
    let (severity, code, message, help) = match why {
        Folder::Closed(error) => (
            Severity::Error,
            "E126",
            format!("the folder cannot be listed: {error}"),
            format!("let the daemon's user read it, {RENAME}"),
        ),
        Folder::Crowded => (
            Severity::Error,
            "E126",
            format!("the folder holds more than {} task files; the others are left out", scan::FILES_MAX),
            "remove those that are not needed".to_owned(),
        ),
        Folder::Deep => (
            Severity::Warning,
            "W104",
            format!("the folder is left out: it is more than {} levels deep", scan::DEPTH_MAX),
            format!("move its tasks further up, {RENAME}"),
        ),
        Folder::Linked => (
            Severity::Warning,
            "W104",
            "the folder is left out: links to folders are not followed".to_owned(),
            format!("make it a folder and link the files in it, {RENAME}"),
        ),
    };
    Diagnostic::whole_file(folder, severity, code, message).with_help(help)
}

/// Named like a task, but for its ending.
fn bad_end(file: &Path) -> Diagnostic {
    let loud = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("md"));
    let why = if loud { "the name ends in `.MD`" } else { "the name does not end in `.md`" };
    parse::not_read(file, why, "name it `.md`")
}

fn bad_name(file: &Path, why: &str) -> Diagnostic {
    let message = format!("the name gives no task id: {why}");
    Diagnostic::whole_file(file, Severity::Error, "E124", message)
        .with_help("rename the file, for instance to `db-backup.md`")
}

/// The id that a path below the tasks folder gives.
pub fn id_of(path: &Path) -> Result<TaskId, String> {
    let Some(text) = path.to_str() else { return Err("it is not UTF-8".to_owned()) };
    let Some(text) = text.strip_suffix(".md") else { return Err("it does not end in `.md`".to_owned()) };
    TaskId::parse(text).map_err(|error| error.why.to_owned())
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
        // A file that was read again and says the same stays what others already hold.
        let known = before.and_then(|entry| entry.definition.as_ref()).filter(|known| ***known == *task);
        let task: Arc<Task> = known.map_or_else(|| Arc::from(task), Arc::clone);
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use crate::model::ids::TaskId;
    use crate::platform::clock::Clock;
    use crate::task::registry::Registry;
    use crate::task::tests::rules;

    #[test]
    fn a_file_that_is_read_again_and_says_the_same_is_the_same_task() {
        let dir = tempfile::TempDir::new().unwrap();
        let mut registry = Registry::new(dir.path().to_owned(), rules());
        let id = TaskId::parse("a").unwrap();
        let now_ms = Clock::system().wall_ms();
        let mut read = |text: &str, times: i64| {
            fs::write(dir.path().join("a.md"), text).unwrap();
            registry.reload(now_ms + times * 5000);
            registry.snapshot().definition(&id).unwrap()
        };
        let first = read("---\ncommand: ./x\nschedule: every 5m\n---\n", 1);
        let again = read("---\ncommand: ./x\nschedule: every 5m\n---\n", 2);
        assert!(Arc::ptr_eq(&first, &again));
        let other = read("---\ncommand: ./x\nschedule: every 6m\n---\n", 3);
        assert!(!Arc::ptr_eq(&first, &other));
        assert_ne!(first.schedule, other.schedule);
    }
}
