//! Instants and durations as people write them on the command line.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::schedule::parse_duration;

const INSTANT_HELP: &str =
    "write `02:00` (today), `2026-11-26`, `2026-11-26 02:00` or `2026-11-26T02:00:00Z`";
const SINCE_HELP: &str = "write `24h` (before now)";

/// Reads a duration above zero.
///
/// # Errors
/// How to write one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let read = parse_duration(text).map_err(|error| format!("{error}; {}", error.help))?;
    if read.is_zero() { Err("it has to be longer than nothing".to_owned()) } else { Ok(read) }
}

/// An instant whose day or zone may still be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    At(Timestamp),
    Civil(DateTime),
    /// The first moment of a day.
    Day(Date),
    /// On the day that is today in the reader's zone.
    Today(Time),
    /// So long before now.
    Ago(Duration),
}

/// Reads an instant.
///
/// # Errors
/// How to write one.
pub fn instant(text: &str) -> Result<Instant, String> {
    // A date reads as a reading at midnight too, and a reading as a bare time: the shape decides.
    let read = match (text.contains('-'), text.contains(':')) {
        (true, true) => text.parse().map(Instant::At).or_else(|_| text.parse().map(Instant::Civil)).ok(),
        (true, false) => text.parse().map(Instant::Day).ok(),
        (false, true) => text.parse().map(Instant::Today).ok(),
        (false, false) => None,
    };
    read.ok_or_else(|| INSTANT_HELP.to_owned())
}

/// Reads the start of a span: a duration before now, or an instant.
///
/// # Errors
/// How to write one.
pub fn since(text: &str) -> Result<Instant, String> {
    duration(text)
        .map(Instant::Ago)
        .or_else(|_| instant(text).map_err(|_| format!("{SINCE_HELP}, or {INSTANT_HELP}")))
}

impl Instant {
    /// The instant it is, read in `zone` at `now`; none beyond the end of time.
    #[must_use]
    pub fn resolve(self, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
        let reading = match self {
            Self::At(at) => return Some(at),
            Self::Ago(ago) => {
                let ago = SignedDuration::try_from(ago).ok()?;
                return now.checked_sub(ago).ok();
            }
            Self::Civil(reading) => reading,
            Self::Day(date) => date.to_datetime(Time::midnight()),
            Self::Today(time) => now.to_zoned(zone.clone()).date().to_datetime(time),
        };
        zone.to_ambiguous_zoned(reading).compatible().ok().map(|zoned| zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172_800), ("PT90S", 90)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-5m", "1:30", "soon", "99999999999999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn instants() {
        let zone = TimeZone::get("Africa/Johannesburg").unwrap();
        let now: Timestamp = "2026-11-26T11:30:00Z".parse().unwrap();
        let table = [
            ("2026-11-26T02:00:00Z", "2026-11-26T02:00:00Z"),
            ("2026-11-26T02:00:00+02:00", "2026-11-26T00:00:00Z"),
            ("2026-11-26 02:00", "2026-11-26T00:00:00Z"),
            ("2026-11-26T02:00", "2026-11-26T00:00:00Z"),
            ("2026-11-26", "2026-11-25T22:00:00Z"),
            ("02:00", "2026-11-26T00:00:00Z"),
        ];
        for (text, at) in table {
            assert_eq!(instant(text).unwrap().resolve(&zone, now), Some(at.parse().unwrap()), "{text}");
        }
        for text in ["", "never", "24h", "26", "2026-13-01", "25:00"] {
            assert!(instant(text).is_err(), "{text}");
        }
        assert_eq!(since("24h").unwrap().resolve(&zone, now), Some("2026-11-25T11:30:00Z".parse().unwrap()));
        assert_eq!(since("02:00").unwrap(), instant("02:00").unwrap());
        assert!(since("soon").is_err());
    }
}
