//! Looks at logins in an order that makes sense: one at a time, and the one that began last counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::health::TokenReport;
use crate::health::table::TokenRow;

/// No look takes longer than this, in milliseconds.
const LOOK_MAX_MS: i64 = 15 * 60_000;

/// One look at a login at a time: a check may hang for minutes, and an impatient person answers often.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<String, Turn>>);

/// Since boot, when the last look began.
pub type Turn = Arc<tokio::sync::Mutex<Option<Duration>>>;

impl Looks {
    /// Whose turn it is with this login.
    pub fn of(&self, name: &str) -> Turn {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(name.to_owned()).or_default())
    }
}

/// Whether `row` comes of a look that began after this one; a clock that was set back leaves none behind for long.
#[must_use]
pub fn is_overtaken(row: &TokenRow, report: &TokenReport) -> bool {
    let since_ms = report.looked_at.map(|looked| row.at_ms - looked.as_millisecond());
    since_ms.is_some_and(|since_ms| (1..=LOOK_MAX_MS).contains(&since_ms))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::health::TokenState;

    #[test]
    fn a_look_that_began_before_the_last_one_counts_no_more() {
        let row = |at_ms| TokenRow {
            state: TokenState::Well,
            detail: String::new(),
            since_ms: 0,
            at_ms,
            told: None,
            ticket: None,
        };
        let report = |began_ms: Option<i64>| TokenReport {
            name: "mail".to_owned(),
            state: TokenState::NeedsReauth,
            detail: String::new(),
            looked_at: began_ms.map(|ms| Timestamp::from_millisecond(ms).unwrap()),
        };
        let now_ms = 1_780_000_000_000;
        assert!(is_overtaken(&row(now_ms), &report(Some(now_ms - 1))));
        assert!(!is_overtaken(&row(now_ms), &report(Some(now_ms))));
        assert!(!is_overtaken(&row(now_ms), &report(Some(now_ms + 5))));
        assert!(!is_overtaken(&row(now_ms), &report(None)), "one that does not say when counts");
        let ahead_ms = now_ms + LOOK_MAX_MS + 1;
        assert!(!is_overtaken(&row(ahead_ms), &report(Some(now_ms))), "the clock was set back");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_look_that_began_later_need_not_look() {
        let looks = Looks::default();
        let (mail, same) = (looks.of("mail"), looks.of("mail"));
        let other = looks.of("calendar");
        let held = mail.lock().await;
        assert!(same.try_lock().is_err() && other.try_lock().is_ok());
        drop(held);
    }
}
