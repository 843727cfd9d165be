//! `lucid logs --daemon` and `--heartbeat`: lines of the daemon's own logs, from the daemon, or from their files
//! where it is not there: that is when they are needed most.

use std::time::Duration;

use tracing::Level;

use super::config;
use super::context::{Context, Document, api};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean};
use crate::api::wire;
use crate::daemon::logs::{self, Wanted};
use crate::health::files::HEARTBEAT_LOG;
use crate::platform::client::Request;

/// Lines when none are asked for, and at most.
const LINES_DEFAULT: u32 = 200;
const LINES_MAX: u32 = 1_000;
/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Daemon,
    Heartbeat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    Off,
    /// Until Ctrl-C.
    On,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Heartbeat => "heartbeat",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Daemon => logs::DAEMON_LOG,
            Self::Heartbeat => HEARTBEAT_LOG,
        }
    }
}

/// # Errors
/// Neither a daemon nor a file that can be read.
pub fn run(
    context: &Context,
    source: Source,
    tail: Option<u32>,
    following: Following,
) -> Result<Exit, Failure> {
    let tail = tail.unwrap_or(LINES_DEFAULT).clamp(1, LINES_MAX);
    let lines = read(context, source, 0, tail)?;
    context.show(&lines, render)?;
    if following == Following::On {
        follow(context, source, &lines.value)?;
    }
    Ok(Exit::Done)
}

/// Until it is interrupted, or its reader goes.
fn follow(context: &Context, source: Source, shown: &wire::LogLines) -> Result<(), Failure> {
    let mut after = shown.lines.last().map_or(0, |line| line.seq);
    loop {
        std::thread::sleep(LOOK_EVERY);
        let lines = read(context, source, after, LINES_MAX)?;
        if let Some(last) = lines.value.lines.last() {
            after = last.seq;
            context.show(&lines, render)?;
        }
    }
}

fn read(
    context: &Context,
    source: Source,
    after: u64,
    tail: u32,
) -> Result<Document<wire::LogLines>, Failure> {
    let path = api()
        .segment("logs")
        .query("source", source.name())
        .query("after", &after.to_string())
        .query("tail", &tail.to_string());
    match context.fetch::<wire::LogLines>(&Request::get(path)) {
        Err(Failure::Client(error)) if error.is_passing() => from_file(context, source, after, tail),
        asked => asked,
    }
}

fn from_file(
    context: &Context,
    source: Source,
    after: u64,
    tail: u32,
) -> Result<Document<wire::LogLines>, Failure> {
    let path = config::load_or_defaults(context)?.state_dir.join(source.file());
    let wanted = Wanted { after, before: u64::MAX, level: Level::INFO, part: "", tail: tail as usize };
    let found = logs::read(&path, wanted)
        .map_err(|e| anyhow::anyhow!("cannot read {}: {e}", clean(&path.to_string_lossy())))?;
    let line = |line: crate::daemon::ring::Line| wire::LogLine {
        seq: line.seq,
        at: jiff::Timestamp::from_millisecond(line.at_ms).unwrap_or_default(),
        level: line.level.as_str().to_lowercase(),
        target: line.target,
        message: line.message,
        fields: line.fields,
    };
    let value = wire::LogLines {
        schema_version: wire::SchemaVersion::default(),
        lines: found.into_iter().map(line).collect(),
    };
    let raw = serde_json::to_vec(&value).map_err(anyhow::Error::from)?;
    Ok(Document { raw, value })
}

fn render(lines: &wire::LogLines, look: &Look) -> String {
    lines.lines.iter().map(|line| one(line, look)).collect()
}

fn one(line: &wire::LogLine, look: &Look) -> String {
    let (tone, level) = match line.level.as_str() {
        "error" => (Tone::Bad, "error"),
        "warn" => (Tone::Warn, "warn"),
        "info" => (Tone::Plain, "info"),
        other => (Tone::Faint, other),
    };
    let mut text = clean(&line.message).into_owned();
    for (name, value) in &line.fields {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(" {}={}", look.paint(Tone::Faint, &clean(name)), clean(&value)));
    }
    let at = line.at.to_zoned(look.zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
    format!("{at} {} {text}\n", look.paint(tone, &format!("{:<5}", clean(level))))
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    #[test]
    fn the_daemons_lines_cannot_move_the_cursor() {
        let line = wire::LogLine {
            seq: 1,
            at: "2026-11-26T11:30:00Z".parse().unwrap(),
            level: "warn".to_owned(),
            target: "lucid".to_owned(),
            message: HOSTILE.to_owned(),
            fields: [("run".to_owned(), 7.into()), ("why".to_owned(), HOSTILE.into())].into_iter().collect(),
        };
        insta::assert_snapshot!(one(&line, &look(Paint::Plain)));
    }
}
