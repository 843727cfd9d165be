//! Lengths of time as people write them: `90`, `90s`, `1h30m`, `2d`, `PT90S`.

use std::time::Duration;

use crate::model::text::shown;

/// Longest length that is accepted, in days; keeps every later sum of instants in range.
pub const DURATION_MAX_DAYS: u64 = 36_500;

const MS_PER_DAY: u64 = 86_400_000;

/// Units from the longest to the shortest, in milliseconds; a length names each at most once.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * MS_PER_DAY), ("d", MS_PER_DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DurationError {
    pub message: String,
    /// What to write instead.
    pub help: String,
}

const HELP: &str = "write `90s`, `5m`, `1h30m`, `2d` or a number of seconds";

fn error(message: impl Into<String>, help: impl Into<String>) -> DurationError {
    DurationError { message: message.into(), help: help.into() }
}

/// Reads a length: a bare integer is seconds; units are `w d h m s ms`, longest first; ISO 8601
/// (`PT90S`) without years, months and fractions.
///
/// # Errors
/// [`DurationError`] says what is wrong and what to write.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let total_ms = if text.is_empty() {
        return Err(error("a duration is missing", HELP));
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        number(text, text)?.checked_mul(1_000)
    } else if text.contains(':') {
        return Err(error(format!("`{}` is a time of day, not a duration", shown(text)), colon_help(text)));
    } else if text.starts_with('-') {
        return Err(error(format!("`{}` is negative", shown(text)), HELP));
    } else if text.starts_with(['P', 'p']) {
        iso(text)?
    } else {
        units(text)?
    };
    match total_ms {
        Some(ms) if ms <= DURATION_MAX_DAYS * MS_PER_DAY => Ok(Duration::from_millis(ms)),
        Some(_) | None => Err(error(
            format!("`{}` is too long", shown(text)),
            format!("the longest is {DURATION_MAX_DAYS}d"),
        )),
    }
}

/// `1:30` could be 90 minutes or 90 seconds.
fn colon_help(text: &str) -> String {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [a, b] if a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok() => {
            let trim = |digits: &str| digits.trim_start_matches('0').to_owned();
            let (a, b) = (trim(a), trim(b));
            let join = |unit_a: &str, unit_b: &str| match (a.as_str(), b.as_str()) {
                ("", "") => format!("0{unit_b}"),
                ("", _) => format!("{b}{unit_b}"),
                (_, "") => format!("{a}{unit_a}"),
                (_, _) => format!("{a}{unit_a}{b}{unit_b}"),
            };
            format!("write `{}` or `{}`", join("h", "m"), join("m", "s"))
        }
        _ => HELP.to_owned(),
    }
}

fn number(digits: &str, text: &str) -> Result<u64, DurationError> {
    digits.parse::<u64>().map_err(|_| error(format!("`{}` is too long", shown(text)), HELP))
}

/// A sum of `<digits><unit>`, in milliseconds; `None` when it overflows.
fn units(text: &str) -> Result<Option<u64>, DurationError> {
    let mut rest = text;
    let mut total = Some(0_u64);
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (amount, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(letters);
        if amount.is_empty() {
            return Err(error(format!("`{}` is no duration", shown(text)), fraction_help(text)));
        }
        let Some(position) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(error(format!("`{}` is no duration", shown(text)), unit_help(amount, unit, after)));
        };
        if position < next_unit {
            return Err(error(
                format!("`{}` names `{unit}` twice or out of order", shown(text)),
                "write the longest unit first, each once, such as `1h30m`",
            ));
        }
        next_unit = position + 1;
        let ms = number(amount, text)?.checked_mul(UNITS[position].1);
        total = total.and_then(|sum| sum.checked_add(ms?));
        rest = after.trim_start();
    }
    Ok(total)
}

fn fraction_help(text: &str) -> &'static str {
    if text.contains('.') { "write whole numbers, such as `1h30m` for 1.5 hours" } else { HELP }
}

