//! What a sync that was killed has left in a working copy: locks of its gits. Its files are for `back`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Checkout;
use crate::platform::git::{Budget, GitError, line};
use crate::platform::process;

/// Locks that a sync's gits may have held, in the git directory and in the shared one.
const LOCKS: [&str; 5] =
    ["index.lock", "HEAD.lock", "packed-refs.lock", "shallow.lock", "reftable/tables.list.lock"];

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
}

fn is_git(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("git"))
}
