//! kill -9 of anything at random moments, over and over: afterwards the ledger, the processes and what the
//! tasks wrote down must tell one story. The seed is printed; `LUCID_STORM_SEED` plays it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustix::process::Signal;

use crate::invariants::{self, Limits};
use crate::ledger::Row;
use crate::processes::{self, signal};
use crate::world::World;

/// Kills in the storm that each `cargo test` brings: about a minute on two cores.
const ROUNDS: u32 = 60;
/// Kills in the storm that is run by name.
const ROUNDS_LONG: u32 = 200;

/// Tells of two processes of one task at once, and of each start.
pub const PRELUDE: &str = "  exec 9> \"flight.$LUCID_TASK\"\n  \
    flock -n 9 || echo \"$LUCID_TASK $LUCID_RUN_ID\" >> violations\n  \
    echo \"$LUCID_TASK ${LUCID_SCHEDULED_AT:-none} $LUCID_ATTEMPT $LUCID_RUN_ID\" >> starts\n";

struct Kind {
    id: &'static str,
    front: &'static str,
    script: &'static str,
    limits: Limits,
}

const fn limits(every_s: i64, timeout_ms: i64, grace_ms: i64) -> Limits {
    let every_ms = if every_s == 0 { None } else { Some(every_s * 1_000) };
    Limits { every_ms, timeout_ms, grace_ms }
}

/// Ten tasks that between them use every way a run can wait, collide and end.
const KINDS: [Kind; 10] = [
    Kind { id: "quick", front: "schedule: every 1s", script: ":", limits: limits(1, 10_000, 2_000) },
    Kind { id: "long", front: "schedule: every 1s", script: "sleep 2.3", limits: limits(1, 10_000, 2_000) },
    Kind {
        id: "queued",
        front: "schedule: every 2s\noverlap: queue",
        script: "sleep 2.1",
        limits: limits(2, 10_000, 2_000),
    },
    Kind {
        id: "replaced",
        front: "schedule: every 2s\noverlap: replace",
        script: "sleep 3",
        limits: limits(2, 10_000, 2_000),
    },
    Kind {
        id: "stubborn",
        front: "schedule: every 5s\ntimeout: 1s\nkill_grace: 1s",
        script: "trap '' TERM; sleep 30 & sleep 30; sleep 30",
        limits: limits(5, 1_000, 1_000),
    },
    Kind {
        id: "failing",
        front: "schedule: every 5s\nretries: {max: 2, delay: 1s}",
        script: "exit 3",
        limits: limits(5, 10_000, 2_000),
    },
    Kind {
        id: "lock-a",
        front: "schedule: every 2s\nlock: [shared]",
        script: "sleep 0.7",
        limits: limits(2, 10_000, 2_000),
    },
    Kind {
        id: "lock-b",
        front: "schedule: every 2s\nlock: [shared]",
        script: "sleep 0.7",
        limits: limits(2, 10_000, 2_000),
    },
    Kind {
        id: "leaving",
        front: "schedule: every 5s\nkill_grace: 1s",
        script: "setsid sleep 60 & setsid sleep 60 &",
        limits: limits(5, 10_000, 1_000),
    },
    Kind {
        id: "again",
        front: "schedule: every 10s\non_interrupt: rerun",
        script: "sleep 1",
        limits: limits(10, 10_000, 2_000),
    },
];

/// xorshift64*: the storm must be the same on every machine for one seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.below(most_ms)));
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).ok().filter(|count| *count > 0)?;
        all.get(usize::try_from(self.below(count)).ok()?)
    }
}

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_storm_of_kills_leaves_one_story() {
    let rounds = number("LUCID_STORM_ROUNDS").and_then(|rounds| u32::try_from(rounds).ok());
    storm(rounds.unwrap_or(ROUNDS));
}

#[test]
#[ignore = "minutes long: run it by name"]
fn a_long_storm_of_kills_leaves_one_story() {
    storm(ROUNDS_LONG);
}

