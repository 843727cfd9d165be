//! Follows the journal with a cursor that lasts: what an event leads to, and that it has been read, are written in
//! one transaction.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::desk::Desk;
use super::keep::unharmed;
use super::policy::{self, Facts, Verdict};
use super::{AlertError, Alerts, CURSOR, Settings};
use crate::journal::{Feed, FeedError, Filter};
use crate::model::event::Recorded;
use crate::platform::failpoint;
use crate::store::StoreError;

/// Looks up what an event alone does not tell.
pub type Gather =
    Arc<dyn Fn(Recorded) -> Pin<Box<dyn Future<Output = Result<Facts, Unread>> + Send>> + Send + Sync>;

/// It could not be looked up.
#[derive(Debug)]
pub struct Unread {
    pub why: String,
    /// What is known all the same.
    pub left: Facts,
}

/// Events that one transaction takes in.
const BATCH_MAX: usize = 64;
/// How often is looked for what the time alone brings.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Wait before something is offered again to a database that did not take it.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries of one event by itself before it is passed over: one that can never be taken in must not stop all
/// that follow.
const TRIES: u32 = 3;
/// Tries to look up what belongs to an event, with a pause between them that doubles from [`AGAIN`] on; then it is
/// told with less.
const LOOKS: u32 = 5;
/// Errors of one kind in a row, [`AGAIN`] apart, from which on people hear that nothing can be read.
const SAME_MAX: u32 = 10;

/// Events up to a place in the journal and what each leads to.
#[derive(Debug, Clone)]
struct Judged {
    seq: i64,
    verdicts: Vec<Verdict>,
}

