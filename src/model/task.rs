//! A task as its file defines it, every default resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::ids::TaskId;
use super::schedule::{Preview, Schedule, Zone, preview};

/// Where a path of a task file is: `~` is the home folder, what is relative starts at `root`.
#[must_use]
pub fn located(root: &Path, home: Option<&Path>, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        (Ok(_) | Err(_), _) => root.join(path),
    }
}

/// One `tasks/*.md` file, parsed and checked. There may be ten thousand in memory: what many have in common is
/// behind an `Arc`, so that it is there once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub id: TaskId,
    pub name: Box<str>,
    pub description: Box<str>,
    pub enabled: bool,
    pub schedule: Schedule,
    pub kind: Kind,
    pub settings: Arc<Settings>,
    /// Why its runs end `blocked` instead of starting: what it names does not exist (yet).
    pub blocked_by: Option<Box<str>>,
    /// Text after the front-matter: prompt of an agent, documentation of anything else, where a
    /// long one is left out.
    pub body: Box<str>,
    /// The file, relative to the folder that holds the tasks folder when it lies below it.
    pub file: Arc<Path>,
    /// Of the file's bytes.
    pub hash: Digest,
}

/// How a task runs: what most files leave to the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub tags: Vec<String>,
    pub owner: Option<String>,
    pub zone: Zone,
    /// Upper bound of the delay added to every instant; see [`Task::jitter_offset`].
    pub jitter: Duration,
    pub overlap: Overlap,
    /// Names shared by tasks that never run together, sorted and without repeats.
    pub locks: Vec<String>,
    pub catch_up: CatchUp,
    pub catch_up_window: Duration,
    pub timeout: Duration,
    pub kill_grace: Duration,
    pub idle_timeout: Option<Duration>,
    pub retries: Retries,
    pub on_interrupt: OnInterrupt,
    pub success_codes: Vec<i32>,
    /// As written; relative to the config's `root`, `~` not yet expanded.
    pub working_dir: Option<PathBuf>,
    pub env: BTreeMap<String, String>,
    pub env_file: Option<PathBuf>,
    /// Names whose values come from the secrets source and are masked in output.
    pub secrets: Vec<String>,
    pub shell: Option<String>,
    pub stdin: Option<String>,
    pub pool: Option<String>,
    pub worktree: Worktree,
    /// Bytes of output kept (head and tail).
    pub log_max: u64,
    pub keep_runs: u32,
    pub keep_for: Duration,
    pub deliver: Deliver,
    pub preflight: Option<Command>,
    pub alerts: Alerts,
    pub grants: Vec<String>,
}

impl Task {
    /// The first `n` instants strictly after `from`, each put off by the task's own jitter.
    #[must_use]
    pub fn coming(&self, anchor: Timestamp, from: Timestamp, n: usize) -> Vec<Preview> {
        let delay = SignedDuration::try_from(self.jitter_offset()).unwrap_or(SignedDuration::ZERO);
        let Ok(from) = from.checked_sub(delay) else { return Vec::new() };
        let nominal = preview(&self.schedule, &self.settings.zone, anchor, from, n);
        nominal.into_iter().filter_map(|fire| fire.delayed(delay, &self.settings.zone)).collect()
    }

    /// What its coming instants do not say: that it does not run at them, or runs at others as well.
    #[must_use]
    pub fn remark(&self, is_enabled: bool, is_paused: bool) -> Option<String> {
        let id = &self.id;
        match (is_enabled, is_paused) {
            (false, _) => Some(format!("{id} is disabled: it does not run by itself (lucid enable {id})")),
            (true, true) => {
                Some(format!("{id} is paused: it does not run until that ends (lucid resume {id})"))
            }
            (true, false) => self.schedule.remark(),
        }
    }

    /// The task's own stable delay in `0..jitter`, a pure function of its id.
    #[must_use]
    pub fn jitter_offset(&self) -> Duration {
        let span = u64::try_from(self.settings.jitter.as_millis()).unwrap_or(u64::MAX);
        if span == 0 {
            return Duration::ZERO;
        }
        // FNV-1a: stable over releases, unlike the standard library's hasher.
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.id.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Duration::from_millis(hash % span)
    }

    /// The key under which at most one run may be live.
    #[must_use]
    pub fn flight_key(&self) -> String {
        format!("task:{}", self.id)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Command(Command),
    Agent(Box<Agent>),
    /// A built-in; run as `lucid action NAME` under a keeper like any command.
    Action(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Given to `shell -ec`.
    Shell(String),
    /// Program and arguments, no shell.
    Argv(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub profile: String,
    pub model: Option<String>,
    pub max_turns: Option<u32>,
    /// Decimal text, as money always is.
    pub budget_usd: Option<String>,
    pub tools: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    Skip,
    /// Holds one; a further one is skipped.
    Queue,
    Replace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    Latest,
    Skip,
    All,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    pub max: u32,
    pub delay: Duration,
    /// Factor between one delay and the next, in thousandths (2000 doubles).
    pub backoff_milli: u32,
    pub max_delay: Duration,
    pub when: Vec<RetryWhen>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryWhen {
    Exit,
    Spawn,
    Timeout,
    RateLimit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    Fail,
    Rerun,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Worktree {
    pub base: Option<String>,
    pub branch: Option<String>,
    pub claim_wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliver {
    None,
    Telegram,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// Empty means off.
    pub events: Vec<AlertEvent>,
    /// Alert from the n-th failure in a row on.
    pub after: u32,
    pub severity: Severity,
    pub repeat: Duration,
    pub mute_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertEvent {
    Failure,
    Timeout,
    Missed,
    Recovery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth reading some time; makes no sound.
    Info,
    /// Makes no sound in quiet hours.
    Warning,
    /// Always makes a sound.
    Critical,
}
