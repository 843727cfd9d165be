//! Who may start, who waits, who is turned away: `run::flight` with real tasks against a real database.

use std::sync::Arc;

use crate::journal::Journal;
use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Outcome, Run, RunState, Step, StopReason, Trigger, Waiting};
use crate::model::task::Task;
use crate::run::finish::End;
use crate::run::flight::{self, Claim, Gates, Request};
use crate::run::stop::{self, Stopped};
use crate::run::{RunError, table};
use crate::store::Store;
use crate::task::agenda::{Again, Agenda, Due, Standing};
use crate::task::due::Policy;
use crate::task::table::{self as tasks, Pause, Seen, pause, pause_all, see};
use crate::task::testing::named;

use super::carry::{self, Carried};

const OPEN: Gates = Gates { max_parallel_runs: 2, draining: false };

struct Ledger {
    store: Store,
    journal: Journal,
    now_ms: i64,
    _dir: tempfile::TempDir,
}

impl Ledger {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1_000_000).unwrap().store;
        Self { journal: Journal::new(store.clone()), store, now_ms: 1_000_000, _dir: dir }
    }

    fn task(&self, id: &str, front: &str) -> Arc<Task> {
        let task = named(id, front);
        self.see(&task, task.enabled);
        task
    }

    fn see(&self, task: &Task, enabled: bool) {
        let seen = Seen {
            id: task.id.clone(),
            enabled,
            hash: task.hash.to_string(),
            schedule: task.schedule.texts().collect(),
            from_ms: None,
        };
        let now_ms = self.now_ms;
        self.write(move |tx| Ok(see(tx, &seen, now_ms)?));
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&crate::store::Tx<'_>) -> Result<T, RunError> + Send + 'static,
    ) -> T {
        self.store.write_blocking(work).unwrap()
    }

    fn ask(&self, task: &Arc<Task>, trigger: Trigger, scheduled_ms: Option<i64>) -> Request {
        Request {
            task: Arc::clone(task),
            trigger,
            scheduled_ms,
            attempt: 1,
            actor: "test".into(),
            extra_env: Vec::new(),
            forced: false,
            expired: false,
            request_key: None,
            now_ms: self.now_ms,
        }
    }

    fn claim_with(&self, gates: Gates, request: Request) -> Claim {
        let journal = self.journal.clone();
        self.write(move |tx| flight::claim(tx, &journal, gates, &request))
    }

    fn due(&self, task: &Arc<Task>, at_ms: i64) -> Claim {
        self.claim_with(OPEN, self.ask(task, Trigger::Schedule, Some(at_ms)))
    }

    fn manual(&self, task: &Arc<Task>) -> Claim {
        self.claim_with(OPEN, self.ask(task, Trigger::Manual, None))
    }

    fn end(&self, run: &Run) {
        let (mut run, journal, now_ms) = (run.clone(), self.journal.clone(), self.now_ms);
        let shut = Gates { draining: true, ..OPEN };
        self.write(move |tx| {
            let from = run.state();
            run.step(Step::Start)?;
            assert!(table::update(tx, &run, from)?);
            let outcome = Outcome { state: RunState::Ok, reason: None, exit_code: Some(0), signal: None };
            End::new(run.clone(), None, outcome, now_ms).write(tx, &journal, shut, now_ms)
        });
    }

    fn promote(&self) -> Vec<RunId> {
        let (journal, now_ms) = (self.journal.clone(), self.now_ms);
        let runs = self.write(move |tx| flight::promote(tx, &journal, OPEN, now_ms));
        runs.iter().map(|run| run.id).collect()
    }

    /// What the tick plans for a task whose rows reach to `covered_ms`.
    fn plan(&self, task: &Arc<Task>, covered_ms: i64) -> Due {
        let mut agenda = Agenda::default();
        let task = Arc::clone(task);
        agenda.sync(vec![Standing { task, anchor_ms: 0, covered_ms, expired: false, enabled: true }]);
        let policy = Policy { misfire_after: std::time::Duration::from_secs(60), catch_up_max: 3 };
        agenda.due(self.now_ms, policy).remove(0)
    }

    fn plan_retry(&self, run: &Run, at_ms: i64) {
        let id = run.id;
        self.write(move |tx| Ok(table::set_retry(tx, id, Some(at_ms))?));
    }

    fn at(&self, now_ms: i64) -> carry::Ledger {
        carry::Ledger { journal: self.journal.clone(), gates: OPEN, spacing_ms: 1_000, now_ms }
    }

    fn carry(&self, due: Due) -> Carried {
        let ledger = self.at(self.now_ms);
        self.write(move |tx| ledger.carry(tx, &due))
    }

    fn covered_ms(&self, task: &Task) -> i64 {
        let id = task.id.clone();
        self.write(move |tx| Ok(tasks::get(tx, &id)?)).unwrap().covered_ms
    }

    fn row(&self, id: RunId) -> Run {
        self.store
            .read_blocking(|conn| -> Result<_, RunError> { Ok(table::get(conn, id)?) })
            .unwrap()
            .unwrap()
    }
}

