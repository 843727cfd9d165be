//! Since when a socket does not do what it is expected to: take bytes, or finish a request's head.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When bytes last moved. Written by the socket's task, read by the watchdog.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// Since when the socket takes nothing that is to be written.
    blocked: Since,
    /// Since when a request's head is coming in.
    head: Since,
    in_request: AtomicBool,
}

impl Pulse {
    /// `born` is any instant in the past that all times are counted from.
    #[must_use]
    pub fn new(born: Instant) -> Self {
        Self { born, blocked: Since::default(), head: Since::default(), in_request: AtomicBool::new(false) }
    }

    /// The socket would not take a byte.
    pub fn blocked(&self) {
        self.blocked.begin(self.now_ms());
    }

    /// It took some, or failed.
    pub fn flowed(&self) {
        self.blocked.end();
    }

    /// Bytes have come in.
    pub fn heard(&self) {
        if !self.in_request.load(Ordering::Relaxed) {
            self.head.begin(self.now_ms());
        }
    }

    /// A request's head is complete: what comes in from here on is its body.
    pub fn request_began(&self) {
        self.head.end();
        self.in_request.store(true, Ordering::Relaxed);
    }

    /// The next byte is the first of a head.
    pub fn request_ended(&self) {
        self.head.end();
        self.in_request.store(false, Ordering::Relaxed);
    }

    /// Whether it has used up `patience`.
    #[must_use]
    pub fn is_hung(&self, patience: Patience) -> bool {
        let now = self.now_ms();
        self.blocked.is_older(now, patience.write) || self.head.is_older(now, patience.head)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How long a socket may take over what it is expected to do.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Over taking a byte that is to be written.
    pub write: Duration,
    /// Over a request's head, from its first byte to its last.
    pub head: Duration,
}

/// An instant or none, as milliseconds plus one; 0 is none.
#[derive(Debug, Default)]
struct Since(AtomicU64);

impl Since {
    /// Only the first counts: later ones belong to the same wait.
    fn begin(&self, now_ms: u64) {
        let _ = self.0.compare_exchange(0, now_ms.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn is_older(&self, now_ms: u64, limit: Duration) -> bool {
        let since = self.0.load(Ordering::Relaxed).checked_sub(1);
        since.is_some_and(|since| u128::from(now_ms.saturating_sub(since)) >= limit.as_millis())
    }
}
