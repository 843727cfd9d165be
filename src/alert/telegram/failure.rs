//! What a call to Telegram can come to, as far as a caller acts on it, and how that is told from an answer.

use std::time::Duration;

use serde_json::Value;
use teloxide::{ApiError, RequestError};

/// Characters of a foreign text that an error keeps.
const SAID_MAX_CHARS: usize = 200;
/// Longest pause that is believed.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Why a call came to nothing. No text of it holds an address or the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TelegramError {
    /// Nothing was sent.
    #[error("Telegram cannot be reached: {0}")]
    Unreachable(String),
    /// It may have been sent.
    #[error("Telegram's answer did not come through: {0}")]
    Unclear(String),
    /// It says that it was sent, and not as what: it can be neither changed nor answered.
    #[error("Telegram took it and told no number; it may have arrived")]
    Unnamed,
    /// Too much was sent; it wants this pause.
    #[error("Telegram wants a pause of {} s", after.as_secs())]
    Busy { after: Duration },
    /// The group has become another chat.
    #[error("the chat is now {to}")]
    Moved { to: i64 },
    /// The text's markup is not understood.
    #[error("Telegram does not read the markup: {0}")]
    Markup(String),
    /// An edit that changes nothing.
    #[error("nothing is different")]
    Unchanged,
    /// The message or topic that was named is not there any more.
    #[error("it is gone: {0}")]
    Gone(String),
    /// Nothing will be taken until a person has mended it: a wrong token, a blocked bot, no such chat.
    #[error("Telegram lets nothing through: {0}")]
    Shut(String),
    /// Telegram could not do it just now, and says so itself.
    #[error("Telegram is in trouble: {0}")]
    Trouble(String),
    /// This one is not taken, whenever it is sent.
    #[error("Telegram refuses it: {0}")]
    Refused(String),
}

impl TelegramError {
    /// The same without any trace of `token`.
    pub(super) fn without(self, token: &str) -> Self {
        let mask = |text: String| if token.is_empty() { text } else { text.replace(token, "[token]") };
        match self {
            Self::Unreachable(text) => Self::Unreachable(mask(text)),
            Self::Unclear(text) => Self::Unclear(mask(text)),
            Self::Markup(text) => Self::Markup(mask(text)),
            Self::Gone(text) => Self::Gone(mask(text)),
            Self::Shut(text) => Self::Shut(mask(text)),
            Self::Trouble(text) => Self::Trouble(mask(text)),
            Self::Refused(text) => Self::Refused(mask(text)),
            Self::Busy { .. } | Self::Moved { .. } | Self::Unchanged | Self::Unnamed => self,
        }
    }
}

/// What the HTTP library says of a call that got no answer.
#[derive(Debug)]
pub(super) struct Network {
    pub is_connect: bool,
    pub is_timeout: bool,
    /// It was never tried.
    pub is_ours: bool,
    pub cause: String,
}

pub(super) fn network(network: &Network) -> TelegramError {
    let why = network.cause.clone();
    if network.is_connect {
        TelegramError::Unreachable(why)
    } else if network.is_timeout {
        TelegramError::Unclear("no answer in time".to_owned())
    } else if network.is_ours {
        TelegramError::Refused(why)
    } else {
        TelegramError::Unclear(why)
    }
}

/// Reads what the library says.
pub(super) fn read(error: &RequestError) -> TelegramError {
    match error {
        RequestError::RetryAfter(seconds) => busy(seconds.duration()),
        RequestError::MigrateToChatId(chat) => TelegramError::Moved { to: chat.0 },
        RequestError::Network(error) => network(&Network {
            is_connect: error.is_connect(),
            is_timeout: error.is_timeout(),
            is_ours: error.is_builder(),
            cause: cause(error.as_ref()),
        }),
        RequestError::InvalidJson { raw, .. } => foreign(raw),
        RequestError::Io(io) => TelegramError::Refused(io.to_string()),
        RequestError::Api(api) => refusal(api),
    }
}

/// The result in an answer, or what it says instead.
pub(super) fn result(status: u16, text: &str) -> Result<Value, TelegramError> {
    let Ok(mut answer) = serde_json::from_str::<Value>(text) else { return Err(foreign(text)) };
    match answer.get("ok").and_then(Value::as_bool) {
        Some(true) => return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default()),
        Some(false) => {}
        None => return Err(foreign(text)),
    }
    if let Some(to) = answer.pointer("/parameters/migrate_to_chat_id").and_then(Value::as_i64) {
        return Err(TelegramError::Moved { to });
    }
    if let Some(seconds) = answer.pointer("/parameters/retry_after").and_then(Value::as_u64) {
        return Err(busy(Duration::from_secs(seconds)));
    }
    let told = answer.get("description").and_then(Value::as_str).unwrap_or_default();
    if status >= 500 {
        return Err(TelegramError::Trouble(said(told)));
    }
    // The library knows the texts.
    Err(match serde_json::from_value::<ApiError>(Value::from(told)) {
        Ok(error) => refusal(&error),
        Err(_) => TelegramError::Refused(said(told)),
    })
}

fn busy(pause: Duration) -> TelegramError {
    TelegramError::Busy { after: pause.clamp(Duration::from_secs(1), PAUSE_MAX) }
}

/// From something in between: nobody knows how far the request had come.
fn foreign(text: &str) -> TelegramError {
    TelegramError::Unclear(format!("an answer that is not Telegram's: {}", said(text)))
}

