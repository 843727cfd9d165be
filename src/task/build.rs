//! Fields to task: every key that the file leaves out gets its default here.
//!
//! A default comes from the config where the config has one, else from the text in the table of
//! keys, so that what `lucid explain` prints is what applies.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Fields, Flag};
use super::keys::{self, Key};
use super::parse::{COMMAND_BODY_MAX_BYTES, Defaults, Rules};
use crate::model::digest::Digest;
use crate::model::ids::TaskId;
use crate::model::schedule::{Schedule, Zone, parse_duration, parse_size};
use crate::model::task::{
    AlertEvent, Alerts, CatchUp, Deliver, Kind, OnInterrupt, Overlap, Retries, RetryWhen, Settings, Severity,
    Task, Worktree,
};

/// Longest description taken from a body.
const DESCRIPTION_MAX_CHARS: usize = 200;

/// A file as far as it is no key of its front-matter.
pub struct Whole<'a> {
    pub id: &'a TaskId,
    pub file: &'a Path,
    pub body: &'a str,
    pub hash: Digest,
}

pub fn build(fields: &Fields, whole: &Whole<'_>, kind: Kind, rules: &Rules) -> Task {
    let Whole { id, file, body, hash } = *whole;
    let defaults = &rules.defaults;
    let is_agent = matches!(kind, Kind::Agent(_));
    let own_timeout = if is_agent { defaults.agent_timeout } else { defaults.timeout };
    let or = |name: &str, default: Duration| fields.duration(name).unwrap_or(default);
    let settings = Settings {
        tags: fields.texts("tags"),
        owner: fields.text("owner"),
        zone: fields.zone().cloned().unwrap_or_else(|| defaults.zone.clone()),
        jitter: or("jitter", duration_of(keys::KEYS, "jitter")),
        overlap: pick(fields, keys::KEYS, "overlap", OVERLAP),
        locks: sorted(fields.texts("lock")),
        catch_up: pick(fields, keys::KEYS, "catch_up", CATCH_UP),
        catch_up_window: or("catch_up_window", defaults.catch_up_window),
        timeout: or("timeout", own_timeout),
        kill_grace: or("kill_grace", defaults.kill_grace),
        idle_timeout: fields.duration("idle_timeout"),
        retries: retries(&fields.group("retries")),
        on_interrupt: pick(fields, keys::KEYS, "on_interrupt", ON_INTERRUPT),
        success_codes: fields.numbers("success_codes").unwrap_or_else(|| vec![0]),
        working_dir: fields.text("working_dir").map(PathBuf::from),
        env: fields.environment(),
        env_file: fields.text("env_file").map(PathBuf::from),
        secrets: sorted(fields.texts("secrets")),
        shell: fields.text("shell"),
        stdin: fields.text("stdin"),
        pool: fields.text("pool"),
        worktree: worktree(&fields.group("worktree")),
        log_max: fields.size("log_max").unwrap_or(defaults.log_max_bytes),
        keep_runs: fields.count("keep_runs").unwrap_or(defaults.keep_runs),
        keep_for: or("keep_for", defaults.keep_for),
        deliver: pick(fields, keys::KEYS, "deliver", DELIVER),
        preflight: fields.command("preflight"),
        alerts: alerts(fields),
        grants: sorted(fields.texts("grants")),
    };
    let is_kept = is_agent || body.len() <= COMMAND_BODY_MAX_BYTES;
    Task {
        id: id.clone(),
        name: fields.text("name").unwrap_or_else(|| stem(id)).into(),
        description: fields.text("description").unwrap_or_else(|| first_line(body)).into(),
        enabled: fields.flag("enabled") != Some(Flag::Off),
        schedule: fields.schedule().cloned().unwrap_or_else(Schedule::manual),
        kind,
        settings: Arc::new(settings),
        blocked_by: None,
        body: if is_kept { body.trim() } else { "" }.into(),
        file: file.into(),
        hash,
    }
}

