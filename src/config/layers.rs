//! The three layers on top of each other: embedded default, file, environment. A name that no key of
//! the embedded file bears is refused here, with the one that may have been meant.

use std::collections::HashMap;
use std::path::Path;

use super::environment::{self, Variable};
use super::family::{self, Family};
use super::file::{self, Entry, Value};
use super::{EMBEDDED, Origin, Place, Problem, nearest};

/// Every key with the text that counts, and what is wrong so far.
pub(super) struct Layers {
    pub keys: Vec<Known>,
    pub problems: Vec<Problem>,
    sections: Vec<String>,
    families: Vec<Family>,
}

/// One key of the embedded file and what it is set to.
pub(super) struct Known {
    pub key: String,
    pub text: String,
    pub origin: Origin,
    /// Where its value stands.
    pub place: Place,
    pub shape: Shape,
}

/// How many values a key takes. The text of a list has commas, or is JSON where an item has one or a space; that of a
/// map is a list of `NAME=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
}

/// What of `key` comes after `above` and a dot.
fn below<'a>(key: &'a str, above: &str) -> Option<&'a str> {
    key.strip_prefix(above)?.strip_prefix('.')
}

/// The text of a list.
pub(super) fn list_text(items: &[String]) -> String {
    if items
        .iter()
        .any(|item| item.contains(|c: char| c == ',' || c.is_whitespace()) || item.starts_with('['))
    {
        return serde_json::to_string(items).unwrap_or_default();
    }
    items.join(",")
}

/// The items of a list's text.
pub(super) fn items_of(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    if text.starts_with('[')
        && let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text)
        && let Some(items) = items.into_iter().map(word).collect()
    {
        return items;
    }
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

/// A word, a number or a boolean as text.
fn word(value: serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(value.to_string()),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    }
}

impl Layers {
    /// The embedded defaults; `placed` gives those that depend on where the file lies.
    pub fn embedded(placed: impl Fn(&str) -> Option<String>) -> Self {
        let (entries, problems) = file::parse(EMBEDDED, Path::new("lucid.yaml"));
        let families = family::all();
        let mut layers = Self { keys: Vec::new(), problems, sections: Vec::new(), families };
        for entry in entries {
            let is_family = layers.families.iter().any(|family| family.section == entry.key);
            match entry.value {
                Value::Section => layers.sections.push(entry.key),
                Value::Empty if is_family => layers.sections.push(entry.key),
                Value::Text(text) => layers.keys.push(Known {
                    text: placed(&entry.key).unwrap_or(text),
                    key: entry.key,
                    origin: Origin::Default,
                    place: Place::Embedded,
                    shape: Shape::One,
                }),
                Value::List(items) => layers.keys.push(Known {
                    text: list_text(&items),
                    key: entry.key,
                    origin: Origin::Default,
                    place: Place::Embedded,
                    shape: Shape::List,
                }),
                Value::Empty => {
                    let message = format!("{} has no value", entry.key);
                    layers.problems.push(Problem::new(Place::Embedded, message));
                }
            }
        }
        layers
    }

    /// Puts the file's entries on top.
    pub fn add_file(&mut self, entries: Vec<Entry>) {
        let mut first: HashMap<String, Place> = HashMap::new();
        let mut refused: Vec<String> = Vec::new();
        for entry in entries {
            // What is below a name that nobody knows is not told as well.
            if refused.iter().any(|above| entry.key.starts_with(above)) {
                continue;
            }
            self.found(&entry, &mut refused);
            if self.set_in_map(&entry) {
                continue;
            }
            if refused.iter().any(|above| entry.key.starts_with(above) || *above == format!("{}.", entry.key))
            {
                continue;
            }
            if let Some(Place::Line { line, .. }) = first.insert(entry.key.clone(), entry.place.clone()) {
                let message = format!("`{}` is set again; line {line} has it already", entry.key);
                self.problems.push(Problem::new(entry.place, message));
            } else if self.section(&entry.key) {
                self.check_section(&entry);
            } else if let Some(index) = self.keys.iter().position(|known| known.key == entry.key) {
                if matches!(entry.value, Value::Section) && self.keys[index].shape != Shape::Map {
                    refused.push(format!("{}.", entry.key));
                }
                self.set_from_file(index, entry);
            } else {
                refused.push(format!("{}.", entry.key));
                let message = format!("unknown key `{}`{}", entry.key, self.advice(&entry.key));
                self.problems.push(Problem::new(entry.place, message));
            }
        }
    }

