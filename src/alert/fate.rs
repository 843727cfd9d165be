//! What a call that failed means for its row, and whether a message makes a sound. Pure.

use tracing::warn;

use super::outbox::{Purpose, Queued};
use super::telegram::{Sound, TelegramError};
use crate::model::task::Severity;

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered {
        message: i32,
    },
    /// Tried again.
    Back {
        why: String,
        wait: Wait,
    },
    Dead {
        why: String,
        blame: Blame,
    },
    Dropped {
        why: String,
    },
}

impl Fate {
    /// Where only something else than a message has got through since the way was shut, it is the same outage: the
    /// message that finds so waits for its end. So does somebody's text whenever the way is shut: nothing would tell
    /// it anew. A test is what somebody waits for.
    pub(super) fn on_trial(self, is_unproven: bool, purpose: Purpose) -> Self {
        let waits = purpose == Purpose::Brief || is_unproven && purpose != Purpose::Test;
        match self {
            Self::Dead { why, blame: Blame::Channel } if waits => Self::Back { why, wait: Wait::None },
            other => other,
        }
    }
}

/// What a message died of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing gets through: it is told when that is mended.
    Channel,
    /// The message itself: it would die again.
    Message,
}

/// When a row is tried again, as far as the row itself is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// It is not the row's fault, or the row has changed: as soon as the chat may be sent to.
    None,
    /// Longer with each attempt: one that always fails must not hold up the others.
    Grows,
}

/// First and longest wait of a row, milliseconds. Half of what the chat waits for at the same number of failures,
/// so that an outage keeps the order.
const WAIT_MS: (i64, i64) = (500, 150_000);

/// Attempts of a message that Telegram takes and tells no number of: one, and one marked repeat.
const UNNAMED_MAX: u32 = 2;

impl Wait {
    /// Milliseconds after this many attempts.
    pub(super) fn length_ms(self, attempts: u32) -> i64 {
        let (least, most) = WAIT_MS;
        match self {
            Self::None => 0,
            Self::Grows => {
                least.saturating_mul(2_i64.saturating_pow(attempts.saturating_sub(1).min(30))).min(most)
            }
        }
    }
}

/// What a failed call means for its row, which learns what the next attempt has to know.
pub(super) fn fate(row: &mut Queued, why: &TelegramError) -> Fate {
    let text = why.to_string();
    let is_edit = row.purpose == Purpose::Edit;
    match why {
        TelegramError::Unclear(_) => {
            row.is_doubtful = row.is_doubtful || !is_edit;
            Fate::Back { why: text, wait: Wait::Grows }
        }
        TelegramError::Unnamed if is_edit => Fate::Dropped { why: text },
        TelegramError::Unnamed if row.attempts < UNNAMED_MAX => {
            row.is_doubtful = true;
            Fate::Back { why: text, wait: Wait::Grows }
        }
        TelegramError::Trouble(_) => Fate::Back { why: text, wait: Wait::Grows },
        TelegramError::Unreachable(_) | TelegramError::Busy { .. } | TelegramError::Moved { .. } => {
            Fate::Back { why: text, wait: Wait::None }
        }
        TelegramError::Markup(_) if !row.is_plain => {
            row.is_plain = true;
            warn!(why = text, "markup of ours was refused; the same is sent as plain text");
            Fate::Back { why: text, wait: Wait::None }
        }
        TelegramError::Gone(_) | TelegramError::Refused(_) | TelegramError::Shut(_) if is_edit => {
            Fate::Dropped { why: text }
        }
        TelegramError::Gone(_) if !row.is_bare => {
            row.is_bare = true;
            Fate::Back { why: text, wait: Wait::None }
        }
        TelegramError::Shut(_) => Fate::Dead { why: text, blame: Blame::Channel },
        TelegramError::Markup(_)
        | TelegramError::Gone(_)
        | TelegramError::Refused(_)
        | TelegramError::Unchanged
        | TelegramError::Unnamed => Fate::Dead { why: text, blame: Blame::Message },
    }
}

/// Whether the quiet hours are on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Night(pub bool);

