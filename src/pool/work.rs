//! What the holder of a lease does with its slot: branch, HEAD, commits. A lease that is over answers
//! nothing.

use std::time::Duration;

use crate::model::slot::{Slot, SlotState};
use crate::platform::failpoint;
use crate::platform::git::{Budget, Found, GitError, Tree};

use super::base::{Ground, blocking};
use super::{LeaseId, PoolError, Pools, table};

/// The longest that one of these may take.
const WORK_MAX: Duration = Duration::from_secs(60);
/// Names that are tried for one branch.
const SAME_NAME_MAX: u32 = 100;
/// Commits that are listed at most.
const COMMITS_MAX: usize = 1_000;

impl Pools {
    /// `name`, or the first of `name-2`, `name-3`, … of which there is no branch: one that nobody remembers, since the
    /// database is older than it, is somebody's work.
    ///
    /// # Errors
    /// [`PoolError::LeaseOver`]; [`PoolError::Git`] where git cannot tell, or they are all taken.
    pub async fn free_branch(&self, lease: LeaseId, name: &str) -> Result<String, PoolError> {
        let wanted = name.to_owned();
        let found = self.with_tree(lease, move |_, ground, budget| {
            let others = (2..=SAME_NAME_MAX).map(|n| format!("{wanted}-{n}"));
            for name in std::iter::once(wanted.clone()).chain(others) {
                if !ground.repo.has_branch(&name, budget)? {
                    return Ok(Some(name));
                }
            }
            Ok(None)
        });
        found.await?.ok_or_else(|| PoolError::Git(format!("{SAME_NAME_MAX} branches are named {name}")))
    }

    /// Makes the work branch at the slot's HEAD and checks it out.
    ///
    /// # Errors
    /// [`PoolError::LeaseOver`]; [`PoolError::Git`] where git refuses the name.
    pub async fn branch(&self, lease: LeaseId, name: &str) -> Result<(), PoolError> {
        let made = name.to_owned();
        self.with_tree(lease, move |tree, _, budget| tree.make_branch(&made, budget)).await?;
        failpoint::pass("pool.branch.made");
        let name = name.to_owned();
        let recorded = self
            .0
            .store
            .write(move |tx| {
                let Some(before) = table::by_lease(tx, lease)? else { return Ok(false) };
                let mut after = before.clone();
                after.branch = Some(name.clone());
                Ok::<_, PoolError>(table::update(tx, &after, SlotState::Leased, Some(lease))?)
            })
            .await?;
        if recorded { Ok(()) } else { Err(PoolError::LeaseOver(lease)) }
    }

    /// The full id of the slot's HEAD.
    ///
    /// # Errors
    /// [`PoolError::LeaseOver`]; [`PoolError::Git`] where HEAD is no commit.
    pub async fn head(&self, lease: LeaseId) -> Result<String, PoolError> {
        let head = self.with_tree(lease, |tree, _, budget| tree.head_commit(budget)).await?;
        head.ok_or_else(|| PoolError::Git("HEAD has no commit".to_owned()))
    }

    /// The commits of the slot's HEAD that its base at the claim does not have, newest first, at most 1,000.
    ///
    /// # Errors
    /// As [`Pools::head`].
    pub async fn run_commits(&self, lease: LeaseId) -> Result<Vec<String>, PoolError> {
        let slot = self.held(lease).await?;
        let base = slot.base_commit.unwrap_or_default();
        self.with_tree(lease, move |tree, ground, budget| match tree.head_commit(budget)? {
            Some(head) => ground.repo.commits(&head, &base, COMMITS_MAX, budget),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn held(&self, lease: LeaseId) -> Result<Slot, PoolError> {
        let found = self.0.store.read(move |conn| Ok::<_, PoolError>(table::by_lease(conn, lease)?)).await?;
        found.filter(|slot| slot.state() == SlotState::Leased).ok_or(PoolError::LeaseOver(lease))
    }

    async fn with_tree<T, F>(&self, lease: LeaseId, work: F) -> Result<T, PoolError>
    where
        F: FnOnce(&Tree, &Ground, Budget) -> Result<T, GitError> + Send + 'static,
        T: Send + 'static,
    {
        let slot = self.held(lease).await?;
        let budget = Budget::new(WORK_MAX);
        let ground = self.ground(self.pool(&slot.pool)?, budget).await?;
        let done = blocking(move || {
            let path = ground.dir.join(&slot.id);
            match ground.repo.find(&path)? {
                Found::Ours(tree) => work(&tree, &ground, budget),
                Found::Missing { .. } => Err(GitError::NotOurs { path, why: "is gone".to_owned() }),
                Found::Strange { why, .. } => Err(GitError::NotOurs { path, why }),
            }
        });
        Ok(done.await?)
    }
}
