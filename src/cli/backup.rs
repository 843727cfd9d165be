//! `lucid backup`: the daemon copies its database and verifies the copy; `backup verify` looks at a copy.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::context::{Context, Document, api};
use super::failure::{Exit, Failure};
use super::look::{Look, clean};
use crate::api::wire;
use crate::daemon::actions;
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
        Some(Verb::Verify { file }) => verify(context, file),
    }
}

fn verify(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let sound = actions::verify_backup(file, context.clock)?;
    let verified_at = Timestamp::from_millisecond(sound.verified_at_ms)
        .map_err(|error| anyhow::anyhow!("the clock is out of range: {error}"))?;
    let backup = wire::Backup {
        path: sound.path.to_string_lossy().into_owned(),
        bytes: sound.bytes,
        sha256: sound.sha256,
        verified_at,
    };
    let document = wire::BackupDocument { schema_version: wire::SchemaVersion::default(), backup };
    let raw = serde_json::to_vec(&document)
        .map_err(|error| anyhow::anyhow!("cannot write the document: {error}"))?;
    context.show(&Document { raw, value: document }, |document, look| render(&document.backup, look))
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

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::look;
    use super::*;

    #[test]
    fn a_copy_is_named_with_its_proof() {
        let backup = wire::Backup {
            path: "/var/lib/lucid/backups/lucid-20261126T020000Z.db".to_owned(),
            bytes: 96_100_000,
            sha256: "ab".repeat(32),
            verified_at: "2026-11-26T02:00:01Z".parse().unwrap(),
        };
        insta::assert_snapshot!(render(&backup, &look(Paint::Plain)));
    }
}
