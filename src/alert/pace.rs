//! How fast may be sent to one chat, and how long to leave it alone. Pure: the time comes in.

use std::collections::VecDeque;
use std::time::Duration;

/// Telegram's limits with room to spare: about one message a second to a chat, twenty a minute to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one call to the next.
    pub every: Duration,
    /// Calls to a group within a minute.
    pub group_a_minute: usize,
    /// First and longest wait after a failure.
    pub backoff: (Duration, Duration),
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            group_a_minute: 15,
            backoff: (Duration::from_secs(1), Duration::from_secs(300)),
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// What one chat has been sent, and until when it is left alone. Times are those of a clock that only rises.
#[derive(Debug, Clone)]
pub struct Chat {
    pace: Pace,
    /// Calls within the last minute; only kept for a group.
    sent: VecDeque<Duration>,
    free_at: Duration,
    failures: u32,
    /// It is said to be mended, and no message has gone since.
    unproven: bool,
}

impl Chat {
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, sent: VecDeque::new(), free_at: Duration::ZERO, failures: 0, unproven: false }
    }

    /// When the next call may go; groups have numbers below zero.
    #[must_use]
    pub fn next(&self, chat: i64, now: Duration) -> Duration {
        let of_group = match self.sent.front() {
            Some(oldest) if chat < 0 && self.sent.len() >= self.pace.group_a_minute => *oldest + MINUTE,
            Some(_) | None => Duration::ZERO,
        };
        self.free_at.max(of_group).max(now)
    }

    /// A call goes now.
    pub fn used(&mut self, chat: i64, now: Duration) {
        self.free_at = self.free_at.max(now + self.pace.every);
        if chat < 0 {
            self.sent.push_back(now);
            while self.sent.len() > self.pace.group_a_minute {
                self.sent.pop_front();
            }
        }
    }

    /// It got through.
    pub fn went(&mut self) {
        self.failures = 0;
        self.unproven = false;
    }

    /// Something else than a message gets through again.
    pub fn mended(&mut self) {
        self.unproven = true;
    }

    #[must_use]
    pub fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// It did not: left alone, longer each time. `lot` is any number, for the spread.
    pub fn failed(&mut self, now: Duration, lot: u64) {
        let (least, most) = self.pace.backoff;
        let wait = least.saturating_mul(2_u32.saturating_pow(self.failures)).min(most);
        self.failures = self.failures.saturating_add(1);
        // Up to a tenth more, so that many boxes do not come back together.
        let tenth = u64::try_from(wait.as_millis() / 10).unwrap_or(0);
        let spread = if tenth == 0 { 0 } else { lot % tenth };
        self.pause(now, wait + Duration::from_millis(spread));
    }

    /// Telegram wants to be left alone.
    pub fn pause(&mut self, now: Duration, time: Duration) {
        self.free_at = self.free_at.max(now + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_person_gets_one_a_second_and_a_group_fifteen_a_minute() {
        let mut chat = Chat::new(Pace::default());
        let (mut now, mut times) = (at(100), Vec::new());
        for _ in 0..17 {
            now = chat.next(-5, now);
            chat.used(-5, now);
            times.push(now.as_secs() - 100);
        }
        assert_eq!(times[..15], (0..15).collect::<Vec<u64>>());
        assert_eq!(times[15..], [60, 61]);
        let mut chat = Chat::new(Pace::default());
        (0..100).for_each(|_| {
            now = chat.next(5, now);
            chat.used(5, now);
        });
        assert_eq!(chat.next(5, now), now + at(1));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_success_ends_that() {
        let mut chat = Chat::new(Pace::default());
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..11 {
            chat.failed(now, 0);
            waits.push((chat.next(1, now) - now).as_secs());
            now = chat.next(1, now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        chat.went();
        chat.failed(now, 0);
        assert_eq!(chat.next(1, now) - now, at(1));
        chat.pause(now, at(30));
        chat.pause(now, at(3));
        assert_eq!(chat.next(1, now) - now, at(30), "the longest pause counts");
    }

    #[test]
    fn what_seems_mended_is_proven_by_a_message() {
        let mut chat = Chat::new(Pace::default());
        assert!(!chat.is_unproven());
        chat.mended();
        chat.failed(at(1), 0);
        assert!(chat.is_unproven(), "the same outage");
        chat.went();
        assert!(!chat.is_unproven());
    }
}
