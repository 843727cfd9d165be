//! YAML as a tree of texts with their places, under a budget.
//!
//! Every scalar stays text: what it means is decided by the key it stands behind. Works on the
//! parser's events, since places are lost on serde's way through maps.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span};

use super::diagnose::Place;
use super::front::{FIRST_YAML_LINE, Quoted};

/// Nodes of one front-matter, repeats by alias included.
pub const NODES_MAX: usize = 10_000;
/// Bytes of all its texts, repeats by alias included.
pub const TEXT_MAX_BYTES: usize = 1 << 20;
/// Maps and lists inside one another.
pub const DEPTH_MAX: usize = 16;

#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing, `~` or `null`.
    Empty,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

impl Node {
    /// Whether both say the same, wherever it stands.
    pub fn equals(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Empty, Content::Empty) => true,
            (Content::Text(a), Content::Text(b)) => a == b,
            (Content::List(a), Content::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            }
            (Content::Map(a), Content::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && a.value.equals(&b.value))
            }
            (Content::Empty | Content::Text(_) | Content::List(_) | Content::Map(_), _) => false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Pair {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// What is wrong with the YAML itself.
#[derive(Debug)]
pub struct Refusal {
    pub place: Place,
    pub why: Why,
}

#[derive(Debug)]
pub enum Why {
    Syntax(String),
    /// Over a budget, which it names.
    TooMuch(String),
    /// A thing of YAML that task files do without.
    NotRead(&'static str),
    KeyIsNoText,
    Duplicate {
        key: String,
        first: Place,
    },
}

pub fn parser_options() -> granit_parser::Options {
    granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        disallow_directives: true,
    }
}

/// Reads the front-matter; `None` when it is empty.
pub fn read(yaml: &str, quoted: &[Quoted]) -> Result<Option<Node>, Refusal> {
    let mut builder = Builder { quoted, ..Builder::default() };
    for event in Parser::new_from_str_with_options(yaml, parser_options()) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        builder.take(event, &span)?;
    }
    Ok(builder.root)
}

#[derive(Default)]
struct Builder<'a> {
    quoted: &'a [Quoted],
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    bytes: usize,
    documents: usize,
    root: Option<Node>,
}

/// A map or list that is not yet closed.
struct Open {
    anchor: usize,
    place: Place,
    content: Building,
}

