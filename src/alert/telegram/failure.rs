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
    /// Too much was sent; it wants this pause.
    #[error("Telegram wants a pause of {} s", after.as_secs())]
    Busy { after: Duration },
    /// The group has become another chat.
    #[error("the chat is now {to}")]
    Moved { to: i64 },
    /// The text's markup is not understood.
    #[error("Telegram does not read the markup: {0}")]
    Markup(String),
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
            Self::Busy { .. } | Self::Moved { .. } => self,
        }
    }
}

/// Reads what the library says.
pub(super) fn read(error: &RequestError) -> TelegramError {
    match error {
        RequestError::RetryAfter(seconds) => {
            TelegramError::Busy { after: seconds.duration().min(PAUSE_MAX).max(Duration::from_secs(1)) }
        }
        RequestError::MigrateToChatId(chat) => TelegramError::Moved { to: chat.0 },
        RequestError::Network(network) => {
            // Its own text has the address; what is below it has not.
            let why = cause(network.as_ref());
            if network.is_connect() {
                TelegramError::Unreachable(why)
            } else if network.is_timeout() {
                TelegramError::Unclear("no answer in time".to_owned())
            } else if network.is_builder() {
                TelegramError::Refused(why)
            } else {
                TelegramError::Unclear(why)
            }
        }
        RequestError::InvalidJson { raw, .. } => {
            // From something in between: nobody knows how far the request had come.
            TelegramError::Unclear(format!("an answer that is not Telegram's: {}", said(raw)))
        }
        RequestError::Io(io) => TelegramError::Refused(io.to_string()),
        RequestError::Api(api) => refusal(api),
    }
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
            } else if is(&["can't parse", "unsupported start tag", "entity"]) {
                TelegramError::Markup(text)
            } else if is(&["message thread not found", "topic_closed", "topic_deleted"]) {
                TelegramError::Gone(text)
            } else if is(&["internal server error", "bad gateway", "gateway timeout", "service unavailable"]) {
                TelegramError::Trouble(text)
            } else {
                TelegramError::Refused(text)
            }
        }
        _ => TelegramError::Refused(text),
    }
}

/// An edit that changes nothing.
pub(super) fn unchanged(error: &RequestError) -> bool {
    match error {
        RequestError::Api(ApiError::MessageNotModified) => true,
        RequestError::Api(ApiError::Unknown(text)) => text.contains("message is not modified"),
        RequestError::Api(_)
        | RequestError::MigrateToChatId(_)
        | RequestError::RetryAfter(_)
        | RequestError::Network(_)
        | RequestError::InvalidJson { .. }
        | RequestError::Io(_) => false,
    }
}

/// The number of a message that was sent although the library could not read the answer.
pub(super) fn sent_after_all(error: &RequestError) -> Option<i32> {
    let RequestError::InvalidJson { raw, .. } = error else { return None };
    let answer: Value = serde_json::from_str(raw).ok()?;
    let is_ok = answer.get("ok").and_then(Value::as_bool) == Some(true);
    let id = answer.pointer("/result/message_id").and_then(Value::as_i64).filter(|_| is_ok)?;
    i32::try_from(id).ok()
}

/// What lies below an error of the HTTP library, the deepest last.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
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

    fn answer(text: &str) -> TelegramError {
        match serde_json::from_value::<ApiError>(Value::from(text)) {
            Ok(error) => read(&RequestError::Api(error)),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn what_follows_from_each_answer() {
        let table = [
            ("Forbidden: bot was blocked by the user", "shut"),
            ("Forbidden: bot is not a member of the channel chat", "shut"),
            ("Unauthorized", "shut"),
            ("Bad Request: chat not found", "shut"),
            ("Bad Request: can't parse entities: Unsupported start tag \"tg-time\" at byte offset 1", "markup"),
            ("Bad Request: message to edit not found", "gone"),
            ("Bad Request: message thread not found", "gone"),
            ("Bad Request: message is too long", "refused"),
            ("Internal Server Error", "trouble"),
            ("Bad Gateway", "trouble"),
            ("something new", "refused"),
        ];
        for (text, wanted) in table {
            let kind = match answer(text) {
                TelegramError::Shut(_) => "shut",
                TelegramError::Markup(_) => "markup",
                TelegramError::Gone(_) => "gone",
                TelegramError::Refused(_) => "refused",
                TelegramError::Trouble(_) => "trouble",
                TelegramError::Unreachable(_) => "unreachable",
                TelegramError::Unclear(_) => "unclear",
                TelegramError::Busy { .. } => "busy",
                TelegramError::Moved { .. } => "moved",
            };
            assert_eq!(kind, wanted, "{text}");
        }
    }

    fn unread(raw: &str) -> RequestError {
        let source = serde_json::from_str::<Value>("{").unwrap_err();
        RequestError::InvalidJson { source: source.into(), raw: raw.into() }
    }

    #[test]
    fn a_foreign_answer_is_unclear_and_one_line() {
        let error = read(&unread("<html>\n<h1>502 Bad Gateway</h1>\u{1b}[31m /bot12:secret/sendMessage"));
        let TelegramError::Unclear(text) = error.without("12:secret") else { panic!("unclear") };
        assert!(text.contains("502 Bad Gateway") && text.contains("/bot[token]/"), "{text}");
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text}");
        assert!(said(&"x".repeat(100_000)).len() <= SAID_MAX_CHARS);
    }

    #[test]
    fn a_message_with_unknown_parts_was_sent() {
        assert_eq!(sent_after_all(&unread(r#"{"ok":true,"result":{"message_id":77,"new":{}}}"#)), Some(77));
        assert_eq!(sent_after_all(&unread(r#"{"ok":false,"result":{"message_id":77}}"#)), None);
        assert_eq!(sent_after_all(&unread("<html>")), None);
    }
}
