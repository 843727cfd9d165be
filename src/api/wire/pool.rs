//! Worktree pools on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SchemaVersion;
use crate::model::slot::SlotState;

/// `GET pool`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub pools: Vec<Pool>,
}

/// A repository and its worktrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pool {
    pub name: String,
    pub repo: String,
    /// The remote-tracking branch that slots start from.
    pub base: String,
    /// Full id of its commit, as last fetched; `null` when there is none.
    pub base_commit: Option<String>,
    /// When the remote was last fetched; `null` when it was not since the start.
    pub fetched: Option<Timestamp>,
    pub claim_wait_ms: i64,
    /// Why its repository or its remote cannot be read.
    pub trouble: Option<String>,
    pub slots: Vec<Slot>,
}

/// One worktree: its lease, and what git says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Slot {
    pub id: String,
    pub path: String,
    /// `free`, `preparing`, `leased`, `releasing`, `rebuilding` or `quarantined`
    #[schema(value_type = String, example = "free")]
    pub state: SlotState,
    /// Since when it is in that state.
    pub since: Timestamp,
    pub ticket: Option<String>,
    pub run: Option<i64>,
    /// Rises with every claim.
    pub lease: Option<i64>,
    /// Full id of the commit it stands at; `null` when there is no worktree.
    pub head: Option<String>,
    /// The branch that is checked out; `null` when none is.
    pub branch: Option<String>,
    /// Files changed or unknown to git; `null` when git cannot tell.
    pub dirty: Option<u32>,
    /// Where git and the lease disagree; empty when all is well.
    pub drift: Vec<String>,
    /// What was noted when it was last worked on.
    pub note: Option<String>,
}

/// `POST pool/{name}/heal`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealPool {
    /// Only this slot; all that nobody has when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// What a heal has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub healed: Vec<HealedSlot>,
}

/// One slot that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HealedSlot {
    pub slot: String,
    /// Where it stands now.
    #[schema(value_type = String, example = "free")]
    pub state: SlotState,
    /// What was wrong; empty when nothing was.
    pub found: Vec<String>,
    /// Refs of the repository that hold what was unsaved.
    pub rescued: Vec<String>,
    pub notes: Vec<String>,
}
