//! From the text of a schedule to its rules. Everything that is refused says what to write instead.

use std::sync::Arc;

use super::cron::Pattern;
use super::field::Token;
use super::{
    Finding, Item, Rule, SCHEDULE_ITEM_MAX_BYTES, SCHEDULE_ITEMS_MAX, Schedule, code, every, once,
    parse_duration,
};

const HELP: &str = "write a cron expression such as `0 9 * * 1-5`, `@daily`, `every 5m`, `every weekday at 08:30`, \
     `at 2027-01-31T09:00`, `in 30m` or `manual`";

/// Words for expressions; the contract's and cron's.
const ALIASES: [(&str, &str); 8] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    // Not cron's, but the first thing people try after `@hourly`.
    ("@minutely", "* * * * *"),
];

pub(super) fn schedule(texts: &[&str]) -> Result<Schedule, Finding> {
    if let [only] = texts
        && only.trim().eq_ignore_ascii_case("manual")
    {
        return Ok(Schedule::manual());
    }
    if texts.is_empty() {
        let empty = Token { text: "", column: 0 };
        return Err(empty.finding(code::NOT_A_SCHEDULE, "the schedule is empty".to_owned(), HELP));
    }
    if let Some(extra) = texts.get(SCHEDULE_ITEMS_MAX) {
        let message = format!("a schedule has at most {SCHEDULE_ITEMS_MAX} items");
        let token = Token { text: extra, column: 0 };
        return Err(Finding { item: SCHEDULE_ITEMS_MAX, ..token.finding(code::NOT_A_SCHEDULE, message, "") });
    }
    let mut items = Vec::with_capacity(texts.len());
    let mut warnings = Vec::new();
    for (index, raw) in texts.iter().enumerate() {
        let text = raw.trim();
        let indent = raw.len() - raw.trim_start().len();
        let placed = |finding: Finding| Finding { item: index, column: finding.column + indent, ..finding };
        let rule = item(text).map_err(|finding| placed(lines(text).unwrap_or(finding)))?;
        warnings.extend(either_day(text, &rule).map(placed));
        items.push(Item { text: text.to_owned(), rule });
    }
    Ok(Schedule { items: Arc::from(items), warnings: Arc::from(warnings) })
}

fn item(text: &str) -> Result<Rule, Finding> {
    let whole = Token { text, column: 0 };
    if text.len() > SCHEDULE_ITEM_MAX_BYTES {
        let message = format!("a schedule is at most {SCHEDULE_ITEM_MAX_BYTES} bytes long");
        return Err(whole.finding(code::NOT_A_SCHEDULE, message, HELP));
    }
    let words = Token::words(text);
    let Some((first, rest)) = words.split_first() else {
        return Err(whole.finding(code::NOT_A_SCHEDULE, "the schedule is empty".to_owned(), HELP));
    };
    match first.text.to_ascii_lowercase().as_str() {
        "every" => every::rule(whole, rest),
        "at" => once::at(whole, rest),
        "in" => once::after(whole, rest),
        "manual" => Err(whole.finding(
            code::NOT_A_SCHEDULE,
            "`manual` stands alone".to_owned(),
            "remove it, or the other items",
        )),
        word if word.starts_with('@') => alias(whole, word, rest),
        _ if first.text.contains('=') => Err(assignment(whole, *first)),
        _ if is_cron(whole, &words) => cron(text),
        _ => Err(unreadable(whole)),
    }
}

/// Several schedules in one text, a line each.
fn lines(text: &str) -> Option<Finding> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if !(2..=SCHEDULE_ITEMS_MAX).contains(&text.lines().count()) || !lines.all(|line| item(line).is_ok()) {
        return None;
    }
    let message = "several schedules in one text".to_owned();
    let help = "write a list: `- ` before each of them, and no `|`";
    Some(Token { text, column: 0 }.finding(code::NOT_A_SCHEDULE, message, help))
}

pub(super) fn cron(expression: &str) -> Result<Rule, Finding> {
    Pattern::parse(expression).map(|pattern| Rule::Cron(Box::new(pattern)))
}

/// Meant as a cron expression, right or wrong.
fn is_cron(whole: Token<'_>, words: &[Token<'_>]) -> bool {
    let has_star = words.iter().any(|word| word.text.contains(['*', '?']));
    let starts_like_a_field = whole.text.starts_with(|c: char| c.is_ascii_digit());
    has_star || (words.len() > 2 && starts_like_a_field && super::duration::reword(whole.text).is_none())
}

