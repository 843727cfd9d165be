//! Task files that are broken when the daemon starts: their last good version goes on as though nobody had
//! started anew, for as long as it may; switched off or gone, they stop at once.

use std::fs;

use crate::invariants;
use crate::world::World;

const GOOD: &str = "schedule: every 1s\ncommand: echo good >> said";
const BROKEN: &str = "schedule: every 1s\ntimout: 5m\ncommand: echo bad >> said";
const DAY_MS: i64 = 24 * 3_600_000;

fn lines(world: &World) -> usize {
    world.read("said").lines().count()
}

#[track_caller]
fn goes_on(world: &World) {
    let before = lines(world);
    world.until("it goes on", || (lines(world) > before + 1).then_some(()));
}

fn broken_since(world: &World) -> i64 {
    world.number("SELECT broken_since_ms FROM last_good WHERE task = 'tick'")
}

#[test]
fn a_file_broken_before_the_start_goes_on_as_it_was_until_its_time_is_over() {
    let mut world = World::with("scheduler: {rescan: 1s}");
    world.task("tick", GOOD);
    world.serve();
    goes_on(&world);
    world.kill_daemon();
    world.task("tick", BROKEN);
    world.serve();
    goes_on(&world);
    let task = world.lucid(["task", "tick", "--json"]).expect(0).json();
    assert_eq!(task["task"]["definition"]["stale"], true, "{task}");
    assert!(world.lucid(["check"]).expect(1).stdout.contains("E101"));
    let since = broken_since(&world);
    // Another start does not begin its time anew.
    world.restart();
    goes_on(&world);
    assert_eq!(broken_since(&world), since);
    // Its time runs out while the daemon is down.
    world.kill_daemon();
    world.edit_database(&format!("UPDATE last_good SET broken_since_ms = broken_since_ms - {DAY_MS}"));
    world.serve();
    let skipped = |after: i64| {
        world.rows("tick").into_iter().find(|row| {
            row.id > after && row.state == "skipped" && row.reason.as_deref() == Some("invalid_file")
        })
    };
    let first = world.until("a skipped instant", || skipped(0));
    let before = lines(&world);
    world.until("another", || skipped(first.id));
    assert_eq!(lines(&world), before, "it ran although its time is over");
    assert!(!world.read("said").contains("bad"));
    invariants::each_instant_has_one_row(&world, "tick", 1_000);
    // Mended, it is as new.
    world.task("tick", "schedule: every 1s\ncommand: echo mended >> said");
    world.until("the mended one", || world.read("said").contains("mended").then_some(()));
    assert_eq!(world.number("SELECT count(*) FROM last_good WHERE broken_since_ms IS NOT NULL"), 0);
}

#[test]
fn a_file_that_broke_under_a_daemon_is_still_broken_since_then_for_the_next() {
    let mut world = World::with("scheduler: {stale_for: 4s, rescan: 1s}");
    world.task("tick", GOOD);
    world.serve();
    goes_on(&world);
    world.task("tick", BROKEN);
    world.until("the file is known as broken", || (world.events("task_broken") == 1).then_some(()));
    let since = broken_since(&world);
    world.restart();
    assert_eq!(broken_since(&world), since);
    let skipped = world.until("its time is over", || {
        world.rows("tick").into_iter().find(|row| row.reason.as_deref() == Some("invalid_file"))
    });
    assert!(skipped.claimed_ms >= since + 4_000, "{} ms too early", since + 4_000 - skipped.claimed_ms);
    let late =
        world.rows_where(&format!("task = 'tick' AND state = 'ok' AND claimed_ms > {}", skipped.claimed_ms));
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn switched_off_in_a_broken_text_or_removed_it_does_not_come_back_with_a_start() {
    let mut world = World::new();
    for id in ["off", "gone", "again"] {
        world.task(id, &format!("schedule: every 1s\ncommand: echo {id} >> said"));
    }
    world.serve();
    world.until("all three", || {
        ["off", "gone", "again"].iter().all(|id| world.read("said").contains(id)).then_some(())
    });
    world.kill_daemon();
    world.task("off", "schedule: every 1s\ntimout: 5m\nenabled: false\ncommand: echo off >> said");
    for id in ["gone", "again"] {
        fs::remove_file(world.path(&format!("tasks/{id}.md"))).unwrap();
    }
    world.serve();
    let rows = world.number("SELECT count(*) FROM runs");
    world.task("again", BROKEN);
    world.task("proof", "schedule: every 1s\ncommand: 'true'");
    world.until("three seconds of another", || (world.rows("proof").len() >= 3).then_some(()));
    let after = world.number("SELECT count(*) FROM runs WHERE task <> 'proof'");
    assert_eq!(after, rows, "{}", world.picture());
    assert_eq!(world.number("SELECT count(*) FROM last_good WHERE task IN ('gone', 'again')"), 0);
}
