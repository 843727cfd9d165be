//! Messages to workers on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;
use crate::model::message::MessageState;

/// A message with its receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    pub id: i64,
    pub ticket: String,
    /// `received`, `queued`, `claimed`, `delivered`, `acked`, `expired`, `failed` or `dead`
    #[schema(value_type = String, example = "queued")]
    pub state: MessageState,
    /// Failed deliveries.
    pub attempts: u32,
    pub text: String,
    pub author: String,
    pub via: String,
    pub created_at: Timestamp,
    pub delivered_at: Option<Timestamp>,
    pub acked_at: Option<Timestamp>,
    /// Why it expired, failed or is dead.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessageDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub message: Message,
}

/// `GET messages`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MessagePage {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub messages: Vec<Message>,
    pub next_cursor: Option<String>,
}

/// What `GET messages` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MessageFilter {
    /// States, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// 1 to 500; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST tickets/{id}/messages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    pub text: String,
    /// `api` when absent
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

/// `POST messages/{id}/fail`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailMessage {
    pub error: String,
}
