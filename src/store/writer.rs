//! The one thread that writes. It owns batching, savepoints, replay and the answer after COMMIT; it
//! knows nothing of what the work does.

use std::cell::RefCell;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::broadcast;

use super::batch::{self, Job};
use super::{Notice, StoreError};

/// Writes that may wait; the next one is refused with [`StoreError::QueueFull`].
pub(super) const QUEUE_MAX: usize = 4_096;
/// Writes that are committed together at most.
const BATCH_MAX: usize = 256;

pub(super) type Hook = Box<dyn FnOnce() + Send>;

/// A transaction on the writer's connection. It derefs to the connection for `prepare_cached` and the
/// like; BEGIN, COMMIT, ROLLBACK and PRAGMA are not for the work to issue.
pub struct Tx<'c> {
    conn: &'c Connection,
    hooks: RefCell<Vec<Hook>>,
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection) -> Self {
        Self { conn, hooks: RefCell::new(Vec::new()) }
    }

    /// Runs `hook` on the writer thread once this work is durable, before its caller is answered; it
    /// is dropped when the work is rolled back. Hooks run in the order of their commits and must not
    /// block: the next batch waits for them.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.borrow_mut().push(Box::new(hook));
    }

    pub(super) fn into_hooks(self) -> Vec<Hook> {
        self.hooks.into_inner()
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

/// What the writer has done since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    pub commits: u64,
    /// Works that were committed; `/ commits` is the mean batch.
    pub writes: u64,
    pub largest_batch: u64,
    /// Batches that had to be replayed one by one.
    pub replays: u64,
    /// Times the write lock was held by another process for longer than the writer waits.
    pub busy: u64,
    /// Works that wait now.
    pub queued: u64,
    /// From BEGIN to the end of COMMIT of the last batch, in microseconds.
    pub last_commit_us: u64,
    /// The slowest of all batches, in microseconds.
    pub slowest_commit_us: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub commits: AtomicU64,
    pub writes: AtomicU64,
    pub largest_batch: AtomicU64,
    pub replays: AtomicU64,
    pub busy: AtomicU64,
    pub queued: AtomicU64,
    pub last_commit_us: AtomicU64,
    pub slowest_commit_us: AtomicU64,
}

pub(super) type Errand = Box<dyn FnOnce(&mut Connection) + Send>;

enum Message {
    Job(Box<dyn Job>),
    /// Runs between batches, outside any transaction.
    Errand(Errand),
    Close,
}

/// The sending side, shared by all clones of the store.
pub(super) struct Writer {
    queue: SyncSender<Message>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on `conn`, the only connection that writes.
    pub(super) fn start(
        conn: Connection,
        dir: PathBuf,
        notices: broadcast::Sender<Notice>,
    ) -> std::io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE_MAX);
        let counters = Arc::new(Counters::default());
        let desk = batch::Desk { conn, dir, notices, counters: Arc::clone(&counters) };
        let thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || serve(desk, &inbox))?;
        Ok(Self { queue, counters, thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.send(Message::Job(batch::job(work, move |result| drop(answer.send(result)))))?;
        answered.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    pub(super) fn write_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.send(Message::Job(batch::job(work, move |result| drop(answer.send(result)))))?;
        answered.recv().unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Runs `errand` on the writer's connection after all that is queued before it.
    pub(super) async fn errand<T, F>(&self, errand: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.send(Message::Errand(Box::new(move |conn| drop(answer.send(errand(conn))))))?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(message).map_err(|error| {
            self.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::QueueFull { limit: QUEUE_MAX },
                TrySendError::Disconnected(_) => StoreError::Closed,
            }
        })
    }

    pub(super) fn metrics(&self) -> Metrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Metrics {
            commits: read(&counters.commits),
            writes: read(&counters.writes),
            largest_batch: read(&counters.largest_batch),
            replays: read(&counters.replays),
            busy: read(&counters.busy),
            queued: read(&counters.queued),
            last_commit_us: read(&counters.last_commit_us),
            slowest_commit_us: read(&counters.slowest_commit_us),
        }
    }

    pub(super) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.counters.queued.fetch_add(1, Ordering::Relaxed);
        // A full queue is no reason to lose it: this waits for room.
        drop(self.queue.send(Message::Close));
        if thread.thread().id() != std::thread::current().id() {
            drop(thread.join());
        }
    }
}

fn serve(mut desk: batch::Desk, inbox: &Receiver<Message>) {
    let mut next = inbox.recv().ok();
    while let Some(message) = next.take() {
        let mut jobs = Vec::new();
        let mut other = None;
        let mut message = Some(message);
        while let Some(current) = message.take() {
            match current {
                Message::Job(job) => jobs.push(job),
                Message::Errand(_) | Message::Close => other = Some(current),
            }
            if other.is_none() && jobs.len() < BATCH_MAX {
                message = inbox.try_recv().ok();
            }
        }
        let taken = jobs.len() + usize::from(other.is_some());
        desk.counters.queued.fetch_sub(taken as u64, Ordering::Relaxed);
        if !jobs.is_empty() {
            let begun = Instant::now();
            desk.commit(jobs);
            let spent = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            desk.counters.last_commit_us.store(spent, Ordering::Relaxed);
            desk.counters.slowest_commit_us.fetch_max(spent, Ordering::Relaxed);
        }
        match other {
            Some(Message::Errand(errand)) => {
                // An errand that panics must not take the writer with it; its caller sees `Closed`.
                drop(catch_unwind(AssertUnwindSafe(|| errand(&mut desk.conn))));
            }
            Some(Message::Close) => break,
            Some(Message::Job(_)) | None => {}
        }
        next = inbox.recv().ok();
    }
    desk.finish();
}
