//! Following the journal: the table first, the live channel then, the table again after falling behind.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Filter, table};
use crate::model::event::Recorded;
use crate::store::{Store, StoreError};

/// Events that a feed reads from the table at a time.
const PAGE: usize = 256;

/// Why a feed cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// What follows the reader's position is gone, or was never here: it has to start anew.
    #[error("the journal has events {oldest} to {latest}, this reader is at {at}")]
    Reset { at: i64, oldest: i64, latest: i64 },
    #[error("the journal is closed")]
    Closed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

enum Mode {
    /// Reading the table; live events may be waiting in the channel.
    Replay,
    Live,
}

/// A reader of the journal. Subscribed to the live channel before its first look at the table, it
/// drops what it gets twice by the number, so nothing falls between the two.
pub struct Feed {
    store: Store,
    live: broadcast::Receiver<Arc<Recorded>>,
    /// All up to here has been handed over or passed by the filter.
    seq: i64,
    filter: Filter,
    mode: Mode,
    page: VecDeque<Recorded>,
    /// The position that the whole page, once handed over, proves.
    page_covers: i64,
}

impl Feed {
    pub(super) fn new(
        store: Store,
        live: broadcast::Receiver<Arc<Recorded>>,
        seq: i64,
        filter: Filter,
    ) -> Self {
        Self { store, live, seq, filter, mode: Mode::Replay, page: VecDeque::new(), page_covers: seq }
    }

    /// The number up to which this feed has come.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// The next event; waits for it. Safe to drop between calls and to use in `select!`.
    ///
    /// # Errors
    /// See [`FeedError`]; after a store error it may be called again.
    pub async fn next(&mut self) -> Result<Recorded, FeedError> {
        loop {
            if let Some(recorded) = self.page.pop_front() {
                self.seq = if self.page.is_empty() { self.page_covers } else { recorded.seq };
                return Ok(recorded);
            }
            match self.mode {
                Mode::Replay => self.replay().await?,
                Mode::Live => match self.live.recv().await {
                    Ok(recorded) if recorded.seq <= self.seq => {}
                    Ok(recorded) => {
                        self.seq = recorded.seq;
                        if self.filter.matches(&recorded.event) {
                            return Ok((*recorded).clone());
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.mode = Mode::Replay,
                    Err(RecvError::Closed) => return Err(FeedError::Closed),
                },
            }
        }
    }

    /// Reads the next page; goes live once the table has no more for the filter.
    async fn replay(&mut self) -> Result<(), FeedError> {
        let (seq, filter) = (self.seq, self.filter.clone());
        let (oldest, latest, page) = self
            .store
            .read(move |conn| {
                // One snapshot: a short page proves the position of `latest`.
                let latest = table::latest(conn)?;
                let oldest = table::oldest(conn)?.unwrap_or(latest + 1);
                Ok::<_, StoreError>((oldest, latest, table::after(conn, seq, PAGE, &filter)?))
            })
            .await?;
        // Zero asks for whatever there is.
        let missed = seq > 0 && seq + 1 < oldest;
        if missed || seq > latest {
            return Err(FeedError::Reset { at: seq, oldest, latest });
        }
        match page.last() {
            Some(last) if page.len() == PAGE => self.page_covers = last.seq,
            Some(_) => {
                self.mode = Mode::Live;
                self.page_covers = latest;
            }
            None => {
                self.mode = Mode::Live;
                self.seq = latest;
            }
        }
        self.page = page.into();
        Ok(())
    }
}
