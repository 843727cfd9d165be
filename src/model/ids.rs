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
        let bad = |why: &'static str| IdError { text: text.to_owned(), why };
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
#[error("`{text}` is no task id: {why}")]
pub struct IdError {
    pub text: String,
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
                Err(IdError { text: text.to_owned(), why: "a run is a number such as `8132` or `#8132`" })
            }
        }
    }
}

/// Rises with every claim; a write that carries an older one changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);

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
}
