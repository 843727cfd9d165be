//! A person's working copy: what of it has changed, as a commit beside their index; and what came from a
//! remote, put into it only where nothing of theirs is in the way.
//!
//! Everything is made ready as objects and in an index of our own. Their files, index and branch change in the
//! last steps, which are refused whole where they would overwrite something; `back` takes back what was half done.

mod back;
mod content;
mod crash;
mod files;
mod network;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::clean::bytes;
use super::rescue::copy_index;
use super::state::OPERATIONS;
use super::{Budget, Call, GitError, Head, Repo, Tree, line, line_path};

pub use back::Cut;
pub use files::Halves;

/// Our own index, in the working copy's git directory.
const INDEX: &str = "lucid-sync-index";
/// The mode of an entry that is another repository.
const GITLINK: &str = "160000";
/// No object at all.
pub(super) const NOTHING: &str = "0000000000000000000000000000000000000000";

/// A working copy that somebody works in.
#[derive(Debug, Clone)]
pub struct Checkout {
    tree: Tree,
    /// The top, as it was named.
    index: PathBuf,
}

/// A path, relative to the top, that is not as HEAD has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub path: PathBuf,
    /// Git did not know it.
    pub is_new: bool,
}

/// What has changed, and what was passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub changes: Vec<Change>,
    /// Repositories within.
    pub nested: Vec<PathBuf>,
}

/// Two histories as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The tree of both.
    Tree(String),
    /// They contradict each other in these files.
    Conflict(Vec<PathBuf>),
}

/// One entry of an index or tree: mode and object.
type Entry = (String, String);

impl Checkout {
    /// The working copy whose top is `path`.
    ///
    /// # Errors
    /// [`GitError::NotARepository`], [`GitError::NotOurs`] where `path` is not the top of one.
    pub fn open(path: &Path, budget: Budget) -> Result<Self, GitError> {
        let bad = |why: String| GitError::NotARepository { path: path.to_owned(), why };
        let path = path.canonicalize().map_err(|e| bad(e.to_string()))?;
        let found =
            Call { mark: None, dir: None, tree: None, index: None, cwd: &path, ceiling: path.parent() };
        let top = found.read(["rev-parse", "--show-toplevel"], budget).map_err(|e| bad(e.to_string()))?;
        let admin =
            found.read(["rev-parse", "--absolute-git-dir"], budget).map_err(|e| bad(e.to_string()))?;
        let top = line_path(&top);
        if top.canonicalize().ok().as_ref() != Some(&path) {
            return Err(GitError::NotOurs { why: format!("lies within {}", top.display()), path });
        }
        let admin = line_path(&admin).canonicalize().map_err(|e| bad(e.to_string()))?;
        let index = admin.join(INDEX);
        Ok(Self { tree: Tree { repo: Repo::open(&path, budget)?, path, admin }, index })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.tree.path
    }

    /// The git directory of this working copy.
    #[must_use]
    pub fn admin(&self) -> &Path {
        &self.tree.admin
    }

    /// Where HEAD points.
    ///
    /// # Errors
    /// What the file system says.
    pub fn head(&self) -> Result<Head, GitError> {
        self.tree.head_file()
    }

