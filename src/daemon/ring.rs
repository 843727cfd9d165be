//! The daemon's own log for `lucid logs --daemon` and the API: the last lines in memory, and a file of
//! limited size that outlives the daemon.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::platform::clock::Clock;
use crate::platform::process::Masker;
use crate::platform::rolling::Rolling;

/// Lines kept.
const LINES_MAX: usize = 1000;
/// Bytes kept of one field.
const FIELD_MAX_BYTES: usize = 2048;

/// A line of the daemon's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Rises from line to line, over the daemon's restarts as well.
    pub seq: u64,
    pub at_ms: i64,
    pub level: Level,
    pub target: String,
    pub message: String,
    pub fields: Map<String, Value>,
}

/// The last lines; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogRing {
    clock: Clock,
    lines: Arc<Mutex<Lines>>,
    /// What nobody may read in a line, wherever that goes.
    masks: Arc<Mutex<Masker>>,
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    kept: VecDeque<Line>,
    /// Where they are kept beyond the life of the daemon.
    file: Option<Rolling>,
}

fn append(file: &mut Rolling, line: &Line) {
    // A log that cannot be written to is no reason to stop, and telling it here would come back here.
    let _ = file.append(line.to_json().to_string().as_bytes());
}

impl Line {
    /// As a line of the file.
    fn to_json(&self) -> Value {
        json!({
            "seq": self.seq,
            "at": jiff::Timestamp::from_millisecond(self.at_ms).unwrap_or_default().to_string(),
            "level": self.level.as_str().to_lowercase(),
            "target": self.target,
            "message": self.message,
            "fields": self.fields,
        })
    }
}

impl LogRing {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        // Beyond whatever an earlier daemon has counted to: nobody writes a line a millisecond for long.
        let next = u64::try_from(clock.wall_ms()).unwrap_or(0);
        let lines = Lines { next, ..Lines::default() };
        Self { clock, lines: Arc::new(Mutex::new(lines)), masks: Arc::default() }
    }

    /// Masks each of `secrets` in what is to come, in memory, in the file and in what is [shown](Self::shown), and
    /// in the lines in memory.
    pub fn mask(&self, secrets: &[String]) {
        *self.masks.lock().unwrap_or_else(PoisonError::into_inner) = Masker::new(secrets);
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for line in &mut lines.kept {
            line.message = self.masked(&line.message);
            for value in line.fields.values_mut() {
                if let Value::String(text) = value {
                    *text = self.masked(text);
                }
            }
        }
    }

    /// `text` without what nobody may read.
    fn masked(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.masked_bytes(text.as_bytes())).into_owned()
    }

    fn masked_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        let mut write = |bytes: &[u8]| masked.extend_from_slice(bytes);
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        masks.feed(bytes, &mut write);
        masks.flush(&mut write);
        masked
    }

    /// A writer of whole lines that masks what this masks.
    pub fn shown<W: io::Write>(&self, inner: W) -> Shown<W> {
        Shown { ring: self.clone(), inner }
    }

    /// Keeps what has been said and what is to come in a file of at most `max_bytes`, with one older one
    /// beside it.
    ///
    /// # Errors
    /// What the file system says; the lines in memory are there all the same.
    pub fn keep_in(&self, path: &Path, max_bytes: u64) -> io::Result<()> {
        let mut file = Rolling::open(path, max_bytes)?;
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().for_each(|line| append(&mut file, line));
        lines.file = Some(file);
        Ok(())
    }

    /// The last `tail` lines after `after` that are at least as grave as `level` and contain `part`.
    #[must_use]
    pub fn lines(&self, after: u64, level: Level, part: &str, tail: usize) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Line> = lines
            .kept
            .iter()
            .rev()
            .take_while(|line| line.seq > after)
            .filter(|line| line.level <= level)
            .filter(|line| part.is_empty() || line.message.contains(part) || line.target.contains(part))
            .take(tail)
            .cloned()
            .collect();
        found.reverse();
        found
    }
}

impl<S: Subscriber> Layer<S> for LogRing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut reader = Reader { ring: self, message: String::new(), fields: Map::new() };
        event.record(&mut reader);
        let metadata = event.metadata();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.next += 1;
        let line = Line {
            seq: lines.next,
            at_ms: self.clock.wall_ms(),
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: reader.message,
            fields: reader.fields,
        };
        if lines.kept.len() == LINES_MAX {
            lines.kept.pop_front();
        }
        if let Some(file) = &mut lines.file {
            append(file, &line);
        }
        lines.kept.push_back(line);
    }
}

/// Masks what is written through it, each piece for itself.
pub struct Shown<W> {
    ring: LogRing,
    inner: W,
}

impl<W: io::Write> io::Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(&self.ring.masked_bytes(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Reader<'a> {
    ring: &'a LogRing,
    message: String,
    fields: Map<String, Value>,
}

impl Reader<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Before it is cut: half a secret is no longer known for one.
        let mut text = self.ring.masked(&format!("{value:?}"));
        if text.len() > FIELD_MAX_BYTES {
            let mut end = FIELD_MAX_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push('…');
        }
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