enum Building {
    List(Vec<Node>),
    Map(Vec<Pair>, Option<(String, Place)>),
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Refusal> {
        let place = self.place(span);
        let refuse = |why| Err(Refusal { place, why });
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse(Why::NotRead("a second document"));
                }
            }
            Event::Alias(id) => {
                let Some(mut node) = self.anchors.get(&id).cloned() else {
                    return refuse(Why::NotRead("an alias of something that is not closed yet"));
                };
                self.spend_tree(&node, place)?;
                node.place = place;
                return self.add(node);
            }
            Event::UnresolvedAlias(name) => {
                return refuse(Why::Syntax(format!("`*{name}` refers to an anchor that is not there")));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let text = match (style, tag.is_some()) {
                    (ScalarStyle::Plain, false) if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") => {
                        None
                    }
                    _ => Some(text),
                };
                refuse_custom(tag, place)?;
                self.spend(1, text.as_ref().map_or(0, |text| text.len()), place)?;
                let content = text.map_or(Content::Empty, |text| Content::Text(text.into_owned()));
                let node = Node { place, content };
                self.remember(anchor, &node);
                return self.add(node);
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_custom(tag, place)?;
                return self.open(anchor, place, Building::List(Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_custom(tag, place)?;
                return self.open(anchor, place, Building::Map(Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(),
            // The enum is not ours and may grow by presentation events.
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, place: Place, content: Building) -> Result<(), Refusal> {
        self.spend(1, 0, place)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(Refusal { place, why: Why::TooMuch(format!("more than {DEPTH_MAX} levels")) });
        }
        if let Some(Open { content: Building::Map(_, None), .. }) = self.open.last() {
            return Err(Refusal { place, why: Why::KeyIsNoText });
        }
        self.open.push(Open { anchor, place, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refusal> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let content = match open.content {
            Building::List(items) => Content::List(items),
            Building::Map(pairs, _) => Content::Map(pairs),
        };
        let node = Node { place: open.place, content };
        self.remember(open.anchor, &node);
        self.add(node)
    }

    fn add(&mut self, node: Node) -> Result<(), Refusal> {
        let place = node.place;
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Building::List(items)) => items.push(node),
            Some(Building::Map(pairs, waiting @ None)) => {
                let key = match node.content {
                    Content::Text(key) => key,
                    Content::Empty | Content::List(_) | Content::Map(_) => {
                        return Err(Refusal { place, why: Why::KeyIsNoText });
                    }
                };
                if key == "<<" {
                    return Err(Refusal { place, why: Why::NotRead("the merge key `<<`") });
                }
                if let Some(pair) = pairs.iter().find(|pair| pair.key == key) {
                    return Err(Refusal { place, why: Why::Duplicate { key, first: pair.place } });
                }
                *waiting = Some((key, place));
            }
            Some(Building::Map(pairs, waiting @ Some(_))) => {
                if let Some((key, place)) = waiting.take() {
                    pairs.push(Pair { key, place, value: node });
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn spend(&mut self, nodes: usize, bytes: usize, place: Place) -> Result<(), Refusal> {
        self.nodes += nodes;
        self.bytes += bytes;
        let limit = if self.nodes > NODES_MAX {
            format!("more than {NODES_MAX} values, repeats included")
        } else if self.bytes > TEXT_MAX_BYTES {
            format!("more than {TEXT_MAX_BYTES} bytes of text, repeats included")
        } else {
            return Ok(());
        };
        Err(Refusal { place, why: Why::TooMuch(limit) })
    }

    /// Pays for a repeated tree; stops in the middle when the budget is spent.
    fn spend_tree(&mut self, node: &Node, place: Place) -> Result<(), Refusal> {
        let mut rest = vec![node];
        while let Some(node) = rest.pop() {
            match &node.content {
                Content::Empty => self.spend(1, 0, place)?,
                Content::Text(text) => self.spend(1, text.len(), place)?,
                Content::List(items) => {
                    self.spend(1, 0, place)?;
                    rest.extend(items);
                }
                Content::Map(pairs) => {
                    self.spend(1, 0, place)?;
                    rest.extend(pairs.iter().map(|pair| &pair.value));
                }
            }
        }
        Ok(())
    }

    fn place(&self, span: &Span) -> Place {
        let (line, column) = (file_line(span.start.line()), narrow(span.start.col() + 1));
        let nth = self.quoted.partition_point(|q| (q.line, q.at) < (line, column));
        if let Some(q) = self.quoted.get(nth).filter(|q| (q.line, q.at) == (line, column)) {
            return Place { line, column: q.column, end_column: q.end_column };
        }
        let before = self.quoted[..nth].iter().rev().take_while(|q| q.line == line);
        let shift: u32 = before.map(|q| q.added).sum();
        let one_line = span.start.line() == span.end.line();
        let end = if one_line { narrow(span.end.col() + 1) } else { column + 1 };
        let (column, end) = (column.saturating_sub(shift), end.saturating_sub(shift));
        Place { line, column, end_column: end.max(column) }
    }
}

fn refuse_custom(tag: Option<Cow<'_, granit_parser::Tag>>, place: Place) -> Result<(), Refusal> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Refusal { place, why: Why::NotRead("a tag such as `!name`") })
        }
        Some(_) | None => Ok(()),
    }
}

fn syntax(error: &ScanError) -> Refusal {
    let mark = error.marker();
    let column = narrow(mark.col() + 1);
    let place = Place { line: file_line(mark.line()), column, end_column: column + 1 };
    Refusal { place, why: Why::Syntax(error.info()) }
}

fn file_line(yaml_line: usize) -> u32 {
    narrow(yaml_line.saturating_sub(1)).saturating_add(FIRST_YAML_LINE)
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
