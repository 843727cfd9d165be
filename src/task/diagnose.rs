//! A finding about a task file: where it is, what it says, and how people and programs see it.
//!
//! Owns the value and its four renderings (human, short, GitHub annotation, JSON). It reads no
//! file: a diagnostic carries the source lines that its rendering shows.

use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::model::text::clean;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A stretch of one line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// From 1; 0 says that the finding is about the file as a whole.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// One past the last character; equal to `column` for a point.
    pub end_column: u32,
}

/// The source lines that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// Number of the first line, from 1; 0 when there is none.
    pub start: u32,
    pub text: Box<str>,
}

/// Longest source line that a diagnostic carries.
const SOURCE_LINE_MAX_CHARS: usize = 240;

/// Between two places further apart than this, the lines in between are left out.
const EXCERPT_GAP_MAX_LINES: usize = 8;

/// A longer help stands below the source, not at the caret.
const CARET_HELP_MAX_CHARS: usize = 90;

/// Whether the human rendering is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    Never,
    Always,
}

/// A second place that the finding is about, with what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub place: Place,
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// As shown to people: relative where that is shorter.
    pub file: PathBuf,
    pub severity: Severity,
    /// Has a page in [`super::codes`].
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    pub place: Place,
    pub labels: Vec<Label>,
    pub excerpt: Excerpt,
}

impl Diagnostic {
    /// A finding about the file as a whole.
    #[must_use]
    pub fn whole_file(file: &Path, severity: Severity, code: &'static str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            severity,
            code,
            message,
            help: None,
            place: Place::default(),
            labels: Vec::new(),
            excerpt: Excerpt::default(),
        }
    }

    /// A finding at a place of a text.
    #[must_use]
    pub fn at(
        file: &Path,
        source: &Source<'_>,
        place: Place,
        severity: Severity,
        code: &'static str,
        message: String,
    ) -> Self {
        let mut found = Self::whole_file(file, severity, code, message);
        found.excerpt = source.excerpt(place.line, place.line);
        found.place = place;
        found
    }

    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn with_label(mut self, source: &Source<'_>, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, text: text.into() });
        let lines = || self.labels.iter().map(|label| label.place.line).chain([self.place.line]);
        let first = lines().min().unwrap_or(place.line);
        let last = lines().max().unwrap_or(place.line);
        self.excerpt = source.excerpt(first, last);
        self
    }

    /// `file:line:column`, or the file alone.
    #[must_use]
    pub fn position(&self) -> String {
        if self.place.line == 0 {
            return self.name();
        }
        format!("{}:{}:{}", self.name(), self.place.line, self.place.column)
    }

    /// The file's name for a terminal: anybody may have chosen it.
    fn name(&self) -> String {
        clean(&self.file.to_string_lossy()).into_owned()
    }

    /// `file:line:col: severity[code]: message`, for editors.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}: {}[{}]: {}", self.position(), self.severity.name(), self.code, clean(&self.message))
    }

    /// A workflow command that GitHub shows beside the line.
    #[must_use]
    pub fn github(&self) -> String {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "notice",
        };
        let text = match &self.help {
            Some(help) => format!("{}\n{}", clean(&self.message), clean(help)),
            None => clean(&self.message).into_owned(),
        };
        format!(
            "::{level} file={},line={},col={},endColumn={},title={}::{}",
            escape_property(&self.name()),
            self.place.line.max(1),
            self.place.column.max(1),
            self.place.end_column.max(1),
            self.code,
            escape_data(&text),
        )
    }

    /// The contract's JSON; it may grow, it never changes.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let place = (self.place.line > 0).then_some(self.place);
        serde_json::json!({
            "file": self.file.to_string_lossy(),
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "end_line": place.map(|place| place.line),
            "end_column": place.map(|place| place.end_column),
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "help": self.help,
        })
    }

    /// The source line with a caret below it.
    #[must_use]
    pub fn human(&self, color: Color) -> String {
        let renderer = match color {
            Color::Never => Renderer::plain(),
            Color::Always => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::NOTE,
        };
        let message = clean(&self.message);
        let title = level.primary_title(message.as_ref()).id(self.code);
        let help = self.help.as_deref().map(clean);
        let (line, column) = (self.place.line as usize, self.place.column as usize);
        // What lies beyond the excerpt has no source line to point at.
        if line == 0 || column > SOURCE_LINE_MAX_CHARS {
            let mut origin = annotate_snippets::Origin::path(self.name());
            if line > 0 {
                origin = origin.line(line).char_column(column);
            }
            let mut group = Group::with_title(title).element(origin);
            if let Some(help) = &help {
                group = group.element(Level::HELP.message(help.as_ref()));
            }
            return renderer.render(&[group]);
        }
        let at_caret = help.as_deref().filter(|help| help.chars().count() <= CARET_HELP_MAX_CHARS);
        let mut snippet = Snippet::source(&*self.excerpt.text)
            .path(self.name())
            .line_start(self.excerpt.start as usize)
            .annotation(AnnotationKind::Primary.span(self.excerpt.span(self.place)).label(at_caret));
        for label in &self.labels {
            let span = self.excerpt.span(label.place);
            snippet = snippet.annotation(AnnotationKind::Context.span(span).label(clean(&label.text)));
        }
        let mut group = Group::with_title(title).element(snippet);
        if let (None, Some(help)) = (at_caret, &help) {
            group = group.element(Level::HELP.message(help.as_ref()));
        }
        renderer.render(&[group])
    }
}

