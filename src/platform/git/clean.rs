//! The single steps that bring a worktree back to a commit. Each destroys something: whoever calls them has
//! the lease, has established identity and has rescued what there is.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::state::{BISECT_REST, LOCKS, OPERATIONS};
use super::{Budget, COOKIE, GitError, Head, Tree};
use crate::platform::{files, process};

/// How long leftovers of our own calls are looked for.
const SWEEP_MAX: Duration = Duration::from_millis(500);

/// Paths from a worktree's top that survive cleaning where git does not track them: caches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep(Vec<String>);

impl Keep {
    /// Slashes at the ends do not count.
    #[must_use]
    pub fn new(paths: &[String]) -> Self {
        Self(paths.iter().map(|path| path.trim_matches('/').to_owned()).filter(|p| !p.is_empty()).collect())
    }

    /// Whether `path`, as git prints it, is one of them or lies below one.
    pub(super) fn covers(&self, path: &[u8]) -> bool {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        self.0.iter().any(|keep| {
            path.strip_prefix(keep.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        })
    }

    /// Whether one of them lies below the folder `path`.
    pub(super) fn is_below(&self, path: &[u8]) -> bool {
        path.ends_with(b"/") && self.0.iter().any(|keep| keep.as_bytes().starts_with(path))
    }

    /// As a file of ignored paths, with `others`.
    pub(super) fn as_ignored(&self, others: &[PathBuf]) -> Vec<u8> {
        let others = others.iter().map(|path| path.to_string_lossy().into_owned());
        self.0
            .iter()
            .cloned()
            .chain(others)
            .map(|path| format!("/{}\n", literal(&path)))
            .collect::<String>()
            .into()
    }

    /// As patterns of `git clean -e`: only at the top, every special letter meant literally.
    fn patterns(&self) -> impl Iterator<Item = OsString> + '_ {
        self.0.iter().map(|keep| format!("--exclude=/{}", literal(keep)).into())
    }
}

/// A path as a pattern of ignored ones that means nothing else.
fn literal(path: &str) -> String {
    path.chars()
        .flat_map(|c| {
            let special = matches!(c, '*' | '?' | '[' | ']' | '\\' | '!' | '#' | ' ');
            special.then_some('\\').into_iter().chain([c])
        })
        .collect()
}

impl Tree {
    /// Ends calls of our own that an earlier daemon has left running here.
    pub fn end_leftovers(&self) {
        if !process::processes_inside(&[&self.path, &self.admin]).is_empty() {
            let _killed = process::sweep_cookie(COOKIE, &self.path.to_string_lossy(), &[], SWEEP_MAX);
        }
    }

    /// Removes the worktree's own locks, where no living process is in it.
    ///
    /// # Errors
    /// [`GitError::Locked`] with the processes.
    pub fn remove_locks(&self) -> Result<(), GitError> {
        let locks: Vec<PathBuf> =
            LOCKS.iter().map(|name| self.admin.join(name)).filter(|lock| lock.exists()).collect();
        let Some(first) = locks.first() else { return Ok(()) };
        let pids = process::processes_inside(&[&self.path, &self.admin]);
        if !pids.is_empty() {
            return Err(GitError::Locked { lock: first.clone(), pids });
        }
        locks.iter().try_for_each(|lock| remove(lock))
    }

