//! Local readings of a clock, and where a zone puts them in time.
//!
//! A reading is what a wall clock shows. A zone's clock skips some readings (a gap, when it goes
//! forward) and shows others twice (a fold, when it goes back); [`place`] is the one function that
//! says what becomes of those.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Span, Timestamp};

use super::cron::Pattern;
use super::next::SECOND;

/// Something that names readings in order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Readings<'a> {
    Cron(&'a Pattern),
    /// `time` on `first` and every `days` days after it.
    Days {
        first: Date,
        days: i64,
        time: Time,
    },
}

impl Readings<'_> {
    /// The first reading at or after `from`.
    pub(super) fn from(self, from: DateTime) -> Option<DateTime> {
        match self {
            Self::Cron(pattern) => pattern.reading_from(from),
            Self::Days { first, days, time } => {
                let wait = i64::from(from.time() > time);
                let steps = (days_between(first, from.date()) + wait + days - 1).div_euclid(days).max(0);
                nth_day(first, steps, days).map(|day| day.to_datetime(time))
            }
        }
    }

    /// The last reading at or before `to`.
    pub(super) fn to(self, to: DateTime) -> Option<DateTime> {
        match self {
            Self::Cron(pattern) => pattern.reading_to(to),
            Self::Days { first, days, time } => {
                let short = i64::from(to.time() < time);
                let steps = (days_between(first, to.date()) - short).div_euclid(days);
                if steps < 0 {
                    return None;
                }
                nth_day(first, steps, days).map(|day| day.to_datetime(time))
            }
        }
    }

    /// How many readings are in `[from, to]`.
    pub(super) fn count(self, from: DateTime, to: DateTime) -> u64 {
        match self {
            Self::Cron(pattern) => pattern.count(from, to),
            Self::Days { first: _, days, time: _ } => match (self.from(from), self.to(to)) {
                (Some(a), Some(b)) if a <= b => {
                    u64::try_from(days_between(a.date(), b.date()) / days + 1).unwrap_or(0)
                }
                (Some(_) | None, Some(_) | None) => 0,
            },
        }
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

fn nth_day(first: Date, steps: i64, days: i64) -> Option<Date> {
    let ahead = Span::new().try_days(steps.checked_mul(days)?).ok()?;
    first.checked_add(ahead).ok()
}

/// Where a reading lies in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Once(Timestamp),
    /// Never: the clock turns at `at` and goes on with the reading `until`.
    Gap {
        at: Timestamp,
        start: DateTime,
        until: DateTime,
    },
    Twice {
        first: Timestamp,
        second: Timestamp,
    },
}

/// Finds a reading in a zone; `None` outside the range of instants.
pub(super) fn place(tz: &TimeZone, reading: DateTime) -> Option<Place> {
    match tz.to_ambiguous_timestamp(reading).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(reading).ok().map(Place::Once),
        AmbiguousOffset::Gap { before, after } => {
            // Read with the old offset, a skipped reading lies behind the turn.
            let at = turn(tz, before.to_timestamp(reading).ok()?, before, after)?;
            Some(Place::Gap { at, start: before.to_datetime(at), until: after.to_datetime(at) })
        }
        AmbiguousOffset::Fold { before, after } => Some(Place::Twice {
            first: before.to_timestamp(reading).ok()?,
            second: after.to_timestamp(reading).ok()?,
        }),
    }
}

/// Where the repeated readings end, when `at` lies in the second pass of them.
pub(super) fn second_pass_end(tz: &TimeZone, at: Timestamp) -> Option<DateTime> {
    let offset = tz.to_offset(at);
    match tz.to_ambiguous_timestamp(offset.to_datetime(at)).offset() {
        AmbiguousOffset::Fold { before, after } if after == offset => {
            Some(before.to_datetime(turn(tz, at, before, after)?))
        }
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => {
            None
        }
    }
}

/// The last change from offset `before` to offset `after` that is not later than `not_after`.
fn turn(tz: &TimeZone, not_after: Timestamp, before: Offset, after: Offset) -> Option<Timestamp> {
    turns_back(tz, not_after).find(|turn| turn.before == before && turn.after == after).map(|turn| turn.at)
}

/// A change of the clock. Changes of the abbreviation alone are none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub at: Timestamp,
    pub before: Offset,
    pub after: Offset,
}

/// The turns later than `after`, oldest first.
pub(super) fn turns_after(tz: &TimeZone, after: Timestamp) -> impl Iterator<Item = Turn> {
    tz.following(after).filter_map(move |change| turn_at(tz, change.timestamp()))
}

/// The turns not later than `not_after`, newest first.
pub(super) fn turns_back(tz: &TimeZone, not_after: Timestamp) -> impl Iterator<Item = Turn> {
    let bound = not_after.checked_add(SECOND).unwrap_or(Timestamp::MAX);
    tz.preceding(bound)
        .filter(move |change| change.timestamp() <= not_after)
        .filter_map(move |change| turn_at(tz, change.timestamp()))
}

fn turn_at(tz: &TimeZone, at: Timestamp) -> Option<Turn> {
    let before = tz.to_offset(at.checked_sub(SECOND).ok()?);
    let after = tz.to_offset(at);
    (before != after).then_some(Turn { at, before, after })
}