    /// Where `entry` names a new member of a family, gives it the keys of one.
    fn found(&mut self, entry: &Entry, refused: &mut Vec<String>) {
        let Some((section, name)) = entry.key.split_once('.') else { return };
        let Some(family) = self.families.iter().find(|family| family.section == section) else { return };
        if name.contains('.') || self.section(&entry.key) {
            return;
        }
        if let Err(why) = family::check_name(name) {
            self.problems.push(Problem::new(entry.place.clone(), format!("{}: {why}", entry.key)));
            refused.push(format!("{}.", entry.key));
            return;
        }
        self.keys.extend(family.member(name, &entry.place));
        self.sections.push(entry.key.clone());
    }

    /// Adds `entry` to the map that it lies below, if it lies below one.
    fn set_in_map(&mut self, entry: &Entry) -> bool {
        let is_above =
            |known: &&mut Known| known.shape == Shape::Map && below(&entry.key, &known.key).is_some();
        let Some(map) = self.keys.iter_mut().find(is_above) else { return false };
        let name = below(&entry.key, &map.key).unwrap_or_default();
        let wrong = match &entry.value {
            Value::Text(text) => {
                let mut items = items_of(&map.text);
                items.push(format!("{name}={text}"));
                map.text = list_text(&items);
                if let Place::Line { path, line, .. } = &entry.value_place {
                    map.origin = Origin::File { path: path.clone(), line: *line };
                }
                return true;
            }
            Value::Empty => "has no value; an empty text is \"\"",
            Value::List(_) => "takes one value, not a list",
            Value::Section => "takes one value, not a section",
        };
        let message = format!("`{}` {wrong}", entry.key);
        self.problems.push(Problem::new(entry.value_place.clone(), message));
        true
    }

    /// The names in a family, in the order of the file.
    pub fn members(&self, section: &str) -> Vec<String> {
        let below = self.sections.iter().filter_map(|name| name.strip_prefix(section)?.strip_prefix('.'));
        below.map(str::to_owned).collect()
    }

    fn check_section(&mut self, entry: &Entry) {
        match entry.value {
            Value::Section | Value::Empty => {}
            Value::Text(_) | Value::List(_) => {
                let message = format!(
                    "`{}` is a section and takes no value itself; {}",
                    entry.key,
                    self.offer(&entry.key)
                );
                self.problems.push(Problem::new(entry.value_place.clone(), message));
            }
        }
    }

    fn set_from_file(&mut self, index: usize, entry: Entry) {
        let known = &mut self.keys[index];
        let value = match (entry.value, known.shape) {
            (Value::List(items), Shape::List) => Value::Text(list_text(&items)),
            (Value::Empty, Shape::List | Shape::Map) => Value::Text(String::new()),
            // Its entries come one by one.
            (Value::Section, Shape::Map) => return,
            (value, Shape::One | Shape::List | Shape::Map) => value,
        };
        let wrong = match value {
            Value::Text(text) => {
                if let Place::Line { path, line, .. } = &entry.value_place {
                    known.origin = Origin::File { path: path.clone(), line: *line };
                }
                known.text = text;
                known.place = entry.value_place;
                return;
            }
            Value::Empty => "has no value; remove the line to take the default",
            Value::List(_) => "takes one value, not a list",
            Value::Section => "takes one value, not a section",
        };
        let message = format!("`{}` {wrong}", entry.key);
        self.problems.push(Problem::new(entry.value_place, message));
    }

    /// Puts the environment on top.
    pub fn add_environment(&mut self, variables: Vec<Variable>) {
        let names: Vec<String> = self.keys.iter().map(|known| environment::name_of(&known.key)).collect();
        let mut set: HashMap<(usize, String), String> = HashMap::new();
        for Variable { name, value } in variables {
            let place = Place::Env(name.clone());
            let upper = name.to_uppercase();
            let found = names.iter().position(|known| *known == upper).map(|index| (index, String::new()));
            let Some((index, below)) = found.or_else(|| self.in_map(&names, &name)) else {
                let message = self.unknown_variable(&upper);
                self.problems.push(Problem::new(place, message));
                continue;
            };
            let Some(value) = value else {
                self.problems.push(Problem::new(place, "is not UTF-8".to_owned()));
                continue;
            };
            if let Some(other) = set.insert((index, below.clone()), name.clone()) {
                let message = format!("{other} sets the same key");
                self.problems.push(Problem::new(place, message));
                continue;
            }
            let known = &mut self.keys[index];
            if below.is_empty() {
                known.text = value;
            } else {
                let mut items = items_of(&known.text);
                items.retain(|item| item.split_once('=').is_none_or(|(name, _)| name != below));
                items.push(format!("{below}={value}"));
                known.text = list_text(&items);
            }
            known.origin = Origin::Env { name };
            known.place = place;
        }
    }

