//! What git says about a worktree. Looks only, and takes no lock.
//!
//! libgit2 answers the common case without starting a process. What it finds unclean, or cannot read, git's
//! own program is asked about, whose word counts: it knows filters and formats that libgit2 does not.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::{ErrorCode, IndexEntryExtendedFlag, IndexEntryFlag, Repository, Status, StatusOptions};

use super::{Budget, GitError, Keep, Tree};

/// Files and folders in a worktree's git directory that tell of something half done, in the order in which
/// they are removed.
pub(super) const OPERATIONS: [&str; 15] = [
    "rebase-merge",
    "rebase-apply",
    "sequencer",
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "MERGE_AUTOSTASH",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "AUTO_MERGE",
    "SQUASH_MSG",
    "BISECT_START",
    "BISECT_LOG",
    "BISECT_NAMES",
];
/// More of bisect, which `git bisect` leaves behind in some of its ways out.
pub(super) const BISECT_REST: [&str; 5] =
    ["BISECT_TERMS", "BISECT_EXPECTED_REV", "BISECT_ANCESTORS_OK", "BISECT_RUN", "BISECT_FIRST_PARENT"];
/// Locks of the worktree alone.
pub(super) const LOCKS: [&str; 3] = ["index.lock", "HEAD.lock", "config.worktree.lock"];
/// Largest HEAD that is read, in bytes.
const HEAD_MAX_BYTES: u64 = 4096;

/// Where HEAD points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// At a commit, by its full id.
    Detached(String),
    Branch(String),
    /// Neither, as it stands in the file.
    Broken(String),
}

/// A worktree as git sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub head: Head,
    /// What has been begun and not ended: `rebase-merge`, `MERGE_HEAD`, …
    pub operations: Vec<&'static str>,
    /// The worktree's own locks.
    pub locks: Vec<PathBuf>,
    /// Entries that hide their changes: skip-worktree, assume-unchanged.
    pub flagged: u32,
    /// A sparse checkout.
    pub is_sparse: bool,
    /// The list of files cannot be read.
    pub is_broken: bool,
    pub changes: Changes,
}

/// Paths that differ, counted; what is to be kept is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tracked files that differ from HEAD, staged or not.
    pub tracked: u32,
    /// Of those, with something staged.
    pub staged: u32,
    pub untracked: u32,
    /// Files that git ignores.
    pub ignored: u32,
    /// Repositories within, submodules with work in them among them; relative to the top.
    pub nested: Vec<PathBuf>,
    /// A file among them says how others are written.
    pub attributes: bool,
}

impl Changes {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Something that a reset would destroy and nobody has called a cache.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.tracked > 0 || self.untracked > 0 || !self.nested.is_empty()
    }
}

impl State {
    /// Detached at `commit`, nothing begun, nothing changed, nothing hidden.
    #[must_use]
    pub fn is_clean_at(&self, commit: &str) -> bool {
        self.head == Head::Detached(commit.to_owned()) && self.dirt().is_empty()
    }

    /// More is wrong than a checkout can mend.
    #[must_use]
    pub fn is_tangled(&self) -> bool {
        !self.operations.is_empty()
            || !self.locks.is_empty()
            || self.flagged > 0
            || self.is_sparse
            || self.is_broken
            || !self.changes.nested.is_empty()
            || matches!(self.head, Head::Broken(_))
    }

    /// What is not as in a fresh worktree, in words, HEAD aside.
    #[must_use]
    pub fn dirt(&self) -> Vec<String> {
        let mut dirt: Vec<String> = self.operations.iter().map(|name| (*name).to_owned()).collect();
        dirt.extend(
            self.locks.iter().filter_map(|lock| Some(lock.file_name()?.to_string_lossy().into_owned())),
        );
        let mut count = |n: u32, what: &str| {
            if n > 0 {
                dirt.push(format!("{n} {what}"));
            }
        };
        count(self.changes.tracked, "changed");
        count(self.changes.untracked, "untracked");
        count(self.changes.ignored, "ignored");
        count(u32::try_from(self.changes.nested.len()).unwrap_or(u32::MAX), "nested repositories");
        count(self.flagged, "hidden from status");
        if self.is_sparse {
            dirt.push("sparse checkout".to_owned());
        }
        if self.is_broken {
            dirt.push("unreadable index".to_owned());
        }
        if let Head::Broken(text) = &self.head {
            dirt.push(format!("unreadable HEAD `{text}`"));
        }
        dirt
    }
}

