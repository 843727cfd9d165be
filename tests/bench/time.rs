//! How late a run starts on a quiet machine, and what it costs the database.

use std::time::Duration;

use crate::figures::{Pace, quantile, spread};
use crate::world::{World, since_epoch, wait_for, written};

const AT_ONCE: u32 = 100;
/// `started_ms` of the keeper is when it was told to go.
const LATE: &str = "SELECT CAST(started_ms - scheduled_ms AS REAL) FROM runs WHERE state = 'ok' AND ";

pub fn lateness(pace: Pace) {
    let mut world = World::with("scheduler:\n  max_parallel_runs: 1000\n");
    world.task("minutely", "schedule: \"* * * * *\"\ncommand: [/bin/true]");
    for n in 0..10 {
        let at = since_epoch().as_secs() + 3 + n;
        world.task(&format!("one-{n}"), &format!("schedule: at {}\ncommand: [/bin/true]", written(at)));
    }
    let at = since_epoch().as_secs() + 16;
    for n in 0..AT_ONCE {
        world.task(&format!("due-{n:03}"), &format!("schedule: at {}\ncommand: [/bin/true]", written(at)));
    }
    world.serve();
    wait_for(at);
    world.until("SELECT count(*) FROM runs WHERE task LIKE 'due-%' AND state = 'ok'", i64::from(AT_ONCE));
    std::thread::sleep(pace.of(Duration::from_secs(125), Duration::ZERO));
    let late = |which: &str| world.numbers(&format!("{LATE}{which}"));
    println!("one at a time: ms late {} (target: median ≤ 15 ms)", spread(late("task LIKE 'one-%'")));
    println!("one each minute: ms late {}", spread(late("task = 'minutely'")));
    println!("{AT_ONCE} at one instant: ms late {}", spread(late("task LIKE 'due-%'")));
}

pub fn commits(_: Pace) {
    const RUNS: u32 = 50;
    let mut world = World::with("scheduler:\n  housekeeping: false\n");
    world.task("short", "schedule: manual\ncommand: [/bin/true]");
    world.serve();
    let (commits, writes) = (world.metric("lucid_db_commits_total"), world.metric("lucid_db_writes_total"));
    let mut took = Vec::new();
    for n in 1..=RUNS {
        assert!(world.command(&["run", "short"]).status().expect("ran").success());
        world.until("SELECT count(*) FROM runs WHERE state = 'ok'", i64::from(n));
        took.push(world.metric("lucid_db_commit_seconds") * 1e3);
    }
    let each = |now: f64, before: f64| (now - before) / f64::from(RUNS);
    println!(
        "{RUNS} runs one after the other, three changes of state each: {:.2} writes and {:.2} commits a run; \
         a commit takes {:.2} ms (median of the last of each run)",
        each(world.metric("lucid_db_writes_total"), writes),
        each(world.metric("lucid_db_commits_total"), commits),
        quantile(&mut took, 0.5)
    );
}
