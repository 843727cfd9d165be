//! kill -9 of every process that takes part, at every stage of a run.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::invariants;
use crate::processes::{self, pid_in, signal};
use crate::world::{World, code_of};

/// Writes a line, waits for a file, writes another, and ends with 7.
const PATIENT: &str =
    "command: |\n  echo begun\n  while [ ! -e go ]; do sleep 0.05; done\n  echo done\n  exit 7";

/// A run of [`PATIENT`] that ended when no daemon was there to see it.
fn over_while_the_daemon_is_dead() -> (World, i64) {
    let mut world = World::new();
    world.task("patient", PATIENT);
    world.serve();
    let run = world.start("patient");
    world.until("output", || world.log_of(run).contains("begun").then_some(()));
    world.kill_daemon();
    world.write("go", "");
    world.until("exit.json", || world.run_file(run, "exit.json").exists().then_some(()));
    (world, run)
}

#[test]
fn a_run_outlives_the_daemon_and_ends_with_its_own_code_and_all_output() {
    let mut world = World::new();
    world.task("patient", PATIENT);
    world.serve();
    let run = world.start("patient");
    world.until("output", || world.log_of(run).contains("begun").then_some(()));
    let keeper = world.row(run).unwrap().keeper_pid;
    world.restart();
    let row = world.row(run).unwrap();
    assert_eq!((row.state.as_str(), row.keeper_pid), ("running", keeper));
    world.write("go", "");
    let row = world.ended(run);
    assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(7)));
    let log = world.lucid(["logs", &run.to_string()]).expect(0);
    assert_eq!(log.stdout, "begun\ndone\n");
    assert_eq!(world.rows("patient").len(), 1);
    invariants::processes_and_rows_agree(&world);
}

#[test]
fn a_run_that_ends_while_the_daemon_is_dead_is_finished_from_what_its_keeper_left() {
    let (mut world, run) = over_while_the_daemon_is_dead();
    world.serve();
    let row = world.row(run).unwrap();
    assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(7)));
    // The end is the run's own, not the moment at which it was noticed.
    let took = row.ended_ms.unwrap() - row.started_ms.unwrap();
    assert!((took - row.duration_ms.unwrap()).abs() < 1_000, "{row:?}");
    assert_eq!(world.log_of(run), "begun\ndone\n");
}

#[test]
fn waiting_and_following_survive_the_daemon() {
    let mut world = World::new();
    world.task("patient", PATIENT);
    world.serve();
    let mut wait = world.lucid_command(["run", "patient", "--wait"]);
    let wait = wait.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = world.until("a run", || world.rows("patient").pop()).id;
    world.until("output", || world.log_of(run).contains("begun").then_some(()));
    let number = run.to_string();
    let mut follow = world.lucid_command(["logs", "-f", &number]);
    let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    world.kill_daemon();
    std::thread::sleep(Duration::from_millis(300));
    world.serve();
    world.write("go", "");
    let followed = follow.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&followed.stdout), "begun\ndone\n", "{followed:?}");
    let waited = wait.wait_with_output().unwrap();
    assert_eq!(code_of(waited.status), 7, "{waited:?}");
}

#[test]
fn a_claimed_run_whose_gate_never_opened_starts_once_more_in_the_same_row() {
    let mut world = World::new();
    world.task("slow", "command: echo $LUCID_RUN_ID >> starts");
    // A reader that never comes holds the start between the claim and the gate.
    world.task("held", "command: echo $LUCID_RUN_ID >> starts\nenv_file: fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    world.serve();
    let run = world.start("held");
    world.until_state(run, "claimed");
    let fence = world.row(run).unwrap().fence;
    world.kill_daemon();
    assert!(!world.path("starts").exists());
    fs::remove_file(world.path("fifo")).unwrap();
    world.write("fifo", "A=1\n");
    world.serve();
    let row = world.ended(run);
    assert_eq!(row.state, "ok", "{row:?}");
    assert!(row.fence > fence);
    assert_eq!(world.read("starts").lines().count(), 1);
    assert_eq!(world.rows("held").len(), 1);
    assert_eq!(world.events("run_not_started"), 1);
}

#[test]
fn a_killed_keeper_makes_its_run_lost_and_leaves_no_process() {
    let mut world = World::new();
    world.task("tree", "command: |\n  setsid sleep 600 &\n  echo $! > child\n  sleep 600");
    world.serve();
    let run = world.start("tree");
    let child = world.until("a grandchild", || pid_in(&world.path("child")));
    let keeper = world.until_state(run, "running").keeper_pid.unwrap();
    assert!(signal(keeper, Signal::KILL));
    let row = world.ended(run);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("lost", Some("keeper_killed")));
    world.until("an empty tree", || (!processes::lives(child) && world.of_runs().is_empty()).then_some(()));
}

