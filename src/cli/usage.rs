//! `lucid usage`: tokens and money that runs have used.

use super::context::{Context, api, run_reference};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::Look;
use crate::api::wire;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this ticket
    #[arg(long, value_name = "ID")]
    ticket: Option<String>,
    /// How many runs
    #[arg(short, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    n: u32,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut path = api().segment("usage").query("limit", &args.n.to_string());
    if let Some(ticket) = &args.ticket {
        path = path.query("ticket", ticket);
    }
    let shown = context.fetch::<wire::UsageDocument>(&Request::get(path))?;
    context.show(&shown, |document, look| render(&document.usage, look))
}

fn render(usage: &[wire::RunUsage], look: &Look) -> String {
    if usage.is_empty() {
        return "No agent has used anything.\n".to_owned();
    }
    let mut grid = Grid::new(
        &["RUN", "FOR", "AGENT", "MODEL", "IN", "OUT", "CACHE READ", "CACHE WRITE", "USD", "AGE"],
        &[3, 1],
    );
    for used in usage {
        grid.row(vec![
            Cell::plain(&run_reference(used.run)),
            Cell::plain(used.ticket.as_deref().unwrap_or(&used.task)),
            Cell::plain(&used.agent),
            Cell::plain(used.model.as_deref().unwrap_or("-")),
            Cell::plain(&used.input_tokens.to_string()).right(),
            Cell::plain(&used.output_tokens.to_string()).right(),
            Cell::plain(&used.cache_read_tokens.to_string()).right(),
            Cell::plain(&used.cache_write_tokens.to_string()).right(),
            Cell::plain(used.cost_usd.as_deref().unwrap_or("unknown")).right(),
            Cell::plain(&look.since(used.at)).right(),
        ]);
    }
    grid.render(look)
}
