//! One file's bytes to one task, every default resolved, and everything that is to be said about it.
//!
//! Pure: no file is opened here and no clock is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::build::{Whole, build};
use super::contradict;
use super::diagnose::{Diagnostic, Place, Severity, Source};
use super::fields::{Fields, Reader};
use super::front::{self, Front, Meant, Split};
use super::here::Here;
use super::keys;
use super::off::{is_utf16, says_disabled};
use super::yaml::{self, Content, Refusal, Why};
use crate::model::digest::Digest;
use crate::model::ids::TaskId;
use crate::model::schedule::Zone;
use crate::model::task::Task;

/// Largest task file.
pub const FILE_MAX_BYTES: u64 = 256 * 1024;

/// The text below a command is documentation; more of it than this is not kept in memory.
pub const COMMAND_BODY_MAX_BYTES: usize = 1024;

/// Most findings about one file that are kept, the worst first.
pub const FOUND_MAX: usize = 100;

/// Some editors put it before a text in UTF-8; it says nothing.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What applies where a file says nothing.
#[derive(Debug, Clone)]
pub struct Defaults {
    pub timeout: Duration,
    pub agent_timeout: Duration,
    pub kill_grace: Duration,
    pub catch_up_window: Duration,
    pub log_max_bytes: u64,
    pub keep_runs: u32,
    pub keep_for: Duration,
    pub shell: String,
    pub zone: Zone,
}

/// What a file may refer to.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Agent profiles of the config.
    pub profiles: BTreeSet<String>,
    /// Pools of the config, each with its own claim wait.
    pub pools: BTreeMap<String, Option<Duration>>,
    /// Built-in actions.
    pub actions: &'static [&'static str],
}

/// What files are read by.
#[derive(Debug, Clone)]
pub struct Rules {
    pub defaults: Defaults,
    pub known: Known,
    /// For somebody who looks at the files now: what has passed is said. The daemon reads them at any time.
    pub now: Option<Timestamp>,
    /// For somebody who looks at them where they are to run: what is not there is said.
    pub here: Option<Here>,
}

/// What came of a file.
#[derive(Debug)]
pub enum Parsed {
    /// No front-matter: none of our business. A warning at most.
    NotATask(Option<Diagnostic>),
    Task {
        /// `None` when an error keeps it from running.
        task: Option<Box<Task>>,
        /// The file's text says `enabled: false`, readable or not.
        says_disabled: bool,
        diagnostics: Vec<Diagnostic>,
    },
}

/// Reads a file.
#[must_use]
pub fn parse(id: &TaskId, file: &Path, bytes: &[u8], rules: &Rules) -> Parsed {
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Parsed::Task {
            task: None,
            says_disabled: says_disabled(bytes),
            diagnostics: vec![too_large(file, bytes.len() as u64)],
        };
    }
    if is_utf16(bytes) {
        return Parsed::NotATask(Some(not_read(file, "the file is UTF-16", "save it as UTF-8")));
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if has_more_marks(bytes) {
        let (why, help) = ("it begins with more than one byte order mark", "save it without them");
        return Parsed::NotATask(Some(not_read(file, why, help)));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return not_utf8(file, bytes, error.valid_up_to()),
    };
    let text = &*even(text);
    let source = Source::new(text);
    let mut reader = Reader { file, source: &source, found: Vec::new() };
    let front = match front::split(text) {
        Split::NotATask(meant) => {
            return Parsed::NotATask(meant.map(|meant| no_fence(&reader, meant)));
        }
        Split::Unclosed => {
            let help = "end the front-matter with a line `---`";
            reader.error(first_line(), "E111", "the front-matter is never closed".to_owned(), help);
            return finish(None, text, reader);
        }
        Split::Task(front) => front,
    };
    let whole = Whole { id, file, body: front.body, hash: hash_of(bytes) };
    let task = read(&mut reader, &whole, &front, rules);
    finish(task, text, reader)
}