#[test]
fn a_keeper_killed_while_the_daemon_is_dead_leaves_no_process_either() {
    let mut world = World::new();
    world.task("tree", "command: |\n  setsid sleep 600 &\n  echo $! > child\n  sleep 600");
    world.serve();
    let run = world.start("tree");
    let child = world.until("a grandchild", || pid_in(&world.path("child")));
    let keeper = world.until_state(run, "running").keeper_pid.unwrap();
    world.kill_daemon();
    assert!(signal(keeper, Signal::KILL));
    world.until("an empty tree", || (!processes::lives(child) && world.of_runs().is_empty()).then_some(()));
    world.serve();
    let row = world.ended(run);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("lost", Some("keeper_killed")));
}

#[test]
fn a_run_whose_directory_is_gone_is_lost_and_runs_no_second_time() {
    let mut world = World::new();
    world.task("count", "command: |\n  echo $LUCID_RUN_ID >> starts\n  sleep 2");
    world.serve();
    // Beside a daemon that goes on, and before one that comes later.
    for restarts in [false, true] {
        let run = world.start("count");
        world.until("its start", || world.read("starts").contains(&format!("{run}\n")).then_some(()));
        if restarts {
            world.kill_daemon();
        }
        fs::remove_dir_all(world.state(&format!("runs/{run}"))).unwrap();
        if restarts {
            world.serve();
        }
        let row = world.ended(run);
        assert_eq!((row.state.as_str(), row.reason.as_deref()), ("lost", Some("directory_gone")));
        assert!(world.of_runs().is_empty());
    }
    assert_eq!(world.read("starts").lines().count(), 2);
    assert_eq!(world.events("run_not_started"), 0);
}

#[test]
fn a_result_that_cannot_be_read_is_lost_at_once() {
    let (mut world, run) = over_while_the_daemon_is_dead();
    fs::write(world.run_file(run, "exit.json"), "").unwrap();
    world.serve();
    let row = world.row(run).unwrap();
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("lost", Some("result_unreadable")));
}

#[test]
fn a_killed_command_failed_of_that_signal() {
    let mut world = World::new();
    world.task("one", "command: [sleep, '600']");
    world.serve();
    let run = world.start("one");
    let command = world.until("the command", || {
        world.of_run(run).into_iter().find(|process| process.command.starts_with("sleep"))
    });
    assert!(signal(command.pid, Signal::KILL));
    let row = world.ended(run);
    assert_eq!((row.state.as_str(), row.signal), ("failed", Some(9)), "{row:?}");
}

#[test]
fn a_killed_nursery_costs_no_run_and_the_next_one_starts() {
    let mut world = World::new();
    world.task("patient", PATIENT);
    world.task("quick", "command: echo quick");
    world.serve();
    let run = world.start("patient");
    world.until("output", || world.log_of(run).contains("begun").then_some(()));
    assert!(signal(world.nursery_pid().unwrap(), Signal::KILL));
    assert_eq!(world.run("quick").state, "ok");
    world.write("go", "");
    assert_eq!(world.ended(run).exit_code, Some(7));
    assert_eq!(world.run("quick").state, "ok");
}

