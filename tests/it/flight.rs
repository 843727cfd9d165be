//! Single flight: one live run a task over every way to ask for one, two daemons included; and what becomes of
//! those that find it taken.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::invariants;
use crate::ledger::Row;
use crate::world::{World, code_of};

/// At once; more threads would only wait for the two cores.
const CALLERS: usize = 12;

/// Reports a second process of its task.
const ALONE: &str = "exec 9> flight.$LUCID_TASK; flock -n 9 || echo $LUCID_RUN_ID >> violations";

#[test]
fn of_many_that_ask_at_once_one_gets_it() {
    let mut world = World::new();
    world.task("one", &format!("command: |\n  {ALONE}\n  while [ ! -e go ]; do sleep 0.05; done"));
    world.serve();
    let codes: Vec<i32> = thread::scope(|scope| {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| scope.spawn(|| world.lucid(["run", "one"]).code)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 5).count(), CALLERS - 1, "{codes:?}");
    assert_eq!(world.rows("one").len(), 1);
    let refused = world.lucid(["run", "one"]).expect(5);
    assert!(refused.stderr.contains("#1"), "it names the run that is in the way: {refused:?}");
    world.write("go", "");
    world.ended(1);
    assert_eq!(world.read("violations"), "");
}

#[test]
fn a_second_daemon_goes_away_and_names_the_first() {
    let mut world = World::new();
    world.serve();
    let second = world.serve_command().stderr(std::process::Stdio::piped()).output().unwrap();
    assert_eq!(code_of(second.status), 75);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&world.daemon_pid().to_string()), "{said}");
    assert_eq!(world.lucid(["status"]).code, 0);
}

#[test]
fn a_daemon_that_was_stopped_for_a_while_shares_its_state_with_nobody() {
    let mut world = World::new();
    world.task(
        "tick",
        &format!("schedule: every 1s\ncommand: |\n  {ALONE}\n  echo $LUCID_SCHEDULED_AT >> ticks"),
    );
    world.serve();
    world.until("a tick", || (!world.read("ticks").is_empty()).then_some(()));
    world.signal(Signal::STOP);
    for _ in 0..3 {
        assert_eq!(code_of(world.serve_command().status().unwrap()), 75);
        thread::sleep(Duration::from_millis(700));
    }
    world.signal(Signal::CONT);
    let before = world.read("ticks").lines().count();
    world.until("more ticks", || (world.read("ticks").lines().count() > before + 2).then_some(()));
    let ticks = world.read("ticks");
    let instants: BTreeSet<&str> = ticks.lines().collect();
    assert_eq!(instants.len(), ticks.lines().count(), "an instant ran twice");
    assert_eq!(world.read("violations"), "");
    invariants::each_instant_has_one_row(&world, "tick", 1_000);
}

#[test]
fn runs_by_hand_and_by_schedule_are_never_two() {
    let mut world = World::new();
    world.task("both", &format!("schedule: every 1s\ncommand: |\n  {ALONE}\n  sleep 0.6"));
    world.serve();
    let mut asked = [0; 2];
    for _ in 0..20 {
        match world.lucid(["run", "both"]).code {
            0 => asked[0] += 1,
            5 => asked[1] += 1,
            code => panic!("{code}"),
        }
        thread::sleep(Duration::from_millis(130));
    }
    assert_eq!(world.read("violations"), "", "{asked:?}");
    assert!(asked[0] > 0 && asked[1] > 0, "they met: {asked:?}");
    invariants::each_instant_has_one_row(&world, "both", 1_000);
    assert!(world.rows("both").iter().any(|row| row.reason.as_deref() == Some("overlap")));
}

fn scheduled(world: &World, task: &str, at_least: usize) -> Vec<Row> {
    world.until(&format!("{at_least} rows of {task}"), || {
        let rows = world.rows(task);
        (rows.iter().filter(|row| !row.is_live()).count() >= at_least).then_some(rows)
    })
}

#[test]
fn overlap_is_skipped_queued_or_replaced() {
    let mut world = World::new();
    let work = format!("command: |\n  {ALONE}\n  sleep 2.5");
    world.task("skips", &format!("schedule: every 1s\n{work}"));
    world.task("queues", &format!("schedule: every 1s\noverlap: queue\n{work}"));
    world.task("replaces", &format!("schedule: every 1s\noverlap: replace\nkill_grace: 2s\n{work}"));
    world.serve();
    let rows = scheduled(&world, "skips", 5);
    assert!(rows.iter().any(|row| row.state == "ok"), "{rows:?}");
    assert!(
        rows.iter().filter(|row| row.state == "skipped").all(|row| row.reason.as_deref() == Some("overlap"))
    );
    let rows = scheduled(&world, "queues", 5);
    // One waits and starts as soon as the other ends: two runs end back to back.
    let started: Vec<&Row> = rows.iter().filter(|row| row.started_ms.is_some()).collect();
    let (first, second) = (started[0], started[1]);
    let gap_ms = second.started_ms.unwrap() - first.ended_ms.unwrap_or(second.started_ms.unwrap());
    assert!((0..1_000).contains(&gap_ms), "{gap_ms} ms: {rows:?}");
    assert!(world.rows_where("task = 'queues' AND waiting = 'overlap'").len() <= 1);
    let rows = scheduled(&world, "replaces", 3);
    assert!(
        rows.iter().filter(|row| !row.is_live()).all(|row| {
            row.state == "killed" && row.reason.as_deref() == Some("replaced")
                || row.reason.as_deref() == Some("overlap")
        }),
        "{rows:?}"
    );
    assert_eq!(world.read("violations"), "");
}

