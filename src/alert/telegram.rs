//! Telegram's Bot API: the only file that speaks to it, a method a call. It decides nothing: what is sent, when,
//! and what follows from an answer is the caller's. The token is in every URL, so no error carries one.

mod failure;
mod token;
mod update;

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;
use teloxide::RequestError;
use teloxide::payloads::{
    AnswerCallbackQuery, AnswerCallbackQuerySetters as _, EditMessageText, EditMessageTextSetters as _,
    GetMe, GetUpdates, GetUpdatesSetters as _, SendChatAction, SendDocumentSetters as _, SendMessage,
    SendMessageSetters as _, SetMessageReaction, SetMessageReactionSetters as _, SetMyCommands,
};
use teloxide::prelude::{Bot, Requester as _};
use teloxide::requests::Payload;
use teloxide::types::{
    AllowedUpdate, BotCommand, ChatAction, ChatId, InlineKeyboardButton, InlineKeyboardMarkup, InputFile,
    LinkPreviewOptions, MessageId, ParseMode, ReactionType, ReplyParameters, ThreadId,
};

use crate::model::notice::{Button, Press};
use crate::platform::failpoint;

use failure::Network;

pub use failure::TelegramError;
pub use update::{ChatKind, Sender, Update};

/// Where the Bot API is unless a server of one's own is named.
pub const API_URL: &str = "https://api.telegram.org";
/// From the request to the whole answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// From the first packet to a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest that one call for updates waits at the server.
pub const POLL_MAX: Duration = Duration::from_secs(30);
/// Most bytes of a button's data, by the Bot API.
pub const BUTTON_DATA_MAX_BYTES: usize = 64;
/// Most characters of a short answer to a press, by the Bot API.
const ANSWER_MAX_CHARS: usize = 200;

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Html,
    Plain,
}

/// Whether the phone makes a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    Heard,
    Silent,
}

/// A message to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    pub chat: i64,
    /// A forum's topic.
    pub thread: Option<i32>,
    pub text: &'a str,
    pub format: Format,
    pub buttons: &'a [Button],
    pub reply_to: Option<i32>,
    pub sound: Sound,
}

/// A file to be sent.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    pub chat: i64,
    pub thread: Option<i32>,
    pub reply_to: Option<i32>,
    pub name: &'a str,
    pub bytes: Vec<u8>,
    /// Plain text.
    pub caption: &'a str,
}

/// A bot. Cheap to clone.
#[derive(Clone)]
pub struct Telegram {
    bot: Bot,
    /// For calls that wait at the server.
    patient: Bot,
    token: SecretString,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").field("api", &self.bot.api_url().host_str()).finish_non_exhaustive()
    }
}

impl Telegram {
    /// The bot whose token this is, at the Bot API server `api_url`.
    ///
    /// # Errors
    /// [`TelegramError::Refused`] when `api_url` is no address, or TLS cannot be set up.
    pub fn new(token: SecretString, api_url: &str) -> Result<Self, TelegramError> {
        let bot = |timeout| {
            let mut settings = teloxide::net::default_reqwest_settings()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(timeout)
                // A kept connection that the server has closed meanwhile fails like one that broke while a
                // message was on its way; the two must not be mixed up.
                .pool_max_idle_per_host(0);
            if api_url.starts_with("http:") {
                // A server on this machine is never behind a proxy.
                settings = settings.no_proxy();
            }
            let client =
                settings.build().map_err(|_| TelegramError::Refused("no TLS to speak with".to_owned()))?;
            let url =
                api_url.parse().map_err(|_| TelegramError::Refused(format!("`{api_url}` is no address")))?;
            Ok::<_, TelegramError>(Bot::with_client(token.expose_secret(), client).set_api_url(url))
        };
        Ok(Self { bot: bot(TIMEOUT)?, patient: bot(POLL_MAX + TIMEOUT)?, token })
    }

