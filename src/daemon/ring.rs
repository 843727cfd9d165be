//! The daemon's own last log lines, kept in memory for `lucid logs --daemon` and the API.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::platform::clock::Clock;

/// Lines kept.
const LINES_MAX: usize = 1000;
/// Bytes kept of one field.
const FIELD_MAX_BYTES: usize = 2048;

/// A line of the daemon's log.
#[derive(Debug, Clone)]
pub struct Line {
    /// Counts from the start of this daemon.
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
}

#[derive(Debug, Default)]
struct Lines {
    next: u64,
    kept: VecDeque<Line>,
}

impl LogRing {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, lines: Arc::default() }
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
        let mut reader = Reader::default();
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
        lines.kept.push_back(line);
    }
}

#[derive(Default)]
struct Reader {
    message: String,
    fields: Map<String, Value>,
}

impl Reader {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = format!("{value:?}");
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
