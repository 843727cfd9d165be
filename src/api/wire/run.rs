//! Runs on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;
use crate::model::run::{RunState, StopReason, Trigger, Waiting};

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Never used twice; people see it as `#8132`.
    pub id: i64,
    pub task: String,
    /// The ticket an agent's run works on.
    pub ticket: Option<String>,
    /// Counts from 1.
    pub attempt: u32,
    /// `schedule`, `catch_up`, `manual`, `startup`, `retry` or `event`
    #[schema(value_type = String, example = "schedule")]
    pub trigger: Trigger,
    /// `claimed`, `running`, `stopping`, `ok`, `failed`, `timeout`, `killed`, `lost`, `not_started`,
    /// `blocked`, `skipped`, `missed` or `kill_failed`
    #[schema(value_type = String, example = "ok")]
    pub state: RunState,
    /// What the state alone does not say: why it was skipped, failed or lost.
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Who asked for it.
    pub actor: String,
    /// The due instant; a manual run has none.
    pub scheduled_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// From start to end; of a live run, from start to now.
    pub duration_ms: Option<i64>,
    /// From the due instant to the start.
    pub late_ms: Option<i64>,
    pub log_bytes: Option<i64>,
    /// What a claimed run waits for: `overlap`, `lock` or `parallel`
    #[schema(value_type = Option<String>)]
    pub waiting: Option<Waiting>,
    /// Who or what asked it to stop: `timeout`, `idle`, `cancelled`, `replaced` or `shutdown`
    #[schema(value_type = Option<String>)]
    pub stop_reason: Option<StopReason>,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// End of the span that a `missed` row covers.
    pub missed_to: Option<Timestamp>,
    /// Instants that a `missed` row covers.
    pub missed_count: Option<i64>,
}

/// `GET runs/{id}`, and the answer of everything that makes or changes a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub run: Run,
}

/// `GET runs`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub runs: Vec<Run>,
    /// Give it back as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

/// What `GET runs` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunFilter {
    /// Only this task's runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// States, separated by commas; `failing` stands for all that are failures, `live` for all that
    /// hold their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only runs claimed at or after this instant (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Rows a page, 1 to 500; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST tasks/{id}/runs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// Added to the run's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Run although the task is disabled or paused.
    #[serde(default)]
    pub force: bool,
}

/// `POST runs/{id}/kill`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRun {
    /// Between SIGTERM and SIGKILL; the task's own `kill_grace` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// What `GET runs/{id}/log` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Only the last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// From this byte on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// Data of a `log` event of `GET runs/{id}/stream`; the event's id is `next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogEvent {
    /// Of the first byte in the run's log.
    pub offset: u64,
    /// Where the next event starts.
    pub next: u64,
    /// The bytes as text; what is no UTF-8 is replaced.
    pub text: String,
}

/// Data of the last event, `end`, of `GET runs/{id}/stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndEvent {
    pub run: Run,
    /// Bytes of the log, all of which have been sent.
    pub log_bytes: u64,
}

/// Data of a `reset` event: what was asked for can no longer be sent in order, read it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResetEvent {
    /// `too_old`, `lagged` or `unknown_id`
    pub reason: String,
    /// Where the stream goes on.
    pub from: u64,
}
