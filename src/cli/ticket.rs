//! `lucid ticket`: one ticket, from its making to its end. What it looks like is in `ticket_view`, its log
//! in `ticket_log`.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::context::{Context, Document, api};
use super::failure::{Exit, Failure};
use super::instant::{Instant, instant};
use super::look::{Look, clean};
use super::{ticket_log, ticket_view};
use crate::api::wire;
use crate::model::ids::TicketId;
use crate::model::ticket::{Priority, TicketState};
use crate::platform::client::{Method, Request, Target};

/// Text that a command reads from a file or its input, in bytes: what the daemon takes in one request.
const TEXT_MAX_BYTES: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a ticket
    New(New),
    /// A ticket with its conversation
    Show(Which),
    /// Put a ticket into another state; `done` goes through the gate
    Move(MoveTo),
    /// Say something on a ticket; `-` reads it from standard input
    Comment(Say),
    /// Ask a person; the ticket waits for the answer
    Ask(AskFor),
    /// End a ticket without a commit
    Close(Close),
    /// Have a ticket worked on now
    Dispatch(Which),
    /// What its workers print and what becomes of it
    Events(ticket_log::Args),
    /// Say how the work ended
    Report(Report),
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(value_name = "ID")]
    id: TicketId,
}

#[derive(Debug, clap::Args)]
struct New {
    #[arg(long, value_name = "TEXT")]
    title: String,
    /// What is to be done
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    body: Option<String>,
    /// The same from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body_file: Option<PathBuf>,
    #[arg(long, value_name = "P", default_value = "normal", value_parser = priority)]
    priority: Priority,
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// The profile that is to work on it
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
}

#[derive(Debug, clap::Args)]
struct MoveTo {
    #[arg(value_name = "ID")]
    id: TicketId,
    #[arg(value_name = "STATE", value_parser = state)]
    state: TicketState,
    /// With `waiting` and `closed`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// With `waiting`: when what it waits for is expected
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<Instant>,
}

#[derive(Debug, clap::Args)]
struct Say {
    #[arg(value_name = "ID")]
    id: TicketId,
    #[arg(value_name = "TEXT|-", allow_hyphen_values = true)]
    text: String,
}

#[derive(Debug, clap::Args)]
struct AskFor {
    #[arg(value_name = "ID")]
    id: TicketId,
    /// What is needed
    #[arg(long, value_name = "TEXT")]
    need: String,
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// How a person can give it
    #[arg(long, value_name = "TEXT")]
    how: Option<String>,
    /// An answer to choose; may be repeated
    #[arg(long = "option", value_name = "TEXT")]
    options: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Close {
    #[arg(value_name = "ID")]
    id: TicketId,
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, clap::Args)]
struct Report {
    #[arg(value_name = "ID")]
    id: TicketId,
    /// `done`, `partial`, `failed`, …
    #[arg(long, value_name = "WORD")]
    status: String,
    /// One line
    #[arg(long, value_name = "TEXT")]
    summary: String,
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// What was measured
    #[arg(long, value_name = "TEXT")]
    evidence: Option<String>,
}

fn priority(text: &str) -> Result<Priority, String> {
    Priority::parse(text).ok_or_else(|| "there are: low, normal, high, critical".to_owned())
}

fn state(text: &str) -> Result<TicketState, String> {
    let names: Vec<&str> = TicketState::ALL.into_iter().map(TicketState::name).collect();
    TicketState::parse(text).ok_or_else(|| format!("there are: {}", names.join(", ")))
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        Verb::New(new) => make(context, new),
        Verb::Show(which) => ticket_view::show(context, &which.id),
        Verb::Move(to) => move_to(context, to),
        Verb::Comment(say) => comment(context, say),
        Verb::Ask(ask) => {
            let wish = wire::AskPerson {
                need: ask.need.clone(),
                why: ask.why.clone(),
                how: ask.how.clone(),
                options: ask.options.clone(),
            };
            change(context, &Request::post(path(&ask.id).segment("ask")).json(body(&wish)?))
        }
        Verb::Close(close) => {
            let patch = wire::TicketPatch {
                state: Some(TicketState::Closed),
                reason: Some(close.reason.clone()),
                ..wire::TicketPatch::default()
            };
            change(context, &Request::new(Method::Patch, path(&close.id)).json(body(&patch)?))
        }
        Verb::Dispatch(which) => {
            change(context, &Request::post(path(&which.id).segment("dispatch")).json(b"{}".to_vec()))
        }
        Verb::Events(args) => ticket_log::run(context, args),
        Verb::Report(report) => {
            let wish = wire::WriteReport {
                status: report.status.clone(),
                summary: report.summary.clone(),
                commit: report.commit.clone(),
                evidence: report.evidence.clone(),
            };
            change(context, &Request::post(path(&report.id).segment("report")).json(body(&wish)?))
        }
    }
}

