//! Every finding about some files or folders, without a daemon: what `lucid check` shows.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde_json::json;

use super::diagnose::{Diagnostic, Severity};
use super::fresh::Fresh;
use super::parse::{Parsed, Rules};
use super::registry::Registry;
use super::scalars::shown;
use super::scan;
use crate::model::schedule::code;
use crate::model::task::Task;

/// Dates that tell how often an ambiguous schedule is due.
const DATES: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// By file, then place.
    pub diagnostics: Vec<Diagnostic>,
    /// Task files looked at, and what was meant to be one; other files do not count.
    pub files: usize,
}

impl Report {
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == severity).count()
    }

    /// Files with at least one finding of that weight.
    #[must_use]
    pub fn files_with(&self, severity: Severity) -> usize {
        let files: BTreeSet<&Path> = self
            .diagnostics
            .iter()
            .filter(|found| found.severity == severity)
            .map(|found| found.file.as_path())
            .collect();
        files.len()
    }

    /// The contract's document.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "schema_version": 1,
            "diagnostics": self.diagnostics.iter().map(Diagnostic::json).collect::<Vec<_>>(),
            "files": self.files,
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
        })
    }
}

/// Looks at `paths`, files or folders, each once; at `tasks_dir` when there are none. What is missing is a finding.
#[must_use]
pub fn check(paths: &[PathBuf], tasks_dir: &Path, rules: &Rules, now: Timestamp) -> Report {
    let mut report = Report::default();
    let rules = &Rules { now: Some(now), ..rules.clone() };
    if paths.is_empty() {
        folder(tasks_dir, tasks_dir.file_name().map(Path::new), rules, now, &mut report);
    }
    let mut done = BTreeSet::new();
    for path in paths {
        if !done.insert(placed(path)) {
            continue;
        }
        match fs::metadata(path).or_else(|_| fs::symlink_metadata(path)) {
            Ok(meta) if meta.is_dir() && !is_named_like_a_task(path, tasks_dir) => {
                folder(path, Some(path), rules, now, &mut report);
            }
            Ok(_) => file(path, tasks_dir, rules, now, &mut report),
            Err(error) => missing(path, &error, &mut report),
        }
    }
    report.diagnostics.sort_by(|a, b| (&a.file, a.place.line).cmp(&(&b.file, b.place.line)));
    report.diagnostics.dedup();
    report
}

/// Where a name really lies, without following the name itself: two links to one file are two tasks.
fn placed(path: &Path) -> PathBuf {
    let whole = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            fs::canonicalize(folder).map(|folder| folder.join(name))
        }
        _ => fs::canonicalize(path),
    };
    whole.unwrap_or_else(|_| path.to_owned())
}

/// A folder that is a mistake wherever it lies, unless it is the tasks folder itself.
fn is_named_like_a_task(folder: &Path, tasks_dir: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    folder.extension().is_some_and(|end| end == "md") && whole(folder) != whole(tasks_dir)
}

fn missing(path: &Path, error: &io::Error, report: &mut Report) {
    report.files += 1;
    let message = format!("the file cannot be read: {error}");
    let found = Diagnostic::whole_file(path, Severity::Error, "E122", message);
    report.diagnostics.push(found.with_help("correct the path"));
}

fn folder(path: &Path, shown: Option<&Path>, rules: &Rules, now: Timestamp, report: &mut Report) {
    let mut registry = Registry::new(path.to_owned(), rules.clone());
    if let Some(shown) = shown {
        registry = registry.shown_as(shown.to_owned());
    }
    // Nothing was known before, so nothing depends on what time it is.
    registry.reload(0);
    let snapshot = registry.snapshot();
    report.files += snapshot.files;
    report.diagnostics.extend(snapshot.loose.iter().cloned());
    for entry in snapshot.entries.values() {
        let task = entry.definition.as_deref();
        report.diagnostics.extend(entry.diagnostics.iter().cloned().map(|found| dated(found, task, now)));
    }
}

