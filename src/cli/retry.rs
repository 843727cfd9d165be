//! `lucid retry`: runs the task of an ended run again.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::kill::a_run;
use super::run::{show_started, start};
use crate::model::ids::RunId;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its number, as `lucid runs` shows it
    #[arg(value_name = "RUN", value_parser = a_run)]
    run: RunId,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = api().segment("runs").segment(&args.run.0.to_string()).segment("retry");
    let started = start(context, path.into(), &serde_json::json!({}))?;
    show_started(context, &started)
}
