//! The hours in which a phone makes no sound. Pure.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// From one time of the day to another, in the zone of the settings; past midnight where the second is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietHours {
    pub from: Time,
    pub to: Time,
}

impl QuietHours {
    /// The end of the quiet hours that `now_ms` lies in; none when it lies in none.
    #[must_use]
    pub fn end_ms(self, now_ms: i64, zone: &TimeZone) -> Option<i64> {
        let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone.clone());
        let time = now.time();
        let (is_quiet, ends_tomorrow) = if self.from <= self.to {
            (self.from <= time && time < self.to, false)
        } else {
            (self.from <= time || time < self.to, self.from <= time)
        };
        if !is_quiet {
            return None;
        }
        let day = if ends_tomorrow { now.date().checked_add(1.day()).ok()? } else { now.date() };
        let end = day.to_datetime(self.to).to_zoned(zone.clone()).ok()?;
        Some(end.timestamp().as_millisecond().max(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nights_and_afternoons() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let hours =
            |from: &str, to: &str| QuietHours { from: from.parse().unwrap(), to: to.parse().unwrap() };
        let ms = |text: &str| text.parse::<jiff::Zoned>().unwrap().timestamp().as_millisecond();
        let at = |text: &str| ms(&format!("{text}[Europe/Berlin]"));
        let night = hours("22:00", "07:00");
        let rows = [
            (night, "2026-11-26T21:59:59", None),
            (night, "2026-11-26T22:00:00", Some("2026-11-27T07:00:00")),
            (night, "2026-11-27T06:59:59", Some("2026-11-27T07:00:00")),
            (night, "2026-11-27T07:00:00", None),
            // The night of the clock change has an hour less.
            (night, "2026-03-28T23:00:00", Some("2026-03-29T07:00:00")),
            (hours("02:30", "02:45"), "2026-03-29T02:30:00", None),
            (hours("13:00", "15:00"), "2026-11-26T14:00:00", Some("2026-11-26T15:00:00")),
            (hours("13:00", "15:00"), "2026-11-26T12:00:00", None),
            // No hours at all.
            (hours("09:00", "09:00"), "2026-11-26T09:00:00", None),
        ];
        for (hours, now, end) in rows {
            assert_eq!(hours.end_ms(at(now), &zone), end.map(at), "{hours:?} {now}");
        }
        // The end is never before now, though the clock jumps over it.
        let end = hours("01:00", "02:30").end_ms(at("2026-03-29T01:59:59"), &zone);
        assert!(end.is_some_and(|end| end > at("2026-03-29T01:59:59")));
    }
}
