//! What crosses into a run's process and back, as plain data, and the names of the files of a run's directory.
//!
//! Nothing here starts, signals or waits for anything. [`Private`] is never written to disk: it travels
//! with "go" through the gate pipe.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::platform::files;

/// Largest [`Private`] that the gate carries, in bytes of its JSON form.
pub const PRIVATE_MAX_BYTES: usize = 256 * 1024;

/// Mode of a run's files; its directory is [`DIR_MODE`].
pub const FILE_MODE: u32 = 0o600;
/// Mode of a run's directory.
pub const DIR_MODE: u32 = 0o700;

/// Names inside a run's directory. The contract fixes them, but for those marked as internal.
pub mod name {
    pub const SPEC: &str = "spec.json";
    pub const LOCK: &str = "keeper.lock";
    pub const CONTROL: &str = "control";
    pub const STARTED: &str = "started";
    pub const OUTPUT: &str = "output.log";
    pub const EVENTS: &str = "events.jsonl";
    pub const STDIN: &str = "stdin.jsonl";
    pub const EXIT: &str = "exit.json";
    /// Present while something of the run outlives SIGKILL.
    pub const KILL_FAILED: &str = "kill_failed";
    /// Internal: the newest output beyond the head, until the end folds it into `output.log`.
    pub const OUTPUT_TAIL: &str = "output.tail";
    /// Internal: blocks set aside at the start, so that a full disk cannot lose an exit code.
    pub const EXIT_RESERVE: &str = "exit.reserve";
}

/// What a keeper is told, as `spec.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Name and value of the variable that marks every process of the run, e.g. `LUCID_RUN_ID` and `8132`.
    pub cookie: (String, String),
    pub argv: Vec<String>,
    /// Runs first, within the timeout; anything but exit code 0 ends the run.
    pub preflight: Option<Vec<String>>,
    /// The whole environment, but for the cookie and [`Private::env`].
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub timeout_ms: u64,
    /// Between SIGTERM and SIGKILL.
    pub kill_grace_ms: u64,
    /// Longest silence on stdout and stderr.
    pub idle_timeout_ms: Option<u64>,
    /// Size of `output.log` in bytes; beyond it the middle is cut.
    pub log_max: u64,
    pub stdin: Stdin,
    pub stdout: Stdout,
    #[serde(default)]
    pub cgroups: Cgroups,
}

/// Whether the command gets a cgroup of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cgroups {
    /// Where a tree is found that the keeper may write to.
    #[default]
    Auto,
    Off,
}

/// Where the command's standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    Null,
    Text(String),
    /// Whole lines of `stdin.jsonl`, as they are appended, until the end marker.
    Live,
}

/// Where the command's standard output goes; standard error always goes to `output.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdout {
    /// With standard error, in order, to `output.log`.
    Log,
    /// Whole lines to `events.jsonl`, at most `max_bytes` of them.
    Lines { max_bytes: u64 },
}

/// Secrets of a run.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    pub env: Vec<(String, String)>,
    /// Literals that output never shows; shorter ones than [`super::mask::MASK_MIN_BYTES`] are left alone.
    pub masks: Vec<String>,
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Private({} variables, {} masks)", self.env.len(), self.masks.len())
    }
}

/// How a run ended, as `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub end: End,
    pub cause: Cause,
    /// Wall clock, milliseconds since the epoch.
    pub started_ms: i64,
    /// Wall clock, milliseconds since the epoch.
    pub ended_ms: i64,
    /// By the clock that never jumps, suspend included.
    pub duration_ms: u64,
    /// Bytes that went to the log, those cut since included.
    pub log_bytes: u64,
    /// Bytes cut out of the middle of the log.
    pub log_cut_bytes: u64,
    /// Bytes that could not be written, for want of space or for an I/O error.
    pub log_lost_bytes: u64,
    /// Processes that died of SIGKILL after the keeper had begun to send it.
    pub killed: u32,
    /// SIGTERM was not enough.
    pub escalated: bool,
    /// The command left a core dump.
    pub core: bool,
    /// Processes that were still there when the command itself had ended.
    pub leftovers: u32,
}

