//! Health on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SchemaVersion;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    Healthy,
    Degraded,
    Critical,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    pub id: String,
    pub state: HealthState,
    pub value: Option<String>,
    pub detail: String,
    /// The command that mends it, or where to look.
    pub hint: Option<String>,
}

/// `GET health`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// The worst of the checks.
    pub state: HealthState,
    pub checks: Vec<Check>,
}

/// `GET /readyz?verbose`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub ready: bool,
    pub checks: Vec<ReadyCheck>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReadyCheck {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// `GET /api/health`, for probes made for the system that went before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlainHealth {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub status: HealthState,
}

/// Something wrong, with the command that mends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Stays the same while the same thing is wrong.
    pub id: String,
    /// `critical`, `warning` or `info`
    pub severity: String,
    /// The task, slot or part it is about.
    pub subject: String,
    pub text: String,
    pub since: Option<Timestamp>,
    /// A command line to copy.
    pub fix: Option<String>,
}

/// `GET problems`, gravest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problems {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub problems: Vec<Finding>,
}