/// A carriage return alone ends a line for YAML: in the front-matter it does so for everybody.
fn even(text: &str) -> Cow<'_, str> {
    let Some(Split::Task(front)) = text.contains('\r').then(|| front::split(text)) else {
        return Cow::Borrowed(text);
    };
    let head = text.strip_suffix(front.body).unwrap_or(text).replace("\r\n", "\n");
    if head.contains('\r') { Cow::Owned(head.replace('\r', "\n") + front.body) } else { Cow::Borrowed(text) }
}

/// Tells one version of a file from another; a byte order mark does not count.
pub fn hash_of(bytes: &[u8]) -> Digest {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    Digest::from(<[u8; 32]>::from(Sha256::digest(bytes)))
}

fn finish(task: Option<Task>, text: &str, mut reader: Reader<'_>) -> Parsed {
    let more = reader.found.len().saturating_sub(FOUND_MAX);
    if more > 0 {
        reader.found.sort_by_key(|found| std::cmp::Reverse(found.severity));
        reader.found.truncate(FOUND_MAX);
    }
    reader.found.sort_by_key(|found| (found.place.line, found.place.column));
    if more > 0 {
        let message = format!("{more} more of its findings are not shown");
        let note = Diagnostic::whole_file(reader.file, Severity::Info, "I204", message);
        reader.found.push(note.with_help("mend the worst first; those that are left are shown then"));
    }
    let says_disabled = match &task {
        Some(task) => !task.enabled,
        None => says_disabled(text.as_bytes()),
    };
    Parsed::Task { task: task.map(Box::new), says_disabled, diagnostics: reader.found }
}

/// A fence behind what should have been the only byte order mark.
fn has_more_marks(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(next) = rest.strip_prefix(BYTE_ORDER_MARK) {
        rest = next;
    }
    rest.len() < bytes.len() && rest.starts_with(b"---")
}

fn first_line() -> Place {
    Place { line: 1, column: 1, end_column: 4 }
}

fn no_fence(reader: &Reader<'_>, meant: Meant) -> Diagnostic {
    let (line, why, help) = match meant {
        Meant::Late(line) => (line, "the `---` is not on the first line", "remove the lines above it"),
        Meant::Indented => {
            (1, "something stands before the `---`", "put it at the very beginning of the file")
        }
        Meant::Annotated => (1, "something stands behind the `---`", "leave `---` alone on its line"),
        Meant::CarriageReturns => {
            (1, "its lines end in a carriage return alone", "save the file with line ends of LF or CRLF")
        }
    };
    let message = format!("{NOT_READ}{why}");
    let place = Place { line, ..first_line() };
    Diagnostic::at(reader.file, reader.source, place, Severity::Warning, "W103", message).with_help(help)
}

/// How a W103 begins.
pub const NOT_READ: &str = "not read as a task: ";

/// A file that holds a task and is read as none, for a reason that is no line of it.
pub fn not_read(file: &Path, why: &str, help: &str) -> Diagnostic {
    Diagnostic::whole_file(file, Severity::Warning, "W103", format!("{NOT_READ}{why}")).with_help(help)
}

pub fn too_large(file: &Path, bytes: u64) -> Diagnostic {
    let message = format!("the file has {bytes} bytes, more than the {FILE_MAX_BYTES} a task file may have");
    Diagnostic::whole_file(file, Severity::Error, "E112", message)
        .with_help("put long texts into files of their own and name them")
}

fn not_utf8(file: &Path, bytes: &[u8], valid: usize) -> Parsed {
    let text = String::from_utf8_lossy(bytes);
    if !text.split('\n').next().is_some_and(front::is_fence) {
        return Parsed::NotATask(None);
    }
    let before = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
    let line = before.split('\n').count();
    let column = before.split('\n').next_back().map_or(0, |line| line.chars().count()) + 1;
    let column = u32::try_from(column).unwrap_or(u32::MAX);
    let place = Place { line: u32::try_from(line).unwrap_or(u32::MAX), column, end_column: column + 1 };
    let source = Source::new(&text);
    let byte = bytes.get(valid).copied().unwrap_or_default();
    let message = format!("the byte 0x{byte:02X} is not UTF-8");
    let found = Diagnostic::at(file, &source, place, Severity::Error, "E114", message)
        .with_help("save the file as UTF-8");
    Parsed::Task { task: None, says_disabled: says_disabled(bytes), diagnostics: vec![found] }
}

