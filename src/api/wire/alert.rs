//! Alerts on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;
use crate::model::alert::AlertState;

/// One trouble from its beginning to its end, and what was sent about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    pub id: i64,
    /// The same for everything that is the same trouble.
    pub fingerprint: String,
    /// `task_failed`, `ticket_asks`, …
    pub kind: String,
    /// `task:backup`, `ticket:MC-4`, …
    pub subject: String,
    /// `firing`, `acked`, `muted` or `resolved`
    #[schema(value_type = String, example = "firing")]
    pub state: AlertState,
    /// `info`, `warning` or `critical`
    pub severity: String,
    /// How often it happened.
    pub count: i64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub muted_until: Option<Timestamp>,
    /// Who acknowledged or muted it last.
    pub actor: Option<String>,
    /// The alert that it was folded into.
    pub folded_into: Option<i64>,
    /// As it reads on a phone, without markup.
    pub text: String,
    pub deliveries: Vec<Delivery>,
}

/// A message about an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// `telegram`
    pub channel: String,
    /// `first`, `again`, `worse`, `flapping`, `recovery` or `edit`
    pub purpose: String,
    /// `pending`, `sending`, `delivered`, `dead`, `unsent` (no way to a phone when it was made: it would have
    /// been sent) or `dropped`
    pub state: String,
    /// The channel's own number of it: what proves that it was delivered.
    pub message_id: Option<i64>,
    /// Of the last attempt.
    pub error: Option<String>,
    pub attempts: u32,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// `GET alerts`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertPage {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub alerts: Vec<Alert>,
    pub next_cursor: Option<String>,
    /// What is muted, whether it goes on or not.
    pub mutes: Vec<Mute>,
    /// Messages that have still to go.
    pub pending: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Mute {
    pub fingerprint: String,
    pub until: Timestamp,
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub alert: Alert,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertFilter {
    /// States, separated by commas
    pub state: Option<String>,
    pub cursor: Option<String>,
    pub limit: Option<u32>,
}

/// `POST alerts/{id}/mute`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteAlert {
    /// One hour when absent
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// `POST alerts/test`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertTest {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// As a delivery's
    pub state: String,
    pub message_id: Option<i64>,
    pub error: Option<String>,
}
