//! Why a run is there, why it waits, why it is stopped.

use serde::{Deserialize, Serialize};

/// What made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Schedule,
    CatchUp,
    Manual,
    Startup,
    Retry,
    Event,
}

impl Trigger {
    pub const ALL: [Self; 6] =
        [Self::Schedule, Self::CatchUp, Self::Manual, Self::Startup, Self::Retry, Self::Event];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::CatchUp => "catch_up",
            Self::Manual => "manual",
            Self::Startup => "startup",
            Self::Retry => "retry",
            Self::Event => "event",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// Why a claimed run has not been let go yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// Behind an earlier run of the same task; holds no key.
    Overlap,
    /// For a named lock.
    Lock,
    /// For a place under `max_parallel_runs`.
    Parallel,
}

impl Waiting {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlap => "overlap",
            Self::Lock => "lock",
            Self::Parallel => "parallel",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Overlap, Self::Lock, Self::Parallel].into_iter().find(|w| w.name() == name)
    }
}

/// Who or what asked a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    Timeout,
    Idle,
    Cancelled,
    Replaced,
    Shutdown,
    /// An agent has said its last word and hangs.
    TurnOver,
}

impl StopReason {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::TurnOver => "turn_over",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Timeout, Self::Idle, Self::Cancelled, Self::Replaced, Self::Shutdown, Self::TurnOver]
            .into_iter()
            .find(|r| r.name() == name)
    }
}
