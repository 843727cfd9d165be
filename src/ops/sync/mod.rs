//! Keeps a working copy in step with its remote: commits what may be committed, takes over what is new there,
//! pushes. Backups of a workspace, syncs of notes and of skills are this one engine.
//!
//! Everything is made ready beside the working copy; a conflict, a secret, a remote that is down or that hangs
//! leaves files, index and branch exactly as they were. Nothing is ever forced. What a sync is about to change is
//! written down first, so that one that was killed in the middle is taken back by the next.

mod resume;
mod secrets;
pub mod select;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Sync;
use crate::platform::files::Lock;
use crate::platform::git::{Budget, Change, Checkout, GitError, Halves, Head, Merged};

use resume::{Intent, Left, Settled};
pub use secrets::Secrets;
use select::Choice;

/// Held while a working copy is being synced, in its git directory.
const LOCK: &str = "lucid-sync.lock";
/// The longest that the last steps may take, which nothing but the disk can hold up.
const HOME_MAX: Duration = Duration::from_secs(120);
/// Paths that a message names.
const NAMED_MAX: usize = 5;

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Synced {
    /// Files in the commit that was made.
    pub committed: usize,
    /// Commits that were taken over.
    pub received: usize,
    /// Commits that were pushed.
    pub pushed: usize,
    /// What was left out because it never goes, and what it looks like.
    pub left_out: Vec<(PathBuf, &'static str)>,
    /// Repositories within, which have remotes of their own.
    pub nested: usize,
    /// The ref of files that a sync that was killed may have half written, as they were found.
    pub saved: Option<String>,
}

/// Why there was no sync; the working copy is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("conflict: both sides have changed {}; merge by hand, nothing was touched", named(.0))]
    Conflict(Vec<PathBuf>),
    #[error("the remote has changes to {}, which also differ here and are not part of the sync; nothing was touched", named(.0))]
    InTheWay(Vec<PathBuf>),
    #[error("the remote has {0} commits that are not here, and `pull` is false; nothing was touched")]
    Behind(usize),
    #[error("{} holds the value of the secret {secret}; nothing was committed or pushed", path.display())]
    Secret { path: PathBuf, secret: String },
    #[error("a commit that is not on the remote yet holds {}, which looks like {what}; nothing was pushed", path.display())]
    Never { path: PathBuf, what: &'static str },
    #[error("{0}; nothing was touched")]
    NotReady(String),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
}

fn named(paths: &[PathBuf]) -> String {
    let mut text: Vec<String> = paths.iter().take(NAMED_MAX).map(|path| path.display().to_string()).collect();
    if paths.len() > NAMED_MAX {
        text.push(format!("{} more", paths.len() - NAMED_MAX));
    }
    text.join(", ")
}

/// Syncs one working copy. Blocks, for `sync.timeout` and the time that its own files take.
///
/// # Errors
/// [`SyncError`].
pub fn sync(sync: &Sync, secrets: &Secrets) -> Result<Synced, SyncError> {
    let budget = Budget::new(sync.timeout);
    let copy = Checkout::open(&sync.repo, budget)?;
    let path = copy.admin().join(LOCK);
    // Before it is ours: what the last holder has left.
    let left = Left::by_the_last(&path);
    let lock = Lock::try_take(&path, &left.holder())
        .map_err(|source| SyncError::Io { doing: "locking the repository for a sync".to_owned(), source })?;
    let Some(lock) = lock else {
        return Err(SyncError::NotReady("another sync of it is at work".to_owned()));
    };
    let settled = left.settle(sync, &copy, budget);
    // What could not be settled is still to be settled by the next.
    let is_settled = settled.is_ok();
    let done = settled.and_then(|settled| Work { sync, secrets, copy: &copy, budget, settled }.run());
    copy.tidy();
    if is_settled && !done.as_ref().is_err_and(resume::leaves_work) {
        Intent::rest(&copy);
        // One that stays says that the next one has to look.
        let _ = lock.clear();
    }
    done
}

struct Work<'a> {
    sync: &'a Sync,
    secrets: &'a Secrets,
    copy: &'a Checkout,
    budget: Budget,
    /// What the last sync has left.
    settled: Settled,
}

