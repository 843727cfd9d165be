//! Which instants of a task are due, and what becomes of each: run now, run late, or one `missed` row.
//!
//! Pure: instants come from the schedule, the clock is a value.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::run::Trigger;
use crate::model::schedule::Context;
use crate::model::task::{CatchUp, Task};

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
        Context { zone: self.task.zone.clone(), anchor: self.anchor }
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
    let fires = match task.catch_up {
        CatchUp::Skip => on_time(last, now, policy).into_iter().collect(),
        CatchUp::Latest => on_time(last, now, policy)
            .or_else(|| {
                within(last, now, task.catch_up_window)
                    .then_some(Fire { at: last, trigger: Trigger::CatchUp })
            })
            .into_iter()
            .collect(),
        CatchUp::All => every(&instants, first, now, task.catch_up_window, policy),
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
    let just_before = first.checked_sub(SignedDuration::from_nanos(1)).ok()?;
    Some(Missed { from: first, to, count: instants.count(just_before, to) })
}
