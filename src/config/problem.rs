//! What is wrong with a config, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

/// Why there is no usable config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigErrors {
    /// There is no file in any of the usual places.
    #[error("{}", not_found(looked))]
    NotFound { looked: Vec<PathBuf> },
    /// There is one, and this is wrong with it or with the environment; never empty.
    #[error("{}", lines(problems))]
    Refused { problems: Vec<Problem> },
}

impl ConfigErrors {
    pub(super) fn one(place: Place, message: String) -> Self {
        Self::Refused { problems: vec![Problem { place, message }] }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
}

/// Where it is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Line and column count from 1, the column in characters.
    Line {
        path: PathBuf,
        line: u64,
        column: u64,
    },
    Path(PathBuf),
    Env(String),
    /// The defaults that are built in: a mistake of ours, which a test keeps from happening.
    Embedded,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "environment: {name}"),
            Self::Embedded => f.write_str("built-in default"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn not_found(looked: &[PathBuf]) -> String {
    let places: Vec<String> = looked.iter().map(|path| format!("  {}", path.display())).collect();
    format!(
        "no config found; looked at\n{}\nWrite one there (an empty file takes every default) or name one with --config FILE.",
        places.join("\n")
    )
}
