//! What is due next, of all tasks: a heap of instants, and what has been planned and not been answered yet.
//!
//! Pure: it is told what the database has taken, and the time comes as a value. A plan that is lost is made again
//! after a restart from the rows; within one life each plan is answered before the task is planned anew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::due::{self, CORRECTION_MS, Instants, Plan, Policy};
use crate::model::ids::TaskId;
use crate::model::task::Task;

/// Wait before what the database would not take is planned again.
const AGAIN_MS: i64 = 1_000;

/// A task as the agenda needs it.
#[derive(Debug, Clone)]
pub struct Standing {
    pub task: Arc<Task>,
    /// From when its intervals are counted.
    pub anchor_ms: i64,
    /// Every instant up to here is decided.
    pub covered_ms: i64,
    /// Its file has been broken for too long: instants are skipped with that reason.
    pub expired: bool,
    pub enabled: bool,
}

/// A task with what was decided about its instants.
#[derive(Debug, Clone)]
pub struct Due {
    pub task: Arc<Task>,
    pub plan: Plan,
    /// From when its intervals are counted.
    pub anchor: Timestamp,
    pub covered_ms: i64,
    /// Instants of a gap are being made up for.
    pub backlog: bool,
    pub expired: bool,
}

/// When a task whose plan was carried out is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    WhenDue,
    /// Not before this wall time, since the database did not take the plan.
    NotBefore(i64),
    /// Not before this wall time: more instants of a gap are to be made up for, one run after the other.
    Spaced(i64),
}

impl Again {
    /// After a plan that the database did not take at `now_ms`.
    #[must_use]
    pub fn after_failure(now_ms: i64) -> Self {
        Self::NotBefore(now_ms + AGAIN_MS)
    }
}

#[derive(Debug)]
struct Known {
    standing: Standing,
    due_ms: Option<i64>,
    /// A plan of it is on its way to the database.
    busy: bool,
    /// Instants of a gap are being made up for.
    backlog: bool,
}

/// All tasks by their next instant, and the next retry.
#[derive(Debug, Default)]
pub struct Agenda {
    known: HashMap<TaskId, Known>,
    heap: BinaryHeap<Reverse<(i64, TaskId)>>,
    retry_ms: Option<i64>,
}

impl Agenda {
    /// The registry and the database agree on these tasks; those not named are gone.
    pub fn sync(&mut self, all: Vec<Standing>) {
        let mut known = HashMap::with_capacity(all.len());
        self.heap.clear();
        for standing in all {
            let id = standing.task.id.clone();
            let (busy, backlog) = self.known.get(&id).map_or((false, false), |old| (old.busy, old.backlog));
            let due_ms = if busy { None } else { next_due(&standing) };
            push(&mut self.heap, due_ms, &id);
            known.insert(id, Known { standing, due_ms, busy, backlog });
        }
        self.known = known;
    }

    /// A plan of `task` is done with: every instant up to `covered_ms` is decided, nothing where there is none.
    pub fn covered(&mut self, task: &TaskId, covered_ms: Option<i64>, next: Again, now_ms: i64) {
        let Some(known) = self.known.get_mut(task) else { return };
        known.busy = false;
        known.backlog = matches!(next, Again::Spaced(_));
        // A plan from before the clock was corrected must not silence what follows.
        if let Some(covered_ms) = covered_ms.filter(|at| *at <= now_ms + CORRECTION_MS) {
            known.standing.covered_ms = known.standing.covered_ms.max(covered_ms);
        }
        let due = next_due(&known.standing);
        known.due_ms = match next {
            Again::WhenDue => due,
            Again::NotBefore(at) | Again::Spaced(at) => due.map(|due| due.max(at)),
        };
        push(&mut self.heap, known.due_ms, task);
    }

    /// A run is to be tried again at `at_ms`.
    pub fn retry_at(&mut self, at_ms: i64) {
        self.retry_ms = Some(self.retry_ms.map_or(at_ms, |old| old.min(at_ms)));
    }

    /// The old clock was wrong: instants it had reached in what is now the future are due again, except those that
    /// have a row.
    pub fn correct(&mut self, now_ms: i64) {
        let mut all: Vec<Standing> = self.known.drain().map(|(_, known)| known.standing).collect();
        for standing in &mut all {
            standing.covered_ms = standing.covered_ms.min(now_ms);
        }
        self.sync(all);
    }

