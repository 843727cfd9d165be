//! What the janitor had to do, one JSON object a line, for whoever looks for a pattern in it. The file stays
//! within its size: the older half goes.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::Serialize;

use crate::platform::files;

/// In the state directory.
pub const FILE: &str = "janitor_learnings.jsonl";
/// Largest size, in bytes; at it the older half goes.
const MAX_BYTES: u64 = 4_000_000;
const MODE: u32 = 0o600;

/// One thing done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Learning {
    /// RFC 3339, UTC.
    pub at: String,
    pub ticket: String,
    pub verdict: &'static str,
    pub why: String,
    pub action: String,
    pub state: &'static str,
    pub attempt: u32,
    pub agent: Option<String>,
    pub run: Option<i64>,
    /// How long the ticket had been there, milliseconds.
    pub age_ms: i64,
}

/// Adds `learnings` to the file in `dir`.
///
/// # Errors
/// What the file system says.
pub fn append(dir: &Path, learnings: &[Learning]) -> io::Result<()> {
    keep(&dir.join(FILE), learnings, MAX_BYTES)
}

fn keep(path: &Path, learnings: &[Learning], max_bytes: u64) -> io::Result<()> {
    if learnings.is_empty() {
        return Ok(());
    }
    let mut lines = Vec::new();
    for learning in learnings {
        serde_json::to_writer(&mut lines, learning)?;
        lines.push(b'\n');
    }
    let size = std::fs::metadata(path).map_or(0, |found| found.len());
    if size + lines.len() as u64 > max_bytes {
        let half = files::tail(path, max_bytes / 2).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(e),
        })?;
        // The first line is cut in two unless the file began with it.
        let begin = half.iter().position(|b| *b == b'\n').map_or(half.len(), |at| at + 1);
        files::replace_unsynced(path, &half[begin..], MODE)?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(MODE).open(path)?;
    // One write: a reader never sees half of a pass.
    file.write_all(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learning(n: i64) -> Learning {
        Learning {
            at: "2026-07-04T03:00:00Z".to_owned(),
            ticket: format!("MC-{n}"),
            verdict: "stale_in_progress",
            why: "hostile \u{202e}\n\"<b>".to_owned(),
            action: "stopped".to_owned(),
            state: "in_progress",
            attempt: 1,
            agent: None,
            run: Some(n),
            age_ms: 1,
        }
    }

    #[test]
    fn every_line_is_one_object_and_the_file_stays_within_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for n in 0..200 {
            keep(&path, &[learning(n), learning(n)], 4_000).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= 4_000);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(objects.len() > 5);
        assert_eq!(objects.last().unwrap()["ticket"], "MC-199", "the newest stay");
        append(dir.path(), &[]).unwrap();
    }
}
