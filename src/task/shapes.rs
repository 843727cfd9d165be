//! What a value of each shape is, and what is said about a value that is none.

use std::collections::BTreeMap;

use super::diagnose::{Place, Severity};
use super::fields::{Fields, Flag, Reader, Value, dotted};
use super::keys::{self, Key, Shape};
use super::yaml::{Content, Node};
use crate::model::schedule::{Finding, Schedule, Zone, code, parse_duration, parse_size};
use crate::model::task::Command;

/// A backoff multiplies the wait by at most this.
const FACTOR_MAX_MILLI: u32 = 100_000;

/// Reads one value; `None` after it has said what is wrong.
pub fn read(reader: &mut Reader<'_>, key: &'static Key, name: &str, node: &Node) -> Option<Value> {
    if matches!(node.content, Content::Empty) {
        return empty(reader, key, name, node.place);
    }
    match key.shape {
        Shape::Text => text(reader, name, node).map(Value::Text),
        Shape::Flag => flag(reader, name, node).map(Value::Flag),
        Shape::Duration => duration(reader, name, node).map(Value::Duration),
        Shape::Limit => {
            let limit = duration(reader, name, node)?;
            if limit.is_zero() {
                let help = "give a time, or leave the key out for the default";
                reader.error(node.place, "E107", format!("`{name}` must be above 0"), help);
                return None;
            }
            Some(Value::Duration(limit))
        }
        Shape::Size => size(reader, name, node).map(Value::Size),
        Shape::Count { min, max } => number(reader, name, node, min, max).map(Value::Count),
        Shape::Money => money(reader, name, node).map(Value::Text),
        Shape::Factor => factor(reader, name, node).map(Value::Factor),
        Shape::Instant => instant(reader, name, node),
        Shape::Choice(choices) => choice(reader, name, node, choices).map(Value::Text),
        Shape::Choices(choices) => {
            each(reader, name, node, |reader, item| choice(reader, name, item, choices)).map(Value::Texts)
        }
        Shape::Texts | Shape::Names => names(reader, key, name, node).map(Value::Texts),
        Shape::Variables => {
            each(reader, name, node, |reader, item| variable(reader, name, item)).map(Value::Texts)
        }
        Shape::Numbers { min, max } => numbers(reader, name, node, min, max),
        Shape::Schedule => schedule(reader, node).map(Value::Schedule),
        Shape::Zone => zone(reader, name, node).map(Value::Zone),
        Shape::Command => command(reader, name, node).map(Value::Command),
        Shape::Environment => environment(reader, name, node).map(Value::Environment),
        Shape::Retries => match &node.content {
            Content::Text(_) => {
                let max = Key::find(keys::RETRIES, "max")?;
                let count = read(reader, max, name, node)?;
                Some(Value::Group(Fields::one(max, node.place, count)))
            }
            Content::Empty | Content::List(_) | Content::Map(_) => group(reader, keys::RETRIES, name, node),
        },
        Shape::Worktree => group(reader, keys::WORKTREE, name, node),
        Shape::Alerts => match &node.content {
            Content::Text(_) => flag(reader, name, node).map(Value::Flag),
            Content::Empty | Content::List(_) | Content::Map(_) => group(reader, keys::ALERTS, name, node),
        },
        Shape::Anything => Some(Value::Nothing),
    }
}

/// A key without a value: nothing for lists and maps, an error where a single value belongs.
fn empty(reader: &mut Reader<'_>, key: &Key, name: &str, place: Place) -> Option<Value> {
    match key.shape {
        Shape::Flag => {
            reader.error(place, "E103", format!("`{name}` has no value"), "write `true` or `false`");
        }
        Shape::Texts
        | Shape::Names
        | Shape::Variables
        | Shape::Environment
        | Shape::Worktree
        | Shape::Anything => {}
        Shape::Text
        | Shape::Duration
        | Shape::Limit
        | Shape::Size
        | Shape::Count { .. }
        | Shape::Money
        | Shape::Factor
        | Shape::Instant
        | Shape::Choice(_)
        | Shape::Choices(_)
        | Shape::Numbers { .. }
        | Shape::Schedule
        | Shape::Zone
        | Shape::Command
        | Shape::Retries
        | Shape::Alerts => {
            let help = format!("give a value ({}) or remove the line", key.type_text());
            reader.error(place, "E104", format!("`{name}` has no value"), &help);
        }
    }
    None
}

