//! Agent profiles, what they used and what was refused to them, on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;

/// `GET agents`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentsDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub agents: Vec<AgentProfile>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentProfile {
    pub name: String,
    /// `claude`, `codex` or `plain`
    pub dialect: String,
    pub command: Vec<String>,
    pub state: AgentState,
    /// Workers at work.
    pub busy: u32,
    pub max_parallel: u32,
    /// When it works again, where that is known.
    pub cooled_until: Option<Timestamp>,
    /// Why it does not work.
    pub reason: Option<String>,
    /// What its program says to `--version`.
    pub version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    Ready,
    /// As many workers as it may have.
    Busy,
    /// Left alone for a while.
    Cooled,
    /// Left alone until a person has mended it.
    Disabled,
    /// Its program is not there or does not answer.
    Missing,
}

/// `POST agents/{name}/enable`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentEnabled {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub agent: String,
    /// Whether it had been resting.
    pub changed: bool,
}

/// `POST dispatch/pass`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PassDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub placed: u32,
    pub waiting: u32,
    /// Why nothing is dispatched: `disabled`, `paused` or `draining`.
    pub held: Option<String>,
}

/// `GET usage`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct UsageFilter {
    pub ticket: Option<String>,
    /// Only what ended since.
    #[param(value_type = Option<String>)]
    pub since: Option<Timestamp>,
    pub limit: Option<u32>,
}

/// Newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub usage: Vec<RunUsage>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunUsage {
    pub run: i64,
    pub ticket: Option<String>,
    pub task: String,
    pub agent: String,
    pub model: Option<String>,
    /// Without what came from a cache.
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_tokens: i64,
    /// Decimal; `null` when it is not known.
    pub cost_usd: Option<String>,
    /// `provider`
    pub cost_source: Option<String>,
    pub at: Timestamp,
}

/// `GET api-errors`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ApiErrorFilter {
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiErrorsDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub windows: Vec<ApiErrorWindow>,
    /// Newest first.
    pub errors: Vec<RefusedRequest>,
}

/// `GET api-errors/summary`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiErrorSummary {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub windows: Vec<ApiErrorWindow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiErrorWindow {
    /// `1h` or `24h`
    pub window: String,
    pub total: i64,
    pub by_kind: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RefusedRequest {
    pub at: Timestamp,
    /// `rate_limited`, `overloaded`, `auth`, `billing`, `bad_request`, …
    pub kind: String,
    pub agent: Option<String>,
    pub ticket: Option<String>,
    pub run: Option<i64>,
    /// HTTP status, where it is known.
    pub status: Option<u16>,
    pub message: String,
}

/// `POST api-errors`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteApiError {
    pub kind: String,
    #[serde(default)]
    pub agent: Option<String>,
    #[serde(default)]
    pub ticket: Option<String>,
    #[serde(default)]
    pub status: Option<u16>,
    pub message: String,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiErrorDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub error: RefusedRequest,
}
