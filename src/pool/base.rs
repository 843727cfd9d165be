//! A pool's repository: opened when first needed, fetched by one caller at a time, its base resolved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing::info;

use crate::platform::git::{Budget, GitError, Keep, Repo};
use crate::platform::process;

use super::{Base, Pool, PoolError, Pools, RemoteUnreadable};

/// The longest one fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(60);
/// A claim waits no longer for a fetch; then the last known base is good enough.
const FETCH_WAIT: Duration = Duration::from_secs(5);
/// A claim's base may come from a fetch this old: tickets that are placed at once share one, and one that is made
/// after a push has what was pushed.
const FETCH_FRESH: Duration = Duration::from_millis(200);
/// How often a remote that was not reached is asked again, whether or not anybody needs a slot.
const FETCH_AGAIN: Duration = Duration::from_secs(30);
/// The longest that reading a ref may take.
const READ_MAX: Duration = Duration::from_secs(10);

/// One repository, shared by all pools that name it.
pub(super) struct Origin {
    path: PathBuf,
    repo: OnceLock<Repo>,
    /// Held during a fetch: there is never more than one.
    fetching: tokio::sync::Mutex<()>,
    /// The last fetch of each remote.
    last: Mutex<HashMap<String, Fetched>>,
}

/// What is known of a remote.
#[derive(Debug, Clone, Default)]
pub(super) struct Fetched {
    /// Time since boot when the last fetch began.
    began: Duration,
    /// When one last succeeded, milliseconds since the epoch; none since the start.
    pub at_ms: Option<i64>,
    pub failure: Option<Failure>,
}

/// Fetches that fail, the last one's words and when the first of them was.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub why: String,
    pub since_ms: i64,
}

impl Origin {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            repo: OnceLock::new(),
            fetching: tokio::sync::Mutex::new(()),
            last: Mutex::default(),
        }
    }

    /// The repository. Blocks.
    pub fn repo(&self, budget: Budget) -> Result<Repo, GitError> {
        if !self.path.exists() {
            let why = "there is no such folder".to_owned();
            return Err(GitError::NotARepository { path: self.path.clone(), why });
        }
        if let Some(repo) = self.repo.get() {
            return Ok(repo.clone());
        }
        let repo = Repo::open(&self.path, budget)?;
        Ok(self.repo.get_or_init(|| repo).clone())
    }

    fn last(&self, remote: &str) -> Option<Fetched> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(remote).cloned()
    }
}

impl Pool {
    /// This pool for a holder whose slot starts from `base` where it names one.
    pub(super) fn with_base(&self, base: Option<&str>) -> Self {
        let mut pool = self.clone();
        if let Some(base) = base {
            base.clone_into(&mut pool.config.base);
        }
        pool
    }

    /// What shows a person which bases there are.
    pub(super) fn list_by_hand(&self) -> String {
        format!("git -C {} branch --remotes", self.config.repo.display())
    }

    fn remote(&self) -> &str {
        self.config.base.split('/').next().unwrap_or_default()
    }

    /// What the last fetch has come to.
    pub(super) fn fetched(&self) -> Fetched {
        self.origin.last(self.remote()).unwrap_or_default()
    }

    /// Why the remote was not reached when it was last asked, and what follows from it.
    pub(super) fn unread(&self) -> Option<String> {
        let failure = self.fetched().failure?;
        Some(format!(
            "its remote {} cannot be read, so slots start from the base as last fetched: {}",
            self.remote(),
            failure.why
        ))
    }

    /// What shows a person why the remote cannot be read.
    fn ask_by_hand(&self) -> String {
        format!("git -C {} fetch {}", self.config.repo.display(), self.remote())
    }
}

/// A pool whose slots do not start from what the remote has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    pub pool: String,
    pub why: String,
    pub since_ms: i64,
    /// The command that shows what is wrong.
    pub fix: String,
}

/// Where a pool's slots are and what they are to be.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub repo: Repo,
    /// Folder of the slots, without symbolic links.
    pub dir: PathBuf,
    pub keep: Keep,
    pub base: String,
}