    /// The bot's own number, which is the part of its token that is no secret; 0 where there is none.
    #[must_use]
    pub fn number(&self) -> i64 {
        let token = self.token.expose_secret();
        token.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// The bot's name, without `@`.
    ///
    /// # Errors
    /// As every call here: [`TelegramError`].
    pub async fn me(&self) -> Result<String, TelegramError> {
        let me = self.call(&GetMe::new()).await?;
        Ok(me.get("username").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Sends a message; its number in the chat.
    ///
    /// # Errors
    /// [`TelegramError`]; after [`TelegramError::Unclear`] it may have been sent, after
    /// [`TelegramError::Unnamed`] it most likely was.
    pub async fn send(&self, message: &Outgoing<'_>) -> Result<i32, TelegramError> {
        let mut call = SendMessage::new(ChatId(message.chat), message.text)
            .link_preview_options(no_preview())
            .disable_notification(message.sound == Sound::Silent);
        if message.format == Format::Html {
            call = call.parse_mode(ParseMode::Html);
        }
        if let Some(thread) = message.thread {
            call = call.message_thread_id(ThreadId(MessageId(thread)));
        }
        if let Some(original) = message.reply_to {
            call = call.reply_parameters(reply(original));
        }
        if !message.buttons.is_empty() {
            call = call.reply_markup(keyboard(message.buttons));
        }
        let sent = self.call(&call).await?;
        let id = sent.get("message_id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
        id.ok_or(TelegramError::Unnamed)
    }

    /// Replaces the text and buttons of a message. That nothing was different is no failure.
    ///
    /// # Errors
    /// [`TelegramError`]
    pub async fn edit(
        &self,
        chat: i64,
        message: i32,
        (text, format): (&str, Format),
        buttons: &[Button],
    ) -> Result<(), TelegramError> {
        let mut call =
            EditMessageText::new(ChatId(chat), MessageId(message), text).link_preview_options(no_preview());
        if format == Format::Html {
            call = call.parse_mode(ParseMode::Html);
        }
        if !buttons.is_empty() {
            call = call.reply_markup(keyboard(buttons));
        }
        match self.call(&call).await {
            Ok(_) | Err(TelegramError::Unchanged) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Ends the waiting of whoever pressed a button, with a few words.
    ///
    /// # Errors
    /// [`TelegramError`]
    pub async fn answer(&self, query: &str, text: &str) -> Result<(), TelegramError> {
        let short: String = text.chars().take(ANSWER_MAX_CHARS).collect();
        let call = AnswerCallbackQuery::new(query.to_owned().into()).text(short);
        self.call(&call).await.map(|_| ())
    }

    /// Puts one of Telegram's own emoji on a message.
    ///
    /// # Errors
    /// [`TelegramError`]
    pub async fn react(&self, chat: i64, message: i32, emoji: &str) -> Result<(), TelegramError> {
        let reaction = ReactionType::Emoji { emoji: emoji.to_owned() };
        let call = SetMessageReaction::new(ChatId(chat), MessageId(message)).reaction([reaction]);
        self.call(&call).await.map(|_| ())
    }

    /// Sends a file; the number of its message.
    ///
    /// # Errors
    /// As [`Telegram::send`].
    pub async fn document(&self, document: Document<'_>) -> Result<i32, TelegramError> {
        let file = InputFile::memory(document.bytes).file_name(document.name.to_owned());
        let mut call = self.bot.send_document(ChatId(document.chat), file).caption(document.caption);
        if let Some(thread) = document.thread {
            call = call.message_thread_id(ThreadId(MessageId(thread)));
        }
        if let Some(original) = document.reply_to {
            call = call.reply_parameters(reply(original));
        }
        match call.await {
            Ok(sent) => Ok(sent.id.0),
            Err(e) => Err(self.failure(&e)),
        }
    }

    /// Says which commands there are: names without the slash, and a line on each.
    ///
    /// # Errors
    /// [`TelegramError`]
    pub async fn commands(&self, commands: &[(&str, &str)]) -> Result<(), TelegramError> {
        let list: Vec<_> = commands.iter().map(|(name, what)| BotCommand::new(*name, *what)).collect();
        self.call(&SetMyCommands::new(list)).await.map(|_| ())
    }

    /// Shows in the chat that something is coming: the cheapest call that fails where a message would.
    ///
    /// # Errors
    /// [`TelegramError`]
    pub async fn typing(&self, chat: i64) -> Result<(), TelegramError> {
        self.call(&SendChatAction::new(ChatId(chat), ChatAction::Typing)).await.map(|_| ())
    }

    /// What has happened from the update `offset` on; waits up to `wait`, at most [`POLL_MAX`], for the first.
    /// Asking for an offset takes everything before it as read.
    ///
    /// # Errors
    /// [`TelegramError`]; [`TelegramError::Refused`] also while another program fetches with the same token.
    pub async fn updates(&self, offset: Option<i32>, wait: Duration) -> Result<Vec<Update>, TelegramError> {
        let seconds = u32::try_from(wait.min(POLL_MAX).as_secs()).unwrap_or(0);
        let mut call = GetUpdates::new().timeout(seconds).allowed_updates([
            AllowedUpdate::Message,
            AllowedUpdate::EditedMessage,
            AllowedUpdate::CallbackQuery,
        ]);
        if let Some(offset) = offset {
            call = call.offset(offset);
        }
        failpoint::hit("telegram.fetch").map_err(|fault| TelegramError::Unreachable(fault.to_string()))?;
        let told = self.call_by(&self.patient, &call).await?;
        update::read_all(&told)
    }

    /// One call and its result. The library's own way waits ten seconds after each answer of a server in
    /// trouble, within the time that the call may take: what the server said would be lost.
    async fn call<P: Payload + Serialize>(&self, payload: &P) -> Result<Value, TelegramError> {
        self.call_by(&self.bot, payload).await
    }

    async fn call_by<P: Payload + Serialize>(&self, bot: &Bot, payload: &P) -> Result<Value, TelegramError> {
        let token = self.token.expose_secret();
        let base = bot.api_url();
        let url = format!("{}/bot{token}/{}", base.as_str().trim_end_matches('/'), P::NAME);
        let body = serde_json::to_vec(payload).map_err(|e| TelegramError::Refused(e.to_string()))?;
        let request = bot.client().post(url).header("content-type", "application/json").body(body);
        failpoint::hit("telegram.call").map_err(|fault| TelegramError::Unreachable(fault.to_string()))?;
        let answered = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                response.text().await.map(|text| (status, text))
            }
            Err(e) => Err(e),
        };
        let result = match answered {
            Ok((status, text)) => failure::result(status, &text),
            Err(e) => Err(failure::network(&Network {
                is_connect: e.is_connect(),
                is_timeout: e.is_timeout(),
                is_ours: e.is_builder(),
                cause: failure::cause(&e),
            })),
        };
        result.map_err(|e| e.without(token))
    }

    fn failure(&self, error: &RequestError) -> TelegramError {
        failure::read(error).without(self.token.expose_secret())
    }
}

fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

fn reply(original: i32) -> ReplyParameters {
    // Somebody may have deleted it.
    ReplyParameters::new(MessageId(original)).allow_sending_without_reply()
}

/// Buttons in rows of as many as fit beside each other on a phone. One that Telegram would refuse is left out:
/// it must not cost the message.
fn keyboard(buttons: &[Button]) -> InlineKeyboardMarkup {
    const ROW_CHARS: usize = 28;
    const ROW_MAX: usize = 4;
    let mut rows: Vec<Vec<InlineKeyboardButton>> = Vec::new();
    let mut used = usize::MAX;
    for button in buttons {
        let made = match &button.press {
            Press::Data(data) if !data.is_empty() && data.len() <= BUTTON_DATA_MAX_BYTES => {
                InlineKeyboardButton::callback(&button.text, data)
            }
            Press::Link(link) => match link.parse() {
                Ok(url) => InlineKeyboardButton::url(&button.text, url),
                Err(_) => continue,
            },
            Press::Data(_) => continue,
        };
        let chars = button.text.chars().count();
        match rows.last_mut().filter(|row| row.len() < ROW_MAX && used.saturating_add(chars) <= ROW_CHARS) {
            Some(row) => {
                row.push(made);
                used += chars;
            }
            None => {
                rows.push(vec![made]);
                used = chars;
            }
        }
    }
    InlineKeyboardMarkup::new(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_share_rows_and_what_would_be_refused_is_left_out() {
        let data = |text: &str, data: &str| Button { text: text.into(), press: Press::Data(data.into()) };
        let link = |text: &str, link: &str| Button { text: text.into(), press: Press::Link(link.into()) };
        let buttons = [
            data("Retry", "r:retry:1"),
            data("Log", "r:log:1"),
            data("Mute 1h", "a:mute:1:1h"),
            data("Ack", "a:ack:1"),
            data("Ack all", "x"),
            data("too long", &"x".repeat(65)),
            data("empty", ""),
            link("no link", "not an address"),
            link("Open", "https://box.example/alerts"),
            data("a text that takes the whole row by itself", "y"),
        ];
        let rows: Vec<Vec<String>> = keyboard(&buttons)
            .inline_keyboard
            .into_iter()
            .map(|row| row.into_iter().map(|button| button.text).collect())
            .collect();
        assert_eq!(
            rows,
            vec![
                vec!["Retry", "Log", "Mute 1h", "Ack"],
                vec!["Ack all", "Open"],
                vec!["a text that takes the whole row by itself"],
            ]
        );
    }

    #[test]
    fn a_bot_does_not_tell_its_token() {
        let bot = Telegram::new("12:very-secret".to_owned().into(), API_URL).unwrap();
        assert_eq!(format!("{bot:?}"), "Telegram { api: Some(\"api.telegram.org\"), .. }");
        assert!(Telegram::new("12:very-secret".to_owned().into(), "nonsense").is_err());
    }
}
