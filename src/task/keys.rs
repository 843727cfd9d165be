//! The one table of front-matter keys: the parser reads by it, `lucid explain KEY` prints it, and a
//! manual page is made of it, so none of them can differ.

use std::fmt::Write as _;

use crate::model::grant;

/// What may stand behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// true false yes no on off 1 0, in any case.
    Flag,
    /// Zero is allowed.
    Duration,
    /// Zero is refused.
    Limit,
    Size,
    Count {
        min: u32,
        max: u32,
    },
    /// Decimal money.
    Money,
    /// A number with up to three decimals, at least 1.
    Factor,
    Instant,
    Choice(&'static [&'static str]),
    Choices(&'static [&'static str]),
    /// One text or a list of texts.
    Texts,
    /// Like [`Shape::Texts`]; one text may hold several names between commas.
    Names,
    /// Like [`Shape::Names`], each one of these.
    Known(&'static [&'static str]),
    /// A remote-tracking branch.
    Base,
    /// The name of a branch, with a place for the run's id.
    Branch,
    /// Names of environment variables.
    Variables,
    Numbers {
        min: u32,
        max: u32,
    },
    Schedule,
    Zone,
    /// Text for the shell or a list of arguments.
    Command,
    /// A map of text to text.
    Environment,
    Retries,
    Worktree,
    Alerts,
    Anything,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    /// As one would write it; empty when the key has none. The parser reads this text where the
    /// file says nothing, so it is what really applies.
    pub default: &'static str,
    pub meaning: &'static str,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, meaning: &'static str) -> Key {
    Key { name, shape, default, meaning }
}

pub const OVERLAP: &[&str] = &["skip", "queue", "replace"];
pub const CATCH_UP: &[&str] = &["latest", "skip", "all"];
pub const ON_INTERRUPT: &[&str] = &["fail", "rerun"];
pub const DELIVER: &[&str] = &["none", "telegram"];
pub const RETRY_WHEN: &[&str] = &["exit", "spawn", "timeout", "rate_limit"];
pub const ALERT_EVENTS: &[&str] = &["failure", "timeout", "missed", "recovery"];
pub const SEVERITIES: &[&str] = &["info", "warning", "critical"];

/// Every key of the front-matter, in the order in which people read them.
pub const KEYS: &[Key] = &[
    key("name", Shape::Text, "", "What people call the task; the file's stem without it."),
    key("description", Shape::Text, "", "One line for lists; the first line of the body without it."),
    key("tags", Shape::Names, "", "Words to filter by."),
    key("owner", Shape::Text, "", "Who to ask about it."),
    key(
        "enabled",
        Shape::Flag,
        "true",
        "Off: no due instants, no runs but forced ones. Anything that is no boolean is an error and the task does not run.",
    ),
    key(
        "command",
        Shape::Command,
        "",
        "What runs: text is given to `/bin/sh -ec`, a list is a program with its arguments and no shell.",
    ),
    key("agent", Shape::Text, "", "Name of an agent profile; the body is its prompt, on stdin."),
    key("action", Shape::Text, "", "Name of a built-in action, run as `lucid action NAME`."),
    key(
        "schedule",
        Shape::Schedule,
        "manual",
        "When: cron with 5 or 6 fields, @daily and kin, `every 5m`, `every weekday at 08:30`, `at TIME`, `in 30m`, a list of these, or `manual`.",
    ),
    key(
        "timezone",
        Shape::Zone,
        "",
        "IANA name of the zone that the schedule is read in; the config's without it.",
    ),
    key(
        "jitter",
        Shape::Duration,
        "0s",
        "Upper bound of a delay that is added to each instant; stable for each task.",
    ),
    key(
        "overlap",
        Shape::Choice(OVERLAP),
        "skip",
        "What happens when it is due while it still runs: skip, queue (one waits), or replace (the old one is stopped).",
    ),
    key(
        "lock",
        Shape::Names,
        "",
        "Names shared by tasks that must never run together; they need no declaration.",
    ),
    key(
        "catch_up",
        Shape::Choice(CATCH_UP),
        "latest",
        "After downtime or suspend: latest (one run), skip, or all (capped and spaced).",
    ),
    key("catch_up_window", Shape::Duration, "6h", "An instant older than this is not caught up."),
    key(
        "timeout",
        Shape::Limit,
        "10m",
        "The run is stopped after this time, daemon alive or not. Agents: 60m without it. 0 is refused.",
    ),
    key(
        "kill_grace",
        Shape::Duration,
        "10s",
        "Time between SIGTERM and SIGKILL; what the command leaves running when it ends gets both.",
    ),
    key("idle_timeout", Shape::Limit, "", "The run is stopped when it has printed nothing for so long."),
    key("retries", Shape::Retries, "0", "A number, or a map of max, delay, backoff, max_delay, when."),
    key(
        "on_interrupt",
        Shape::Choice(ON_INTERRUPT),
        "fail",
        "A run lost to a crash or reboot fails, or runs again.",
    ),
    key("success_codes", Shape::Numbers { min: 0, max: 255 }, "0", "Exit codes that count as success."),
    key("working_dir", Shape::Text, "", "Where it runs; relative to the config's root."),
    key("env", Shape::Environment, "", "Variables added to the cleared environment."),
    key("env_file", Shape::Text, "", "File with NAME=value lines, read at each start."),
    key(
        "secrets",
        Shape::Variables,
        "",
        "Names whose values come from the secrets source and are masked in output.",
    ),
    key("shell", Shape::Text, "/bin/sh", "Program that gets `-ec` and the command's text."),
    key("stdin", Shape::Text, "", "Text on the command's standard input."),
    key("model", Shape::Text, "", "Passed to the agent through its profile."),
    key("max_turns", Shape::Count { min: 1, max: 100_000 }, "", "Passed to the agent through its profile."),
    key("budget_usd", Shape::Money, "", "Passed to the agent through its profile."),
    key("tools", Shape::Names, "", "Passed to the agent through its profile; text with commas or a list."),
    key("pool", Shape::Text, "", "Name of a worktree pool: the run gets a slot of its own."),
    key("worktree", Shape::Worktree, "", "A map of base, branch, claim_wait; needs pool."),
    key(
        "log_max",
        Shape::Size,
        "10MB",
        "Output kept of one run, head and tail. Decimal: 1MB is 1000000 bytes.",
    ),
    key("keep_runs", Shape::Count { min: 1, max: 1_000_000 }, "200", "Runs whose rows and output are kept."),
    key("keep_for", Shape::Limit, "90d", "Age up to which they are kept."),
    key(
        "deliver",
        Shape::Choice(DELIVER),
        "none",
        "Sends the final output; nothing when it is empty or `[SILENT]`.",
    ),
    key(
        "preflight",
        Shape::Command,
        "",
        "Runs first, inside the timeout; not 0 ends the run `blocked`, with one alert and no retry.",
    ),
    key("alerts", Shape::Alerts, "", "`off`, or a map of events, after, severity, repeat, mute_until."),
    key("grants", Shape::Known(grant::ALL), "", "Rights of the run's own token beyond reading."),
    key(
        "meta",
        Shape::Anything,
        "",
        "Anything; lucid does not look at it. So is every key that starts with `x-`.",
    ),
];

