//! `lucid tickets`: the board as a list, newest first, and the words for one ticket that other commands use.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone};
use crate::api::wire;
use crate::model::ticket::{Priority, TicketState};
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these states, separated by commas; `open` stands for all that are not over
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// Only with this text in title or body
    #[arg(long, value_name = "TEXT")]
    find: Option<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    n: u32,
}

fn state(text: &str) -> Result<String, String> {
    if text == "open" || TicketState::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = TicketState::ALL.into_iter().map(TicketState::name).collect();
    Err(format!("there are: open, {}", names.join(", ")))
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut target = api().segment("tickets").query("limit", &args.n.to_string());
    if !args.state.is_empty() {
        target = target.query("state", &args.state.join(","));
    }
    if let Some(text) = &args.find {
        target = target.query("q", text);
    }
    let page = context.fetch::<wire::TicketPage>(&Request::get(target))?;
    context.show(&page, render)
}

fn render(page: &wire::TicketPage, look: &Look) -> String {
    if page.tickets.is_empty() {
        return "No tickets. Make one: lucid ticket new --title TEXT\n".to_owned();
    }
    let mut grid = Grid::new(&["", "TICKET", "STATE", "PRIO", "FOR", "TITLE", "WHY"], &[5, 6]);
    for ticket in &page.tickets {
        let (tone, mark) = mark(ticket.state);
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&ticket.id),
            Cell::new(tone, ticket.state.name()),
            Cell::new(urgency(ticket.priority), ticket.priority.name()),
            Cell::plain(&look.since(ticket.updated_at)).right(),
            Cell::plain(&ticket.title),
            Cell::plain(ticket.reason.as_ref().map_or("", |reason| &reason.text)),
        ]);
    }
    let mut text = grid.render(look);
    if page.next_cursor.is_some() {
        text.push_str(&look.paint(Tone::Faint, "There are more: -n 500, or --state\n"));
    }
    text
}

/// The letter that stands for a state, and its tone.
#[must_use]
pub fn mark(state: TicketState) -> (Tone, &'static str) {
    match state {
        TicketState::Todo => (Tone::Plain, "-"),
        TicketState::InProgress => (Tone::Live, ">"),
        TicketState::NeedsInput => (Tone::Warn, "?"),
        TicketState::Waiting => (Tone::Faint, "z"),
        TicketState::Review => (Tone::Warn, "r"),
        TicketState::Done => (Tone::Good, "."),
        TicketState::Closed => (Tone::Faint, "c"),
    }
}

fn urgency(priority: Priority) -> Tone {
    match priority {
        Priority::Low => Tone::Faint,
        Priority::Normal => Tone::Plain,
        Priority::High => Tone::Warn,
        Priority::Critical => Tone::Bad,
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    pub fn ticket(id: &str, state: TicketState) -> wire::Ticket {
        wire::Ticket {
            id: id.to_owned(),
            title: "Fix the login".to_owned(),
            body: String::new(),
            state,
            priority: Priority::Normal,
            assignee: None,
            agent: None,
            pool: None,
            attempt: 0,
            max_attempts: None,
            branch: None,
            commit: None,
            run: None,
            slot: None,
            check_in_at: None,
            reason: None,
            until: None,
            ask: None,
            report: None,
            created_at: "2026-11-26T10:00:00Z".parse().unwrap(),
            updated_at: "2026-11-26T11:18:00Z".parse().unwrap(),
            version: 3,
        }
    }

    #[test]
    fn every_state_has_its_row_on_one_line_of_80_columns() {
        let mut tickets: Vec<wire::Ticket> = TicketState::ALL
            .into_iter()
            .zip(1..)
            .map(|(state, n)| ticket(&format!("MC-{n}"), state))
            .collect();
        tickets[6].title = HOSTILE.repeat(3);
        tickets[6].priority = Priority::Critical;
        tickets[6].reason = Some(wire::TicketReason {
            code: "x".into(),
            text: HOSTILE.repeat(3),
            since: "2026-11-26T11:00:00Z".parse().unwrap(),
        });
        let page = wire::TicketPage {
            schema_version: wire::SchemaVersion::default(),
            tickets,
            next_cursor: Some("x".into()),
        };
        let text = render(&page, &look(Paint::Plain));
        assert!(text.lines().all(|line| super::super::look::columns(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
