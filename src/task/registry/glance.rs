//! Whether there is anything to read at all, found at little cost.

use std::path::Path;
use std::time::Duration;

use super::Registry;
use crate::model::digest::Digest;
use crate::task::fresh::id_of;
use crate::task::scan::{self, What};

/// Known files that a glance looks at. A larger folder takes several glances, so that a quiet one costs next to
/// nothing; only what the kernel does not tell waits for them (writes through memory, or by a name elsewhere).
const GLANCE_FILES: usize = 500;

/// When every file that was just read can be told from a later version by its stamp.
pub const LOOK_TWICE_AFTER: Duration = Duration::from_secs(3);

impl Registry {
    /// Whether a [`Registry::reload`] has something to take over, as far as the time and the next [`GLANCE_FILES`] of
    /// the known files tell. Names that are new are not looked for.
    pub fn glance(&mut self, now_ms: i64) -> bool {
        let from = if self.glanced < self.seen.len() { self.glanced } else { 0 };
        self.glanced = from + GLANCE_FILES;
        self.expiry_is_due(now_ms)
            || self.seen.values().any(|seen| seen.racy)
            || self.seen.iter().skip(from).take(GLANCE_FILES).any(|(path, seen)| {
                match scan::look(&self.root, path.clone()).map(|found| found.what) {
                    Some(What::File(stamp)) => seen.stamp != Some(stamp),
                    Some(What::NoFile(_) | What::Hidden(_) | What::Folder(_)) => seen.stamp.is_some(),
                    None => true,
                }
            })
    }

    /// What a good file said when it was last read: by the same rules the same bytes say it again.
    pub(super) fn known(&self, path: &Path) -> Option<Digest> {
        self.seen.get(path)?.stamp?;
        self.snapshot.get(&id_of(path).ok()?).filter(|entry| !entry.is_broken())?.hash()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::ids::TaskId;
    use crate::task::registry::STALE_MAX;
    use crate::task::tests::rules;

    const GOOD: &str = "---\ncommand: ./x\nschedule: every 5m\n---\n";
    /// Long after every file of a test was written.
    const NOW_MS: i64 = 4_000_000_000_000;

    fn round(registry: &mut Registry, files: usize) -> Vec<bool> {
        (0..files.div_ceil(GLANCE_FILES)).map(|_| registry.glance(NOW_MS)).collect()
    }

    #[test]
    fn one_round_of_glances_sees_every_file_that_changed_or_went() {
        let dir = tempfile::tempdir().unwrap();
        let files = 2 * GLANCE_FILES + 1;
        let path = |n: usize| dir.path().join(format!("t{n:04}.md"));
        for n in 0..files {
            fs::write(path(n), GOOD).unwrap();
        }
        fs::write(dir.path().join("notes.md"), "no task").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("broken.md")).unwrap();
        let files = files + 2;
        let mut registry = Registry::new(dir.path().to_owned(), rules());
        registry.reload(NOW_MS);
        assert_eq!(round(&mut registry, files), [false; 3], "nothing changed");
        for n in [0, files / 2, files - 3] {
            fs::write(path(n), GOOD.replace("5m", "6m")).unwrap();
            assert_eq!(round(&mut registry, files).into_iter().filter(|is_news| *is_news).count(), 1, "{n}");
            assert_eq!(registry.reload(NOW_MS).changed.len(), 1);
            assert_eq!(round(&mut registry, files), [false; 3]);
        }
        for name in ["t0007.md", "notes.md"] {
            fs::remove_file(dir.path().join(name)).unwrap();
            assert!(round(&mut registry, files).contains(&true), "{name}");
            registry.reload(NOW_MS);
        }
        fs::write(dir.path().join("nowhere"), GOOD).unwrap();
        assert!(round(&mut registry, files).contains(&true), "the link leads somewhere now");
    }

    #[test]
    fn what_time_alone_changes_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.md");
        fs::write(&file, GOOD).unwrap();
        let written_ms = scan::stamp(&file).unwrap().modified_ms();
        let mut registry = Registry::new(dir.path().to_owned(), rules());
        registry.reload(written_ms + 1);
        assert!(registry.glance(written_ms + 2), "it may have changed under the same time stamp");
        registry.reload(NOW_MS);
        assert!(!registry.glance(NOW_MS));
        registry.set_rules(rules());
        assert!(registry.glance(NOW_MS), "other rules may read it otherwise");
        registry.reload(NOW_MS);
        fs::write(&file, "---\nnonsense\n").unwrap();
        registry.reload(NOW_MS);
        assert!(!registry.glance(NOW_MS));
        assert!(
            registry.glance(NOW_MS + crate::model::time::millis(STALE_MAX)),
            "it has been broken too long"
        );
    }

    #[test]
    fn the_same_bytes_are_read_again_and_not_parsed_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.md");
        fs::write(&file, GOOD).unwrap();
        let (id, path) = (TaskId::parse("a").unwrap(), Path::new("a.md"));
        let mut registry = Registry::new(dir.path().to_owned(), rules());
        registry.reload(NOW_MS);
        let hash = registry.snapshot().get(&id).unwrap().hash();
        assert!(hash.is_some());
        assert_eq!(registry.known(path), hash);
        fs::write(&file, GOOD).unwrap();
        assert!(registry.glance(NOW_MS));
        assert!(registry.reload(NOW_MS).is_empty());
        assert!(!registry.glance(NOW_MS), "its new stamp is known");
        registry.set_rules(rules());
        assert_eq!(registry.known(path), None, "other rules read it anew");
        registry.reload(NOW_MS);
        fs::write(&file, "---\nnonsense\n").unwrap();
        registry.reload(NOW_MS);
        assert_eq!(registry.known(path), None, "what is broken has a reason to be read again");
        fs::write(&file, GOOD).unwrap();
        assert_eq!(registry.reload(NOW_MS).mended, [id]);
    }
}
