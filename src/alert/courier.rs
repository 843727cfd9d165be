//! Carries the outbox to Telegram: one call after the other, the most important first. A row is marked as being
//! sent before the call, so that a daemon killed in it leaves a mark; how a call ended decides what becomes of
//! its row and of the way to people.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::compose::compose;
use super::fate::{Blame, Fate, Night, Wait, fate, sound};
use super::follow::is_passing;
use super::keep::unharmed;
use super::outbox::{DeliveryState, Purpose, Queued, table};
use super::pace::Chat;
use super::render::{LONG_MAX, Rendered, VISIBLE_MAX, render};
use super::telegram::{Format, Outgoing, Sound, Telegram, TelegramError};
use super::{AlertError, Alerts};
use crate::model::notice::{Button, Part};
use crate::platform::failpoint;
use crate::store::StoreError;

/// How often a way that is broken is tried.
const PROBE_EVERY: Duration = Duration::from_secs(300);
/// Longest sleep of the courier; what comes meanwhile wakes it.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Wait before something is offered again to a database that did not take it.
const AGAIN: Duration = Duration::from_secs(1);

/// Tries of a message that the database holds and cannot be read.
const READS_MAX: u32 = 3;

/// How long a daemon that goes waits for a call that is under way.
const GOODBYE: Duration = Duration::from_secs(3);

/// One call, ready to be made.
#[derive(Debug, Clone)]
struct Ready {
    text: Rendered,
    buttons: Vec<Button>,
    what: What,
    sound: Sound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Send { reply_to: Option<i32>, thread: Option<i32> },
    Edit { chat: i64, message: i32 },
}

