//! The one edit that lucid makes to a task file: its `enabled:` line.
//!
//! One line changes; comments, line ends and mode stay, and the file is replaced as a whole
//! or not at all.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::diagnose::Place;
use super::fields::Flag;
use super::front::{self, Split};
use super::off::enabled_is;
use super::parse::FILE_MAX_BYTES;
use super::scalars::flag_word;
use super::scan;
use super::yaml::{self, Content, Node, Pair};
use crate::platform::failpoint;
use crate::platform::files;

/// The part of a file's mode that a new file gets.
const MODE_BITS: u32 = 0o7777;

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// From 1.
    pub line: u32,
    /// The line before, without its end; `None` when it was added.
    pub before: Option<String>,
    pub after: String,
}

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("{} cannot be changed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is no task file: it has no front-matter", .0.display())]
    NoFrontMatter(PathBuf),
    #[error("{} is not UTF-8, or larger than {FILE_MAX_BYTES} bytes", .0.display())]
    Unreadable(PathBuf),
    #[error("the front-matter of {} is not one key a line; change it by hand", .0.display())]
    Unusual(PathBuf),
    #[error("{} has no room for another line: a task file has at most {FILE_MAX_BYTES} bytes", .0.display())]
    Full(PathBuf),
    #[error("{} says `enabled:` {count} times; keep one", path.display())]
    Twice { path: PathBuf, count: usize },
}

/// Writes `enabled: true` or `enabled: false` into the file at `path`.
///
/// Gives `None` when the line already says so; the file is not touched then.
///
/// # Errors
/// [`EditError`]; the file is as it was.
pub fn set_enabled(path: &Path, enabled: bool) -> Result<Option<Edit>, EditError> {
    let io = |source| EditError::Io { path: path.to_owned(), source };
    // A link keeps pointing where it points: the file behind it is replaced.
    let real = fs::canonicalize(path).map_err(io)?;
    let bytes = match scan::read(&real).map_err(io)? {
        scan::Content::Bytes(bytes, _) => bytes,
        scan::Content::TooLarge(..) | scan::Content::NoFile(_) => {
            return Err(EditError::Unreadable(path.to_owned()));
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| EditError::Unreadable(path.to_owned()))?;
    let flag = if enabled { Flag::On } else { Flag::Off };
    let Some((edit, edited)) = rewrite(path, &text, flag)? else { return Ok(None) };
    if edited.len() as u64 > FILE_MAX_BYTES {
        return Err(EditError::Full(path.to_owned()));
    }
    if !changes_nothing_else(&text, &edited, flag) {
        return Err(EditError::Unusual(path.to_owned()));
    }
    let mode = fs::metadata(&real).map_err(io)?.permissions().mode() & MODE_BITS;
    failpoint::hit("task.edit").map_err(|fault| io(fault.into()))?;
    files::replace(&real, edited.as_bytes(), mode).map_err(io)?;
    Ok(Some(edit))
}

/// The edit as a function of the text; `None` when there is nothing to change.
fn rewrite(path: &Path, whole: &str, flag: Flag) -> Result<Option<(Edit, String)>, EditError> {
    let word = match flag {
        Flag::On => "true",
        Flag::Off => "false",
    };
    let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    match front::split(text) {
        Split::NotATask { .. } | Split::Unclosed => return Err(EditError::NoFrontMatter(path.to_owned())),
        Split::Task(_) => {}
    }
    let indent = indent(text);
    if front::raw_lines(text).any(|(_, line)| line.strip_prefix(indent).is_some_and(is_unusual)) {
        return Err(EditError::Unusual(path.to_owned()));
    }
    let is_ours = |line: &str| line.strip_prefix(indent).is_some_and(is_enabled_line);
    let lines: Vec<(u32, &str)> = front::raw_lines(text).filter(|(_, line)| is_ours(line)).collect();
    let (edit, start, end) = match lines[..] {
        [] => {
            let fence = text.split_inclusive('\n').next().unwrap_or("");
            let line_end = if fence.ends_with("\r\n") { "\r\n" } else { "\n" };
            let after = format!("{indent}enabled: {word}");
            let at = whole.len() - text.len() + fence.len();
            let edited = format!("{}{after}{line_end}{}", &whole[..at], &whole[at..]);
            return Ok(Some((Edit { line: 2, before: None, after }, edited)));
        }
        [(number, line)] => {
            // A value that goes on below would be left there.
            let mut below = front::raw_lines(text).filter(|(n, line)| *n > number && !line.trim().is_empty());
            let deeper =
                |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with([' ', '\t']));
            let goes_on = |line: &str| deeper(line) && !line.trim().starts_with('#');
            if below.next().is_some_and(|(_, line)| goes_on(line)) {
                return Err(EditError::Unusual(path.to_owned()));
            }
            let start = line.as_ptr() as usize - whole.as_ptr() as usize;
            let bare = line.trim_end_matches(['\n', '\r']);
            let value_at = bare.find(':').map_or(bare.len(), |colon| colon + 1);
            let (head, rest) = bare.split_at(value_at);
            let comment = rest.find('#').filter(|at| *at == 0 || rest[..*at].ends_with([' ', '\t']));
            let (value, comment) = rest.split_at(comment.unwrap_or(rest.len()));
            if flag_word(value.trim().trim_matches(['"', '\''])) == Some(flag) {
                return Ok(None);
            }
            let before_value = &value[..value.len() - value.trim_start().len()];
            let gap = if value.trim().is_empty() { " " } else { before_value };
            let behind = &value[value.trim_end().len()..];
            let behind = if comment.is_empty() || !behind.is_empty() { behind } else { " " };
            let after = format!("{head}{gap}{word}{behind}{comment}");
            let edit = Edit { line: number, before: Some(bare.to_owned()), after };
            (edit, start, start + bare.len())
        }
        [_, _, ..] => return Err(EditError::Twice { path: path.to_owned(), count: lines.len() }),
    };
    let edited = format!("{}{}{}", &whole[..start], edit.after, &whole[end..]);
    Ok(Some((edit, edited)))
}