/// A schedule that is due more often than it looks is best told by its dates.
fn dated(mut found: Diagnostic, task: Option<&Task>, now: Timestamp) -> Diagnostic {
    if let Some(task) = task.filter(|_| found.code == code::EITHER_DAY) {
        let next: Vec<String> = task
            .coming(now, now, DATES)
            .iter()
            .map(|fire| {
                fire.at.to_zoned(task.settings.zone.tz().clone()).strftime("%a %-d %b %H:%M").to_string()
            })
            .collect();
        let help = found.help.take().map_or_else(String::new, |help| help + "; ");
        found.help = Some(format!("{help}next: {}", next.join(", ")));
    }
    found
}

/// The part of a name that keeps lucid from reading what is so called.
fn unread_part(name: &Path) -> Option<&str> {
    name.components().find_map(|part| match part {
        Component::Normal(part) => part.to_str().filter(|part| part.starts_with(['_', '.'])),
        _ => None,
    })
}

/// A file's id is its path below `tasks_dir`, if it lies there.
fn file(path: &Path, tasks_dir: &Path, rules: &Rules, now: Timestamp, report: &mut Report) {
    let whole = placed(path);
    let root = fs::canonicalize(tasks_dir).ok().filter(|root| whole.starts_with(root));
    let root = root.or_else(|| whole.parent().map(Path::to_owned)).unwrap_or_default();
    let name = whole.strip_prefix(&root).unwrap_or(&whole).to_owned();
    if let Some(part) = unread_part(&name) {
        let message = format!("no task: `{}` starts with `{}`", shown(part), &part[..1]);
        let found = Diagnostic::whole_file(path, Severity::Info, "I102", message);
        report.diagnostics.push(found.with_help("rename it if it is meant to run"));
        return;
    }
    let Some(candidate) = scan::look(&root, name) else { return };
    let fresh = Fresh::read(&root, path, &candidate, rules, None);
    match fresh.parsed {
        Some(Parsed::Task { task, diagnostics, .. }) => {
            report.files += 1;
            let dated = |found| dated(found, task.as_deref(), now);
            report.diagnostics.extend(diagnostics.into_iter().map(dated));
        }
        Some(Parsed::NotATask(warning)) => {
            report.files += usize::from(warning.is_some());
            report.diagnostics.extend(warning);
        }
        None => {
            report.files += 1;
            report.diagnostics.extend(fresh.loose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::here::{Here, Secrets};
    use super::super::tests::rules;
    use super::*;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    fn now() -> Timestamp {
        "2026-11-26T11:30:00Z".parse().unwrap()
    }

    #[test]
    fn files_and_folders_are_counted_and_files_that_are_no_tasks_are_not() {
        let corpus = Path::new(ROOT).join("tests/corpus");
        let paths = ["flag-typo.md", "not-a-task.md", "key-on.md"].map(|name| corpus.join(name));
        let report = check(&paths, Path::new("/nowhere"), &rules(), now());
        assert_eq!((report.files, report.count(Severity::Error), report.count(Severity::Warning)), (2, 1, 1));
        let json = report.json();
        assert_eq!((&json["schema_version"], &json["errors"]), (&json!(1), &json!(1)));
        assert_eq!(json["diagnostics"][0]["code"], "E103");

        let whole = check(&[corpus], Path::new("/nowhere"), &rules(), now());
        assert!(whole.files > 120 && whole.files_with(Severity::Error) > 90);
        let missing = check(&[], Path::new("/nowhere"), &rules(), now());
        assert_eq!(missing.diagnostics[0].code, "E119");
        let missing = check(&[], Path::new("/nowhere/tasks"), &rules(), now());
        assert_eq!(missing.diagnostics[0].file, Path::new("/nowhere/tasks"));
    }

    #[test]
    fn names_that_are_no_ids_and_things_that_are_no_files_count() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("My Task.md"), "---\ncommand: x\n---\n").unwrap();
        std::fs::write(dir.path().join("good.md"), "---\ncommand: x\n---\n").unwrap();
        std::fs::write(dir.path().join("LOUD.MD"), "---\ncommand: x\n---\n").unwrap();
        std::fs::write(dir.path().join("READ.MD"), "# Notes\n").unwrap();
        std::fs::write(dir.path().join("notes.md"), "# Notes\n").unwrap();
        std::fs::create_dir(dir.path().join("folder.md")).unwrap();
        let report = check(&[dir.path().to_owned()], Path::new("/nowhere"), &rules(), now());
        assert_eq!((report.files, report.files_with(Severity::Error)), (4, 2));
        let warnings: Vec<_> = report.diagnostics.iter().filter(|found| found.code == "W103").collect();
        assert!(warnings.len() == 1 && warnings[0].file.ends_with("LOUD.MD"), "{warnings:?}");
    }

    #[test]
    fn each_path_that_is_named_gets_its_own_word() {
        let dir = tempfile::tempdir().unwrap();
        let good = "---\ncommand: x\n---\n";
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("dir.md")).unwrap();
        std::fs::create_dir(path("_old")).unwrap();
        for name in ["a.md", "_draft.md", ".hid.md", "_old/x.md", "plain", "notes.txt"] {
            std::fs::write(path(name), if name == "notes.txt" { "words" } else { good }).unwrap();
        }
        let told = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            let report = check(&paths, dir.path(), &rules(), now());
            (report.files, report.diagnostics.iter().map(|found| found.code).collect::<Vec<_>>())
        };
        assert_eq!(told(&["gone.md", "a.md"]), (2, vec!["E122"]));
        assert_eq!(told(&["a.md", "a.md", "dir.md/../a.md"]), (1, vec![]));
        assert_eq!(told(&["_draft.md", ".hid.md", "_old/x.md"]), (0, vec!["I102", "I102", "I102"]));
        assert_eq!(told(&["plain", "notes.txt"]), (1, vec!["W103"]));
        assert_eq!(told(&["dir.md"]), (1, vec!["E123"]));
        std::os::unix::fs::symlink("_old/x.md", path("link.md")).unwrap();
        assert_eq!(told(&["link.md", "a.md"]), (2, vec![]));
        let itself = check(&[path("dir.md")], &path("dir.md"), &rules(), now());
        assert_eq!(itself.diagnostics, []);
    }

    #[test]
    fn what_a_task_names_and_is_not_there_is_a_warning_where_it_is_to_run() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.md");
        let front =
            "command: x\nworking_dir: ./sub\nenv_file: ~/x.env\nshell: /bin/nosh\nsecrets: [KEY, OTHER]\n";
        std::fs::write(&file, format!("---\n{front}---\n")).unwrap();
        std::fs::write(dir.path().join("off.md"), format!("---\nenabled: false\n{front}---\n")).unwrap();
        let root = dir.path().to_owned();
        let codes = |here: Option<Here>| {
            let rules = Rules { here, ..rules() };
            let report = check(std::slice::from_ref(&root), Path::new("/nowhere"), &rules, now());
            report.diagnostics.iter().map(|found| found.code).collect::<Vec<_>>()
        };
        let secrets =
            Some(Secrets::File { names: BTreeSet::from(["OTHER".to_owned()]), short: BTreeSet::new() });
        let here = Here { root: root.clone(), home: Some(root.clone()), secrets };
        assert_eq!(codes(None), [""; 0], "elsewhere nobody can tell");
        assert_eq!(codes(Some(here.clone())), ["W304", "W305", "W306", "W307"]);
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let short = Some(Secrets::File { names: set(&["KEY", "OTHER"]), short: set(&["KEY"]) });
        assert_eq!(codes(Some(Here { secrets: short, ..here.clone() }))[3..], ["W308"]);
        let nowhere = Here { secrets: Some(Secrets::NoFile), ..here.clone() };
        assert_eq!(codes(Some(nowhere))[3..], ["W307", "W307"]);
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("x.env"), "A=1\n").unwrap();
        assert_eq!(codes(Some(Here { secrets: None, ..here })), ["W306"]);
    }

    #[test]
    fn a_schedule_with_both_days_is_told_by_its_dates() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.md");
        std::fs::write(&file, "---\nschedule: 0 8 1 * 1\ncommand: x\ntimezone: Africa/Johannesburg\n---\n")
            .unwrap();
        let dates =
            "next: Mon 30 Nov 08:00, Tue 1 Dec 08:00, Mon 7 Dec 08:00, Mon 14 Dec 08:00, Mon 21 Dec 08:00";
        for path in [file, dir.path().to_owned()] {
            let report = check(&[path], Path::new("/nowhere"), &rules(), now());
            let help = report.diagnostics[0].help.as_deref().unwrap();
            assert!(help.ends_with(dates), "{help}");
        }
    }
}
