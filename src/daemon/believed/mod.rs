//! The time by which things are deleted for good. A wall clock that jumps ahead, for ten minutes until somebody sets
//! it right, makes everything look old; so a large step forward is believed only once it has lasted.

mod table;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::model::time::millis;
use crate::platform::clock::Clock;
use crate::platform::process;
use crate::run::RunError;
use crate::store::backup::{self, BackupError};

use super::App;

/// A step forward up to this is believed at once: what it deletes too early is no more than that much too young. A box
/// that is off over night takes such steps.
const STEP_MAX: Duration = Duration::from_secs(24 * 3600);
/// A larger one is believed when it has lasted for this long, as the clock since boot counts it.
const LASTING: Duration = Duration::from_secs(24 * 3600);

/// What is believed, as of the last look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belief {
    /// Milliseconds since the epoch.
    at_ms: i64,
    /// The clock since boot then, in milliseconds, and in which boot.
    since_boot_ms: i64,
    boot_id: String,
    doubt: Option<Doubt>,
}

/// A step that is not believed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    /// When it was first seen, by the time that is believed.
    since_ms: i64,
    /// How far the wall clock is ahead, as of the last look.
    ahead_ms: i64,
}

impl Belief {
    /// What to believe when the wall clock says `wall_ms` and the clock since boot `boot`, after `last`.
    fn next(last: Option<Self>, wall_ms: i64, boot: Duration, boot_id: &str) -> Self {
        let since_boot_ms = millis(boot);
        let believe = |at_ms, doubt| Self { at_ms, since_boot_ms, boot_id: boot_id.to_owned(), doubt };
        let Some(last) = last else { return believe(wall_ms, None) };
        // Of the time that the box was off nothing is known but that it was not negative.
        let passed_ms =
            if last.boot_id == boot_id { since_boot_ms - last.since_boot_ms } else { since_boot_ms };
        let at_ms = last.at_ms.saturating_add(passed_ms.max(0));
        let ahead_ms = wall_ms.saturating_sub(at_ms);
        if ahead_ms <= millis(STEP_MAX) {
            return believe(wall_ms, None);
        }
        let same = |doubt: &Doubt| ahead_ms.abs_diff(doubt.ahead_ms) <= millis(STEP_MAX).unsigned_abs();
        let since_ms = last.doubt.filter(same).map_or(at_ms, |doubt| doubt.since_ms);
        if at_ms.saturating_sub(since_ms) >= millis(LASTING) {
            return believe(wall_ms, None);
        }
        believe(at_ms, Some(Doubt { since_ms, ahead_ms }))
    }

    fn doubted_ms(&self) -> Option<i64> {
        self.doubt.map(|doubt| doubt.since_ms)
    }
}

impl App {
    /// What time it is at least, in milliseconds since the epoch: by it alone the past is deleted.
    ///
    /// # Errors
    /// Only what the database says.
    pub(super) async fn believed_ms(&self) -> Result<i64, RunError> {
        let (wall_ms, boot) = (self.clock.wall_ms(), self.clock.boot());
        let boot_id = process::boot_id().unwrap_or_default();
        let (belief, is_new) = self
            .store
            .write(move |tx| -> Result<_, RunError> {
                let last = table::get(tx)?;
                let doubted = last.as_ref().and_then(Belief::doubted_ms);
                let belief = Belief::next(last, wall_ms, boot, boot_id);
                table::set(tx, &belief)?;
                let is_new = belief.doubted_ms().is_some_and(|since| doubted != Some(since));
                Ok((belief, is_new))
            })
            .await?;
        if is_new {
            let ahead_s = wall_ms.saturating_sub(belief.at_ms) / 1000;
            warn!(
                ahead_s,
                "the wall clock is far ahead; nothing is deleted by it until it has been so for a day"
            );
        }
        Ok(belief.at_ms)
    }
}

