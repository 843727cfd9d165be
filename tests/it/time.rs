//! Time: what a daemon makes up for after it was away, clocks that jump, retries, one-shots, and a row for
//! every due instant under load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::invariants;
use crate::ledger::Row;
use crate::world::World;

const HOUR_MS: i64 = 3_600_000;

/// The world's daemon was away since `ago_ms` before now.
fn away(world: &mut World, ago_ms: i64) {
    world.kill_daemon();
    world.edit_database(&format!("UPDATE tasks SET covered_ms = covered_ms - {ago_ms}"));
}

fn done(world: &World, task: &str, trigger: &str) -> Vec<Row> {
    world.rows(task).into_iter().filter(|row| row.trigger == trigger && row.state == "ok").collect()
}

#[test]
fn after_downtime_each_policy_makes_up_for_what_it_promises() {
    // Just after the full hour its own instant is to be missed like the others.
    let mut world =
        World::with("scheduler: {catch_up_max: 5, catch_up_spacing: 200ms, misfire_after: 1s, tick: 1s}");
    world.task("latest", "schedule: '0 * * * *'\ncommand: echo $LUCID_SCHEDULED_AT >> latest");
    world.task("skip", "schedule: '0 * * * *'\ncatch_up: skip\ncommand: echo $LUCID_SCHEDULED_AT >> skip");
    world.task(
        "all",
        "schedule: '0 * * * *'\ncatch_up: all\ncommand: echo $LUCID_SCHEDULED_AT >> all; sleep 0.3",
    );
    world.task("old", "schedule: '0 * * * *'\ncatch_up_window: 1s\ncommand: echo never >> old");
    world.task("off", "schedule: '0 * * * *'\nenabled: false\ncommand: echo never >> off");
    world.serve();
    away(&mut world, 25 * HOUR_MS);
    world.serve();
    world.until("all has caught up", || (done(&world, "all", "catch_up").len() == 5).then_some(()));
    world.until("latest has caught up", || (done(&world, "latest", "catch_up").len() == 1).then_some(()));
    for task in ["skip", "old", "latest"] {
        let missed: i64 = world.rows(task).iter().filter_map(|row| row.missed_count).sum();
        let made_up = i64::try_from(done(&world, task, "catch_up").len()).unwrap();
        assert_eq!(missed + made_up, 25, "{task}: {:?}", world.rows(task));
        invariants::each_instant_has_one_row(&world, task, HOUR_MS);
    }
    invariants::each_instant_has_one_row(&world, "all", HOUR_MS);
    assert_eq!((done(&world, "skip", "catch_up").len(), done(&world, "old", "catch_up").len()), (0, 0));
    assert!(world.rows("off").is_empty());
    // In order, each once, one at a time.
    let all = world.read("all");
    let instants: Vec<&str> = all.lines().collect();
    assert!(instants.len() == 5 && instants.is_sorted_by(|a, b| a < b), "{instants:?}");
    let rows = done(&world, "all", "catch_up");
    for pair in rows.windows(2) {
        assert!(pair[1].started_ms >= pair[0].ended_ms, "{pair:?}");
    }
    // Why did it not run at three? The row says so.
    let why = world.lucid(["why", "skip", "--json"]).expect(0).json();
    assert_eq!((&why["task"], &why["schema_version"]), (&"skip".into(), &1.into()), "{why}");
    // Away for a moment only: nothing is run twice.
    away(&mut world, 3 * HOUR_MS);
    world.serve();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(done(&world, "latest", "catch_up").len(), 1);
    assert_eq!(world.read("all").lines().count(), 5);
    invariants::database_is_sound(&world);
}

/// The library that moves the wall clock of the daemon alone: its keepers are children without its environment.
fn faketime() -> PathBuf {
    let names = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|arch| format!("/usr/lib/{arch}/faketime/libfaketimeMT.so.1"));
    let found = names.iter().map(Path::new).find(|path| path.exists());
    found.expect("libfaketime is missing: apt-get install libfaketime").to_owned()
}

