//! Answers from the phone: what people write to the bot and which buttons they press.
//!
//! An update goes through four hands. `poll` fetches it and lets `deed` say whether whoever did it is on the
//! list; what is let in is written down before Telegram hears that it was taken. `work` does it, once, and
//! writes down what is to be told; `show` tells it. `follow` keeps what changes by itself: the reaction that
//! says how far a message has come, and questions that were put off. A daemon killed anywhere between them
//! takes up where it was.

mod answer;
mod command;
mod deed;
mod follow;
mod look;
mod poll;
mod press;
mod pressed;
mod reply;
mod show;
mod sure;
mod table;
mod text;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::alert::telegram::Telegram;
use crate::daemon::App;

/// Wait before something is asked again of a database that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest sleep of whoever waits for work: a wake that was lost costs no more.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// The bot. Cheap to clone.
#[derive(Clone)]
struct Bot(Arc<Inner>);

struct Inner {
    app: App,
    telegram: Telegram,
    /// Telegram's number of it: updates are numbered by bot.
    number: i64,
    /// Its name, as Telegram told it last.
    name: Mutex<Option<String>>,
    /// Something was written down.
    to_work: Notify,
    /// Something was done.
    to_show: Notify,
    /// Chats that Telegram wants to be left alone, until when: time since boot.
    held: Mutex<HashMap<i64, Duration>>,
    stop: CancellationToken,
}

impl std::ops::Deref for Bot {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Listens until the daemon goes down. Without a token, or without anybody who may say something, there is
/// nothing to listen for.
pub async fn serve(app: App) {
    let (Some(telegram), _) = app.alerts.bot() else { return };
    if app.config.telegram.allowed_users.is_empty() {
        return;
    }
    let stop = app.shutdown.closed.clone();
    let bot = Bot(Arc::new(Inner {
        number: telegram.number(),
        app,
        telegram,
        name: Mutex::default(),
        to_work: Notify::new(),
        to_show: Notify::new(),
        held: Mutex::default(),
        stop,
    }));
    let parts = [
        keep(&bot, "bot's ear", poll::poll),
        keep(&bot, "bot's hand", work::work),
        keep(&bot, "bot's mouth", show::show),
        keep(&bot, "bot's follower", follow::follow),
    ];
    for part in parts {
        if let Err(e) = part.await {
            warn!(error = %e, "a part of the bot ended badly");
        }
    }
}

/// Starts a part, again after every panic in it.
fn keep<F>(bot: &Bot, part: &'static str, work: fn(Bot) -> F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (alerts, stop, bot) = (bot.app.alerts.clone(), bot.stop.clone(), bot.clone());
    tokio::spawn(alerts.keep(part, stop, move || work(bot.clone())))
}

impl Bot {
    /// Until there may be something to do. False when the daemon goes down.
    async fn rest(&self, wake: &Notify, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => return false,
            () = wake.notified() => {}
            () = tokio::time::sleep(time) => {}
        }
        !self.stop.is_cancelled()
    }

    /// Leaves a chat alone for so long, as Telegram wants.
    fn hold(&self, chat: i64, time: Duration) {
        let until = self.app.clock.boot().saturating_add(time);
        let held = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.entry(chat).or_default();
        *known = until.max(*known);
    }

    /// Chats that are left alone now, and for how long.
    fn held(&self) -> HashMap<i64, Duration> {
        let now = self.app.clock.boot();
        let held = &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, until| *until > now);
        held.iter().map(|(chat, until)| (*chat, until.saturating_sub(now))).collect()
    }
}
