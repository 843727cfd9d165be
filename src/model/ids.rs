//! Identifiers, so that a run's number can never be passed for a fence.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A task's id: its file's path below the tasks folder, without `.md`. Cheap to clone: each task's id is a key
/// in half a dozen maps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct TaskId(Arc<str>);

impl From<String> for TaskId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<TaskId> for String {
    fn from(id: TaskId) -> Self {
        id.as_str().to_owned()
    }
}

/// Longest segment of a [`TaskId`], in bytes.
pub const TASK_ID_SEGMENT_MAX: usize = 64;

impl TaskId {
    /// Accepts `[a-z0-9][a-z0-9_-]{0,63}`, with `/` between segments.
    ///
    /// # Errors
    /// Says which rule the text breaks and how to mend it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let bad = |why: &'static str| IdError { text: text.to_owned(), what: "task id", why };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        for segment in text.split('/') {
            let mut bytes = segment.bytes();
            match bytes.next() {
                None => return Err(bad("a part between slashes is empty")),
                Some(b) if !(b.is_ascii_lowercase() || b.is_ascii_digit()) => {
                    return Err(bad("each part starts with a lower-case letter or a digit"));
                }
                Some(_) => {}
            }
            if segment.len() > TASK_ID_SEGMENT_MAX {
                return Err(bad("a part is longer than 64 characters"));
            }
            if !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-') {
                return Err(bad("only lower-case letters, digits, `_` and `-` are allowed"));
            }
        }
        Ok(Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {why}")]
pub struct IdError {
    pub text: String,
    /// What it was to be the id of.
    pub what: &'static str,
    pub why: &'static str,
}

/// A run's number. Never used twice, shown as `#8132`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        match digits.parse::<i64>() {
            Ok(n) if n > 0 => Ok(Self(n)),
            Ok(_) | Err(_) => {
                let why = "a run is a number such as `8132` or `#8132`";
                Err(IdError { text: text.to_owned(), what: "run", why })
            }
        }
    }
}

/// Rises with every claim; a write that carries an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);

/// Longest prefix of a [`TicketId`], in bytes.
pub const TICKET_PREFIX_MAX: usize = 10;

/// A ticket's identifier, `MC-12`: a prefix from the settings of its day and a number that never repeats,
/// whatever the prefix. Reads in either case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    prefix: Box<str>,
    number: i64,
}

impl TicketId {
    /// # Errors
    /// When the prefix is none or the number is not above 0.
    pub fn new(prefix: &str, number: i64) -> Result<Self, IdError> {
        let bad = |why| Err(IdError { text: format!("{prefix}-{number}"), what: "ticket", why });
        if !is_ticket_prefix(prefix) {
            return bad("its prefix is a capital and up to 9 more capitals or digits");
        }
        if number < 1 {
            return bad("its number is above 0");
        }
        Ok(Self { prefix: prefix.into(), number })
    }

    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    #[must_use]
    pub fn number(&self) -> i64 {
        self.number
    }
}

/// Whether tickets can be named so: `[A-Z][A-Z0-9]{0,9}`.
#[must_use]
pub fn is_ticket_prefix(text: &str) -> bool {
    text.len() <= TICKET_PREFIX_MAX
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.prefix, self.number)
    }
}

impl FromStr for TicketId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = |why| IdError { text: text.to_owned(), what: "ticket", why };
        let (prefix, digits) = text.split_once('-').ok_or_else(|| bad("a ticket is named like `MC-12`"))?;
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        let number = number.ok_or_else(|| bad("after the dash comes its number"))?;
        Self::new(&prefix.to_ascii_uppercase(), number).map_err(|error| bad(error.why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_follow_the_contract() {
        for good in ["a", "db-backup", "sub/name_2", "0day"] {
            assert!(TaskId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a//b", "a b", "../a", "a.md", "ü"] {
            assert!(TaskId::parse(bad).is_err(), "{bad}");
        }
        assert!(TaskId::parse(&"a".repeat(64)).is_ok());
        assert!(TaskId::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn run_numbers_read_with_and_without_the_hash() {
        assert_eq!("#8132".parse::<RunId>().unwrap(), RunId(8132));
        assert_eq!("8132".parse::<RunId>().unwrap(), RunId(8132));
        for bad in ["0", "-1", "#", "x", "99999999999999999999"] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_no_id_is_told_by_its_kind() {
        let told = [
            "x".parse::<TicketId>().unwrap_err().to_string(),
            "x".parse::<RunId>().unwrap_err().to_string(),
            TaskId::parse("").unwrap_err().to_string(),
        ];
        assert_eq!(
            told,
            [
                "`x` is no ticket: a ticket is named like `MC-12`",
                "`x` is no run: a run is a number such as `8132` or `#8132`",
                "`` is no task id: it is empty",
            ]
        );
    }

    #[test]
    fn tickets_have_one_spelling() {
        assert_eq!("mc-12".parse::<TicketId>().unwrap().to_string(), "MC-12");
        assert_eq!("T0-1".parse::<TicketId>().unwrap(), TicketId::new("T0", 1).unwrap());
        let bad = ["", "MC", "MC-", "MC-0", "MC--1", "MC-+1", "-1", "1-1", "M C-1", "MC-1x", "ÄB-1"];
        for bad in bad.into_iter().chain(["ABCDEFGHIJK-1", "MC-99999999999999999999", "../MC-1"]) {
            assert!(bad.parse::<TicketId>().is_err(), "{bad}");
        }
    }
}
