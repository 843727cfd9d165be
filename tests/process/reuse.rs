//! A keeper whose run ended well keeps the next one, as a new keeper would.

use std::path::PathBuf;
use std::time::Duration;

use lucid::platform::process::{Cause, End, Exit, Found, Keeper, Private, Spec, kill_tree};

use crate::world::*;

/// Longer than a keeper waits for another run.
const IDLE_SLACK: Duration = Duration::from_secs(4);

/// `None` for whoever may not look into a keeper, which is anybody but root.
fn open_files(pid: i32) -> Option<Vec<PathBuf>> {
    let list = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    Some(list.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok()).collect())
}

/// The keeper of a run that is over.
async fn through(world: &World, id: &str) -> Keeper {
    let keeper = world.start(id, &sh(id, "true"), &Private::default()).await;
    world.end_of(id, &keeper).await;
    keeper
}

/// A run of `spec_of` by a keeper that kept the run before, whose id comes first. A keeper comes back a moment after its
/// run is over, so it may take some tries. Cookies are sought in all processes: `name` is the test's own.
async fn kept_again(
    world: &World,
    name: &str,
    spec_of: impl Fn(&str) -> Spec,
) -> (String, String, Keeper, Keeper) {
    for attempt in 0..20 {
        let [before, id] = ["before", "again"].map(|what| format!("{name}-{what}{attempt}"));
        let first = through(world, &before).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let keeper = world.start(&id, &spec_of(&id), &Private::default()).await;
        if keeper.pid == first.pid {
            return (before, id, first, keeper);
        }
        kill(keeper.pid);
    }
    panic!("no keeper kept two runs");
}

