//! What a button stands for. Its words come back from the phone, so they are read like any foreign text. Pure.

use std::time::Duration;

use super::command::length;
use crate::alert::telegram::BUTTON_DATA_MAX_BYTES;
use crate::model::alert::AlertId;
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::message::MessageId;
use crate::model::notice::Button;
use crate::model::ticket::Ask;

/// A question "Are you sure?" can be answered for so long, minutes.
const SURE_MINUTES: i64 = 10;
const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Press {
    Ack(AlertId),
    Mute(AlertId, Duration),
    Unmute(AlertId),
    Log(RunId),
    Retry(RunId),
    Kill(RunId),
    PauseTask(TaskId, Duration),
    RunTask(TaskId),
    /// An answer that the ticket's question offers, by its place; and which question was meant, where the
    /// button knows.
    Choose {
        ticket: TicketId,
        place: usize,
        question: Option<u32>,
    },
    Snooze(TicketId, Duration),
    /// Back in line: a worker is put on it.
    Todo(TicketId),
    Close(TicketId),
    RetryMessage(MessageId),
    /// Its text stays on the ticket; the message goes.
    KeepAsComment(MessageId),
    DropMessage(MessageId),
    Status,
    /// What was written in this update, by our number of it.
    Written(i64),
    /// Yes to what a person was asked in this minute of the epoch.
    Sure {
        minute: i64,
        of: Box<Press>,
    },
    /// No; to what was written in this update, where the question was about one.
    NotSure(Option<i64>),
}

/// Reads a button's data; none when it is not ours.
#[must_use]
pub fn read(data: &str) -> Option<Press> {
    if data.len() > BUTTON_DATA_MAX_BYTES {
        return None;
    }
    if data == "n" {
        return Some(Press::NotSure(None));
    }
    if let Some(Press::Written(id)) = data.strip_prefix("n:").and_then(read) {
        return Some(Press::NotSure(Some(id)));
    }
    if let Some(rest) = data.strip_prefix("y:") {
        let (minute, of) = rest.split_once(':')?;
        let of = read(of).filter(Press::wants_a_second_word)?;
        return Some(Press::Sure { minute: minute.parse().ok()?, of: Box::new(of) });
    }
    let parts: Vec<&str> = data.split(':').collect();
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n > 0);
    let span = |text: &str| length(text).ok();
    let ticket = |text: &str| text.parse::<TicketId>().ok();
    Some(match parts.as_slice() {
        ["a", "ack", id] => Press::Ack(AlertId(number(id)?)),
        ["a", "mute", id, for_] => Press::Mute(AlertId(number(id)?), span(for_)?),
        ["a", "unmute", id] => Press::Unmute(AlertId(number(id)?)),
        ["r", "log", id] => Press::Log(RunId(number(id)?)),
        ["r", "retry", id] => Press::Retry(RunId(number(id)?)),
        ["r", "kill", id] => Press::Kill(RunId(number(id)?)),
        ["p", for_, id] => Press::PauseTask(TaskId::parse(id).ok()?, span(for_)?),
        ["r" | "t", "run", id] => Press::RunTask(TaskId::parse(id).ok()?),
        ["t", "option", id, place] => {
            Press::Choose { ticket: ticket(id)?, place: place.parse().ok()?, question: None }
        }
        ["t", "option", id, place, question] => Press::Choose {
            ticket: ticket(id)?,
            place: place.parse().ok()?,
            question: Some(u32::from_str_radix(question, 16).ok()?),
        },
        ["t", "snooze", id, for_] => Press::Snooze(ticket(id)?, span(for_)?),
        ["t", "todo", id] => Press::Todo(ticket(id)?),
        ["t", "close", id] => Press::Close(ticket(id)?),
        ["m", "retry", id] => Press::RetryMessage(MessageId(number(id)?)),
        ["m", "comment", id] => Press::KeepAsComment(MessageId(number(id)?)),
        ["m", "drop", id] => Press::DropMessage(MessageId(number(id)?)),
        ["s", "status"] => Press::Status,
        ["u", "do", id] => Press::Written(number(id)?),
        _ => return None,
    })
}

impl Press {
    /// May be what nobody wants to do with a slip of the thumb.
    #[must_use]
    pub fn wants_a_second_word(&self) -> bool {
        match self {
            Self::Retry(_)
            | Self::Kill(_)
            | Self::RunTask(_)
            | Self::Todo(_)
            | Self::Close(_)
            | Self::Written(_) => true,
            Self::Ack(_)
            | Self::Mute(..)
            | Self::Unmute(_)
            | Self::Log(_)
            | Self::PauseTask(..)
            | Self::Choose { .. }
            | Self::Snooze(..)
            | Self::RetryMessage(_)
            | Self::KeepAsComment(_)
            | Self::DropMessage(_)
            | Self::Status
            | Self::Sure { .. }
            | Self::NotSure(_) => false,
        }
    }
}

