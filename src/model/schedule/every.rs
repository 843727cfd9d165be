//! `every 5m`, `every 2d at 09:00`, `every weekday at 08:30`.
//!
//! `every D` is the cron expression where there is one, so that `every 15m` means :00 :15 :30 :45
//! and does not depend on when the task was first seen; else it is elapsed time from the anchor.

use std::time::Duration;

use jiff::civil::Time;

use super::duration::reword;
use super::field::Token;
use super::parse::cron;
use super::{Finding, Rule, code, parse_duration};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

const HELP: &str =
    "write `every 5m`, `every 1d at 09:00`, `every weekday at 08:30` or `every mon,thu at 08:30`";

/// Days of the week as people call them, as cron numbers them.
const DAYS: [(&str, &str); 18] = [
    ("day", "*"),
    ("weekday", "1-5"),
    ("weekdays", "1-5"),
    ("weekend", "0,6"),
    ("sunday", "0"),
    ("sun", "0"),
    ("monday", "1"),
    ("mon", "1"),
    ("tuesday", "2"),
    ("tue", "2"),
    ("wednesday", "3"),
    ("wed", "3"),
    ("thursday", "4"),
    ("thu", "4"),
    ("friday", "5"),
    ("fri", "5"),
    ("saturday", "6"),
    ("sat", "6"),
];

/// Reads what stands after `every`.
pub(super) fn rule(whole: Token<'_>, words: &[Token<'_>]) -> Result<Rule, Finding> {
    let split = words.iter().position(|word| word.text.eq_ignore_ascii_case("at"));
    let (subject, time) = match split {
        Some(at) => {
            let (subject, rest) = words.split_at(at);
            (subject, Some(single_time(whole, rest)?))
        }
        None => (words, None),
    };
    let Some(span) = span(whole, subject) else {
        return Err(whole.finding(code::BAD_EVERY, "`every` what?".to_owned(), HELP));
    };
    if let Some(days) = weekdays(span.text) {
        return cron_at(&days, time.unwrap_or(Time::midnight()));
    }
    let secs = length(span)?;
    match time {
        None => elapsed(secs),
        Some(time) if secs == DAY => cron_at("*", time),
        Some(time) if secs % DAY == 0 => Ok(Rule::Days { days: secs / DAY, time }),
        Some(_) => Err(span.finding(
            code::BAD_EVERY,
            format!("`{}` is no number of whole days, so it cannot have a time of day", span.text),
            "write `every 1d at 09:00`, or leave out the time",
        )),
    }
}

/// The words as one piece of the text.
fn span<'t>(whole: Token<'t>, words: &[Token<'t>]) -> Option<Token<'t>> {
    let (first, last) = (words.first()?, words.last()?);
    let text = whole.text.get(first.column..last.column + last.text.len())?;
    Some(Token { text, column: first.column })
}

fn cron_at(days: &str, time: Time) -> Result<Rule, Finding> {
    let (h, m, s) = (time.hour(), time.minute(), time.second());
    cron(&format!("{s} {m} {h} * * {days}"))
}

/// `mon,thu`, `monday and thursday`, `weekday`, as cron writes them.
fn weekdays(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase().replace(" and ", ",");
    let numbers = lower
        .split(',')
        .map(|name| DAYS.iter().find(|(known, _)| *known == name.trim()).map(|(_, number)| *number))
        .collect::<Option<Vec<_>>>()?;
    if numbers.contains(&"*") { Some("*".to_owned()) } else { Some(numbers.join(",")) }
}

/// Whole seconds, at least one.
fn length(token: Token<'_>) -> Result<i64, Finding> {
    let text = token.text.to_ascii_lowercase();
    let text = match text.as_str() {
        "second" => "1s",
        "minute" => "1m",
        "hour" => "1h",
        "week" => "1w",
        "month" | "year" => {
            let message = format!("`every {text}` does not say on which day");
            return Err(token.finding(code::BAD_EVERY, message, format!("write `@{text}ly`")));
        }
        _ => token.text,
    };
    let duration = parse_duration(text).map_err(|error| {
        let help = match reword(token.text) {
            Some(short) => format!("write `every {short}`"),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => error.help,
            None => HELP.to_owned(),
        };
        token.finding(code::BAD_EVERY, error.message, help)
    })?;
    whole_seconds(token, duration)
}

pub(super) fn whole_seconds(token: Token<'_>, duration: Duration) -> Result<i64, Finding> {
    if duration.subsec_nanos() != 0 || duration.is_zero() {
        let message = format!("`{}` is not a whole number of seconds above zero", token.text);
        return Err(token.finding(code::BAD_EVERY, message, "the shortest is `1s`"));
    }
    i64::try_from(duration.as_secs())
        .map_err(|_| token.finding(code::BAD_EVERY, format!("`{}` is too long", token.text), ""))
}

fn elapsed(secs: i64) -> Result<Rule, Finding> {
    let expression = if secs < MINUTE && MINUTE % secs == 0 {
        stepped(secs, "* * * * *")
    } else if secs % MINUTE == 0 && secs < HOUR && HOUR % secs == 0 {
        format!("0 {}", stepped(secs / MINUTE, "* * * *"))
    } else if secs % HOUR == 0 && secs < DAY && DAY % secs == 0 {
        format!("0 0 {}", stepped(secs / HOUR, "* * *"))
    } else if secs == DAY {
        "0 0 0 * * *".to_owned()
    } else {
        return Ok(Rule::Elapsed { secs });
    };
    cron(&expression)
}

fn stepped(step: i64, rest: &str) -> String {
    if step == 1 { format!("* {rest}") } else { format!("*/{step} {rest}") }
}

/// The one word after `at`.
fn single_time(whole: Token<'_>, at_and_rest: &[Token<'_>]) -> Result<Time, Finding> {
    match at_and_rest {
        [_at, time] => time_of_day(*time),
        [] | [_] => {
            Err(whole.finding(code::BAD_TIME, "a time is missing after `at`".to_owned(), "write `at 09:00`"))
        }
        [_at, _time, extra, ..] => Err(extra.finding(
            code::BAD_TIME,
            format!("`{}` cannot follow a time of day", extra.text),
            "write one time such as `at 09:00`, and a list of schedules for several",
        )),
    }
}

/// `HH:MM` or `HH:MM:SS`.
pub(super) fn time_of_day(token: Token<'_>) -> Result<Time, Finding> {
    let bad = || {
        let message = format!("`{}` is no time of day", token.text);
        token.finding(code::BAD_TIME, message, "write hours and minutes, 00:00 to 23:59")
    };
    let parts: Vec<&str> = token.text.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, second),
        _ => return Err(bad()),
    };
    let number = |text: &str| {
        let is_short = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i8>().ok().filter(|_| is_short)
    };
    let (Some(h), Some(m), Some(s), 2, 2) =
        (number(hour), number(minute), number(second), minute.len(), second.len())
    else {
        return Err(bad());
    };
    Time::new(h, m, s, 0).map_err(|_| bad())
}