fn wrong(reader: &mut Reader<'_>, name: &str, node: &Node, wanted: &str) {
    let given = match &node.content {
        Content::Empty => "nothing",
        Content::Text(_) => "a text",
        Content::List(_) => "a list",
        Content::Map(_) => "a map",
    };
    let mut place = node.place;
    if !matches!(node.content, Content::Text(_)) {
        place.end_column = place.column + 1;
    }
    reader.error(place, "E102", format!("`{name}` takes {wanted}, not {given}"), "");
}

fn plain<'n>(reader: &mut Reader<'_>, name: &str, node: &'n Node, wanted: &str) -> Option<&'n str> {
    if let Content::Text(text) = &node.content {
        return Some(text);
    }
    wrong(reader, name, node, wanted);
    None
}

fn text(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "a text")?;
    whole(reader, name, node, text)
}

/// A text without the one character that no program can be given.
fn whole(reader: &mut Reader<'_>, name: &str, node: &Node, text: &str) -> Option<String> {
    if text.contains('\0') {
        reader.error(node.place, "E121", format!("`{name}` holds a NUL character"), "remove it");
        return None;
    }
    if text.trim().is_empty() && name != "stdin" && !name.starts_with("env.") {
        reader.error(node.place, "E104", format!("`{name}` is empty"), "give a value or remove the line");
        return None;
    }
    Some(text.to_owned())
}

/// Reads one of the eight words for yes and no, in any case.
pub fn flag_word(text: &str) -> Option<Flag> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(Flag::On),
        "false" | "no" | "off" | "0" => Some(Flag::Off),
        _ => None,
    }
}

fn flag(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Flag> {
    let text = plain(reader, name, node, "a boolean")?;
    let flag = flag_word(text);
    if flag.is_none() {
        let help = "write true, false, yes, no, on, off, 1 or 0; the task does not run until then";
        reader.error(node.place, "E103", format!("`{}` is no boolean", shown(text)), help);
    }
    flag
}

fn duration(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<std::time::Duration> {
    let text = plain(reader, name, node, "a duration")?;
    match parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            reader.error(node.place, "E105", format!("`{name}`: {}", error.message), &error.help);
            None
        }
    }
}

fn size(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<u64> {
    let text = plain(reader, name, node, "a size")?;
    match parse_size(text) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            reader.error(node.place, "E106", format!("`{name}`: {}", error.message), &error.help);
            None
        }
    }
}

fn number(reader: &mut Reader<'_>, name: &str, node: &Node, min: u32, max: u32) -> Option<u32> {
    let text = plain(reader, name, node, "a whole number")?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|n| digits && (min..=max).contains(n));
    if number.is_none() {
        let message = format!("`{}` is no whole number from {min} to {max}", shown(text));
        reader.error(node.place, "E107", message, "");
    }
    number
}

fn money(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "an amount")?;
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(cents) {
        return Some(text.to_owned());
    }
    reader.error(node.place, "E107", format!("`{}` is no amount", shown(text)), "write it like 0.50");
    None
}

