//! Values of a front-matter, read by the table of keys.
//!
//! Owns which keys are known and what a diagnostic about a value looks like; what a value of each
//! shape is, is `shapes`' business.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::diagnose::{Diagnostic, Place, Severity, Source};
use super::keys::Key;
use super::names;
use super::shapes;
use super::yaml::Pair;
use crate::model::schedule::{Schedule, Zone};
use crate::model::task::Command;

/// Collects what is found while a file is read.
pub struct Reader<'a> {
    pub file: &'a Path,
    pub source: &'a Source<'a>,
    pub found: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub fn say(&mut self, severity: Severity, place: Place, code: &'static str, message: String, help: &str) {
        let mut diagnostic = Diagnostic::at(self.file, self.source, place, severity, code, message);
        if !help.is_empty() {
            diagnostic = diagnostic.with_help(help);
        }
        self.found.push(diagnostic);
    }

    pub fn error(&mut self, place: Place, code: &'static str, message: String, help: &str) {
        self.say(Severity::Error, place, code, message, help);
    }

    /// A finding with a second place.
    pub fn error_with(
        &mut self,
        place: Place,
        code: &'static str,
        message: String,
        help: &str,
        other: (Place, &str),
    ) {
        self.error(place, code, message, help);
        if let Some(last) = self.found.pop() {
            self.found.push(last.with_label(self.source, other.0, other.1));
        }
    }
}

#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Flag(Flag),
    Duration(Duration),
    Size(u64),
    Count(u32),
    /// In thousandths.
    Factor(u32),
    Instant(Timestamp),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
    Schedule(Schedule),
    Zone(Zone),
    Command(Command),
    Environment(BTreeMap<String, String>),
    Group(Fields),
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    On,
    Off,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub key: &'static Key,
    pub key_place: Place,
    pub place: Place,
    pub value: Value,
}

/// The keys of one map that were read without an error.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// Reads `pairs` by `keys`; `holder` is the key that the map stands behind, or empty.
    pub fn read(reader: &mut Reader<'_>, keys: &'static [Key], holder: &str, pairs: &[Pair]) -> Self {
        let mut fields = Vec::new();
        for pair in pairs {
            if let Some(key) = Key::find(keys, &pair.key) {
                let name = dotted(holder, key.name);
                if let Some(value) = shapes::read(reader, key, &name, &pair.value) {
                    fields.push(Field { key, key_place: pair.place, place: pair.value.place, value });
                }
            } else if !pair.key.starts_with("x-") {
                unknown(reader, keys, holder, pair, pairs);
            }
        }
        Self(fields)
    }

    /// One field that the file gives in short form.
    pub fn one(key: &'static Key, place: Place, value: Value) -> Self {
        Self(vec![Field { key, key_place: place, place, value }])
    }

    pub fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().find(|field| field.key.name == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match &self.get(name)?.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> Option<Flag> {
        match self.get(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub fn size(&self, name: &str) -> Option<u64> {
        match self.get(name)?.value {
            Value::Size(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn count(&self, name: &str) -> Option<u32> {
        match self.get(name)?.value {
            Value::Count(count) => Some(count),
            _ => None,
        }
    }

    pub fn factor_milli(&self, name: &str) -> Option<u32> {
        match self.get(name)?.value {
            Value::Factor(milli) => Some(milli),
            _ => None,
        }
    }

    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        match self.get(name)?.value {
            Value::Instant(at) => Some(at),
            _ => None,
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name).map(|field| &field.value) {
            Some(Value::Texts(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    pub fn numbers(&self, name: &str) -> Option<Vec<i32>> {
        match &self.get(name)?.value {
            Value::Numbers(numbers) => Some(numbers.clone()),
            _ => None,
        }
    }

    pub fn schedule(&self) -> Option<&Schedule> {
        match &self.get("schedule")?.value {
            Value::Schedule(schedule) => Some(schedule),
            _ => None,
        }
    }

    pub fn zone(&self) -> Option<&Zone> {
        match &self.get("timezone")?.value {
            Value::Zone(zone) => Some(zone),
            _ => None,
        }
    }

    pub fn command(&self, name: &str) -> Option<Command> {
        match &self.get(name)?.value {
            Value::Command(command) => Some(command.clone()),
            _ => None,
        }
    }

    pub fn environment(&self) -> BTreeMap<String, String> {
        match self.get("env").map(|field| &field.value) {
            Some(Value::Environment(map)) => map.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// The keys inside `name`; none of them when it is not given as a map.
    pub fn group(&self, name: &str) -> Fields {
        match self.get(name).map(|field| &field.value) {
            Some(Value::Group(fields)) => fields.clone(),
            _ => Fields::default(),
        }
    }

    /// Whether the key was given as `off`.
    pub fn is_off(&self, name: &str) -> bool {
        self.flag(name) == Some(Flag::Off)
    }
}

pub fn dotted(holder: &str, name: &str) -> String {
    if holder.is_empty() { name.to_owned() } else { format!("{holder}.{name}") }
}

fn unknown(reader: &mut Reader<'_>, keys: &'static [Key], holder: &str, pair: &Pair, beside: &[Pair]) {
    let shown: String = pair.key.chars().take(64).collect();
    let is_top = holder.is_empty();
    if is_top && matches!(pair.key.as_str(), "depends_on" | "needs") {
        let message = format!("unknown key `{shown}`: a task does not wait for another");
        let help = "run both in one command; `lock:` keeps two tasks from running at once";
        reader.error(pair.place, "E101", message, help);
        return;
    }
    let meant = names::synonym(&pair.key).filter(|_| is_top);
    let meant = meant.or_else(|| names::near(keys.iter().map(|key| key.name), &pair.key));
    match meant.and_then(|name| Key::find(keys, name)) {
        Some(meant) => {
            let help = match meant.default {
                _ if beside.iter().any(|other| other.key == meant.name) => {
                    format!("`{}` is there already: remove this line", meant.name)
                }
                "" => String::new(),
                default => format!("without it the default of {default} applies"),
            };
            let message = format!("unknown key `{shown}`, did you mean `{}`?", meant.name);
            reader.error(pair.place, "E101", message, &help);
        }
        None => {
            let place = if is_top { String::new() } else { format!(" in `{holder}`") };
            reader.say(
                Severity::Warning,
                pair.place,
                "W101",
                format!("unknown key `{shown}`{place}: it has no effect"),
                "remove it, or put it under `meta:` or behind `x-`",
            );
        }
    }
}
