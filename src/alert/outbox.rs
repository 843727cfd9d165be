//! What is to be sent, durable until it is known to have arrived. A row that tells of an alert holds no text: it
//! says, when it goes, how things stand then; so an outage ends in few messages that are true.

pub(super) mod lost;
pub(super) mod stale;
pub(super) mod table;

use serde::{Deserialize, Serialize};

use crate::model::alert::AlertId;
use crate::model::ids::RunId;
use crate::model::notice::{Part, Topic};
use crate::model::task::Severity;

/// A row that has waited so long is given up, milliseconds.
pub const GIVE_UP_MS: i64 = 24 * 3_600_000;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    First,
    Again,
    Worse,
    Flapping,
    Recovery,
    /// Changes a message that was sent.
    Edit,
    /// Somebody's text, word for word.
    Brief,
    Test,
}

impl Purpose {
    const ALL: [Self; 8] = [
        Self::First,
        Self::Again,
        Self::Worse,
        Self::Flapping,
        Self::Recovery,
        Self::Edit,
        Self::Brief,
        Self::Test,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Again => "again",
            Self::Worse => "worse",
            Self::Flapping => "flapping",
            Self::Recovery => "recovery",
            Self::Edit => "edit",
            Self::Brief => "brief",
            Self::Test => "test",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    /// The call is under way, or a daemon died in it.
    Sending,
    /// Telegram has told its number.
    Delivered,
    /// Given up.
    Dead,
    /// There was no way to people when it was made: it would have been sent.
    Unsent,
    /// Nothing was left to say.
    Dropped,
}

impl DeliveryState {
    const ALL: [Self; 6] =
        [Self::Pending, Self::Sending, Self::Delivered, Self::Dead, Self::Unsent, Self::Dropped];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Unsent => "unsent",
            Self::Dropped => "dropped",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Pending | Self::Sending => false,
            Self::Delivered | Self::Dead | Self::Unsent | Self::Dropped => true,
        }
    }
}

/// A message as a person asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub purpose: Purpose,
    pub state: DeliveryState,
    /// Telegram's number of it.
    pub message: Option<i64>,
    pub error: Option<String>,
    pub attempts: u32,
    pub created_ms: i64,
    pub ended_ms: Option<i64>,
}

/// A row to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewRow {
    pub alert: Option<AlertId>,
    pub purpose: Purpose,
    pub severity: Severity,
    pub topic: Topic,
    pub text: Option<Vec<Part>>,
    /// Whose output the text is.
    pub run: Option<RunId>,
    pub original: Option<i64>,
    pub not_before_ms: i64,
    pub now_ms: i64,
}

impl NewRow {
    /// Critical before the rest, new before changed.
    pub fn rank(&self) -> i64 {
        let is_critical = self.severity == Severity::Critical;
        match self.purpose {
            Purpose::Edit => 0,
            Purpose::First | Purpose::Again | Purpose::Worse | Purpose::Flapping | Purpose::Recovery
                if is_critical =>
            {
                3
            }
            // Somebody waits for it.
            Purpose::Test => 2,
            Purpose::First
            | Purpose::Again
            | Purpose::Worse
            | Purpose::Flapping
            | Purpose::Recovery
            | Purpose::Brief => 1,
        }
    }
}

/// A row that is to go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queued {
    pub id: i64,
    pub alert: Option<AlertId>,
    pub purpose: Purpose,
    pub severity: Severity,
    pub topic: Topic,
    pub text: Option<Vec<Part>>,
    pub original: Option<i64>,
    pub created_ms: i64,
    pub attempts: u32,
    /// An earlier attempt may have come through.
    pub is_doubtful: bool,
    /// Its markup was refused.
    pub is_plain: bool,
    /// Its topic, or the message that it answers, is gone.
    pub is_bare: bool,
}

/// What has not been sent yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub pending: i64,
    /// When the oldest was made, milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
}

/// How things stand with the way to people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// Why nothing gets through until a person has mended it.
    pub broken: Option<String>,
    pub since_ms: Option<i64>,
    /// The chat of the settings when it was last looked at.
    pub configured: Option<i64>,
    /// What it has become.
    pub chat: Option<i64>,
}
