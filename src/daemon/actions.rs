//! The built-ins that `action:` names. Each runs as `lucid action NAME` under a keeper like any
//! command, so that one that hangs is killed like anything else.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::{Config, SecretsFile, SyncAction};
use crate::ops::sync::{self, Secrets, Synced};
use crate::ops::{JANITOR, PICKUP_WATCHDOG, POOL_HEALTH, QUEUE_REAPER};
use crate::platform::clock::Clock;
use crate::store::{self, backup, rehearse};

use super::believed;
use super::upkeep::SyncResult;

pub const MORNING_BRIEF: &str = "morning-brief";
pub const WEEKLY_DIGEST: &str = "weekly-digest";
const DB_BACKUP: &str = "db-backup";

/// Names that a task file may use.
pub const ACTIONS: &[&str] = &[
    DB_BACKUP,
    super::dispatch::TICKET_PICKUP,
    super::health::HEARTBEAT,
    super::health::TOKEN_HEALTH,
    JANITOR,
    QUEUE_REAPER,
    PICKUP_WATCHDOG,
    POOL_HEALTH,
    MORNING_BRIEF,
    WEEKLY_DIGEST,
    "workspace-backup",
    "git-sync",
    "skills-sync",
];

/// What an action is and who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doer {
    /// A dispatch pass, inside the daemon.
    Pass,
    /// Asked of the daemon by the action's name.
    Daemon,
    /// A brief of this kind, made by the daemon.
    Brief(crate::ops::brief::Kind),
    /// This process looks how the box is, then tells the daemon.
    Heartbeat,
    /// This process looks whether logins still work, then tells the daemon.
    TokenHealth,
    /// This process, which then tells the daemon.
    Syncs(SyncAction),
    /// This process.
    Here,
}

/// Who does `action`.
#[must_use]
pub fn doer(action: &str) -> Doer {
    if action == super::dispatch::TICKET_PICKUP {
        return Doer::Pass;
    }
    if crate::ops::UPKEEP.contains(&action) {
        return Doer::Daemon;
    }
    match action {
        super::health::HEARTBEAT => Doer::Heartbeat,
        super::health::TOKEN_HEALTH => Doer::TokenHealth,
        MORNING_BRIEF => Doer::Brief(crate::ops::brief::Kind::Morning),
        WEEKLY_DIGEST => Doer::Brief(crate::ops::brief::Kind::Weekly),
        other => SyncAction::parse(other).map_or(Doer::Here, Doer::Syncs),
    }
}

/// Runs one built-in of this process to its end and gives what it has to say.
///
/// # Errors
/// Says what failed; the caller exits non-zero.
pub fn run(name: &str, config: &Config, clock: Clock) -> anyhow::Result<String> {
    match name {
        DB_BACKUP => db_backup(config, clock),
        other => bail!("there is no action `{other}`; known: {}", ACTIONS.join(", ")),
    }
}

/// A copy taken while the daemon works, restored and checked; then the older ones are checked again, and the
/// old ones thinned out.
fn db_backup(config: &Config, clock: Clock) -> anyhow::Result<String> {
    let now_ms = clock.wall_ms();
    let database = config.state_dir.join(store::DATABASE_FILE);
    let dir = &config.backup.dir;
    let made = backup::backup(&database, dir, now_ms).context("backing up the database")?;
    rehearse::rehearse(&made.path, now_ms).context("restoring the new backup to a place of its own")?;
    let daily = config.backup.keep_daily as usize;
    let weekly = config.backup.keep_weekly as usize;
    let damaged = rehearse::set_damaged_aside(dir, now_ms).context("checking the older backups")?;
    let believed_ms = believed::by_copy(&made.path, clock).context("reading the new backup")?;
    let deleted = backup::rotate(dir, believed_ms, daily, weekly).context("thinning out old backups")?;
    if let Some((path, because)) = damaged.first() {
        bail!(
            "backed up to {}, but {} older {} damaged and does not count any more: {} ({because})",
            made.path.display(),
            damaged.len(),
            if damaged.len() == 1 { "backup is" } else { "backups are" },
            path.display()
        );
    }
    Ok(format!(
        "backed up to {} ({} bytes), restored to a place of its own and checked; sha256 {}; {} old deleted",
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

/// Every sync of the config that `action` does, one after the other: one that fails keeps no other from its
/// turn.
///
/// # Errors
/// The secrets cannot be read, so nothing could be looked through for them.
pub fn syncs(action: SyncAction, config: &Config) -> anyhow::Result<Vec<SyncResult>> {
    let mut named = match &config.secrets.file {
        // They were read by the daemon once, and are nobody's to read again.
        SecretsFile::Stdin | SecretsFile::Nowhere => BTreeMap::new(),
        SecretsFile::Path(_) => super::site::read_secrets(config)?,
    };
    let token = config.telegram.token_file.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    if let Some(token) = token {
        named.insert("telegram.token_file".to_owned(), token.trim().to_owned());
    }
    let secrets = Secrets::new(&named);
    let wanted = config.syncs.iter().filter(|sync| sync.action == action);
    let done = wanted.map(|sync| SyncResult {
        name: sync.name.clone(),
        outcome: sync::sync(sync, &secrets).map(|synced| told(&synced)).map_err(|e| e.to_string()),
    });
    Ok(done.collect())
}

/// What a sync did, in words.
fn told(synced: &Synced) -> String {
    let mut parts = vec![format!(
        "{} files committed, {} commits received, {} pushed",
        synced.committed, synced.received, synced.pushed
    )];
    if let Some((first, what)) = synced.left_out.first() {
        let more = match synced.left_out.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        parts.push(format!("left out: {}{more} ({what})", first.display()));
    }
    if let Some(saved) = &synced.saved {
        parts.push(format!("files that looked half written after a crash are in {saved}"));
    }
    if synced.nested > 0 {
        parts.push(format!("{} repositories within passed over", synced.nested));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::Sources;
    use crate::task::check::check;

    /// What a new user reads first has nothing to mend, also without any agent profile.
    #[test]
    fn the_shipped_tasks_are_clean() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = Sources {
            config: Some(root.join("config/lucid.yaml")),
            env: Vec::new(),
            cwd: root.to_owned(),
            home: None,
            machine_zone: None,
            system_file: std::path::PathBuf::new(),
        };
        let config = crate::config::load(&sources).unwrap();
        let now: Timestamp = "2026-11-26T11:30:00Z".parse().unwrap();
        let report = check(&[], &root.join("tasks"), &super::super::boot::rules(&config), now);
        assert!(report.files >= ACTIONS.len(), "a task file for each action");
        let found: Vec<String> = report.diagnostics.iter().map(crate::task::Diagnostic::short).collect();
        assert_eq!(found, ["tasks/agent-brief.md:5:8: info[I307]: there is no agent profile `claude`"]);
    }

    #[test]
    fn each_action_has_a_task_file() {
        let tasks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tasks");
        for action in ACTIONS {
            let text = std::fs::read_to_string(tasks.join(format!("{action}.md"))).unwrap_or_default();
            assert!(text.contains(&format!("action: {action}\n")), "tasks/{action}.md");
        }
    }
}
