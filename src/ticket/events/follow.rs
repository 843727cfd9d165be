//! Following one ticket's log: the table first, the live channel then, the table again after falling
//! behind. A reader is slowed down by nothing but itself, and slows nobody.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::store::{Store, StoreError};

use super::{Live, REPLAY_MAX, table};

/// Events, and their bytes, that are read from the table at a time.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 512 * 1024;

/// Why following cannot go on from where it was.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// What comes after the reader's position is no longer kept; it reads on from `latest`.
    #[error("events up to {latest} are not all kept")]
    TooOld { latest: i64 },
    /// Too much has come meanwhile.
    #[error("this reader is more than {REPLAY_MAX} events behind {latest}")]
    Lagged { latest: i64 },
    /// Its position was never given.
    #[error("the latest event is {latest}")]
    UnknownId { latest: i64 },
    #[error("the log is closed")]
    Closed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

enum Mode {
    Replay,
    Live,
}

/// A reader of one ticket's log. Subscribed before its first look at the table, it drops by number what it
/// gets twice.
pub struct Follow {
    store: Store,
    live: broadcast::Receiver<Arc<Live>>,
    ticket: i64,
    /// All up to here has been handed over.
    seq: i64,
    mode: Mode,
    page: VecDeque<Arc<Live>>,
}

impl Follow {
    pub(super) fn new(store: Store, live: broadcast::Receiver<Arc<Live>>, ticket: i64, seq: i64) -> Self {
        Self { store, live, ticket, seq, mode: Mode::Replay, page: VecDeque::new() }
    }

    /// The next event; waits for it. Safe to drop between calls.
    ///
    /// # Errors
    /// See [`FollowError`]; after a reset or a store error it may be called again and goes on from
    /// `latest`.
    pub async fn next(&mut self) -> Result<Arc<Live>, FollowError> {
        loop {
            if let Some(live) = self.page.pop_front() {
                self.seq = live.event.seq;
                return Ok(live);
            }
            match self.mode {
                Mode::Replay => self.replay().await?,
                Mode::Live => match self.live.recv().await {
                    Ok(live) if live.event.seq <= self.seq => {}
                    Ok(live) => {
                        self.seq = live.event.seq;
                        return Ok(live);
                    }
                    Err(RecvError::Lagged(_)) => self.mode = Mode::Replay,
                    Err(RecvError::Closed) => return Err(FollowError::Closed),
                },
            }
        }
    }

    async fn replay(&mut self) -> Result<(), FollowError> {
        let (ticket, seq) = (self.ticket, self.seq);
        let (span, is_behind, page) = self
            .store
            .read(move |conn| {
                // One snapshot: an empty page proves that all up to `latest` has been read.
                let span = table::span(conn, ticket)?;
                let is_behind = table::is_behind(conn, ticket, seq, REPLAY_MAX)?;
                let page = table::after(conn, ticket, seq, PAGE, PAGE_BYTES)?;
                Ok::<_, StoreError>((span, is_behind, page))
            })
            .await?;
        let latest = span.latest;
        let reset = if seq > span.given {
            Some(FollowError::UnknownId { latest })
        } else if seq < span.trimmed {
            Some(FollowError::TooOld { latest })
        } else if is_behind {
            Some(FollowError::Lagged { latest })
        } else {
            None
        };
        if let Some(reset) = reset {
            self.seq = latest.max(span.trimmed);
            return Err(reset);
        }
        if page.is_empty() {
            self.mode = Mode::Live;
        }
        self.page = page.into_iter().map(|event| Arc::new(Live::new(event))).collect();
        Ok(())
    }
}
