//! The read connections: few, read-only, each read in one snapshot and under a deadline, so that no
//! reader can pin the log for long.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::StoreError;
use super::connection::{self, Role};

/// Read connections.
pub(super) const READERS: usize = 4;
/// The longest one read may take, and the longest one may wait for a connection, in milliseconds.
pub(super) const READ_MAX_MS: u64 = 2_000;
/// Lets go every page of the cache that no statement holds.
pub(super) const SHRINK: &str = "PRAGMA shrink_memory";
/// Virtual machine steps between two looks at the deadline.
const STEPS_A_LOOK: i32 = 1_000;

pub(super) struct Readers {
    path: PathBuf,
    hall: Mutex<Hall>,
    returned: Condvar,
    /// Keeps async readers from filling the runtime's blocking threads while all connections are out.
    permits: Semaphore,
}

/// The connections there are. Each keeps its own copy of the schema, so one is opened when it is first missed.
struct Hall {
    idle: Vec<Connection>,
    /// Idle, lent or being opened.
    open: usize,
}

/// A connection that goes back to the pool however the read ends.
struct Lent<'p> {
    conn: Option<Connection>,
    pool: &'p Readers,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut hall = self.pool.hall();
        match self.conn.take() {
            Some(conn) => hall.idle.push(conn),
            None => hall.open -= 1,
        }
        self.pool.returned.notify_one();
    }
}

impl Readers {
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let first = connection::open(path, Role::Reader)?;
        Ok(Self {
            path: path.to_owned(),
            hall: Mutex::new(Hall { idle: vec![first], open: 1 }),
            returned: Condvar::new(),
            permits: Semaphore::new(READERS),
        })
    }

    /// Closes the connections that nobody needs now, but one, and empties its cache.
    pub(super) fn rest(&self) -> rusqlite::Result<()> {
        let closing = {
            let mut hall = self.hall();
            let kept = hall.idle.len().min(1);
            let spare = hall.idle.split_off(kept);
            hall.open -= spare.len();
            spare
        };
        drop(closing);
        match self.hall().idle.first() {
            Some(conn) => conn.execute_batch(SHRINK),
            None => Ok(()),
        }
    }

    pub(super) async fn read<T, E, F>(pool: &Arc<Self>, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let busy = StoreError::ReadersBusy { connections: READERS, waited_ms: READ_MAX_MS };
        let wait = Duration::from_millis(READ_MAX_MS);
        let permit = match tokio::time::timeout(wait, pool.permits.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(StoreError::Closed.into()),
            Err(_) => return Err(busy.into()),
        };
        let at_work = Arc::clone(pool);
        let result = tokio::task::spawn_blocking(move || at_work.read_blocking(work)).await;
        drop(permit);
        result.unwrap_or_else(|failed| {
            Err(if failed.is_panic() { StoreError::Panicked } else { StoreError::Closed }.into())
        })
    }

    pub(super) fn read_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&Connection) -> Result<T, E>,
        E: From<StoreError>,
    {
        let mut lent = self.lend()?;
        let Some(conn) = lent.conn.as_mut() else { return Err(StoreError::Closed.into()) };
        let expired = arm(conn).map_err(StoreError::from)?;
        let result = match conn.unchecked_transaction() {
            Ok(snapshot) => work(&snapshot),
            Err(error) => Err(StoreError::from(error).into()),
        };
        conn.progress_handler(0, None::<fn() -> bool>).map_err(StoreError::from)?;
        match result {
            Err(_) if expired.load(Ordering::Relaxed) => {
                Err(StoreError::ReadTooLong { limit_ms: READ_MAX_MS }.into())
            }
            Ok(_) | Err(_) => result,
        }
    }

    fn lend(&self) -> Result<Lent<'_>, StoreError> {
        let until = Instant::now() + Duration::from_millis(READ_MAX_MS);
        let mut hall = self.hall();
        loop {
            if let Some(conn) = hall.idle.pop() {
                return Ok(Lent { conn: Some(conn), pool: self });
            }
            if hall.open < READERS {
                hall.open += 1;
                drop(hall);
                // Counted as open by now: should it fail, dropping it takes it off again.
                let mut lent = Lent { conn: None, pool: self };
                lent.conn = Some(connection::open(&self.path, Role::Reader)?);
                return Ok(lent);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreError::ReadersBusy { connections: READERS, waited_ms: READ_MAX_MS });
            }
            hall = self.returned.wait_timeout(hall, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn hall(&self) -> std::sync::MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets SQLite end what runs on `conn` once the time is up; the flag tells that it did.
fn arm(conn: &mut Connection) -> rusqlite::Result<Arc<AtomicBool>> {
    let expired = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&expired);
    let until = Instant::now() + Duration::from_millis(READ_MAX_MS);
    conn.progress_handler(
        STEPS_A_LOOK,
        Some(move || {
            let late = Instant::now() >= until;
            flag.fetch_or(late, Ordering::Relaxed);
            late
        }),
    )?;
    Ok(expired)
}