/// Words of the table and what they mean; the first is never a silent fallback, see the test.
type Words<T> = [(&'static str, T)];

const OVERLAP: &Words<Overlap> =
    &[("skip", Overlap::Skip), ("queue", Overlap::Queue), ("replace", Overlap::Replace)];
const CATCH_UP: &Words<CatchUp> =
    &[("latest", CatchUp::Latest), ("skip", CatchUp::Skip), ("all", CatchUp::All)];
const ON_INTERRUPT: &Words<OnInterrupt> = &[("fail", OnInterrupt::Fail), ("rerun", OnInterrupt::Rerun)];
const DELIVER: &Words<Deliver> = &[("none", Deliver::None), ("telegram", Deliver::Telegram)];
const SEVERITY: &Words<Severity> =
    &[("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];
const RETRY_WHEN: &Words<RetryWhen> = &[
    ("exit", RetryWhen::Exit),
    ("spawn", RetryWhen::Spawn),
    ("timeout", RetryWhen::Timeout),
    ("rate_limit", RetryWhen::RateLimit),
];
const ALERT_EVENTS: &Words<AlertEvent> = &[
    ("failure", AlertEvent::Failure),
    ("timeout", AlertEvent::Timeout),
    ("missed", AlertEvent::Missed),
    ("recovery", AlertEvent::Recovery),
];

fn pick<T: Copy>(fields: &Fields, keys: &[Key], name: &str, words: &Words<T>) -> T {
    let given = fields.text(name);
    let word = given.as_deref().unwrap_or_else(|| default(keys, name));
    words.iter().find(|(known, _)| *known == word).unwrap_or(&words[0]).1
}

fn pick_all<T: Copy>(fields: &Fields, keys: &[Key], name: &str, words: &Words<T>) -> Vec<T> {
    let given = fields.texts(name);
    let chosen: Vec<&str> = if fields.has(name) {
        given.iter().map(String::as_str).collect()
    } else {
        default(keys, name).split(", ").collect()
    };
    words.iter().filter(|(known, _)| chosen.contains(known)).map(|(_, value)| *value).collect()
}

fn retries(group: &Fields) -> Retries {
    let duration = |name: &str| group.duration(name).unwrap_or_else(|| duration_of(keys::RETRIES, name));
    Retries {
        max: group.count("max").unwrap_or_else(|| count_of(keys::RETRIES, "max")),
        delay: duration("delay"),
        backoff_milli: group
            .factor_milli("backoff")
            .unwrap_or_else(|| 1000 * count_of(keys::RETRIES, "backoff")),
        max_delay: duration("max_delay"),
        when: pick_all(group, keys::RETRIES, "when", RETRY_WHEN),
    }
}

fn worktree(group: &Fields) -> Worktree {
    Worktree {
        base: group.text("base"),
        branch: group.text("branch"),
        claim_wait: group.duration("claim_wait"),
    }
}

fn alerts(fields: &Fields) -> Alerts {
    let group = fields.group("alerts");
    let events = if fields.is_off("alerts") {
        Vec::new()
    } else {
        pick_all(&group, keys::ALERTS, "events", ALERT_EVENTS)
    };
    Alerts {
        events,
        after: group.count("after").unwrap_or_else(|| count_of(keys::ALERTS, "after")),
        severity: pick(&group, keys::ALERTS, "severity", SEVERITY),
        repeat: group.duration("repeat").unwrap_or_else(|| duration_of(keys::ALERTS, "repeat")),
        mute_until: group.instant("mute_until"),
    }
}

fn default(keys: &[Key], name: &str) -> &'static str {
    Key::find(keys, name).map_or("", |key| key.default)
}

fn duration_of(keys: &[Key], name: &str) -> Duration {
    parse_duration(default(keys, name)).unwrap_or_default()
}

fn count_of(keys: &[Key], name: &str) -> u32 {
    default(keys, name).parse().unwrap_or_default()
}

impl Default for Defaults {
    /// What the table of keys says, in UTC.
    fn default() -> Self {
        let duration = |name: &str| duration_of(keys::KEYS, name);
        Self {
            timeout: duration("timeout"),
            agent_timeout: 6 * duration("timeout"),
            kill_grace: duration("kill_grace"),
            catch_up_window: duration("catch_up_window"),
            log_max_bytes: parse_size(default(keys::KEYS, "log_max")).unwrap_or_default(),
            keep_runs: count_of(keys::KEYS, "keep_runs"),
            keep_for: duration("keep_for"),
            shell: default(keys::KEYS, "shell").to_owned(),
            zone: Zone::UTC,
        }
    }
}

fn stem(id: &TaskId) -> String {
    id.as_str().rsplit('/').next().unwrap_or_default().to_owned()
}

/// The first line of the body that says something, without Markdown's marks for a heading.
fn first_line(body: &str) -> String {
    let line =
        body.lines().map(|line| line.trim().trim_start_matches('#').trim()).find(|line| !line.is_empty());
    line.unwrap_or_default().chars().take(DESCRIPTION_MAX_CHARS).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every default of the tables can be read, and every word of them means something.
    #[test]
    fn the_tables_and_their_meanings_do_not_differ() {
        let same = |words: &[&str], table: &[&str]| assert_eq!(words, table);
        same(&OVERLAP.map_names(), keys::OVERLAP);
        same(&CATCH_UP.map_names(), keys::CATCH_UP);
        same(&ON_INTERRUPT.map_names(), keys::ON_INTERRUPT);
        same(&DELIVER.map_names(), keys::DELIVER);
        same(&SEVERITY.map_names(), keys::SEVERITIES);
        same(&RETRY_WHEN.map_names(), keys::RETRY_WHEN);
        same(&ALERT_EVENTS.map_names(), keys::ALERT_EVENTS);
        let defaults = Defaults::default();
        assert_eq!(defaults.timeout, Duration::from_secs(600));
        assert_eq!(defaults.agent_timeout, Duration::from_secs(3600));
        assert_eq!(defaults.kill_grace, Duration::from_secs(10));
        assert_eq!(defaults.catch_up_window, Duration::from_secs(6 * 3600));
        assert_eq!(defaults.log_max_bytes, 10_000_000);
        assert_eq!((defaults.keep_runs, defaults.keep_for), (200, Duration::from_secs(90 * 86_400)));
        assert_eq!(defaults.shell, "/bin/sh");
        let empty = Fields::default();
        let once = retries(&empty);
        assert_eq!((once.max, once.delay, once.backoff_milli), (0, Duration::from_secs(10), 2000));
        assert_eq!(once.when, [RetryWhen::Exit, RetryWhen::Spawn]);
        let alerts = alerts(&empty);
        assert_eq!((alerts.events.len(), alerts.after, alerts.severity), (4, 1, Severity::Warning));
        assert_eq!(pick(&empty, keys::KEYS, "catch_up", CATCH_UP), CatchUp::Latest);
        assert_eq!(pick(&empty, keys::KEYS, "overlap", OVERLAP), Overlap::Skip);
    }

    trait MapNames {
        fn map_names(&self) -> Vec<&'static str>;
    }

    impl<T> MapNames for Words<T> {
        fn map_names(&self) -> Vec<&'static str> {
            self.iter().map(|(name, _)| *name).collect()
        }
    }
}