    /// Removes those of the worktree's own locks that were last touched before `before`, where no living
    /// process is in it; gives what it removed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_old_locks(&self, before: SystemTime) -> Result<Vec<PathBuf>, GitError> {
        let is_old = |lock: &PathBuf| {
            let touched = fs::symlink_metadata(lock).and_then(|metadata| metadata.modified());
            touched.is_ok_and(|touched| touched < before)
        };
        let old: Vec<PathBuf> = LOCKS.iter().map(|name| self.admin.join(name)).filter(is_old).collect();
        if old.is_empty() || !process::processes_inside(&[&self.path, &self.admin]).is_empty() {
            return Ok(Vec::new());
        }
        old.iter().try_for_each(|lock| remove(lock))?;
        Ok(old)
    }

    /// Gives a HEAD that points nowhere a place to point to; git would not take this for a worktree without.
    ///
    /// # Errors
    /// What the file system says.
    pub fn mend_head(&self, commit: &str) -> Result<(), GitError> {
        match self.head_file()? {
            Head::Detached(_) | Head::Branch(_) => Ok(()),
            Head::Broken(_) => {
                let head = self.admin.join("HEAD");
                files::replace(&head, format!("{commit}\n").as_bytes(), 0o644)
                    .map_err(GitError::io(format!("writing {}", head.display())))
            }
        }
    }

    /// Ends whatever was begun by removing what git remembers of it. `--abort` is never run: it can fail,
    /// run hooks, and put HEAD back on a branch.
    ///
    /// # Errors
    /// What the file system or git says.
    pub fn forget_operations(&self, budget: Budget) -> Result<(), GitError> {
        for name in OPERATIONS.iter().chain(&BISECT_REST) {
            remove(&self.admin.join(name))?;
        }
        let bisect = self.admin.join("refs/bisect");
        if bisect.exists() {
            for name in self.bisect_refs(budget)? {
                self.call().write(["update-ref", "-d", &name], budget)?;
            }
            remove(&bisect)?;
        }
        Ok(())
    }

    fn bisect_refs(&self, budget: Budget) -> Result<Vec<String>, GitError> {
        let out = self.call().read(["for-each-ref", "--format=%(refname)", "refs/bisect/"], budget)?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }

    /// # Errors
    /// What git says.
    pub fn disable_sparse(&self, budget: Budget) -> Result<(), GitError> {
        self.call().write(["sparse-checkout", "disable"], budget).map(drop)
    }

    /// Takes the list of files away, and with it every mark that hides changes; the next step makes a new one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove_index(&self) -> Result<(), GitError> {
        remove(&self.admin.join("index"))
    }

    /// Puts HEAD and all tracked files at `commit`, on no branch.
    ///
    /// # Errors
    /// What git says.
    pub fn detach(&self, commit: &str, budget: Budget) -> Result<(), GitError> {
        self.call().write(["checkout", "--quiet", "--force", "--detach", commit], budget).map(drop)
    }

    /// # Errors
    /// What git says.
    pub fn reset(&self, commit: &str, budget: Budget) -> Result<(), GitError> {
        self.call().write(["reset", "--quiet", "--hard", commit], budget).map(drop)
    }

    /// Deletes what git does not track, repositories within included, but not what is to be kept.
    ///
    /// # Errors
    /// What git says.
    pub fn clean(&self, keep: &Keep, budget: Budget) -> Result<(), GitError> {
        let args = ["clean", "--quiet", "-ffdx"].map(OsString::from).into_iter();
        self.call().write(args.chain(keep.patterns()), budget).map(drop)
    }

    /// Forgets submodules before cleaning and brings them back after it.
    ///
    /// # Errors
    /// What git says.
    pub fn remove_submodules(&self, budget: Budget) -> Result<(), GitError> {
        if !self.has_submodules() {
            return Ok(());
        }
        self.call().write(["submodule", "--quiet", "deinit", "--force", "--all"], budget).map(drop)
    }

    /// # Errors
    /// What git says; a submodule's own remote may not answer.
    pub fn update_submodules(&self, budget: Budget) -> Result<(), GitError> {
        if !self.has_submodules() {
            return Ok(());
        }
        let args = ["submodule", "--quiet", "update", "--init", "--recursive"];
        self.call().write(args, budget).map(drop)
    }

    fn has_submodules(&self) -> bool {
        self.path.join(".gitmodules").symlink_metadata().is_ok()
    }

    /// Makes `branch` here and checks it out.
    ///
    /// # Errors
    /// What git says: the name may be taken, or no name at all.
    pub fn make_branch(&self, branch: &str, budget: Budget) -> Result<(), GitError> {
        self.call().write(["checkout", "--quiet", "--no-track", "-b", branch], budget).map(drop)
    }
}

/// A file or a folder with all in it; one that is not there is fine. Never follows a link.
fn remove(path: &Path) -> Result<(), GitError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(GitError::io(format!("removing {}", path.display()))(e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A path as git takes it in its own formats.
pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_kept_at_the_top_only() {
        let keep = Keep::new(&["target/".to_owned(), "web/node_modules".to_owned(), String::new()]);
        for kept in ["target", "target/", "target/debug/x", "web/node_modules/"] {
            assert!(keep.covers(kept.as_bytes()), "{kept}");
        }
        for other in ["targets", "web/", "sub/target", "web/node_modules2"] {
            assert!(!keep.covers(other.as_bytes()), "{other}");
        }
        assert!(keep.is_below(b"web/") && !keep.is_below(b"we"));
        let odd = Keep::new(&["a b*".to_owned()]);
        assert_eq!(odd.patterns().collect::<Vec<_>>(), ["--exclude=/a\\ b\\*"]);
    }
}
