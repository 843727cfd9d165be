//! What is wrong with a file, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SchemaVersion;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
    Info,
}

/// The code of what is wrong with the daemon's own settings.
pub const SETTINGS_CODE: &str = "settings";

/// One remark on one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    pub file: String,
    /// Counts from 1; `null` when it is about the file as a whole.
    pub line: Option<u32>,
    /// In characters, counts from 1.
    pub column: Option<u32>,
    #[serde(default)]
    pub end_line: Option<u32>,
    #[serde(default)]
    pub end_column: Option<u32>,
    pub severity: Severity,
    /// `lucid explain CODE` says more, except of `settings`.
    pub code: String,
    pub message: String,
    pub help: Option<String>,
}

/// `POST check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub diagnostics: Vec<Diagnostic>,
    /// Files looked at.
    pub files: u32,
    pub errors: u32,
    pub warnings: u32,
}

/// What `POST check` is asked: one task file's text, or with an empty body all files that the
/// daemon reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    /// Name for the diagnostics and the task's id, such as `tasks/x.md`; nothing is read from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
