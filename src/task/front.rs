//! Cuts the front-matter out of a file and quotes what YAML refuses but people write.
//!
//! Lines stay where they are, and a quoted value starts where it started, so places found in the
//! prepared text are places of the file. It does not read values.

use serde_yaml::granit_parser::{Event, Parser};

use super::names;
use super::quotes::is_cut_in_quotes;
use super::yaml::parser_options;

/// What a file is, seen from its first line.
pub enum Split<'a> {
    /// No front-matter: not a task, though its author may have meant one.
    NotATask(Option<Meant>),
    /// The first fence has no second.
    Unclosed,
    Task(Front<'a>),
}

/// Why what was meant to be a front-matter is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// The fence comes after blank lines, on this line.
    Late(u32),
    /// Something stands before the fence.
    Indented,
    /// Something stands behind the fence: `---yaml`.
    Annotated,
    /// Lines end in a carriage return alone.
    CarriageReturns,
}

/// A file cut in two.
pub struct Front<'a> {
    /// The lines between the fences, prepared for YAML; its first line is the file's second.
    pub yaml: String,
    pub body: &'a str,
    /// Values that were quoted here.
    pub quoted: Vec<Quoted>,
}

/// A value that stands unquoted in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Line of the file, from 1.
    pub line: u32,
    /// Characters from 1; the end is one past the last.
    pub column: u32,
    pub end_column: u32,
    /// Where it starts in the prepared text: further to the right when another one on its line was quoted before it.
    pub at: u32,
    /// Characters that quoting it has added.
    pub added: u32,
}

/// Number of the file's line that the YAML starts on.
pub const FIRST_YAML_LINE: u32 = 2;

/// Keys whose plain values may break YAML's rules.
const LENIENT: [&str; 2] = ["schedule", "command"];

/// Splits `text`, which has no byte order mark any more.
#[must_use]
pub fn split(text: &str) -> Split<'_> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or("");
    if !is_fence(first) {
        return Split::NotATask(meant(text));
    }
    let mut end = first.len();
    for line in lines {
        if is_fence(line) {
            let (yaml, quoted) = prepare(&text[first.len()..end]);
            return Split::Task(Front { yaml, body: &text[end + line.len()..], quoted });
        }
        end += line.len();
    }
    Split::Unclosed
}

/// The raw lines between the fences with their numbers, also of an unclosed or broken file.
pub fn raw_lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let fenced = text.split_inclusive('\n').next().is_some_and(is_fence);
    (1u32..).zip(text.split_inclusive('\n')).skip(1).take_while(move |(_, line)| fenced && !is_fence(line))
}

pub fn is_fence(line: &str) -> bool {
    line.trim_end() == "---"
}

/// A fence in the wrong place or form is one that its author meant; a rule in a text is not.
fn meant(text: &str) -> Option<Meant> {
    let (number, line) = (1u32..).zip(text.split('\n')).find(|(_, line)| !line.trim().is_empty())?;
    let closes = || text.split('\n').skip(number as usize).any(|line| line.trim() == "---");
    if line.split('\r').filter(|line| is_fence(line)).count() > 1 {
        Some(Meant::CarriageReturns)
    } else if number > 1 && is_fence(line) {
        Some(Meant::Late(number))
    } else if number > 1 {
        None
    } else if line.trim() == "---" && closes() {
        Some(Meant::Indented)
    } else {
        let behind = line.strip_prefix("---").is_some_and(|rest| !rest.starts_with('-'));
        (behind && closes()).then_some(Meant::Annotated)
    }
}

/// Quotes exactly those values of the lenient keys that YAML would refuse, or cut off within a quote of the shell's.
fn prepare(raw: &str) -> (String, Vec<Quoted>) {
    let lines: Vec<&str> = raw.split('\n').collect();
    let mut text = String::with_capacity(raw.len() + 16);
    let mut quoted = Vec::new();
    let mut below = Below::Other;
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        let next = lines.get(index + 1).copied().unwrap_or("");
        let number = FIRST_YAML_LINE + u32::try_from(index).unwrap_or(u32::MAX - FIRST_YAML_LINE);
        let (mut done, mut added) = (0, 0);
        for (start, value) in unquoted(line, next, &mut below) {
            text.push_str(&line[done..start]);
            done = start + value.len();
            let column = 1 + count(&line[..start]);
            let in_quotes = format!("'{}'", value.replace('\'', "''"));
            let (at, grown) = (column + added, count(&in_quotes) - count(value));
            added += grown;
            quoted.push(Quoted { line: number, column, end_column: column + count(value), at, added: grown });
            text.push_str(&in_quotes);
        }
        text.push_str(&line[done..]);
    }
    (text, quoted)
}

/// What the lines below a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// The line that has the value of `schedule`, or the first item of its list.
    Value,
    /// Further items of the list.
    Items,
    Other,
}

