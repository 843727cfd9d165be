//! Logs in the state directory, read back: the daemon's own, also when it is dead, and that of heartbeats.

use std::io;
use std::path::Path;
use std::str::FromStr as _;

use serde_json::Value;
use tracing::Level;

use super::ring::Line;
use crate::platform::rolling;

/// The daemon's own log below the state directory.
pub const DAEMON_LOG: &str = "logs/daemon.log";
/// The most of each file that is looked at, in bytes.
const LOOK_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Which lines.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Only those after this number.
    pub after: u64,
    /// Only those before it.
    pub before: u64,
    /// At least as grave.
    pub level: Level,
    /// Part of the message or target.
    pub part: &'a str,
    /// The last so many.
    pub tail: usize,
}

impl Wanted<'_> {
    fn covers(&self, line: &Line) -> bool {
        line.seq > self.after
            && line.seq < self.before
            && line.level <= self.level
            && (self.part.is_empty() || line.message.contains(self.part) || line.target.contains(self.part))
    }
}

/// The last lines of the log at `path` that are wanted, oldest first. What is no line of a log is left out.
///
/// # Errors
/// What the file system says; no log is no lines.
pub fn read(path: &Path, wanted: Wanted<'_>) -> io::Result<Vec<Line>> {
    let lines = rolling::tail(path, usize::MAX, LOOK_MAX_BYTES)?;
    let mut found: Vec<Line> = lines
        .iter()
        .rev()
        .filter_map(|line| parse(line))
        .filter(|line| wanted.covers(line))
        .take(wanted.tail)
        .collect();
    found.reverse();
    Ok(found)
}

/// One that has no number takes its instant for it.
fn parse(text: &str) -> Option<Line> {
    let json: Value = serde_json::from_str(text).ok()?;
    let word = |name: &str| json.get(name).and_then(Value::as_str);
    let at_ms = word("at")?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    Some(Line {
        seq: json.get("seq").and_then(Value::as_u64).or_else(|| u64::try_from(at_ms).ok())?,
        at_ms,
        level: Level::from_str(word("level")?).ok()?,
        target: word("target")?.to_owned(),
        message: word("message")?.to_owned(),
        fields: json.get("fields").and_then(Value::as_object).cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::ring::LogRing;
    use super::*;
    use crate::platform::clock::Clock;

    const ALL: Wanted<'static> =
        Wanted { after: 0, before: u64::MAX, level: Level::TRACE, part: "", tail: 100 };

    #[test]
    fn what_the_daemon_says_outlives_it_without_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DAEMON_LOG);
        let ring = LogRing::new(Clock::system());
        let subscriber = tracing_subscriber::registry().with(ring.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(run = 7, early = "hunter2-hunter2", "before there was a file");
            ring.mask(&["hunter2-hunter2".to_owned()]);
            ring.keep_in(&path, 1_000_000).unwrap();
            tracing::warn!(why = "it says hunter2-hunter2\n\u{1b}[2J", "after");
        });
        let lines = read(&path, ALL).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].fields["early"], "\"***\"");
        assert_eq!(
            (lines[0].message.as_str(), &lines[0].fields["run"]),
            ("before there was a file", &7.into())
        );
        assert!(lines[1].fields["why"].as_str().unwrap().contains("it says ***"), "{lines:?}");
        assert_eq!(read(&path, Wanted { level: Level::WARN, ..ALL }).unwrap(), lines[1..]);
        assert_eq!(read(&path, Wanted { after: lines[0].seq, ..ALL }).unwrap(), lines[1..]);
        assert_eq!(read(&path, Wanted { before: lines[1].seq, ..ALL }).unwrap(), lines[..1]);
        assert_eq!(read(&path, Wanted { part: "fter", tail: 1, ..ALL }).unwrap(), lines[1..]);
        // The next daemon counts on from there.
        let again = LogRing::new(Clock::system());
        let subscriber = tracing_subscriber::registry().with(again.clone());
        tracing::subscriber::with_default(subscriber, || tracing::info!("later"));
        assert!(again.lines(0, Level::INFO, "", 1)[0].seq >= lines[0].seq);
    }

    #[test]
    fn secrets_are_masked_in_memory_and_in_what_is_shown_too() {
        let ring = LogRing::new(Clock::system());
        ring.mask(&["hunter2-hunter2".to_owned()]);
        let shown = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (writer, sink) = (ring.clone(), std::sync::Arc::clone(&shown));
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || {
            let sink = std::sync::Arc::clone(&sink);
            writer.shown(Sink(sink))
        });
        let subscriber = tracing_subscriber::registry().with(layer).with(ring.clone());
        // A secret that would be cut in two is none any more.
        let long = format!("{}hunter2-hunter2", "x".repeat(2040));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(why = "hunter2-hunter2", long, "it is hunter2-hunter2");
        });
        let line = &ring.lines(0, Level::INFO, "", 1)[0];
        let all = format!("{line:?} {}", String::from_utf8_lossy(&shown.lock().unwrap()));
        assert_eq!(line.message, "it is ***");
        assert!(all.matches("***").count() >= 5 && !all.contains("hunter2"), "{all}");
    }

    struct Sink(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_no_line_of_a_log_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let good = r#"{"at":"2026-11-26T11:30:00Z","level":"error","target":"heartbeat","message":"m"}"#;
        let bad =
            ["half a line\"}", "[]", "{}", r#"{"at":"soon","level":"info","target":"t","message":"m"}"#];
        std::fs::write(&path, [&bad[..], &[good]].concat().join("\n")).unwrap();
        let lines = read(&path, ALL).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].seq, 1_795_692_600_000);
        assert_eq!(read(&dir.path().join("none"), ALL).unwrap(), []);
    }
}
