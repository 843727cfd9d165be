//! Folders that cannot be listed: what was known to be in them is neither gone nor good.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Change, Entry, Registry, Snapshot, Texts};
use crate::model::ids::TaskId;
use crate::task::diagnose::{Diagnostic, Severity};
use crate::task::fresh::{id_of, merge, note};
use crate::task::scan::{Candidate, Folder, What};

/// The folders among `listed` that nobody can look into.
pub(super) fn closed(listed: &[Candidate]) -> Vec<PathBuf> {
    let is_closed = |found: &&Candidate| matches!(found.what, What::Folder(Folder::Closed(_)));
    listed.iter().filter(is_closed).map(|found| found.path.clone()).collect()
}

impl Registry {
    /// The tasks folder itself is gone, or cannot be listed.
    pub(super) fn unlisted(&mut self, error: &io::Error, change: &mut Change) {
        let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        let (message, help) = if gone {
            let message = format!("the tasks folder {} is missing", self.root.display());
            (message, "create it, or correct `tasks_dir` in the config")
        } else {
            let message = format!("the tasks folder {} cannot be listed: {error}", self.root.display());
            (message, "let the daemon's user read it, or correct `tasks_dir` in the config")
        };
        let found = Diagnostic::whole_file(&self.root, Severity::Error, "E119", message).with_help(help);
        let entries = if gone {
            self.seen.clear();
            self.texts = Texts::default();
            change.removed = self.snapshot.entries.keys().cloned().collect();
            BTreeMap::new()
        } else {
            self.snapshot.entries.clone()
        };
        // Of a mount that is not there yet nothing is known either.
        let closed = vec![PathBuf::new()];
        self.snapshot = Arc::new(Snapshot { closed, ..Snapshot::new(entries, vec![found]) });
    }

    /// A task whose folder has been closed goes on as it last did, like one whose file cannot be read.
    pub(super) fn close(
        &self,
        entries: &mut BTreeMap<TaskId, Arc<Entry>>,
        path: &Path,
        now_ms: i64,
        change: &mut Change,
    ) {
        let Some((id, before)) = id_of(path).ok().and_then(|id| entries.remove_entry(&id)) else { return };
        let message = "the file cannot be read: its folder cannot be listed".to_owned();
        let found = Diagnostic::whole_file(&before.file, Severity::Error, "E122", message)
            .with_help("let the daemon's user read the folder");
        let file = before.file.to_path_buf();
        let next = merge(Some(&before), None, before.text_says_disabled, vec![found], file, now_ms);
        let next = self.lasting(next);
        note(&id, Some(&before), &next, change);
        entries.insert(id, Arc::new(next));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::task::registry::STALE_MAX;
    use crate::task::tests::rules;

    const GOOD: &str = "---\ncommand: ./x\nschedule: every 5m\n---\n";
    const NOW_MS: i64 = 4_000_000_000_000;

    /// Root may list every folder, so what cannot be listed is put into what was.
    fn reload(registry: &mut Registry, root: &Path, closed: &[&str], now_ms: i64) -> Change {
        let mut listed = crate::task::scan::list(root).unwrap();
        listed.retain(|found| !closed.iter().any(|folder| found.path.starts_with(folder)));
        listed.extend(closed.iter().map(|folder| Candidate {
            path: folder.into(),
            what: What::Folder(Folder::Closed(io::ErrorKind::PermissionDenied.into())),
        }));
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        registry.take_list(&listed, now_ms)
    }

    fn id(name: &str) -> TaskId {
        TaskId::parse(name).unwrap()
    }

    #[test]
    fn a_closed_folder_is_one_finding_and_leaves_the_others_alone() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        write("a.md", GOOD);
        write("sub.md", GOOD);
        write("sub/b.md", GOOD);
        let mut registry = Registry::new(dir.path().to_owned(), rules()).shown_as("tasks".into());
        registry.reload(NOW_MS);

        write("a.md", "---\ncommand: ./x\nenabled: false\n---\n");
        write("new.md", GOOD);
        let change = reload(&mut registry, dir.path(), &["lost+found", "sub"], NOW_MS);
        assert_eq!((change.added, change.disabled), (vec![id("new")], vec![id("a")]));
        assert_eq!((change.broken, change.removed), (vec![id("sub/b")], vec![]));
        let snapshot = registry.snapshot();
        let loose: Vec<String> =
            snapshot.loose.iter().map(|found| format!("{} {}", found.code, found.position())).collect();
        assert_eq!(loose, ["E126 tasks/lost+found", "E126 tasks/sub"]);
        let entry = snapshot.get(&id("sub/b")).unwrap();
        assert!(entry.runnable().is_some() && entry.is_broken());
        assert_eq!(entry.diagnostics[0].code, "E122");
        assert!(snapshot.get(&id("sub")).unwrap().runnable().is_some(), "a file is not its folder");
        assert!(snapshot.hides(&id("sub/b")) && snapshot.hides(&id("sub/c")) && !snapshot.hides(&id("sub")));

        assert!(reload(&mut registry, dir.path(), &["sub"], NOW_MS).is_empty());
        let later = NOW_MS + crate::model::time::millis(STALE_MAX);
        assert_eq!(reload(&mut registry, dir.path(), &["sub"], later).expired, [id("sub/b")]);
        let change = registry.reload(later);
        assert_eq!((change.mended, change.removed), (vec![id("sub/b")], vec![]));
        assert!(registry.snapshot().closed.is_empty() && registry.snapshot().loose.is_empty());
        fs::remove_dir_all(dir.path().join("sub")).unwrap();
        assert_eq!(registry.reload(later).removed, [id("sub/b")]);
    }

    #[test]
    fn a_folder_that_nobody_may_list_is_no_error_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        fs::create_dir(&sub).unwrap();
        fs::write(dir.path().join("a.md"), GOOD).unwrap();
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o000)).unwrap();
        let listed = crate::task::scan::list(dir.path()).unwrap();
        // Root may list it.
        let is_open = fs::read_dir(&sub).is_ok();
        fs::set_permissions(&sub, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(closed(&listed), if is_open { vec![] } else { vec![PathBuf::from("sub")] });
        assert!(listed.iter().any(|found| found.path == Path::new("a.md")));
    }
}
