//! Which instants of a task are due, and what becomes of each: run now, run late, or one `missed` row.
//!
//! Pure: instants come from the schedule, the clock is a value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::run::Trigger;
use crate::model::schedule::Context;
use crate::model::task::{CatchUp, Task};

/// A clock set back further than this, in milliseconds, is a correction: schedules follow it at once
/// (cron's rule).
pub const CORRECTION_MS: i64 = 3 * 3_600_000;

/// The scheduler's own limits.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Later than this an instant was missed and goes through `catch_up`.
    pub misfire_after: Duration,
    /// Most instants that `catch_up: all` runs.
    pub catch_up_max: u32,
}

/// What is to be written for one task, in order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub missed: Option<Missed>,
    pub fires: Vec<Fire>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    pub at: Timestamp,
    pub trigger: Trigger,
}

/// A span of instants that nothing will run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub from: Timestamp,
    pub to: Timestamp,
    pub count: u64,
}

/// A task's instants: its schedule, shifted by the task's own jitter.
#[derive(Debug, Clone, Copy)]
pub struct Instants<'a> {
    task: &'a Task,
    anchor: Timestamp,
}

impl<'a> Instants<'a> {
    #[must_use]
    pub fn new(task: &'a Task, anchor: Timestamp) -> Self {
        Self { task, anchor }
    }

    fn context(&self) -> Context {
        Context { zone: self.task.settings.zone.clone(), anchor: self.anchor }
    }

    fn offset(&self) -> SignedDuration {
        SignedDuration::try_from(self.task.jitter_offset()).unwrap_or(SignedDuration::ZERO)
    }

    /// The first instant after `after`.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let nominal = after.checked_sub(self.offset()).ok()?;
        self.task.schedule.next(nominal, &self.context())?.at.checked_add(self.offset()).ok()
    }

    /// The last instant at or before `at`.
    #[must_use]
    pub fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        let just_after =
            at.checked_sub(self.offset()).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
        self.task.schedule.previous(just_after, &self.context())?.at.checked_add(self.offset()).ok()
    }

    /// How many instants lie in `(after, to]`.
    #[must_use]
    pub fn count(&self, after: Timestamp, to: Timestamp) -> u64 {
        match (after.checked_sub(self.offset()), to.checked_sub(self.offset())) {
            (Ok(after), Ok(to)) => self.task.schedule.count_between(after, to, &self.context()),
            (Ok(_) | Err(_), _) => 0,
        }
    }
}

/// Decides about every instant in `(covered, now]`.
#[must_use]
pub fn plan(task: &Task, anchor: Timestamp, covered: Timestamp, now: Timestamp, policy: Policy) -> Plan {
    let instants = Instants::new(task, anchor);
    let Some(first) = instants.next(covered).filter(|first| *first <= now) else {
        return Plan::default();
    };
    let Some(last) = instants.latest(now).filter(|last| *last >= first) else {
        return Plan::default();
    };
    let fires = match task.settings.catch_up {
        CatchUp::Skip => on_time(last, now, policy).into_iter().collect(),
        CatchUp::Latest => on_time(last, now, policy)
            .or_else(|| {
                within(last, now, task.settings.catch_up_window)
                    .then_some(Fire { at: last, trigger: Trigger::CatchUp })
            })
            .into_iter()
            .collect(),
        CatchUp::All => every(&instants, first, now, task.settings.catch_up_window, policy),
    };
    Plan { missed: missed(&instants, first, last, fires.first().copied()), fires }
}

fn on_time(at: Timestamp, now: Timestamp, policy: Policy) -> Option<Fire> {
    within(at, now, policy.misfire_after).then_some(Fire { at, trigger: Trigger::Schedule })
}

fn within(at: Timestamp, now: Timestamp, window: Duration) -> bool {
    SignedDuration::try_from(window).is_ok_and(|window| now.duration_since(at) <= window)
}

