//! How a command ends: the exit codes of the contract, and failures that say what to do next.

use std::fmt;
use std::io;

use serde::Deserialize;

use super::look::clean;
use crate::config::ConfigErrors;
use crate::platform::client::ClientError;

/// What the process answers to its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// The answer is no, or what was asked for failed.
    No,
    Usage,
    NoDaemon,
    NoSuchId,
    Conflict,
    WaitTimedOut,
    NotPermitted,
    /// A code that is somebody else's: a run's, or the daemon's own.
    Code(u8),
}

impl Exit {
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NoDaemon => 3,
            Self::NoSuchId => 4,
            Self::Conflict => 5,
            Self::WaitTimedOut => 6,
            Self::NotPermitted => 7,
            Self::Code(code) => code,
        }
    }

    /// The exit for an answer's status; none for a success.
    #[must_use]
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            0..=399 => None,
            // What was typed is not what the daemon takes.
            400 | 413 | 422 => Some(Self::Usage),
            401 | 403 => Some(Self::NotPermitted),
            404 | 410 => Some(Self::NoSuchId),
            409 | 412 => Some(Self::Conflict),
            _ => Some(Self::No),
        }
    }
}

/// What a server says of a request that it refused (RFC 9457), read leniently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub status: u16,
    pub title: String,
    pub detail: Option<String>,
    pub code: Option<String>,
    pub help: Option<String>,
}

impl Problem {
    /// Reads the body of an answer whose status is 400 or above.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        if problem.title.is_empty() {
            problem.title = format!("the daemon answered {status}");
        }
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(self.detail.as_deref().unwrap_or(&self.title)))
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{message}")]
    Usage { message: String, help: String },
    #[error("{0}")]
    Refused(Problem),
    #[error("{}", client_message(.0))]
    Client(#[from] ClientError),
    /// What was wanted did not come about in the time given.
    #[error("{message}")]
    WaitTimedOut { message: String, help: String },
    /// The configuration, each of whose problems is told by itself.
    #[error("{errors}")]
    Settings { errors: ConfigErrors, exit: Exit, help: Option<String> },
    /// An end with a code of its own, told in full.
    #[error("{message}")]
    Ended { exit: Exit, message: String, help: Option<String> },
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

impl Failure {
    #[must_use]
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: help.into() }
    }

    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Refused(problem) => Exit::of_status(problem.status).unwrap_or(Exit::No),
            Self::Client(error) => match error {
                ClientError::NoListener { .. } => Exit::NoDaemon,
                ClientError::Denied { .. } => Exit::NotPermitted,
                ClientError::Unsendable(_) => Exit::Usage,
                ClientError::TimedOut { .. } | ClientError::Broken(_) | ClientError::Malformed(_) => Exit::No,
            },
            Self::WaitTimedOut { .. } => Exit::WaitTimedOut,
            Self::Settings { exit, .. } | Self::Ended { exit, .. } => *exit,
            Self::Output(_) | Self::Other(_) => Exit::No,
        }
    }

    /// The word for programs: the daemon's own, else one for the exit code.
    #[must_use]
    pub fn code(&self) -> &str {
        if let Self::Refused(Problem { code: Some(code), .. }) = self {
            return code;
        }
        match self.exit() {
            Exit::Usage => "usage",
            Exit::NoDaemon => "no_daemon",
            Exit::NoSuchId => "no_such_id",
            Exit::Conflict => "conflict",
            Exit::WaitTimedOut => "wait_timed_out",
            Exit::NotPermitted => "not_permitted",
            Exit::Done | Exit::No | Exit::Code(_) => "failed",
        }
    }

    /// What the person may do now.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Usage { help, .. } | Self::WaitTimedOut { help, .. } => Some(help.clone()),
            Self::Refused(problem) => problem.help.clone(),
            Self::Client(error) => client_help(error),
            Self::Settings { help, .. } | Self::Ended { help, .. } => help.clone(),
            Self::Output(_) | Self::Other(_) => None,
        }
    }

    /// The reader of our output has gone: there is nobody to tell.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn client_message(error: &ClientError) -> String {
    match error {
        ClientError::NoListener { socket, .. } => {
            format!("no daemon on {}", clean(&socket.to_string_lossy()))
        }
        ClientError::Denied { .. }
        | ClientError::TimedOut { .. }
        | ClientError::Broken(_)
        | ClientError::Malformed(_)
        | ClientError::Unsendable(_) => clean(&error.to_string()).into_owned(),
    }
}

fn client_help(error: &ClientError) -> Option<String> {
    match error {
        ClientError::NoListener { .. } => Some(
            "start it with `lucid serve`, or name another socket with --socket; without it there are \
                 `lucid health`, `lucid check`, `lucid next` and `lucid logs --daemon`"
                .to_owned(),
        ),
        ClientError::Denied { .. } => {
            Some("only the daemon's own user, root and the group of `control.group` may".to_owned())
        }
        ClientError::Broken(_) | ClientError::TimedOut { .. } => {
            Some("what was asked may have been done: look with `lucid status` and `lucid runs`".to_owned())
        }
        ClientError::Malformed(_) | ClientError::Unsendable(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fold_into_the_codes_of_the_contract() {
        let table =
            [(200, None), (202, None), (400, Some(2)), (401, Some(7)), (403, Some(7)), (404, Some(4))];
        let more = [(409, Some(5)), (412, Some(5)), (422, Some(2)), (500, Some(1)), (503, Some(1))];
        for (status, code) in table.into_iter().chain(more) {
            assert_eq!(Exit::of_status(status).map(Exit::code), code, "{status}");
        }
    }

    #[test]
    fn a_problem_is_read_whatever_the_body() {
        let full =
            br#"{"type":"/errors/x","title":"Conflict","status":409,"detail":"busy\u001b[2J","help":"wait"}"#;
        let problem = Problem::read(409, full);
        assert_eq!(problem.to_string(), "busy\\x1b[2J");
        let failure = Failure::Refused(problem);
        assert_eq!(failure.code(), "conflict");
        let coded = Failure::Refused(Problem::read(409, br#"{"code":"paused"}"#));
        assert_eq!(coded.code(), "paused");
        assert_eq!((failure.exit(), failure.help()), (Exit::Conflict, Some("wait".to_owned())));
        for body in [&b""[..], b"<html>", b"[]", b"{}"] {
            assert_eq!(Problem::read(502, body).to_string(), "the daemon answered 502");
        }
    }

    #[test]
    fn a_missing_daemon_is_named_with_its_path_and_the_way_out() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        let failure = Failure::from(ClientError::NoListener { socket: "/run/x/lucid.sock".into(), source });
        assert_eq!((failure.exit().code(), failure.code()), (3, "no_daemon"));
        assert_eq!(failure.to_string(), "no daemon on /run/x/lucid.sock");
        assert!(failure.help().is_some_and(|help| help.contains("`lucid serve`")));
    }
}