#[test]
fn an_interrupted_run_is_run_again_where_its_task_says_so_but_not_for_ever() {
    let mut world = World::new();
    world.task("again", "command: sleep 600\non_interrupt: rerun");
    world.task("once", "command: sleep 600");
    world.serve();
    let once = world.start("once");
    kill_keeper_of(&world, once);
    assert_eq!(world.ended(once).retry_ms, None);
    // Three reruns, each five seconds after the loss of the one before.
    let mut run = world.start("again");
    for rerun in 1..=3 {
        kill_keeper_of(&world, run);
        let row = world.ended(run);
        assert!(row.state == "lost" && row.retry_ms.is_some(), "{row:?}");
        let next = format!("rerun {rerun}");
        run = world.until(&next, || world.rows("again").into_iter().find(|row| row.id > run)).id;
    }
    kill_keeper_of(&world, run);
    let row = world.ended(run);
    assert!(row.state == "lost" && row.retry_ms.is_none(), "{row:?}");
    assert_eq!(world.rows("again").len(), 4);
    // What a person asks for anew has its own count.
    let run = world.start("again");
    kill_keeper_of(&world, run);
    assert!(world.ended(run).retry_ms.is_some());
}

fn kill_keeper_of(world: &World, run: i64) {
    world.until("a command", || world.of_run(run).pop());
    assert!(signal(world.row(run).unwrap().keeper_pid.unwrap(), Signal::KILL));
}

#[test]
fn a_lock_that_a_dead_daemons_child_still_holds_is_waited_for() {
    let mut world = World::new();
    world.serve();
    let daemon = world.daemon_pid();
    world.kill_daemon();
    // As a child does between its fork and its exec: the lock is held, the daemon that took it is gone.
    let path = world.state("lock");
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), format!("pid {daemon}"));
    let child = world.serve_command().spawn().unwrap();
    world.adopt(child);
    std::thread::sleep(Duration::from_millis(500));
    assert!(world.daemon_ended().is_none(), "{}", world.log_tail());
    drop(held);
    world.until_served();
}

/// A process of somebody else's under the number of `pid`, which is free; `None` where the kernel does not let us
/// choose, or others were quicker again and again.
fn stranger_with(pid: i32) -> Option<Child> {
    const TRIES: u32 = 200;
    for _ in 0..TRIES {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
        if i32::try_from(stranger.id()) == Ok(pid) {
            return Some(stranger);
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
    None
}

#[test]
fn a_stranger_with_the_number_of_a_dead_keeper_is_left_alone() {
    const ROUNDS: u32 = 4;
    let mut world = World::new();
    world.task("tree", "command: sleep 600\nkill_grace: 1s");
    world.task("tree-after", "command: ':'");
    for round in 0..ROUNDS {
        world.serve();
        let run = world.start("tree");
        let keeper = world.until_state(run, "running").keeper_pid.unwrap();
        world.until("the command", || world.of_run(run).pop());
        world.kill_daemon();
        assert!(signal(keeper, Signal::KILL));
        world.until("an empty tree", || {
            (!processes::lives(keeper) && world.of_runs().is_empty()).then_some(())
        });
        world.until("the number is free", || processes::look(keeper).is_none().then_some(()));
        let mut stranger = stranger_with(keeper).unwrap_or_else(|| {
            // What lucid has written down then names a process of another start time, which comes to the same.
            let other = Command::new("sleep").arg("600").spawn().unwrap();
            let lock = world.run_file(run, "keeper.lock");
            let text = fs::read_to_string(&lock).unwrap();
            let (_, rest) = text.split_once(' ').unwrap();
            fs::write(&lock, format!("{} {rest}", other.id())).unwrap();
            world.edit_database(&format!("UPDATE runs SET keeper_pid = {} WHERE id = {run}", other.id()));
            other
        });
        let pid = i32::try_from(stranger.id()).unwrap();
        assert_eq!(world.row(run).unwrap().keeper_pid, Some(pid));
        if round % 2 == 1 {
            let asked = "UPDATE runs SET state = 'stopping', stop_reason = 'cancelled' WHERE id = ";
            world.edit_database(&format!("{asked}{run}"));
        }
        world.serve();
        let row = world.ended(run);
        assert!(!row.is_live() && row.state != "ok", "{row:?}");
        world.lucid(["kill", &run.to_string()]);
        assert_eq!(world.run("tree-after").state, "ok");
        let ended = stranger.try_wait().unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert_eq!(ended, None, "the stranger was ended");
        world.kill_daemon();
    }
}
