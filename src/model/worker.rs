//! A worker: an agent program at work on a ticket or a task. What it says, and what its end means.
//!
//! Money is decimal text, tokens are counts, times are milliseconds since the epoch.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ticket::Ask;

/// The language that an agent program speaks on its standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Claude Code's stream-json, in both directions.
    Claude,
    /// `codex exec --json`.
    Codex,
    /// Any program: prompt in, text out.
    Plain,
}

impl Dialect {
    pub const ALL: [Self; 3] = [Self::Claude, Self::Codex, Self::Plain];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Plain => "plain",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// A message can reach the program while it works.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Claude => true,
            Self::Codex | Self::Plain => false,
        }
    }
}

/// Token counts of one request, turn or run. The cache counts come on top of `input`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub input: i64,
    pub output: i64,
    pub cache_read: i64,
    pub cache_write: i64,
}

impl Tokens {
    /// Field by field the larger one.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write: self.cache_write.max(other.cache_write),
        }
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}

/// What one line of an agent's output says.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentEvent {
    Session {
        id: String,
        model: Option<String>,
    },
    Text(String),
    Tool {
        name: String,
        input: Value,
    },
    ToolResult {
        is_error: bool,
        text: String,
    },
    /// Told again with each part of one message: the last one for a message counts.
    Usage {
        message: Option<String>,
        model: Option<String>,
        tokens: Tokens,
    },
    Limit(Limit),
    /// The program tries a failed request again by itself.
    Retry {
        status: Option<u16>,
        error: String,
    },
    /// The provider refused a request; whether the turn fails by it, its result says.
    Trouble {
        kind: Option<String>,
        text: String,
    },
    /// The program has taken this message of ours from its input.
    Echo {
        message: i64,
    },
    /// The program asks a person.
    Question(Ask),
    TurnOver(TurnEnd),
    /// A line that means nothing to us; kept, never fatal.
    Raw,
}

/// What a provider says about a usage window.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The request was refused for it; a warning is no refusal.
    pub is_rejected: bool,
    /// Of the window that the provider speaks of.
    pub resets_ms: Option<i64>,
    pub windows: Vec<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub name: String,
    /// Thousandths of the window that are used up.
    pub used_milli: i64,
    pub resets_ms: i64,
}

/// How a turn ended, as the program tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnEnd {
    pub is_error: bool,
    /// HTTP status of the provider's answer, where that ended the turn.
    pub status: Option<u16>,
    /// The program's own word for how it ended.
    pub reason: Option<String>,
    pub text: String,
    /// Of the whole process so far, decimal US dollars.
    pub cost_usd: Option<String>,
    pub tokens: Tokens,
    pub model: Option<String>,
}

/// What a worker's end means for its ticket and its profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// It asked; a person answers.
    NeedsInput,
    /// The profile's usage is spent until then.
    RateLimited {
        until_ms: i64,
    },
    /// The provider has too much to do.
    Overloaded,
    /// The profile is not logged in.
    Auth,
    /// The account pays no further.
    Billing,
    /// The request itself is wrong; another profile would not help.
    BadRequest,
    /// Ended without a result.
    Crash,
    Timeout,
    /// Stopped by a person or the daemon.
    Stopped,
    /// Its keeper vanished.
    Lost,
    /// It could not be started.
    Unstartable,
}

impl Verdict {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NeedsInput => "needs_input",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::BadRequest => "bad_request",
            Self::Crash => "crash",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Lost => "lost",
            Self::Unstartable => "unstartable",
        }
    }
}

/// Whether a profile can be given work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Ready,
    Cooled {
        until_ms: i64,
        reason: String,
    },
    Disabled {
        reason: String,
    },
    /// Its program is not there or does not answer.
    Missing {
        reason: String,
    },
}