#[tokio::test]
async fn many_runs_one_keeper_and_nothing_of_one_in_the_next() {
    /// More than one keeper may keep.
    const RUNS: usize = 300;
    let world = world();
    let nursery = world.nursery.pid();
    let secret =
        Private { env: vec![("SECRET".into(), "of-the-first".into())], masks: vec!["of-the-first".into()] };
    let first = world.start("reuse-first", &sh("reuse-first", "echo $SECRET; cd /tmp"), &secret).await;
    assert_eq!(world.end_of("reuse-first", &first).await.end, End::Code(0));
    let mut pids = vec![first.pid];
    for n in 0..RUNS {
        let id = format!("reuse-run{n}");
        let script = "echo $SECRET-$LUCID_RUN_ID; pwd; umask; ls /proc/self/fd | wc -l; exit 7";
        let keeper = world.start(&id, &sh(&id, script), &Private::default()).await;
        let exit = world.end_of(&id, &keeper).await;
        assert_eq!((exit.end, exit.cause, exit.leftovers), (End::Code(7), Cause::Itself, 0));
        // `ls` holds the folder itself beside the three.
        assert_eq!(world.log(&id), format!("-{}\n/\n0022\n4\n", cookie(&id).1));
        assert!(matches!(world.examine(&id), Found::Exited(_)));
        pids.push(keeper.pid);
        // Enough for it to come back, mostly.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(world.nursery.pid(), nursery, "nobody had to be asked twice");
    pids.sort_unstable();
    pids.dedup();
    assert!(pids.len() < RUNS / 2, "{} keepers for {RUNS} runs, one after the other", pids.len());
}

#[tokio::test]
async fn a_keeper_holds_nothing_of_the_run_before() {
    let world = world();
    let slow = |id: &str| {
        let mut spec = sh(id, "echo $$ >$M; sleep 2");
        spec.env.push(("M".to_owned(), world.marker(id).display().to_string()));
        spec
    };
    let fresh = world.start("files", &slow("files"), &Private::default()).await;
    pids_in(&world.marker("files"), 1).await;
    let of_fresh = open_files(fresh.pid);
    let (before, id, _, again) = kept_again(&world, "files", slow).await;
    pids_in(&world.marker(&id), 1).await;
    let files = open_files(again.pid);
    assert_eq!(files.as_ref().map(Vec::len), of_fresh.map(|files| files.len()), "{files:?}");
    let of_before = |file: &&PathBuf| file.starts_with(world.dir(&before));
    assert_eq!(files.iter().flatten().find(of_before), None);
    assert_eq!(world.end_of(&id, &again).await.end, End::Code(0));
}

#[tokio::test]
async fn after_a_run_that_had_to_be_ended_comes_another_keeper() {
    let world = world();
    let scripts = ["sleep 60", "sleep 60 & exit 0", "kill -9 $$ & setsid sh -c 'sleep 0.1' & wait"];
    let mut before = Vec::new();
    for (n, script) in scripts.into_iter().enumerate() {
        let id = format!("reuse-ended{n}");
        let spec = Spec { timeout_ms: 300, kill_grace_ms: 100, ..sh(&id, script) };
        let keeper = world.start(&id, &spec, &Private::default()).await;
        world.end_of(&id, &keeper).await;
        assert!(!before.contains(&keeper.pid), "{script}");
        before.push(keeper.pid);
        all_die(&[keeper.pid], KILL_SLACK).await;
    }
}

#[tokio::test]
async fn a_keeper_that_waits_goes_by_itself_and_at_once_with_its_nursery() {
    let world = world();
    let keeper = through(&world, "reuse-alone").await;
    all_die(&[keeper.pid], IDLE_SLACK).await;

    let keeper = through(&world, "reuse-last").await;
    let nursery = i32::try_from(world.nursery.pid().unwrap()).unwrap();
    kill(nursery);
    all_die(&[keeper.pid], KILL_SLACK).await;
    assert_eq!(world.run("reuse-next", &sh("reuse-next", "true")).await.end, End::Code(0));
}

#[tokio::test]
async fn what_a_keeper_killed_in_a_later_run_leaves_is_found() {
    let world = world();
    let script = "trap '' TERM; setsid sh -c 'echo $$ >$M; exec sleep 60' & wait";
    let (before, id, _, keeper) = kept_again(&world, "later", |id| {
        let mut spec = sh(id, script);
        spec.env.push(("M".to_owned(), world.marker(id).display().to_string()));
        spec
    })
    .await;
    let pids = pids_in(&world.marker(&id), 1).await;
    kill(keeper.pid);
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
    assert!(matches!(world.examine(&id), Found::Vanished));
    assert!(matches!(world.examine(&before), Found::Exited(_)));
    all_die(&pids, KILL_SLACK).await;
    cgroup_goes(&world.dir(&id)).await;
}

#[tokio::test]
async fn whoever_is_late_to_kill_the_run_before_does_not_hit_the_next() {
    let world = world();
    let (before, id, first, keeper) = kept_again(&world, "late", |id| sh(id, "sleep 0.5")).await;
    let dir = world.dir(&before);
    let late = move || kill_tree(&dir, first.pid, first.start_ticks, Duration::from_millis(50));
    assert_eq!(tokio::task::spawn_blocking(late).await.unwrap(), 0);
    assert_eq!(world.end_of(&id, &keeper).await.end, End::Code(0));
    assert_eq!(Exit::read(&world.dir(&before)).unwrap().unwrap().end, End::Code(0));
}

#[tokio::test]
async fn one_that_is_stopped_costs_time_and_no_run() {
    let world = world();
    let first = through(&world, "stopped-first").await;
    let pid = rustix::process::Pid::from_raw(first.pid).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::STOP);
    let keeper = world.start("stopped-next", &sh("stopped-next", "echo $$"), &Private::default()).await;
    assert_ne!(keeper.pid, first.pid);
    assert_eq!(world.end_of("stopped-next", &keeper).await.end, End::Code(0));
    assert_eq!(world.log("stopped-next").lines().count(), 1);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[tokio::test]
async fn one_that_waits_and_is_killed_costs_no_run() {
    let world = world();
    let first = through(&world, "reuse-waits").await;
    let pid = rustix::process::Pid::from_raw(first.pid).unwrap();
    // It may have gone by itself, on a machine that is slow.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    for n in 0..3 {
        let id = format!("reuse-next{n}");
        let keeper = world.start(&id, &sh(&id, "true"), &Private::default()).await;
        assert_ne!(keeper.pid, first.pid);
        assert_eq!(world.end_of(&id, &keeper).await.end, End::Code(0));
    }
}
