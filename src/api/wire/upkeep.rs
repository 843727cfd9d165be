//! The built-in actions on the wire: what they did, briefs, what syncs came to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;

/// `POST upkeep/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpkeepDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub action: String,
    /// How many of what.
    pub counts: BTreeMap<String, u64>,
    /// The counts in words.
    pub summary: String,
    /// One line for each thing that was found or done.
    pub lines: Vec<String>,
}

/// `GET brief`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct BriefFilter {
    /// `morning` (the default) or `weekly`
    pub kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BriefDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// `morning` or `weekly`
    pub kind: String,
    /// Nothing in it needs anybody.
    pub quiet: bool,
    /// Tickets that wait for a person.
    pub needs_you: u32,
    /// Tasks whose last run failed.
    pub failing: u32,
    /// What it says, ready to be sent.
    pub text: String,
}

/// `POST syncs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSyncs {
    pub syncs: Vec<SyncOutcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncOutcome {
    /// As it stands under `syncs:` in the config.
    pub name: String,
    pub ok: bool,
    /// What was done, or why nothing was.
    pub detail: String,
}

/// What was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SyncsDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub syncs: Vec<SyncOutcome>,
}
