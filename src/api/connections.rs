//! Who is connected: how many, which of them idle, which are streams, and which have stopped reading.
//!
//! It decides and counts; the sockets themselves belong to `listener`. A connection is closed by
//! cancelling one of its two tokens: `finish` lets the answer under way end, `kill` does not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::limits::NEW_SPARED_FOR;
use super::pulse::{Patience, Pulse};

/// How many of each kind may be open.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub requests: usize,
    pub reserve: usize,
    pub streams: usize,
}

/// All connections of one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    table: Arc<Mutex<Table>>,
    came: Arc<Notify>,
}

#[derive(Debug)]
struct Table {
    caps: Caps,
    born: Instant,
    next_id: u64,
    open: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    doing: Doing,
    finish: CancellationToken,
    kill: CancellationToken,
    pulse: Arc<Pulse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Has not sent its first request.
    New {
        since: Instant,
    },
    Idle {
        since: Instant,
    },
    Request,
    Stream,
    /// Was let in above the cap.
    Reserve,
}

/// How many are open of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub requests: usize,
    pub reserve: usize,
    pub streams: usize,
    /// Evicted ones that are not gone yet; they take no place.
    pub leaving: usize,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Admission {
    Served(Connection),
    /// Gets `/healthz` or 503, then is closed.
    Reserve(Connection),
    /// Not even that: the socket is closed without a word.
    Refused,
}

/// There are as many streams as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many open streams")]
pub struct StreamsFull;

impl Connections {
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        let table = Table { caps, born: Instant::now(), next_id: 0, open: HashMap::new() };
        Self { table: Arc::new(Mutex::new(table)), came: Arc::default() }
    }

    /// Finds a place for a new connection; the one that has idled longest makes room.
    #[must_use]
    pub fn admit(&self) -> Admission {
        let mut table = self.lock();
        let counts = table.counts();
        if counts.requests < table.caps.requests || table.evict_idle() {
            return Admission::Served(self.enter(&mut table, Doing::New { since: Instant::now() }));
        }
        if counts.reserve < table.caps.reserve || table.evict_reserve() {
            return Admission::Reserve(self.enter(&mut table, Doing::Reserve));
        }
        Admission::Refused
    }

    /// Returns when there is at least one.
    pub async fn some(&self) {
        while self.lock().open.is_empty() {
            self.came.notified().await;
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// Closes every socket that has used up `patience`. Returns how many those were.
    pub fn kill_hung(&self, patience: Patience) -> usize {
        let table = self.lock();
        let hung = table.open.values().filter(|entry| entry.pulse.is_hung(patience));
        hung.inspect(|entry| entry.kill.cancel()).count()
    }

    pub fn finish_all(&self) {
        for entry in self.lock().open.values() {
            entry.finish.cancel();
        }
    }

    pub fn kill_all(&self) {
        for entry in self.lock().open.values() {
            entry.kill.cancel();
        }
    }

    fn enter(&self, table: &mut Table, doing: Doing) -> Connection {
        let id = table.next_id;
        table.next_id += 1;
        let pulse = Arc::new(Pulse::new(table.born));
        let finish = CancellationToken::new();
        let kill = CancellationToken::new();
        let entry = Entry { doing, finish: finish.clone(), kill: kill.clone(), pulse: pulse.clone() };
        table.open.insert(id, entry);
        self.came.notify_one();
        Connection(Arc::new(Seat { id, connections: self.clone(), finish, kill, pulse }))
    }

    // A panic while counting leaves the counts usable: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in self.open.values() {
            match entry.doing {
                Doing::New { .. } | Doing::Idle { .. } if entry.finish.is_cancelled() => counts.leaving += 1,
                Doing::New { .. } | Doing::Idle { .. } | Doing::Request => counts.requests += 1,
                Doing::Stream => counts.streams += 1,
                Doing::Reserve if entry.kill.is_cancelled() => counts.leaving += 1,
                Doing::Reserve => counts.reserve += 1,
            }
        }
        counts
    }

    fn evict_idle(&self) -> bool {
        if self.too_many_leave() {
            return false;
        }
        let oldest = self
            .open
            .iter()
            .filter(|(_, entry)| !entry.finish.is_cancelled())
            .filter_map(|(id, entry)| match entry.doing {
                Doing::Idle { since } => Some((since, id, entry)),
                Doing::New { since } if since.elapsed() >= NEW_SPARED_FOR => Some((since, id, entry)),
                Doing::New { .. } | Doing::Request | Doing::Stream | Doing::Reserve => None,
            })
            .min_by_key(|(since, id, _)| (*since, **id));
        if let Some((_, _, entry)) = oldest {
            entry.finish.cancel();
        }
        oldest.is_some()
    }

    /// One of the reserve has had its chance when all the others came after it: whoever asks for `/healthz`
    /// asks at once, and must not be kept out by those that say nothing.
    fn evict_reserve(&self) -> bool {
        if self.too_many_leave() {
            return false;
        }
        let reserve = self.open.iter().filter(|(_, entry)| entry.doing == Doing::Reserve);
        let oldest = reserve.filter(|(_, entry)| !entry.kill.is_cancelled()).min_by_key(|(id, _)| **id);
        if let Some((_, entry)) = oldest {
            entry.kill.cancel();
        }
        oldest.is_some()
    }

    /// Without this bound a flood of connections would pile up on the way out.
    fn too_many_leave(&self) -> bool {
        self.counts().leaving >= self.caps.requests
    }
}

/// One connection's place; it is given back when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Connection(Arc<Seat>);

#[derive(Debug)]
struct Seat {
    id: u64,
    connections: Connections,
    finish: CancellationToken,
    kill: CancellationToken,
    pulse: Arc<Pulse>,
}

impl Connection {
    /// Marks a request as under way until the guard is dropped.
    #[must_use]
    pub fn request(&self) -> RequestGuard {
        self.0.set(Doing::Request);
        self.0.pulse.request_began();
        RequestGuard(self.clone())
    }

    /// Turns the connection into a stream until the guard is dropped.
    ///
    /// # Errors
    /// [`StreamsFull`]; nothing has changed then.
    pub fn stream(&self) -> Result<StreamGuard, StreamsFull> {
        let mut table = self.0.connections.lock();
        if table.counts().streams >= table.caps.streams {
            return Err(StreamsFull);
        }
        if let Some(entry) = table.open.get_mut(&self.0.id) {
            entry.doing = Doing::Stream;
        }
        drop(table);
        Ok(StreamGuard(self.clone()))
    }

    #[must_use]
    pub fn finish_token(&self) -> &CancellationToken {
        &self.0.finish
    }

    #[must_use]
    pub fn kill_token(&self) -> &CancellationToken {
        &self.0.kill
    }

    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }
}

impl Seat {
    fn set(&self, doing: Doing) {
        let mut table = self.connections.lock();
        if let Some(entry) = table.open.get_mut(&self.id)
            && entry.doing != Doing::Reserve
        {
            entry.doing = doing;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.id);
    }
}

/// See [`Connection::request`].
#[derive(Debug)]
pub struct RequestGuard(Connection);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.0.pulse.request_ended();
        let mut table = self.0.0.connections.lock();
        if let Some(entry) = table.open.get_mut(&self.0.0.id)
            && entry.doing == Doing::Request
        {
            entry.doing = Doing::Idle { since: Instant::now() };
        }
    }
}

/// See [`Connection::stream`].
#[derive(Debug)]
pub struct StreamGuard(Connection);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.0.set(Doing::Idle { since: Instant::now() });
    }
}

#[cfg(test)]
mod tests;