/// The last `catch_up_max` instants that still lie within the window, oldest first.
fn every(
    instants: &Instants<'_>,
    first: Timestamp,
    now: Timestamp,
    window: Duration,
    policy: Policy,
) -> Vec<Fire> {
    let mut fires = Vec::new();
    let mut at = instants.latest(now);
    while let Some(instant) = at {
        let wanted = instant >= first
            && fires.len() < policy.catch_up_max as usize
            && (within(instant, now, window) || within(instant, now, policy.misfire_after));
        if !wanted {
            break;
        }
        fires.push(on_time(instant, now, policy).unwrap_or(Fire { at: instant, trigger: Trigger::CatchUp }));
        at = instant
            .checked_sub(SignedDuration::from_nanos(1))
            .ok()
            .and_then(|before| instants.latest(before));
    }
    fires.reverse();
    fires
}

/// Everything from `first` to just before the first that fires, or to `last` when none does.
fn missed(
    instants: &Instants<'_>,
    first: Timestamp,
    last: Timestamp,
    fires_from: Option<Fire>,
) -> Option<Missed> {
    let to = match fires_from {
        Some(fire) => {
            let before = fire.at.checked_sub(SignedDuration::from_nanos(1)).ok()?;
            instants.latest(before).filter(|to| *to >= first)?
        }
        None => last,
    };
    Some(span(instants, first, to))
}

/// What is left of a missed span when the instants in `decided`, stretches in order of time, have their rows: after a
/// clock was put right, some of a gap may have been reached before.
#[must_use]
pub fn without(instants: &Instants<'_>, missed: Missed, decided: &[(Timestamp, Timestamp)]) -> Vec<Missed> {
    let mut left = Vec::new();
    let mut from = Some(missed.from);
    for (begin, end) in decided {
        let Some(at) = from.filter(|at| *at <= missed.to) else { break };
        let just_before = begin.checked_sub(SignedDuration::from_nanos(1)).ok();
        let to = just_before.and_then(|before| instants.latest(before)).filter(|to| *to >= at);
        left.extend(to.map(|to| span(instants, at, to)));
        from = instants.next((*end).max(at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at)));
    }
    left.extend(from.filter(|at| *at <= missed.to).map(|at| span(instants, at, missed.to)));
    left
}