fn refusal(error: &ApiError) -> TelegramError {
    let text = match error {
        ApiError::Unknown(text) | ApiError::CantParseEntities(text) => said(text),
        known => said(&known.to_string()),
    };
    match error {
        ApiError::InvalidToken
        | ApiError::BotBlocked
        | ApiError::ChatNotFound
        | ApiError::UserNotFound
        | ApiError::GroupDeactivated
        | ApiError::BotKicked
        | ApiError::BotKickedFromSupergroup
        | ApiError::BotKickedFromChannel
        | ApiError::UserDeactivated
        | ApiError::CantInitiateConversation
        | ApiError::CantTalkWithBots
        | ApiError::NotEnoughRightsToPostMessages => TelegramError::Shut(text),
        ApiError::CantParseEntities(_) => TelegramError::Markup(text),
        ApiError::MessageNotModified => TelegramError::Unchanged,
        ApiError::MessageIdInvalid
        | ApiError::MessageCantBeEdited
        | ApiError::MessageToEditNotFound
        | ApiError::MessageToReplyNotFound
        | ApiError::InvalidQueryId => TelegramError::Gone(text),
        // The library's list of texts ends somewhere; the beginnings are Telegram's own.
        ApiError::Unknown(told) => {
            let lower = told.to_lowercase();
            let is = |words: &[&str]| words.iter().any(|word| lower.contains(word));
            if is(&["forbidden", "unauthorized", "chat_write_forbidden", "have no rights to send"]) {
                TelegramError::Shut(text)
            } else if is(&["too many requests"]) {
                TelegramError::Busy { after: Duration::from_secs(5) }
            } else if is(&["message is not modified"]) {
                TelegramError::Unchanged
            } else if is(&["can't parse", "unsupported start tag", "entity"]) {
                TelegramError::Markup(text)
            } else if is(&["message thread not found", "topic_closed", "topic_deleted"]) {
                TelegramError::Gone(text)
            } else if is(&["internal server error", "bad gateway", "gateway timeout", "service unavailable"])
            {
                TelegramError::Trouble(text)
            } else {
                TelegramError::Refused(text)
            }
        }
        _ => TelegramError::Refused(text),
    }
}

/// What lies below an error of the HTTP library, the deepest last.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut below = error.source();
    while let Some(error) = below {
        told.push(said(&error.to_string()));
        below = error.source();
    }
    // The deepest says it: `Connection refused`, `invalid peer certificate`.
    told.pop().unwrap_or_else(|| "no reason is known".to_owned())
}

/// The beginning of a foreign text, on one line.
fn said(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::model::text::clean(&line.chars().take(SAID_MAX_CHARS).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, text: &str) -> TelegramError {
        let body = serde_json::json!({"ok": false, "error_code": status, "description": text});
        result(status, &body.to_string()).unwrap_err()
    }

    #[test]
    fn what_follows_from_each_answer() {
        let table = [
            ("Forbidden: bot was blocked by the user", "shut"),
            ("Forbidden: bot is not a member of the channel chat", "shut"),
            ("Unauthorized", "shut"),
            ("Bad Request: chat not found", "shut"),
            (
                "Bad Request: can't parse entities: Unsupported start tag \"tg-time\" at byte offset 1",
                "markup",
            ),
            ("Bad Request: message to edit not found", "gone"),
            ("Bad Request: message thread not found", "gone"),
            ("Bad Request: message is too long", "refused"),
            ("Internal Server Error", "trouble"),
            ("Bad Gateway", "trouble"),
            ("Bad Request: message is not modified", "unchanged"),
            ("Too Many Requests: later", "busy"),
            ("something new", "refused"),
        ];
        for (text, wanted) in table {
            let kind = match answer(400, text) {
                TelegramError::Shut(_) => "shut",
                TelegramError::Markup(_) => "markup",
                TelegramError::Gone(_) => "gone",
                TelegramError::Refused(_) => "refused",
                TelegramError::Trouble(_) => "trouble",
                TelegramError::Unreachable(_) => "unreachable",
                TelegramError::Unclear(_) => "unclear",
                TelegramError::Busy { .. } => "busy",
                TelegramError::Moved { .. } => "moved",
                TelegramError::Unchanged => "unchanged",
                TelegramError::Unnamed => "unnamed",
            };
            assert_eq!(kind, wanted, "{text}");
        }
    }

    #[test]
    fn what_an_answer_holds() {
        let sent = result(200, r#"{"ok":true,"result":{"message_id":77,"new":{}}}"#);
        assert_eq!(sent.unwrap()["message_id"], 77, "what is new in it does no harm");
        assert!(matches!(answer(502, "anything"), TelegramError::Trouble(_)));
        let moved = r#"{"ok":false,"description":"x","parameters":{"migrate_to_chat_id":-7}}"#;
        assert_eq!(result(400, moved), Err(TelegramError::Moved { to: -7 }));
        for (seconds, after) in [(0, 1), (30, 30), (99_999, 3600)] {
            let busy =
                format!(r#"{{"ok":false,"description":"x","parameters":{{"retry_after":{seconds}}}}}"#);
            assert_eq!(result(429, &busy), Err(TelegramError::Busy { after: Duration::from_secs(after) }));
        }
    }

    #[test]
    fn a_foreign_answer_is_unclear_and_one_line() {
        let html = "<html>\n<h1>502 Bad Gateway</h1>\u{1b}[31m /bot12:secret/sendMessage";
        for text in [html, "", "{}", "[1]", "{\"ok\":1}"] {
            assert!(matches!(result(502, text), Err(TelegramError::Unclear(_))), "{text}");
        }
        let TelegramError::Unclear(text) = result(502, html).unwrap_err().without("12:secret") else {
            panic!("unclear")
        };
        assert!(text.contains("502 Bad Gateway") && text.contains("/bot[token]/"), "{text}");
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
        assert!(said(&"x".repeat(100_000)).len() <= SAID_MAX_CHARS);
    }
}
