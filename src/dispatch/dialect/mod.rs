//! What agent programs say and how they are spoken to: one file a dialect, all pure.
//!
//! A line that is no JSON, of an unknown type or with fields missing is [`AgentEvent::Raw`] and never an
//! error: these programs change every week.

mod claude;
mod codex;
mod plain;
mod reset;

use serde_json::Value;

pub use reset::{LIMIT_FALLBACK_MS, reset_ms};

use crate::model::worker::{AgentEvent, Dialect};

/// How a profile wants its program started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    pub model: Option<String>,
    /// Goes on with this conversation.
    pub resume: Option<String>,
    pub max_turns: Option<u32>,
    /// Decimal US dollars.
    pub budget_usd: Option<String>,
    pub tools: Vec<String>,
}

/// The whole argv: the profile's command and the dialect's own flags. No text of a ticket is ever in it.
#[must_use]
pub fn argv(dialect: Dialect, command: &[String], wishes: &Wishes) -> Vec<String> {
    let flags = match dialect {
        Dialect::Claude => claude::flags(wishes),
        Dialect::Codex => codex::flags(wishes),
        Dialect::Plain => Vec::new(),
    };
    command.iter().cloned().chain(flags).collect()
}

/// What `line` says, in order.
#[must_use]
pub fn read(dialect: Dialect, line: &str) -> Vec<AgentEvent> {
    let events = match dialect {
        Dialect::Claude => object(line).map(|value| claude::read(&value)),
        Dialect::Codex => object(line).map(|value| codex::read(&value)),
        Dialect::Plain => Some(plain::read(line)),
    };
    match events {
        Some(events) if !events.is_empty() => events,
        Some(_) | None => vec![AgentEvent::Raw],
    }
}

/// One line for the program's standard input; `message` is told back by its echo, 0 for the prompt.
#[must_use]
pub fn input_line(message: i64, text: &str) -> String {
    claude::input_line(message, text)
}

fn object(line: &str) -> Option<Value> {
    serde_json::from_str::<Value>(line.trim()).ok().filter(Value::is_object)
}

/// The text at `path`, if it is one.
fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    value.pointer(path).and_then(Value::as_str)
}

fn count(value: &Value, path: &str) -> i64 {
    value.pointer(path).and_then(Value::as_i64).unwrap_or(0).max(0)
}

fn status(value: &Value, path: &str) -> Option<u16> {
    value.pointer(path).and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn garbage_is_raw_in_every_dialect_of_json() {
        for line in ["", "null", "[]", "12", "{", "not json", "{\"type\":7}", "{\"type\":\"later\"}", "\u{0}"]
        {
            for dialect in [Dialect::Claude, Dialect::Codex] {
                assert_eq!(read(dialect, line), [AgentEvent::Raw], "{dialect:?} {line}");
            }
        }
    }

    #[test]
    fn two_megabytes_are_a_line_like_any_other() {
        let text = "x".repeat(2_000_000);
        let line = serde_json::json!({"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}});
        assert_eq!(read(Dialect::Claude, &line.to_string()), [AgentEvent::Text(text)]);
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in "\\PC*") {
            for dialect in Dialect::ALL {
                prop_assert!(!read(dialect, &line).is_empty());
            }
        }
    }

    #[test]
    fn flags_never_carry_text() {
        let wishes = Wishes {
            model: Some("m".into()),
            resume: Some("s-1".into()),
            max_turns: Some(3),
            budget_usd: Some("0.50".into()),
            tools: vec!["Bash".into(), "Edit".into()],
        };
        let command = ["agent".to_owned()];
        assert_eq!(
            argv(Dialect::Claude, &command, &wishes).join(" "),
            "agent -p --input-format stream-json --output-format stream-json --verbose --replay-user-messages \
             --model m --resume s-1 --max-turns 3 --max-budget-usd 0.50 --allowedTools Bash,Edit"
        );
        assert_eq!(argv(Dialect::Codex, &command, &wishes).join(" "), "agent exec resume s-1 --json -m m -");
        assert_eq!(
            argv(Dialect::Codex, &command, &Wishes::default()).join(" "),
            "agent exec --json -s workspace-write -"
        );
        assert_eq!(argv(Dialect::Plain, &command, &wishes), command);
    }
}