/// Yes and No for `data`, asked at `now_ms`.
#[must_use]
pub fn sure(data: &str, now_ms: i64) -> Vec<Button> {
    // What was written stays open until somebody has answered.
    let no = match read(data) {
        Some(Press::Written(_)) => format!("n:{data}"),
        Some(_) | None => "n".to_owned(),
    };
    vec![Button::data("Yes", format!("y:{}:{data}", now_ms / MINUTE_MS)), Button::data("No", no)]
}

/// Whether a yes to what was asked in `minute` still counts.
#[must_use]
pub fn counts(minute: i64, now_ms: i64) -> bool {
    (0..=SURE_MINUTES).contains(&(now_ms / MINUTE_MS - minute))
}

/// The button of one of a question's answers. It knows its question: the next one may offer something else in
/// the same place.
#[must_use]
pub fn option_data(ticket: &TicketId, place: usize, ask: &Ask) -> String {
    format!("t:option:{ticket}:{place}:{:x}", question(ask))
}

/// Tells questions apart.
#[must_use]
pub fn question(ask: &Ask) -> u32 {
    // FNV-1a.
    let texts = std::iter::once(&ask.need).chain(&ask.options);
    texts
        .flat_map(|text| text.bytes().chain([0]))
        .fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::Press as Pressed;
    use proptest::prelude::*;

    #[test]
    fn what_is_on_the_buttons_is_read_and_nothing_else() {
        let table = [
            ("a:ack:12", "Ack(AlertId(12))"),
            ("a:mute:12:1h", "Mute(AlertId(12), 3600s)"),
            ("a:unmute:12", "Unmute(AlertId(12))"),
            ("r:log:8123", "Log(RunId(8123))"),
            ("r:retry:8123", "Retry(RunId(8123))"),
            ("p:1h:sub/backup", r#"PauseTask(TaskId("sub/backup"), 3600s)"#),
            ("t:run:backup", r#"RunTask(TaskId("backup"))"#),
            ("r:run:sub/backup", r#"RunTask(TaskId("sub/backup"))"#),
            ("m:comment:3", "KeepAsComment(MessageId(3))"),
            ("s:status", "Status"),
            ("n", "NotSure(None)"),
            ("n:u:do:7", "NotSure(Some(7))"),
            ("y:29:u:do:7", "Sure { minute: 29, of: Written(7) }"),
            ("y:29:r:kill:5", "Sure { minute: 29, of: Kill(RunId(5)) }"),
        ];
        for (data, wanted) in table {
            assert_eq!(read(data).map(|press| format!("{press:?}")).as_deref(), Some(wanted), "{data}");
        }
        for strange in [
            "",
            "a:ack:",
            "a:ack:-1",
            "a:ack:1:2",
            "a:mute:1:9999d",
            "t:run:../x",
            "t:close:nothing",
            "y:1:a:ack:1",
            "y:1:y:1:t:close:MC-1",
            "y:x:t:close:MC-1",
            "n:t:close:MC-1",
            "\u{1f600}",
            &"x".repeat(65),
        ] {
            assert_eq!(read(strange), None, "{strange}");
        }
    }

    #[test]
    fn every_button_of_an_alert_is_read() {
        let made = crate::alert::policy::tests::buttons();
        for kind in ["r:run:", "r:log:", "r:retry:", "p:1h:", "t:option:", "t:snooze:", "m:comment:", "s:"] {
            assert!(made.iter().any(|data| data.starts_with(kind)), "{kind} is made: {made:?}");
        }
        for data in made {
            assert!(read(&data).is_some(), "{data}");
        }
    }

    #[test]
    fn a_yes_is_for_a_while_and_fits_on_a_button() {
        let buttons = sure("t:close:ABCDEFGHIJ-9223372036854775807", 1_800_000_000_000);
        let Pressed::Data(data) = &buttons[0].press else { panic!("data") };
        assert!(data.len() <= BUTTON_DATA_MAX_BYTES, "{data}");
        let Some(Press::Sure { minute, .. }) = read(data) else { panic!("{data}") };
        assert!(counts(minute, 1_800_000_000_000 + 9 * MINUTE_MS));
        let no = |data: &str| sure(data, 0)[1].press.clone();
        assert_eq!(no("u:do:7"), Pressed::Data("n:u:do:7".to_owned()));
        assert_eq!(no("t:close:MC-1"), Pressed::Data("n".to_owned()));
        assert!(!counts(minute, 1_800_000_000_000 + 11 * MINUTE_MS) && !counts(minute, 0));
    }

    #[test]
    fn questions_are_told_apart() {
        let ask = |need: &str, options: &[&str]| Ask {
            need: need.into(),
            why: None,
            how: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        let first = question(&ask("Which?", &["a", "b"]));
        assert_eq!(first, question(&ask("Which?", &["a", "b"])));
        for other in [ask("Which?", &["b", "a"]), ask("Which?", &["ab"]), ask("Who?", &["a", "b"])] {
            assert_ne!(first, question(&other));
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_back_is_read(data in "[a-z:0-9y]{0,70}|\\PC{0,30}") {
            let _ = read(&data);
        }
    }
}