fn alias(whole: Token<'_>, word: &str, rest: &[Token<'_>]) -> Result<Rule, Finding> {
    let rewritten = format!("{} {}", &word[1..], words_of(rest));
    if !rest.is_empty() {
        let help = match item(&rewritten) {
            Ok(_) => format!("write `{rewritten}`"),
            Err(_) => HELP.to_owned(),
        };
        return Err(whole.finding(code::NOT_A_SCHEDULE, format!("nothing can follow `{word}`"), help));
    }
    if matches!(word, "@startup" | "@reboot") {
        return Ok(Rule::Startup);
    }
    match ALIASES.iter().find(|(name, _)| *name == word) {
        Some((_, expression)) => cron(expression),
        None => {
            let names: Vec<&str> = ALIASES.iter().map(|(name, _)| *name).collect();
            let help = format!("known are {} and @startup", names.join(" "));
            Err(whole.finding(code::NOT_A_SCHEDULE, format!("`{word}` is no schedule"), help))
        }
    }
}

fn words_of(tokens: &[Token<'_>]) -> String {
    tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
}

/// What no rule fits: a duration or word that could mean two things, or nothing known.
fn unreadable(whole: Token<'_>) -> Finding {
    let text = whole.text;
    let length = match parse_duration(text) {
        Ok(_) => Some(text.to_owned()),
        Err(_) => super::duration::reword(text),
    };
    if let Some(short) = length {
        let spoken = super::duration::spoken(&short);
        return whole.finding(
            code::AMBIGUOUS,
            format!("`{text}` can mean \"every {spoken}\" or \"once, in {spoken}\""),
            format!("write `every {short}` or `in {short}`"),
        );
    }
    let alias = format!("@{}", text.to_ascii_lowercase());
    if ALIASES.iter().any(|(name, _)| *name == alias) || matches!(alias.as_str(), "@startup" | "@reboot") {
        let message = format!("`{text}` alone is no schedule");
        return whole.finding(code::AMBIGUOUS, message, format!("write `{alias}`"));
    }
    if let Ok(time) = every::time_of_day(whole) {
        let message = format!("`{text}` can mean \"every day at {text}\" or \"once, at {text}\"");
        let time = super::clock_text(time);
        let help = format!("write `every day at {time}`, or `at <date>T{time}` for once");
        return whole.finding(code::AMBIGUOUS, message, help);
    }
    // `weekday at 09:00`, `2027-01-31T09:00`: one word short of a schedule.
    for word in ["every", "at"] {
        let longer = format!("{word} {text}");
        if longer.len() <= SCHEDULE_ITEM_MAX_BYTES && item(&longer).is_ok() {
            let message = format!("`{text}` is no schedule");
            return whole.finding(code::NOT_A_SCHEDULE, message, format!("write `{longer}`"));
        }
    }
    whole.finding(code::NOT_A_SCHEDULE, format!("`{text}` is no schedule"), HELP)
}

/// `CRON_TZ=Europe/Berlin 0 9 * * *`, as some crontabs have it.
fn assignment(whole: Token<'_>, first: Token<'_>) -> Finding {
    let help = match first.text.split_once('=') {
        Some(("TZ" | "CRON_TZ", zone)) => format!("write `timezone: {zone}` beside `schedule:`"),
        Some(_) | None => HELP.to_owned(),
    };
    let token = Token { text: first.text, ..whole };
    token.finding(code::NOT_A_SCHEDULE, format!("`{}` is no part of a schedule", first.text), help)
}

/// Cron's own trap: with both days set, either is enough.
fn either_day(text: &str, rule: &Rule) -> Option<Finding> {
    let Rule::Cron(pattern) = rule else { return None };
    if !pattern.is_either_day() {
        return None;
    }
    let words = Token::words(text);
    let [.., day, _month, weekday] = words[..] else { return None };
    Some(Finding {
        code: code::EITHER_DAY,
        item: 0,
        column: day.column,
        len: weekday.column + weekday.text.len() - day.column,
        message: format!(
            "day of month `{}` *or* day of week `{}`: it is due when either matches",
            day.text, weekday.text
        ),
        help: "write `*` in one of the two fields".to_owned(),
    })
}
