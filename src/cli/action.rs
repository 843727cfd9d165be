//! `lucid action`: does what a task's `action: NAME` does. A keeper runs it like any command.

use clap::builder::PossibleValuesParser;

use super::config;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::daemon::actions;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(actions::ACTIONS))]
    name: String,
}

/// # Errors
/// What kept the action from being done.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let config = config::load(context)?;
    let said = actions::run(&args.name, &config, context.clock)?;
    context.print(&format!("{}\n", clean(&said)))?;
    Ok(Exit::Done)
}
