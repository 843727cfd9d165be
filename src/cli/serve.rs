//! `lucid serve`: the daemon in the foreground.

use super::context::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {}

/// # Errors
/// None of its own: what keeps the daemon from running is told by it, and its exit code says which.
pub fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let _ = context;
    Ok(Exit::Done)
}
