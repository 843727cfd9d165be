//! What a sync that was killed has left in a working copy: locks of its gits, and files that are half taken over.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Checkout, Entry, GITLINK};
use crate::platform::git::clean::bytes;
use crate::platform::git::{Budget, GitError, line};
use crate::platform::process;

/// Locks that a sync's gits may have held, in the git directory and in the shared one.
const LOCKS: [&str; 5] =
    ["index.lock", "HEAD.lock", "packed-refs.lock", "shallow.lock", "reftable/tables.list.lock"];
/// The mode of an entry that is a link, and of one that may be run.
const LINK: &str = "120000";
const PROGRAM: &str = "100755";

impl Checkout {
    /// Ends gits that a dead sync has left, and removes locks that are not older than `since`, where no other git
    /// is at work here.
    ///
    /// # Errors
    /// [`GitError::Locked`] by somebody's git.
    pub fn remove_left_locks(
        &self,
        since: SystemTime,
        remote: &str,
        branch: Option<&str>,
        budget: Budget,
    ) -> Result<(), GitError> {
        self.tree.end_leftovers();
        let (admin, common) = (&self.tree.admin, self.tree.repo.common());
        let mut locks: BTreeSet<PathBuf> =
            LOCKS.iter().flat_map(|name| [admin.join(name), common.join(name)]).collect();
        // A remote on this machine was written by gits that died with the sync.
        let near = self.remote_here(remote, budget);
        locks.extend(near.iter().flat_map(|dir| LOCKS.map(|name| dir.join(name))));
        if let Some(branch) = branch {
            locks.extend(near.iter().map(|dir| dir.join(format!("refs/heads/{branch}.lock"))));
            locks.insert(common.join(format!("refs/heads/{branch}.lock")));
            locks.insert(common.join(format!("refs/remotes/{remote}/{branch}.lock")));
        }
        let is_left = |lock: &PathBuf| {
            let touched = fs::symlink_metadata(lock).and_then(|metadata| metadata.modified());
            touched.is_ok_and(|touched| touched >= since)
        };
        locks.retain(is_left);
        let Some(first) = locks.first() else { return Ok(()) };
        let mut dirs: Vec<&Path> = vec![&self.tree.path, admin, common];
        dirs.extend(near.as_deref());
        let inside = process::processes_inside(&dirs);
        let pids: Vec<i32> = inside.into_iter().filter(|pid| is_git(*pid)).collect();
        if !pids.is_empty() {
            return Err(GitError::Locked { lock: first.clone(), pids });
        }
        for lock in &locks {
            fs::remove_file(lock).map_err(GitError::io(format!("removing {}", lock.display())))?;
        }
        Ok(())
    }

    /// The git directory of the remote, where it is a path on this machine.
    fn remote_here(&self, remote: &str, budget: Budget) -> Option<PathBuf> {
        let named = self.tree.call().read(["remote", "get-url", "--push", remote], budget).ok()?;
        let named = line(&named);
        let path = self.tree.path.join(named.strip_prefix("file://").unwrap_or(&named));
        let dirs = [path.join(".git"), path];
        dirs.into_iter()
            .find(|dir| dir.join("HEAD").is_file() && dir.join("objects").is_dir())?
            .canonicalize()
            .ok()
    }

    /// Puts files that were taken over from the tree `to`, wholly or in part, back as `from` has them. Whatever
    /// somebody has written there meanwhile is left alone.
    ///
    /// # Errors
    /// What git or the file system says.
    pub fn put_back(&self, from: &str, to: &str, budget: Budget) -> Result<(), GitError> {
        let (before, after) = (self.entries(from, budget)?, self.entries(to, budget)?);
        let paths: BTreeSet<&PathBuf> = before.keys().chain(after.keys()).collect();
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for path in paths {
            let (was, is) = (before.get(path), after.get(path));
            if was == is || [was, is].into_iter().flatten().any(|entry| entry.0 == GITLINK) {
                continue;
            }
            if self.is_of(path, was, budget)? {
                continue;
            }
            if self.is_of(path, is, budget)?
                || self.begins(path, is, budget)?
                || self.begins(path, was, budget)?
                || self.tree.path.join(path).symlink_metadata().is_err()
            {
                match was {
                    Some(_) => wanted.push(path),
                    None => unwanted.push(path),
                }
            }
        }
        for path in unwanted {
            self.remove(path)?;
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.own().write(["read-tree", "--reset", from], budget)?;
        let mut list = Vec::new();
        for path in wanted {
            list.extend_from_slice(bytes(path));
            list.push(0);
        }
        self.own().feed(["checkout-index", "--force", "-z", "--stdin"], &list, budget).map(drop)
    }

    /// Whether what lies at `path` is `entry`; for none, whether nothing lies there.
    fn is_of(&self, path: &Path, entry: Option<&Entry>, budget: Budget) -> Result<bool, GitError> {
        let full = self.tree.path.join(path);
        let (found, entry) = match (full.symlink_metadata(), entry) {
            (Err(_), entry) => return Ok(entry.is_none()),
            (Ok(_), None) => return Ok(false),
            (Ok(found), Some(entry)) => (found, entry),
        };
        let (mode, id) = entry;
        if found.is_symlink() != (mode == LINK) || found.is_dir() {
            return Ok(false);
        }
        if mode == LINK {
            let target = fs::read_link(&full).map_err(GitError::io(format!("reading {}", full.display())))?;
            return Ok(self.shared().read(["cat-file", "blob", id], budget)? == target.as_os_str().as_bytes());
        }
        if found.is_file() && (found.permissions().mode() & 0o100 != 0) != (mode == PROGRAM) {
            return Ok(false);
        }
        // As git would add it, whatever filters are set.
        let named = path.as_os_str();
        let args = ["hash-object".as_ref(), "--path".as_ref(), named, "--".as_ref(), full.as_os_str()];
        Ok(line(&self.tree.call().read(args, budget)?) == *id)
    }

    /// Whether the file at `path` is the beginning of `entry`, as one that git was writing when it died.
    fn begins(&self, path: &Path, entry: Option<&Entry>, budget: Budget) -> Result<bool, GitError> {
        let full = self.tree.path.join(path);
        let Some((mode, id)) = entry.filter(|_| full.symlink_metadata().is_ok_and(|found| found.is_file()))
        else {
            return Ok(false);
        };
        if mode == LINK {
            return Ok(false);
        }
        let mut there = Vec::new();
        let read = fs::File::open(&full).and_then(|mut file| file.read_to_end(&mut there));
        read.map_err(GitError::io(format!("reading {}", full.display())))?;
        let mut named = std::ffi::OsString::from("--path=");
        named.push(path);
        let args = ["cat-file".as_ref(), "--filters".as_ref(), named.as_os_str(), id.as_ref()];
        Ok(self.tree.call().read(args, budget)?.starts_with(&there))
    }

    /// Removes a file, and folders that hold nothing more.
    fn remove(&self, path: &Path) -> Result<(), GitError> {
        let full = self.tree.path.join(path);
        match fs::remove_file(&full) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(GitError::io(format!("removing {}", full.display()))(e)),
        }
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            if fs::remove_dir(self.tree.path.join(above)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn is_git(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("git"))
}
