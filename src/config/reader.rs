//! How a key's text becomes a value of its type, within its bounds.
//!
//! A value that does not is noted and replaced by a neutral one, so that reading goes on and everything
//! wrong is told at once; [`Reader::finish`] says nothing is wrong only when nothing was noted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::layers::{Layers, items_of};
use super::remark::remark;
use super::sources::{Placement, Sources, tidy};
use super::{ConfigErrors, Origin, Place, Problem, Setting};
use crate::model::ids::is_ticket_prefix;
use crate::model::schedule::{Zone, format_duration, format_size, parse_duration, parse_size};

/// What `timezone`, `control.socket` and others say to have lucid choose.
const AUTO: &str = "auto";
/// Stands for the folder in which systemd puts what `LoadCredential=` names.
const CREDENTIALS: &str = "${CREDENTIALS_DIRECTORY}";

pub(super) struct Reader<'a> {
    layers: Layers,
    sources: &'a Sources,
    placement: Placement,
    /// What takes effect, by key; also which keys have been read.
    values: BTreeMap<String, String>,
    faulty: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub fn new(layers: Layers, sources: &'a Sources, placement: Placement) -> Self {
        Self { layers, sources, placement, values: BTreeMap::new(), faulty: BTreeSet::new() }
    }

    /// Every key with its value and origin, in the order of the embedded file.
    pub fn finish(mut self) -> Result<Vec<Setting>, ConfigErrors> {
        if !self.layers.problems.is_empty() {
            self.layers.problems.sort_by(|a, b| a.place.cmp(&b.place));
            return Err(ConfigErrors::Refused { problems: self.layers.problems });
        }
        let values = self.values;
        let setting = |known: super::layers::Known| {
            let value = values.get(known.key.as_str()).cloned().unwrap_or(known.text);
            Setting { key: known.key, value, source: known.origin, place: known.place }
        };
        Ok(self.layers.keys.into_iter().map(setting).collect())
    }

    /// A length of time.
    pub fn duration(&mut self, key: &str, bounds: RangeInclusive<Duration>) -> Duration {
        self.parsed(key, |text| {
            let value = parse_duration(text).map_err(|error| format!("{error}; {}", error.help))?;
            within(value, &bounds, |bound| format_duration(*bound))
        })
        .unwrap_or_default()
    }

    /// A number of things.
    pub fn count<T>(&mut self, key: &str, bounds: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        self.parsed(key, |text| {
            let value = text.parse().map_err(|_| format!("`{text}` is not a whole number"))?;
            within(value, &bounds, ToString::to_string)
        })
        .unwrap_or(*bounds.start())
    }

    /// A number of bytes.
    pub fn size(&mut self, key: &str, bounds: RangeInclusive<u64>) -> u64 {
        self.parsed(key, |text| {
            let value = parse_size(text).map_err(|error| format!("{error}; {}", error.help))?;
            within(value, &bounds, |bound| format_size(*bound))
        })
        .unwrap_or_default()
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &str, first: (&str, T), others: &[(&str, T)]) -> T {
        self.parsed(key, |text| {
            let mut all = std::iter::once(&first).chain(others);
            let found = all.clone().find(|(word, _)| word.eq_ignore_ascii_case(text));
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<&str> = all.by_ref().map(|(word, _)| *word).collect();
                format!("`{text}` is none of {}", words.join(", "))
            })
        })
        .unwrap_or(first.1)
    }

    /// Yes or no.
    pub fn boolean(&mut self, key: &str) -> bool {
        self.parsed(key, |text| match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        })
        .unwrap_or_default()
    }

    /// A text that is not empty.
    pub fn text(&mut self, key: &str) -> String {
        self.parsed(
            key,
            |text| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) },
        )
        .unwrap_or_default()
    }

    /// A text, of which an empty one means nothing.
    pub fn optional(&mut self, key: &str) -> Option<String> {
        self.parsed(key, |text| Ok(text.to_owned())).filter(|text| !text.is_empty())
    }

    /// A value of a kind of its own; an empty text is none.
    pub fn optional_as<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.parsed(key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) }).flatten()
    }

    /// The path of a file with a secret, made absolute from `base` on; empty is none. What systemd hands over
    /// lies in a folder of which only the variable is known.
    pub fn credential(
        &mut self,
        key: &str,
        base: &Path,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<PathBuf> {
        let sources = self.sources;
        let path = self.parsed(key, |text| {
            check(text)?;
            match text.strip_prefix(CREDENTIALS) {
                _ if text.is_empty() => Ok(None),
                Some(below) => Ok(Some(sources.credentials().map_or_else(
                    // Elsewhere than in the service there is no such folder, and nothing to read.
                    || PathBuf::from(text),
                    |folder| tidy(&folder.join(below.trim_start_matches('/'))),
                ))),
                None => absolute(text, base, sources).map(Some),
            }
        });
        let path = path.flatten()?;
        self.values.insert(key.to_owned(), path.display().to_string());
        Some(path)
    }

    /// What the ids of tickets begin with.
    pub fn ticket_prefix(&mut self, key: &'static str) -> String {
        self.parsed(key, |text| {
            let good = is_ticket_prefix(text).then(|| text.to_owned());
            good.ok_or_else(|| format!("`{text}` is no capital followed by up to 9 capitals or digits"))
        })
        .unwrap_or_default()
    }

    /// Permissions in octal, none for others.
    pub fn mode(&mut self, key: &str) -> u32 {
        self.parsed(key, |text| match u32::from_str_radix(text, 8) {
            Ok(mode) if mode > 0o777 => Err(format!("`{text}` is more than 0777")),
            Ok(mode) if mode & 0o007 != 0 => Err(format!("`{text}` lets everybody in; the last digit is 0")),
            Ok(mode) if mode & 0o600 != 0o600 => Err(format!("`{text}` shuts the owner out")),
            Ok(mode) => Ok(mode),
            Err(_) => Err(format!("`{text}` is not an octal mode such as 0660")),
        })
        .unwrap_or_default()
    }

    /// A time zone; `auto` is the machine's.
    pub fn zone(&mut self, key: &str) -> Zone {
        let auto = self.sources.default_zone();
        let zone = self.parsed(key, |text| {
            if text.eq_ignore_ascii_case(AUTO) {
                return Ok(auto);
            }
            Zone::parse(text).map_err(|error| format!("{error}; {}", error.help))
        });
        let zone = zone.unwrap_or(Zone::UTC);
        self.values.insert(key.to_owned(), zone.name().to_owned());
        zone
    }

    /// A path, made absolute from `base` on; `~/` is the home folder.
    pub fn path(&mut self, key: &str, base: &Path) -> PathBuf {
        let sources = self.sources;
        let path = self.parsed(key, |text| absolute(text, base, sources)).unwrap_or_default();
        self.values.insert(key.to_owned(), path.display().to_string());
        path
    }

    /// The control socket; `auto` goes with the place of the config file.
    pub fn socket(&mut self, key: &str, root: &Path, state_dir: &Path) -> PathBuf {
        let auto = self.sources.default_socket(self.placement, state_dir);
        self.path_or_auto(key, root, auto)
    }

    /// A path, made absolute from `base` on; `auto` is the one given.
    pub fn path_or_auto(&mut self, key: &str, base: &Path, auto: PathBuf) -> PathBuf {
        if self.parsed(key, |text| Ok(text.eq_ignore_ascii_case(AUTO))).unwrap_or_default() {
            self.values.insert(key.to_owned(), auto.display().to_string());
            return auto;
        }
        self.path(key, base)
    }

    /// Several texts, each of which `check` has nothing against.
    pub fn list(&mut self, key: &str, check: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
        self.parsed(key, |text| {
            let items = items_of(text);
            items.iter().try_for_each(|item| check(item))?;
            Ok(items)
        })
        .unwrap_or_default()
    }

    /// A program and its arguments: a list, or one word. No shell reads it, so a text of several words is refused.
    pub fn argv(&mut self, key: &str) -> Vec<String> {
        let items = self.list(key, |_| Ok(()));
        let Some(known) = self.layers.keys.iter().find(|known| known.key == key) else { return items };
        let is_list = known.text.trim_start().starts_with('[');
        if is_list
            || self.faulty.contains(key)
            || !items.iter().any(|item| item.contains(char::is_whitespace))
        {
            return items;
        }
        let text = known.text.trim();
        let last = key.rsplit('.').next().unwrap_or(key);
        let is_plain =
            text.chars().all(|c| c.is_ascii_alphanumeric() || c.is_whitespace() || "/._=:-".contains(c));
        let words: Vec<&str> =
            if is_plain { text.split_whitespace().collect() } else { vec!["/bin/sh", "-c", text] };
        let list = serde_json::to_string(&words).unwrap_or_default();
        let written = match &known.place {
            Place::Env(name) => format!("{name}='{list}'"),
            Place::Line { .. } | Place::Path(_) | Place::Embedded => format!("{last}: {list}"),
        };
        let message = format!("{key}: a text of several words; no shell reads it, a list belongs here");
        let problem = Problem::new(known.place.clone(), message).help(Some(format!("write `{written}`")));
        self.faulty.insert(key.to_owned());
        self.layers.problems.push(problem);
        items
    }

    /// Several paths, each made absolute from `base` on.
    pub fn paths(&mut self, key: &str, base: &Path) -> Vec<PathBuf> {
        let sources = self.sources;
        let paths = self.parsed(key, |text| {
            items_of(text).iter().map(|item| absolute(item, base, sources)).collect::<Result<Vec<_>, _>>()
        });
        paths.unwrap_or_default()
    }

    /// A text that `check` has nothing against.
    pub fn checked(&mut self, key: &str, check: impl Fn(&str) -> Result<(), String>) -> String {
        self.parsed(key, |text| check(text).map(|()| text.to_owned())).unwrap_or_default()
    }

    /// The names below a section that users name themselves.
    pub fn members(&self, section: &str) -> Vec<String> {
        self.layers.members(section)
    }

    /// Notes that two settings, each fine by itself, do not go together. Told at the one that was set.
    pub fn contradiction(&mut self, keys: [&str; 2], message: &str) {
        if keys.iter().any(|key| self.faulty.contains(*key)) {
            return;
        }
        let found: Vec<_> =
            self.layers.keys.iter().filter(|known| keys.contains(&known.key.as_str())).collect();
        let set = found.iter().find(|known| known.origin != Origin::Default).or(found.first());
        let place = set.map_or(Place::Embedded, |known| known.place.clone());
        self.layers.problems.push(Problem::new(place, message.to_owned()));
    }

    fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let known = self.layers.keys.iter().find(|known| known.key == key);
        let (parsed, place) = match known {
            Some(known) if known.text.contains('\0') => {
                (Err("holds a NUL byte, and nothing takes one".to_owned()), known.place.clone())
            }
            Some(known) => (parse(known.text.trim()), known.place.clone()),
            None => (Err("is not in the embedded file".to_owned()), Place::Embedded),
        };
        match parsed {
            Ok(value) => {
                self.values
                    .entry(key.to_owned())
                    .or_insert_with(|| known.map(|known| known.text.clone()).unwrap_or_default());
                Some(value)
            }
            Err(why) => {
                self.faulty.insert(key.to_owned());
                let problem = Problem::new(place, format!("{key}: {why}")).help(remark(key));
                self.layers.problems.push(problem);
                None
            }
        }
    }
}

fn absolute(text: &str, base: &Path, sources: &Sources) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty; a path belongs here".to_owned());
    }
    let Some(below) = text.strip_prefix('~') else {
        return Ok(tidy(&base.join(text)));
    };
    match (&sources.home, below.strip_prefix('/')) {
        (Some(home), Some(rest)) => Ok(tidy(&home.join(rest))),
        (Some(home), None) if below.is_empty() => Ok(home.clone()),
        (Some(_), None) => Err(format!("`{text}`: only `~/` is understood, no other user's home")),
        (None, _) => Err(format!("`{text}`: no home folder is known")),
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    bounds: &RangeInclusive<T>,
    shown: impl Fn(&T) -> String,
) -> Result<T, String> {
    if value < *bounds.start() {
        Err(format!("{} is less than {}", shown(&value), shown(bounds.start())))
    } else if value > *bounds.end() {
        Err(format!("{} is more than {}", shown(&value), shown(bounds.end())))
    } else {
        Ok(value)
    }
}
