//! Tasks on the wire.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Diagnostic, Run, SchemaVersion};
use crate::model::run::RunState;

/// How a task stands, in one word. The first that fits, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Its file has errors and no earlier version stands in: it never runs.
    Broken,
    /// A run of it is under way.
    Running,
    /// `enabled: false`
    Off,
    Paused,
    /// Its last run that ended was a failure.
    Failing,
    /// A one-shot that has had its instant.
    Done,
    /// Has no schedule; runs when asked.
    Manual,
    /// Has a schedule and has never run.
    New,
    Ok,
}

/// A task as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    pub id: String,
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    pub enabled: bool,
    pub state: TaskState,
    /// `command`, `agent` or `action`
    pub kind: String,
    /// As written in the file, lists joined by `; `.
    pub schedule: String,
    /// The same in words.
    pub schedule_human: String,
    /// IANA name.
    pub timezone: String,
    /// `null` when disabled, paused without an end, manual or spent.
    pub next_at: Option<Timestamp>,
    /// The run that is under way, else the last one that ended; rows that merely say why nothing ran
    /// do not count.
    pub last_run: Option<Run>,
    /// States of the last 14 runs, oldest first.
    #[schema(value_type = Vec<String>)]
    pub recent: Vec<RunState>,
    pub timeout_ms: i64,
    pub paused: Option<Paused>,
    pub definition: Definition,
    pub problems: Vec<Diagnostic>,
}

/// The file behind a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    pub file: String,
    /// SHA-256 of the file that counts, hex.
    pub hash: String,
    /// The file has errors; its last good version counts for now.
    pub stale: bool,
}

/// A pause that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    pub since: Timestamp,
    /// `null`: until someone resumes it.
    pub until: Option<Timestamp>,
    pub reason: Option<String>,
    pub actor: String,
}

/// `GET tasks`, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub tasks: Vec<Task>,
    pub next_cursor: Option<String>,
    /// Of all files, those that give no task among them.
    #[serde(default)]
    pub files_with_errors: u32,
}

/// What `GET tasks` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TaskFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// States, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Part of an id, name or description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Tasks a page, 1 to 1000; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `GET tasks/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub task: Task,
    /// Every setting with its default resolved; `null` for a file that does not parse.
    pub settings: Option<TaskSettings>,
}

/// What a run of the task will go by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSettings {
    /// Shell text or argv of a command, profile of an agent, name of an action.
    pub command: Vec<String>,
    /// The command is one text, given to a shell.
    pub through_shell: bool,
    pub jitter_ms: i64,
    pub overlap: String,
    pub locks: Vec<String>,
    pub catch_up: String,
    pub catch_up_window_ms: i64,
    pub timeout_ms: i64,
    pub kill_grace_ms: i64,
    pub idle_timeout_ms: Option<i64>,
    pub retries: Retries,
    pub on_interrupt: String,
    pub success_codes: Vec<i32>,
    pub working_dir: Option<String>,
    /// Names only: values may be private.
    pub env: Vec<String>,
    pub env_file: Option<String>,
    pub secrets: Vec<String>,
    pub pool: Option<String>,
    pub log_max_bytes: u64,
    pub keep_runs: u32,
    pub keep_for_ms: i64,
    pub deliver: String,
    pub grants: Vec<String>,
    pub owner: Option<String>,
    /// Documentation of a command, prompt of an agent.
    pub body: String,
    /// Whatever else the file says, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub more: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retries {
    pub max: u32,
    pub delay_ms: i64,
    /// Factor between one delay and the next, in thousandths.
    pub backoff_milli: u32,
    pub max_delay_ms: i64,
    pub when: Vec<String>,
}

/// `PATCH tasks/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskPatch {
    pub enabled: bool,
}

/// What `PATCH tasks/{id}` did to the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskEdited {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub task: Task,
    /// `null` when the file said so already.
    pub edit: Option<LineEdit>,
}

/// One changed line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LineEdit {
    pub file: String,
    /// Counts from 1.
    pub line: u32,
    /// `null` when the line is new.
    pub before: Option<String>,
    pub after: String,
}

/// `POST tasks/{id}/pause` and `POST pause`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseTask {
    /// The pause ends by itself after this time; without it, when someone resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Answer of `POST pause` and `POST resume`: the tasks that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TasksChanged {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub changed: Vec<String>,
}

/// A due instant to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fire {
    pub at: Timestamp,
    /// With the zone's offset.
    pub local: String,
    /// What the clocks do to it, if anything.
    pub note: Option<String>,
}

/// `GET tasks/{id}/next` and `POST schedule/preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fires {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub fires: Vec<Fire>,
    /// The schedule in words.
    #[serde(default)]
    pub human: Option<String>,
    #[serde(default)]
    pub timezone: Option<String>,
    /// What else is to be known: that the task is switched off or paused, or that it runs when the daemon starts.
    #[serde(default)]
    pub note: Option<String>,
}

/// What `GET tasks/{id}/next` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct NextQuery {
    /// How many, 1 to 500; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Only within this time from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Only after this instant (RFC 3339); now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// `POST schedule/preview`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewSchedule {
    pub schedule: String,
    /// IANA name; the daemon's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// 1 to 500; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Instants after this one; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// `GET tasks/{id}/why`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub task: String,
    /// The instant the answer is about.
    pub at: Timestamp,
    /// One sentence.
    pub answer: String,
    /// The row of the ledger that covers the instant.
    pub row: Option<Run>,
}

/// What `GET tasks/{id}/why` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// RFC 3339; now when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}
