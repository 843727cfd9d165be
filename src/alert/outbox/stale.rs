//! What in line is not as it was meant: a call that nobody makes any more, and times by a clock that was set.

pub(in crate::alert) mod table;

use std::sync::PoisonError;
use std::time::Duration;

use tracing::{info, warn};

use crate::alert::Alerts;
use crate::alert::desk::Desk;
use crate::model::time::millis;
use crate::store::StoreError;

/// Attempts after which a message that is marked as being sent is left to the next start: it was sent as often.
const LEFT_MAX: u32 = 3;
/// Steps of the wall clock that change what is in line, milliseconds; far more than two looks are apart.
const STEP_MIN_MS: i64 = 5 * 60_000;

/// The wall clock in milliseconds since the epoch, and the clock since boot.
pub(in crate::alert) type Clocks = (i64, Duration);

/// By how much the wall clock was set between two looks, milliseconds; 0 for what makes no difference.
fn step_ms(last: Clocks, now: Clocks) -> i64 {
    let passed_ms = millis(now.1.saturating_sub(last.1));
    let step_ms = now.0.saturating_sub(last.0).saturating_sub(passed_ms);
    if step_ms.abs() < STEP_MIN_MS { 0 } else { step_ms }
}

impl Alerts {
    /// Before anything is found to be too old, or too early.
    pub(in crate::alert) async fn mend_line(&self) {
        if let Err(e) = self.take_up_left().await {
            warn!(error = %e, "messages that were being sent could not be taken up again");
        }
        let now = (self.0.clock.wall_ms(), self.0.clock.boot());
        let last = *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let step_ms = last.map_or(0, |last| step_ms(last, now));
        if step_ms != 0
            && let Err(e) = self.at_desk(move |desk, _| Ok(desk.shift(step_ms)?)).await
        {
            warn!(error = %e, "messages wait by a clock that was set since");
            return;
        }
        *self.0.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Nothing is being sent while nobody makes a call.
    async fn take_up_left(&self) -> Result<(), StoreError> {
        let Ok(_turn) = self.0.calling.try_lock() else { return Ok(()) };
        let store = &self.0.store;
        if !store.read(|conn| Ok::<_, StoreError>(table::is_any_left(conn, LEFT_MAX)?)).await? {
            return Ok(());
        }
        let now_ms = self.0.clock.wall_ms();
        let count = store.write(move |tx| Ok::<_, StoreError>(table::recover(tx, LEFT_MAX, now_ms)?)).await?;
        info!(count, "messages that were being sent are taken up again");
        self.0.wake.notify_one();
        Ok(())
    }
}

impl Desk<'_> {
    /// What is in line waits as if the clock had not been set.
    pub(in crate::alert) fn shift(&self, step_ms: i64) -> rusqlite::Result<()> {
        table::shift(self.conn, step_ms, self.now_ms)?;
        self.hold_anew()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_was_set_makes_a_step() {
        let at = |wall_ms, boot_s| (wall_ms, Duration::from_secs(boot_s));
        assert_eq!(step_ms(at(1_000_000, 10), at(1_030_000, 40)), 0);
        assert_eq!(step_ms(at(1_000_000, 10), at(87_400_000, 86_410)), 0, "asleep for a day");
        assert_eq!(step_ms(at(1_000_000, 10), at(1_000_000_000, 40)), 998_970_000);
        assert_eq!(step_ms(at(1_000_000_000, 10), at(1_030_000, 40)), -999_000_000);
    }
}
