//! After a sync that was killed: what it had written down of its last steps, and how the next one settles it.
//!
//! Only one that was killed while it took files over has them put back as they were, and the sync begins anew; once
//! the branch has moved only the index is missing, and follows. One that ended by itself has touched no file, so
//! that nothing is put back after it: whatever differs is a person's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{HOME_MAX, Point, SyncError};
use crate::config::Sync;
use crate::platform::files::{self, Lock};
use crate::platform::git::{Budget, Checkout, Cut, GitError, Halves, Head};

/// What is about to be done, in the working copy's git directory while it is.
const INTENT: &str = "lucid-sync-intent.json";
const INTENT_MODE: u32 = 0o600;
/// The text of a lock begins so, before the process that holds it. Earlier versions wrote another and left it
/// there for good, so that theirs says nothing.
const HOLDER: &str = "sync by process ";
/// In the text of a lock before when the first began that did not end, in milliseconds since the epoch.
const SINCE: &str = ", settling what was begun at ";

/// The call that takes files over, and what git says where it could not write one of them.
const TAKING_OVER: &str = "read-tree -m";
const IN_THE_MIDDLE: &str = "unable to ";
const DOING: &str = "writing down what is about to be done";

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
    /// One without was written by an earlier version, and says nothing of files.
    #[serde(default)]
    step: Step,
}

/// How far the last steps have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    /// Commits are made and may be pushed; no file has been touched.
    #[default]
    Ready,
    /// Files are being taken over.
    TakingOver,
    /// Files are being put back.
    PuttingBack,
}

impl Intent {
    pub fn new(branch: &str, old: &Point, ours: &Point, result: &Point) -> Self {
        Self {
            branch: branch.to_owned(),
            old: old.commit.clone(),
            old_tree: old.tree.clone(),
            ours: ours.commit.clone(),
            ours_tree: ours.tree.clone(),
            tip: result.commit.clone().unwrap_or_default(),
            tip_tree: result.tree.clone(),
            step: Step::Ready,
        }
    }

    /// Durable when it returns.
    pub fn write(&self, copy: &Checkout) -> Result<(), SyncError> {
        let text = serde_json::to_vec(self).map_err(io::Error::other);
        let written = text.and_then(|text| files::replace(&file(copy), &text, INTENT_MODE));
        written.map_err(|source| SyncError::Io { doing: DOING.to_owned(), source })
    }

    /// From here on files may be half taken over.
    pub fn take_over(self, copy: &Checkout) -> Result<(), SyncError> {
        Self { step: Step::TakingOver, ..self }.write(copy)
    }

    /// After an end that was no crash: whatever differs from now on is a person's.
    pub fn rest(copy: &Checkout) {
        let begun = Self::read(copy).filter(|intent| intent.step != Step::Ready);
        if begun.is_some_and(|intent| Self { step: Step::Ready, ..intent }.write(copy).is_err()) {
            Self::forget(copy);
        }
    }

    /// Puts back what was taken over, and knows at each moment what that may have torn; gives the ref of what
    /// was saved.
    fn put_back(self, copy: &Checkout) -> Result<(Self, Option<String>), SyncError> {
        let doing = || format!("looking at {}", file(copy).display());
        let time = || fs::metadata(file(copy)).and_then(|metadata| metadata.modified());
        let written = || time().map_err(|source| SyncError::Io { doing: doing(), source });
        let cut = match self.step {
            Step::Ready => return Ok((self, None)),
            Step::TakingOver => {
                let taking_until = written()? + HOME_MAX;
                Self { step: Step::PuttingBack, ..self.clone() }.write(copy)?;
                Cut { taking_until, putting_since: None }
            }
            // Written before anything was put back, and not again, however often that is begun.
            Step::PuttingBack => Cut { taking_until: written()?, putting_since: Some(written()?) },
        };
        let (from, to) = (&self.ours_tree, &self.tip_tree);
        let saved = copy.put_back(from, to, &cut, self.old.as_deref(), Budget::new(HOME_MAX))?;
        let rested = Self { step: Step::Ready, ..self };
        rested.write(copy)?;
        Ok((rested, saved))
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
        let Some(text) = Lock::holder(lock).ok().filter(|text| text.starts_with(HOLDER)) else {
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
        let since = since.map(|since| format!("{SINCE}{}", since.as_millis()));
        format!("{HOLDER}{pid}{}", since.unwrap_or_default())
    }

    /// Takes its locks away and settles what it was about to do; gives that where it has to be done anew, and the
    /// ref of what was saved on the way.
    ///
    /// # Errors
    /// [`SyncError`] where a git of somebody is at work.
    pub fn settle(self, sync: &Sync, copy: &Checkout, budget: Budget) -> Result<Settled, SyncError> {
        let intent = Intent::read(copy);
        if let Some(since) = self.died {
            let branch = match copy.head()? {
                Head::Branch(branch) => Some(branch),
                Head::Detached(_) | Head::Broken(_) => None,
            };
            copy.remove_left_locks(since, &sync.remote, branch.as_deref(), budget)?;
        }
        let Some(intent) = intent else { return Ok(Settled::default()) };
        let is_there = copy.head()? == Head::Branch(intent.branch.clone());
        let commit = copy.commit(budget)?;
        if is_there && commit == intent.old {
            if self.died.is_none() {
                return Ok(Settled { before: Some(intent), saved: None });
            }
            let (before, saved) = intent.put_back(copy)?;
            return Ok(Settled { before: Some(before), saved });
        }
        if is_there && commit.as_deref() == Some(&intent.tip) {
            copy.follow_index(&intent.old_tree, &intent.tip_tree, Halves::Stay, Budget::new(HOME_MAX))?;
        }
        Intent::forget(copy);
        Ok(Settled::default())
    }
}

/// What is known once the last sync is settled.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// What it was about to do.
    pub before: Option<Intent>,
    /// The ref of what looked half written.
    pub saved: Option<String>,
}

/// Whether a git ended on the way, whose locks or half-written files are still there.
pub(super) fn leaves_work(error: &SyncError) -> bool {
    match error {
        SyncError::Git(GitError::TimedOut { .. } | GitError::Errand { .. } | GitError::Locked { .. }) => true,
        // Refused is what would overwrite something; all else has ended in the middle (a full disk).
        SyncError::Git(GitError::Failed { command, complaint, .. }) => {
            command == TAKING_OVER && complaint.contains(IN_THE_MIDDLE)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_of_this_version_tells_of_a_death() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let left = |text: &str| {
            fs::write(&lock, text).unwrap();
            Left::by_the_last(&lock)
        };
        for text in ["", "pid 12", "pid 12, settling what was begun at 5"] {
            assert_eq!(left(text).died, None, "{text}");
        }
        let first = left(&Left { died: None }.holder());
        assert!(first.died.is_some());
        // Whoever dies while it settles that passes the first death on.
        let second = left(&Left { died: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)) }.holder());
        assert_eq!(second.died, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)));
    }

    #[test]
    fn what_git_refused_has_touched_nothing_and_what_it_could_not_write_has() {
        let failed = |command: &str, complaint: &str| {
            let (command, complaint) = (command.to_owned(), complaint.to_owned());
            leaves_work(&SyncError::Git(GitError::Failed { command, code: Some(128), complaint }))
        };
        assert!(!failed("read-tree -m", "error: Entry 'a.md' not uptodate. Cannot merge."));
        assert!(failed("read-tree -m", "error: unable to create file a.md: No space left on device"));
        assert!(!failed("fetch origin", "fatal: unable to access 'https://host/'"));
    }
}
