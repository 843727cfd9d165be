//! Timeouts, silence and stops: the whole tree goes, in time.

use std::time::{Duration, Instant};

use lucid::platform::process::spec::Cgroups;
use lucid::platform::process::{Cause, End, Private, Spec, stop};

use crate::world::*;

#[tokio::test]
async fn a_polite_command_ends_at_its_timeout() {
    let world = world();
    let spec = Spec { timeout_ms: 300, ..sh("polite", "trap 'echo bye; exit 0' TERM; sleep 60 & wait") };
    let exit = world.run("polite", &spec).await;
    assert_eq!((exit.end, exit.cause, exit.escalated), (End::Code(0), Cause::Timeout, false));
    assert_eq!(world.log("polite"), "bye\n");
}

/// Each script leaves the pids of what must die in `$M`; none of it goes by itself.
const ESCAPEES: [(&str, &str, usize); 6] = [
    (
        "deaf",
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >>$M; while :; do sleep 1; done' & echo $$ >>$M; wait; sleep 60",
        2,
    ),
    (
        "setsid",
        "trap '' TERM; setsid env -i M=$M /bin/sh -c 'trap \"\" TERM; echo $$ >>$M; exec sleep 60' & wait; sleep 60",
        1,
    ),
    (
        "double",
        "(setsid sh -c '(trap \"\" TERM; sh -c \"echo \\$\\$ >>$M; exec sleep 61\" &)' &); trap '' TERM; sleep 60",
        1,
    ),
    ("stopped", "trap '' TERM; sleep 60 & echo $! >>$M; kill -STOP $!; sleep 60", 1),
    ("holder", "(trap '' TERM; sh -c 'echo $$ >>$M; exec sleep 60' &) ; trap '' TERM; exec sleep 60", 1),
    ("hopper", "trap '' TERM; hop() { hop & exit; }; echo $$ >>$M; (hop) ; sleep 60", 1),
];

/// What the keeper has to reach the tree by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    CgroupAndTree,
    TreeOnly,
}

async fn escapees_die(reach: Reach) {
    let world = world();
    for (id, script, count) in ESCAPEES {
        let marker = world.marker(id);
        let mut spec = Spec { timeout_ms: 700, ..sh(id, script) };
        spec.cgroups = match reach {
            Reach::CgroupAndTree => Cgroups::Auto,
            Reach::TreeOnly => Cgroups::Off,
        };
        spec.cookie = cookie(&format!("{id}-{reach:?}"));
        spec.env.push(("M".to_owned(), marker.display().to_string()));
        let begun = Instant::now();
        let keeper = world.start(id, &spec, &Private::default()).await;
        let pids = pids_in(&marker, count).await;
        let exit = world.end_of(id, &keeper).await;
        let limit = Duration::from_millis(spec.timeout_ms + spec.kill_grace_ms) + KILL_SLACK;
        assert!(begun.elapsed() < limit, "{id}: {:?}", begun.elapsed());
        assert_eq!(exit.cause, Cause::Timeout, "{id}");
        assert!(exit.escalated && exit.killed > 0, "{id}: {exit:?}");
        assert!(pids.iter().all(|pid| !alive(*pid)), "{id}: {pids:?}");
        assert_eq!(carriers(&spec.cookie), Vec::<i32>::new(), "{id}");
    }
}

#[tokio::test]
async fn no_escapee_survives_its_timeout() {
    escapees_die(Reach::CgroupAndTree).await;
}

#[tokio::test]
async fn no_escapee_survives_without_a_cgroup() {
    escapees_die(Reach::TreeOnly).await;
}

#[tokio::test]
async fn silence_has_its_own_limit() {
    let world = world();
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; exec sleep 60";
    let spec = Spec { idle_timeout_ms: Some(400), ..sh("idle", script) };
    let exit = world.run("idle", &spec).await;
    assert_eq!((exit.end, exit.cause), (End::Signal(15), Cause::Idle));
    assert_eq!(world.log("idle").lines().count(), 5);
}

#[tokio::test]
async fn a_stop_carries_its_reason_and_may_hurry() {
    let world = world();
    let spec =
        Spec { kill_grace_ms: 60_000, ..sh("stop", "trap '' TERM; echo up; while :; do sleep 1; done") };
    let keeper = world.start("stop", &spec, &Private::default()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop(&world.dir("stop"), "cancelled", Some(Duration::from_millis(100))).unwrap();
    let exit = world.end_of("stop", &keeper).await;
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Stop("cancelled".to_owned())));
    assert!(stop(&world.dir("stop"), "late", None).is_err(), "nobody is there any more");
}

#[tokio::test]
async fn what_outlives_the_command_does_not_change_its_outcome() {
    let world = world();
    let marker = world.marker("left");
    let script = "(trap '' TERM; sh -c 'trap \"\" TERM; echo $$ >>$M; exec sleep 60') & while ! [ -s $M ]; do :; done; exit 5";
    let mut spec = sh("left", script);
    spec.env.push(("M".to_owned(), marker.display().to_string()));
    let begun = Instant::now();
    let exit = world.run("left", &spec).await;
    assert_eq!((exit.end, exit.cause), (End::Code(5), Cause::Itself));
    assert!(exit.leftovers >= 1 && exit.escalated && exit.killed >= 1, "{:?}", (exit.leftovers, exit.killed));
    assert!(begun.elapsed() < Duration::from_millis(300) + KILL_SLACK);
    assert!(pids_in(&marker, 1).await.iter().all(|pid| !alive(*pid)));
}