pub(super) fn sound(row: &Queued, night: Night) -> Sound {
    match (row.purpose, row.severity) {
        (Purpose::Test, _) | (_, Severity::Critical) => Sound::Heard,
        (Purpose::Recovery | Purpose::Brief | Purpose::Edit, _) | (_, Severity::Info) => Sound::Silent,
        (Purpose::First | Purpose::Again | Purpose::Worse | Purpose::Flapping, Severity::Warning) => {
            if night.0 { Sound::Silent } else { Sound::Heard }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::notice::Topic;

    fn row(purpose: Purpose) -> Queued {
        Queued {
            id: 1,
            alert: None,
            purpose,
            severity: Severity::Warning,
            topic: Topic::Alerts,
            text: None,
            original: None,
            created_ms: 0,
            attempts: 1,
            is_doubtful: false,
            is_plain: false,
            is_bare: false,
        }
    }

    #[test]
    fn what_becomes_of_a_row_by_each_failure() {
        let text = || "x".to_owned();
        let failures = [
            TelegramError::Unreachable(text()),
            TelegramError::Unclear(text()),
            TelegramError::Unnamed,
            TelegramError::Busy { after: Duration::from_secs(1) },
            TelegramError::Moved { to: 1 },
            TelegramError::Markup(text()),
            TelegramError::Gone(text()),
            TelegramError::Shut(text()),
            TelegramError::Trouble(text()),
            TelegramError::Refused(text()),
        ];
        let mut told = String::new();
        for why in failures {
            for purpose in [Purpose::First, Purpose::Edit] {
                let mut row = row(purpose);
                let mut line = format!("{:<12}", why.to_string().split(':').next().unwrap_or_default());
                // Twice: what was learned must lead on.
                for _ in 0..2 {
                    let name = match fate(&mut row, &why) {
                        Fate::Delivered { .. } => "delivered",
                        Fate::Back { .. } => "back",
                        Fate::Dead { .. } => "dead",
                        Fate::Dropped { .. } => "dropped",
                    };
                    line.push_str(&format!(" {name}"));
                }
                let learned = [(row.is_doubtful, "doubtful"), (row.is_plain, "plain"), (row.is_bare, "bare")];
                let learned: Vec<&str> =
                    learned.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
                told.push_str(&format!("{line} {} ({})\n", learned.join(" "), purpose.name()));
            }
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn what_is_taken_and_gets_no_number_is_repeated_once() {
        let mut row = row(Purpose::First);
        assert!(matches!(fate(&mut row, &TelegramError::Unnamed), Fate::Back { wait: Wait::Grows, .. }));
        assert!(row.is_doubtful);
        row.attempts = UNNAMED_MAX;
        let end = fate(&mut row, &TelegramError::Unnamed);
        assert!(matches!(end, Fate::Dead { blame: Blame::Message, .. }), "{end:?}");
        let end = fate(&mut row, &TelegramError::Shut("x".into()));
        assert!(matches!(end, Fate::Dead { blame: Blame::Channel, .. }), "{end:?}");
    }

    #[test]
    fn a_message_survives_a_way_that_only_seemed_mended() {
        let shut = || Fate::Dead { why: "blocked".into(), blame: Blame::Channel };
        let back = Fate::Back { why: "blocked".into(), wait: Wait::None };
        assert_eq!(shut().on_trial(true, Purpose::First), back.clone());
        assert_eq!(shut().on_trial(false, Purpose::First), shut());
        assert_eq!(shut().on_trial(true, Purpose::Test), shut());
        assert_eq!(shut().on_trial(false, Purpose::Brief), back, "nothing would tell it anew");
        let own = Fate::Dead { why: "too long".into(), blame: Blame::Message };
        assert_eq!(own.clone().on_trial(true, Purpose::First), own);
    }

    #[test]
    fn a_row_waits_longer_each_time_and_never_for_ever() {
        let waits: Vec<i64> = [1, 2, 3, 9, 99].map(|attempts| Wait::Grows.length_ms(attempts)).to_vec();
        assert_eq!(waits, [500, 1_000, 2_000, 128_000, 150_000]);
        assert_eq!(Wait::None.length_ms(99), 0);
        let of = |why: TelegramError| match fate(&mut row(Purpose::First), &why) {
            Fate::Back { wait, .. } => wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(of(TelegramError::Trouble("500".into())), Wait::Grows);
        assert_eq!(of(TelegramError::Unclear("reset".into())), Wait::Grows);
        assert_eq!(of(TelegramError::Unreachable("refused".into())), Wait::None);
        assert_eq!(of(TelegramError::Markup("<".into())), Wait::None);
    }

    #[test]
    fn what_makes_a_sound() {
        let heard = |purpose, severity, night| {
            let mut row = row(purpose);
            row.severity = severity;
            sound(&row, Night(night)) == Sound::Heard
        };
        assert!(heard(Purpose::First, Severity::Warning, false));
        assert!(!heard(Purpose::First, Severity::Warning, true));
        assert!(heard(Purpose::First, Severity::Critical, true));
        assert!(!heard(Purpose::Recovery, Severity::Warning, false));
        assert!(heard(Purpose::Recovery, Severity::Critical, true));
        assert!(!heard(Purpose::Brief, Severity::Warning, false));
        assert!(heard(Purpose::Test, Severity::Warning, true));
    }
}
