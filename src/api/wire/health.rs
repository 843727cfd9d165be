//! Health on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
    /// Stays the same for the same thing.
    pub id: String,
    pub state: HealthState,
    /// What was measured, with its unit.
    #[serde(default)]
    pub value: Option<String>,
    /// From where on it is degraded, and critical.
    #[serde(default)]
    pub warn_at: Option<String>,
    #[serde(default)]
    pub critical_at: Option<String>,
    pub detail: String,
    /// The command that mends it, or where to look.
    #[serde(default)]
    pub hint: Option<String>,
}

/// What `GET health` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HealthQuery {
    /// 1 looks at disks and agents now; else they are as the last heartbeat saw them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u8>,
}

/// `POST health`: what a heartbeat has seen from outside the daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportHealth {
    pub checks: Vec<Check>,
}

/// `POST health/tokens`: what was found of logins that only a person can renew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportTokens {
    pub tokens: Vec<TokenFound>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenFound {
    pub name: String,
    pub state: TokenState,
    #[serde(default)]
    pub detail: String,
    /// When the look began; one that was overtaken by another is not taken.
    #[serde(default)]
    pub looked_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    Well,
    Expiring,
    NeedsReauth,
    /// The check itself could not tell.
    Unknown,
}

/// `GET health/tokens`, `POST health/tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub tokens: Vec<Token>,
}

/// A login as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub name: String,
    pub state: TokenState,
    pub detail: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was looked at.
    pub at: Timestamp,
    /// Where a person renews it.
    pub portal: Option<String>,
    /// The ticket that asks for it.
    pub ticket: Option<String>,
}

/// `GET health`; a heartbeat's file is this with its instant, version and pid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// The worst of the checks.
    pub state: HealthState,
    /// Since when, as far as a heartbeat has seen it.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The last heartbeat.
    #[serde(default)]
    pub beat_at: Option<Timestamp>,
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