impl Alerts {
    /// Sends what is in line, until `stop`. Without a way to people there is nothing to do.
    pub async fn deliver(self, stop: CancellationToken) {
        let (Some(bot), Some(configured)) = (self.0.settings.bot.clone(), self.0.settings.chat) else {
            return;
        };
        let mut pace = Chat::new(self.0.settings.pace);
        let mut probed_at: Option<Duration> = None;
        while !stop.is_cancelled() {
            let channel = match self.channel_of(configured).await {
                Ok(channel) => channel,
                Err(e) => {
                    warn!(error = %e, "cannot read the outbox");
                    self.rest(AGAIN, &stop).await;
                    continue;
                }
            };
            let chat = channel.chat.unwrap_or(configured);
            if channel.broken.is_some() {
                let now = self.0.clock.boot();
                if probed_at.is_none_or(|at| now.saturating_sub(at) >= PROBE_EVERY) {
                    probed_at = Some(now);
                    if self.probe(&bot, chat, &channel).await {
                        pace.mended();
                    }
                    continue;
                }
                self.rest(PROBE_EVERY, &stop).await;
                continue;
            }
            let now = self.0.clock.boot();
            let free_at = pace.next(chat, now);
            if free_at > now {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(free_at - now) => {}
                }
            }
            match self.turn(&bot, chat, &mut pace, &stop).await {
                Ok(true) => {}
                Ok(false) => self.rest(self.next_in().await, &stop).await,
                Err(e) => {
                    warn!(error = %e, "cannot read the outbox");
                    self.rest(AGAIN, &stop).await;
                }
            }
        }
    }

    /// Makes one call, if there is one to be made.
    async fn turn(
        &self,
        bot: &Telegram,
        chat: i64,
        pace: &mut Chat,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let _turn = self.0.calling.lock().await;
        if stop.is_cancelled() {
            return Ok(false);
        }
        let Some(row) = self.take_next().await? else { return Ok(false) };
        if let Err(why) = unharmed(self.carry(bot, chat, row.clone(), pace)).await {
            self.stumble("courier", format!("message {} is given up: {why}", row.id));
            let why = format!("lucid stumbled over it: {why}");
            self.settle(row, chat, Fate::Dead { why, blame: Blame::Message }).await;
        }
        Ok(true)
    }

    /// Lets a call that is under way end, for a while: cut off it would leave a message in doubt.
    pub async fn settle_down(&self) {
        if tokio::time::timeout(GOODBYE, self.0.calling.lock()).await.is_err() {
            warn!("a message was being sent; the next start marks it as a possible repeat");
        }
    }

    /// Until something is to be done, at most `time`.
    async fn rest(&self, time: Duration, stop: &CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.0.wake.notified() => {}
            () = tokio::time::sleep(time.min(SLEEP_MAX)) => {}
        }
    }

    async fn next_in(&self) -> Duration {
        let now_ms = self.0.clock.wall_ms();
        let next = self.0.store.read(move |conn| Ok::<_, StoreError>(table::next_at_ms(conn, now_ms)?)).await;
        match next {
            Ok(Some(at_ms)) => Duration::from_millis(u64::try_from(at_ms - now_ms).unwrap_or(0)),
            Ok(None) | Err(_) => SLEEP_MAX,
        }
    }

    async fn take_next(&self) -> Result<Option<Queued>, StoreError> {
        let now_ms = self.0.clock.wall_ms();
        let is_any =
            move |conn: &rusqlite::Connection| Ok::<_, StoreError>(table::next_id(conn, now_ms)?.is_some());
        if !self.0.store.read(is_any).await? {
            return Ok(None);
        }
        self.0
            .store
            .write(move |tx| {
                failpoint::hit("outbox.take")?;
                while let Some(id) = table::next_id(tx, now_ms)? {
                    match table::get(tx, id) {
                        Ok(mut row) => {
                            row.attempts += 1;
                            return Ok::<_, StoreError>(table::begin(tx, id)?.then_some(row));
                        }
                        Err(e) if e.sqlite_error_code().is_some() => return Err(e.into()),
                        // What it holds is none of ours: it reads no better another time.
                        Err(e) => {
                            error!(row = id, error = %e, "a message cannot be read and is given up");
                            let why = format!("cannot be read: {e}");
                            table::end(tx, id, DeliveryState::Dead, Some(&why), now_ms)?;
                        }
                    }
                }
                Ok(None)
            })
            .await
    }

    /// Makes the call of one row, which is marked as being sent, and writes what became of it.
    async fn carry(&self, bot: &Telegram, chat: i64, mut row: Queued, pace: &mut Chat) {
        let ready = match self.ready(&row, chat).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(why)) => {
                let fate = Fate::Dropped { why: why.to_owned() };
                return self.settle(row, chat, fate).await;
            }
            Err(e) => {
                warn!(row = row.id, error = %e, "cannot put a message together");
                let why = format!("cannot be put together: {e}");
                let is_lost = !is_passing(&e) && row.attempts >= READS_MAX;
                let fate = match is_lost {
                    true => Fate::Dead { why, blame: Blame::Message },
                    false => Fate::Back { why, wait: Wait::Grows },
                };
                return self.settle(row, chat, fate).await;
            }
        };
        failpoint::pass("outbox.send");
        pace.used(chat, self.0.clock.boot());
        let called = call(bot, chat, &ready, &row).await;
        failpoint::pass("outbox.sent");
        let now = self.0.clock.boot();
        let (target, fate) = match called {
            Ok((chat, message)) => {
                pace.went();
                (chat, Fate::Delivered { message })
            }
            Err(why) => {
                match &why {
                    TelegramError::Busy { after } => pace.pause(now, *after),
                    TelegramError::Unreachable(_) | TelegramError::Unclear(_) | TelegramError::Trouble(_) => {
                        pace.failed(now, row.id.unsigned_abs());
                    }
                    TelegramError::Moved { to } => self.moved(self.0.settings.chat, *to).await,
                    TelegramError::Shut(text) => self.shut(text).await,
                    TelegramError::Markup(_)
                    | TelegramError::Gone(_)
                    | TelegramError::Refused(_)
                    | TelegramError::Unnamed
                    | TelegramError::Unchanged => {}
                }
                let fate = fate(&mut row, &why);
                (chat, fate.on_trial(pace.is_unproven(), row.purpose))
            }
        };
        if row.is_plain {
            count(&self.0.tally.plain);
        }
        self.settle(row, target, fate).await;
    }

    /// Puts a row's call together; the inner error says why there is nothing left to send.
    async fn ready(&self, row: &Queued, chat: i64) -> Result<Result<Ready, &'static str>, AlertError> {
        let (this, row) = (self.clone(), row.clone());
        let read = self.0.store.read(move |conn| {
            let now_ms = this.0.clock.wall_ms();
            let settings = &this.0.settings;
            let original = row.original.map(|id| table::message_of(conn, id)).transpose()?.flatten();
            let speaks_of_one = matches!(row.purpose, Purpose::Edit | Purpose::Recovery);
            let what = match original {
                // What was never sent is neither changed nor answered.
                None if speaks_of_one => return Ok(Err("its message was not sent")),
                // Nobody reads there any more, and a failure there says nothing about here.
                Some((at, _)) if row.purpose == Purpose::Edit && at != chat => {
                    return Ok(Err("its message is in another chat"));
                }
                Some((chat, message)) if row.purpose == Purpose::Edit => What::Edit { chat, message },
                original => What::Send {
                    reply_to: original
                        .filter(|(at, _)| *at == chat && !row.is_bare)
                        .map(|(_, message)| message),
                    thread: settings.topics.of(row.topic).filter(|_| !row.is_bare),
                },
            };
            let (parts, buttons, max) = match (&row.text, row.alert) {
                (Some(text), _) => (own_text(text, &row), Vec::new(), LONG_MAX),
                (None, Some(id)) => {
                    let Some(alert) = super::table::get(conn, id)? else {
                        return Ok(Err("its alert is gone"));
                    };
                    let desk = super::Desk {
                        conn,
                        now_ms,
                        way: this.way(),
                        quiet: settings.quiet,
                        zone: &settings.zone,
                    };
                    let mut around = desk.around(&alert, row.purpose, row.original)?;
                    around.is_doubtful = row.is_doubtful && row.purpose != Purpose::Edit;
                    let composed = compose(&alert, row.purpose, &around);
                    // A button that nobody may press would wait for ever.
                    let buttons = if settings.has_users { composed.buttons } else { Vec::new() };
                    (composed.parts, buttons, VISIBLE_MAX)
                }
                (None, None) => return Ok(Err("it says nothing")),
            };
            let is_quiet = settings.quiet.is_some_and(|hours| hours.end_ms(now_ms, &settings.zone).is_some());
            let sound = sound(&row, Night(is_quiet));
            Ok(Ok(Ready { text: render(&parts, &settings.zone, max), buttons, what, sound }))
        });
        read.await
    }

    /// Writes what became of a row, again and again until the database takes it: a message that was sent and
    /// not noted would be sent twice.
    async fn settle(&self, row: Queued, chat: i64, fate: Fate) {
        match &fate {
            Fate::Delivered { .. } => count(&self.0.tally.delivered),
            Fate::Back { why, .. } => {
                debug!(why, "a message was not sent; it is tried again");
                count(&self.0.tally.failed);
            }
            Fate::Dead { why, .. } => {
                error!(why, "a message cannot be delivered");
                count(&self.0.tally.dead);
            }
            Fate::Dropped { why } => debug!(why, "a message is not needed any more"),
        }
        let mut fate = fate;
        loop {
            let (id, was_dead) = (row.id, matches!(fate, Fate::Dead { .. }));
            let (row, next, now_ms) = (row.clone(), fate.clone(), self.0.clock.wall_ms());
            let written = self.0.store.write(move |tx| {
                failpoint::hit("outbox.note")?;
                match &next {
                    Fate::Delivered { message } => {
                        table::delivered(tx, row.id, (chat, *message), now_ms)?;
                        // A changed message proves nothing of new ones.
                        if row.purpose != Purpose::Edit {
                            table::untell_dead(tx)?;
                        }
                    }
                    Fate::Back { why, wait } => {
                        let again_ms = now_ms + wait.length_ms(row.attempts);
                        table::put_back(tx, &row, Some(why), (again_ms, now_ms))?;
                    }
                    Fate::Dead { why, blame } => {
                        table::end(tx, row.id, DeliveryState::Dead, Some(why), now_ms)?;
                        if *blame == Blame::Channel {
                            table::untell(tx, row.id)?;
                        }
                    }
                    Fate::Dropped { why } => {
                        table::end(tx, row.id, DeliveryState::Dropped, Some(why), now_ms)?;
                    }
                }
                Ok::<_, StoreError>(())
            });
            let why = match written.await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(e) => AlertError::from(e),
            };
            if is_passing(&why) {
                warn!(error = %why, "cannot note what became of a message; trying again");
            } else if was_dead {
                error!(row = id, error = %why, "a message is left where it is and taken up later");
                return;
            } else {
                // It would be refused for ever, and all that follow would wait.
                error!(row = id, error = %why, "what became of a message cannot be noted; it is given up");
                fate = Fate::Dead { why: why.to_string(), blame: Blame::Message };
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Somebody's text, with a word if it may come twice.
fn own_text(text: &[Part], row: &Queued) -> Vec<Part> {
    let mut parts = text.to_vec();
    if row.is_doubtful {
        parts.extend([Part::Break, Part::Italic("(may be a repeat)".to_owned())]);
    }
    parts
}

async fn call(bot: &Telegram, chat: i64, ready: &Ready, row: &Queued) -> Result<(i64, i32), TelegramError> {
    let (text, format) = if row.is_plain {
        (ready.text.plain.as_str(), Format::Plain)
    } else {
        (ready.text.html.as_str(), Format::Html)
    };
    match ready.what {
        What::Edit { chat, message } => {
            bot.edit(chat, message, (text, format), &ready.buttons).await.map(|()| (chat, message))
        }
        What::Send { reply_to, thread } => {
            let message = Outgoing {
                chat,
                thread,
                text,
                format,
                buttons: &ready.buttons,
                reply_to,
                sound: ready.sound,
            };
            bot.send(&message).await.map(|sent| (chat, sent))
        }
    }
}