impl Pools {
    /// The base after a fetch of no more than a moment ago. Where the remote cannot be reached in time the last
    /// known one is given, and why.
    ///
    /// # Errors
    /// [`PoolError::Git`] when there is no such ref, fetched or not.
    pub async fn base(&self, pool: &str) -> Result<Base, PoolError> {
        let pool = self.pool(pool)?;
        let since = self.0.clock.boot().saturating_sub(FETCH_FRESH);
        let stale = self.freshen(pool, since, FETCH_WAIT).await.err();
        let (origin, base) = (Arc::clone(&pool.origin), pool.config.base.clone());
        let commit = blocking(move || {
            let budget = Budget::new(READ_MAX);
            origin.repo(budget)?.resolve(&base, budget)
        })
        .await?;
        Ok(Base { commit, stale })
    }

    /// Before a claim: what was pushed a moment ago is what the slot starts from. Nobody waits long for it, and
    /// what it comes to is remembered by the pool.
    pub(super) async fn freshen_for_claim(&self, pool: &Pool, budget: Budget) {
        // Most of the time is for the slot itself.
        let wait = FETCH_WAIT.min(budget.left() / 2);
        if !wait.is_zero() {
            let since = self.0.clock.boot().saturating_sub(FETCH_FRESH);
            let _remembered = self.freshen(pool, since, wait).await;
        }
    }

    /// Before a heal that a person asks for: also how a remote is tried again after it was mended.
    pub(super) async fn freshen_now(&self, pool: &Pool) {
        let _remembered = self.freshen(pool, self.0.clock.boot(), FETCH_WAIT).await;
    }

