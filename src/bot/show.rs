//! Tells what was done: messages, files and changed messages, in the order of what they answer. What Telegram
//! does not take after some attempts is let go; what was done stays done.

use tracing::{debug, warn};

use super::answer::{Answer, Show};
use super::deed::Deed;
use super::table::{self, Written};
use super::{AGAIN, Bot, SLEEP_MAX};
use crate::alert::keep::unharmed;
use crate::alert::render::{LONG_MAX, Rendered, render, units};
use crate::alert::telegram::{Document, Format, Outgoing, Sound, TelegramError};
use crate::alert::words::passage;
use crate::model::ids::RunId;
use crate::model::notice::{Button, Part};
use crate::platform::failpoint;
use crate::store::StoreError;

const ATTEMPTS_MAX: u32 = 5;
/// While Telegram takes nothing at all: about an hour, after which an answer is of no use.
const ATTEMPTS_UNSENT_MAX: u32 = 120;
/// What could not be told for so long, because Telegram wanted a pause each time, is let go, milliseconds.
const HELD_MAX_MS: i64 = 6 * 3_600_000;
/// Lines of a run's output in a message.
const LOG_LINES: usize = 40;
/// Most of them in a message; longer ones are a file.
const LOG_MAX_UNITS: usize = 3_500;
/// Lines, and bytes of them, in a file.
const FILE_LINES: usize = 10_000;
const FILE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// How far an answer has been told.
enum Told {
    All,
    /// Telegram wants a pause before what is left.
    Held(Answer),
}

/// Shows until the daemon goes down.
pub(super) async fn show(bot: Bot) {
    loop {
        let held = bot.held();
        let free_in = held.values().min().copied().unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        let next = bot.app.store.read(move |conn| Ok::<_, StoreError>(table::next_done(conn, &held)?)).await;
        let go_on = match next {
            Ok(Some((id, written))) => {
                let told = match written {
                    Some(written) => unharmed(bot.tell(&written)).await.unwrap_or_else(|why| {
                        bot.app.alerts.stumble("bot's mouth", format!("answer {id} is passed over: {why}"));
                        Told::All
                    }),
                    None => Told::All,
                };
                if bot.stop.is_cancelled() {
                    return;
                }
                let noted = bot.app.store.write(move |tx| {
                    match &told {
                        Told::All => table::shown(tx, id)?,
                        Told::Held(left) => table::told_until(tx, id, left)?,
                    }
                    Ok::<_, StoreError>(())
                });
                noted.await.is_ok() || bot.rest(&bot.to_show, AGAIN).await
            }
            Ok(None) => bot.rest(&bot.to_show, free_in).await,
            Err(e) => {
                warn!(error = %e, "what the bot is to tell could not be read");
                bot.rest(&bot.to_show, AGAIN).await
            }
        };
        if !go_on || bot.stop.is_cancelled() {
            return;
        }
    }
}

/// A message to one who asked.
pub(super) struct Words<'a> {
    pub chat: i64,
    pub thread: Option<i32>,
    pub reply_to: i32,
    pub parts: &'a [Part],
    pub buttons: &'a [Button],
    pub sound: Sound,
}

impl Bot {
    async fn tell(&self, written: &Written) -> Told {
        failpoint::pass("bot.show");
        let Some(answer) = &written.answer else { return Told::All };
        for (place, show) in answer.shows.iter().enumerate() {
            let Err(error) = self.tell_one(&written.deed, show).await else { continue };
            let waited_ms = self.app.clock.wall_ms().saturating_sub(written.at_ms);
            if matches!(error, TelegramError::Busy { .. }) && waited_ms < HELD_MAX_MS {
                let shows = answer.shows.iter().skip(place).cloned().collect();
                return Told::Held(Answer { shows, ..answer.clone() });
            }
            warn!(%error, "an answer of the bot did not arrive");
        }
        Told::All
    }

    async fn tell_one(&self, deed: &Deed, show: &Show) -> Result<(), TelegramError> {
        let (chat, message) = (deed.by().chat, deed.message());
        match show {
            Show::Say { parts, buttons, ticket } => {
                // Whoever asked looks at the phone.
                let (thread, sound) = (deed.thread(), Sound::Silent);
                let words = Words { chat, thread, reply_to: message, parts, buttons, sound };
                let sent = self.say(&words).await?;
                if let Some(ticket) = ticket {
                    self.track(chat, sent, ticket).await;
                }
                Ok(())
            }
            Show::Log(run) => self.log(deed, *run).await,
            Show::Instead { parts } => {
                let text = render(parts, self.app.config.zone.tz(), LONG_MAX);
                let mut attempts = 0;
                loop {
                    let Err(error) = self.replace(chat, message, &text).await else { return Ok(()) };
                    self.again(chat, error, &mut attempts).await?;
                }
            }
        }
    }

