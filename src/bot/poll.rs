//! Fetches what happens in the chat. An update is written down before the next call tells Telegram that it was
//! taken; what a stranger does is counted and forgotten.

use std::sync::PoisonError;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::deed::{Admission, Guests, admit};
use super::{AGAIN, Bot, command, table};
use crate::alert::keep::unharmed;
use crate::alert::telegram::{POLL_MAX, TelegramError, Update};
use crate::alert::words::{clip, phrase};
use crate::platform::failpoint;
use crate::store::StoreError;

/// Longest wait between two calls that fail.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Wait after another program was found to fetch with the same token.
const CONFLICT_WAIT: Duration = Duration::from_secs(5);
/// Calls that fail in a row before it is said: one that fails is nobody's concern.
const TOLD_AFTER: u32 = 4;
/// Characters of why an update was passed over.
const WHY_CHARS: usize = 200;

/// What was done since the last call that failed.
#[derive(Debug, Default)]
struct Greeted {
    is_named: bool,
    has_menu: bool,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Telegram(#[from] TelegramError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Fetches until the daemon goes down.
pub(super) async fn poll(bot: Bot) {
    let mut failures: u32 = 0;
    let mut greeted = Greeted::default();
    loop {
        let round = tokio::select! {
            () = bot.stop.cancelled() => return,
            round = bot.round(&mut greeted) => round,
        };
        let wait = match round {
            Ok(()) => {
                failures = 0;
                if bot.app.phone.hears() {
                    info!("buttons and replies are heard again");
                }
                continue;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                // Whoever is there when it works again may be another.
                greeted = Greeted::default();
                bot.failed(&error, failures)
            }
        };
        tokio::select! {
            () = bot.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl Bot {
    /// Its name, where Telegram has told it.
    pub(super) fn own_name(&self) -> Option<String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks who it is. One that was told once may go on by that.
    async fn ask_name(&self) -> Result<bool, TelegramError> {
        match self.telegram.me().await {
            Ok(name) if name.is_empty() => Ok(false),
            Ok(name) => {
                let known = &mut *self.name.lock().unwrap_or_else(PoisonError::into_inner);
                if known.as_ref() != Some(&name) {
                    info!(bot = %crate::model::text::clean(&name), "listening to Telegram");
                }
                *known = Some(name);
                Ok(true)
            }
            Err(error) if self.own_name().is_none() => Err(error),
            Err(error) => {
                debug!(%error, "the bot's name could not be asked for again");
                Ok(false)
            }
        }
    }

    async fn round(&self, greeted: &mut Greeted) -> Result<(), RoundError> {
        if !greeted.is_named {
            greeted.is_named = self.ask_name().await?;
        }
        if !greeted.has_menu {
            greeted.has_menu = true;
            let menu = command::MENU.map(|(name, wanted, what)| (name, described(wanted, what)));
            let menu: Vec<(&str, &str)> = menu
                .iter()
                .filter(|(name, _)| *name != "start")
                .map(|(n, what)| (*n, what.as_str()))
                .collect();
            if let Err(error) = self.telegram.commands(&menu).await {
                warn!(%error, "the bot's menu of commands was not taken");
            }
        }
        let (bot, now_ms) = (self.number, self.app.clock.wall_ms());
        let offset =
            self.app.store.read(move |conn| Ok::<_, StoreError>(table::offset(conn, bot, now_ms)?)).await?;
        let updates = self.telegram.updates(offset, POLL_MAX).await?;
        if updates.is_empty() {
            return Ok(());
        }
        self.take(updates).await
    }

    /// Writes down what is let in; only then is Telegram told.
    async fn take(&self, updates: Vec<Update>) -> Result<(), RoundError> {
        let guests = self.guests().await?;
        let Some(next) = updates.last().map(|update| update.number().saturating_add(1)) else {
            return Ok(());
        };
        let (mut deeds, mut strangers) = (Vec::new(), Vec::new());
        for update in updates {
            let number = update.number();
            match unharmed(async { admit(update, &guests) }).await {
                Ok(Admission::Deed(deed)) => deeds.push((number, deed)),
                Ok(Admission::Stranger(who)) => strangers.push(who),
                Ok(Admission::Nothing) => {}
                Ok(Admission::Unreadable(why)) | Err(why) => {
                    let why = clip(&phrase(&why), WHY_CHARS).into_owned();
                    self.app.alerts.stumble("bot's ear", format!("update {number} is passed over: {why}"));
                }
            }
        }
        let (bot, now_ms) = (self.number, self.app.clock.wall_ms());
        self.app
            .store
            .write(move |tx| {
                // First: after a quiet week the numbers begin anew, and an old one is no repetition.
                table::forget(tx, now_ms)?;
                failpoint::hit("bot.keep")?;
                for (number, deed) in &deeds {
                    table::keep(tx, (bot, *number), deed, now_ms)?;
                }
                Ok::<_, StoreError>(table::set_offset(tx, bot, next, now_ms)?)
            })
            .await?;
        failpoint::pass("bot.kept");
        for who in strangers {
            self.app.phone.ignore(who, now_ms);
            info!(user = who, "somebody who is not on the list wrote to the bot");
        }
        self.to_work.notify_one();
        Ok(())
    }

    /// Who is let in now: the settings, and what their chat has become.
    async fn guests(&self) -> Result<Guests, StoreError> {
        let telegram = &self.app.config.telegram;
        let (channel, _) = self.app.alerts.channel(self.app.clock.wall_ms()).await?;
        let moved = channel.chat.filter(|_| channel.configured == telegram.chat_id);
        Ok(Guests {
            people: telegram.allowed_users.clone(),
            chats: telegram.chat_id.into_iter().chain(moved).collect(),
        })
    }

    /// Says what is wrong, and for how long to wait.
    fn failed(&self, error: &RoundError, failures: u32) -> Duration {
        let grown = |from: Duration| {
            from.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX))
                .min(WAIT_MAX)
        };
        let (wait, is_lasting) = match error {
            RoundError::Store(_) => (AGAIN, false),
            RoundError::Telegram(error) => match error {
                TelegramError::Refused(why) if is_conflict(why) => (grown(CONFLICT_WAIT), true),
                TelegramError::Shut(_) => (WAIT_MAX, true),
                TelegramError::Busy { after } => (*after, false),
                TelegramError::Unreachable(_)
                | TelegramError::Unclear(_)
                | TelegramError::Moved { .. }
                | TelegramError::Markup(_)
                | TelegramError::Unchanged
                | TelegramError::Unnamed
                | TelegramError::Gone(_)
                | TelegramError::Trouble(_)
                | TelegramError::Refused(_) => (grown(AGAIN), false),
            },
        };
        if is_lasting || failures >= TOLD_AFTER {
            let why = match error {
                RoundError::Telegram(TelegramError::Refused(why)) if is_conflict(why) => {
                    format!("another program fetches with the same token ({why})")
                }
                RoundError::Telegram(_) | RoundError::Store(_) => error.to_string(),
            };
            if self.app.phone.deaf(&why, self.app.clock.wall_ms()) {
                warn!(why, "buttons and replies are not heard");
            }
        }
        wait
    }
}

fn described(wanted: &str, what: &str) -> String {
    if wanted.is_empty() { what.to_owned() } else { format!("{wanted}: {what}") }
}

/// One program a token may fetch; and none while Telegram sends updates to an address of the web.
fn is_conflict(why: &str) -> bool {
    why.to_ascii_lowercase().contains("getupdates")
}
