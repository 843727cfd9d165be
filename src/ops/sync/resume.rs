//! After a sync that was killed: what it had written down of its last steps, and how the next one settles it.
//!
//! Until the branch has moved, files that were taken over are put back as they were, and the sync begins anew;
//! from then on only the index is missing, and follows. What a person has done meanwhile is left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{HOME_MAX, Point, SyncError};
use crate::config::Sync;
use crate::platform::files::{self, Lock};
use crate::platform::git::{Budget, Checkout, GitError, Head};

/// What is about to be done, in the working copy's git directory while it is.
const INTENT: &str = "lucid-sync-intent.json";
const INTENT_MODE: u32 = 0o600;
/// In the text of a lock before when the first began that did not end, in milliseconds since the epoch.
const SINCE: &str = ", settling what was begun at ";

/// The last steps of a sync: from what to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    branch: String,
    old: Option<String>,
    old_tree: String,
    ours: Option<String>,
    ours_tree: String,
    tip: String,
    tip_tree: String,
}

impl Intent {
    pub const DOING: &str = "writing down what is about to be done";

    pub fn new(branch: &str, old: &Point, ours: &Point, result: &Point) -> Self {
        Self {
            branch: branch.to_owned(),
            old: old.commit.clone(),
            old_tree: old.tree.clone(),
            ours: ours.commit.clone(),
            ours_tree: ours.tree.clone(),
            tip: result.commit.clone().unwrap_or_default(),
            tip_tree: result.tree.clone(),
        }
    }

    /// Durable when it returns.
    pub fn write(&self, copy: &Checkout) -> io::Result<()> {
        files::replace(&file(copy), &serde_json::to_vec(self)?, INTENT_MODE)
    }

    /// One that stays would be found to be over.
    pub fn forget(copy: &Checkout) {
        let _ = fs::remove_file(file(copy));
    }

    /// None where nothing was begun; a text that is none of ours says nothing either.
    fn read(copy: &Checkout) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(copy)).ok()?).ok()
    }

    /// The commit that was made of what was changed here, if the branch is still where it was.
    pub fn ours_after(&self, old: &Point) -> Option<Point> {
        let ours = self.ours.clone().filter(|_| self.old == old.commit)?;
        Some(Point { commit: Some(ours), tree: self.ours_tree.clone() })
    }
}

fn file(copy: &Checkout) -> PathBuf {
    copy.admin().join(INTENT)
}

/// What the last sync has left behind it.
pub(super) struct Left {
    /// When it began, where it did not end by itself.
    died: Option<SystemTime>,
}

impl Left {
    /// By the lock, whose text is taken away at a good end.
    pub fn by_the_last(lock: &Path) -> Self {
        let Some(text) = Lock::holder(lock).ok().filter(|text| !text.is_empty()) else {
            return Self { died: None };
        };
        let earlier = text.split_once(SINCE).and_then(|(_, ms)| ms.trim().parse().ok());
        let earlier = earlier.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
        let began = || fs::metadata(lock).and_then(|metadata| metadata.modified()).ok();
        Self { died: earlier.or_else(began) }
    }

    /// What the next holder writes: if it dies as well, what the first has left is still known.
    pub fn holder(&self) -> String {
        let pid = std::process::id();
        let since = self.died.and_then(|died| died.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.map_or_else(|| format!("pid {pid}"), |since| format!("pid {pid}{SINCE}{}", since.as_millis()))
    }

    /// Takes its locks away and settles what it was about to do; gives that where it has to be done anew.
    ///
    /// # Errors
    /// [`SyncError`] where a git of somebody is at work.
    pub fn settle(self, sync: &Sync, copy: &Checkout, budget: Budget) -> Result<Option<Intent>, SyncError> {
        let intent = Intent::read(copy);
        if let Some(since) = self.died {
            let branch = match copy.head()? {
                Head::Branch(branch) => Some(branch),
                Head::Detached(_) | Head::Broken(_) => None,
            };
            copy.remove_left_locks(since, &sync.remote, branch.as_deref(), budget)?;
        }
        let Some(intent) = intent else { return Ok(None) };
        let is_there = copy.head()? == Head::Branch(intent.branch.clone());
        let commit = copy.commit(budget)?;
        let budget = Budget::new(HOME_MAX);
        if is_there && commit == intent.old {
            copy.put_back(&intent.ours_tree, &intent.tip_tree, budget)?;
            return Ok(Some(intent));
        }
        if is_there && commit.as_deref() == Some(&intent.tip) {
            copy.follow_index(&intent.old_tree, &intent.tip_tree, budget)?;
        }
        Intent::forget(copy);
        Ok(None)
    }
}

/// Whether a git was killed on the way, whose locks are still there.
pub(super) fn leaves_locks(error: &SyncError) -> bool {
    matches!(
        error,
        SyncError::Git(GitError::TimedOut { .. } | GitError::Errand { .. } | GitError::Locked { .. })
    )
}