/// `tickets/ID`
#[must_use]
pub fn path(id: &TicketId) -> Target {
    api().segment("tickets").segment(&id.to_string())
}

/// # Errors
/// Never with the types there are.
pub fn body(wish: &impl Serialize) -> Result<Vec<u8>, Failure> {
    Ok(serde_json::to_vec(wish).map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?)
}

fn change(context: &Context, request: &Request) -> Result<Exit, Failure> {
    let document: Document<wire::TicketDocument> = context.fetch(request)?;
    context.show(&document, |document, look| changed(&document.ticket, look))
}

/// One line: which, where it stands, why.
fn changed(ticket: &wire::Ticket, look: &Look) -> String {
    let (tone, _) = super::tickets::mark(ticket.state);
    let reason = ticket.reason.as_ref().map(|reason| format!(": {}", clean(&reason.text)));
    format!(
        "{} {}{} · {}\n",
        clean(&ticket.id),
        look.paint(tone, ticket.state.name()),
        reason.unwrap_or_default(),
        clean(&ticket.title)
    )
}

fn make(context: &Context, new: &New) -> Result<Exit, Failure> {
    let text = match (&new.body, &new.body_file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => read_text(file)?,
        (None, None) => String::new(),
    };
    let wish = wire::CreateTicket {
        title: new.title.clone(),
        body: text,
        priority: new.priority,
        assignee: None,
        agent: new.agent.clone(),
        pool: new.pool.clone(),
        max_attempts: None,
    };
    change(context, &Request::post(api().segment("tickets")).json(body(&wish)?))
}

fn move_to(context: &Context, to: &MoveTo) -> Result<Exit, Failure> {
    let patch = wire::TicketPatch {
        state: Some(to.state),
        reason: to.reason.clone(),
        until: to.until.map(|until| context.resolve(until)).transpose()?,
        ..wire::TicketPatch::default()
    };
    change(context, &Request::new(Method::Patch, path(&to.id)).json(body(&patch)?))
}

fn comment(context: &Context, say: &Say) -> Result<Exit, Failure> {
    let wish = wire::WriteComment { body: text_or_input(&say.text)? };
    let request = Request::post(path(&say.id).segment("comments")).json(body(&wish)?);
    let document = context.fetch::<wire::CommentDocument>(&request)?;
    context.show(&document, |_, _| format!("{}: noted\n", say.id))
}

/// The text itself, or for `-` all of standard input.
///
/// # Errors
/// When the input cannot be read or is no text.
pub fn text_or_input(text: &str) -> Result<String, Failure> {
    if text == "-" { read_text(&PathBuf::from("-")) } else { Ok(text.to_owned()) }
}

fn read_text(file: &PathBuf) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(TEXT_MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(TEXT_MAX_BYTES + 1).read_to_string(&mut text))
    };
    let name = file.display();
    match read {
        Ok(bytes) if bytes as u64 > TEXT_MAX_BYTES => Err(Failure::usage(
            format!("{name} has more than {TEXT_MAX_BYTES} bytes"),
            "put it into a file and link that: lucid api POST /api/v1/tickets/ID/context '{\"path\": \"FILE\"}'",
        )),
        Ok(_) => Ok(text),
        Err(error) => {
            Err(Failure::usage(format!("cannot read {name}: {error}"), "give a file of UTF-8 text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::tickets::tests::ticket;
    use super::*;

    #[test]
    fn a_change_is_one_line() {
        let mut ticket = ticket("MC-1", TicketState::Closed);
        ticket.title = HOSTILE.to_owned();
        ticket.reason = Some(wire::TicketReason {
            code: "closed".into(),
            text: HOSTILE.into(),
            since: "2026-11-26T11:00:00Z".parse().unwrap(),
        });
        let text = changed(&ticket, &look(Paint::Plain));
        assert_eq!(text.lines().count(), 1);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_file_is_read_as_it_is_and_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("body.md");
        std::fs::write(&file, "a\r\nb\u{0}\n").unwrap();
        assert_eq!(read_text(&file).unwrap(), "a\r\nb\u{0}\n");
        std::fs::write(&file, [0xff, 0xfe]).unwrap();
        assert_eq!(read_text(&file).unwrap_err().exit(), Exit::Usage);
        std::fs::write(&file, vec![b'x'; 1024 * 1024 + 1]).unwrap();
        assert_eq!(read_text(&file).unwrap_err().exit(), Exit::Usage);
    }
}