fn unit_help(amount: &str, unit: &str, after: &str) -> String {
    if after.starts_with('.') {
        return fraction_help(after).to_owned();
    }
    let spelled = if unit.is_empty() { after.trim() } else { unit };
    match short_unit(spelled) {
        Some(short) => format!("write `{}{short}`", shown(amount)),
        None => HELP.to_owned(),
    }
}

fn short_unit(spelled: &str) -> Option<&'static str> {
    match spelled.to_lowercase().as_str() {
        "ms" | "msec" | "millis" | "milliseconds" => Some("ms"),
        "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        "d" | "day" | "days" => Some("d"),
        "w" | "week" | "weeks" => Some("w"),
        _ => None,
    }
}

/// `5 minutes` as it should be written: `5m`.
pub(super) fn reword(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (amount, unit) = text.split_at(digits);
    let short = format!("{amount}{}", short_unit(unit.trim())?);
    parse_duration(&short).ok().map(|_| short)
}

/// A length as it is said: `30 minutes`; as written where it has more than one unit.
pub(super) fn spoken(short: &str) -> String {
    let digits = short.len() - short.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (amount, unit) = short.split_at(digits);
    let name = match unit {
        "" | "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        _ => return short.to_owned(),
    };
    if amount == "1" { format!("1 {name}") } else { format!("{amount} {name}s") }
}

/// `P[nW][nD][T[nH][nM][nS]]`, in milliseconds.
fn iso(text: &str) -> Result<Option<u64>, DurationError> {
    let upper = text.to_ascii_uppercase();
    let bad =
        || error(format!("`{}` is no ISO 8601 duration", shown(text)), "write `PT90S`, `P1DT2H` or `90s`");
    let body = upper.strip_prefix('P').ok_or_else(bad)?;
    let (date, time) = match body.split_once('T') {
        Some((_, "")) => return Err(bad()),
        Some((date, time)) => (date, time),
        None => (body, ""),
    };
    let is_date = date.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'W' | b'D'));
    let is_time = time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'H' | b'M' | b'S'));
    if !is_date || !is_time || (date.is_empty() && time.is_empty()) {
        return Err(bad());
    }
    units(&format!("{date}{time}").to_ascii_lowercase()).map_err(|_| bad())
}

/// `10m`, `1h30m`, `1m12s`, `500ms`; reads back to the same length, to the millisecond.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    // Weeks are read but not written: `14d` says more than `2w`.
    for (unit, ms) in UNITS.iter().skip(1) {
        let amount = rest / u128::from(*ms);
        rest %= u128::from(*ms);
        if amount > 0 {
            text.push_str(&format!("{amount}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_the_contract_says() {
        for (text, ms) in [
            ("0", 0),
            ("90", 90_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("500ms", 500),
            ("1s500ms", 1_500),
            ("PT90S", 90_000),
            ("pt1h30m", 5_400_000),
            ("P1DT2H", 93_600_000),
            ("P1W", 604_800_000),
            (" 10m ", 600_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn wrong_durations_say_what_to_write() {
        for (text, help) in [
            ("1:30", "`1h30m` or `1m30s`"),
            ("00:05", "`5m` or `5s`"),
            ("1.5h", "1h30m"),
            ("5 minutes", "`5m`"),
            ("5min", "`5m`"),
            ("5M", "`5m`"),
            ("30m1h", "longest unit first"),
            ("1m1m", "longest unit first"),
            ("", "90s"),
            ("-5m", "90s"),
            ("m", "90s"),
            ("5m3", "90s"),
            ("P", "PT90S"),
            ("PT", "PT90S"),
            ("P1M", "PT90S"),
            ("PT1.5S", "PT90S"),
            ("99999999999999999999", "90s"),
            ("18446744073709551615w", "36500d"),
            ("36501d", "36500d"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.help.contains(help), "{text}: {}", error.help);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ms in 0..DURATION_MAX_DAYS * MS_PER_DAY) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse_duration(&text);
        }
    }

    #[test]
    fn lengths_are_written_short() {
        for (secs, text) in [(600, "10m"), (5_400, "1h30m"), (72, "1m12s"), (0, "0s"), (1_209_600, "14d")] {
            assert_eq!(format_duration(Duration::from_secs(secs)), text);
        }
    }
}
