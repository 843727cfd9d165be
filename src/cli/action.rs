//! `lucid action`: does what a task's `action: NAME` does. A keeper runs it like any command.

use clap::builder::PossibleValuesParser;

use super::config;
use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::clean;
use super::{heartbeat, token_health};
use crate::api::wire;
use crate::daemon::{actions, dispatch, health};
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(actions::ACTIONS))]
    name: String,
}

/// # Errors
/// What kept the action from being done.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.name == dispatch::TICKET_PICKUP {
        return pick_up(context);
    }
    if args.name == health::HEARTBEAT {
        return heartbeat::run(context, heartbeat::By::Task);
    }
    if args.name == health::TOKEN_HEALTH {
        return token_health::run(context);
    }
    let config = config::load(context)?;
    let said = actions::run(&args.name, &config, context.clock)?;
    context.print(&format!("{}\n", clean(&said)))?;
    Ok(Exit::Done)
}

/// A pass happens inside the daemon; this asks for one.
fn pick_up(context: &Context) -> Result<Exit, Failure> {
    let request = Request::post(api().segment("dispatch").segment("pass")).json(b"{}".to_vec());
    let passed = context.fetch::<wire::PassDocument>(&request)?;
    context.show(&passed, |passed, _| match &passed.held {
        Some(held) => format!("nothing is dispatched: {held}\n"),
        None => format!("{} placed, {} waiting\n", passed.placed, passed.waiting),
    })
}