fn factor(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<u32> {
    let text = plain(reader, name, node, "a number")?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let milli = (digits(whole) && digits(part) && part.len() <= 3)
        .then(|| Some((whole.parse::<u32>().ok()?, format!("{part:0<3}").parse::<u32>().ok()?)))
        .flatten()
        .and_then(|(whole, milli)| whole.checked_mul(1000)?.checked_add(milli))
        .filter(|milli| (1000..=FACTOR_MAX_MILLI).contains(milli));
    if milli.is_none() {
        let message = format!("`{}` is no number from 1 to 100", shown(text));
        reader.error(node.place, "E107", message, "write it like 2 or 1.5");
    }
    milli
}

fn instant(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Value> {
    let text = plain(reader, name, node, "a time")?;
    match text.parse() {
        Ok(at) => Some(Value::Instant(at)),
        Err(_) => {
            let message = format!("`{}` is no RFC 3339 time", shown(text));
            reader.error(node.place, "E109", message, "write it like 2027-01-31T08:00:00Z");
            None
        }
    }
}

fn choice(reader: &mut Reader<'_>, name: &str, node: &Node, choices: &[&str]) -> Option<String> {
    let text = plain(reader, name, node, "one word")?;
    if let Some(choice) = choices.iter().find(|choice| **choice == text) {
        return Some((*choice).to_owned());
    }
    let meant = keys::near(choices.iter().copied(), text)
        .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    let message = format!("`{name}` cannot be `{}`{meant}", shown(text));
    reader.error(node.place, "E108", message, &format!("one of {}", choices.join(", ")));
    None
}

/// Reads a single value or a list of them; all of them, so that every mistake is shown at once.
fn each<T>(
    reader: &mut Reader<'_>,
    name: &str,
    node: &Node,
    mut read: impl FnMut(&mut Reader<'_>, &Node) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.content {
        Content::Empty => Some(Vec::new()),
        Content::Text(_) => read(reader, node).map(|value| vec![value]),
        Content::List(items) => {
            let values: Vec<Option<T>> = items.iter().map(|item| read(reader, item)).collect();
            values.into_iter().collect()
        }
        Content::Map(_) => {
            wrong(reader, name, node, "a list");
            None
        }
    }
}

fn names(reader: &mut Reader<'_>, key: &Key, name: &str, node: &Node) -> Option<Vec<String>> {
    if let (Shape::Names, Content::Text(text)) = (key.shape, &node.content) {
        let text = whole(reader, name, node, text)?;
        return Some(split_names(&text));
    }
    each(reader, name, node, |reader, item| self::text(reader, name, item))
}

/// Splits at commas, but not inside brackets: `Read, Bash(a, b)` is two names.
fn split_names(text: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut depth = 0usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match names.last_mut() {
            Some(name) if c != ',' || depth > 0 => name.push(c),
            Some(_) | None => names.push(String::new()),
        }
    }
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn variable(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "names of variables")?;
    is_variable(text).then(|| text.to_owned()).or_else(|| {
        let message = format!("`{}` is no variable name", shown(text));
        reader.error(node.place, "E121", message, "letters, digits and `_`, no digit first");
        None
    })
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn numbers(reader: &mut Reader<'_>, name: &str, node: &Node, min: u32, max: u32) -> Option<Value> {
    let numbers = each(reader, name, node, |reader, item| number(reader, name, item, min, max))?;
    if numbers.is_empty() {
        reader.error(node.place, "E104", format!("`{name}` is empty"), "give a number or remove the line");
        return None;
    }
    Some(Value::Numbers(numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect()))
}

fn command(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Command> {
    match &node.content {
        Content::List(items) if items.is_empty() => {
            reader.error(node.place, "E104", format!("`{name}` is empty"), "the first item is the program");
            None
        }
        Content::List(items) => {
            let mut argv = Vec::with_capacity(items.len());
            for (index, item) in items.iter().enumerate() {
                let argument = match &item.content {
                    // An empty argument is one; an empty program is none.
                    Content::Text(text) if index > 0 && text.is_empty() => String::new(),
                    Content::Text(_) | Content::Empty | Content::List(_) | Content::Map(_) => {
                        self::text(reader, name, item)?
                    }
                };
                argv.push(argument);
            }
            Some(Command::Argv(argv))
        }
        Content::Text(_) => text(reader, name, node).map(Command::Shell),
        Content::Empty | Content::Map(_) => {
            wrong(reader, name, node, "a text or a list of arguments");
            None
        }
    }
}

fn environment(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<BTreeMap<String, String>> {
    let Content::Map(pairs) = &node.content else {
        wrong(reader, name, node, "a map of NAME: value");
        return None;
    };
    let mut map = BTreeMap::new();
    let mut whole_map = true;
    for pair in pairs {
        if !is_variable(&pair.key) {
            let message = format!("`{}` is no variable name", shown(&pair.key));
            reader.error(pair.place, "E121", message, "letters, digits and `_`, no digit first");
            whole_map = false;
        } else if pair.key.starts_with("LUCID_") {
            let message = format!("`{}` is set by lucid itself", shown(&pair.key));
            reader.error(pair.place, "E121", message, "choose a name that does not start with LUCID_");
            whole_map = false;
        }
        let value = match &pair.value.content {
            Content::Empty => Some(String::new()),
            Content::Text(_) | Content::List(_) | Content::Map(_) => {
                text(reader, &dotted(name, &pair.key), &pair.value)
            }
        };
        match value {
            Some(value) => drop(map.insert(pair.key.clone(), value)),
            None => whole_map = false,
        }
    }
    whole_map.then_some(map)
}

fn group(reader: &mut Reader<'_>, keys: &'static [Key], name: &str, node: &Node) -> Option<Value> {
    match &node.content {
        Content::Map(pairs) => Some(Value::Group(Fields::read(reader, keys, name, pairs))),
        Content::Empty | Content::Text(_) | Content::List(_) => {
            wrong(reader, name, node, "a map");
            None
        }
    }
}

/// A text for a message: short, on one line.
pub fn shown(text: &str) -> String {
    const SHOWN_MAX_CHARS: usize = 60;
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = one_line.clone().take(SHOWN_MAX_CHARS).collect();
    if one_line.count() > SHOWN_MAX_CHARS {
        shown.push('…');
    }
    shown
}

fn zone(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Zone> {
    let text = plain(reader, name, node, "a time zone")?;
    match Zone::parse(text) {
        Ok(zone) => Some(zone),
        Err(error) => {
            reader.error(node.place, code::UNKNOWN_ZONE, error.to_string(), &error.help);
            None
        }
    }
}

fn schedule(reader: &mut Reader<'_>, node: &Node) -> Option<Schedule> {
    let items: Vec<&Node> = match &node.content {
        Content::Empty | Content::Text(_) => vec![node],
        Content::List(items) => items.iter().collect(),
        Content::Map(_) => {
            wrong(reader, "schedule", node, "a text or a list of texts");
            return None;
        }
    };
    if items.is_empty() {
        reader.error(
            node.place,
            "E104",
            "`schedule` is empty".to_owned(),
            "write `manual` or remove the line",
        );
        return None;
    }
    let texts: Option<Vec<&str>> =
        items.iter().map(|item| plain(reader, "schedule", item, "a text")).collect();
    let texts = texts?;
    match Schedule::parse(&texts) {
        Ok(schedule) => {
            for warning in schedule.warnings() {
                say_schedule(reader, Severity::Warning, &items, &texts, warning);
            }
            Some(schedule)
        }
        Err(error) => {
            say_schedule(reader, Severity::Error, &items, &texts, &error);
            None
        }
    }
}

/// Moves a finding about an item's text to its place in the file.
fn say_schedule(
    reader: &mut Reader<'_>,
    severity: Severity,
    items: &[&Node],
    texts: &[&str],
    finding: &Finding,
) {
    let (Some(item), Some(text)) = (items.get(finding.item), texts.get(finding.item)) else { return };
    let mut place = item.place;
    let chars = |bytes: usize| {
        let head = text.get(..bytes.min(text.len())).unwrap_or(text);
        u32::try_from(head.chars().count()).unwrap_or(u32::MAX)
    };
    let quote = u32::from(reader.source.char_at(place).is_some_and(|c| c == '"' || c == '\''));
    let start = place.column + quote + chars(finding.column);
    let end = place.column + quote + chars(finding.column + finding.len);
    if end <= place.end_column {
        place.column = start;
        place.end_column = end.max(start + 1);
    }
    reader.say(severity, place, finding.code, finding.message.clone(), &finding.help);
}