    /// Takes everything that is due by `now_ms`, each with its plan.
    pub fn due(&mut self, now_ms: i64, policy: Policy) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(Reverse((at, _))) = self.heap.peek() {
            if *at > now_ms {
                break;
            }
            let Some(Reverse((at, id))) = self.heap.pop() else { break };
            if let Some(known) = self.known.get_mut(&id)
                && known.due_ms == Some(at)
                && !known.busy
                && let Some(plan) = plan(known, now_ms, policy)
            {
                known.busy = true;
                known.due_ms = None;
                due.push(plan);
            }
        }
        due
    }

    /// Whether retries are due by `now_ms`; takes note that somebody looks after them.
    pub fn take_retry(&mut self, now_ms: i64) -> bool {
        self.retry_ms.take_if(|at| *at <= now_ms).is_some()
    }

    /// The first instant of all, in milliseconds since the epoch, and whose it is.
    #[must_use]
    pub fn first(&self) -> Option<(i64, &TaskId)> {
        self.heap.peek().map(|Reverse((at, id))| (*at, id))
    }

    /// When there is something to do next: an instant or a retry.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        [self.first().map(|(at, _)| at), self.retry_ms].into_iter().flatten().min()
    }
}

fn push(heap: &mut BinaryHeap<Reverse<(i64, TaskId)>>, due_ms: Option<i64>, id: &TaskId) {
    if let Some(due_ms) = due_ms {
        heap.push(Reverse((due_ms, id.clone())));
    }
}

fn next_due(standing: &Standing) -> Option<i64> {
    if !standing.enabled {
        return None;
    }
    let anchor = Timestamp::from_millisecond(standing.anchor_ms).ok()?;
    let covered = Timestamp::from_millisecond(standing.covered_ms).ok()?;
    Instants::new(&standing.task, anchor).next(covered).map(Timestamp::as_millisecond)
}

fn plan(known: &Known, now_ms: i64, policy: Policy) -> Option<Due> {
    let standing = &known.standing;
    let anchor = Timestamp::from_millisecond(standing.anchor_ms).ok()?;
    let covered = Timestamp::from_millisecond(standing.covered_ms).ok()?;
    let now = Timestamp::from_millisecond(now_ms).ok()?;
    let plan = due::plan(&standing.task, anchor, covered, now, policy);
    Some(Due {
        task: Arc::clone(&standing.task),
        plan,
        anchor,
        covered_ms: standing.covered_ms,
        backlog: known.backlog,
        expired: standing.expired,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::task::testing::named;

    const POLICY: Policy = Policy { misfire_after: Duration::from_secs(60), catch_up_max: 3 };
    const MINUTE_MS: i64 = 60_000;

    fn standing(id: &str, every: &str) -> Standing {
        let task = named(id, &format!("schedule: every {every}"));
        Standing { task, anchor_ms: 0, covered_ms: 0, expired: false, enabled: true }
    }

    fn ids(due: &[Due]) -> Vec<&str> {
        let mut ids: Vec<&str> = due.iter().map(|due| due.task.id.as_str()).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_plan_goes_out_once_until_it_is_answered() {
        let mut agenda = Agenda::default();
        agenda.sync(vec![standing("a", "1m"), standing("b", "2m")]);
        assert_eq!(agenda.next_ms(), Some(MINUTE_MS));
        assert!(agenda.due(MINUTE_MS - 1, POLICY).is_empty());
        assert_eq!(ids(&agenda.due(2 * MINUTE_MS, POLICY)), ["a", "b"]);
        assert!(agenda.due(10 * MINUTE_MS, POLICY).is_empty());
        let id = TaskId::parse("a").unwrap();
        agenda.covered(&id, Some(2 * MINUTE_MS), Again::WhenDue, 2 * MINUTE_MS);
        assert_eq!(agenda.first(), Some((3 * MINUTE_MS, &id)));
        // A reload in between does not plan twice what is on its way.
        agenda.sync(vec![standing("a", "1m"), standing("b", "2m")]);
        assert_eq!(ids(&agenda.due(10 * MINUTE_MS, POLICY)), ["a"]);
    }

    #[test]
    fn what_the_database_did_not_take_waits_and_is_planned_whole() {
        let mut agenda = Agenda::default();
        agenda.sync(vec![standing("a", "1m")]);
        assert_eq!(agenda.due(MINUTE_MS, POLICY).len(), 1);
        let id = TaskId::parse("a").unwrap();
        agenda.covered(&id, None, Again::after_failure(MINUTE_MS), MINUTE_MS);
        assert_eq!(agenda.next_ms(), Some(MINUTE_MS + AGAIN_MS));
        let due = agenda.due(MINUTE_MS + AGAIN_MS, POLICY);
        assert_eq!(due[0].plan.fires[0].at.as_millisecond(), MINUTE_MS);
    }

    #[test]
    fn a_clock_set_far_back_makes_instants_due_again() {
        let mut agenda = Agenda::default();
        let far = 2 * CORRECTION_MS;
        agenda.sync(vec![Standing { covered_ms: far, ..standing("a", "1m") }]);
        agenda.correct(MINUTE_MS);
        assert_eq!(agenda.next_ms(), Some(2 * MINUTE_MS));
    }

    #[test]
    fn retries_are_looked_after_once() {
        let mut agenda = Agenda::default();
        agenda.retry_at(50);
        agenda.retry_at(70);
        assert!(!agenda.take_retry(49));
        assert_eq!(agenda.next_ms(), Some(50));
        assert!(agenda.take_retry(50) && !agenda.take_retry(100));
    }
}