    async fn replace(&self, chat: i64, message: i32, text: &Rendered) -> Result<(), TelegramError> {
        match self.telegram.edit(chat, message, (&text.html, Format::Html), &[]).await {
            Err(TelegramError::Markup(_)) => {
                self.telegram.edit(chat, message, (&text.plain, Format::Plain), &[]).await
            }
            other => other,
        }
    }

    /// A message to whoever asked; its number.
    ///
    /// # Errors
    /// What Telegram says after some attempts.
    pub(super) async fn say(&self, words: &Words<'_>) -> Result<i32, TelegramError> {
        let text = render(words.parts, self.app.config.zone.tz(), LONG_MAX);
        let mut attempts = 0;
        let (mut format, mut thread) = (Format::Html, words.thread);
        loop {
            let outgoing = Outgoing {
                chat: words.chat,
                thread,
                text: match format {
                    Format::Html => &text.html,
                    Format::Plain => &text.plain,
                },
                format,
                buttons: words.buttons,
                reply_to: Some(words.reply_to),
                sound: words.sound,
            };
            match self.telegram.send(&outgoing).await {
                Ok(sent) => return Ok(sent),
                Err(TelegramError::Markup(_)) if format == Format::Html => format = Format::Plain,
                Err(TelegramError::Gone(_)) if thread.is_some() => thread = None,
                Err(error) => self.again(words.chat, error, &mut attempts).await?,
            }
        }
    }

    /// Waits where another attempt may come through. A pause that Telegram wants is for the caller to come back
    /// after: others need not wait for it.
    async fn again(&self, chat: i64, error: TelegramError, attempts: &mut u32) -> Result<(), TelegramError> {
        *attempts += 1;
        let wait = match &error {
            TelegramError::Busy { after } => {
                self.hold(chat, *after);
                return Err(error);
            }
            TelegramError::Unreachable(_) | TelegramError::Unclear(_) | TelegramError::Trouble(_) => {
                AGAIN.saturating_mul(1 << attempts.saturating_sub(1).min(5))
            }
            TelegramError::Moved { .. }
            | TelegramError::Markup(_)
            | TelegramError::Unchanged
            | TelegramError::Unnamed
            | TelegramError::Gone(_)
            | TelegramError::Shut(_)
            | TelegramError::Refused(_) => return Err(error),
        };
        let is_unsent = matches!(error, TelegramError::Unreachable(_));
        let most = if is_unsent { ATTEMPTS_UNSENT_MAX } else { ATTEMPTS_MAX };
        if *attempts >= most || self.stop.is_cancelled() {
            return Err(error);
        }
        debug!(%error, "the bot tries again");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    /// A reply to a message of ours is for this ticket.
    pub(super) async fn track(&self, chat: i64, message: i32, ticket: &str) {
        let (ticket, now_ms) = (ticket.to_owned(), self.app.clock.wall_ms());
        let tracked = self
            .app
            .store
            .write(move |tx| Ok::<_, StoreError>(table::track(tx, (chat, message), &ticket, None, now_ms)?));
        if let Err(e) = tracked.await {
            warn!(error = %e, "a reply to this message will not be known as its ticket's");
        }
    }

    /// The end of a run's output as a message, or as a file where it is long.
    async fn log(&self, deed: &Deed, run: RunId) -> Result<(), TelegramError> {
        let (chat, thread, reply_to) = (deed.by().chat, deed.thread(), deed.message());
        let told = match self.app.tail_log(run, LOG_LINES).await {
            Ok(chunk) => passage(&String::from_utf8_lossy(&chunk.bytes), FILE_MAX_BYTES),
            Err(_) => String::new(),
        };
        let head =
            vec![Part::Bold(format!("{run}")), Part::Text(" · the last lines".to_owned()), Part::Break];
        let parts = if told.is_empty() {
            vec![Part::Bold(format!("{run}")), Part::Text(" has printed nothing.".to_owned())]
        } else if units(&told) <= LOG_MAX_UNITS {
            head.into_iter().chain([Part::Quote(told.lines().map(str::to_owned).collect())]).collect()
        } else {
            return self.file(deed, run).await;
        };
        let words = Words { chat, thread, reply_to, parts: &parts, buttons: &[], sound: Sound::Silent };
        self.say(&words).await.map(drop)
    }

    async fn file(&self, deed: &Deed, run: RunId) -> Result<(), TelegramError> {
        let name = format!("run-{}.log", run.0);
        let mut attempts = 0;
        loop {
            let mut bytes = match self.app.tail_log(run, FILE_LINES).await {
                Ok(chunk) => chunk.bytes,
                Err(_) => Vec::new(),
            };
            bytes.drain(..bytes.len().saturating_sub(FILE_MAX_BYTES));
            let document = Document {
                chat: deed.by().chat,
                thread: deed.thread(),
                reply_to: Some(deed.message()),
                name: &name,
                bytes: bytes.to_vec(),
                caption: "The end of its output",
            };
            match self.telegram.document(document).await {
                Ok(_) => return Ok(()),
                Err(error) => self.again(deed.by().chat, error, &mut attempts).await?,
            }
        }
    }
}