pub const RETRIES: &[Key] = &[
    key("max", Shape::Count { min: 0, max: 100 }, "0", "Further attempts after the first."),
    key("delay", Shape::Duration, "10s", "Wait before the first retry."),
    key("backoff", Shape::Factor, "2", "Each further wait is so many times the one before."),
    key("max_delay", Shape::Duration, "10m", "No wait is longer."),
    key(
        "when",
        Shape::Choices(RETRY_WHEN),
        "exit, spawn",
        "What is retried: `exit` (a failing exit or signal), `spawn` (it could not be started), `timeout` (its limit), `rate_limit` (an agent turned away by its provider, for a limit or overload: again once that is over, never before `delay`; `exit` does not cover it).",
    ),
];

pub const WORKTREE: &[Key] = &[
    key("base", Shape::Base, "", "What the slot starts from; the pool's base without it."),
    key(
        "branch",
        Shape::Branch,
        "",
        "Branch made in the slot, `LUCID_BRANCH` to the run; `${run_id}` in it stands for the run's id. Where there is one of that name already `-2` is added, or the next free number.",
    ),
    key(
        "claim_wait",
        Shape::Duration,
        "",
        "How long a full pool is waited for; must be shorter than timeout.",
    ),
];

pub const ALERTS: &[Key] = &[
    key("events", Shape::Choices(ALERT_EVENTS), "failure, timeout, missed, recovery", "What is told."),
    key("after", Shape::Count { min: 1, max: 1000 }, "1", "From which failure in a row on."),
    key("severity", Shape::Choice(SEVERITIES), "warning", "How loud."),
    key("repeat", Shape::Limit, "6h", "Told again after so long while it goes on."),
    key("mute_until", Shape::Instant, "", "RFC 3339 time until which nothing is told."),
];

/// The keys inside a map, with the key that holds it.
pub const NESTED: &[(&str, &[Key])] = &[("retries", RETRIES), ("worktree", WORKTREE), ("alerts", ALERTS)];

impl Shape {
    fn example(self) -> String {
        let text = match self {
            Self::Text => "some text",
            Self::Flag => "true",
            Self::Duration | Self::Limit => "5m",
            Self::Size => "10MB",
            Self::Count { min, .. } => return min.max(2).to_string(),
            Self::Numbers { min, max } => return format!("[{min}, {max}]"),
            Self::Money => "0.50",
            Self::Factor => "1.5",
            Self::Instant => "2027-01-31T08:00:00Z",
            Self::Choice(choices) => choices.first().copied().unwrap_or_default(),
            Self::Choices(choices) => return format!("[{}]", choices.join(", ")),
            Self::Texts | Self::Names => "[one, two]",
            Self::Known(names) => return format!("[{}]", names.first().copied().unwrap_or_default()),
            Self::Base => "origin/main",
            Self::Branch => "lucid/deps-${run_id}",
            Self::Variables => "[PATH, LANG]",
            Self::Schedule => "every 5m",
            Self::Zone => "Europe/Berlin",
            Self::Command => "./backup.sh",
            Self::Environment => "{NAME: value}",
            Self::Retries => "2",
            Self::Worktree => "{base: origin/main}",
            Self::Alerts => "{after: 2}",
            Self::Anything => "{note: anything}",
        };
        text.to_owned()
    }
}

