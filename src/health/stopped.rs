//! That the daemon was stopped on purpose: written down as it goes and forgotten as one starts, so that nobody is
//! woken for what somebody wanted.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::platform::files;
use crate::platform::process::boot_id;

const FILE: &str = "stopped.json";
const MODE: u32 = 0o600;

/// A stop that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// `user:alice`, `SIGTERM from pid 1 uid 0`.
    pub by: String,
    /// A machine that was started since should have a daemon.
    boot_id: String,
}

/// Writes down who stops the daemon.
///
/// # Errors
/// What the file system says.
pub fn note(state_dir: &Path, at_ms: i64, by: &str) -> io::Result<()> {
    let stopped = Stopped { at_ms, by: by.to_owned(), boot_id: boot_id()?.to_owned() };
    let bytes = serde_json::to_vec(&stopped).map_err(io::Error::other)?;
    files::replace_unsynced(&state_dir.join(FILE), &bytes, MODE)
}

/// A daemon starts: should it not come up, that is nobody's purpose.
///
/// # Errors
/// What the file system says.
pub fn forget(state_dir: &Path) -> io::Result<()> {
    files::remove(&state_dir.join(FILE))
}

/// The stop that the last daemon of this boot was asked for.
#[must_use]
pub fn recall(state_dir: &Path) -> Option<Stopped> {
    let stopped: Stopped = serde_json::from_slice(&std::fs::read(state_dir.join(FILE)).ok()?).ok()?;
    (stopped.boot_id == boot_id().ok()?).then_some(stopped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_known_until_a_daemon_or_the_machine_starts() {
        let dir = tempfile::tempdir().unwrap();
        forget(dir.path()).unwrap();
        assert_eq!(recall(dir.path()), None);
        note(dir.path(), 7, "user:alice").unwrap();
        let stopped = recall(dir.path()).unwrap();
        assert_eq!((stopped.at_ms, stopped.by.as_str()), (7, "user:alice"));
        let before = Stopped { boot_id: "another".to_owned(), ..stopped };
        std::fs::write(dir.path().join(FILE), serde_json::to_vec(&before).unwrap()).unwrap();
        assert_eq!(recall(dir.path()), None, "the machine was started since");
        note(dir.path(), 8, "user:alice").unwrap();
        forget(dir.path()).unwrap();
        assert_eq!(recall(dir.path()), None);
    }
}