impl Tree {
    /// How it stands now.
    ///
    /// # Errors
    /// When git cannot tell either; an index that is broken is an answer.
    pub fn inspect(&self, keep: &Keep, budget: Budget) -> Result<State, GitError> {
        let present = |names: &[&'static str]| {
            names.iter().copied().filter(|name| self.admin.join(name).symlink_metadata().is_ok()).collect()
        };
        let mut operations: Vec<&'static str> = present(&OPERATIONS);
        operations.extend::<Vec<_>>(present(&BISECT_REST));
        let locks: Vec<&str> = present(&LOCKS);
        let mut state = State {
            head: self.head_file()?,
            operations,
            locks: locks.into_iter().map(|name| self.admin.join(name)).collect(),
            flagged: 0,
            is_sparse: false,
            is_broken: false,
            changes: Changes::default(),
        };
        if let Ok(repo) = Repository::open(&self.path)
            && let Ok(found) = self.by_library(&repo, keep)
        {
            (state.flagged, state.is_sparse) = (found.flagged, found.is_sparse);
            if found.changes.is_none() {
                return Ok(state);
            }
        } else {
            self.flags_by_program(&mut state, budget)?;
        }
        self.changes_by_program(&mut state, keep, budget)?;
        Ok(state)
    }

    /// The commit that HEAD stands for, if there is one.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn head_commit(&self, budget: Budget) -> Result<Option<String>, GitError> {
        match self.head_file()? {
            Head::Detached(commit) => Ok(Some(commit)),
            Head::Branch(_) => {
                match self.call().read(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], budget) {
                    Ok(out) => Ok(Some(super::line(&out))),
                    Err(GitError::Failed { .. }) => Ok(None),
                    Err(e) => Err(e),
                }
            }
            Head::Broken(_) => Ok(None),
        }
    }

    /// HEAD as the file has it: it is one line and needs nobody's help to be read.
    pub(super) fn head_file(&self) -> Result<Head, GitError> {
        let path = self.admin.join("HEAD");
        let mut bytes = Vec::new();
        match fs::File::open(&path).and_then(|file| file.take(HEAD_MAX_BYTES).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(GitError::io(format!("reading {}", path.display()))(e)),
        }
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
        Ok(match text.strip_prefix("ref: refs/heads/") {
            Some(branch) => Head::Branch(branch.to_owned()),
            None if is_id => Head::Detached(text),
            None => Head::Broken(text),
        })
    }

    fn by_library(&self, repo: &Repository, keep: &Keep) -> Result<Library, git2::Error> {
        let elsewhere = || git2::Error::from_str("the library would look elsewhere");
        let top = repo.workdir().ok_or_else(elsewhere)?.canonicalize().map_err(|_| elsewhere())?;
        // What a submodule is to hide stands in files that the worktree brings along.
        if top != self.path || self.path.join(".gitmodules").symlink_metadata().is_ok() {
            return Err(elsewhere());
        }
        let config = repo.config()?.snapshot()?;
        let is_sparse = match config.get_bool("core.sparseCheckout") {
            Ok(is_sparse) => is_sparse,
            Err(e) if e.code() == ErrorCode::NotFound => false,
            Err(e) => return Err(e),
        };
        let mut flagged = 0;
        for entry in repo.index()?.iter() {
            let hides = entry.flags & IndexEntryFlag::VALID.bits() != 0
                || entry.flags_extended & IndexEntryExtendedFlag::SKIP_WORKTREE.bits() != 0;
            flagged += u32::from(hides);
        }
        let mut options = StatusOptions::new();
        options.include_untracked(true).recurse_untracked_dirs(false);
        options.include_ignored(true).recurse_ignored_dirs(false);
        options.exclude_submodules(false).update_index(false);
        let mut changes = Changes::default();
        for entry in repo.statuses(Some(&mut options))?.iter() {
            let (status, path) = (entry.status(), entry.path_bytes());
            changes.attributes |= is_attributes(path) && !keep.covers(path);
            if status.is_ignored() {
                changes.ignored += u32::from(!keep.covers(path) && !keep.is_below(path));
            } else if status == Status::WT_NEW {
                changes.untracked += u32::from(!keep.covers(path));
            } else if !status.is_empty() {
                changes.tracked += 1;
            }
        }
        Ok(Library { flagged, is_sparse, changes })
    }

    fn flags_by_program(&self, state: &mut State, budget: Budget) -> Result<(), GitError> {
        match self.call().read(["ls-files", "-v", "-z"], budget) {
            Ok(out) => {
                let hides =
                    |entry: &&[u8]| entry.first().is_some_and(|b| b.is_ascii_lowercase() || *b == b'S');
                state.flagged =
                    u32::try_from(out.split(|b| *b == 0).filter(hides).count()).unwrap_or(u32::MAX);
            }
            Err(GitError::Failed { .. }) => state.is_broken = true,
            Err(e) => return Err(e),
        }
        let sparse = self.call().read(["config", "--type=bool", "--get", "core.sparseCheckout"], budget);
        state.is_sparse = match sparse {
            Ok(out) => super::line(&out) == "true",
            Err(GitError::Failed { .. }) => false,
            Err(e) => return Err(e),
        };
        Ok(())
    }

    fn changes_by_program(&self, state: &mut State, keep: &Keep, budget: Budget) -> Result<(), GitError> {
        let args = [
            "status",
            "--porcelain=v2",
            "-z",
            "--no-renames",
            "--untracked-files=all",
            "--ignored=matching",
            "--ignore-submodules=none",
        ];
        match self.call().read(args, budget) {
            Ok(out) => state.changes = changes_in(&out, &self.path, keep),
            Err(GitError::Failed { .. }) => state.is_broken = true,
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

struct Library {
    flagged: u32,
    is_sparse: bool,
    changes: Changes,
}

/// Reads `git status --porcelain=v2 -z`.
fn changes_in(out: &[u8], top: &Path, keep: &Keep) -> Changes {
    let mut changes = Changes::default();
    for entry in out.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let (kind, rest) = (entry[0], entry.get(2..).unwrap_or_default());
        changes.attributes |= is_attributes(rest) && !keep.covers(rest);
        match kind {
            b'?' if is_repository(top, rest) && !keep.covers(rest) => changes.nested.push(relative(rest)),
            b'?' => changes.untracked += u32::from(!keep.covers(rest)),
            b'!' => {
                if is_repository(top, rest) && !keep.covers(rest) {
                    changes.nested.push(relative(rest));
                } else {
                    changes.ignored += u32::from(!keep.covers(rest) && !keep.is_below(rest));
                }
            }
            // `1 XY sub mH mI mW hH hI path`, and for unmerged ones `u XY sub m1 m2 m3 mW h1 h2 h3 path`
            b'1' | b'u' => {
                changes.tracked += 1;
                changes.staged += u32::from(kind == b'1' && rest.first() != Some(&b'.'));
                let fields = if kind == b'1' { 8 } else { 10 };
                let mut parts = rest.splitn(fields, |b| *b == b' ');
                let sub = parts.nth(1).unwrap_or_default();
                let has_work = sub.first() == Some(&b'S') && sub.get(2..).is_some_and(|flags| flags != b"..");
                changes.nested.extend(parts.last().filter(|_| has_work).map(relative));
            }
            _ => {}
        }
    }
    changes
}

/// Whether the path at the end of `entry` is of a file that says how others are written.
fn is_attributes(entry: &[u8]) -> bool {
    entry.ends_with(b".gitattributes")
}

fn relative(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)))
}

/// Git names a repository within by its folder, with a slash, and does not look into it.
fn is_repository(top: &Path, path: &[u8]) -> bool {
    path.ends_with(b"/") && top.join(relative(path)).join(".git").symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_with_all_its_kinds() {
        let out = b"1 M. N... 100644 100644 100644 aa bb a b.txt\0\
            1 .M S.M. 160000 160000 160000 aa bb sub\0\
            u UU N... 100644 100644 100644 100644 aa bb cc both\0? new file\0! target/\0! junk\0";
        let changes = changes_in(out, Path::new("/nowhere"), &Keep::new(&["target".to_owned()]));
        assert_eq!(
            changes,
            Changes {
                tracked: 3,
                staged: 1,
                untracked: 1,
                ignored: 1,
                nested: vec![PathBuf::from("sub")],
                attributes: false
            }
        );
        assert!(changes_in(b"", Path::new("/"), &Keep::default()).is_none());
    }
}