/// The values of a line that are to be quoted, each with its place in bytes.
fn unquoted<'l>(line: &'l str, next: &str, below: &mut Below) -> Vec<(usize, &'l str)> {
    let one = |start: usize, value: &'l str| -> Vec<(usize, &'l str)> {
        if refused(value, next) { vec![(start, value)] } else { Vec::new() }
    };
    if let Some((key, start)) = value_start(line) {
        let value = bare(&line[start..]);
        *below = if key == "schedule" && value.is_empty() { Below::Value } else { Below::Other };
        return match lenient(key) {
            // A shell drops its comments by itself, and knows what is in quotes.
            Some("command") => {
                let value = line[start..].trim_end();
                if is_cut_in_quotes(value) && !goes_on(next) {
                    vec![(start, value)]
                } else {
                    one(start, value)
                }
            }
            // No schedule starts so, but a list of schedules does.
            Some(_) if value.starts_with(['[', '{']) => flow_items(value, start),
            Some(_) => one(start, value),
            None => Vec::new(),
        };
    }
    if line.trim().is_empty() || line.trim_start().starts_with('#') || *below == Below::Other {
        return Vec::new();
    }
    let item = item_start(line);
    let start = item.or_else(|| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        (*below == Below::Value && indent > 0 && line[indent..].starts_with(['*', '@'])).then_some(indent)
    });
    *below = if item.is_some() { Below::Items } else { Below::Other };
    start.map_or_else(Vec::new, |start| one(start, bare(&line[start..])))
}

/// The key whose values are meant, also where it is called by another name: its own error is told then, not YAML's.
fn lenient(key: &str) -> Option<&'static str> {
    let is_lenient = |name: &&'static str| LENIENT.contains(name);
    LENIENT
        .into_iter()
        .find(|name| *name == key)
        .or_else(|| names::synonym(key).filter(is_lenient))
        .or_else(|| names::near(LENIENT, key))
}

/// The items of a list in brackets that YAML refuses.
fn flow_items(value: &str, start: usize) -> Vec<(usize, &str)> {
    let Some(inner) = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return Vec::new();
    };
    if inner.contains(['[', ']', '{', '}', '"', '\'']) {
        return Vec::new();
    }
    let items = inner.split(',').map(str::trim).filter(|item| refused(item, ""));
    items.map(|item| (start + (item.as_ptr() as usize - value.as_ptr() as usize), item)).collect()
}

fn count(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// The top-level key of a line, without its quotes, and where its value starts.
fn value_start(line: &str) -> Option<(&str, usize)> {
    let colon = line.find(':')?;
    let key = line[..colon].trim_end_matches(' ');
    let inner = |quote| key.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let key = inner('"').or_else(|| inner('\'')).unwrap_or(key);
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let rest = &line[colon + 1..];
    let value = rest.trim_start_matches([' ', '\t']);
    if !plain || (value.len() == rest.len() && !value.trim_end().is_empty()) {
        return None;
    }
    Some((key, line.len() - value.len()))
}

/// Where the value of a `- value` line starts.
fn item_start(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches(' ').strip_prefix('-')?;
    let value = rest.trim_start_matches([' ', '\t']);
    (value.len() < rest.len()).then_some(line.len() - value.len())
}

/// A value without the comment behind it.
fn bare(value: &str) -> &str {
    let value = value.trim_end();
    if value.starts_with('#') {
        return "";
    }
    let comment = [" #", "\t#"].into_iter().filter_map(|mark| value.find(mark)).min();
    comment.map_or(value, |at| value[..at].trim_end())
}

/// Whether the value is whole on this line and no YAML.
fn refused(value: &str, next: &str) -> bool {
    let starts_plainly = value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '.');
    if value.is_empty() || (starts_plainly && !value.contains(':')) {
        return false;
    }
    // An opening mark without its end is a slip, not a command.
    let ends = |close: char| value.chars().skip(1).any(|c| c == close);
    let is_open = match value.chars().next() {
        Some('[') => !ends(']'),
        Some('{') => !ends('}'),
        Some(quote @ ('"' | '\'')) => !ends(quote),
        Some(_) | None => false,
    };
    !goes_on(next) && !is_open && (is_starred(value) || !is_yaml_value(value))
}

/// Whether a value of the line before may end on `next` only.
fn goes_on(next: &str) -> bool {
    next.starts_with([' ', '\t', ']', '}'])
        && !next.trim().is_empty()
        && !next.trim_start().starts_with(['#', '-'])
}

/// A field of cron that YAML would take for the name of an anchor.
fn is_starred(value: &str) -> bool {
    value.strip_prefix('*').is_some_and(|rest| rest.starts_with(['/', '-', ',', ' ']))
}

