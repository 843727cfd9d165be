//! The journal: every [`Event`] with a number, written in the transaction of the change it tells of and
//! published after its commit. Readers only read: a feed for live pages, a durable cursor for whoever
//! must not miss one. It never interprets an event.

mod feed;
mod retention;
mod standing;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::model::event::{Event, EventKind, Recorded};
use crate::model::ids::{RunId, TaskId};
use crate::store::{Store, StoreError, Tx};

pub use feed::{Feed, FeedError};
pub use retention::{Keep, Trimmed};
#[cfg(test)]
pub(crate) use table::broken;

/// Events that a live reader may be behind before it reads from the table again.
const LIVE_MAX: usize = 1_024;
/// The most events that one read returns.
pub const PAGE_MAX: usize = 1_000;

/// Which events a reader wants; an empty filter wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub task: Option<TaskId>,
    pub run: Option<RunId>,
    pub ticket: Option<String>,
    /// None stands for all kinds.
    pub kinds: Option<Vec<EventKind>>,
}

impl Filter {
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.task.as_ref().is_none_or(|task| event.task.as_ref() == Some(task))
            && self.run.is_none_or(|run| event.run == Some(run))
            && self.ticket.as_ref().is_none_or(|ticket| event.ticket.as_ref() == Some(ticket))
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
    }
}

/// Writes and reads events; clones share the live channel.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Store,
    live: broadcast::Sender<Arc<Recorded>>,
}

impl Journal {
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (live, _) = broadcast::channel(LIVE_MAX);
        Self { store, live }
    }

    /// Writes `event` in the caller's transaction and publishes it once that is durable; its number.
    ///
    /// # Errors
    /// When SQLite fails; the caller's transaction is then rolled back with it.
    pub fn record(&self, tx: &Tx<'_>, now_ms: i64, event: Event) -> Result<i64, StoreError> {
        let seq = table::insert(tx, now_ms, &event)?;
        let live = self.live.clone();
        // Nobody listening is fine: the table has it.
        tx.after_commit(move || drop(live.send(Arc::new(Recorded { seq, at_ms: now_ms, event }))));
        Ok(seq)
    }

    /// Up to `limit` (at most [`PAGE_MAX`]) events with a number above `seq`, oldest first.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn after(&self, seq: i64, limit: usize, filter: Filter) -> Result<Vec<Recorded>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.store.read(move |conn| Ok(table::after(conn, seq, limit, &filter)?)).await
    }

    /// Up to `limit` (at most [`PAGE_MAX`]) events with a number below `seq`, newest first.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn before(&self, seq: i64, limit: usize, filter: Filter) -> Result<Vec<Recorded>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.store.read(move |conn| Ok(table::before(conn, seq, limit, &filter)?)).await
    }

    /// The highest number ever given; 0 before the first. It stays when retention takes the event.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn latest_seq(&self) -> Result<i64, StoreError> {
        self.store.read(|conn| Ok(table::latest(conn)?)).await
    }

    /// The lowest number that is still kept; none when the journal is empty.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn oldest_seq(&self) -> Result<Option<i64>, StoreError> {
        self.store.read(|conn| Ok(table::oldest(conn)?)).await
    }

    /// Whether more than `limit` events follow `seq`. Numbers alone do not tell: tickets draw from the same
    /// sequence.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn is_behind(&self, seq: i64, limit: u32) -> Result<bool, StoreError> {
        self.store.read(move |conn| Ok(table::is_behind(conn, seq, limit)?)).await
    }

    /// Follows the journal after `seq`: what is kept first, then what comes, without gap or double.
    #[must_use]
    pub fn subscribe(&self, seq: i64, filter: Filter) -> Feed {
        Feed::new(self.store.clone(), self.live.subscribe(), seq, filter)
    }

    /// How far the reader `name` has come; none when it has never been heard of.
    ///
    /// # Errors
    /// When the read fails.
    pub async fn cursor(&self, name: &'static str) -> Result<Option<i64>, StoreError> {
        self.store.read(move |conn| Ok(table::cursor(conn, name)?)).await
    }

    /// Moves the cursor of `name` to `seq`, in the transaction of what the reader made of the events up
    /// to it. A cursor never moves back.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn advance(&self, tx: &Tx<'_>, name: &str, seq: i64) -> Result<(), StoreError> {
        Ok(table::advance(tx, name, seq)?)
    }

    /// Forgets a reader that is no more, so that retention no longer waits for it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn forget_cursor(&self, tx: &Tx<'_>, name: &str) -> Result<(), StoreError> {
        Ok(table::forget_cursor(tx, name)?)
    }
}
