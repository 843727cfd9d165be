//! The built-ins that `action:` names. Each runs as `lucid action NAME` under a keeper like any
//! command, so that one that hangs is killed like anything else.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::Config;
use crate::platform::clock::Clock;
use crate::store::{self, backup};

/// Names that a task file may use.
pub const ACTIONS: &[&str] =
    &["db-backup", super::dispatch::TICKET_PICKUP, super::health::HEARTBEAT, super::health::TOKEN_HEALTH];

/// Runs one built-in to its end and gives what it has to say.
///
/// # Errors
/// Says what failed; the caller exits non-zero.
pub fn run(name: &str, config: &Config, clock: Clock) -> anyhow::Result<String> {
    match name {
        "db-backup" => db_backup(config, clock),
        other => bail!("there is no action `{other}`; known: {}", ACTIONS.join(", ")),
    }
}

/// A copy taken while the daemon works, opened and checked, then the old ones thinned out.
fn db_backup(config: &Config, clock: Clock) -> anyhow::Result<String> {
    let now_ms = clock.wall_ms();
    let database = config.state_dir.join(store::DATABASE_FILE);
    let dir = &config.backup.dir;
    let made = backup::backup(&database, dir, now_ms).context("backing up the database")?;
    let daily = config.backup.keep_daily as usize;
    let weekly = config.backup.keep_weekly as usize;
    let deleted = backup::rotate(dir, now_ms, daily, weekly).context("thinning out old backups")?;
    Ok(format!(
        "backed up to {} ({} bytes), restored to a copy and checked; sha256 {}; {} old deleted",
        made.path.display(),
        made.bytes,
        made.sha256,
        deleted.len()
    ))
}

/// Opens a copy and checks all of it; writes nothing.
///
/// # Errors
/// Says what is wrong with the copy.
pub fn verify_backup(file: &Path, clock: Clock) -> anyhow::Result<backup::BackupInfo> {
    Ok(backup::verify(file, clock.wall_ms())?)
}
