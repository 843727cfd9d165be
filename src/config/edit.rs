//! The one edit that lucid makes to a settings file: keys of one section, a line each. Comments, order, line ends
//! and mode stay. What comes out is read again before it is written; a file that is not one key a line is left
//! as it was.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::file::{self, Value};
use crate::platform::files;

/// The part of a file's mode that the new file gets.
const MODE_BITS: u32 = 0o7777;
/// What keys of a section are set in by when it has none yet.
const INDENT: &str = "  ";

/// Why a file was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("{} cannot be changed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("the section `{section}` of {} is not one key a line", path.display())]
    Unusual { path: PathBuf, section: String },
}

/// What a key is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    Number(i64),
    Numbers(Vec<i64>),
    Text(String),
}

impl Set {
    /// As it stands in the file.
    #[must_use]
    pub fn written(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Numbers(numbers) => {
                let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
                format!("[{}]", numbers.join(", "))
            }
            // A text in JSON is one in YAML.
            Self::Text(text) => serde_json::to_string(text).unwrap_or_default(),
        }
    }

    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Number(number), Value::Text(text)) => *text == number.to_string(),
            (Self::Text(wanted), Value::Text(text)) => wanted == text,
            (Self::Numbers(numbers), Value::List(items)) => {
                numbers.iter().map(ToString::to_string).eq(items.iter().cloned())
            }
            (Self::Number(_) | Self::Text(_) | Self::Numbers(_), _) => false,
        }
    }
}

/// Sets keys of a section in the file at `path`.
///
/// # Errors
/// [`EditError`]; the file is as it was.
pub fn set(path: &Path, section: &str, keys: &[(&str, Set)]) -> Result<(), EditError> {
    let io = |source| EditError::Io { path: path.to_owned(), source };
    // A link keeps pointing where it points: the file behind it is replaced.
    let real = fs::canonicalize(path).map_err(io)?;
    let text = file::read(&real).map_err(|why| EditError::Unreadable { path: path.to_owned(), why })?;
    let edited = rewrite(&text, section, keys)
        .ok_or_else(|| EditError::Unusual { path: path.to_owned(), section: section.to_owned() })?;
    let mode = fs::metadata(&real).map_err(io)?.permissions().mode() & MODE_BITS;
    files::replace(&real, edited.as_bytes(), mode).map_err(io)
}

/// The edit as a function of the text; none when it cannot be made line by line.
fn rewrite(text: &str, section: &str, keys: &[(&str, Set)]) -> Option<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let header = match lines.iter().position(|line| is_header(line, section)) {
        Some(header) => header,
        // It has one, in a form that is not one key a line.
        None if lines.iter().any(|line| names(line, section)) => return None,
        None => {
            if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
                last.push_str(end);
            }
            lines.push(format!("{section}:{end}"));
            lines.len() - 1
        }
    };
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(end);
    }
    let indent = indent_of(&lines[header + 1..]);
    let mut added = 0;
    for (key, value) in keys {
        let written = value.written();
        match find(&lines, header, &indent, key) {
            Some(at) => lines[at] = changed(&lines[at], &indent, key, &written, end),
            None => {
                added += 1;
                lines.insert(header + added, format!("{indent}{key}: {written}{end}"));
            }
        }
    }
    let edited = lines.concat();
    says(&edited, section, keys).then_some(edited)
}

/// The line that begins the section, with nothing on it but perhaps a comment.
fn is_header(line: &str, section: &str) -> bool {
    let rest = line.strip_prefix(section).and_then(|rest| rest.strip_prefix(':'));
    rest.is_some_and(|rest| {
        rest.trim().is_empty() || rest.trim_start().starts_with('#') && rest.starts_with([' ', '\t'])
    })
}

/// Whether the line begins the section in whatever form.
fn names(line: &str, section: &str) -> bool {
    let bare = line.trim_start_matches(['"', '\'', '{', ' ']);
    let rest = bare.strip_prefix(section).map(|rest| rest.trim_start_matches(['"', '\'', ' ']));
    rest.is_some_and(|rest| rest.starts_with(':'))
}