impl Key {
    #[must_use]
    pub fn find<'k>(keys: &'k [Key], name: &str) -> Option<&'k Key> {
        keys.iter().find(|key| key.name == name)
    }

    /// What may be written, in words.
    #[must_use]
    pub fn type_text(&self) -> String {
        match self.shape {
            Shape::Text => "text".into(),
            Shape::Flag => "boolean: true false yes no on off 1 0".into(),
            Shape::Duration => "duration: 90, 90s, 5m, 1h30m, 2d, PT90S".into(),
            Shape::Limit => "duration above 0: 90, 90s, 5m, 1h30m, 2d, PT90S".into(),
            Shape::Size => "size: 500kB, 10MB, 1GB".into(),
            Shape::Count { min, max } => format!("whole number from {min} to {max}"),
            Shape::Money => "amount: 0.50".into(),
            Shape::Factor => "number from 1 to 100".into(),
            Shape::Instant => "RFC 3339 time: 2027-01-31T08:00:00Z".into(),
            Shape::Choice(choices) => format!("one of {}", choices.join(", ")),
            Shape::Choices(choices) => format!("list of {}", choices.join(", ")),
            Shape::Texts => "text or list of texts".into(),
            Shape::Names => "list of names, or names between commas".into(),
            Shape::Known(names) => format!("list of {}", names.join(", ")),
            Shape::Base => "remote-tracking branch: origin/main".into(),
            Shape::Branch => "branch: lucid/deps-${run_id}".into(),
            Shape::Variables => "list of variable names".into(),
            Shape::Numbers { min, max } => format!("list of whole numbers from {min} to {max}"),
            Shape::Schedule => "schedule or list of schedules".into(),
            Shape::Zone => "IANA time zone: Europe/Berlin".into(),
            Shape::Command => "text for the shell, or list of arguments".into(),
            Shape::Environment => "map of NAME: value".into(),
            Shape::Retries => "whole number, or map of max, delay, backoff, max_delay, when".into(),
            Shape::Worktree => "map of base, branch, claim_wait".into(),
            Shape::Alerts => "off, or map of events, after, severity, repeat, mute_until".into(),
            Shape::Anything => "anything".into(),
        }
    }
}

/// A line that gives the key `name` (`timeout`, `retries.max`) a value; empty for a name of one's own.
#[must_use]
pub fn example(name: &str) -> String {
    let (keys, inner) = match name.split_once('.') {
        None => (KEYS, name),
        Some((holder, inner)) => match NESTED.iter().find(|(outer, _)| *outer == holder) {
            Some((_, keys)) => (*keys, inner),
            None => return String::new(),
        },
    };
    Key::find(keys, inner)
        .map_or_else(String::new, |key| format!("write it like `{inner}: {}`", key.shape.example()))
}

/// The page of one key (`timeout`, `retries.delay`), as `lucid explain` prints it.
#[must_use]
pub fn explain(name: &str) -> Option<String> {
    let (key, nested) = match name.split_once('.') {
        Some((outer, inner)) => {
            let (_, keys) = NESTED.iter().find(|(holder, _)| *holder == outer)?;
            (Key::find(keys, inner)?, None)
        }
        None => (Key::find(KEYS, name)?, NESTED.iter().find(|(holder, _)| *holder == name)),
    };
    let mut page = format!("{name}\n\n  {}\n\n  type     {}\n", key.meaning, key.type_text());
    let default = if key.default.is_empty() { "none" } else { key.default };
    let _ = writeln!(page, "  default  {default}");
    if let Some((holder, keys)) = nested {
        page.push_str("\n  keys inside\n");
        for inner in *keys {
            let default = if inner.default.is_empty() {
                String::new()
            } else {
                format!(" (default {})", inner.default)
            };
            let _ = writeln!(page, "    {holder}.{}: {}{default}", inner.name, inner.type_text());
            let _ = writeln!(page, "        {}", inner.meaning);
        }
    }
    Some(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_shown_a_right_one() {
        assert_eq!(example("timeout"), "write it like `timeout: 5m`");
        assert_eq!(example("retries.max"), "write it like `max: 2`");
        assert_eq!((example("env.A"), example("nothing")), (String::new(), String::new()));
    }

    #[test]
    fn every_key_has_a_page_and_no_name_stands_twice() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(explain(key.name).is_some_and(|page| page.contains(key.meaning)));
            assert!(!KEYS[..index].iter().any(|other| other.name == key.name), "{}", key.name);
        }
        assert!(explain("retries.delay").unwrap().contains("default  10s"));
        assert!(explain("retries").unwrap().contains("retries.when: list of exit, spawn"));
        assert_eq!(explain("timout"), None);
    }
}
