//! From a task and its run to what the keeper is told: argv, environment, limits.
//!
//! Pure but for the task's `env_file`, which is read when the run starts. Secret values go into
//! [`Private`] and never into the run's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::model::run::Run;
use crate::model::task::{Command, Kind, Task, located};
use crate::model::text::hex;
use crate::model::time::millis_unsigned;
use crate::platform::process::spec::{Cgroups, Private, Spec, Stdin, Stdout};

/// Variables of the daemon's own environment that a run may see.
pub const INHERITED: [&str; 8] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "SHELL"];

/// The environment variable whose value marks every process of a run. A number would not do: another daemon
/// on this machine has a run of the same number, whose processes must never be taken for ours.
pub const COOKIE: &str = "LUCID_RUN_COOKIE";
/// Characters of a cookie: 128 bits, in hex.
const COOKIE_CHARS: usize = 32;

/// Values shorter than this cannot be masked without destroying the output, and are refused.
pub const SECRET_MIN_BYTES: usize = 8;

/// What does not change from run to run.
#[derive(Debug, Clone)]
pub struct Site {
    pub root: PathBuf,
    pub home: Option<PathBuf>,
    /// The program itself, for `lucid action NAME`.
    pub exe: PathBuf,
    /// The daemon's environment, only [`INHERITED`] names.
    pub inherited: BTreeMap<String, String>,
    /// What an action needs to find the same configuration.
    pub action_env: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, String>,
    /// The socket that takes run tokens.
    pub worker_socket: PathBuf,
    pub default_shell: String,
    pub cgroups: Cgroups,
}

/// Why a run cannot even be tried; it ends `blocked` with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    #[error("{0}")]
    Definition(String),
    #[error("secret {0} is not set: add it to the secrets file that `secrets.file` names")]
    NoSecret(String),
    #[error("secret {0} is shorter than {SECRET_MIN_BYTES} characters and could not be masked")]
    ShortSecret(String),
    #[error("env_file {path}: {why}")]
    EnvFile { path: String, why: String },
}

/// The command as people may see it; secrets are never part of it.
#[must_use]
pub fn argv_shown(task: &Task) -> Vec<String> {
    match &task.kind {
        Kind::Command(Command::Shell(text)) => {
            vec![
                task.settings.shell.clone().unwrap_or_else(|| "sh".to_owned()),
                "-ec".to_owned(),
                text.clone(),
            ]
        }
        Kind::Command(Command::Argv(argv)) => argv.clone(),
        Kind::Action(name) => vec!["lucid".to_owned(), "action".to_owned(), name.clone()],
        Kind::Agent(agent) => vec![format!("agent:{}", agent.profile)],
    }
}

/// Builds what the keeper gets.
///
/// # Errors
/// [`Blocked`] when the run cannot be tried.
pub fn build(site: &Site, task: &Task, run: &Run, token: &str) -> Result<(Spec, Private), Blocked> {
    if let Some(reason) = &task.blocked_by {
        return Err(Blocked::Definition(reason.to_string()));
    }
    let shell = task.settings.shell.clone().unwrap_or_else(|| site.default_shell.clone());
    let argv = match &task.kind {
        Kind::Command(command) => argv(command, &shell),
        Kind::Action(name) => {
            vec![site.exe.to_string_lossy().into_owned(), "action".to_owned(), name.clone()]
        }
        Kind::Agent(agent) => {
            return Err(Blocked::Definition(format!("there is no agent profile `{}`", agent.profile)));
        }
    };
    let stdin = task.settings.stdin.clone().map_or(Stdin::Null, Stdin::Text);
    assemble(site, task, run, token, Program { argv, stdin, stdout: Stdout::Log })
}

/// What is started, where that does not follow from the task alone.
#[derive(Debug)]
pub struct Program {
    pub argv: Vec<String>,
    pub stdin: Stdin,
    pub stdout: Stdout,
}

/// Builds what the keeper gets for a program that somebody else has chosen.
///
/// # Errors
/// As [`build`].
pub fn assemble(
    site: &Site,
    task: &Task,
    run: &Run,
    token: &str,
    program: Program,
) -> Result<(Spec, Private), Blocked> {
    let shell = task.settings.shell.clone().unwrap_or_else(|| site.default_shell.clone());
    let spec = Spec {
        cookie: (COOKIE.to_owned(), cookie(token)),
        argv: program.argv,
        preflight: task.settings.preflight.as_ref().map(|command| self::argv(command, &shell)),
        env: environment(site, task, run)?.into_iter().collect(),
        cwd: working_dir(site, task),
        timeout_ms: millis_unsigned(task.settings.timeout),
        kill_grace_ms: millis_unsigned(task.settings.kill_grace),
        idle_timeout_ms: task.settings.idle_timeout.map(millis_unsigned),
        log_max: task.settings.log_max,
        stdin: program.stdin,
        stdout: program.stdout,
        cgroups: site.cgroups,
    };
    Ok((spec, private(site, &task.settings.secrets, token)?))
}