#[test]
fn tasks_that_share_a_lock_take_turns_and_give_up_when_due_again() {
    let mut world = World::new();
    world.task("holder", "lock: [door, other]\ncommand: while [ ! -e go ]; do sleep 0.05; done");
    world.task("waiter", "lock: [door]\ncommand: echo in");
    world.task("often", "schedule: every 2s\nlock: [door]\ncommand: echo in");
    world.task("free", "lock: [else]\ncommand: echo in");
    world.serve();
    let holder = world.start("holder");
    let waiter = world.start("waiter");
    let row = world.row(waiter).unwrap();
    assert_eq!((row.state.as_str(), row.waiting.as_deref()), ("claimed", Some("lock")));
    assert_eq!(world.run("free").state, "ok");
    let given_up = world.until("a run that gave up", || {
        world.rows("often").into_iter().find(|row| row.reason.as_deref() == Some("lock"))
    });
    assert_eq!(given_up.state, "skipped");
    world.write("go", "");
    assert_eq!(world.ended(holder).state, "ok");
    let row = world.ended(waiter);
    assert_eq!(row.state, "ok");
    world.until("a run of `often`", || world.rows("often").into_iter().find(|row| row.state == "ok"));
    invariants::each_instant_has_one_row(&world, "often", 2_000);
    invariants::ended_runs_hold_nothing(&world);
}

#[test]
fn runs_beyond_the_places_wait_in_order_and_their_lateness_is_told() {
    let mut world = World::with("scheduler: {max_parallel_runs: 2}");
    for n in 1..=6 {
        world.task(&format!("t{n}"), "command: sleep 0.5");
    }
    world.task("late", "schedule: every 1s\ncommand: sleep 0.1\nenabled: false");
    world.serve();
    let runs: Vec<i64> = (1..=6).map(|n| world.start(&format!("t{n}"))).collect();
    let rows: Vec<Row> = runs.iter().map(|run| world.ended(*run)).collect();
    let starts: Vec<i64> = rows.iter().map(|row| row.started_ms.unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| *a <= *b + 50), "{starts:?}");
    for row in &rows {
        let at_once = rows
            .iter()
            .filter(|other| other.started_ms <= row.started_ms && other.ended_ms > row.started_ms)
            .count();
        assert!(at_once <= 2, "{at_once} at once: {rows:?}");
    }
    // Full again; a scheduled run comes late and says how much.
    world.task("t1", "command: sleep 2.5");
    world.task("t2", "command: sleep 2.5");
    world.lucid(["reload"]).expect(0);
    world.start("t1");
    world.start("t2");
    world.lucid(["enable", "late"]).expect(0);
    let row = world.until("a late run", || world.rows("late").into_iter().find(|row| row.state == "ok"));
    let shown = world.lucid(["api", "GET", &format!("/api/v1/runs/{}", row.id)]).json();
    let late_ms = shown["run"]["late_ms"].as_i64().unwrap();
    assert_eq!(late_ms, row.started_ms.unwrap() - row.scheduled_ms.unwrap());
    assert!(late_ms > 300, "{late_ms}");
    let recorded = world.number(&format!(
        "SELECT json_extract(data, '$.late_ms') FROM events WHERE kind = 'run_started' AND run = {}",
        row.id
    ));
    assert!(recorded > 300, "{recorded}");
}

#[test]
fn a_waiting_run_outlives_the_daemon() {
    let mut world = World::with("scheduler: {max_parallel_runs: 1}");
    world.task("first", "command: while [ ! -e go ]; do sleep 0.05; done");
    world.task("second", "command: echo in");
    world.serve();
    let (first, second) = (world.start("first"), world.start("second"));
    assert_eq!(world.row(second).unwrap().waiting.as_deref(), Some("parallel"));
    world.until_state(first, "running");
    world.restart();
    assert_eq!(world.row(second).unwrap().waiting.as_deref(), Some("parallel"));
    world.write("go", "");
    assert_eq!(world.ended(first).state, "ok");
    assert_eq!(world.ended(second).state, "ok");
}

#[test]
fn one_that_gives_up_its_turn_holds_up_nobody_behind_it() {
    let mut world = World::with("scheduler: {max_parallel_runs: 1}");
    world.task("first", "command: while [ ! -e go ]; do sleep 0.05; done");
    for task in ["switched-off", "paused", "last"] {
        world.task(task, "lock: [door]\ncommand: echo in");
    }
    world.serve();
    let first = world.start("first");
    world.until_state(first, "running");
    let waiting: Vec<i64> = ["switched-off", "paused", "last"].map(|task| world.start(task)).into();
    world.lucid(["disable", "switched-off"]).expect(0);
    world.lucid(["pause", "paused"]).expect(0);
    world.write("go", "");
    assert_eq!(world.ended(first).state, "ok");
    let reasons: Vec<Option<String>> = waiting[..2].iter().map(|run| world.ended(*run).reason).collect();
    assert_eq!(reasons, [Some("disabled".to_owned()), Some("paused".to_owned())]);
    assert_eq!(world.ended(waiting[2]).state, "ok");
}
