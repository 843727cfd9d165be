//! What workers print and what becomes of a ticket: an append-only log, read by number or followed live.
//!
//! Numbers are drawn from the journal's own sequence, so that one number orders a ticket's log and the
//! journal, and a page can follow both with one `Last-Event-ID`. The rows stand in a table of their own:
//! ten thousand lines a second of a worker's output must neither push facts out of the journal's
//! retention nor run its live readers off their channel.

mod follow;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast;

use crate::model::ids::{RunId, TicketId};
use crate::store::{StoreError, Tx};

use super::board::find;
use super::{Author, TicketError, Tickets};

pub use follow::{Follow, FollowError};

/// Bytes of one event's data.
pub const EVENT_MAX_BYTES: usize = 256 * 1024;
/// Events of one batch.
pub const BATCH_MAX: usize = 10_000;
/// Events of one page, and their bytes: whichever comes first.
pub const PAGE_MAX: usize = 1_000;
const PAGE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Events that a live reader may be behind before it reads from the table again.
const LIVE_MAX: usize = 512;
/// Events that a reader may be behind before it is told to read by number.
pub const REPLAY_MAX: usize = 10_000;
/// Of an event whose line says none.
pub const RAW: &str = "raw";
/// Bytes of a type that is kept as such.
const TYPE_MAX_BYTES: usize = 64;
/// Rows deleted in one transaction.
const TRIM_CHUNK: usize = 2_000;

/// Who an event is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A worker, in its own words.
    Worker,
    /// What became of the ticket.
    Lucid,
}

impl Source {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Lucid => "lucid",
        }
    }
}

/// An event to be appended: JSON as it came, never reordered or rounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    kind: String,
    data: String,
}

impl NewEvent {
    /// From a JSON text; its type is the text's own `type` where it is an object with one.
    ///
    /// # Errors
    /// [`TicketError::Invalid`] when it is too long.
    pub fn json(data: &str) -> Result<Self, TicketError> {
        super::at_most("event", data, EVENT_MAX_BYTES)?;
        Ok(Self { kind: kind_of(data), data: data.to_owned() })
    }

    /// From a line that may be anything; what is no JSON is kept as a string.
    ///
    /// # Errors
    /// [`TicketError::Invalid`] when it is too long.
    pub fn line(line: &str) -> Result<Self, TicketError> {
        match serde_json::from_str::<serde::de::IgnoredAny>(line) {
            Ok(_) => Self::json(line.trim()),
            Err(_) => Self::json(&Value::from(line).to_string()),
        }
    }
}

#[derive(serde::Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

fn kind_of(data: &str) -> String {
    match serde_json::from_str::<Typed<'_>>(data) {
        Ok(typed) if !typed.kind.is_empty() && typed.kind.len() <= TYPE_MAX_BYTES => typed.kind.into_owned(),
        Ok(_) | Err(_) => RAW.to_owned(),
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketEvent {
    /// Rises over the whole database.
    pub seq: i64,
    pub at_ms: i64,
    pub source: Source,
    pub kind: String,
    pub run: Option<RunId>,
    /// JSON.
    pub data: String,
}

/// An event on its way to those who follow; its frame is made once, by the first of them.
#[derive(Debug)]
pub struct Live {
    pub event: TicketEvent,
    frame: OnceLock<Arc<[u8]>>,
}

impl Live {
    fn new(event: TicketEvent) -> Self {
        Self { event, frame: OnceLock::new() }
    }

    /// The bytes that `encode` makes of the event, the same for all.
    pub fn frame(&self, encode: impl FnOnce(&TicketEvent) -> Vec<u8>) -> Arc<[u8]> {
        Arc::clone(self.frame.get_or_init(|| encode(&self.event).into()))
    }
}

/// The live channels, one a ticket that is followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Hub(Arc<Mutex<HashMap<i64, broadcast::Sender<Arc<Live>>>>>);

impl Hub {
    fn subscribe(&self, ticket: i64) -> broadcast::Receiver<Arc<Live>> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        channels.entry(ticket).or_insert_with(|| broadcast::channel(LIVE_MAX).0).subscribe()
    }

    /// Never waits: a reader that is behind finds out by itself.
    fn publish(&self, ticket: i64, events: Vec<TicketEvent>) {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = channels.get(&ticket) else { return };
        if channel.receiver_count() == 0 {
            channels.remove(&ticket);
            return;
        }
        for event in events {
            // The last receiver may go at any time; the table has it.
            drop(channel.send(Arc::new(Live::new(event))));
        }
    }
}

