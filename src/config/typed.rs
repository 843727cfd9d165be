//! The settings as the rest of the program sees them: types, bounds, and which of them contradict.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agents::{self, Agent, Dispatch};
use super::health::{self, Health, TokenCheck};
use super::pools::{self, Pool};
use super::reader::Reader;
use super::sources::Placement;
use super::syncs::{self, Sync};
use super::telegram::{self, Telegram};
use super::{Place, Problem, Setting, file};
use crate::model::schedule::{Zone, format_duration, format_size};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Longest time that any key takes: far from the end of any clock's range.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
/// Most of anything counted that is kept in the database.
const ROWS_MAX: u64 = 1_000_000_000;
/// Largest size that any key takes, bytes.
const SIZE_MAX: u64 = 1_000_000_000_000_000;

/// All settings. Paths are absolute.
#[derive(Debug, Clone)]
pub struct Config {
    pub root: PathBuf,
    pub tasks_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Of schedules that name none.
    pub zone: Zone,
    pub scheduler: Scheduler,
    pub defaults: Defaults,
    pub control: Control,
    pub pools: Vec<Pool>,
    pub agents: Vec<Agent>,
    pub dispatch: Dispatch,
    pub janitor: Janitor,
    pub syncs: Vec<Sync>,
    pub tickets: Tickets,
    pub messages: Messages,
    pub telegram: Telegram,
    pub secrets: Secrets,
    pub backup: Backup,
    pub health: Health,
    pub token_checks: Vec<TokenCheck>,
    pub retention: Retention,
    pub limits: Limits,
    pub log: Log,
    /// The file it comes from, absolute.
    pub file: Option<PathBuf>,
    /// Whose service it describes.
    pub placement: Placement,
    pub(super) settings: Vec<Setting>,
}

impl Config {
    /// Every key with the value that takes effect and where it comes from, in the order of the
    /// embedded file.
    #[must_use]
    pub fn effective(&self) -> &[Setting] {
        &self.settings
    }

    /// What is `wrong` with the setting `key`, at its place.
    pub(super) fn problem(&self, key: &str, wrong: &str, help: &str) -> Problem {
        let setting = self.settings.iter().find(|setting| setting.key == key);
        let place = setting.map_or(Place::Embedded, |setting| setting.place.clone());
        Problem::new(place, format!("{key}: {wrong}")).help(Some(help.to_owned()))
    }

