//! A YAML text as flat entries, `scheduler.tick` → `5s`, each with its place.
//!
//! Values stay text here, as they are written: what `0660` or `on` means is for the key's type to say.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::problem::{Place, Problem};

/// Largest config file, bytes.
const FILE_MAX: u64 = 256 * 1024;

/// One key of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Dotted path.
    pub key: String,
    pub value: Value,
    /// Where the key stands.
    pub place: Place,
    /// Where its value stands.
    pub value_place: Place,
}

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// Nothing after the colon, or `null`.
    Empty,
    /// Its items; one that is no word is empty.
    List(Vec<String>),
    /// A section; its keys are entries of their own.
    Section,
}

/// The text of a file, or why it cannot be read.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("is larger than {} KiB", FILE_MAX / 1024));
    }
    Ok(text)
}

/// All entries, in the order of the text, and what is wrong with the text as such.
pub(super) fn parse(text: &str, path: &Path) -> (Vec<Entry>, Vec<Problem>) {
    let options = serde_yaml::options! {
        // Repeated keys come to us, so that all of them are reported.
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_yaml::MergeKeyPolicy::AsOrdinary,
        with_snippet: false,
    };
    let mut walk = Walk { text, path, entries: Vec::new(), problems: Vec::new() };
    match serde_yaml::from_str_with_options::<Option<Spanned<Node>>>(text, options) {
        Ok(None) => {}
        Ok(Some(root)) => match root.value {
            Node::Map(pairs) => walk.section("", pairs),
            Node::Null => {}
            Node::Text(_) | Node::Plain | Node::List(_) => {
                let message = "a config is `key: value` lines".to_owned();
                walk.problems.push(Problem::new(walk.place(root.defined), message));
            }
        },
        Err(error) => {
            let place = error.location().map_or(Place::Path(path.to_owned()), |at| walk.place(at));
            let message = format!("not YAML: {}", one_line(error.without_snippet()));
            walk.problems.push(Problem::new(place, message));
        }
    }
    (walk.entries, walk.problems)
}

/// The message alone: the place is told in our own way.
fn one_line(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("").trim_start_matches("error:").trim();
    let cut = line.rfind(" at line ").unwrap_or(line.len());
    line[..cut].to_owned()
}

struct Walk<'a> {
    text: &'a str,
    path: &'a Path,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn section(&mut self, prefix: &str, pairs: Vec<(Spanned<Key>, Spanned<Node>)>) {
        for (key, node) in pairs {
            let name = match key.value.0 {
                Some(name) => format!("{prefix}{name}"),
                None => format!("{prefix}{}", self.raw(key.defined)),
            };
            let place = self.place(key.referenced);
            let value_place = self.place(node.referenced);
            let mut push = |key: String, value| {
                self.entries.push(Entry {
                    key,
                    value,
                    place: place.clone(),
                    value_place: value_place.clone(),
                });
            };
            match node.value {
                Node::Text(text) => push(name, Value::Text(text)),
                Node::Null => push(name, Value::Empty),
                Node::List(items) => {
                    let items = items.into_iter().map(|item| self.item(item)).collect();
                    self.entries.push(Entry { key: name, value: Value::List(items), place, value_place });
                }
                Node::Plain => {
                    let text = self.raw(node.defined);
                    self.entries.push(Entry { key: name, value: Value::Text(text), place, value_place });
                }
                Node::Map(pairs) => {
                    push(name.clone(), Value::Section);
                    self.section(&format!("{name}."), pairs);
                }
            }
        }
    }

    fn item(&self, item: Spanned<Node>) -> String {
        match item.value {
            Node::Text(text) => text,
            Node::Plain => self.raw(item.defined),
            Node::Null | Node::List(_) | Node::Map(_) => String::new(),
        }
    }

    fn raw(&self, at: serde_yaml::Location) -> String {
        let range = at.span().byte_offset().zip(at.span().byte_len()).and_then(|(from, len)| {
            let from = usize::try_from(from).ok()?;
            self.text.get(from..from.checked_add(usize::try_from(len).ok()?)?)
        });
        range.unwrap_or("").trim().to_owned()
    }

    fn place(&self, at: serde_yaml::Location) -> Place {
        Place::Line { path: self.path.to_owned(), line: at.line(), column: at.column() }
    }
}

/// A key as text; `None` where YAML takes it for something else, then the raw text counts.
struct Key(Option<String>);

enum Node {
    Text(String),
    /// A number or a boolean: its raw text counts.
    Plain,
    Null,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<Key>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Text(text) => Ok(Self(Some(text))),
            Node::Plain | Node::Null => Ok(Self(None)),
            Node::List(_) | Node::Map(_) => Err(D::Error::custom("a key is a word, not a list or a section")),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value or a section")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Map(pairs))
    }
}
