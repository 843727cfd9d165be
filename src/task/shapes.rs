//! Which reader a value of each shape gets, and the values that are made of several.

use std::collections::BTreeMap;

use super::diagnose::{Place, Severity};
use super::fields::{Fields, Reader, Value, dotted};
use super::keys::{self, Key, Shape};
use super::scalars::{
    choice, duration, factor, flag, flag_word, instant, is_choice, is_variable, money, number, plain, shown,
    size, text, variable, whole, wrong, zone,
};
use super::yaml::{Content, Node};
use crate::config;
use crate::model::branch;
use crate::model::schedule::{Finding, Schedule};
use crate::model::task::Command;

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
        Shape::Instant => instant(reader, name, node).map(Value::Instant),
        Shape::Choice(choices) => choice(reader, name, node, choices).map(Value::Text),
        Shape::Choices(choices) => {
            each(reader, name, node, |reader, item| choice(reader, name, item, choices)).map(Value::Texts)
        }
        Shape::Texts | Shape::Names => names(reader, key, name, node).map(Value::Texts),
        Shape::Known(known) => {
            let names = names(reader, key, name, node)?;
            known_names(reader, name, node, &names, known).then_some(Value::Texts(names))
        }
        Shape::Base => said(reader, name, node, |text| {
            let no_base = |_| "it is no remote-tracking branch".to_owned();
            config::remote_branch(text).map_err(no_base)
        }),
        Shape::Branch => said(reader, name, node, branch::check),
        Shape::Variables => variables(reader, name, node).map(Value::Texts),
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
            Content::Text(text) => {
                let flag = flag_word(text);
                if flag.is_none() {
                    let message = format!("`{name}` cannot be `{}`", shown(text));
                    let help = "write `off`, or a map: `alerts: {events: [failure], after: 2}`";
                    reader.error(node.place, "E103", message, help);
                }
                flag.map(Value::Flag)
            }
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
        | Shape::Known(_)
        | Shape::Variables
        | Shape::Environment
        | Shape::Worktree
        | Shape::Anything => {}
        Shape::Text
        | Shape::Base
        | Shape::Branch
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
    if let (Shape::Names | Shape::Known(_), Content::Text(text)) = (key.shape, &node.content) {
        let text = whole(reader, name, node, text)?;
        return Some(split_names(&text));
    }
    each(reader, name, node, |reader, item| text(reader, name, item))
}

/// A list of them, or one text that has them between commas.
fn variables(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Vec<String>> {
    match &node.content {
        Content::Text(text) if text.contains(',') => {
            let one = |text: String| variable(reader, name, &Node { content: Content::Text(text), ..*node });
            split_names(text).into_iter().map(one).collect()
        }
        Content::Empty | Content::Text(_) | Content::List(_) | Content::Map(_) => {
            each(reader, name, node, |reader, item| variable(reader, name, item))
        }
    }
}

/// Says which of the names are none, each at its place.
fn known_names(reader: &mut Reader<'_>, name: &str, node: &Node, names: &[String], known: &[&str]) -> bool {
    let places: Vec<Place> = match &node.content {
        Content::List(items) => items.iter().map(|item| item.place).collect(),
        Content::Empty | Content::Text(_) | Content::Map(_) => vec![node.place; names.len()],
    };
    let found = reader.found.len();
    for (given, place) in names.iter().zip(places) {
        is_choice(reader, name, given, place, known);
    }
    reader.found.len() == found
}

/// A text about which `check` has nothing to say.
fn said(
    reader: &mut Reader<'_>,
    name: &str,
    node: &Node,
    check: impl Fn(&str) -> Result<(), String>,
) -> Option<Value> {
    let text = text(reader, name, node)?;
    match check(&text) {
        Ok(()) => Some(Value::Text(text)),
        Err(why) => {
            let message = format!("`{name}` cannot be `{}`: {why}", shown(&text));
            reader.error(node.place, "E125", message, &keys::example(name));
            None
        }
    }
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
                    Content::Empty if index > 0 => {
                        let message = format!("item {} of `{name}` is nothing", index + 1);
                        let help = "quote it: \"null\" for the word, \"\" for an empty argument";
                        reader.error(item.place, "E104", message, help);
                        return None;
                    }
                    Content::Text(_) | Content::Empty | Content::List(_) | Content::Map(_) => {
                        text(reader, name, item)?
                    }
                };
                argv.push(argument);
            }
            if let Some(option) = argv.first().filter(|program| program.starts_with('-')) {
                let message = format!("`{}` is no program, and a list starts with one", shown(option));
                let help = "quote a text that starts with `[`: command: \"[ -f /etc/hosts ]\"";
                reader.error(node.place, "E102", message, help);
                return None;
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
    // Where something is escaped or goes over several lines, nobody can tell the column.
    let ahead = (place.column + quote).saturating_sub(1) as usize;
    let is_plain =
        reader.source.line(place.line).chars().skip(ahead).take(text.chars().count()).eq(text.chars());
    if is_plain && end <= place.end_column {
        place.column = start;
        place.end_column = end.max(start + 1);
    }
    reader.say(severity, place, finding.code, finding.message.clone(), &finding.help);
}
