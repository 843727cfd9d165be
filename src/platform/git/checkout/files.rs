//! What a sync does to a person's files, branch and index: the only steps that change something of theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Checkout, Entry, NOTHING, fields, path_of};
use crate::platform::git::clean::bytes;
use crate::platform::git::{Budget, GitError};

/// What becomes of a file of which another version is staged than was committed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// It may have been staged since.
    Stay,
    /// The file was committed as it lies there: what was staged of it before would take the rest back.
    Go,
}

impl Checkout {
    /// What is in the way of putting `to` into the place of `from`, which our index holds: files of theirs
    /// that git does not know, ignored ones among them, and changes that were not committed.
    ///
    /// # Errors
    /// What git says.
    pub fn in_the_way(&self, from: &str, to: &str, budget: Budget) -> Result<Vec<PathBuf>, GitError> {
        let mut way = Vec::new();
        let (before, after) = (self.entries(from, budget)?, self.entries(to, budget)?);
        for (path, entry) in &after {
            if before.get(path) == Some(entry) {
                continue;
            }
            let is_known = before.contains_key(path);
            if !is_known && self.is_taken(path, &before) {
                way.push(path.clone());
            }
        }
        if !way.is_empty() {
            return Ok(way);
        }
        match self.own().write(["read-tree", "-n", "-m", "-u", from, to], budget) {
            Ok(_) => Ok(way),
            Err(GitError::Failed { complaint, .. }) if complaint.contains('\'') => {
                // Git names the file between quotes.
                Ok(vec![complaint.split('\'').nth(1).unwrap_or_default().into()])
            }
            Err(e) => Err(e),
        }
    }

    /// Whether something that git did not know at `before` lies at `path`, or where a folder is to be.
    fn is_taken(&self, path: &Path, before: &BTreeMap<PathBuf, Entry>) -> bool {
        let top = &self.tree.path;
        match top.join(path).symlink_metadata() {
            Ok(found) if found.is_dir() => return holds_strangers(top, path, before),
            Ok(_) => return true,
            Err(_) => {}
        }
        let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        above.any(|above| {
            let is_no_folder = top.join(above).symlink_metadata().is_ok_and(|found| !found.is_dir());
            is_no_folder && !before.contains_key(above)
        })
    }

    /// Puts the files of `to` into the place of those of `from`; refused whole by git where something of
    /// theirs would be overwritten.
    ///
    /// # Errors
    /// What git says.
    pub fn take_over(&self, from: &str, to: &str, budget: Budget) -> Result<(), GitError> {
        self.own().write(["read-tree", "-m", "-u", from, to], budget).map(drop)
    }

    /// Moves the branch from `old` to `new` unless somebody has moved it meanwhile.
    ///
    /// # Errors
    /// What git says.
    pub fn move_branch(
        &self,
        branch: &str,
        old: Option<&str>,
        new: &str,
        budget: Budget,
    ) -> Result<(), GitError> {
        let name = format!("refs/heads/{branch}");
        let args = ["update-ref", "-m", "lucid: sync", &name, new, old.unwrap_or(NOTHING)];
        self.tree.call().write(args, budget).map(drop)
    }

    /// Brings their index from the tree `old` to `new`; what they have staged of other files stays staged.
    ///
    /// # Errors
    /// What git says.
    pub fn follow_index(
        &self,
        old: &str,
        new: &str,
        staged_halves: Halves,
        budget: Budget,
    ) -> Result<(), GitError> {
        let (before, after) = (self.entries(old, budget)?, self.entries(new, budget)?);
        let staged = self.staged(budget)?;
        let mut list = Vec::new();
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        for path in paths {
            let (was, is) = (before.get(path), after.get(path));
            let now = staged.get(path);
            let is_theirs = match staged_halves {
                Halves::Stay => now.map(Option::as_ref) != was.map(Some),
                // An entry in conflict is theirs to settle.
                Halves::Go => now.is_some_and(Option::is_none),
            };
            if was == is || is_theirs {
                continue;
            }
            let (mode, id) = is.map_or(("0", NOTHING), |(mode, id)| (mode, id));
            list.extend_from_slice(format!("{mode} {id}\t").as_bytes());
            list.extend_from_slice(bytes(path));
            list.push(0);
        }
        if !list.is_empty() {
            self.tree.call().feed(["update-index", "-z", "--index-info"], &list, budget)?;
        }
        // Only saves the next `git status` its work.
        let _ = self.tree.call().answer(["update-index", "-q", "--refresh"], 1, budget);
        Ok(())
    }

    /// Their index; none for a path in conflict.
    fn staged(&self, budget: Budget) -> Result<BTreeMap<PathBuf, Option<Entry>>, GitError> {
        let listed = self.tree.call().read(["ls-files", "-s", "-z"], budget)?;
        let mut entries = BTreeMap::new();
        for (head, path) in fields_of(&listed) {
            let [mode, id, stage] = head.split(' ').collect::<Vec<_>>()[..] else { continue };
            let entry = (stage == "0").then(|| (mode.to_owned(), id.to_owned()));
            entries.insert(path, entry);
        }
        Ok(entries)
    }

    pub(super) fn entries(&self, tree: &str, budget: Budget) -> Result<BTreeMap<PathBuf, Entry>, GitError> {
        let listed = self.shared().read(["ls-tree", "-r", "-z", "--full-tree", tree], budget)?;
        let mut entries = BTreeMap::new();
        for (head, path) in fields_of(&listed) {
            let [mode, _, id] = head.split(' ').collect::<Vec<_>>()[..] else { continue };
            entries.insert(path, (mode.to_owned(), id.to_owned()));
        }
        Ok(entries)
    }
}

/// What git says of each path, and the path.
pub(super) fn fields_of(listed: &[u8]) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, PathBuf)> {
    fields(listed).filter_map(|record| {
        let tab = record.iter().position(|b| *b == b'\t')?;
        Some((String::from_utf8_lossy(&record[..tab]), path_of(&record[tab + 1..])))
    })
}

/// Whether `dir`, which is to be a file, holds a file that git did not know at `before`.
fn holds_strangers(top: &Path, dir: &Path, before: &BTreeMap<PathBuf, Entry>) -> bool {
    let Ok(entries) = fs::read_dir(top.join(dir)) else { return true };
    entries.flatten().any(|entry| {
        let path = dir.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => holds_strangers(top, &path, before),
            Ok(_) | Err(_) => !before.contains_key(&path),
        }
    })
}