/// The same for another process than the daemon, by what a copy of the database says: what the daemon has doubted for
/// a while is not believed here either.
///
/// # Errors
/// The copy cannot be read.
pub(super) fn by_copy(copy: &Path, clock: Clock) -> Result<i64, BackupError> {
    let last = backup::read(copy, table::get)?;
    let boot_id = process::boot_id().unwrap_or_default();
    Ok(Belief::next(last, clock.wall_ms(), clock.boot(), boot_id).at_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const YEAR_MS: i64 = 365 * 24 * HOUR_MS;
    const START_MS: i64 = 50 * YEAR_MS;

    /// Its two clocks, and what is believed on it.
    struct Machine {
        belief: Option<Belief>,
        wall_ms: i64,
        boot_ms: i64,
        boot_id: &'static str,
    }

    impl Machine {
        fn new() -> Self {
            let mut new = Self { belief: None, wall_ms: START_MS, boot_ms: 0, boot_id: "a" };
            assert_eq!(new.look(), START_MS);
            new
        }

        fn look(&mut self) -> i64 {
            // As it is kept.
            let kept = self.belief.take().map(|belief| serde_json::to_string(&belief).unwrap());
            let last = kept.map(|text| serde_json::from_str(&text).unwrap());
            let boot = Duration::from_millis(self.boot_ms.unsigned_abs());
            self.belief.insert(Belief::next(last, self.wall_ms, boot, self.boot_id)).at_ms
        }

        fn pass(&mut self, ms: i64) {
            self.wall_ms += ms;
            self.boot_ms += ms;
        }

        /// Looks every ten minutes; the last answer.
        fn go_on(&mut self, ms: i64) -> i64 {
            for _ in 0..ms / (10 * MINUTE_MS) {
                self.pass(10 * MINUTE_MS);
                self.look();
            }
            self.look()
        }

        fn reboot(&mut self, off_ms: i64, id: &'static str) {
            self.wall_ms += off_ms;
            (self.boot_ms, self.boot_id) = (0, id);
        }
    }

    #[test]
    fn a_year_ahead_for_a_while_makes_nothing_old() {
        let mut on = Machine::new();
        on.go_on(HOUR_MS);
        on.wall_ms += YEAR_MS;
        assert_eq!(on.go_on(23 * HOUR_MS), START_MS + 24 * HOUR_MS);
        // Nor does a daemon that starts again meanwhile, or a box.
        on.reboot(MINUTE_MS, "b");
        assert!(on.go_on(10 * MINUTE_MS) < START_MS + 25 * HOUR_MS);
        on.wall_ms -= YEAR_MS;
        assert_eq!(on.look(), on.wall_ms);
    }

    #[test]
    fn a_step_that_lasts_is_believed_and_a_further_one_has_to_last_as_well() {
        let mut on = Machine::new();
        on.wall_ms += YEAR_MS;
        on.go_on(20 * HOUR_MS);
        on.wall_ms += YEAR_MS;
        assert_eq!(on.go_on(23 * HOUR_MS), START_MS + 43 * HOUR_MS);
        on.go_on(2 * HOUR_MS);
        assert_eq!(on.look(), on.wall_ms);
    }

    #[test]
    fn steps_back_and_small_ones_are_believed_at_once() {
        let mut on = Machine::new();
        for step in [-YEAR_MS, HOUR_MS, -MINUTE_MS, 23 * HOUR_MS] {
            on.wall_ms += step;
            assert_eq!(on.look(), on.wall_ms, "{step}");
        }
    }

    #[test]
    fn a_box_that_is_off_at_night_and_over_weekends_keeps_up() {
        let mut on = Machine::new();
        let ids = ["b", "c", "d", "e", "f"];
        on.reboot(3 * 24 * HOUR_MS, "z");
        for id in ids {
            on.go_on(10 * HOUR_MS);
            on.reboot(14 * HOUR_MS, id);
        }
        assert_eq!(on.look(), on.wall_ms);
    }

    #[test]
    fn a_copy_says_what_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (clock, store) = (Clock::system(), Store::open(dir.path(), 0).unwrap().store);
        let boot_id = process::boot_id().unwrap();
        let copy = |name: &str| backup::backup(&store.path(), &dir.path().join(name), 0).unwrap().path;
        let wall_ms = clock.wall_ms();
        assert!(by_copy(&copy("unknown"), clock).unwrap() >= wall_ms);
        let behind_ms = wall_ms - YEAR_MS;
        let behind = Belief::next(None, behind_ms, clock.boot(), boot_id);
        store.write_blocking(move |tx| -> Result<_, RunError> { Ok(table::set(tx, &behind)?) }).unwrap();
        let believed_ms = by_copy(&copy("behind"), clock).unwrap();
        assert!((behind_ms..behind_ms + HOUR_MS).contains(&believed_ms), "{believed_ms}");
    }
}
