//! What goes wrong once on the way to a worker or at its end, and is done again; and who may start beside whom.

use std::time::Duration;

use crate::workers::{git, mode, outcomes, serve_dispatch, ticket, until};
use crate::world::World;

const SETTINGS: &str = "
pools:
  main:
    repo: repo
    slots: 2
agents:
  fake:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    max_parallel: 1
dispatch:
  pool: main
  agent: fake
defaults:
  kill_grace: 1s
";

/// A world on whose way something is to happen at the `visit`th time that somebody comes by.
fn world(point: &str, action: &str, visit: u32) -> World {
    let mut world = World::with(SETTINGS).with_failpoints();
    world.write(&format!("bin/failpoints/armed/{point}"), format!("{action} {visit}"));
    serve_dispatch(&mut world);
    world
}

fn has_fired(world: &World, point: &str) -> bool {
    world.path("bin/failpoints/fired").join(point).exists()
}

fn agent_task(world: &World, id: &str, front: &str, prompt: &str) {
    world
        .write(&format!("tasks/{id}.md"), format!("---\nagent: fake\ntimeout: 1m\n{front}\n---\n{prompt}\n"));
}

#[test]
fn an_agent_run_whose_gate_never_opened_starts_once_more() {
    let mut world = world("run.record_start.before", "abort", 1);
    agent_task(&world, "brief", "pool: main", "FAKE_MODE=ok");
    world.lucid(["reload"]).expect(0);
    let run = world.start("brief");
    world.until_daemon_ends();
    assert!(has_fired(&world, "run.record_start.before"));
    assert_eq!(world.number("SELECT count(*) FROM workers"), 1, "its worker was written before");
    world.serve();
    let row = world.ended(run);
    assert_eq!(row.state, "ok", "{row:?}");
    world.until("its worker's end", || {
        (world.number("SELECT count(*) FROM workers WHERE verdict = 'ok'") == 1).then_some(())
    });
}

#[test]
fn two_agent_tasks_on_a_profile_for_one_run_one_after_the_other() {
    let world = world("none", "stall", 1);
    for id in ["a", "b"] {
        agent_task(&world, id, "pool: main", "FAKE_MODE=commit");
    }
    world.lucid(["reload"]).expect(0);
    let runs = ["a", "b"].map(|id| world.start(id));
    for run in runs {
        let row = world.ended(run);
        assert_eq!(row.state, "ok", "{row:?}");
    }
    let beside = world.number(
        "SELECT count(*) FROM runs a JOIN runs b ON a.task = 'a' AND b.task = 'b' \
         AND a.started_ms < b.ended_ms AND b.started_ms < a.ended_ms",
    );
    assert_eq!(beside, 0, "two at once of a profile that is for one");
}

#[test]
fn a_commit_that_git_did_not_tell_at_once_is_recorded_all_the_same() {
    let world = world("dispatch.commits", "error", 1);
    let id = mode(&world, "commit");
    let ticket = until(&world, &id, "review");
    assert!(has_fired(&world, "dispatch.commits"));
    let branch = ticket["branch"].as_str().expect("a branch");
    assert_eq!(ticket["commit"], git(&world.path("repo"), &["rev-parse", branch]));
}

#[test]
fn a_ticket_whose_slot_was_refused_gets_it_as_soon_as_it_is_ready() {
    // The second step is the one to `leased`.
    let world = world("pool.step", "error", 2);
    let id = mode(&world, "commit");
    world.until("the slot was refused", || has_fired(&world, "pool.step").then_some(()));
    world.until_within(Duration::from_secs(15), "another try", || {
        (ticket(&world, &id)["attempt"] == 1).then_some(())
    });
    until(&world, &id, "review");
    assert_eq!(outcomes(&world, &id), ["fake ok"]);
}