    /// The commit that HEAD stands for; none before the first.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn commit(&self, budget: Budget) -> Result<Option<String>, GitError> {
        self.tree.head_commit(budget)
    }

    /// What somebody has begun and not ended: a merge, a rebase, a git that is at work right now.
    #[must_use]
    pub fn unfinished(&self) -> Option<&'static str> {
        let begun = OPERATIONS.iter().copied().chain(["index.lock"]);
        // What a commit is called is remembered after the merge it was for.
        let mut begun = begun.filter(|name| !matches!(*name, "MERGE_MSG" | "AUTO_MERGE" | "SQUASH_MSG"));
        begun.find(|name| self.tree.admin.join(name).symlink_metadata().is_ok())
    }

    /// The repository as all its worktrees share it.
    fn shared(&self) -> Call<'_> {
        Call { mark: Some(&self.tree.path), ..self.tree.repo.call() }
    }

    fn own(&self) -> Call<'_> {
        Call { index: Some(&self.index), ..self.tree.call() }
    }

    /// What differs from `head`, whatever of it is staged. What a person hides from git (skip-worktree,
    /// assume-unchanged, a sparse checkout) is not looked at.
    ///
    /// # Errors
    /// What git says.
    pub fn changes(&self, head: Option<&str>, budget: Budget) -> Result<Names, GitError> {
        let theirs = self.tree.admin.join("index");
        // Whatever a sync that was killed has left.
        self.tidy();
        if theirs.exists() {
            copy_index(&theirs, &self.index).map_err(GitError::io("copying the index"))?;
        }
        match head {
            Some(head) => drop(self.own().write(["read-tree", "--reset", head], budget)?),
            None => drop(self.own().write(["read-tree", "--empty"], budget)?),
        }
        // Whether anything needs an update is what is asked next.
        drop(self.own().answer(["update-index", "-q", "--refresh"], 1, budget)?);
        let hidden = self.hidden(budget)?;
        let mut names = Names::default();
        let differ = self.own().read(["diff-files", "-z", "--raw", "--ignore-submodules=all"], budget)?;
        for (entry, path) in raw(&differ) {
            if entry.0 != GITLINK && !hidden.contains(&path) {
                names.changes.push(Change { path, is_new: false });
            }
        }
        let others = self.own().read(["ls-files", "-z", "--others", "--exclude-standard"], budget)?;
        for path in fields(&others) {
            match path.strip_suffix(b"/") {
                Some(nested) => names.nested.push(path_of(nested)),
                None => names.changes.push(Change { path: path_of(path), is_new: true }),
            }
        }
        names.changes.sort();
        Ok(names)
    }

    /// Entries of their index that do not show their changes.
    fn hidden(&self, budget: Budget) -> Result<BTreeSet<PathBuf>, GitError> {
        let listed = self.tree.call().read(["ls-files", "-v", "-z"], budget)?;
        let is_hidden = |entry: &&[u8]| entry.first().is_some_and(|b| b.is_ascii_lowercase() || *b == b'S');
        Ok(fields(&listed).filter(is_hidden).filter_map(|entry| entry.get(2..)).map(path_of).collect())
    }

    /// The tree of HEAD with `paths` as they are now; after [`Checkout::changes`].
    ///
    /// # Errors
    /// What git says.
    pub fn write_tree(&self, paths: &[&Path], budget: Budget) -> Result<String, GitError> {
        if !paths.is_empty() {
            let mut list = Vec::new();
            for path in paths {
                list.extend_from_slice(bytes(path));
                list.push(0);
            }
            let args = ["update-index", "-z", "--add", "--remove", "--replace", "--stdin"];
            self.own().feed(args, &list, budget)?;
        }
        Ok(line(&self.own().write(["write-tree"], budget)?))
    }

    /// The tree of `commit`.
    ///
    /// # Errors
    /// What git says.
    pub fn tree_of(&self, commit: Option<&str>, budget: Budget) -> Result<String, GitError> {
        let call = self.shared();
        Ok(line(&match commit {
            Some(commit) => call.read(["rev-parse", "--verify", &format!("{commit}^{{tree}}")], budget)?,
            None => call.feed(["hash-object", "-t", "tree", "-w", "--stdin"], b"", budget)?,
        }))
    }

    /// A commit that no branch has yet.
    ///
    /// # Errors
    /// What git says.
    pub fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        budget: Budget,
    ) -> Result<String, GitError> {
        let mut args = vec!["commit-tree", "--no-gpg-sign", tree];
        for parent in parents {
            args.extend(["-p", parent]);
        }
        args.extend(["-F", "-"]);
        Ok(line(&self.shared().feed(args, message.as_bytes(), budget)?))
    }

    /// Whether `commit` is `of` or one of its ancestors.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn is_ancestor(&self, commit: &str, of: &str, budget: Budget) -> Result<bool, GitError> {
        self.tree.repo.is_ancestor(commit, of, budget)
    }

    /// How many commits `tip` has that `base` has not.
    ///
    /// # Errors
    /// What git says.
    pub fn count(&self, tip: &str, base: Option<&str>, budget: Budget) -> Result<usize, GitError> {
        let args =
            ["rev-list", "--count", tip].into_iter().chain(base.into_iter().flat_map(|b| ["--not", b]));
        Ok(line(&self.shared().read(args, budget)?).parse().unwrap_or(0))
    }

    /// Takes our index away.
    pub fn tidy(&self) {
        for file in [INDEX.to_owned(), format!("{INDEX}.lock")] {
            let _ = fs::remove_file(self.tree.admin.join(file));
        }
    }
}

/// Records that end with NUL.
fn fields(out: &[u8]) -> impl Iterator<Item = &[u8]> {
    out.split(|b| *b == 0).filter(|field| !field.is_empty())
}

fn path_of(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name))
}

/// `:OLDMODE MODE OLD NEW STATUS` NUL `PATH` NUL …; the old entry and the path of each.
fn raw(out: &[u8]) -> Vec<(Entry, PathBuf)> {
    let mut found = Vec::new();
    let mut parts = fields(out);
    while let (Some(head), Some(path)) = (parts.next(), parts.next()) {
        let head = String::from_utf8_lossy(head);
        let mut words = head.trim_start_matches(':').split(' ');
        let mode = words.next().unwrap_or_default().to_owned();
        let id = words.nth(1).unwrap_or_default().to_owned();
        found.push(((mode, id), path_of(path)));
    }
    found
}