impl Tickets {
    /// Appends what a worker printed, all or nothing, and answers once it is durable: the numbers.
    ///
    /// # Errors
    /// [`TicketError::Stale`] for a worker whose attempt is over, [`TicketError::Invalid`] for too many.
    pub async fn append(
        &self,
        id: &TicketId,
        events: Vec<NewEvent>,
        author: &Author,
    ) -> Result<Vec<i64>, TicketError> {
        if events.len() > BATCH_MAX {
            let why = format!("{} events, more than {BATCH_MAX}", events.len());
            return Err(TicketError::Invalid { field: "events", why });
        }
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        let events = Arc::new(events);
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                find(tx, &id)?;
                this.append_in(tx, &id, Source::Worker, author.run(), &events, now_ms)
            })
            .await
    }

    /// Appends in the caller's transaction: the numbers.
    ///
    /// # Errors
    /// What the database says.
    pub fn append_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        source: Source,
        run: Option<RunId>,
        events: &[NewEvent],
        now_ms: i64,
    ) -> Result<Vec<i64>, TicketError> {
        let first = table::draw(tx, events.len())?;
        let rows: Vec<TicketEvent> = (first..)
            .zip(events)
            .map(|(seq, new)| TicketEvent {
                seq,
                at_ms: now_ms,
                source,
                kind: new.kind.clone(),
                run,
                data: new.data.clone(),
            })
            .collect();
        for row in &rows {
            table::insert(tx, id, row)?;
        }
        let (hub, number) = (self.hub.clone(), id.number());
        let seqs = rows.iter().map(|row| row.seq).collect();
        tx.after_commit(move || hub.publish(number, rows));
        Ok(seqs)
    }

    /// Notes what became of a ticket, in its own log.
    pub(super) fn note(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        kind: &str,
        run: Option<RunId>,
        data: &Value,
        now_ms: i64,
    ) -> Result<(), TicketError> {
        let event = NewEvent { kind: kind.to_owned(), data: data.to_string() };
        self.append_in(tx, id, Source::Lucid, run, &[event], now_ms).map(drop)
    }

    /// Up to `limit` (at most [`PAGE_MAX`], and a few megabytes) events after `seq`, oldest first.
    ///
    /// # Errors
    /// [`TicketError::NoTicket`], or what the database says.
    pub async fn events_after(
        &self,
        id: &TicketId,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<TicketEvent>, TicketError> {
        let (id, limit) = (id.clone(), limit.min(PAGE_MAX));
        self.store
            .read(move |conn| {
                find(conn, &id)?;
                Ok(table::after(conn, id.number(), seq, limit, PAGE_MAX_BYTES)?)
            })
            .await
    }

    /// The highest number of the ticket's log; 0 before the first.
    ///
    /// # Errors
    /// As [`Tickets::events_after`].
    pub async fn last_seq(&self, id: &TicketId) -> Result<i64, TicketError> {
        let id = id.clone();
        self.store
            .read(move |conn| {
                find(conn, &id)?;
                Ok(table::span(conn, id.number())?.latest)
            })
            .await
    }

    /// Follows the ticket's log after `seq`: what is kept first, then what comes, without gap or double.
    #[must_use]
    pub fn follow(&self, id: &TicketId, seq: i64) -> Follow {
        Follow::new(self.store.clone(), self.hub.subscribe(id.number()), id.number(), seq)
    }

    /// Deletes what workers printed on tickets that have been over since before `before_ms`; how many.
    ///
    /// # Errors
    /// What the database says; what went before stays gone.
    pub async fn trim_events(&self, before_ms: i64) -> Result<usize, StoreError> {
        let mut gone = 0;
        loop {
            let chunk = self
                .store
                .write(move |tx| Ok::<_, StoreError>(table::trim(tx, before_ms, TRIM_CHUNK)?))
                .await?;
            gone += chunk;
            if chunk < TRIM_CHUNK {
                return Ok(gone);
            }
        }
    }
}