fn with_clock(world: &mut World) {
    world.write("clock", "+0");
    let clock = world.path("clock").display().to_string();
    for (name, value) in [
        ("LD_PRELOAD", faketime().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
    ] {
        world.env.push((name.to_owned(), value));
    }
}

/// Sets the daemon's wall clock this far from the machine's.
fn jump(world: &World, offset: &str) {
    world.write("clock", offset);
}

#[test]
fn a_clock_that_jumps_brings_no_burst_no_repeat_and_moves_no_timeout() {
    let mut world = World::with("scheduler: {tick: 1s}\ndefaults: {kill_grace: 1s}");
    with_clock(&mut world);
    world.task("minute", "schedule: '* * * * *'\ncommand: echo $LUCID_SCHEDULED_AT >> minute");
    world.task("second", "schedule: every 1s\ncommand: echo $LUCID_SCHEDULED_AT >> second");
    world.task("limited", "timeout: 4s\ncommand: sleep 600");
    world.serve();
    world.until("a tick", || (world.read("second").lines().count() >= 2).then_some(()));
    let run = world.start("limited");
    world.until_state(run, "running");
    jump(&world, "+1h");
    world.until("the step is seen", || (world.events("clock_stepped") == 1).then_some(()));
    let hour_later = |row: &Row| {
        row.scheduled_ms.is_some_and(|at| at > world.number("SELECT min(claimed_ms) FROM runs") + HOUR_MS / 2)
    };
    world.until("it goes on an hour later", || {
        world.rows("second").into_iter().find(|row| row.state == "ok" && hour_later(row))
    });
    // At most one run makes up for the hour, the rest is one row.
    let caught_up = world.rows("minute").iter().filter(|row| row.started_ms.is_some()).count();
    assert!(caught_up <= 2, "a burst: {:?}", world.rows("minute"));
    let row = world.ended(run);
    assert_eq!(row.state, "timeout");
    let took = row.duration_ms.unwrap();
    assert!((3_900..8_000).contains(&took), "the timeout moved: {row:?}");
    for (task, every_ms) in [("second", 1_000), ("minute", 60_000)] {
        invariants::each_instant_has_one_row(&world, task, every_ms);
    }
    // Back again: what has its row does not run once more.
    let run = world.start("limited");
    world.until_state(run, "running");
    jump(&world, "+0");
    world.until("the step is seen", || (world.events("clock_stepped") == 2).then_some(()));
    let before = world.read("second").lines().count();
    let row = world.ended(run);
    let took = row.duration_ms.unwrap();
    assert!(row.state == "timeout" && (3_900..8_000).contains(&took), "the timeout moved: {row:?}");
    let after = world.read("second").lines().count();
    assert!(after - before <= 10, "a burst: {before} {after}");
    for file in ["second", "minute"] {
        let text = world.read(file);
        let mut instants: Vec<&str> = text.lines().collect();
        let all = instants.len();
        instants.sort_unstable();
        instants.dedup();
        assert_eq!(instants.len(), all, "{file}: an instant ran twice");
    }
    assert_eq!(world.lucid(["status"]).code, 0);
}

#[test]
fn a_clock_set_back_by_a_day_silences_no_task() {
    let mut world = World::with("scheduler: {tick: 1s}");
    with_clock(&mut world);
    jump(&world, "+1d");
    world.task("second", "schedule: every 1s\ncommand: echo $LUCID_SCHEDULED_AT >> second");
    world.serve();
    world.until("a tick", || (world.read("second").lines().count() >= 2).then_some(()));
    jump(&world, "+0");
    world.until("the step is seen", || (world.events("clock_stepped") >= 1).then_some(()));
    let before = world.read("second").lines().count();
    world.until("it goes on", || (world.read("second").lines().count() >= before + 2).then_some(()));
    let text = world.read("second");
    let instants: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!(instants.len(), text.lines().count(), "an instant ran twice");
}

#[test]
fn retries_wait_longer_each_time_and_give_way_to_the_next_instant() {
    let mut world = World::new();
    world.task(
        "backs-off",
        "retries: {max: 3, delay: 300ms, backoff: 2}\ncommand: |\n  echo $LUCID_ATTEMPT >> tries\n  [ $LUCID_ATTEMPT -ge 3 ]",
    );
    world.task("hopeless", "retries: {max: 2, delay: 200ms}\ncommand: exit 9");
    world.task("killed", "retries: {max: 2, delay: 200ms}\ncommand: sleep 600");
    world.serve();
    world.start("backs-off");
    world.start("hopeless");
    let killed = world.start("killed");
    let rows = world.until("three tries", || {
        Some(world.rows("backs-off")).filter(|rows| rows.iter().any(|row| row.state == "ok"))
    });
    let attempts: Vec<i64> = rows.iter().map(|row| row.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(world.read("tries"), "1\n2\n3\n");
    let waits: Vec<i64> =
        rows.windows(2).map(|pair| pair[1].started_ms.unwrap() - pair[0].ended_ms.unwrap()).collect();
    assert!(waits[0] >= 300 && waits[1] >= 600, "{waits:?}");
    assert!(rows[1..].iter().all(|row| row.trigger == "retry"), "{rows:?}");
    let rows = world.until("no more tries", || {
        Some(world.rows("hopeless"))
            .filter(|rows| rows.len() == 3 && rows.iter().all(|row| row.state == "failed"))
    });
    assert!(rows.iter().all(|row| row.exit_code == Some(9)) && rows[2].retry_ms.is_none(), "{rows:?}");
    // Nobody who ends a run wants it back.
    world.until_state(killed, "running");
    world.lucid(["kill", &killed.to_string()]).expect(0);
    assert_eq!(world.ended(killed).retry_ms, None);
    // The next instant comes before the retry: the retry is dropped, and that is recorded.
    world.task(
        "gives-way",
        "schedule: every 3s\nretries: {max: 1, delay: 2900ms}\ncommand: sleep 0.6; exit 1",
    );
    world.until("a dropped retry", || (world.events("retry_dropped") >= 1).then_some(()));
    invariants::each_instant_has_one_row(&world, "gives-way", 3_000);
    assert!(world.rows_where("task = 'killed'").len() == 1);
}

#[test]
fn once_is_once_over_edits_and_restarts() {
    let mut world = World::new();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    world.task("in", "schedule: in 2s\ncommand: echo in >> said");
    world.task("at", &format!("schedule: at {soon}\ncommand: echo at >> said"));
    world.serve();
    // Another edit does not move it.
    world.task("in", "schedule: in 2s\ndescription: edited\ncommand: echo in >> said");
    world.restart();
    world.until("both", || (world.read("said").lines().count() == 2).then_some(()));
    let anchor = world.number("SELECT anchor_ms FROM anchors WHERE task = 'in'");
    // To the second, and never early.
    let late_ms = world.rows("in")[0].scheduled_ms.unwrap() - anchor;
    assert!((2_000..3_000).contains(&late_ms), "{late_ms}");
    world.task("in", "schedule: in 2s\ndescription: edited again\ncommand: echo in >> said");
    world.restart();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(world.read("said").lines().count(), 2);
    let tasks = world.lucid(["tasks", "--json"]).expect(0).json();
    for task in tasks["tasks"].as_array().unwrap() {
        assert_eq!((&task["state"], &task["next_at"]), (&"done".into(), &serde_json::Value::Null), "{task}");
    }
    // A new text is a new wish.
    world.task("in", "schedule: in 1s\ncommand: echo in >> said");
    world.until("once more", || (world.read("said").lines().count() == 3).then_some(()));
}

#[test]
fn at_startup_runs_once_each_start_and_not_beside_itself() {
    let mut world = World::new();
    world.task(
        "boot",
        "schedule: '@startup'\ncommand: |\n  echo up >> said\n  while [ ! -e go ]; do sleep 0.05; done",
    );
    world.serve();
    world.until("the first", || (world.read("said").lines().count() == 1).then_some(()));
    let run = world.rows("boot")[0].id;
    world.until_state(run, "running");
    world.restart();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.read("said").lines().count(), 1, "the adopted one is still there");
    world.write("go", "");
    world.ended(run);
    world.restart();
    world.until("the second", || (world.read("said").lines().count() == 2).then_some(()));
}

#[test]
fn under_load_every_instant_has_its_row() {
    let mut world = World::with("scheduler: {max_parallel_runs: 3}");
    for n in 0..25 {
        world.task(&format!("t{n}"), "schedule: every 1s\ncommand: sleep 0.4");
    }
    world.serve();
    std::thread::sleep(Duration::from_secs(3));
    world.restart();
    std::thread::sleep(Duration::from_secs(3));
    for n in 0..25 {
        invariants::each_instant_has_one_row(&world, &format!("t{n}"), 1_000);
    }
    let most = world.number("SELECT count(*) FROM runs WHERE state IN ('running', 'stopping')");
    assert!(most <= 3, "{most}");
    let late = world.lucid(["runs", "--json", "-n", "200"]).expect(0).json();
    assert!(late["runs"].as_array().unwrap().iter().any(|run| run["late_ms"].as_i64() > Some(300)));
}

/// Rows of a one-shot: state, trigger and how often it ran.
fn once(world: &World, task: &str) -> Vec<(String, String)> {
    world.rows(task).into_iter().map(|row| (row.state, row.trigger)).collect()
}

#[test]
fn a_one_shot_that_is_past_when_it_is_first_seen_has_its_row_all_the_same() {
    let mut world = World::new();
    let ago = |seconds: i64| jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
    let (recent, old) = (ago(600), ago(2 * 86_400));
    let command = "command: echo $LUCID_TASK >> said";
    world.task("recent", &format!("schedule: at {recent}\n{command}"));
    world.task("skips", &format!("schedule: at {recent}\ncatch_up: skip\n{command}"));
    world.task("old", &format!("schedule: at {old}\n{command}"));
    world.task("wide", &format!("schedule: at {old}\ncatch_up_window: 3d\n{command}"));
    world.task("off", &format!("schedule: at {recent}\nenabled: false\n{command}"));
    world.serve();
    let row = |state: &str, trigger: &str| vec![(state.to_owned(), trigger.to_owned())];
    for (task, wanted) in [
        ("recent", row("ok", "catch_up")),
        ("wide", row("ok", "catch_up")),
        ("skips", row("missed", "schedule")),
        ("old", row("missed", "schedule")),
    ] {
        world.until(&format!("the row of {task}"), || (once(&world, task) == wanted).then_some(()));
        let why = world.lucid(["why", task]).expect(0).stdout;
        assert!(why.contains(if wanted[0].0 == "ok" { "ended well" } else { "missed" }), "{why}");
    }
    assert!(once(&world, "off").is_empty(), "a disabled task has no due instants");
    world.until("why it was missed", || {
        let told = world.lucid(["alerts", "--json"]).expect(0).json();
        let texts: Vec<&str> =
            told["alerts"].as_array()?.iter().filter_map(|one| one["text"].as_str()).collect();
        let is_told = |text: &&&str| text.contains("lucid read the task's file only after that");
        (texts.iter().filter(is_told).count() == 2).then_some(())
    });
    let check = world.lucid(["check", "tasks/old.md"]).expect(0);
    assert!(
        check.stdout.contains("warning[W211]") && check.stdout.contains("tasks/old.md:2:11"),
        "{check:?}"
    );
    // Neither an edit, a switch nor a start makes it due again.
    world.task("recent", &format!("schedule: at {recent}\ndescription: edited\n{command}"));
    world.lucid(["disable", "wide"]).expect(0);
    world.lucid(["enable", "wide"]).expect(0);
    world.restart();
    world.lucid(["enable", "off"]).expect(0);
    world.until("what was off is made up for", || {
        (once(&world, "off") == row("ok", "catch_up")).then_some(())
    });
    let mut said: Vec<String> = world.read("said").lines().map(str::to_owned).collect();
    said.sort_unstable();
    assert_eq!(said, ["off", "recent", "wide"]);
    let rows = world.number("SELECT count(*) FROM runs");
    assert_eq!(rows, 5, "{}", world.picture());
    let tasks = world.lucid(["tasks", "--json"]).expect(0).json();
    for task in tasks["tasks"].as_array().unwrap() {
        assert_eq!(task["state"], "done", "{task}");
    }
}

#[test]
fn a_wait_that_ends_while_its_task_is_off_is_told_when_it_is_on_again() {
    let mut world = World::new();
    let command = "command: echo $LUCID_TASK >> said";
    for task in ["soon", "long-ago"] {
        world.task(task, &format!("schedule: in 2s\nenabled: false\n{command}"));
    }
    world.serve();
    world.until("both are known", || (world.number("SELECT count(*) FROM anchors") == 2).then_some(()));
    let anchor = |task: &str| world.number(&format!("SELECT anchor_ms FROM anchors WHERE task = '{task}'"));
    let before = anchor("soon");
    world.kill_daemon();
    let day_ms = 24 * HOUR_MS;
    world.edit_database(&format!(
        "UPDATE anchors SET anchor_ms = anchor_ms - {day_ms} WHERE task = 'long-ago'; \
         UPDATE tasks SET covered_ms = covered_ms - {day_ms} WHERE id = 'long-ago'"
    ));
    world.serve();
    for task in ["soon", "long-ago"] {
        world.lucid(["enable", task]).expect(0);
    }
    let row = world.until("it ran", || world.rows("soon").into_iter().find(|row| row.state == "ok"));
    // To the second, and never early.
    assert!((2_000..3_000).contains(&(row.scheduled_ms.unwrap() - before)), "{row:?}");
    assert!(row.started_ms.unwrap() - before >= 2_000, "{row:?}");
    world.until("it is told", || {
        world.rows("long-ago").into_iter().find(|row| row.state == "missed" && row.missed_count == Some(1))
    });
    assert_eq!(world.read("said"), "soon\n");
}

#[test]
fn a_one_shot_whose_file_was_gone_is_another_one_when_it_is_back() {
    let mut world = World::new();
    let command = "command: echo $LUCID_TASK >> said";
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let spent = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(60);
    let write = |world: &World| {
        world.task("in", &format!("schedule: in 1s\n{command}"));
        world.task("at", &format!("schedule: at {soon}\n{command}"));
        world.task("spent", &format!("schedule: at {spent}\n{command}"));
    };
    world.serve();
    write(&world);
    let ran = |world: &World, task: &str| world.rows(task).iter().filter(|row| row.state == "ok").count();
    world.until("two ran", || (ran(&world, "in") == 1 && ran(&world, "spent") == 1).then_some(()));
    for task in ["in", "at", "spent"] {
        std::fs::remove_file(world.path(&format!("tasks/{task}.md"))).expect("a file");
    }
    world.lucid(["reload"]).expect(0);
    assert_eq!(world.number("SELECT count(*) FROM tasks WHERE present = 0"), 3);
    write(&world);
    world.until("it is armed anew", || (ran(&world, "in") == 2).then_some(()));
    world.until("its time had not come", || (ran(&world, "at") == 1).then_some(()));
    assert_eq!(ran(&world, "spent"), 1, "{}", world.picture());
    // An edit of a file that stays arms nothing.
    world.task("in", &format!("schedule: in 1s\ndescription: edited\n{command}"));
    world.lucid(["reload"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(ran(&world, "in"), 2, "{}", world.picture());
}