fn go(claim: Claim) -> Run {
    match claim {
        Claim::Go(run) => run,
        other => panic!("expected to go: {other:?}"),
    }
}

fn waits(claim: Claim, on: Waiting) -> Run {
    match claim {
        Claim::Waits(run) if run.waiting == Some(on) => run,
        other => panic!("expected to wait for {on:?}: {other:?}"),
    }
}

fn skipped(claim: Claim, why: &str) {
    match claim {
        Claim::Skipped(run) if run.reason.as_deref() == Some(why) => {}
        other => panic!("expected to be skipped for {why}: {other:?}"),
    }
}

#[test]
fn one_run_a_task_and_one_row_an_instant() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m");
    let first = go(ledger.due(&task, 60_000));
    assert!(matches!(ledger.due(&task, 60_000), Claim::Covered));
    skipped(ledger.due(&task, 120_000), "overlap");
    assert!(matches!(ledger.manual(&task), Claim::Taken { holder } if holder.id == first.id));
    ledger.end(&first);
    assert!(matches!(ledger.due(&task, 120_000), Claim::Covered), "skipped is a row as well");
    let second = go(ledger.due(&task, 180_000));
    assert!(second.fence > first.fence);
}

#[test]
fn what_is_off_gone_or_changed_has_no_instant() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m");
    ledger.see(&task, false);
    assert!(matches!(ledger.due(&task, 60_000), Claim::Off));
    assert!(matches!(ledger.manual(&task), Claim::Off));
    let forced = Request { forced: true, ..ledger.ask(&task, Trigger::Manual, None) };
    ledger.end(&go(ledger.claim_with(OPEN, forced)));
    ledger.see(&named("a", "schedule: every 2m"), true);
    assert!(matches!(ledger.due(&task, 60_000), Claim::Stale));
    let stranger = named("b", "schedule: every 1m");
    assert!(matches!(ledger.due(&stranger, 60_000), Claim::Off));
}

#[test]
fn pause_drain_and_an_expired_file_leave_rows_that_say_so() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m");
    let held = Pause { at_ms: 0, until_ms: Some(2_000_000), reason: None, actor: "test".into() };
    let (id, own) = (task.id.clone(), held.clone());
    ledger.write(move |tx| Ok(pause(tx, &id, &own)?));
    skipped(ledger.due(&task, 60_000), "paused");
    assert!(matches!(ledger.manual(&task), Claim::Refused { reason: "paused" }));
    let over = Request { now_ms: 2_000_000, ..ledger.ask(&task, Trigger::Manual, None) };
    ledger.end(&go(ledger.claim_with(OPEN, over)));

    let other = ledger.task("b", "schedule: every 1m");
    ledger.write(move |tx| Ok(pause_all(tx, &held)?));
    skipped(ledger.due(&other, 60_000), "paused");
    ledger.write(|tx| Ok(crate::task::table::resume_all(tx)?));

    let draining = Gates { draining: true, ..OPEN };
    let request = ledger.ask(&other, Trigger::Schedule, Some(120_000));
    skipped(ledger.claim_with(draining, request), "draining");
    let expired = Request { expired: true, ..ledger.ask(&other, Trigger::Schedule, Some(180_000)) };
    skipped(ledger.claim_with(OPEN, expired), "invalid_file");
}

#[test]
fn overlap_queue_holds_one_and_lets_it_go_in_turn() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m\noverlap: queue");
    let first = go(ledger.due(&task, 60_000));
    let second = waits(ledger.due(&task, 120_000), Waiting::Overlap);
    skipped(ledger.due(&task, 180_000), "overlap");
    assert_eq!(ledger.promote(), [], "the first still holds the key");
    ledger.end(&first);
    assert_eq!(ledger.promote(), [second.id]);
    assert_eq!(ledger.promote(), [], "nobody goes twice");
}