fn read(reader: &mut Reader<'_>, whole: &Whole<'_>, front: &Front<'_>, rules: &Rules) -> Option<Task> {
    let root = match yaml::read(&front.yaml, &front.quoted) {
        Ok(root) => root,
        Err(refusal) => {
            refuse(reader, refusal);
            return None;
        }
    };
    let pairs = match root.map(|node| (node.place, node.content)) {
        None | Some((_, Content::Empty)) => Vec::new(),
        Some((_, Content::Map(pairs))) => pairs,
        Some((place, Content::Text(_) | Content::List(_))) => {
            let help = "each line is `key: value`";
            reader.error(place, "E115", "the front-matter is no map of keys".to_owned(), help);
            return None;
        }
    };
    let fields = Fields::read(reader, keys::KEYS, "", &pairs);
    for quoted in &front.quoted {
        let place = Place { line: quoted.line, column: quoted.column, end_column: quoted.end_column };
        let help = "fine here; other YAML tools will refuse it";
        reader.say(Severity::Info, place, "I203", "this value is not quoted".to_owned(), help);
    }
    let kind = contradict::kind(reader, &fields, front, rules)?;
    let task = build(&fields, whole, kind, rules);
    let blocked = contradict::judge(reader, &fields, &task, rules);
    let broken = reader
        .found
        .iter()
        .any(|found| found.severity == Severity::Error && !contradict::BLOCKING.contains(&found.code));
    (!broken).then_some(Task { blocked_by: blocked.map(String::into_boxed_str), ..task })
}

fn refuse(reader: &mut Reader<'_>, refusal: Refusal) {
    let Refusal { place, why } = refusal;
    match why {
        Why::Syntax(what) => {
            if let Some(place) = tab_near(reader, place.line, &what) {
                reader.error(place, "E116", "a tab cannot indent".to_owned(), "YAML wants spaces here");
                return;
            }
            let help = "quote the value, or write a longer text behind `|` on lines of its own";
            reader.error(place, "E110", format!("not YAML: {what}"), help);
        }
        Why::TooMuch(limit) => {
            reader.error(place, "E113", format!("the front-matter has {limit}"), "make it smaller");
        }
        Why::NotRead(what) => {
            reader.error(
                place,
                "E110",
                format!("{what} is not read in a task file"),
                "write the value itself",
            );
        }
        Why::KeyIsNoText => {
            let help = "quote a value that starts with `{` or `[`";
            reader.error(place, "E110", "a key must be a plain text".to_owned(), help);
        }
        Why::Duplicate { key, first } => {
            let message = format!("`{}` stands twice", super::scalars::shown(&key));
            reader.error_with(place, "E117", message, "remove one of them", (first, "first here"));
        }
    }
}

/// The tab that indents the line at which YAML gave up, or one beside it where YAML says that it met one: any other
/// may be part of a text.
fn tab_near(reader: &Reader<'_>, line: u32, what: &str) -> Option<Place> {
    let beside = [line.saturating_sub(1), line.saturating_add(1)];
    let lines = std::iter::once(line).chain(beside.into_iter().filter(|_| what.contains("tab")));
    lines.into_iter().find_map(|line| {
        let spaces = reader.source.line(line).chars().take_while(|c| *c == ' ').count();
        let column = u32::try_from(spaces).unwrap_or(0) + 1;
        let place = Place { line, column, end_column: column + 1 };
        (reader.source.char_at(place) == Some('\t')).then_some(place)
    })
}
