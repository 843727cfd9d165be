//! From what happens to what a person hears of it. It follows the journal and writes nothing that others read:
//! whether a message arrives changes no run, ticket or slot.

mod channel;
pub mod compose;
mod courier;
pub mod dedupe;
mod desk;
mod fate;
mod follow;
pub mod keep;
mod mutes;
pub mod outbox;
pub mod pace;
mod people;
pub mod policy;
pub mod quiet;
pub mod render;
mod sweep;
mod table;
pub mod telegram;
pub mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use tokio::sync::Notify;

use crate::journal::Journal;
use crate::model::alert::{Alert, AlertId, AlertState, Illegal};
use crate::model::notice::Topic;
use crate::platform::clock::Clock;
use crate::platform::failpoint::Fault;
use crate::store::{Store, StoreError, Tx};

use desk::{Desk, Way};
use outbox::lost::Lost;
use outbox::{Channel, Delivery, DeliveryState, Waiting};
use pace::Pace;
use quiet::QuietHours;
use telegram::Telegram;

pub use follow::{Gather, Unread};
pub use people::{By, TEST_PATIENCE};
pub use table::Query;

/// The name of the reader that follows the journal.
const CURSOR: &str = "alert";

/// Why something was not done about an alert.
#[derive(Debug, thiserror::Error)]
pub enum AlertError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no alert {}", .0.0)]
    NoAlert(AlertId),
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// What is missing for a message to go out.
    #[error("there is no way to a phone: {0}")]
    NoWay(&'static str),
}

impl From<Fault> for AlertError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

impl From<rusqlite::Error> for AlertError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Threads of a forum by topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topics {
    pub alerts: Option<i32>,
    pub tickets: Option<i32>,
    pub briefs: Option<i32>,
}

impl Topics {
    fn of(self, topic: Topic) -> Option<i32> {
        match topic {
            Topic::Alerts => self.alerts,
            Topic::Tickets => self.tickets,
            Topic::Briefs => self.briefs,
        }
    }
}

/// Where messages go, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// None without a token.
    pub bot: Option<Telegram>,
    pub chat: Option<i64>,
    pub topics: Topics,
    /// Somebody may press buttons; without, there are none.
    pub has_users: bool,
    pub quiet: Option<QuietHours>,
    /// Of the people who read.
    pub zone: TimeZone,
    pub pace: Pace,
}

/// Calls since this daemon started.
#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
    plain: AtomicU64,
}

/// What [`Tally`] counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    pub delivered: u64,
    /// Attempts that are repeated.
    pub failed: u64,
    pub dead: u64,
    /// Messages whose markup was refused: a bug of ours.
    pub plain: u64,
}

/// An alert with what was sent about it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertView {
    pub alert: Alert,
    pub state: AlertState,
    /// As it reads on a phone.
    pub text: String,
    pub deliveries: Vec<Delivery>,
    /// Somebody has been told of it, by itself or in a fold.
    pub is_heard: bool,
}

/// What became of a test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    pub state: DeliveryState,
    pub message: Option<i64>,
    pub error: Option<String>,
}

/// All alerts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alerts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    journal: Journal,
    clock: Clock,
    settings: Settings,
    /// Something is to be sent.
    wake: Notify,
    /// Held while a call is under way.
    calling: tokio::sync::Mutex<()>,
    /// As the clocks were at the last look at what is in line.
    looked: Mutex<Option<outbox::stale::Clocks>>,
    tally: Tally,
    /// By part.
    mishaps: Mutex<BTreeMap<&'static str, keep::Mishap>>,
}

