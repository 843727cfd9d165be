//! The one-screen status on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Finding, HealthState, Run, SchemaVersion};

/// `GET status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub version: String,
    pub pid: u32,
    pub host: String,
    /// IANA name of the daemon's zone.
    pub timezone: String,
    pub started_at: Timestamp,
    pub uptime_ms: i64,
    pub health: HealthState,
    /// Since when, as far as a heartbeat has seen it.
    #[serde(default)]
    pub health_since: Option<Timestamp>,
    /// Starts nothing new.
    pub draining: bool,
    pub scheduler: Scheduler,
    pub database: Database,
    /// `null` without pools.
    pub pool: Option<PoolSummary>,
    /// `null` without a channel to send alerts by.
    pub outbox: Option<OutboxSummary>,
    pub running: Vec<Run>,
    pub failing: Vec<Failing>,
    pub problems: Vec<Finding>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scheduler {
    pub tasks: u32,
    pub enabled: u32,
    /// Files with errors that no earlier version stands in for.
    #[serde(default)]
    pub broken: u32,
    pub paused: u32,
    /// Live runs.
    pub running: u32,
    pub next_at: Option<Timestamp>,
    /// Whose turn it is then.
    pub next_task: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Database {
    pub bytes: u64,
    pub wal_bytes: u64,
    pub last_backup_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolSummary {
    pub slots: u32,
    pub free: u32,
    pub leased: u32,
    pub quarantined: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutboxSummary {
    pub pending: u32,
    pub oldest_age_ms: Option<i64>,
}

/// A task whose last run that ended was a failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Failing {
    pub task: String,
    /// Failures in a row.
    pub failures: u32,
    /// End of the first of them.
    pub since: Option<Timestamp>,
    pub last_run: Option<Run>,
}