/// A commit and its tree; no commit before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    commit: Option<String>,
    tree: String,
}

impl Work<'_> {
    fn run(&self) -> Result<Synced, SyncError> {
        let (sync, copy, budget) = (self.sync, self.copy, self.budget);
        let branch = self.branch()?;
        let key = sync.ssh_key.as_deref();
        let remote = copy.fetch_branch(&sync.remote, &branch, key, budget)?;
        let old = Point { commit: copy.commit(budget)?, tree: String::new() };
        let old = Point { tree: copy.tree_of(old.commit.as_deref(), budget)?, ..old };
        let mut synced = Synced { saved: self.settled.saved.clone(), ..Synced::default() };
        let base = self.base(&old);
        let ours = self.commit_ours(&base, &mut synced)?;
        let result = self.join(&ours, remote.as_deref(), &mut synced)?;
        let Some(tip) = result.commit.as_deref() else { return Ok(synced) };
        if result.tree != ours.tree {
            let way = copy.in_the_way(&ours.tree, &result.tree, budget)?;
            if !way.is_empty() {
                return Err(SyncError::InTheWay(way));
            }
        }
        if old.commit.as_deref() != Some(tip) {
            Intent::new(&branch, &old, &ours, &result).write(copy)?;
        }
        if remote.as_deref() != Some(tip) {
            self.look_through(&base, remote.as_deref())?;
            synced.pushed = copy.count(tip, remote.as_deref(), budget)?;
            copy.push(&sync.remote, tip, &branch, key, budget)?;
        }
        if old.commit.as_deref() != Some(tip) {
            self.bring_home(&branch, &old, &ours, &result)?;
        }
        Intent::forget(copy);
        Ok(synced)
    }

    /// The branch that is checked out, if nothing is in the middle of something.
    fn branch(&self) -> Result<String, SyncError> {
        if let Some(begun) = self.copy.unfinished() {
            return Err(SyncError::NotReady(format!("something is unfinished there ({begun})")));
        }
        let branch = match self.copy.head()? {
            Head::Branch(branch) => branch,
            Head::Detached(_) => {
                return Err(SyncError::NotReady("no branch is checked out".to_owned()));
            }
            Head::Broken(text) => return Err(SyncError::NotReady(format!("HEAD is unreadable: {text}"))),
        };
        match &self.sync.branch {
            Some(wanted) if *wanted != branch => Err(SyncError::NotReady(format!(
                "the branch {branch} is checked out, and {wanted} is to be synced"
            ))),
            Some(_) | None => Ok(branch),
        }
    }

    /// What our changes are told from: the branch, or the commit of a sync that was killed before the branch had
    /// it, for the remote may have it already.
    fn base(&self, old: &Point) -> Point {
        let begun = self.settled.before.as_ref().and_then(|before| before.ours_after(old));
        let is_whole = |point: &Point| {
            self.copy.tree_of(point.commit.as_deref(), self.budget).is_ok_and(|tree| tree == point.tree)
        };
        begun.filter(is_whole).unwrap_or_else(|| old.clone())
    }

    /// What may be committed, as a commit that no branch has; `old` itself where there is nothing.
    fn commit_ours(&self, old: &Point, synced: &mut Synced) -> Result<Point, SyncError> {
        let (copy, budget) = (self.copy, self.budget);
        let names = copy.changes(old.commit.as_deref(), budget)?;
        synced.nested = names.nested.len();
        let mut taken: Vec<&Path> = Vec::new();
        for Change { path, is_new } in &names.changes {
            match select::choose(path, self.sync) {
                Choice::Taken => taken.push(path),
                // What git knows already is left as it was committed, and what is new stays unknown.
                Choice::Never(what) if *is_new => synced.left_out.push((path.clone(), what)),
                Choice::Never(_) | Choice::NotIncluded | Choice::Excluded => {}
            }
        }
        for path in &taken {
            let doing = || format!("reading {}", path.display());
            let held = self.secrets.within_file(&copy.path().join(path));
            if let Some(secret) = held.map_err(|source| SyncError::Io { doing: doing(), source })? {
                return Err(SyncError::Secret { path: path.to_path_buf(), secret: secret.to_owned() });
            }
        }
        let tree = copy.write_tree(&taken, budget)?;
        if tree == old.tree {
            return Ok(old.clone());
        }
        self.look_at_tree(old, &tree)?;
        synced.committed = taken.len();
        let parents: Vec<&str> = old.commit.as_deref().into_iter().collect();
        let commit = copy.write_commit(&tree, &parents, &self.sync.message, budget)?;
        Ok(Point { commit: Some(commit), tree })
    }

    /// What goes is what git took: a file may have been written after it was looked through, and a filter may have
    /// changed it.
    fn look_at_tree(&self, old: &Point, tree: &str) -> Result<(), SyncError> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        let look = |path: &Path, content: &[u8]| {
            let secret = self.secrets.within(content)?.to_owned();
            Some(SyncError::Secret { path: path.to_owned(), secret })
        };
        self.copy.look_at_news(&old.tree, tree, self.budget, look)?.map_or(Ok(()), Err)
    }

    /// Ours and the remote's as one.
    fn join(&self, ours: &Point, remote: Option<&str>, synced: &mut Synced) -> Result<Point, SyncError> {
        let (copy, budget) = (self.copy, self.budget);
        let Some(remote) = remote else { return Ok(ours.clone()) };
        let theirs = || -> Result<Point, SyncError> {
            Ok(Point { commit: Some(remote.to_owned()), tree: copy.tree_of(Some(remote), budget)? })
        };
        let Some(commit) = &ours.commit else {
            synced.received = copy.count(remote, None, budget)?;
            return if self.sync.pull { theirs() } else { Err(SyncError::Behind(synced.received)) };
        };
        if copy.is_ancestor(remote, commit, budget)? {
            return Ok(ours.clone());
        }
        let news = copy.count(remote, Some(commit), budget)?;
        if !self.sync.pull {
            return Err(SyncError::Behind(news));
        }
        synced.received = news;
        if copy.is_ancestor(commit, remote, budget)? {
            return theirs();
        }
        match copy.merge(commit, remote, budget)? {
            Merged::Conflict(files) => Err(SyncError::Conflict(files)),
            Merged::Tree(tree) => {
                let message = format!("{} (merge)", self.sync.message);
                let merge = copy.write_commit(&tree, &[commit, remote], &message, budget)?;
                Ok(Point { commit: Some(merge), tree })
            }
        }
    }

    /// Commits that somebody has made here and that would go along are held to the same rules.
    fn look_through(&self, old: &Point, remote: Option<&str>) -> Result<(), SyncError> {
        let Some(tip) = old.commit.as_deref() else { return Ok(()) };
        for path in self.copy.written(tip, remote, self.budget)? {
            if let Some(what) = select::never(&path) {
                return Err(SyncError::Never { path, what });
            }
        }
        let patches = self.copy.patches(tip, remote, self.budget)?;
        match self.secrets.added(&patches) {
            Some((path, secret)) => Err(SyncError::Secret { path: path.into(), secret: secret.to_owned() }),
            None => Ok(()),
        }
    }

    /// The only steps that change something of theirs, each refused where somebody has been faster.
    fn bring_home(&self, branch: &str, old: &Point, ours: &Point, result: &Point) -> Result<(), SyncError> {
        // What has been pushed is brought home, however long the network took.
        let (copy, budget) = (self.copy, Budget::new(HOME_MAX));
        let Some(tip) = &result.commit else { return Ok(()) };
        if result.tree != ours.tree {
            Intent::new(branch, old, ours, result).take_over(copy)?;
            copy.take_over(&ours.tree, &result.tree, budget)?;
        }
        copy.move_branch(branch, old.commit.as_deref(), tip, budget)?;
        copy.follow_index(&old.tree, &result.tree, Halves::Go, budget)?;
        Ok(())
    }
}
