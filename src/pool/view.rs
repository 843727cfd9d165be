//! Pools as they are shown: what the leases say, what git says, and where the two disagree.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::model::slot::{Slot, SlotState};
use crate::platform::git::{Budget, Found, GitError, Head, State};

use super::base::{Ground, blocking};
use super::{Pool, PoolError, Pools};

/// The longest that git is asked about one slot.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// One pool with its slots.
#[derive(Debug, Clone)]
pub struct PoolView {
    pub name: String,
    pub repo: PathBuf,
    pub base: String,
    /// Full id, as last fetched; none when there is no such ref.
    pub base_commit: Option<String>,
    /// When the remote was last reached, milliseconds since the epoch; none since the start.
    pub fetched_ms: Option<i64>,
    pub claim_wait: Duration,
    /// Why its repository or its remote cannot be read.
    pub trouble: Option<String>,
    pub slots: Vec<SlotView>,
}

/// One slot, by its lease and by git.
#[derive(Debug, Clone)]
pub struct SlotView {
    pub slot: Slot,
    pub path: PathBuf,
    /// Full id of the commit it stands at.
    pub head: Option<String>,
    /// Branch that is checked out.
    pub branch: Option<String>,
    /// Files changed or unknown to git; none when git was not asked or could not tell.
    pub dirty: Option<u32>,
    /// Where git and the lease disagree.
    pub drift: Vec<String>,
}

impl Pools {
    /// All pools, each slot looked at.
    ///
    /// # Errors
    /// Only what the database says: what git cannot tell is part of the view.
    pub async fn view(&self) -> Result<Vec<PoolView>, PoolError> {
        let mut views = Vec::new();
        for pool in &self.0.pools {
            views.push(self.view_of(pool).await?);
        }
        Ok(views)
    }

    async fn view_of(&self, pool: &Pool) -> Result<PoolView, PoolError> {
        let config = &pool.config;
        let rows = self.slots(&config.name).await?;
        let ground = self.known_ground(pool).await;
        let mut looks = JoinSet::new();
        for row in rows {
            let ground = ground.as_ref().ok().map(Arc::clone);
            let path = config.dir.join(&row.id);
            looks.spawn(async move { look(ground, row, path).await });
        }
        let mut slots = looks.join_all().await;
        slots.sort_by_key(|view| view.slot.number);
        let (base_commit, trouble) = match &ground {
            Ok(ground) => (Some(ground.base.clone()), pool.unread()),
            Err(e) => (None, Some(e.to_string())),
        };
        Ok(PoolView {
            name: config.name.clone(),
            repo: config.repo.clone(),
            base: config.base.clone(),
            base_commit,
            fetched_ms: pool.fetched().at_ms,
            claim_wait: config.claim_wait,
            trouble,
            slots,
        })
    }

    /// Without asking the network.
    async fn known_ground(&self, pool: &Pool) -> Result<Arc<Ground>, GitError> {
        super::base::ground(pool, Budget::new(LOOK_MAX)).await.map(Arc::new)
    }
}

async fn look(ground: Option<Arc<Ground>>, slot: Slot, path: PathBuf) -> SlotView {
    let mut view = SlotView { slot, path, head: None, branch: None, dirty: None, drift: Vec::new() };
    let Some(ground) = ground else { return view };
    view.path = ground.dir.join(&view.slot.id);
    let (path, keep) = (view.path.clone(), ground.keep.clone());
    let seen = blocking(move || {
        let budget = Budget::new(LOOK_MAX);
        Ok(match ground.repo.find(&path)? {
            Found::Ours(tree) => Seen::Tree(tree.head_commit(budget)?, tree.inspect(&keep, budget)?),
            Found::Missing { .. } => Seen::Nothing,
            Found::Strange { why, .. } => Seen::Strange(why),
        })
    });
    match seen.await {
        Ok(Seen::Tree(head, state)) => {
            view.head = head;
            view.dirty = Some(state.changes.tracked + state.changes.untracked);
            view.drift = drift(&view.slot, &state);
            if let Head::Branch(branch) = state.head {
                view.branch = Some(branch);
            }
        }
        Ok(Seen::Nothing) if view.slot.base_commit.is_none() && view.slot.state() == SlotState::Free => {}
        Ok(Seen::Nothing) => view.drift.push("its folder is gone".to_owned()),
        Ok(Seen::Strange(why)) => view.drift.push(why),
        Err(e) => view.drift.push(e.to_string()),
    }
    view
}

enum Seen {
    Tree(Option<String>, State),
    Nothing,
    Strange(String),
}

/// Where a slot's state and git disagree. What a holder does in its slot is its own business.
fn drift(slot: &Slot, state: &State) -> Vec<String> {
    match slot.state() {
        SlotState::Free => super::recipe::drift(state),
        SlotState::Leased => match (&slot.branch, &state.head) {
            (Some(wanted), Head::Branch(branch)) if wanted == branch => Vec::new(),
            (Some(wanted), Head::Branch(branch)) => vec![format!("on branch {branch}, not {wanted}")],
            (Some(wanted), Head::Detached(_)) => vec![format!("on no branch, not {wanted}")],
            (_, Head::Broken(_)) => vec!["unreadable HEAD".to_owned()],
            (None, Head::Branch(_) | Head::Detached(_)) => Vec::new(),
        },
        SlotState::Preparing | SlotState::Releasing | SlotState::Rebuilding => Vec::new(),
        SlotState::Quarantined => {
            let mut drift = super::recipe::drift(state);
            drift.extend(slot.note.clone());
            drift
        }
    }
}
