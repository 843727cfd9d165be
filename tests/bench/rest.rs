//! Memory after work, and processor time without any.

use std::time::Duration;

use crate::figures::{Pace, children, cpu_seconds, private_kb, rollup_kb};
use crate::world::{World, since_epoch, wait_for, written};

/// Due at one instant, as the work before the look.
const AT_ONCE: u32 = 100;
/// Runs that go on meanwhile, each under its keeper.
const SLEEPERS: u32 = 20;
/// What is not needed is given back every minute.
const REST: Duration = Duration::from_secs(70);

pub fn memory(_: Pace) {
    for (tasks, target) in [(10, None), (1_000, Some(12)), (10_000, Some(25))] {
        let mut world = World::with("scheduler:\n  max_parallel_runs: 50\n");
        world.sleepers(tasks);
        world.task("minutely", "schedule: \"* * * * *\"\ncommand: [/bin/true]");
        for n in 0..SLEEPERS {
            world.task(&format!("sleeper-{n}"), "schedule: \"@startup\"\ncommand: [/bin/sleep, \"600\"]");
        }
        let at = since_epoch().as_secs() + 12;
        for n in 0..AT_ONCE {
            world.task(&format!("due-{n:03}"), &format!("schedule: at {}\ncommand: echo done", written(at)));
        }
        world.serve();
        wait_for(at);
        world.until("SELECT count(*) FROM runs WHERE task LIKE 'due-%' AND state = 'ok'", i64::from(AT_ONCE));
        std::thread::sleep(REST);
        let (pid, nursery) = (world.pid(), world.nursery());
        let target = target.map_or_else(String::new, |mb| format!(" (target ≤ {mb} MB)"));
        println!(
            "{tasks} tasks: RSS {:.1} MB{target}, of it anonymous {:.1} MB, the rest is the program's file",
            rollup_kb(pid, "Rss") as f64 / 1e3,
            rollup_kb(pid, "Anonymous") as f64 / 1e3,
        );
        let keepers = children(nursery);
        let private: u64 = keepers.iter().map(|keeper| private_kb(*keeper)).sum();
        println!(
            "  nursery {} kB private, each of {} keepers {} kB private (target 352 kB)",
            private_kb(nursery),
            keepers.len(),
            private / keepers.len() as u64
        );
        for keeper in keepers {
            let pid = i32::try_from(keeper).ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

pub fn idle(pace: Pace) {
    const TASKS: u32 = 10_000;
    const COUNTED_SECONDS: f64 = 180.0;
    for (housekeeping, target) in [("false", 0.02), ("true", 0.2)] {
        let mut world = World::with(&format!("scheduler:\n  housekeeping: {housekeeping}\n"));
        world.sleepers(TASKS);
        world.serve();
        // The files that were just written are looked at twice.
        std::thread::sleep(Duration::from_secs(10));
        // Some of the work comes every half minute.
        let span = pace.of(Duration::from_secs(180), Duration::from_secs(60));
        let before = cpu_seconds(world.pid());
        std::thread::sleep(span);
        let spent = (cpu_seconds(world.pid()) - before) * COUNTED_SECONDS / span.as_secs_f64();
        println!(
            "{TASKS} tasks, housekeeping {housekeeping}: {spent:.3} s of processor per 3 min \
             (target ≤ {target} s), counted over {} s and scaled",
            span.as_secs()
        );
    }
}
