//! What the daemon remembers of its health, and what a new look at it has to tell: the beginning of a
//! state, a change within it, its end. Pure.

use serde::{Deserialize, Serialize};

use crate::model::condition::{Condition, Mark};
use crate::model::event::Event;
use crate::model::health::{Check, HealthState, worst};
use crate::model::task::Severity;

/// The key of the condition.
pub const KEY: &str = "health";
/// What stays critical is said again after this time, in milliseconds.
const AGAIN_MS: i64 = 3_600_000;
/// Checks that are told, the gravest first.
const LINES_MAX: usize = 20;

/// As it was found last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    pub state: HealthState,
    /// Since when it is in this state, milliseconds since the epoch.
    pub since_ms: i64,
    /// When it was looked at.
    pub at_ms: i64,
    /// When it was last told of.
    told_ms: Option<i64>,
    /// What was not well, by id and state.
    bad: Vec<(String, HealthState)>,
    /// What was seen from outside; the rest is looked at anew whenever it is asked for.
    pub outside: Vec<Check>,
}

/// A look at everything.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// All of it, what was seen from outside included.
    pub checks: &'a [Check],
    pub outside: &'a [Check],
    pub host: &'a str,
    pub now_ms: i64,
}

/// The new standing, and what the journal is told.
#[must_use]
pub fn next(before: Option<&Standing>, look: Look<'_>) -> (Standing, Vec<Event>) {
    let state = worst(look.checks);
    let mut bad: Vec<(String, HealthState)> = look
        .checks
        .iter()
        .filter(|check| check.state != HealthState::Healthy)
        .map(|check| (check.id.clone(), check.state))
        .collect();
    bad.sort();
    let was = before.map_or(HealthState::Healthy, |before| before.state);
    let same = before.filter(|before| before.state == state);
    let told_ms = same.and_then(|same| same.told_ms);
    let is_due = told_ms.is_none_or(|told| look.now_ms.saturating_sub(told) >= AGAIN_MS);
    let mut events = Vec::new();
    let tells = match state {
        HealthState::Healthy => false,
        HealthState::Degraded => same.is_none_or(|same| same.bad != bad),
        HealthState::Critical => same.is_none_or(|same| same.bad != bad) || is_due,
    };
    // Whoever was woken for what is critical hears that it no longer is.
    if was != HealthState::Healthy
        && (state == HealthState::Healthy || was == HealthState::Critical && state != was)
    {
        let still = if state == HealthState::Healthy { "" } else { ", no longer critical" };
        events.push(Condition::cleared(KEY, &format!("{} is {}{still}", subject(look.host), state.name())));
    }
    if tells {
        events.push(condition(state, look).raised());
    }
    let standing = Standing {
        state,
        since_ms: same.map_or(look.now_ms, |same| same.since_ms),
        at_ms: look.now_ms,
        told_ms: if tells { Some(look.now_ms) } else { told_ms },
        bad,
        outside: look.outside.to_vec(),
    };
    (standing, events)
}

fn subject(host: &str) -> String {
    format!("lucid on {host}")
}

/// The gravest first; what is well is named, so that nobody has to ask.
fn condition(state: HealthState, look: Look<'_>) -> Condition {
    let mut checks: Vec<&Check> = look.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.state));
    let first = checks.first().map(|check| check.detail.as_str()).unwrap_or_default();
    let more = checks.iter().filter(|check| check.state == state).count().saturating_sub(1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let severity = match state {
        HealthState::Healthy | HealthState::Degraded => Severity::Info,
        HealthState::Critical => Severity::Critical,
    };
    let title = format!("{} is {}: {first}{more}", subject(look.host), state.name());
    let mut condition = Condition::new(KEY, severity, title);
    for check in checks.iter().take(LINES_MAX) {
        let (mark, text) = match check.state {
            HealthState::Critical => (Mark::Bad, &check.detail),
            HealthState::Degraded => (Mark::Doubtful, &check.detail),
            HealthState::Healthy => (Mark::Good, &check.id),
        };
        condition = condition.check(mark, text.clone(), &check.id);
    }
    condition
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn checks(disk: HealthState, runs: HealthState) -> Vec<Check> {
        vec![
            Check::new("api", HealthState::Healthy, "the daemon answers"),
            Check::new("disk:/", disk, "7% free on /"),
            Check::new("failed_runs", runs, "5 failed runs"),
        ]
    }

    /// What is told of each look, an hour and a half of them.
    fn story(steps: &[(i64, HealthState, HealthState)]) -> String {
        let mut standing: Option<Standing> = None;
        let mut told = Vec::new();
        for (at_ms, disk, runs) in steps {
            let checks = checks(*disk, *runs);
            let look = Look { checks: &checks, outside: &checks[..2], host: "atlas", now_ms: *at_ms };
            let (after, events) = next(standing.as_ref(), look);
            let events: Vec<String> = events
                .iter()
                .map(|event| {
                    let severity = event.data["severity"].as_str().unwrap_or("-");
                    format!("{} {severity} {}", event.kind.name(), event.data["title"].as_str().unwrap_or(""))
                })
                .collect();
            told.push(format!("{} since {}: {}", after.state.name(), after.since_ms, events.join("; ")));
            standing = Some(after);
        }
        told.join("\n")
    }

    #[test]
    fn a_change_is_told_once_and_what_stays_critical_every_hour() {
        use HealthState::{Critical, Degraded, Healthy};
        let told = story(&[
            (0, Healthy, Healthy),
            (1, Degraded, Healthy),
            (2, Degraded, Healthy),
            (3, Critical, Healthy),
            (4, Critical, Critical),
            (5, Critical, Critical),
            (4 + HOUR, Critical, Critical),
            (5 + HOUR, Degraded, Healthy),
            (6 + 3 * HOUR, Degraded, Healthy),
            (7 + 3 * HOUR, Healthy, Healthy),
            (8 + 3 * HOUR, Healthy, Healthy),
        ]);
        insta::assert_snapshot!(told, @r"
        healthy since 0: 
        degraded since 1: condition_raised info lucid on atlas is degraded: 7% free on /
        degraded since 1: 
        critical since 3: condition_raised critical lucid on atlas is critical: 7% free on /
        critical since 3: condition_raised critical lucid on atlas is critical: 7% free on / and 1 more
        critical since 3: 
        critical since 3: condition_raised critical lucid on atlas is critical: 7% free on / and 1 more
        degraded since 3600005: condition_cleared - lucid on atlas is degraded, no longer critical; condition_raised info lucid on atlas is degraded: 7% free on /
        degraded since 3600005: 
        healthy since 10800007: condition_cleared - lucid on atlas is healthy
        healthy since 10800007: 
        ");
    }

    #[test]
    fn the_first_look_tells_what_is_wrong_and_nothing_of_what_is_well() {
        let checks = checks(HealthState::Critical, HealthState::Healthy);
        let look = Look { checks: &checks, outside: &[], host: "atlas", now_ms: 9 };
        let (standing, events) = next(None, look);
        let condition = Condition::of(&events[0]).unwrap();
        let lines: Vec<(Mark, &str)> = condition.lines.iter().map(|l| (l.mark, l.text.as_str())).collect();
        assert_eq!(lines, [(Mark::Bad, "7% free on /"), (Mark::Good, "api"), (Mark::Good, "failed_runs")]);
        // It survives a restart of the daemon as text.
        let text = serde_json::to_string(&standing).unwrap();
        assert_eq!(serde_json::from_str::<Standing>(&text).unwrap(), standing);
        assert_eq!(next(Some(&standing), Look { now_ms: 10, ..look }).1, []);
    }
}