    /// The text of its file, as it is now.
    pub(super) fn text(&self) -> Option<String> {
        self.file.as_deref().and_then(|path| file::read(path).ok())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduler {
    pub max_parallel_runs: usize,
    /// Longest sleep between two looks at the wall clock.
    pub tick: Duration,
    /// An instant reached later than this counts as missed.
    pub misfire_after: Duration,
    pub catch_up_max: usize,
    pub catch_up_spacing: Duration,
    pub rescan: Duration,
    /// How long the last good version of a broken task file goes on.
    pub stale_for: Duration,
    pub housekeeping: bool,
}

/// What a task takes for the keys it does not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    pub timeout: Duration,
    pub agent_timeout: Duration,
    pub kill_grace: Duration,
    pub catch_up_window: Duration,
    /// Bytes.
    pub log_max: u64,
    pub keep_runs: u32,
    pub keep_for: Duration,
    pub shell: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    pub socket: PathBuf,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Name of the group whose members may use it.
    pub group: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Janitor {
    /// A worker that was not heard for this long is ended.
    pub silent_after: Duration,
    /// A question that nobody has answered for this long goes back in line.
    pub unanswered_after: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tickets {
    /// What the ids of new tickets begin with.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// Longest time in line.
    pub expire_after: Duration,
    /// Failed deliveries after which a message is dead.
    pub max_attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    pub file: SecretsFile,
}

/// Where the KEY=VALUE lines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsFile {
    Nowhere,
    /// Read once, at start.
    Stdin,
    Path(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub dir: PathBuf,
    pub keep_daily: u32,
    pub keep_weekly: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    pub runs: Duration,
    pub runs_per_task: u64,
    pub events: Duration,
    pub events_max: u64,
    pub outputs: Duration,
    /// Bytes over all runs.
    pub outputs_max: u64,
    pub usage: Duration,
    pub api_errors: Duration,
    /// Worktrees that were set aside.
    pub aside: Duration,
    /// Of one pool.
    pub aside_max: usize,
    pub every: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub request_connections: usize,
    pub streams: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub cgroup: CgroupUse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupUse {
    /// Where a tree is found that we may write to.
    Auto,
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    /// Bytes of a log in the state directory before a new one is begun; one old one is kept.
    pub file_max: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Reads every key. `folder` is where `root` starts.
pub(super) fn build(reader: &mut Reader<'_>, folder: &Path, file: Option<PathBuf>) -> Config {
    let root = reader.path("root", folder);
    let state_dir = reader.path("state_dir", &root);
    let pools = pools::read(reader, &root, &state_dir);
    let agents = agents::read(reader);
    let config = Config {
        tasks_dir: reader.path("tasks_dir", &root),
        zone: reader.zone("timezone"),
        scheduler: scheduler(reader),
        defaults: defaults(reader),
        control: Control {
            socket: reader.socket("control.socket", &root, &state_dir),
            mode: reader.mode("control.mode"),
            group: reader.optional("control.group"),
        },
        dispatch: agents::dispatch(reader, &agents, &pools),
        agents,
        pools,
        janitor: Janitor {
            silent_after: reader.duration("janitor.silent_after", SECOND..=LONGEST),
            unanswered_after: reader.duration("janitor.unanswered_after", SECOND..=LONGEST),
        },
        syncs: syncs::read(reader, &root),
        tickets: Tickets { prefix: reader.ticket_prefix("tickets.prefix") },
        messages: Messages {
            expire_after: reader.duration("messages.expire_after", MINUTE..=LONGEST),
            max_attempts: reader.count("messages.max_attempts", 1..=100),
        },
        telegram: telegram::read(reader, &root),
        secrets: Secrets { file: secrets_file(reader, &root) },
        backup: Backup {
            dir: reader.path("backup.dir", &state_dir),
            keep_daily: reader.count("backup.keep_daily", 1..=366),
            keep_weekly: reader.count("backup.keep_weekly", 0..=520),
        },
        health: health::read(reader, &root),
        token_checks: health::tokens(reader, &root),
        retention: retention(reader),
        limits: limits(reader),
        log: log(reader),
        file,
        placement: Placement::Anywhere,
        settings: Vec::new(),
        state_dir,
        root,
    };
    contradictions(reader, &config);
    config
}

fn scheduler(reader: &mut Reader<'_>) -> Scheduler {
    Scheduler {
        max_parallel_runs: reader.count("scheduler.max_parallel_runs", 1..=10_000),
        tick: reader.duration("scheduler.tick", SECOND..=MINUTE),
        misfire_after: reader.duration("scheduler.misfire_after", SECOND..=DAY),
        catch_up_max: reader.count("scheduler.catch_up_max", 1..=100_000),
        catch_up_spacing: reader.duration("scheduler.catch_up_spacing", Duration::ZERO..=HOUR),
        rescan: reader.duration("scheduler.rescan", SECOND..=DAY),
        stale_for: reader.duration("scheduler.stale_for", Duration::ZERO..=LONGEST),
        housekeeping: reader.boolean("scheduler.housekeeping"),
    }
}

fn defaults(reader: &mut Reader<'_>) -> Defaults {
    Defaults {
        timeout: reader.duration("defaults.timeout", SECOND..=LONGEST),
        agent_timeout: reader.duration("defaults.agent_timeout", SECOND..=LONGEST),
        kill_grace: reader.duration("defaults.kill_grace", SECOND..=HOUR),
        catch_up_window: reader.duration("defaults.catch_up_window", SECOND..=LONGEST),
        log_max: reader.size("defaults.log_max", sizes_from(1000)),
        keep_runs: reader.count("defaults.keep_runs", 1..=1_000_000),
        keep_for: reader.duration("defaults.keep_for", SECOND..=LONGEST),
        shell: reader.text("defaults.shell"),
    }
}

fn retention(reader: &mut Reader<'_>) -> Retention {
    Retention {
        runs: reader.duration("retention.runs", SECOND..=LONGEST),
        runs_per_task: reader.count("retention.runs_per_task", 1..=ROWS_MAX),
        events: reader.duration("retention.events", SECOND..=LONGEST),
        events_max: reader.count("retention.events_max", 1..=ROWS_MAX),
        outputs: reader.duration("retention.outputs", SECOND..=LONGEST),
        outputs_max: reader.size("retention.outputs_max", sizes_from(1000)),
        usage: reader.duration("retention.usage", DAY..=LONGEST),
        api_errors: reader.duration("retention.api_errors", DAY..=LONGEST),
        aside: reader.duration("retention.aside", SECOND..=LONGEST),
        aside_max: reader.count("retention.aside_max", 0..=10_000),
        every: reader.duration("retention.every", SECOND..=DAY),
    }
}

fn limits(reader: &mut Reader<'_>) -> Limits {
    Limits {
        request_connections: reader.count("limits.request_connections", 1..=65_536),
        streams: reader.count("limits.streams", 1..=65_536),
        header_timeout: reader.duration("limits.header_timeout", SECOND..=HOUR),
        idle_timeout: reader.duration("limits.idle_timeout", SECOND..=DAY),
        cgroup: reader.choice("limits.cgroup", ("auto", CgroupUse::Auto), &[("off", CgroupUse::Off)]),
    }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let other_levels = [
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    Log {
        level: reader.choice("log.level", ("error", LogLevel::Error), &other_levels),
        format: reader.choice("log.format", ("text", LogFormat::Text), &[("json", LogFormat::Json)]),
        file_max: reader.size("log.file_max", sizes_from(100_000)),
    }
}

fn secrets_file(reader: &mut Reader<'_>, root: &Path) -> SecretsFile {
    match reader.optional("secrets.file") {
        None => SecretsFile::Nowhere,
        Some(text) if text == "stdin" => SecretsFile::Stdin,
        Some(_) => SecretsFile::Path(reader.path("secrets.file", root)),
    }
}

fn sizes_from(least: u64) -> RangeInclusive<u64> {
    least..=SIZE_MAX
}

/// Limits that lie within each other.
fn contradictions(reader: &mut Reader<'_>, config: &Config) {
    let Scheduler { tick, misfire_after, catch_up_max, catch_up_spacing, .. } = config.scheduler;
    if misfire_after < tick {
        reader.contradiction(
            ["scheduler.misfire_after", "scheduler.tick"],
            &format!(
                "scheduler.misfire_after ({}) is less than scheduler.tick ({}): punctual runs would count as missed",
                format_duration(misfire_after),
                format_duration(tick)
            ),
        );
    }
    let spread = catch_up_spacing.saturating_mul(u32::try_from(catch_up_max).unwrap_or(u32::MAX));
    if spread > config.defaults.catch_up_window {
        reader.contradiction(
            ["scheduler.catch_up_spacing", "defaults.catch_up_window"],
            &format!(
                "scheduler.catch_up_max runs, one every scheduler.catch_up_spacing, take {}: \
                 more than defaults.catch_up_window ({})",
                format_duration(spread),
                format_duration(config.defaults.catch_up_window)
            ),
        );
    }
    if config.limits.idle_timeout < config.limits.header_timeout {
        reader.contradiction(
            ["limits.idle_timeout", "limits.header_timeout"],
            &format!(
                "limits.idle_timeout ({}) is less than limits.header_timeout ({})",
                format_duration(config.limits.idle_timeout),
                format_duration(config.limits.header_timeout)
            ),
        );
    }
    if config.retention.outputs_max < config.defaults.log_max {
        reader.contradiction(
            ["retention.outputs_max", "defaults.log_max"],
            &format!(
                "retention.outputs_max ({}) is less than defaults.log_max ({}): \
                 it would not hold one run's output",
                format_size(config.retention.outputs_max),
                format_size(config.defaults.log_max)
            ),
        );
    }
}