fn is_blank(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn indent_of(below: &[String]) -> String {
    let first = below.iter().find(|line| !is_blank(line));
    let indent: String =
        first.map(|line| line.chars().take_while(|c| *c == ' ').collect()).unwrap_or_default();
    if indent.is_empty() { INDENT.to_owned() } else { indent }
}

fn find(lines: &[String], header: usize, indent: &str, key: &str) -> Option<usize> {
    for (at, line) in lines.iter().enumerate().skip(header + 1) {
        if !is_blank(line) && !line.starts_with(' ') {
            return None;
        }
        let rest = line.strip_prefix(indent).and_then(|line| line.strip_prefix(key));
        if rest
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|rest| rest.starts_with([' ', '\n', '\r']))
        {
            return Some(at);
        }
    }
    None
}

/// The line with another value; its comment stays.
fn changed(line: &str, indent: &str, key: &str, written: &str, end: &str) -> String {
    let comment = line.rfind(" #").map_or("", |at| line[at..].trim_end());
    format!("{indent}{key}: {written}{comment}{end}")
}

/// Whether the text reads as it was meant.
fn says(text: &str, section: &str, keys: &[(&str, Set)]) -> bool {
    let (entries, problems) = file::parse(text, Path::new(""));
    problems.is_empty()
        && keys.iter().all(|(key, wanted)| {
            let path = format!("{section}.{key}");
            let mut found = entries.iter().filter(|entry| entry.key == path);
            found.next().is_some_and(|entry| wanted.is(&entry.value)) && found.next().is_none()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> Option<String> {
        let keys = [
            ("token_file", Set::Text("/etc/x y/token".into())),
            ("chat_id", Set::Number(-100_123)),
            ("allowed_users", Set::Numbers(vec![7, 8])),
        ];
        rewrite(text, "telegram", &keys)
    }

    const ALL: &str =
        "telegram:\n  token_file: \"/etc/x y/token\"\n  chat_id: -100123\n  allowed_users: [7, 8]\n";

    #[test]
    fn a_section_is_made_filled_and_changed() {
        assert_eq!(edited("").as_deref(), Some(ALL));
        assert_eq!(edited("telegram:\n").as_deref(), Some(ALL));
        assert_eq!(edited("timezone: UTC").unwrap(), format!("timezone: UTC\n{ALL}"));
        let text = "# mine\ntelegram: # phone\n\n    # the chat\n    chat_id: \"5\"  # old\n    api_url: https://x.example\nweb:\n  chat_id: 1\n";
        insta::assert_snapshot!(edited(text).unwrap(), @r#"
        # mine
        telegram: # phone
            token_file: "/etc/x y/token"
            allowed_users: [7, 8]

            # the chat
            chat_id: -100123 # old
            api_url: https://x.example
        web:
          chat_id: 1
        "#);
        assert_eq!(edited("a: 1\r\ntelegram:\r\n  chat_id: 1\r\n").unwrap().matches("\r\n").count(), 5);
    }

    #[test]
    fn what_is_not_one_key_a_line_is_left_alone() {
        for text in [
            "telegram: {chat_id: 5}\n",
            "telegram: {api_url: https://x.example}\n",
            "\"telegram\":\n  chat_id: 5\n",
            "telegram:\n  allowed_users:\n    - 7\n",
            "telegram:\n  allowed_users: [\n    7]\n",
            "telegram:\n  chat_id: 5\n  chat_id: 6\n",
            "telegram:\n\tchat_id: 5\n",
            "- a list\n",
            "broken: [\n",
        ] {
            assert_eq!(edited(text), None, "{text}");
        }
    }

    #[test]
    fn the_files_mode_stays_and_a_link_keeps_pointing() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.yaml"), dir.path().join("link.yaml"));
        fs::write(&real, "timezone: UTC\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        set(&link, "telegram", &[("chat_id", Set::Number(4))]).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "timezone: UTC\ntelegram:\n  chat_id: 4\n");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
    }
}
