//! When a spent usage window opens again. The windows that the provider counted win over the words it used.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::model::worker::Limit;

/// When nothing says how long, in milliseconds.
pub const LIMIT_FALLBACK_MS: i64 = 3_600_000;
/// The furthest reset that is believed, in milliseconds from now.
const FURTHEST_MS: i64 = 8 * 86_400_000;
/// A window used up, in thousandths.
const FULL_MILLI: i64 = 1000;

/// Milliseconds since the epoch at which work may go on. `counted` is the last event that listed windows,
/// `rejected` the last that refused a request, `words` what the program said, `zone` where its clock is.
#[must_use]
pub fn reset_ms(
    counted: Option<&Limit>,
    rejected: Option<&Limit>,
    words: &str,
    zone: &TimeZone,
    now_ms: i64,
) -> i64 {
    let windows = counted.into_iter().flat_map(|limit| &limit.windows);
    let full = windows.filter(|window| window.used_milli >= FULL_MILLI).map(|window| window.resets_ms).max();
    let told = full
        .or_else(|| rejected.filter(|limit| limit.is_rejected).and_then(|limit| limit.resets_ms))
        .or_else(|| from_words(words, zone, now_ms));
    match told {
        Some(at) if at > now_ms => at.min(now_ms + FURTHEST_MS),
        Some(_) | None => now_ms + LIMIT_FALLBACK_MS,
    }
}

/// Reads `resets 9am (Europe/Berlin)` and `try again at 12:16 PM`: the next time the clock says so.
fn from_words(words: &str, zone: &TimeZone, now_ms: i64) -> Option<i64> {
    let lower = words.to_lowercase();
    let at = ["resets at ", "resets ", "try again at "]
        .iter()
        .find_map(|mark| lower.find(mark).map(|at| at + mark.len()))?;
    let rest = lower.get(at..)?;
    let time = clock_time(rest)?;
    let named =
        words.rsplit_once('(').and_then(|(_, tail)| TimeZone::get(tail.split(')').next()?.trim()).ok());
    let zone = named.unwrap_or_else(|| zone.clone());
    let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(zone);
    let today = now.with().time(time).build().ok()?;
    let next = if today > now { today } else { today.checked_add(SignedDuration::from_hours(24)).ok()? };
    Some(next.timestamp().as_millisecond())
}

/// `9am`, `12:16 pm`, `21:05`.
fn clock_time(text: &str) -> Option<Time> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let hour_text = digits(text);
    let mut rest = text.get(hour_text.len()..)?;
    let mut hour: i8 = hour_text.parse().ok()?;
    let mut minute: i8 = 0;
    if let Some(after) = rest.strip_prefix(':') {
        let minute_text = digits(after);
        minute = minute_text.parse().ok()?;
        rest = after.get(minute_text.len()..)?;
    }
    let rest = rest.trim_start();
    if rest.starts_with("am") || rest.starts_with("pm") {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if rest.starts_with("pm") { 12 } else { 0 };
    }
    Time::new(hour, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::worker::Window;

    const NOW: i64 = 1_789_000_000_000; // 2026-09-10T00:26:40Z
    const HOUR: i64 = 3_600_000;

    fn limit(rejected: bool, resets_ms: Option<i64>, windows: &[(i64, i64)]) -> Limit {
        let windows = windows
            .iter()
            .map(|&(used_milli, resets_ms)| Window { name: "w".into(), used_milli, resets_ms })
            .collect();
        Limit { is_rejected: rejected, resets_ms, windows }
    }

    #[test]
    fn the_order_of_belief() {
        let utc = TimeZone::UTC;
        let full = limit(false, None, &[(1000, NOW + HOUR), (1000, NOW + 2 * HOUR), (650, NOW + 90 * HOUR)]);
        let half = limit(false, None, &[(650, NOW + 90 * HOUR)]);
        let refused = limit(true, Some(NOW + 3 * HOUR), &[]);
        let cases = [
            (Some(&full), Some(&refused), NOW + 2 * HOUR, "the latest of the full windows"),
            (Some(&half), Some(&refused), NOW + 3 * HOUR, "a window that is not full says nothing"),
            (Some(&half), None, NOW + LIMIT_FALLBACK_MS, "nothing known"),
        ];
        for (counted, rejected, want, why) in cases {
            assert_eq!(reset_ms(counted, rejected, "", &utc, NOW), want, "{why}");
        }
        let past = limit(true, Some(NOW - 1), &[]);
        assert_eq!(reset_ms(None, Some(&past), "", &utc, NOW), NOW + LIMIT_FALLBACK_MS, "never in the past");
        let far = limit(true, Some(NOW + 900 * HOUR), &[]);
        assert_eq!(reset_ms(None, Some(&far), "", &utc, NOW), NOW + FURTHEST_MS, "never beyond eight days");
    }

    #[test]
    fn words_name_the_next_such_time() {
        let at = |words: &str| {
            let ms = reset_ms(None, None, words, &TimeZone::UTC, NOW);
            Timestamp::from_millisecond(ms).unwrap().to_string()
        };
        assert_eq!(at("You've hit your session limit · resets 9am (Europe/Berlin)"), "2026-09-10T07:00:00Z");
        assert_eq!(at("Limit reached, resets 12am (UTC)"), "2026-09-11T00:00:00Z");
        assert_eq!(at("usage limit. or try again at 12:16 PM."), "2026-09-10T12:16:00Z");
        assert_eq!(at("resets 25:99"), "2026-09-10T01:26:40Z", "nonsense is the fallback");
    }
}