fn span(instants: &Instants<'_>, from: Timestamp, to: Timestamp) -> Missed {
    let just_before = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    Missed { from, to, count: instants.count(just_before, to) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing::task;

    const POLICY: Policy = Policy { misfire_after: Duration::from_secs(60), catch_up_max: 3 };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn planned(front: &str, covered: &str, now: &str) -> String {
        let task = task(front);
        let plan = plan(&task, at("2026-01-01T00:00:00Z"), at(covered), at(now), POLICY);
        let mut words: Vec<String> =
            plan.missed.iter().map(|m| format!("missed {}..{} x{}", m.from, m.to, m.count)).collect();
        words.extend(plan.fires.iter().map(|f| format!("{} {}", f.trigger.name(), f.at)));
        words.join(", ")
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        assert_eq!(planned("schedule: '0 * * * *'", "2026-03-01T10:00:00Z", "2026-03-01T10:59:59.999Z"), "");
        assert_eq!(planned("schedule: manual", "2026-03-01T10:00:00Z", "2026-03-02T10:00:00Z"), "");
    }

    #[test]
    fn one_instant_on_time_is_a_schedule_run() {
        let now = "2026-03-01T11:00:00.004Z";
        let due = "schedule 2026-03-01T11:00:00Z";
        for policy in ["latest", "skip", "all"] {
            let front = format!("schedule: '0 * * * *'\ncatch_up: {policy}");
            assert_eq!(planned(&front, "2026-03-01T10:00:00Z", now), due, "{policy}");
        }
    }

    #[test]
    fn a_downtime_costs_one_missed_row_and_by_policy_one_or_more_runs() {
        let front = |policy| format!("schedule: '0 * * * *'\ncatch_up: {policy}");
        let (covered, now) = ("2026-03-01T00:00:00Z", "2026-03-01T05:30:00Z");
        assert_eq!(
            planned(&front("latest"), covered, now),
            "missed 2026-03-01T01:00:00Z..2026-03-01T04:00:00Z x4, catch_up 2026-03-01T05:00:00Z"
        );
        assert_eq!(
            planned(&front("skip"), covered, now),
            "missed 2026-03-01T01:00:00Z..2026-03-01T05:00:00Z x5"
        );
        assert_eq!(
            planned(&front("all"), covered, now),
            "missed 2026-03-01T01:00:00Z..2026-03-01T02:00:00Z x2, catch_up 2026-03-01T03:00:00Z, \
             catch_up 2026-03-01T04:00:00Z, catch_up 2026-03-01T05:00:00Z"
        );
    }

    #[test]
    fn the_window_bounds_what_is_made_up_for() {
        let front = "schedule: '0 3 * * *'\ncatch_up_window: 6h";
        let covered = "2026-03-01T03:00:00Z";
        assert_eq!(planned(front, covered, "2026-03-02T09:00:00Z"), "catch_up 2026-03-02T03:00:00Z");
        assert_eq!(
            planned(front, covered, "2026-03-02T09:00:01Z"),
            "missed 2026-03-02T03:00:00Z..2026-03-02T03:00:00Z x1"
        );
        assert_eq!(
            planned(front, covered, "2026-04-10T12:00:00Z"),
            "missed 2026-03-02T03:00:00Z..2026-04-10T03:00:00Z x40"
        );
    }

    #[test]
    fn a_clock_that_jumps_ahead_never_fires_a_burst() {
        let front = "schedule: every 1m\ncatch_up: latest";
        assert_eq!(
            planned(front, "2026-03-01T10:00:00Z", "2026-03-01T11:00:00.010Z"),
            "missed 2026-03-01T10:01:00Z..2026-03-01T10:59:00Z x59, schedule 2026-03-01T11:00:00Z"
        );
    }

    #[test]
    fn of_a_gap_only_what_has_no_row_is_missed() {
        let task = task("schedule: '0 * * * *'");
        let instants = Instants::new(&task, at("2026-01-01T00:00:00Z"));
        let hour = |h: u32| at(&format!("2026-03-01T{h:02}:00:00Z"));
        let missed = Missed { from: hour(1), to: hour(9), count: 9 };
        let left = |decided: &[(u32, u32)]| -> Vec<(u32, u32, u64)> {
            let decided: Vec<_> = decided.iter().map(|(a, b)| (hour(*a), hour(*b))).collect();
            let hour_of = |at: Timestamp| (1..10).find(|h| hour(*h) == at).unwrap();
            without(&instants, missed, &decided)
                .into_iter()
                .map(|m| (hour_of(m.from), hour_of(m.to), m.count))
                .collect()
        };
        assert_eq!(left(&[]), [(1, 9, 9)]);
        assert_eq!(left(&[(1, 1), (4, 4)]), [(2, 3, 2), (5, 9, 5)]);
        assert_eq!(left(&[(0, 2), (3, 5), (9, 9)]), [(6, 8, 3)]);
        assert_eq!(left(&[(0, 9)]), []);
        assert_eq!(left(&[(8, 12)]), [(1, 7, 7)]);
    }

    #[test]
    fn jitter_moves_the_instant_and_keeps_it_on_time() {
        let task = task("schedule: '0 * * * *'\njitter: 10m");
        let offset = SignedDuration::try_from(task.jitter_offset()).unwrap();
        assert!(offset > SignedDuration::ZERO && offset < SignedDuration::from_mins(10));
        let instants = Instants::new(&task, at("2026-01-01T00:00:00Z"));
        let due = instants.next(at("2026-03-01T10:30:00Z")).unwrap();
        assert_eq!(due, at("2026-03-01T11:00:00Z").checked_add(offset).unwrap());
        assert_eq!(instants.latest(due), Some(due));
        assert_eq!(instants.count(at("2026-03-01T10:30:00Z"), due), 1);
    }
}
