//! What is wrong with a config, in words that say what to do.

use std::fmt;
use std::path::PathBuf;

/// Longest line that is shown, in characters.
const LINE_MAX_CHARS: usize = 300;
/// Letters and digits in a row from which on a word may be a secret.
const SECRET_CHARS: usize = 20;

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
        Self::Refused { problems: vec![Problem::new(place, message)] }
    }

    /// With the lines of the file that they stand in.
    pub(super) fn quoting(self, text: &str) -> Self {
        match self {
            Self::NotFound { .. } => self,
            Self::Refused { problems } => {
                let problems = problems.into_iter().map(|problem| problem.quoting(text)).collect();
                Self::Refused { problems }
            }
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub message: String,
    /// The line of the file that it stands in, where that may be shown.
    pub line: Option<String>,
    /// What to write there.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), line: None, help: None }
    }

    pub(super) fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    /// Takes its line from the text of the file.
    pub(super) fn quoting(mut self, text: &str) -> Self {
        if let Place::Line { line, .. } = self.place {
            let index = usize::try_from(line).unwrap_or(0).checked_sub(1);
            self.line = index
                .and_then(|index| text.lines().nth(index))
                .filter(|line| is_shown(line))
                .map(str::to_owned);
        }
        self
    }
}

/// What looks like a secret stays where it is, whoever has put it there.
fn is_shown(line: &str) -> bool {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_secret = |word: &str| {
        let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
        let is_mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
        word.len() >= SECRET_CHARS && (is_mixed || has(u8::is_ascii_digit))
    };
    line.chars().count() <= LINE_MAX_CHARS && !line.split(|c| !is_of_word(c)).any(is_secret)
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
