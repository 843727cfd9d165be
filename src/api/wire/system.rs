//! What is asked of the daemon as a whole, on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Diagnostic, SchemaVersion};

/// `POST reload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    /// Why a file was not taken over; of the settings, why the next start would be refused.
    pub rejected: Vec<Diagnostic>,
    /// Settings that the next start of the daemon will bring into force.
    #[serde(default)]
    pub restart: Vec<String>,
}

/// `POST drain`, `POST undrain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drained {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub draining: bool,
    /// Live runs, which go on.
    pub running: Vec<i64>,
}

/// `POST stop`: answered when it is decided, before the runs have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopping {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub pid: u32,
    /// Live runs, which are asked to end.
    pub running: Vec<i64>,
}

/// `POST backup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub backup: Backup,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    pub path: String,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
    /// When the copy was opened and its integrity checked.
    pub verified_at: Timestamp,
}

/// `GET config`: every key with its effective value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EffectiveConfig {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub config: Vec<ConfigValue>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigValue {
    /// Dotted path.
    pub key: String,
    /// Secrets are masked.
    #[schema(value_type = Object)]
    pub value: Value,
    /// `FILE:LINE`, `env NAME` or `default`
    pub source: String,
}