#[test]
fn overlap_replace_waits_for_the_one_it_replaces() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m\noverlap: replace");
    let first = go(ledger.due(&task, 60_000));
    let Claim::Replaces { run, holder } = ledger.due(&task, 120_000) else { panic!("it replaces") };
    assert_eq!(holder, first.id);
    // It had not begun, so it is over at once.
    assert_eq!(ledger.row(first.id).state(), RunState::Killed);
    assert_eq!(ledger.promote(), [run.id]);
}

#[test]
fn locks_are_taken_all_or_none_and_given_up_for_the_next_instant() {
    let ledger = Ledger::new();
    let a = ledger.task("a", "schedule: every 1m\nlock: [x, y]");
    let b = ledger.task("b", "schedule: every 1m\nlock: [y, z]");
    let c = ledger.task("c", "schedule: every 1m\nlock: z");
    let first = go(ledger.due(&a, 60_000));
    let second = waits(ledger.due(&b, 60_000), Waiting::Lock);
    ledger.end(&go(ledger.due(&c, 60_000)));
    let third = waits(ledger.due(&b, 120_000), Waiting::Lock);
    assert_eq!(ledger.row(second.id).state(), RunState::Skipped);
    assert_eq!(ledger.row(second.id).reason.as_deref(), Some("lock"));
    ledger.end(&first);
    assert_eq!(ledger.promote(), [third.id]);
}

#[test]
fn places_go_to_those_who_waited_longest() {
    let ledger = Ledger::new();
    let tasks: Vec<_> = (0..5).map(|n| ledger.task(&format!("t{n}"), "schedule: every 1m")).collect();
    let first = go(ledger.due(&tasks[0], 60_000));
    let second = go(ledger.due(&tasks[1], 60_000));
    let waiting: Vec<_> =
        tasks[2..].iter().map(|task| waits(ledger.due(task, 60_000), Waiting::Parallel).id).collect();
    assert_eq!(ledger.promote(), []);
    ledger.end(&first);
    assert_eq!(ledger.promote(), waiting[..1]);
    // One that is switched off while it waits does not run, and does not hold up the next.
    ledger.see(&tasks[3], false);
    ledger.end(&second);
    assert_eq!(ledger.promote(), waiting[2..]);
    assert_eq!(ledger.row(waiting[1]).reason.as_deref(), Some("disabled"));
}

#[test]
fn whoever_waited_is_judged_by_when_the_end_is_written() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m\noverlap: queue");
    let mut first = go(ledger.due(&task, 60_000));
    let second = waits(ledger.due(&task, 120_000), Waiting::Overlap);
    first.step(Step::Start).unwrap();
    let (id, journal, running) = (task.id.clone(), ledger.journal.clone(), first.clone());
    let promoted = ledger.write(move |tx| {
        assert!(table::update(tx, &running, RunState::Claimed)?);
        let until_ms = Some(2_000_000);
        pause(tx, &id, &Pause { at_ms: 0, until_ms, reason: None, actor: "test".into() })?;
        let outcome = Outcome { state: RunState::Ok, reason: None, exit_code: Some(0), signal: None };
        // Its keeper saw the end while the pause held; the daemon was away until later.
        let end = End::new(running.clone(), None, outcome, 1_500_000);
        Ok(end.write(tx, &journal, OPEN, 2_000_000)?.promoted)
    });
    assert_eq!(promoted.iter().map(|run| run.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(ledger.row(first.id).ended_ms, Some(1_500_000));
}

#[test]
fn a_retry_is_dropped_by_a_run_that_goes_well_and_by_who_asks() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1h\nretries: 3");
    let first = go(ledger.due(&task, 60_000));
    ledger.end(&first);
    ledger.plan_retry(&first, 90_000);
    ledger.end(&go(ledger.claim_with(OPEN, ledger.ask(&task, Trigger::Manual, None))));
    assert_eq!(ledger.row(first.id).retry_ms, None, "somebody has done it by hand");

    ledger.plan_retry(&first, 90_000);
    let cancel = || {
        let (id, journal) = (first.id, ledger.journal.clone());
        ledger.write(move |tx| stop::record(tx, &journal, id, StopReason::Cancelled, "cli:a", 80_000))
    };
    assert!(matches!(cancel(), Stopped::RetryDropped(run) if run.id == first.id));
    assert_eq!(ledger.row(first.id).retry_ms, None);
    assert!(matches!(cancel(), Stopped::Already(_)), "there is nothing left to drop");
}

