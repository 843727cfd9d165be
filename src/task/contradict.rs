//! What a file says against itself or against the config: the E3xx.
//!
//! Each rule is one function that gets the read fields and says what it finds. Findings in
//! [`BLOCKING`] leave the task in the registry, where its runs end `blocked` with the reason, so
//! that a missing profile is seen on the task's page and not only in a log.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::diagnose::{Place, Severity};
use super::fields::{Fields, Reader};
use super::front::Front;
use super::here;
use super::names::near;
use super::parse::Rules;
use super::scalars::shown;
use crate::model::schedule::{Context, code, format_duration};
use crate::model::task::{Agent, CatchUp, Kind, Task};

/// Errors that block the task's runs instead of refusing its file.
pub const BLOCKING: [&str; 2] = ["E306", "E307"];

/// Instants looked at to find the shortest time between two.
const INTERVAL_SAMPLE: usize = 32;

/// A run that is put off by more than this was not meant to be.
const JITTER_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The one kind that the file names.
pub fn kind(reader: &mut Reader<'_>, fields: &Fields, front: &Front<'_>, rules: &Rules) -> Option<Kind> {
    let given: Vec<_> =
        ["command", "agent", "action"].into_iter().filter_map(|key| fields.get(key)).collect();
    match given[..] {
        [] => {
            // A kind that was there but could not be read has been told of already.
            if !reader.found.iter().any(|found| found.severity == Severity::Error) {
                let help = "add `command:`, `agent:` or `action:`";
                let place = Place { line: 1, column: 1, end_column: 4 };
                reader.error(place, "E118", "the file does not say what to run".to_owned(), help);
            }
            None
        }
        [one] => match one.key.name {
            "command" => fields.command("command").map(Kind::Command),
            "agent" => {
                if front.body.trim().is_empty() {
                    let help = "write it below the front-matter; it goes to the agent's stdin";
                    reader.error(
                        one.place,
                        "E309",
                        "the agent has no prompt: the body is empty".to_owned(),
                        help,
                    );
                }
                Some(Kind::Agent(Box::new(Agent {
                    profile: fields.text("agent")?,
                    model: fields.text("model"),
                    max_turns: fields.count("max_turns"),
                    budget_usd: fields.text("budget_usd"),
                    tools: fields.texts("tools"),
                })))
            }
            _ => {
                let name = fields.text("action")?;
                known_action(reader, &name, one.place, rules);
                Some(Kind::Action(name))
            }
        },
        [first, second, ..] => {
            let message = format!("`{}` and `{}` cannot both be what runs", first.key.name, second.key.name);
            let other = (first.key_place, "the other kind");
            reader.error_with(second.key_place, "E302", message, "keep one; a task is one thing", other);
            None
        }
    }
}

fn known_action(reader: &mut Reader<'_>, name: &str, place: Place, rules: &Rules) {
    let actions = rules.known.actions;
    if !actions.contains(&name) {
        let meant = near(actions.iter().copied(), name)
            .map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
        let help = format!("one of {}", actions.join(", "));
        reader.error(place, "E120", format!("there is no action `{}`{meant}", shown(name)), &help);
    }
}

/// Looks at the task as a whole; gives the reason why its runs are blocked, if they are.
pub fn judge(reader: &mut Reader<'_>, fields: &Fields, task: &Task, rules: &Rules) -> Option<String> {
    claim_wait(reader, fields, task, rules);
    retries(reader, fields, task);
    jitter(reader, fields, task);
    without_effect(reader, fields, task);
    limits(reader, fields, task);
    passed(reader, fields, task, rules);
    if let Some(here) = &rules.here {
        here::missing(reader, fields, task, here);
    }
    unknown_profile(reader, fields, task, rules).or(unknown_pool(reader, fields, task, rules))
}

fn timeout_place(fields: &Fields) -> Option<Place> {
    fields.get("timeout").map(|field| field.place)
}

fn claim_wait(reader: &mut Reader<'_>, fields: &Fields, task: &Task, rules: &Rules) {
    let group = fields.group("worktree");
    let own =
        group.get("claim_wait").and_then(|field| Some((field.place, task.settings.worktree.claim_wait?)));
    let pools = task.settings.pool.as_ref().and_then(|pool| rules.known.pools.get(pool).copied().flatten());
    let pools = pools.and_then(|wait| Some((fields.get("pool")?.place, wait)));
    let Some((place, wait)) = own.or(pools) else { return };
    if wait < task.settings.timeout {
        return;
    }
    let what = if own.is_some() { "worktree.claim_wait" } else { "the pool's claim_wait" };
    let message = format!(
        "{what} ({}) must be shorter than timeout ({})",
        format_duration(wait),
        format_duration(task.settings.timeout)
    );
    let help = "so a full pool always ends in a kill, and the slot may stay half claimed";
    match timeout_place(fields) {
        Some(timeout) => reader.error_with(place, "E301", message, help, (timeout, "the run is killed here")),
        None => reader.error(place, "E301", message, help),
    }
}

