//! A pool's repository: opened when first needed, fetched by one caller at a time, its base resolved.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::platform::git::{Budget, GitError, Keep, Repo};
use crate::platform::process;

use super::{Base, Pool, PoolError, Pools, RemoteUnreadable};

/// The longest one fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(60);
/// A tick waits no longer for a fetch; then the last known base is good enough.
const BASE_WAIT: Duration = Duration::from_secs(5);
/// A tick's base may come from a fetch this old: passes that follow each other at once share one.
const FETCH_FRESH: Duration = Duration::from_secs(5);
/// The longest that reading a ref may take.
const READ_MAX: Duration = Duration::from_secs(10);

/// One repository, shared by all pools that name it.
pub(super) struct Origin {
    path: PathBuf,
    repo: OnceLock<Repo>,
    /// Held during a fetch: there is never more than one.
    fetching: tokio::sync::Mutex<()>,
    last: Mutex<Option<Fetched>>,
}

/// The last fetch.
#[derive(Debug, Clone)]
struct Fetched {
    remote: String,
    /// Time since boot when it began.
    began: Duration,
    failure: Option<String>,
}

impl Origin {
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            repo: OnceLock::new(),
            fetching: tokio::sync::Mutex::new(()),
            last: Mutex::new(None),
        }
    }

    /// The repository. Blocks.
    pub fn repo(&self, budget: Budget) -> Result<Repo, GitError> {
        if let Some(repo) = self.repo.get() {
            return Ok(repo.clone());
        }
        let repo = Repo::open(&self.path, budget)?;
        Ok(self.repo.get_or_init(|| repo).clone())
    }

    fn last(&self) -> Option<Fetched> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the remote was not reached when it was last asked.
    pub fn failure(&self) -> Option<String> {
        self.last().and_then(|fetched| fetched.failure)
    }
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
    /// The base after one fetch; call it once a tick and pass it down. Where the remote cannot be reached
    /// the last known one is given, and why.
    ///
    /// # Errors
    /// [`PoolError::Git`] when there is no such ref, fetched or not.
    pub async fn base(&self, pool: &str) -> Result<Base, PoolError> {
        let (pools, name) = (self.clone(), pool.to_owned());
        let pool = self.pool(pool)?;
        let since = self.0.clock.boot().saturating_sub(FETCH_FRESH);
        // Goes on by itself where it takes longer than a tick may wait.
        let fetch = tokio::spawn(async move {
            match pools.pool(&name) {
                Ok(pool) => pools.fetch(pool, since).await,
                Err(e) => Err(e.to_string()),
            }
        });
        let stale = match tokio::time::timeout(BASE_WAIT, fetch).await {
            Ok(Ok(result)) => result.err(),
            Ok(Err(e)) => Some(e.to_string()),
            Err(_) => Some(format!("it has not answered within {} s", BASE_WAIT.as_secs())),
        };
        let (origin, base) = (Arc::clone(&pool.origin), pool.config.base.clone());
        let commit = blocking(move || {
            let budget = Budget::new(READ_MAX);
            origin.repo(budget)?.resolve(&base, budget)
        })
        .await?;
        Ok(Base { commit, stale })
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
        let base = pool.config.base.clone();
        let remote = base.split('/').next().unwrap_or_default().to_owned();
        if let Some(last) = pool.origin.last().filter(|last| last.remote == remote && last.began >= since) {
            return last.failure.map_or(Ok(()), Err);
        }
        let began = self.0.clock.boot();
        let origin = Arc::clone(&pool.origin);
        let result = blocking(move || {
            let budget = Budget::new(FETCH_MAX);
            origin.repo(budget)?.fetch(&base, budget)
        })
        .await;
        let failure = result.err().map(|e| e.to_string());
        let fetched = Fetched { remote, began, failure: failure.clone() };
        *pool.origin.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
        failure.map_or(Ok(()), Err)
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