#[test]
fn a_resume_wakes_what_a_pause_put_off_and_nothing_else() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1h\nretries: {max: 3, delay: 30s}");
    let first = go(ledger.due(&task, 60_000));
    ledger.end(&first);
    let ended_ms = ledger.row(first.id).ended_ms.unwrap();
    let wake = |now_ms| {
        ledger.plan_retry(&first, ended_ms + 60_000);
        let (at, task) = (ledger.at(now_ms), Arc::clone(&task));
        ledger.write(move |tx| at.wake_retries(tx, None, |_| Some(Arc::clone(&task))));
        ledger.row(first.id).retry_ms.unwrap() - ended_ms
    };
    assert_eq!([wake(ended_ms + 29_999), wake(ended_ms + 30_000)], [60_000, 30_000]);
}

#[test]
fn a_retry_gives_way_and_its_key_names_one_run() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m\nretries: 1");
    let first = go(ledger.due(&task, 60_000));
    ledger.end(&first);
    ledger.plan_retry(&first, 90_000);
    ledger.end(&go(ledger.due(&task, 120_000)));
    assert_eq!(ledger.row(first.id).retry_ms, None, "the next instant is due: no retry any more");

    let keyed =
        |key: &str| Request { request_key: Some(key.into()), ..ledger.ask(&task, Trigger::Manual, None) };
    let run = go(ledger.claim_with(OPEN, keyed("me 1")));
    assert!(matches!(ledger.claim_with(OPEN, keyed("me 1")), Claim::Known(known) if known.id == run.id));
    assert!(matches!(ledger.claim_with(OPEN, keyed("me 2")), Claim::Taken { .. }));
    ledger.end(&run);
    assert!(matches!(ledger.claim_with(OPEN, keyed("me 1")), Claim::Known(known) if known.id == run.id));
    let later = Request { now_ms: ledger.now_ms + flight::REQUEST_KEY_KEPT_MS + 1, ..keyed("me 1") };
    assert!(go(ledger.claim_with(OPEN, later)).id > run.id);
}

#[test]
fn a_row_that_has_moved_on_is_not_written() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m");
    let run = go(ledger.due(&task, 60_000));
    let mut stale = run.clone();
    stale.fence = crate::model::ids::Fence(run.fence.0 - 1);
    stale.step(Step::Start).unwrap();
    assert!(!ledger.write(move |tx| Ok(table::update(tx, &stale, RunState::Claimed)?)));
    let mut ended = run.clone();
    ledger.end(&run);
    ended.step(Step::Start).unwrap();
    assert!(!ledger.write(move |tx| Ok(table::update(tx, &ended, RunState::Claimed)?)));
    assert_eq!(ledger.row(run.id).state(), RunState::Ok);
    assert_eq!(TaskId::parse("a").unwrap(), run.task);
}

/// The plan was on its way when a reload said from when another schedule counts.
#[test]
fn a_plan_of_a_definition_that_no_longer_counts_decides_nothing() {
    let ledger = Ledger::new();
    let old = ledger.task("a", "schedule: every 1m");
    let plan = ledger.plan(&old, 600_000);
    assert!(plan.plan.missed.is_some() && !plan.plan.fires.is_empty());
    let new = ledger.task("a", "schedule: every 2m");
    assert_eq!(ledger.covered_ms(&new), ledger.now_ms);
    let carried = ledger.carry(plan);
    assert!(carried.claims.is_empty());
    assert_eq!((carried.covered_ms, carried.again), (None, Again::after_failure(ledger.now_ms)));
    assert_eq!(ledger.covered_ms(&new), ledger.now_ms, "the new schedule had no instants before it was seen");
    let (id, first_ms) = (new.id.clone(), 660_000);
    assert!(!ledger.write(move |tx| Ok(table::has_instant(tx, &id, first_ms)?)), "nothing is missed either");
}

#[test]
fn the_mark_up_to_which_all_is_decided_only_goes_forward() {
    let ledger = Ledger::new();
    let task = ledger.task("a", "schedule: every 1m");
    let carried = ledger.carry(ledger.plan(&task, 600_000));
    assert_eq!((carried.claims.len(), carried.covered_ms), (1, Some(960_000)));
    assert_eq!(ledger.covered_ms(&task), ledger.now_ms);
    let id = task.id.clone();
    ledger.write(move |tx| Ok(table::cover(tx, &id, 1_020_000)?));
    assert_eq!(ledger.covered_ms(&task), 1_020_000);
}