/// What became of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Code(i32),
    Signal(i32),
    /// It could not be started: 127 not found, 126 anything else.
    Spawn {
        code: i32,
        error: String,
    },
    /// The preflight said no (128 + n for a signal); the command never ran.
    Preflight {
        code: i32,
    },
}

/// Why it ended when it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Itself,
    Timeout,
    Idle,
    /// Asked to stop, with the reason given.
    Stop(String),
}

/// What `started` holds below the keeper's line, of whose lock it is another name: the command may have run
/// from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Wall clock, milliseconds since the epoch.
    pub started_ms: i64,
    /// Milliseconds since boot, by the clock that counts suspend; keepers of earlier builds do not say it.
    #[serde(default)]
    pub begun_ms: Option<u64>,
    /// The command's cgroup, if it could be made.
    pub cgroup: Option<PathBuf>,
}

impl Spec {
    /// Writes `spec.json` into `dir`, which it makes (mode 0700) when it is not there. Not synced, like
    /// `started`: after a power loss the boot id says that nothing of the run lives, and nothing reads it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)?;
        files::replace_unsynced(&dir.join(name::SPEC), &serde_json::to_vec(self)?, FILE_MODE)
    }

    /// Reads `spec.json` of `dir`.
    ///
    /// # Errors
    /// The file is missing, unreadable or no spec.
    pub fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(dir.join(name::SPEC))?)?)
    }

    /// The run's own variables, its secrets, and last what marks it: none of the others can hide the mark.
    pub(super) fn environment(&self, secret: &[(String, String)]) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = Vec::new();
        for (name, value) in self.env.iter().chain(secret).chain([&self.cookie]) {
            match env.iter_mut().find(|(known, _)| known == name) {
                Some(slot) => slot.1.clone_from(value),
                None => env.push((name.clone(), value.clone())),
            }
        }
        env
    }
}

impl End {
    /// The same, with an error text of at most `max_bytes`.
    #[must_use]
    pub(super) fn with_error_cut_at(self, max_bytes: usize) -> Self {
        match self {
            Self::Spawn { code, mut error } => {
                let mut len = error.len().min(max_bytes);
                while !error.is_char_boundary(len) {
                    len -= 1;
                }
                error.truncate(len);
                Self::Spawn { code, error }
            }
            Self::Code(_) | Self::Signal(_) | Self::Preflight { .. } => self,
        }
    }
}

impl Exit {
    /// Reads `exit.json` of `dir`; `None` while there is none.
    ///
    /// # Errors
    /// The file is unreadable or no exit.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        read_json(&dir.join(name::EXIT))
    }
}

impl Started {
    /// Reads `started` of `dir`; `None` while there is none. An empty or torn file counts as started.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(name::STARTED)) {
            Ok(bytes) => {
                let json = bytes.iter().position(|&b| b == b'\n').map_or(&[][..], |end| &bytes[end + 1..]);
                Ok(Some(serde_json::from_slice(json).unwrap_or(Self {
                    started_ms: 0,
                    begun_ms: None,
                    cgroup: None,
                })))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec {
            cookie: ("LUCID_RUN_ID".into(), "7".into()),
            argv: vec!["/bin/sh".into(), "-ec".into(), "echo \"$(id)\" `x` \u{0}".into()],
            preflight: None,
            env: vec![("A".into(), "b=c".into())],
            cwd: "/".into(),
            timeout_ms: 1,
            kill_grace_ms: 2,
            idle_timeout_ms: Some(3),
            log_max: 4,
            stdin: Stdin::Text("ü\n".into()),
            stdout: Stdout::Lines { max_bytes: 5 },
            cgroups: Cgroups::Auto,
        };
        spec.write(&dir.path().join("8132")).unwrap();
        assert_eq!(Spec::read(&dir.path().join("8132")).unwrap(), spec);
    }

    #[test]
    fn private_values_do_not_show_in_debug_output() {
        let private = Private {
            env: vec![("T".into(), "hunter2hunter2".into())],
            masks: vec!["hunter2hunter2".into()],
        };
        assert!(!format!("{private:?}").contains("hunter"));
    }
}
