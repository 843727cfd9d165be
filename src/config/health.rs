//! What the health of the box is measured by, and the logins that are looked after.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Reader;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const TOKENS: &str = "token_checks";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How long an agent program may take to tell its version.
    pub cli_timeout: Duration,
    /// Paths on the file systems that are looked at; empty stands for those of `state_dir` and `root`.
    pub disks: Vec<PathBuf>,
    /// Percent free, below which a disk is no longer well.
    pub disk_degraded_pct: u8,
    pub disk_critical_pct: u8,
    pub failed_runs_critical: u32,
    pub failed_runs_window: Duration,
    /// Age from which on a lock of git that nobody holds is removed from a slot.
    pub lock_max_age: Duration,
    pub backup_max_age: Duration,
    /// Who gets the tickets that only a person can work on.
    pub human: String,
    /// Asked after every heartbeat.
    pub ping_url: Option<String>,
}

/// A login that somebody has to renew by hand when it has been revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCheck {
    pub name: String,
    pub source: TokenSource,
    /// Pointer (RFC 6901) to a status in the JSON.
    pub status: Option<String>,
    /// Pointer to the instant at which it expires.
    pub expiry: Option<String>,
    /// Values of the status that mean that all is well.
    pub well: Vec<String>,
    /// Exit codes that mean that a person has to log in again.
    pub needs_reauth_codes: Vec<i32>,
    /// Words in the output, or values of the status, that mean the same.
    pub needs_reauth_on: Vec<String>,
    pub expiring_before: Duration,
    /// Where a person logs in again.
    pub portal: Option<String>,
    pub timeout: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// Program and arguments; no shell.
    Command(Vec<String>),
    /// A JSON file that somebody else keeps up to date.
    File(PathBuf),
}

pub(super) fn read(reader: &mut Reader<'_>, root: &Path) -> Health {
    let health = Health {
        cli_timeout: reader.duration("health.cli_timeout", SECOND..=MINUTE),
        disks: reader.paths("health.disks", root),
        disk_degraded_pct: reader.count("health.disk_degraded_pct", 0..=100),
        disk_critical_pct: reader.count("health.disk_critical_pct", 0..=100),
        failed_runs_critical: reader.count("health.failed_runs_critical", 1..=1_000_000),
        failed_runs_window: reader.duration("health.failed_runs_window", MINUTE..=7 * DAY),
        lock_max_age: reader.duration("health.lock_max_age", MINUTE..=7 * DAY),
        backup_max_age: reader.duration("health.backup_max_age", HOUR..=YEAR),
        human: reader.text("health.human"),
        ping_url: Some(reader.checked("health.ping_url", check_ping)).filter(|url| !url.is_empty()),
    };
    if health.disk_critical_pct > health.disk_degraded_pct {
        reader.contradiction(
            ["health.disk_critical_pct", "health.disk_degraded_pct"],
            &format!(
                "health.disk_critical_pct ({}) is more than health.disk_degraded_pct ({}): \
                 a disk would be critical before it is degraded",
                health.disk_critical_pct, health.disk_degraded_pct
            ),
        );
    }
    health
}

fn check_ping(url: &str) -> Result<(), String> {
    let host =
        |rest: &str| rest.split('/').next().is_some_and(|host| !host.is_empty() && !host.contains('@'));
    match url.split_once("://") {
        _ if url.is_empty() => Ok(()),
        _ if !url.bytes().all(|b| b.is_ascii_graphic()) => Err("holds what no URL holds".to_owned()),
        Some(("http" | "https", rest)) if host(rest) => Ok(()),
        Some(_) | None => Err(format!("`{url}` is no http:// or https:// URL without a name in it")),
    }
}

/// Every login that is looked after, in the order of the file.
pub(super) fn tokens(reader: &mut Reader<'_>, root: &Path) -> Vec<TokenCheck> {
    reader.members(TOKENS).iter().map(|name| token(reader, name, root)).collect()
}

fn token(reader: &mut Reader<'_>, name: &str, root: &Path) -> TokenCheck {
    let key = |field: &str| format!("{TOKENS}.{name}.{field}");
    let command = reader.argv(&key("command"));
    let file = reader.optional(&key("file")).map(|_| reader.path(&key("file"), root));
    let has_program = command.first().is_some_and(|program| !program.is_empty());
    let (status, expiry) = (pointer(reader, &key("status")), pointer(reader, &key("expiry")));
    if has_program == file.is_some() {
        let what = if has_program { "a command and a file" } else { "neither a command nor a file" };
        let message = format!("{TOKENS}.{name} names {what}; it is one of them that tells of the login");
        reader.contradiction([&key("command"), &key("file")], &message);
    }
    if file.is_some() && status.is_none() && expiry.is_none() {
        let message =
            format!("{TOKENS}.{name}: a file is read at a `status` or an `expiry`, and both are empty");
        reader.contradiction([&key("status"), &key("expiry")], &message);
    }
    TokenCheck {
        source: file.map_or(TokenSource::Command(command), TokenSource::File),
        status,
        expiry,
        well: reader.list(&key("well"), |_| Ok(())),
        needs_reauth_codes: codes(reader, &key("needs_reauth_codes")),
        needs_reauth_on: reader.list(&key("needs_reauth_on"), check_word),
        expiring_before: reader.duration(&key("expiring_before"), SECOND..=YEAR),
        portal: Some(reader.checked(&key("portal"), check_portal)).filter(|url| !url.is_empty()),
        timeout: reader.duration(&key("timeout"), SECOND..=10 * MINUTE),
        name: name.to_owned(),
    }
}

fn pointer(reader: &mut Reader<'_>, key: &str) -> Option<String> {
    let text = reader.checked(key, |text| {
        let good = text.is_empty() || text.starts_with('/');
        good.then_some(())
            .ok_or_else(|| format!("`{text}` is no JSON pointer such as /status or /google/status"))
    });
    Some(text).filter(|text| !text.is_empty())
}

fn codes(reader: &mut Reader<'_>, key: &str) -> Vec<i32> {
    let read = |text: &str| text.parse::<u8>().ok().filter(|code| *code > 0).map(i32::from);
    let codes = reader.list(key, |text| {
        read(text).map(drop).ok_or_else(|| format!("`{text}` is no exit code from 1 to 255"))
    });
    codes.iter().filter_map(|text| read(text)).collect()
}

fn check_word(word: &str) -> Result<(), String> {
    if word.trim().is_empty() {
        return Err("an empty word would be found in every output".to_owned());
    }
    Ok(())
}

fn check_portal(url: &str) -> Result<(), String> {
    let good = url.is_empty() || url.starts_with("http://") || url.starts_with("https://");
    if !good || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("`{url}` is no http:// or https:// link"));
    }
    Ok(())
}