/// A waiting retry gives way to the next due instant, so one that waits longer never comes.
fn retries(reader: &mut Reader<'_>, fields: &Fields, task: &Task) {
    let group = fields.group("retries");
    let delay_place = group.get("delay").map(|field| field.place);
    if let (Some(place), true) = (delay_place, task.settings.retries.delay > task.settings.retries.max_delay)
    {
        let message = format!(
            "retries.delay ({}) is longer than retries.max_delay ({})",
            format_duration(task.settings.retries.delay),
            format_duration(task.settings.retries.max_delay)
        );
        reader.error(place, "E304", message, "raise max_delay or lower delay");
    }
    let (Some(place), true) = (delay_place, task.settings.retries.max > 0) else { return };
    let Some(interval) = shortest_interval(task) else { return };
    let (shown_interval, never) =
        (format_duration(interval), "a waiting retry gives way to the next due instant");
    if task.settings.retries.delay >= interval {
        let delay = format_duration(task.settings.retries.delay);
        if is_ever_apart(task, task.settings.retries.delay) {
            let message = format!(
                "a retry after {delay} is dropped where the schedule is due again after {shown_interval}"
            );
            reader.say(Severity::Warning, place, "W303", message, never);
        } else {
            let message = format!(
                "a retry after {delay} never comes: the schedule is due again after {shown_interval}"
            );
            reader.error(place, "E303", message, never);
        }
        return;
    }
    let mut wait = task.settings.retries.delay;
    let mut total = Duration::ZERO;
    for attempt in 1..=task.settings.retries.max {
        total = total.saturating_add(wait);
        if total >= interval {
            let max = task.settings.retries.max;
            let message = if is_ever_apart(task, total) {
                format!(
                    "retry {attempt} of {max} is dropped where the schedule is due again after {shown_interval}"
                )
            } else {
                format!(
                    "retry {attempt} of {max} never comes: the schedule is due again after {shown_interval}"
                )
            };
            reader.say(Severity::Warning, place, "W303", message, "lower max, delay or backoff");
            return;
        }
        let next_ms = wait.as_millis().saturating_mul(u128::from(task.settings.retries.backoff_milli)) / 1000;
        wait = Duration::from_millis(u64::try_from(next_ms).unwrap_or(u64::MAX))
            .min(task.settings.retries.max_delay);
    }
}

fn jitter(reader: &mut Reader<'_>, fields: &Fields, task: &Task) {
    let Some(place) = fields.get("jitter").map(|field| field.place) else { return };
    if task.settings.jitter.is_zero() {
        return;
    }
    if task.settings.jitter > JITTER_MAX {
        let message = format!("jitter ({}) is longer than a year", format_duration(task.settings.jitter));
        reader.error(place, "E305", message, "lower it");
        return;
    }
    // A task's jitter is the same each time, so its runs keep their distances.
    let too_near =
        |interval: &Duration| task.settings.jitter >= *interval && !is_ever_apart(task, task.settings.jitter);
    if let Some(interval) = shortest_interval(task).filter(too_near) {
        let message = format!(
            "jitter ({}) must be shorter than the time between two runs ({})",
            format_duration(task.settings.jitter),
            format_duration(interval)
        );
        reader.error(place, "E305", message, "lower it");
    }
}

/// 2027-01-01: any fixed instant serves, and no clock is read.
const FROM: Timestamp = Timestamp::constant(1_798_761_600, 0);

/// Whether two due instants lie further apart than `wait`, ever: looked for among the next ones, at each hour of a
/// week, and on each day of a year.
fn is_ever_apart(task: &Task, wait: Duration) -> bool {
    const HOUR_SECS: i64 = 3_600;
    let ctx = Context { zone: task.settings.zone.clone(), anchor: FROM };
    // After the last instant nothing comes that a wait could run into.
    let gap = |after: Timestamp| match task.schedule.next(after, &ctx) {
        Some(fire) => (Duration::try_from(fire.at.duration_since(after)).unwrap_or_default(), Some(fire.at)),
        None => (Duration::MAX, None),
    };
    let Some(mut last) = gap(FROM).1 else { return false };
    for _ in 0..INTERVAL_SAMPLE * 2 {
        let (length, next) = gap(last);
        let (true, Some(next)) = (length <= wait, next) else { return true };
        last = next;
    }
    let hours = (0..7 * 24).chain((7..366).map(|day| day * 24));
    let mut looks =
        hours.filter_map(|hour| FROM.checked_add(SignedDuration::from_secs(hour * HOUR_SECS)).ok());
    looks.any(|at| gap(at).0 > wait)
}

/// The shortest time between two of the next due instants, from a fixed date on.
fn shortest_interval(task: &Task) -> Option<Duration> {
    let ctx = Context { zone: task.settings.zone.clone(), anchor: FROM };
    let first = task.schedule.next(FROM, &ctx)?.at;
    let mut shortest: Option<Duration> = None;
    let mut last = first;
    for _ in 0..INTERVAL_SAMPLE {
        let Some(fire) = task.schedule.next(last, &ctx) else { break };
        let gap = Duration::try_from(fire.at.duration_since(last)).ok()?;
        shortest = Some(shortest.map_or(gap, |known| known.min(gap)));
        last = fire.at;
    }
    shortest
}