impl Alerts {
    /// Takes up where the last daemon stopped. What it was sending may have come through and is marked so; a
    /// fresh database begins with what happens from now on.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn open(
        store: Store,
        journal: Journal,
        clock: Clock,
        settings: Settings,
    ) -> Result<Self, StoreError> {
        let latest = journal.latest_seq().await?;
        let known = journal.cursor(CURSOR).await?;
        let (of, now_ms) = (journal.clone(), clock.wall_ms());
        let recover = outbox::stale::table::recover;
        let recovered = store.write(move |tx| Ok::<_, StoreError>(recover(tx, u32::MAX, now_ms)?)).await;
        store
            .write(move |tx| {
                match known {
                    // After a restore the journal may end before the cursor.
                    Some(at) if at > latest => {
                        of.forget_cursor(tx, CURSOR)?;
                        of.advance(tx, CURSOR, latest)
                    }
                    Some(_) => Ok(()),
                    None => of.advance(tx, CURSOR, latest),
                }
            })
            .await?;
        let tally = Tally::default();
        let alerts = Self(Arc::new(Inner {
            store,
            journal,
            clock,
            settings,
            wake: Notify::new(),
            calling: tokio::sync::Mutex::default(),
            looked: Mutex::default(),
            tally,
            mishaps: Mutex::default(),
        }));
        if let Err(e) = recovered {
            // Some messages may stay behind; what the box is there for must not wait for them.
            alerts.stumble("outbox", format!("messages that were being sent cannot be taken up again: {e}"));
        }
        if let Err(e) = alerts.at_desk(|desk, _| Ok(desk.hold_anew()?)).await {
            alerts.stumble("outbox", format!("messages wait as the quiet hours were before: {e}"));
        }
        Ok(alerts)
    }

    fn way(&self) -> Way {
        match (&self.0.settings.bot, self.0.settings.chat) {
            (Some(_), Some(_)) => Way::Open,
            (Some(_) | None, Some(_) | None) => Way::None,
        }
    }

    /// Works on one transaction's view of alerts and outbox.
    async fn at_desk<T, F>(&self, mut work: F) -> Result<T, AlertError>
    where
        F: FnMut(&Desk<'_>, &Tx<'_>) -> Result<T, AlertError> + Send + 'static,
        T: Send + 'static,
    {
        let (this, way) = (self.clone(), self.way());
        let done = self.0.store.write(move |tx| {
            let Settings { quiet, zone, .. } = &this.0.settings;
            let now_ms = this.0.clock.wall_ms();
            work(&Desk { conn: tx, now_ms, way, quiet: *quiet, zone }, tx)
        });
        let done = done.await?;
        self.0.wake.notify_one();
        Ok(done)
    }

    /// The bot that messages go by, and the chat of the settings.
    #[must_use]
    pub fn bot(&self) -> (Option<Telegram>, Option<i64>) {
        (self.0.settings.bot.clone(), self.0.settings.chat)
    }

    /// The alert that a message of a chat is about.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn of_message(&self, chat: i64, message: i32) -> Result<Option<AlertId>, StoreError> {
        self.0.store.read(move |conn| Ok(outbox::table::alert_of(conn, chat, message)?)).await
    }

    /// What has not been sent yet.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn waiting(&self) -> Result<Waiting, StoreError> {
        self.0.store.read(|conn| Ok(outbox::table::waiting(conn)?)).await
    }

    /// How things stand with the way to people, and what has died on it since `since_ms`.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn channel(&self, since_ms: i64) -> Result<(Channel, Lost), StoreError> {
        self.0
            .store
            .read(move |conn| {
                Ok((outbox::table::channel(conn)?, outbox::lost::table::since(conn, since_ms)?))
            })
            .await
    }

    #[must_use]
    pub fn deliveries(&self) -> Deliveries {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &self.0.tally;
        Deliveries {
            delivered: count(&tally.delivered),
            failed: count(&tally.failed),
            dead: count(&tally.dead),
            plain: count(&tally.plain),
        }
    }

    /// What may stand in no line of a log: the bot's token.
    #[must_use]
    pub fn secret(&self) -> Option<String> {
        self.0.settings.bot.as_ref().map(|bot| bot.secret().to_owned())
    }

    /// Deletes what ended before `before_ms`, 500 rows a transaction; how many.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn trim(&self, before_ms: i64) -> Result<usize, StoreError> {
        let store = &self.0.store;
        let mut gone = store
            .delete_in_chunks(move |tx, limit| {
                outbox::table::delete_ended(tx, before_ms, limit).map_err(StoreError::from)
            })
            .await?;
        gone += store
            .delete_in_chunks(move |tx, limit| {
                table::delete_over(tx, before_ms, limit).map_err(StoreError::from)
            })
            .await?;
        Ok(gone)
    }
}