    /// The map that a variable names an entry of, and the entry's name as it is spelled there.
    fn in_map(&self, names: &[String], variable: &str) -> Option<(usize, String)> {
        let upper = variable.to_uppercase();
        names.iter().zip(&self.keys).enumerate().find_map(|(index, (name, known))| {
            let below = upper.strip_prefix(name.as_str())?.strip_prefix("__")?;
            let spelled = variable.get(variable.len().checked_sub(below.len())?..)?;
            (known.shape == Shape::Map && !spelled.is_empty()).then(|| (index, spelled.to_owned()))
        })
    }

    /// What to say of a variable that is below no member of a family.
    fn no_member(&self, key: &str) -> Option<String> {
        let (section, rest) = key.split_once('.')?;
        self.families.iter().find(|family| family.section == section)?;
        let (name, _) = rest.split_once('.').unwrap_or((rest, ""));
        let members = self.members(section);
        if members.iter().any(|member| member.replace('-', "_") == name) {
            return None;
        }
        let there = match members.as_slice() {
            [] => "the file has none".to_owned(),
            members => format!("the file has {}", members.join(", ")),
        };
        Some(format!(
            "there is no `{section}.{name}`: {there}, and a variable only changes what is in the file"
        ))
    }

    fn unknown_variable(&self, upper: &str) -> String {
        let key = environment::key_of(upper);
        if self.section(&key) {
            let names: Vec<String> = self.below(&key).into_iter().map(environment::name_of).collect();
            return format!("is a section; its settings are {}", names.join(", "));
        }
        if let Some(why) = self.no_member(&key) {
            return why;
        }
        let near = self.meant(&key).map(environment::name_of);
        let near = near.or_else(|| environment::nearest_let_through(upper).map(str::to_owned));
        match near {
            Some(near) => format!("no such setting, did you mean {near}?"),
            None => "no such setting; `lucid config --effective` lists them, `.` is written `__`".to_owned(),
        }
    }

    /// What to write in place of a key that nobody knows.
    fn advice(&self, key: &str) -> String {
        match (self.meant(key), key.split_once('.')) {
            (Some(near), _) => format!(", did you mean `{near}`?"),
            (None, Some((section, _))) => format!("; {}", self.offer(section)),
            (None, None) => {
                let top: Vec<&str> =
                    self.sections.iter().map(String::as_str).filter(|name| !name.contains('.')).collect();
                format!("; sections are {}", top.join(", "))
            }
        }
    }

    /// The key or section nearest to `key`: below its section first, then anywhere under its last name.
    fn meant(&self, key: &str) -> Option<&str> {
        let all = || self.keys.iter().map(|known| &known.key).chain(&self.sections).map(String::as_str);
        let bears = |last: &str| all().find(|name| name.rsplit('.').next() == Some(last));
        let Some((section, last)) = key.rsplit_once('.').filter(|(section, _)| self.section(section)) else {
            return bears(key).or_else(|| nearest(key, all()));
        };
        let below = self.below(section);
        let names = || below.iter().map(|name| &name[section.len() + 1..]);
        let near = nearest(last, names()).and_then(|near| names().position(|name| name == near));
        near.map(|index| below[index]).or_else(|| bears(last))
    }

    fn section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section == name)
    }

    /// The names below a section, in words.
    fn offer(&self, section: &str) -> String {
        if self.families.iter().any(|family| family.section == section) {
            return "below it are sections under names of yours".to_owned();
        }
        let names: Vec<&str> = self.below(section).iter().map(|key| &key[section.len() + 1..]).collect();
        format!("below it are {}", names.join(", "))
    }

    fn below(&self, section: &str) -> Vec<&str> {
        let is_below = |key: &&str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        self.keys.iter().map(|known| known.key.as_str()).filter(is_below).collect()
    }
}
