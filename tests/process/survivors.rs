//! Daemon, nursery or keeper die: the limits hold, and nothing is left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use lucid::platform::process::spec::Cgroups;
use lucid::platform::process::{Cause, End, Found, Keeper, Nursery, Private, Spec, clear};

use crate::world::*;

#[tokio::test]
async fn the_timeout_holds_when_the_daemon_is_gone() {
    let mut world = world();
    let marker = world.marker("orphaned");
    let mut spec =
        Spec { timeout_ms: 500, ..sh("orphaned", "trap '' TERM; echo $$ >>$M; while :; do sleep 1; done") };
    spec.env.push(("M".to_owned(), marker.display().to_string()));
    let keeper = world.start("orphaned", &spec, &Private::default()).await;
    let old = std::mem::replace(
        &mut world.nursery,
        Nursery::start(Path::new(env!("CARGO_BIN_EXE_lucid"))).unwrap(),
    );
    let nursery = i32::try_from(old.pid().unwrap()).unwrap();
    drop(old);
    let Found::Alive(adopted) = world.examine("orphaned") else { panic!("it lives") };
    assert_eq!((adopted.pid, adopted.start_ticks), (keeper.pid, keeper.start_ticks));
    let exit = world.end_of("orphaned", &adopted).await;
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Timeout));
    assert!(!alive(pids_in(&marker, 1).await[0]));
    assert!(matches!(world.examine("orphaned"), Found::Exited(_)));
    all_die(&[nursery], PATIENCE).await;
}

#[tokio::test]
async fn a_killed_keeper_takes_its_tree_with_it() {
    let world = world();
    for cgroups in [Cgroups::Auto, Cgroups::Off] {
        killed_with_its_tree(&world, cgroups).await;
    }
}

async fn killed_with_its_tree(world: &World, cgroups: Cgroups) {
    let id = &format!("killed-{cgroups:?}");
    let marker = world.marker(id);
    let script =
        "trap '' TERM; setsid env -i M=$M sh -c 'echo $$ >>$M; exec sleep 60' & echo $$ >>$M; wait; sleep 60";
    let mut spec = Spec { cgroups, ..sh(id, script) };
    spec.env.push(("M".to_owned(), marker.display().to_string()));
    let keeper = world.start(id, &spec, &Private::default()).await;
    let pids = pids_in(&marker, 2).await;
    kill(keeper.pid);
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
    assert!(matches!(world.examine(id), Found::Vanished));
    all_die(&pids, KILL_SLACK).await;
    cgroup_goes(&world.dir(id)).await;
}

#[tokio::test]
async fn a_killed_nursery_costs_no_run() {
    let world = world();
    let keeper = world.start("brood", &sh("brood", "sleep 0.7; echo done"), &Private::default()).await;
    kill(i32::try_from(world.nursery.pid().unwrap()).unwrap());
    let next = world.run("next", &sh("next", "echo next")).await;
    assert_eq!(next.end, End::Code(0), "another nursery has taken over");
    assert_eq!(world.end_of("brood", &keeper).await.end, End::Code(0));
    assert_eq!(world.log("brood"), "done\n");
}

#[tokio::test]
async fn keeper_and_nursery_killed_leave_what_the_daemon_clears() {
    let world = world();
    let marker = world.marker("both");
    let mut spec = sh("both", "setsid sh -c 'echo $$ >>$M; exec sleep 60' & wait");
    spec.env.push(("M".to_owned(), marker.display().to_string()));
    let keeper = world.start("both", &spec, &Private::default()).await;
    let pids = pids_in(&marker, 1).await;
    kill(i32::try_from(world.nursery.pid().unwrap()).unwrap());
    kill(keeper.pid);
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
    assert!(matches!(world.examine("both"), Found::Vanished));
    let dir = world.dir("both");
    let _ = tokio::task::spawn_blocking(move || clear(&dir, PATIENCE)).await.unwrap();
    all_die(&pids, KILL_SLACK).await;
}

#[tokio::test]
async fn keepers_killed_at_any_moment_leave_nothing() {
    const ROUNDS: u64 = 40;
    let world = world();
    let script = "trap '' TERM; setsid sh -c 'sleep 61 & sleep 62' & (sleep 63 &); sleep 64";
    for round in 0..ROUNDS {
        let id = format!("random{round}");
        let spec = sh(&id, script);
        let keeper = world.start(&id, &spec, &Private::default()).await;
        // From before `started` to long after the tree has grown.
        tokio::time::sleep(Duration::from_micros(round * round * 40)).await;
        kill(keeper.pid);
        tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
        assert!(matches!(world.examine(&id), Found::Vanished | Found::NotStarted), "{id}");
        let deadline = Instant::now() + KILL_SLACK;
        while !carriers(&spec.cookie).is_empty() {
            assert!(Instant::now() < deadline, "{id}: {:?}", carriers(&spec.cookie));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn an_exit_that_cannot_be_written_is_tried_again() {
    let world = world();
    let keeper = world.start("stubborn", &sh("stubborn", "sleep 0.3; exit 9"), &Private::default()).await;
    let obstacle = world.dir("stubborn").join("exit.json");
    std::fs::create_dir(&obstacle).unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(Keeper::is_same(keeper.pid, keeper.start_ticks), "it has not given up");
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(world.end_of("stubborn", &keeper).await.end, End::Code(9));
}