impl Alerts {
    /// Takes in what the journal tells, until `stop`.
    pub async fn follow(self, gather: Gather, stop: CancellationToken) {
        let kinds = Some(policy::KINDS.to_vec());
        loop {
            let at = match self.0.journal.cursor(CURSOR).await {
                Ok(at) => at.unwrap_or(0),
                Err(e) => {
                    warn!(error = %e, "cannot read how far alerts have come");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let filter = Filter { kinds: kinds.clone(), ..Filter::default() };
            let feed = self.0.journal.subscribe(at, filter);
            if self.read(feed, at, &gather, &stop).await.is_none() {
                return;
            }
            // Another feed may end as this one did.
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Reads one feed to its end; `None` when all is to end.
    async fn read(
        &self,
        mut feed: Feed,
        mut at: i64,
        gather: &Gather,
        stop: &CancellationToken,
    ) -> Option<()> {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut refusals = Refusals::default();
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => return None,
                _ = sweep.tick() => {
                    self.sweep(at, feed.seq()).await;
                    at = at.max(feed.seq());
                    continue;
                }
                told = feed.next() => told,
            };
            match told {
                Ok(first) => {
                    refusals = Refusals::default();
                    let batch = more(&mut feed, first);
                    let judged = self.judge(batch, gather, stop).await?;
                    at = at.max(feed.seq());
                    self.take(judged, at, stop).await?;
                }
                Err(FeedError::Closed) => return None,
                Err(FeedError::Reset { latest, .. }) => {
                    error!(at, latest, "events are gone that alerts had still to read");
                    self.pass(latest).await;
                    return Some(());
                }
                Err(FeedError::Store(e)) => {
                    warn!(error = %e, "cannot read what happened; trying again");
                    if refusals.count(e.to_string()) == SAME_MAX {
                        self.stumble("follower", format!("what happened cannot be read: {e}"));
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    /// What events lead to; `None` when all is to end.
    async fn judge(
        &self,
        batch: Vec<Recorded>,
        gather: &Gather,
        stop: &CancellationToken,
    ) -> Option<Vec<Judged>> {
        let (mut judged, mut looks) = (Vec::with_capacity(batch.len()), LOOKS);
        for recorded in batch {
            let seq = recorded.seq;
            let judging = async {
                let facts = self.facts(&recorded, gather, &mut looks, stop).await?;
                Some(policy::judge(&recorded, &facts))
            };
            let verdicts = match unharmed(judging).await {
                Ok(verdicts) => verdicts?,
                Err(why) => {
                    self.stumble("follower", format!("event {seq} is passed over: {why}"));
                    Vec::new()
                }
            };
            judged.push(Judged { seq, verdicts });
        }
        Some(judged)
    }

    /// What belongs to an event, asked for up to `looks` times; once none of them was answered one is enough for those
    /// that come with it. `None` when all is to end.
    async fn facts(
        &self,
        recorded: &Recorded,
        gather: &Gather,
        looks: &mut u32,
        stop: &CancellationToken,
    ) -> Option<Facts> {
        let (mut look, mut wait) = (1, AGAIN);
        loop {
            let Unread { why, left } = match gather(recorded.clone()).await {
                Ok(facts) => {
                    *looks = LOOKS;
                    return Some(facts);
                }
                Err(unread) => unread,
            };
            if look >= *looks {
                *looks = 1;
                let seq = recorded.seq;
                self.stumble("follower", format!("event {seq} is told with less than there is: {why}"));
                return Some(left);
            }
            warn!(seq = recorded.seq, error = why, "cannot read what belongs to an event; trying again");
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
            (look, wait) = (look + 1, wait.saturating_mul(2));
        }
    }

    /// Writes what events lead to, all together, else one by one.
    async fn take(&self, judged: Vec<Judged>, at: i64, stop: &CancellationToken) -> Option<()> {
        match self.write(judged.clone(), at).await {
            Ok(()) => return Some(()),
            Err(e) => warn!(error = %e, "alerts could not be written; trying them one by one"),
        }
        for one in judged {
            let (seq, mut tries) = (one.seq, 0);
            while let Err(e) = self.write(vec![one.clone()], seq).await {
                if stop.is_cancelled() {
                    return None;
                }
                tries += u32::from(!is_passing(&e));
                if tries >= TRIES {
                    self.stumble("follower", format!("event {seq} is passed over: {e}"));
                    self.pass(seq).await;
                    break;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        self.pass(at).await;
        Some(())
    }

    async fn write(&self, judged: Vec<Judged>, at: i64) -> Result<(), AlertError> {
        let this = self.clone();
        let judged: Arc<[Judged]> = judged.into();
        self.at_desk(move |desk, tx| {
            failpoint::hit("alert.follow")?;
            for verdict in judged.iter().flat_map(|judged| &judged.verdicts) {
                match verdict {
                    Verdict::Raise(notice) => desk.raise(notice.as_ref().clone())?,
                    Verdict::Clear(over) => desk.clear(over)?,
                    Verdict::Brief { run, text } => {
                        desk.output(*run, text.clone())?;
                    }
                }
            }
            Ok(this.0.journal.advance(tx, CURSOR, at)?)
        })
        .await
    }

    /// Moves the cursor and does nothing else.
    async fn pass(&self, at: i64) {
        let journal = self.0.journal.clone();
        let latest = journal.latest_seq().await.unwrap_or(at);
        let moved = self.0.store.write(move |tx| {
            if latest < at {
                journal.forget_cursor(tx, CURSOR)?;
            }
            journal.advance(tx, CURSOR, at.min(latest))
        });
        if let Err(e) = moved.await {
            warn!(error = %e, "cannot note how far alerts have come");
        }
    }

    /// What the time brings; and the cursor goes on though nothing of interest happened, or the journal would
    /// be kept for it.
    async fn sweep(&self, from: i64, to: i64) {
        self.mend_line().await;
        let this = self.clone();
        let looked = self.0.store.read(move |conn| {
            let Settings { quiet, zone, .. } = &this.0.settings;
            let now_ms = this.0.clock.wall_ms();
            Ok::<_, StoreError>(Desk { conn, now_ms, way: this.way(), quiet: *quiet, zone }.is_due()?)
        });
        // An idle box is to stay idle: no write without need.
        if to <= from && matches!(looked.await, Ok(false)) {
            return;
        }
        let this = self.clone();
        let swept = self.at_desk(move |desk, tx| {
            if to > from {
                this.0.journal.advance(tx, CURSOR, to)?;
            }
            Ok(desk.sweep()?)
        });
        if let Err(e) = swept.await {
            warn!(error = %e, "could not look for alerts whose time has come");
        }
    }
}

/// Errors in a row that say the same.
#[derive(Default)]
struct Refusals {
    said: String,
    same: u32,
}

impl Refusals {
    /// How often it has been said in a row, this one included.
    fn count(&mut self, said: String) -> u32 {
        self.same = if said == self.said { self.same.saturating_add(1) } else { 1 };
        self.said = said;
        self.same
    }
}

/// What else can be had without waiting.
fn more(feed: &mut Feed, first: Recorded) -> Vec<Recorded> {
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX {
        match feed.next().now_or_never() {
            Some(Ok(recorded)) => batch.push(recorded),
            // An error comes again with the next call.
            Some(Err(_)) | None => break,
        }
    }
    batch
}

/// Whether the same may work later; what breaks a rule of the tables never will.
pub(super) fn is_passing(error: &AlertError) -> bool {
    match error {
        AlertError::Store(StoreError::Sqlite(e)) => {
            !matches!(e.sqlite_error_code(), None | Some(rusqlite::ErrorCode::ConstraintViolation))
        }
        AlertError::Store(StoreError::Panicked) | AlertError::Illegal(_) => false,
        AlertError::Store(_) | AlertError::NoAlert(_) | AlertError::NoWay(_) => true,
    }
}