fn is_yaml_value(value: &str) -> bool {
    let line = format!("k: {value}\n");
    let mut depth = 0usize;
    for event in Parser::new_from_str_with_options(&line, parser_options()) {
        match event {
            Err(_) => return false,
            Ok((Event::MappingStart(..), _)) => depth += 1,
            Ok(_) => {}
        }
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(raw: &str) -> String {
        prepare(raw).0
    }

    #[test]
    fn what_yaml_refuses_is_quoted_and_nothing_else() {
        for (line, prepared) in [
            ("schedule: */5 * * * *", "schedule: '*/5 * * * *'"),
            ("schedule: * * * * *  # often", "schedule: '* * * * *'  # often"),
            ("schedule: @daily\r", "schedule: '@daily'\r"),
            ("command: echo a: b", "command: 'echo a: b'"),
            ("command: echo it's: b", "command: 'echo it''s: b'"),
            ("command: %x", "command: '%x'"),
            ("command: echo 'a: #b' # c", "command: 'echo ''a: #b'' # c'"),
            ("command: [ -f /x ] && echo y", "command: '[ -f /x ] && echo y'"),
            ("command: \"a\" b", "command: '\"a\" b'"),
            ("schedule: */5", "schedule: '*/5'"),
            ("schedule: [@daily]", "schedule: ['@daily']"),
            (
                "schedule: [every 5m, @daily,*/5 * * * *] # x",
                "schedule: [every 5m, '@daily','*/5 * * * *'] # x",
            ),
            ("cron: */5 * * * *", "cron: '*/5 * * * *'"),
            ("shedule: @daily", "shedule: '@daily'"),
            ("\"schedule\": */5 * * * *", "\"schedule\": '*/5 * * * *'"),
            ("schedule : */5 * * * *", "schedule : '*/5 * * * *'"),
            ("schedule:\n  */5 * * * *\ncommand: x", "schedule:\n  '*/5 * * * *'\ncommand: x"),
            ("command: sed -n \"s/ #.*//p\" f", "command: 'sed -n \"s/ #.*//p\" f'"),
            ("command: echo 'nr #1 of 2' # c", "command: 'echo ''nr #1 of 2'' # c'"),
            ("command: echo \"a \\\" #b\"", "command: 'echo \"a \\\" #b\"'"),
            (
                "schedule:\n  - */5 * * * *\n  - @daily\ncommand: x",
                "schedule:\n  - '*/5 * * * *'\n  - '@daily'\ncommand: x",
            ),
        ] {
            assert_eq!(yaml(line), prepared);
        }
        for untouched in [
            "schedule: 0 9 * * 1-5",
            "schedule: \"*/5 * * * *\"",
            "schedule: every 1d at 09:00",
            "schedule: *anchor",
            "command: [",
            "command: \"open",
            "command: echo x # it's \"y\"",
            "command: echo \"a\" # it's 'b'",
            "command: grep it's # why",
            "command: echo \"a #b\n  c\"",
            "command: \"echo #x\"",
            "command: [a, b]",
            "command: [a,\n  b]",
            "command: |\n  echo a: b",
            "command: >-\n  echo a: b",
            "command: echo http://x/",
            "name: a: b",
            "env:\n  schedule: */5 * * * *",
            "tags:\n  - @x",
            "schedule:\n  cron: a: b",
            "schedule:",
        ] {
            assert_eq!(yaml(untouched), untouched);
        }
    }

    #[test]
    fn places_of_quoted_values_are_those_of_the_file() {
        let (_, quoted) = prepare("name: ü\nschedule:   @daily # x");
        assert_eq!(quoted, [Quoted { line: 3, column: 13, end_column: 19, at: 13, added: 2 }]);
        let (_, quoted) = prepare("schedule: [@daily, @hourly]");
        assert_eq!(quoted[1], Quoted { line: 2, column: 20, end_column: 27, at: 22, added: 2 });
    }

    #[test]
    fn fences() {
        assert!(
            matches!(split("---\nname: x\n---\nbody\n"), Split::Task(f) if f.body == "body\n" && f.yaml == "name: x\n")
        );
        assert!(matches!(split("---  \r\nname: x\r\n---\r\nbody"), Split::Task(f) if f.body == "body"));
        assert!(matches!(split("---\n---"), Split::Task(f) if f.yaml.is_empty()));
        assert!(matches!(split("---\nname: x\n"), Split::Unclosed));
        assert!(matches!(split("\n\n---\nname: x\n---"), Split::NotATask(Some(Meant::Late(3)))));
        assert!(matches!(split("# Title\n---\n"), Split::NotATask(None)));
        assert!(matches!(split(""), Split::NotATask(None)));
        assert!(matches!(split("----\n"), Split::NotATask(None)));
        for (text, meant) in [
            (" ---\nname: x\n---\n", Some(Meant::Indented)),
            ("---yaml\nname: x\n---\n", Some(Meant::Annotated)),
            ("--- # x\nname: x\n---\n", Some(Meant::Annotated)),
            ("---\rname: x\r---\r", Some(Meant::CarriageReturns)),
            (" ---\nno end", None),
            ("--- A rule ---\ntext\n", None),
            ("------\nname: x\n---\n", None),
        ] {
            assert!(matches!(split(text), Split::NotATask(found) if found == meant), "{text:?}");
        }
        assert_eq!(raw_lines("---\na\nb\n---\nc").map(|(n, _)| n).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(raw_lines("a\nb").count(), 0);
    }
}
