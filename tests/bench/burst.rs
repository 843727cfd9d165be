//! A thousand runs due at one instant, durable and each under a keeper, beside as many bare processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::{Pace, cpu_seconds, cpu_with_children, quantile};
use crate::world::{World, since_epoch, wait_for, written};

const RUNS: u32 = 1000;
/// Enough to start and to read the files in.
const LEAD: u64 = 5;

/// Seconds by the clock, and of processor.
fn bare() -> (f64, f64) {
    let (begun, spent) = (Instant::now(), cpu_with_children(std::process::id()));
    let children: Vec<_> = (0..RUNS)
        .map(|_| Command::new("/bin/true").stdin(Stdio::null()).spawn().expect("a process"))
        .collect();
    for mut child in children {
        child.wait().expect("its end");
    }
    (begun.elapsed().as_secs_f64(), cpu_with_children(std::process::id()) - spent)
}

pub fn burst(pace: Pace) {
    let rounds = pace.of(Duration::from_secs(3), Duration::from_secs(1)).as_secs();
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (before, bare_cpu) = bare();
        let mut world = World::with("scheduler:\n  max_parallel_runs: 1000\n  housekeeping: false\n");
        let at = since_epoch().as_secs() + LEAD;
        for n in 0..RUNS {
            world
                .task(&format!("due-{n:04}"), &format!("schedule: at {}\ncommand: [/bin/true]", written(at)));
        }
        world.serve();
        let (commits, writes) =
            (world.metric("lucid_db_commits_total"), world.metric("lucid_db_writes_total"));
        let cpu = cpu_seconds(world.pid());
        wait_for(at);
        world.until("SELECT count(*) FROM runs WHERE state = 'ok'", i64::from(RUNS));
        let last = world.number("SELECT max(ended_ms) - min(scheduled_ms) FROM runs") as f64 / 1e3;
        // A keeper is counted when it has gone, which takes it a second without work.
        std::thread::sleep(Duration::from_secs(2));
        let cpu = cpu_seconds(world.pid()) - cpu + cpu_with_children(world.nursery());
        let floor = before.midpoint(bare().0);
        ratios.push(last / floor);
        let (commits, writes) = (
            world.metric("lucid_db_commits_total") - commits,
            world.metric("lucid_db_writes_total") - writes,
        );
        println!(
            "{RUNS} runs {last:.2} s after they were due, {RUNS} bare processes {floor:.2} s: {:.2} ×; \
             of processor {cpu:.2} s and {bare_cpu:.2} s: {:.2} ×; \
             {writes} writes in {commits} commits, {} in the largest",
            last / floor,
            cpu / bare_cpu,
            world.metric("lucid_db_batch_max")
        );
    }
    println!("median {:.2} × the floor (target ≤ 1.5)", quantile(&mut ratios, 0.5));
}
