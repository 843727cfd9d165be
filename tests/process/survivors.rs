//! Daemon, nursery or keeper die: the limits hold, and nothing is left behind.

use std::path::Path;

use lucid::platform::process::{Cause, End, Found, Nursery, Private, Spec, clear};

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
    let marker = world.marker("killed");
    let script =
        "trap '' TERM; setsid env -i M=$M sh -c 'echo $$ >>$M; exec sleep 60' & echo $$ >>$M; wait; sleep 60";
    let mut spec = sh("killed", script);
    spec.env.push(("M".to_owned(), marker.display().to_string()));
    let keeper = world.start("killed", &spec, &Private::default()).await;
    forget_cgroup(&world.dir("killed")).await;
    let pids = pids_in(&marker, 2).await;
    kill(keeper.pid);
    tokio::time::timeout(PATIENCE, keeper.ended()).await.unwrap();
    assert!(matches!(world.examine("killed"), Found::Vanished));
    all_die(&pids, KILL_SLACK).await;
    cgroup_goes(&world.dir("killed")).await;
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
