//! One shots: `at 2027-01-31T09:00`, `in 30m`.

use jiff::civil::DateTime;
use jiff::{Timestamp, Zoned};

use super::every::{time_of_day, whole_seconds};
use super::field::Token;
use super::{Finding, Rule, Zone, code, parse_duration};

const AT_HELP: &str = "write `at 2027-01-31T09:00` for the task's zone, or `at 2027-01-31T09:00:00Z`";

/// Reads what stands after `at`: RFC 3339, with or without a zone in brackets, or a reading of the
/// task's own clock.
pub(super) fn at(whole: Token<'_>, words: &[Token<'_>]) -> Result<Rule, Finding> {
    let Some(first) = words.first() else {
        return Err(whole.finding(code::BAD_TIME, "a time is missing after `at`".to_owned(), AT_HELP));
    };
    let text = whole.text.get(first.column..).unwrap_or_default();
    let token = Token { text, column: first.column };
    if let Some((_, bracketed)) = text.split_once('[') {
        return zoned(token, bracketed);
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(Rule::AtInstant(instant));
    }
    if let Ok(reading) = text.parse::<DateTime>() {
        let whole_second = reading.with().subsec_nanosecond(0).build().unwrap_or(reading);
        return Ok(Rule::AtReading(whole_second));
    }
    let help = match time_of_day(*first) {
        Ok(_) => format!("write `every day at {}`, or the date before it for once", first.text),
        Err(_) => AT_HELP.to_owned(),
    };
    Err(token.finding(code::BAD_TIME, format!("`{text}` is no date and time"), help))
}

fn zoned(token: Token<'_>, bracketed: &str) -> Result<Rule, Finding> {
    let name = bracketed.split(']').next().unwrap_or_default();
    if let Ok(zoned) = token.text.parse::<Zoned>() {
        return Ok(Rule::AtInstant(zoned.timestamp()));
    }
    if let Err(error) = Zone::parse(name) {
        let start = token.column + token.text.find('[').unwrap_or(0) + 1;
        let token = Token { text: name, column: start };
        return Err(token.finding(code::UNKNOWN_ZONE, error.to_string(), error.help));
    }
    let message = format!("`{}` is no date and time", token.text);
    Err(token.finding(code::BAD_TIME, message, "the offset must be one that the zone has at that time"))
}

/// Reads what stands after `in`.
pub(super) fn after(whole: Token<'_>, words: &[Token<'_>]) -> Result<Rule, Finding> {
    let Some(first) = words.first() else {
        return Err(whole.finding(code::BAD_EVERY, "`in` how long?".to_owned(), "write `in 30m`"));
    };
    let text = whole.text.get(first.column..).unwrap_or_default();
    let token = Token { text, column: first.column };
    let duration = parse_duration(text).map_err(|error| {
        let help = match super::duration::reword(text) {
            Some(short) => format!("write `in {short}`"),
            None => error.help,
        };
        token.finding(code::BAD_EVERY, error.message, help)
    })?;
    whole_seconds(token, duration).map(|secs| Rule::In { secs })
}