/// As unique as the run's token, of which it tells nothing: `spec.json` holds it.
#[must_use]
pub fn cookie(token: &str) -> String {
    let hash = Sha256::digest(format!("cookie:{token}"));
    hex(&hash)[..COOKIE_CHARS].to_owned()
}

fn argv(command: &Command, shell: &str) -> Vec<String> {
    match command {
        Command::Shell(text) => vec![shell.to_owned(), "-ec".to_owned(), text.clone()],
        Command::Argv(argv) => argv.clone(),
    }
}

fn environment(site: &Site, task: &Task, run: &Run) -> Result<BTreeMap<String, String>, Blocked> {
    let mut env = site.inherited.clone();
    if matches!(task.kind, Kind::Action(_)) {
        env.extend(site.action_env.clone());
    }
    if let Some(file) = &task.settings.env_file {
        env.extend(read_env_file(&resolve(site, file))?);
    }
    env.extend(task.settings.env.clone());
    env.extend(run.extra_env.iter().cloned());
    env.extend([
        ("LUCID_TASK".to_owned(), task.id.to_string()),
        ("LUCID_RUN_ID".to_owned(), run.id.0.to_string()),
        ("LUCID_ATTEMPT".to_owned(), run.attempt.to_string()),
        ("LUCID_TRIGGER".to_owned(), run.trigger.name().to_owned()),
        ("LUCID_TIMEOUT_SECS".to_owned(), task.settings.timeout.as_secs().to_string()),
        ("LUCID_SOCKET".to_owned(), site.worker_socket.to_string_lossy().into_owned()),
    ]);
    if let Some(at) = run.scheduled_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        env.insert("LUCID_SCHEDULED_AT".to_owned(), at.to_string());
    }
    Ok(env)
}

/// The run's token and the secrets that it may have.
///
/// # Errors
/// A secret that is not set or could not be masked.
pub fn private(site: &Site, secrets: &[String], token: &str) -> Result<Private, Blocked> {
    let mut private =
        Private { env: vec![("LUCID_TOKEN".to_owned(), token.to_owned())], masks: vec![token.to_owned()] };
    for name in secrets {
        let value = site.secrets.get(name).ok_or_else(|| Blocked::NoSecret(name.clone()))?;
        if value.len() < SECRET_MIN_BYTES {
            return Err(Blocked::ShortSecret(name.clone()));
        }
        private.env.push((name.clone(), value.clone()));
        private.masks.push(value.clone());
    }
    Ok(private)
}

fn working_dir(site: &Site, task: &Task) -> PathBuf {
    task.settings.working_dir.as_ref().map_or_else(|| site.root.clone(), |dir| resolve(site, dir))
}

fn resolve(site: &Site, path: &Path) -> PathBuf {
    located(&site.root, site.home.as_deref(), path)
}

fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, Blocked> {
    let bad = |why: String| Blocked::EnvFile { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    parse_env(&text).map_err(bad)
}

/// Reads `NAME=VALUE` lines; blank lines and `#` comments are skipped, one pair of quotes is taken off.
///
/// # Errors
/// Names the line that is no such line.
pub fn parse_env(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .filter(|(name, _)| is_env_name(name.trim()))
            .ok_or_else(|| format!("line {} is not NAME=VALUE", index + 1))?;
        env.insert(name.trim().to_owned(), unquote(value.trim()).to_owned());
    }
    Ok(env)
}

fn is_env_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_lines() {
        let env = parse_env("# c\n\nA=1\nexport B = two words \nC=\"q'\"\nD='x=y'\nE=").unwrap();
        let pairs: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "two words"), ("C", "q'"), ("D", "x=y"), ("E", "")]);
        assert_eq!(parse_env("A=1\noops").unwrap_err(), "line 2 is not NAME=VALUE");
        assert_eq!(parse_env("1A=1").unwrap_err(), "line 1 is not NAME=VALUE");
    }
}
