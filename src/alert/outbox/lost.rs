//! What died on the way to people and still matters.

pub(in crate::alert) mod table;

use crate::model::ids::RunId;

/// What has died within a time and still matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// Alerts that go on and of which nothing was told since.
    pub alerts: i64,
    /// What the newest message about one died of.
    pub why: Option<String>,
    pub outputs: LostOutputs,
}

/// Output that was to be delivered and never will be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostOutputs {
    pub count: i64,
    /// Of the newest: whose it is, what it died of, and when, milliseconds since the epoch.
    pub run: Option<RunId>,
    pub why: Option<String>,
    pub at_ms: Option<i64>,
}