    /// Makes sure of a fetch that began at `since` (time since boot) or later; it goes on by itself where it takes
    /// longer than `wait`.
    async fn freshen(&self, pool: &Pool, since: Duration, wait: Duration) -> Result<(), String> {
        let (pools, pool) = (self.clone(), pool.clone());
        let fetch = tokio::spawn(async move { pools.fetch(&pool, since).await });
        match tokio::time::timeout(wait, fetch).await {
            Ok(Ok(result)) => result,
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("it has not answered within {} ms", wait.as_millis())),
        }
    }

    /// Asks remotes that were not reached again, until they are. Does not return.
    pub(super) async fn ask_again(&self) {
        loop {
            tokio::time::sleep(FETCH_AGAIN).await;
            for pool in self.0.pools.iter().filter(|pool| pool.fetched().failure.is_some()) {
                let since = self.0.clock.boot().saturating_sub(FETCH_FRESH);
                if self.fetch(pool, since).await.is_ok() {
                    info!(pool = pool.config.name, "the remote can be read again");
                }
            }
        }
    }

    /// Pools whose remote was not reached when it was last asked. From memory alone. A repository that is gone is
    /// not among them: the settings that name it are told.
    #[must_use]
    pub fn behind(&self) -> Vec<Behind> {
        let behind = self.0.pools.iter().filter_map(|pool| {
            let since_ms = pool.fetched().failure?.since_ms;
            Some(Behind {
                pool: pool.config.name.clone(),
                why: pool.unread()?,
                since_ms,
                fix: pool.ask_by_hand(),
            })
        });
        behind.collect()
    }

    /// Whether `commit` is in the pool's base on the remote, after a fetch that begins now.
    ///
    /// # Errors
    /// [`RemoteUnreadable`]: not known, which is not yes.
    pub async fn is_ancestor(&self, pool: &str, commit: &str) -> Result<bool, RemoteUnreadable> {
        let unreadable = |why: String| RemoteUnreadable { pool: pool.to_owned(), why };
        let found = self.pool(pool).map_err(|e| unreadable(e.to_string()))?;
        self.fetch(found, self.0.clock.boot()).await.map_err(unreadable)?;
        let (origin, base) = (Arc::clone(&found.origin), found.config.base.clone());
        let commit = commit.to_owned();
        blocking(move || {
            let budget = Budget::new(READ_MAX);
            let repo = origin.repo(budget)?;
            repo.is_ancestor(&commit, &repo.resolve(&base, budget)?, budget)
        })
        .await
        .map_err(|e| unreadable(e.to_string()))
    }

    /// Makes sure of a fetch that began at `since` (time since boot) or later.
    pub(super) async fn fetch(&self, pool: &Pool, since: Duration) -> Result<(), String> {
        let _turn = pool.origin.fetching.lock().await;
        let remote = pool.remote().to_owned();
        let before = pool.origin.last(&remote);
        if let Some(last) = before.as_ref().filter(|last| last.began >= since) {
            return last.failure.as_ref().map_or(Ok(()), |failure| Err(failure.why.clone()));
        }
        let (began, budget) = (self.0.clock.boot(), Budget::new(FETCH_MAX));
        let origin = Arc::clone(&pool.origin);
        // Where there is no repository nothing is learned of its remote.
        let repo = blocking(move || origin.repo(budget)).await.map_err(|e| e.to_string())?;
        let named = remote.clone();
        let result = blocking(move || repo.fetch(&named, budget)).await;
        let (before, now_ms) = (before.unwrap_or_default(), self.0.clock.wall_ms());
        let failure = result.err().map(|e| Failure {
            why: e.to_string(),
            since_ms: before.failure.map_or(now_ms, |failure| failure.since_ms),
        });
        let at_ms = if failure.is_none() { Some(now_ms) } else { before.at_ms };
        let fetched = Fetched { began, at_ms, failure: failure.clone() };
        pool.origin.last.lock().unwrap_or_else(PoisonError::into_inner).insert(remote, fetched);
        failure.map_or(Ok(()), |failure| Err(failure.why))
    }

    /// What a claim works from: the base as it was last fetched. Only one that is not known at all is
    /// fetched here.
    pub(super) async fn ground(&self, pool: &Pool, budget: Budget) -> Result<Ground, PoolError> {
        match ground(pool, budget).await {
            Err(GitError::NoSuchRef(_)) => {
                let fetch = self.fetch(pool, self.0.clock.boot());
                match tokio::time::timeout(budget.left(), fetch).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(why)) => return Err(PoolError::Git(why)),
                }
                Ok(ground(pool, budget).await?)
            }
            other => Ok(other?),
        }
    }
}

pub(super) async fn ground(pool: &Pool, budget: Budget) -> Result<Ground, GitError> {
    let (origin, config) = (Arc::clone(&pool.origin), pool.config.clone());
    blocking(move || {
        let repo = origin.repo(budget)?;
        let base = repo.resolve(&config.base, budget)?;
        let doing = || format!("making {}", config.dir.display());
        let io = |source| GitError::Io { doing: doing(), source };
        std::fs::create_dir_all(&config.dir).map_err(io)?;
        let dir = config.dir.canonicalize().map_err(io)?;
        // A slot that lost its `.git` would take the repository around it for its own.
        let work = repo.common().parent().filter(|_| repo.common().ends_with(".git"));
        if dir.starts_with(repo.common()) || work.is_some_and(|work| dir.starts_with(work)) {
            let why = format!("lies inside the repository {}; set `dir` of the pool", config.repo.display());
            return Err(GitError::NotOurs { path: dir, why });
        }
        Ok(Ground { repo, dir, keep: Keep::new(&config.keep), base })
    })
    .await
}

/// Why `git worktree prune` leaves our worktrees alone, for whoever reads it.
pub(super) fn lock_reason(slot: &str) -> String {
    format!("slot {slot} of lucid, {}", process::this_process())
}

/// Runs what blocks where that hurts nobody.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, GitError>
where
    F: FnOnce() -> Result<T, GitError> + Send + 'static,
    T: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => {
            Err(GitError::Io { doing: "working on a slot".to_owned(), source: std::io::Error::other(e) })
        }
    }
}