/// A time that has passed brings no run, except of a file that is new within the catch-up window.
fn passed(reader: &mut Reader<'_>, fields: &Fields, task: &Task, rules: &Rules) {
    let (Some(now), Some(field)) = (rules.now, fields.get("schedule")) else { return };
    let ctx = Context { zone: task.settings.zone.clone(), anchor: now };
    for (text, at) in task.schedule.passed(&ctx, now) {
        let when = at.to_zoned(task.settings.zone.tz().clone()).strftime("%a %-d %b %Y %H:%M %Z");
        let message = format!("`{}` has passed: it was {when}", shown(text));
        let help = match task.settings.catch_up {
            CatchUp::Skip => "write a time that is to come, or `manual`".to_owned(),
            CatchUp::Latest | CatchUp::All => format!(
                "write a time that is to come, or `manual`; a file that is new is made up for within \
                 catch_up_window ({}), later it has missed its run",
                format_duration(task.settings.catch_up_window)
            ),
        };
        reader.say(Severity::Warning, field.place, code::PASSED, message, &help);
    }
}

/// Keys that mean nothing for this kind of task.
fn without_effect(reader: &mut Reader<'_>, fields: &Fields, task: &Task) {
    let mut say = |name: &str, why: &str| {
        if let Some(field) = fields.get(name) {
            let message = format!("`{name}` has no effect: {why}");
            reader.say(Severity::Warning, field.key_place, "W301", message, "remove it");
        }
    };
    match &task.kind {
        Kind::Command(command) => {
            for name in ["model", "max_turns", "budget_usd", "tools"] {
                say(name, "only an agent has one");
            }
            if matches!(command, crate::model::task::Command::Argv(_)) && task.settings.preflight.is_none() {
                say("shell", "a list is started without a shell");
            }
        }
        Kind::Action(_) => {
            for name in ["model", "max_turns", "budget_usd", "tools"] {
                say(name, "only an agent has one");
            }
            if task.settings.preflight.is_none() {
                say("shell", "an action is started without a shell");
            }
            say("stdin", "an action reads no stdin");
        }
        Kind::Agent(_) => {}
    }
    if task.schedule.is_manual() {
        for name in ["catch_up", "catch_up_window", "jitter"] {
            say(name, "there is no schedule");
        }
    }
    if task.settings.pool.is_none() {
        say("worktree", "there is no `pool`");
    }
}

fn limits(reader: &mut Reader<'_>, fields: &Fields, task: &Task) {
    if let (Some(field), Some(idle)) = (fields.get("idle_timeout"), task.settings.idle_timeout)
        && idle >= task.settings.timeout
    {
        let message = format!(
            "idle_timeout ({}) never acts: timeout ({}) comes first",
            format_duration(idle),
            format_duration(task.settings.timeout)
        );
        let help = "make it shorter than timeout";
        match timeout_place(fields) {
            Some(timeout) => reader.error_with(field.place, "E310", message, help, (timeout, "ends the run")),
            None => reader.error(field.place, "E310", message, help),
        }
    }
    if let (Some(field), Kind::Agent(_)) = (fields.get("stdin"), &task.kind) {
        let message = "`stdin` and the body cannot both be the agent's input".to_owned();
        reader.error(field.key_place, "E308", message, "put the text into the body");
    }
}

/// In a file that is switched off a missing name is only worth a note.
fn severity(task: &Task) -> Severity {
    if task.enabled { Severity::Error } else { Severity::Info }
}

fn unknown_profile(reader: &mut Reader<'_>, fields: &Fields, task: &Task, rules: &Rules) -> Option<String> {
    let Kind::Agent(agent) = &task.kind else { return None };
    let profiles = &rules.known.profiles;
    if profiles.contains(&agent.profile) {
        return None;
    }
    let reason = format!("there is no agent profile `{}`", shown(&agent.profile));
    let help = offer(profiles.iter().map(String::as_str), &agent.profile, "agents");
    let code = if task.enabled { "E307" } else { "I307" };
    reader.say(severity(task), fields.get("agent")?.place, code, reason.clone(), &help);
    Some(reason)
}

fn unknown_pool(reader: &mut Reader<'_>, fields: &Fields, task: &Task, rules: &Rules) -> Option<String> {
    let pool = task.settings.pool.as_ref()?;
    let pools = &rules.known.pools;
    if pools.contains_key(pool) {
        return None;
    }
    let reason = format!("there is no pool `{}`", shown(pool));
    let help = offer(pools.keys().map(String::as_str), pool, "pools");
    let code = if task.enabled { "E306" } else { "I306" };
    reader.say(severity(task), fields.get("pool")?.place, code, reason.clone(), &help);
    Some(reason)
}

fn offer<'k>(names: impl Iterator<Item = &'k str> + Clone, given: &str, section: &str) -> String {
    match near(names, given) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add it to the config under `{section}:`"),
    }
}