impl Excerpt {
    /// Byte range of `place` in the text, clipped to it.
    fn span(&self, place: Place) -> Range<usize> {
        let nth = place.line.saturating_sub(self.start) as usize;
        let before: usize = self.text.split_inclusive('\n').take(nth).map(str::len).sum();
        let line = self.text.split('\n').nth(nth).unwrap_or("");
        let offset = |column: u32| {
            let chars = column.saturating_sub(1) as usize;
            before + line.char_indices().nth(chars).map_or(line.len(), |(at, _)| at)
        };
        let start = offset(place.column);
        start..offset(place.end_column).max(start)
    }
}

/// A text with its lines found, to make places and excerpts of.
pub struct Source<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { lines: text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect() }
    }

    /// A line by its number from 1; empty beyond the end.
    #[must_use]
    pub fn line(&self, number: u32) -> &'a str {
        (number as usize).checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or("")
    }

    /// The character that a place starts with.
    #[must_use]
    pub fn char_at(&self, place: Place) -> Option<char> {
        self.line(place.line).chars().nth((place.column as usize).checked_sub(1)?)
    }

    fn excerpt(&self, first: u32, last: u32) -> Excerpt {
        let far = last.saturating_sub(first) as usize > EXCERPT_GAP_MAX_LINES;
        let mut text = String::new();
        for number in first..=last {
            if number > first {
                text.push('\n');
            }
            if !far || number == first || number == last {
                text.extend(self.line(number).chars().take(SOURCE_LINE_MAX_CHARS).map(visible));
            }
        }
        Excerpt { start: first, text: text.into() }
    }
}

/// A control character as one that can be shown without moving the cursor; the count stays.
fn visible(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_take_over_the_terminal_nor_make_lines() {
        let name = Path::new("a\x1b[2J\nb.md");
        let mut found = Diagnostic::whole_file(name, Severity::Error, "E123", "this is a FIFO".to_owned());
        assert_eq!(found.short(), "a\\x1b[2J\\nb.md: error[E123]: this is a FIFO");
        assert!(found.human(Color::Never).contains("a\\x1b[2J\\nb.md"), "{}", found.human(Color::Never));
        found.place = Place { line: 2, column: 1, end_column: 2 };
        found.excerpt = Source::new("---\nx").excerpt(2, 2);
        let human = found.human(Color::Never);
        assert!(human.contains("a\\x1b[2J\\nb.md:2:1") && !human.contains('\x1b'), "{human}");
    }

    #[test]
    fn no_part_of_a_finding_reaches_the_terminal_as_it_stands() {
        let hostile = "x\x1b[31m\x07y";
        let source = Source::new("---\nx: y");
        let place = Place { line: 2, column: 1, end_column: 2 };
        let file = Path::new("a\x1b.md");
        let at = |place| Diagnostic::at(file, &source, place, Severity::Error, "E201", hostile.to_owned());
        let long = hostile.repeat(30);
        for found in [
            at(place).with_help(hostile).with_label(&source, place, hostile),
            at(place).with_help(long.as_str()),
            at(Place::default()).with_help(hostile),
            at(Place { column: 900, ..place }).with_help(hostile),
        ] {
            for text in [found.human(Color::Never), found.short(), found.github()] {
                assert!(!text.contains(['\x1b', '\x07']), "{text:?}");
            }
        }
    }

    #[test]
    fn a_place_far_to_the_right_is_told_as_it_is() {
        let line = format!("command: {}", "x".repeat(900));
        let place = Place { line: 1, column: 608, end_column: 609 };
        let source = Source::new(&line);
        let found =
            Diagnostic::at(Path::new("x.md"), &source, place, Severity::Error, "E110", "what".to_owned())
                .with_help("mend it");
        let human = found.human(Color::Never);
        assert!(human.contains("x.md:1:608") && human.contains("mend it"), "{human}");
        assert!(found.short().contains("x.md:1:608"));
    }

    #[test]
    fn a_whole_file_has_no_line() {
        let mut found = Diagnostic::whole_file(Path::new("x.md"), Severity::Error, "E123", String::new());
        assert!(["line", "column", "end_line", "end_column"].iter().all(|key| found.json()[key].is_null()));
        found.place = Place { line: 2, column: 1, end_column: 3 };
        assert_eq!(found.json()["end_column"], 3);
    }
}
