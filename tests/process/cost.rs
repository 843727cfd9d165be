//! What a keeper costs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lucid::platform::process::{End, Exit, Private, Spec, stop};

use crate::world::*;

/// Processor time of a process and of those it has waited for.
fn cpu_ms(pid: u32) -> (u64, u64) {
    const MS_PER_TICK: u64 = 10;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name: state is the first, utime, stime, cutime and cstime begin at the twelfth.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let tick = |n: usize| fields[n].parse::<u64>().unwrap() * MS_PER_TICK;
    (tick(11) + tick(12), tick(13) + tick(14))
}

/// Prints what a keeper costs; run by name, in release, on an idle machine.
#[tokio::test]
#[ignore = "a measurement"]
async fn burst_of_a_thousand() {
    const RUNS: usize = 1000;
    let world = world();
    let begun = Instant::now();
    let children: Vec<_> =
        (0..RUNS).map(|_| std::process::Command::new("/bin/true").spawn().unwrap()).collect();
    for mut child in children {
        child.wait().unwrap();
    }
    let (bare, bare_cpu) = (begun.elapsed(), cpu_ms(std::process::id()).1);

    for n in 0..RUNS {
        let spec = Spec { argv: vec!["/bin/true".to_owned()], ..sh(&format!("{n}"), "") };
        spec.write(&world.dir(&n.to_string())).unwrap();
    }
    let begun = Instant::now();
    let dirs: Vec<PathBuf> = (0..RUNS).map(|n| world.dir(&n.to_string())).collect();
    let starts = dirs.iter().map(|dir| async {
        let turn = world.nursery.turn().await.unwrap();
        let gate = world.nursery.fork(&turn, dir).await.unwrap();
        gate.open(&Private::default()).await.unwrap().ended().await;
    });
    futures_util::future::join_all(starts).await;
    let kept = begun.elapsed();
    assert!(dirs.iter().all(|dir| Exit::read(dir).unwrap().is_some_and(|exit| exit.end == End::Code(0))));
    let (own, below) = cpu_ms(world.nursery.pid().unwrap());
    println!("{RUNS} bare {bare:?}, kept {kept:?}: {:.2} times", kept.as_secs_f64() / bare.as_secs_f64());
    println!(
        "CPU ms: bare {bare_cpu}, nursery {own}, keepers and commands {below}, us {}",
        cpu_ms(std::process::id()).0
    );

    let keeper = world.start("memory", &sh("memory", "exec sleep 60"), &Private::default()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", keeper.pid)).unwrap();
    rollup.lines().filter(|l| l.starts_with("Private") || l.starts_with("Rss")).for_each(|l| println!("{l}"));
    stop(&world.dir("memory"), "measured", None).unwrap();
    keeper.ended().await;
}
