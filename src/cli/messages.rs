//! `lucid messages`: what people sent to workers, and how far it got.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone};
use crate::api::wire;
use crate::model::message::MessageState;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these states, separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    n: u32,
}

fn state(text: &str) -> Result<String, String> {
    let names: Vec<&str> = MessageState::ALL.into_iter().map(MessageState::name).collect();
    let known = MessageState::parse(text).map(|_| text.to_owned());
    known.ok_or_else(|| format!("there are: {}", names.join(", ")))
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut target = api().segment("messages").query("limit", &args.n.to_string());
    if !args.state.is_empty() {
        target = target.query("state", &args.state.join(","));
    }
    let page = context.fetch::<wire::MessagePage>(&Request::get(target))?;
    context.show(&page, |page, look| render(&page.messages, look))
}

fn render(messages: &[wire::Message], look: &Look) -> String {
    if messages.is_empty() {
        return "No messages.\n".to_owned();
    }
    let mut grid = Grid::new(&["", "ID", "TICKET", "STATE", "AGE", "FROM", "TEXT", "WHY"], &[5, 6, 7]);
    for message in messages {
        let (tone, mark) = mark(message.state);
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&message.id.to_string()).right(),
            Cell::plain(&message.ticket),
            Cell::new(tone, message.state.name()),
            Cell::plain(&look.since(message.created_at)).right(),
            Cell::plain(&message.author),
            Cell::plain(&message.text),
            Cell::plain(message.error.as_deref().unwrap_or_default()),
        ]);
    }
    grid.render(look)
}

fn mark(state: MessageState) -> (Tone, &'static str) {
    match state {
        MessageState::Received | MessageState::Queued => (Tone::Plain, "-"),
        MessageState::Claimed => (Tone::Live, ">"),
        MessageState::Delivered => (Tone::Live, "d"),
        MessageState::Acked => (Tone::Good, "."),
        MessageState::Expired => (Tone::Warn, "e"),
        MessageState::Failed => (Tone::Warn, "f"),
        MessageState::Dead => (Tone::Bad, "x"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::{HOSTILE, look};
    use super::super::look::{Paint, columns};
    use super::*;

    #[test]
    fn every_state_has_its_row_on_one_line_of_80_columns() {
        let rows: Vec<wire::Message> = MessageState::ALL
            .into_iter()
            .zip(1..)
            .map(|(state, id)| wire::Message {
                id,
                ticket: "MC-1".into(),
                state,
                attempts: 0,
                text: HOSTILE.repeat(2),
                author: "user:alice".into(),
                via: "cli".into(),
                created_at: "2026-11-26T11:00:00Z".parse().unwrap(),
                delivered_at: None,
                acked_at: None,
                error: (state == MessageState::Dead).then(|| HOSTILE.to_owned()),
            })
            .collect();
        let text = render(&rows, &look(Paint::Plain));
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
