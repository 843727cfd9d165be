//! Every finding about some files or folders, without a daemon: what `lucid check` shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::diagnose::{Diagnostic, Severity};
use super::fresh::Fresh;
use super::parse::{Parsed, Rules};
use super::registry::Registry;
use super::scan;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// By file, then place.
    pub diagnostics: Vec<Diagnostic>,
    /// Task files looked at; files that are no tasks do not count.
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

/// Looks at `paths`, files or folders; at `tasks_dir` when there are none.
///
/// # Errors
/// When a path cannot be looked at. A missing `tasks_dir` is a finding.
pub fn check(paths: &[PathBuf], tasks_dir: &Path, rules: &Rules) -> anyhow::Result<Report> {
    let mut report = Report::default();
    if paths.is_empty() {
        folder(tasks_dir, tasks_dir.file_name().map(Path::new), rules, &mut report);
    }
    for path in paths {
        let meta = fs::metadata(path)
            .or_else(|_| fs::symlink_metadata(path))
            .with_context(|| format!("looking at {}", path.display()))?;
        if meta.is_dir() {
            folder(path, Some(path), rules, &mut report);
        } else {
            file(path, tasks_dir, rules, &mut report);
        }
    }
    report.diagnostics.sort_by(|a, b| (&a.file, a.place.line).cmp(&(&b.file, b.place.line)));
    report.diagnostics.dedup();
    Ok(report)
}

fn folder(path: &Path, shown: Option<&Path>, rules: &Rules, report: &mut Report) {
    let mut registry = Registry::new(path.to_owned(), rules.clone());
    if let Some(shown) = shown {
        registry = registry.shown_as(shown.to_owned());
    }
    // Nothing was known before, so nothing depends on what time it is.
    registry.reload(0);
    let snapshot = registry.snapshot();
    report.files += snapshot.files;
    report.diagnostics.extend(snapshot.diagnostics().cloned());
}

/// A file that is named is looked at whatever its name; its id is its path below `tasks_dir`, if it
/// lies there.
fn file(path: &Path, tasks_dir: &Path, rules: &Rules, report: &mut Report) {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let root = fs::canonicalize(tasks_dir).ok().filter(|root| whole.starts_with(root));
    let root = root.or_else(|| whole.parent().map(Path::to_owned)).unwrap_or_default();
    let name = whole.strip_prefix(&root).unwrap_or(&whole).to_owned();
    let Some(candidate) = scan::look(&root, name) else { return };
    let fresh = Fresh::read(&root, path, &candidate, rules);
    match fresh.parsed {
        Some(Parsed::Task { diagnostics, .. }) => {
            report.files += 1;
            report.diagnostics.extend(diagnostics);
        }
        Some(Parsed::NotATask(warning)) => report.diagnostics.extend(warning),
        None => {
            report.files += 1;
            report.diagnostics.extend(fresh.loose);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    /// What a new user reads first has nothing to mend, also without any agent profile.
    #[test]
    fn the_shipped_tasks_are_clean() {
        let mut rules = rules();
        rules.known.profiles.clear();
        rules.known.pools.clear();
        rules.known.actions = &["db-backup", "ticket-pickup"];
        let report = check(&[], &Path::new(ROOT).join("tasks"), &rules).unwrap();
        assert!(report.files >= 6);
        let found: Vec<String> = report.diagnostics.iter().map(Diagnostic::short).collect();
        assert_eq!(found, ["tasks/agent-brief.md:5:8: info[I307]: there is no agent profile `claude`"]);
    }

    #[test]
    fn files_and_folders_are_counted_and_files_that_are_no_tasks_are_not() {
        let corpus = Path::new(ROOT).join("tests/corpus");
        let paths = ["flag-typo.md", "not-a-task.md", "key-on.md"].map(|name| corpus.join(name));
        let report = check(&paths, Path::new("/nowhere"), &rules()).unwrap();
        assert_eq!((report.files, report.count(Severity::Error), report.count(Severity::Warning)), (2, 1, 1));
        let json = report.json();
        assert_eq!((&json["schema_version"], &json["errors"]), (&json!(1), &json!(1)));
        assert_eq!(json["diagnostics"][0]["code"], "E103");

        let whole = check(&[corpus], Path::new("/nowhere"), &rules()).unwrap();
        assert!(whole.files > 120 && whole.files_with(Severity::Error) > 90);
        assert!(check(&["/nowhere/x.md".into()], Path::new("/nowhere"), &rules()).is_err());
        let missing = check(&[], Path::new("/nowhere"), &rules()).unwrap();
        assert_eq!(missing.diagnostics[0].code, "E119");
    }
}
