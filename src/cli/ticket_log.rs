//! `lucid ticket events`: what workers print and what becomes of a ticket; `-f` follows it, through restarts
//! of the daemon, without gap or double.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::context::{Context, Document, accepted};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean, fit};
use super::ticket::path;
use crate::api::wire;
use crate::model::ids::TicketId;
use crate::platform::client::{ClientError, Heard, Request};

/// How long a daemon that has gone may take to come back, in seconds.
const RETURN_SECS: u64 = 60;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID")]
    id: TicketId,
    /// Only events with a number above this one
    #[arg(long, value_name = "SEQ", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    after: i64,
    /// Follow; Ctrl-C ends the following, not the work
    #[arg(short, long)]
    follow: bool,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if !args.follow {
        let document = fetch(context, &args.id, args.after)?;
        return context.show(&document, |document, look| {
            document.events.iter().map(|event| line(event, look)).collect()
        });
    }
    let mut seq = args.after;
    let mut heard = context.clock.boot();
    loop {
        let error = match follow(context, &args.id, &mut seq, &mut heard) {
            Ok(()) => ClientError::Broken(std::io::ErrorKind::UnexpectedEof.into()),
            Err(Failure::Client(error)) if error.is_passing() => error,
            Err(failure) => return Err(failure),
        };
        if context.clock.boot().saturating_sub(heard) >= Duration::from_secs(RETURN_SECS) {
            return Err(error.into());
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}

/// Everything after `seq`, page by page, as one document.
fn fetch(context: &Context, id: &TicketId, after: i64) -> Result<Document<wire::TicketEvents>, Failure> {
    let mut all: Option<wire::TicketEvents> = None;
    let mut seq = after;
    loop {
        let target = path(id).segment("events").query("after", &seq.to_string());
        let page = context.fetch::<wire::TicketEvents>(&Request::get(target))?;
        let (more, last) = (page.value.more, page.value.events.last().map(|event| event.seq));
        match &mut all {
            // Nearly always all there is: it is given on as it came.
            None if !more => return Ok(page),
            None => all = Some(page.value),
            Some(all) => {
                all.events.extend(page.value.events);
                all.more = more;
            }
        }
        seq = last.unwrap_or(seq);
        if let Some(all) = all.take_if(|_| !more || last.is_none()) {
            let bad = |error| anyhow::anyhow!("cannot join the pages: {error}");
            return Ok(Document { raw: serde_json::to_vec(&all).map_err(bad)?, value: all });
        }
    }
}

/// What there is, then what comes, until the stream ends.
fn follow(context: &Context, id: &TicketId, seq: &mut i64, heard: &mut Duration) -> Result<(), Failure> {
    catch_up(context, id, seq)?;
    let target = path(id).segment("stream");
    let answer = context.client()?.stream(target, Some(&seq.to_string()))?;
    let mut events = accepted(answer)?.events();
    loop {
        let said = events.hear()?;
        *heard = context.clock.boot();
        match said {
            Heard::Event(event) if event.kind == "reset" => catch_up(context, id, seq)?,
            Heard::Event(event) if event.kind == "ticket_event" => {
                let bad =
                    |error| anyhow::anyhow!("an event of the daemon does not read as expected: {error}");
                print(context, &serde_json::from_str(&event.data).map_err(bad)?, seq)?;
            }
            // Kinds that are yet to come.
            Heard::Event(_) | Heard::Comment => {}
            Heard::End => return Ok(()),
        }
    }
}

fn catch_up(context: &Context, id: &TicketId, seq: &mut i64) -> Result<(), Failure> {
    for event in fetch(context, id, *seq)?.value.events {
        print(context, &event, seq)?;
    }
    Ok(())
}

fn print(context: &Context, event: &wire::TicketEvent, seq: &mut i64) -> Result<(), Failure> {
    if event.seq <= *seq {
        return Ok(());
    }
    let text = if context.globals.json {
        let bad = |error| anyhow::anyhow!("cannot write an event: {error}");
        format!("{}\n", serde_json::to_string(event).map_err(bad)?)
    } else {
        line(event, &context.look())
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
    *seq = event.seq;
    Ok(())
}

/// One event on one line that fits.
fn line(event: &wire::TicketEvent, look: &Look) -> String {
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let tone = if event.source == "lucid" { Tone::Live } else { Tone::Plain };
    let at = look.instant(event.at);
    let kind = clean(&event.kind).into_owned();
    let used = at.len() + kind.chars().count() + 2;
    let gist = clean(&gist(&event.kind, &data)).into_owned();
    let gist = fit(&gist, look.width.saturating_sub(used));
    format!("{} {} {gist}", look.paint(Tone::Faint, &at), look.paint(tone, &kind)).trim_end().to_owned()
        + "\n"
}

/// What an event says, in a few words.
fn gist(kind: &str, data: &Value) -> String {
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let told = match kind {
        "ticket_moved" => {
            let reason = text("reason").map(|reason| format!(": {reason}")).unwrap_or_default();
            text("from").zip(text("to")).map(|(from, to)| format!("{from} -> {to}{reason}"))
        }
        "ticket_commented" => text("actor").zip(text("body")).map(|(actor, body)| format!("{actor}: {body}")),
        "ticket_asked" => text("need"),
        "assistant" | "user" => data.pointer("/message/content").map(spoken),
        "result" => text("result"),
        _ => None,
    };
    let known = told.or_else(|| text("text")).or_else(|| text("message")).or_else(|| text("summary"));
    known.unwrap_or_else(|| match data {
        Value::Null => String::new(),
        Value::String(line) => line.clone(),
        other => other.to_string(),
    })
}

/// The parts of a message: its words, the names of tools.
fn spoken(content: &Value) -> String {
    let Value::Array(parts) = content else {
        return content.as_str().map_or_else(|| content.to_string(), str::to_owned);
    };
    let part = |part: &Value| {
        let text = |name: &str| part.get(name).and_then(Value::as_str).map(str::to_owned);
        let tool = || Some(format!("[{} {}]", text("name")?, part.get("input")?));
        text("text")
            .or_else(tool)
            .or_else(|| text("type").map(|kind| format!("[{kind}]")))
            .unwrap_or_default()
    };
    parts.iter().map(part).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::{HOSTILE, look};
    use super::super::look::{Paint, columns};
    use super::*;
    use serde_json::json;

    fn event(seq: i64, source: &str, kind: &str, data: &Value) -> wire::TicketEvent {
        wire::TicketEvent {
            seq,
            at: "2026-11-26T11:00:00Z".parse().unwrap(),
            kind: kind.to_owned(),
            source: source.to_owned(),
            run: None,
            data: serde_json::value::RawValue::from_string(data.to_string()).unwrap(),
        }
    }

    #[test]
    fn each_event_is_one_line_that_fits() {
        let content = json!([{"type": "text", "text": "Reading."},
            {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}, {"type": "tool_result"}]);
        let events = [
            event(1, "lucid", "ticket_moved", &json!({"from": "todo", "to": "in_progress"})),
            event(2, "lucid", "ticket_commented", &json!({"actor": "user:a", "body": HOSTILE.repeat(4)})),
            event(3, "worker", "assistant", &json!({"type": "assistant", "message": {"content": content}})),
            event(4, "worker", "result", &json!({"result": "Fixed."})),
            event(5, "worker", "raw", &json!(HOSTILE)),
            event(6, "worker", HOSTILE, &json!({"x": 1})),
            event(7, "worker", "raw", &Value::Null),
        ];
        let text: String = events.iter().map(|event| line(event, &look(Paint::Plain))).collect();
        assert_eq!(text.lines().count(), events.len());
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
