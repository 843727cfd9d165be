//! Single values: what a text behind a key means, and what is said when it means nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::diagnose::Place;
use super::fields::{Flag, Reader};
use super::keys;
use super::names;
use super::yaml::{Content, Node};
use crate::model::schedule::{Zone, code, parse_duration, parse_size};
pub use crate::model::text::shown;

/// A backoff multiplies the wait by at most this.
const FACTOR_MAX_MILLI: u32 = 100_000;

pub fn wrong(reader: &mut Reader<'_>, name: &str, node: &Node, wanted: &str) {
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
    reader.error(place, "E102", format!("`{name}` takes {wanted}, not {given}"), &keys::example(name));
}

pub fn plain<'n>(reader: &mut Reader<'_>, name: &str, node: &'n Node, wanted: &str) -> Option<&'n str> {
    if let Content::Text(text) = &node.content {
        return Some(text);
    }
    wrong(reader, name, node, wanted);
    None
}

pub fn text(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "a text")?;
    whole(reader, name, node, text)
}

/// A text without the one character that no program can be given.
pub fn whole(reader: &mut Reader<'_>, name: &str, node: &Node, text: &str) -> Option<String> {
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

pub fn flag(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Flag> {
    let text = plain(reader, name, node, "a boolean")?;
    let flag = flag_word(text);
    if flag.is_none() {
        let help = "write true, false, yes, no, on, off, 1 or 0; the task does not run until then";
        reader.error(node.place, "E103", format!("`{}` is no boolean", shown(text)), help);
    }
    flag
}

pub fn duration(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Duration> {
    let text = plain(reader, name, node, "a duration")?;
    match parse_duration(text) {
        Ok(duration) => Some(duration),
        Err(error) => {
            reader.error(node.place, "E105", format!("`{name}`: {}", error.message), &error.help);
            None
        }
    }
}

pub fn size(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<u64> {
    let text = plain(reader, name, node, "a size")?;
    match parse_size(text) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            reader.error(node.place, "E106", format!("`{name}`: {}", error.message), &error.help);
            None
        }
    }
}

pub fn number(reader: &mut Reader<'_>, name: &str, node: &Node, min: u32, max: u32) -> Option<u32> {
    let text = plain(reader, name, node, "a whole number")?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse::<u32>().ok().filter(|n| digits && (min..=max).contains(n));
    if number.is_none() {
        let message = format!("`{name}`: `{}` is no whole number from {min} to {max}", shown(text));
        reader.error(node.place, "E107", message, &keys::example(name));
    }
    number
}

pub fn money(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "an amount")?;
    let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole) && digits(cents) {
        return Some(text.to_owned());
    }
    let message = format!("`{name}`: `{}` is no amount", shown(text));
    reader.error(node.place, "E107", message, &keys::example(name));
    None
}

pub fn factor(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<u32> {
    let text = plain(reader, name, node, "a number")?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let milli = (digits(whole) && digits(part) && part.len() <= 3)
        .then(|| Some((whole.parse::<u32>().ok()?, format!("{part:0<3}").parse::<u32>().ok()?)))
        .flatten()
        .and_then(|(whole, milli)| whole.checked_mul(1000)?.checked_add(milli))
        .filter(|milli| (1000..=FACTOR_MAX_MILLI).contains(milli));
    if milli.is_none() {
        let message = format!("`{name}`: `{}` is no number from 1 to 100", shown(text));
        reader.error(node.place, "E107", message, &keys::example(name));
    }
    milli
}

pub fn instant(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Timestamp> {
    let text = plain(reader, name, node, "a time")?;
    match text.parse() {
        Ok(at) => Some(at),
        Err(_) => {
            let message = format!("`{}` is no RFC 3339 time", shown(text));
            reader.error(node.place, "E109", message, "write it like 2027-01-31T08:00:00Z");
            None
        }
    }
}

pub fn choice(reader: &mut Reader<'_>, name: &str, node: &Node, choices: &[&str]) -> Option<String> {
    let text = plain(reader, name, node, "one word")?;
    is_choice(reader, name, text, node.place, choices).then(|| text.to_owned())
}

/// Whether `text` is one of the words; says at `place` that it is not.
pub fn is_choice(reader: &mut Reader<'_>, name: &str, text: &str, place: Place, choices: &[&str]) -> bool {
    if choices.contains(&text) {
        return true;
    }
    let meant = names::near(choices.iter().copied(), text)
        .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    let message = format!("`{name}` cannot be `{}`{meant}", shown(text));
    reader.error(place, "E108", message, &format!("one of {}", choices.join(", ")));
    false
}

pub fn variable(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<String> {
    let text = plain(reader, name, node, "names of variables")?;
    is_variable(text).then(|| text.to_owned()).or_else(|| {
        let message = format!("`{}` is no variable name", shown(text));
        reader.error(node.place, "E121", message, "letters, digits and `_`, no digit first");
        None
    })
}

pub fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

pub fn zone(reader: &mut Reader<'_>, name: &str, node: &Node) -> Option<Zone> {
    let text = plain(reader, name, node, "a time zone")?;
    match Zone::parse(text) {
        Ok(zone) => Some(zone),
        Err(error) => {
            reader.error(node.place, code::UNKNOWN_ZONE, error.to_string(), &error.help);
            None
        }
    }
}