/// The spaces before the keys of the front-matter: those before its first.
fn indent(text: &str) -> &str {
    let first = front::raw_lines(text).map(|(_, line)| line).find(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    first.map_or("", |line| &line[..line.len() - line.trim_start_matches(' ').len()])
}

/// Whether a front-matter that could be read says the same as before and `enabled` besides. One that could not is
/// searched for that line alone, so it may be written there.
fn changes_nothing_else(before: &str, after: &str, flag: Flag) -> bool {
    let Some(before) = pairs(before) else { return true };
    let Some(after) = pairs(after) else { return false };
    let others = |pairs: &[Pair]| -> Vec<Pair> {
        pairs.iter().filter(|pair| pair.key != "enabled").cloned().collect()
    };
    let as_map = |pairs: &[Pair]| Node { place: Place::default(), content: Content::Map(others(pairs)) };
    as_map(&before).equals(&as_map(&after)) && enabled_is(&after, flag)
}

/// The keys of a front-matter that can be read.
fn pairs(text: &str) -> Option<Vec<Pair>> {
    let Split::Task(front) = front::split(text.strip_prefix('\u{feff}').unwrap_or(text)) else { return None };
    match yaml::read(&front.yaml, &front.quoted).ok()?.map(|node| node.content) {
        None | Some(Content::Empty) => Some(Vec::new()),
        Some(Content::Map(pairs)) => Some(pairs),
        Some(Content::Text(_) | Content::List(_)) => None,
    }
}

/// A quoted `enabled`, an explicit key, or a mapping in braces: YAML, but not a line that can be edited.
fn is_unusual(line: &str) -> bool {
    let quoted = line.strip_prefix(['"', '\'']).is_some_and(|rest| rest.starts_with("enabled"));
    quoted || line.starts_with(['{', '?'])
}

fn is_enabled_line(line: &str) -> bool {
    line.strip_prefix("enabled").is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(':'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_value_that_goes_on_below_is_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.md");
        for value in [">-\n  true", "\n  true", ">-\n\n  true"] {
            let text = format!("---\nenabled: {value}\ncommand: x\n---\n");
            fs::write(&path, &text).unwrap();
            assert!(matches!(set_enabled(&path, false), Err(EditError::Unusual(_))), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "---\nenabled: true\n  # why\n\ncommand: x\n---\n").unwrap();
        assert!(set_enabled(&path, false).unwrap().is_some());
    }

    #[test]
    fn a_file_that_can_be_read_can_be_read_afterwards() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.md");
        for (before, after) in [
            (
                "---\n  command: \"true\"\n  env:\n    enabled: x\n  enabled: true\n---\n",
                "---\n  command: \"true\"\n  env:\n    enabled: x\n  enabled: false\n---\n",
            ),
            ("---\n# why\n  command: x\n---\n", "---\n  enabled: false\n# why\n  command: x\n---\n"),
        ] {
            fs::write(&path, before).unwrap();
            set_enabled(&path, false).unwrap().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
        }
        let full = format!("---\ncommand: x\n---\n{}", "x".repeat(256 * 1024 - 19));
        for refused in [
            "---\n!!map\ncommand: x\n---\n",
            "---\nenabled: &e true\ncommand: x\nmeta: {on: *e}\n---\n",
            "---\n &top\n command: x\n---\n",
            "---\nenabled: !!str true\ncommand: |\n enabled\n---\n",
            &full,
        ] {
            fs::write(&path, refused).unwrap();
            let changed = set_enabled(&path, false);
            let text = fs::read_to_string(&path).unwrap();
            assert!(changed.is_err() && text == refused || pairs(&text).is_some(), "{refused}");
        }
        assert!(matches!(set_enabled(&path, false), Err(EditError::Full(_))), "{}", full.len());
    }

    #[test]
    fn one_line_of_the_file_is_rewritten() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.md");
        for (before, after) in [
            ("---\nenabled: true\ncommand: x\n---\n", "---\nenabled: false\ncommand: x\n---\n"),
            (
                "---\ncommand: x\n---\nenabled: true\n",
                "---\nenabled: false\ncommand: x\n---\nenabled: true\n",
            ),
            ("---\r\ncommand: x\r\n---\r\n", "---\r\nenabled: false\r\ncommand: x\r\n---\r\n"),
            (
                "---\r\nenabled:  yes\t# why\r\nname: x\r\n---",
                "---\r\nenabled:  false\t# why\r\nname: x\r\n---",
            ),
            ("---\nenabled: \"on\"\n---\n", "---\nenabled: false\n---\n"),
            ("---\nenabled:\n---\n", "---\nenabled: false\n---\n"),
            ("---\nenabled: # todo\n---\n", "---\nenabled: false # todo\n---\n"),
            ("\u{feff}---\nname: x\n---\n", "\u{feff}---\nenabled: false\nname: x\n---\n"),
            ("---\nname: [broken\nenabled: 1\n---\n", "---\nname: [broken\nenabled: false\n---\n"),
        ] {
            fs::write(&path, before).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let edit = set_enabled(&path, false).unwrap().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after);
            assert_eq!(after.lines().nth(edit.line as usize - 1).unwrap().trim_end_matches('\r'), edit.after);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
            assert_eq!(set_enabled(&path, false).unwrap(), None, "it says so already");
            assert!(set_enabled(&path, true).unwrap().is_some());
        }
        for refused in ["", "no task", "---\nname: x\n", "---\nenabled: true\nenabled: true\n---\n"] {
            fs::write(&path, refused).unwrap();
            assert!(set_enabled(&path, false).is_err(), "{refused:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), refused);
        }
        symlink("a.md", folder.path().join("link.md")).unwrap();
        fs::write(&path, "---\ncommand: ./x\n---\n").unwrap();
        set_enabled(&folder.path().join("link.md"), false).unwrap().unwrap();
        assert!(fs::symlink_metadata(folder.path().join("link.md")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
    }
}
