//! The one place that reads a clock.
//!
//! Two clocks: the wall, for schedule instants, and the time since boot that also counts suspend
//! (`CLOCK_BOOTTIME`), for deadlines. The first may jump, the second never does.

use std::time::Duration;

use jiff::Timestamp;

/// Reads time; passed as a value so that nothing below an entry point reads a clock by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock(());

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self(())
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The wall clock in milliseconds since the epoch.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.wall().as_millisecond()
    }

    /// Time since boot, suspend included.
    #[must_use]
    pub fn boot(&self) -> Duration {
        duration_of(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
    }

    /// Time since boot without suspend; its distance from [`Clock::boot`] is the time slept.
    #[must_use]
    pub fn awake(&self) -> Duration {
        duration_of(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
    }
}

fn duration_of(time: rustix::time::Timespec) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