fn storm(rounds: u32) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let seed = number("LUCID_STORM_SEED").unwrap_or(u64::from(now.subsec_nanos()) | 1);
    println!("LUCID_STORM_SEED={seed} LUCID_STORM_ROUNDS={rounds}");
    let mut dice = Dice(seed);
    let mut world =
        World::with("defaults: {kill_grace: 2s, timeout: 10s}\nscheduler: {max_parallel_runs: 6}");
    for kind in &KINDS {
        write_task(&world, kind, "enabled: true");
    }
    world.serve();
    let mut told = BTreeMap::new();
    for _ in 0..rounds {
        dice.pause(900);
        *told.entry(strike(&mut world, &mut dice)).or_insert(0) += 1;
    }
    println!("killed: {told:?}");
    // The last seconds without kills: what was cut off is made up for.
    std::thread::sleep(Duration::from_secs(3));
    for kind in &KINDS {
        write_task(&world, kind, "enabled: false");
    }
    let at_rest = "SELECT count(*) FROM runs WHERE state IN \
                   ('claimed', 'running', 'stopping', 'kill_failed', 'not_started') OR retry_ms IS NOT NULL";
    world.until_within(Duration::from_secs(60), "a world at rest", || {
        (world.number("SELECT count(*) FROM tasks WHERE enabled") == 0 && world.number(at_rest) == 0)
            .then_some(())
    });
    check(&world);
}

fn write_task(world: &World, kind: &Kind, enabled: &str) {
    let (front, script) = (kind.front, kind.script);
    let end = "  echo $LUCID_RUN_ID >> ends";
    world.task(kind.id, &format!("{front}\n{enabled}\ncommand: |\n{PRELUDE}  {script}\n{end}"));
}

/// Kills one of those that take part and says which.
fn strike(world: &mut World, dice: &mut Dice) -> &'static str {
    match dice.below(10) {
        0..=4 => {
            world.kill_daemon();
            dice.pause(1_200);
            world.serve();
            "daemon"
        }
        5..=6 => dice.one_of(&world.keepers()).map_or("nobody", |keeper| {
            signal(*keeper, Signal::KILL);
            "keeper"
        }),
        7 => world.nursery_pid().map_or("nobody", |nursery| {
            signal(nursery, Signal::KILL);
            "nursery"
        }),
        _ => dice.one_of(&world.of_runs()).map_or("nobody", |process| {
            signal(process.pid, Signal::KILL);
            "command"
        }),
    }
}

fn check(world: &World) {
    assert_eq!(world.read("violations"), "", "two at once\n{}", world.picture());
    for kind in &KINDS {
        if let Some(every_ms) = kind.limits.every_ms {
            invariants::each_instant_has_one_row(world, kind.id, every_ms);
        }
        invariants::no_run_outlived_its_limits(world, kind.id, kind.limits);
    }
    starts_and_rows_agree(world, &world.rows_where("true"));
    invariants::processes_and_rows_agree(world);
    invariants::ended_runs_hold_nothing(world);
    invariants::database_is_sound(world);
    world.until("no process is left", || world.of_runs().is_empty().then_some(()));
    world.until("no keeper is left", || world.keepers().is_empty().then_some(()));
    let below = processes::below(world.daemon_pid());
    assert!(below.len() <= 1, "more than a nursery below the daemon: {below:?}");
}

/// Each start has its row, no row and no attempt started twice, and `ok` means that the end was reached.
pub fn starts_and_rows_agree(world: &World, rows: &[Row]) {
    let (mut runs, mut attempts) = (BTreeSet::new(), BTreeSet::new());
    for line in world.read("starts").lines() {
        let (attempt, run) = line.rsplit_once(' ').expect("four words");
        let run: i64 = run.parse().expect("a number");
        assert!(runs.insert(run), "run {run} started twice");
        // Without an instant every run is its own.
        if !attempt.contains(" none ") {
            assert!(attempts.insert(attempt.to_owned()), "started twice: {attempt}");
        }
    }
    let ends: BTreeSet<i64> = world.read("ends").lines().filter_map(|line| line.parse().ok()).collect();
    for row in rows {
        if runs.contains(&row.id) {
            assert!(
                !["skipped", "missed", "not_started", "claimed"].contains(&row.state.as_str()),
                "{row:?}"
            );
        }
        if row.state == "ok" {
            assert!(ends.contains(&row.id), "ok without an end: {row:?}");
        }
        if row.task == "failing" && row.state == "failed" && row.exit_code.is_some() {
            assert_eq!(row.exit_code, Some(3), "{row:?}");
        }
    }
}
