//! `lucid api-errors`: requests that providers refused, counted over an hour and a day.

use std::fmt::Write as _;

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean};
use crate::api::wire;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many are listed
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    n: u32,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = api().segment("api-errors").query("limit", &args.n.to_string());
    let shown = context.fetch::<wire::ApiErrorsDocument>(&Request::get(path))?;
    context.show(&shown, render)
}

fn render(document: &wire::ApiErrorsDocument, look: &Look) -> String {
    let mut out = String::new();
    for window in &document.windows {
        let kinds: Vec<String> =
            window.by_kind.iter().map(|(kind, count)| format!("{count} {}", clean(kind))).collect();
        let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        // A String takes any text.
        let _ = writeln!(out, "last {}: {kinds}", window.window);
    }
    if document.errors.is_empty() {
        return out;
    }
    let mut grid = Grid::new(&["AGE", "KIND", "AGENT", "TICKET", "STATUS", "MESSAGE"], &[5]);
    for error in &document.errors {
        grid.row(vec![
            Cell::plain(&look.since(error.at)).right(),
            Cell::new(Tone::Warn, &error.kind),
            Cell::plain(error.agent.as_deref().unwrap_or("-")),
            Cell::plain(error.ticket.as_deref().unwrap_or("-")),
            Cell::plain(&error.status.map(|status| status.to_string()).unwrap_or_default()).right(),
            Cell::plain(&error.message),
        ]);
    }
    out.push('\n');
    out.push_str(&grid.render(look));
    out
}
