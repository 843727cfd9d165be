//! `lucid agents`: the profiles and whether each answers, works or rests; `lucid agents enable NAME`.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean};
use crate::api::wire::{self, AgentState};
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Give a profile work again that rests
    Enable {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// # Errors
/// As [`Context::fetch`] and [`Context::show`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        None => {
            let shown = context.fetch::<wire::AgentsDocument>(&Request::get(api().segment("agents")))?;
            context.show(&shown, |document, look| render(&document.agents, look))
        }
        Some(Verb::Enable { name }) => {
            let path = api().segment("agents").segment(name).segment("enable");
            let done = context.fetch::<wire::AgentEnabled>(&Request::post(path).json(b"{}".to_vec()))?;
            context.show(&done, |done, _| {
                let what = if done.changed { "gets work again" } else { "was not resting" };
                format!("{} {what}\n", clean(&done.agent))
            })
        }
    }
}

fn render(agents: &[wire::AgentProfile], look: &Look) -> String {
    if agents.is_empty() {
        return "No agent profiles; `agents:` in the configuration makes one.\n".to_owned();
    }
    let mut grid = Grid::new(&["", "AGENT", "STATE", "WORKERS", "DIALECT", "VERSION", "WHY"], &[6, 5]);
    for agent in agents {
        let (tone, mark, word) = state(agent.state);
        let why = match (&agent.reason, agent.cooled_until) {
            (Some(reason), Some(until)) => format!("{} · again {}", reason, look.until(until)),
            (Some(reason), None) => reason.clone(),
            (None, _) => String::new(),
        };
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&agent.name),
            Cell::new(tone, word),
            Cell::plain(&format!("{}/{}", agent.busy, agent.max_parallel)).right(),
            Cell::plain(&agent.dialect),
            Cell::plain(agent.version.as_deref().unwrap_or("-")),
            Cell::plain(&why),
        ]);
    }
    grid.render(look)
}

fn state(state: AgentState) -> (Tone, &'static str, &'static str) {
    match state {
        AgentState::Ready => (Tone::Good, "ok", "ready"),
        AgentState::Busy => (Tone::Live, ">", "busy"),
        AgentState::Cooled => (Tone::Warn, "~", "cooled"),
        AgentState::Disabled => (Tone::Bad, "!", "disabled"),
        AgentState::Missing => (Tone::Bad, "!", "missing"),
    }
}
