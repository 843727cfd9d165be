//! Signals, stopping, and what a service manager sees: readiness, reloads, the watchdog, sockets it opened.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::world::{LUCID, PATIENCE, World, code_of};

const LONG: &str =
    "kill_grace: 20s\ncommand: |\n  trap 'echo bye; exit 3' TERM\n  echo up\n  while :; do sleep 0.05; done";
const STUBBORN: &str =
    "kill_grace: 60s\ncommand: |\n  trap '' TERM\n  echo up\n  while :; do sleep 0.05; done";

fn up(world: &World, task: &str) -> i64 {
    let run = world.start(task);
    world.until("the run is up", || world.log_of(run).contains("up").then_some(()));
    run
}

#[test]
fn term_leaves_the_runs_to_the_next_daemon() {
    let mut world = World::new();
    world.task("long", LONG);
    world.serve();
    let run = up(&world, "long");
    world.signal(Signal::TERM);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    assert_eq!(world.of_runs().iter().filter(|p| p.command.starts_with("/bin/sh")).count(), 1);
    assert_eq!(world.row(run).unwrap().state, "running");
    assert_eq!(world.events("daemon_stopping"), 1);
    world.serve();
    world.lucid(["kill", &run.to_string()]).expect(0);
    assert_eq!(world.ended(run).state, "killed");
}

#[test]
fn the_first_interrupt_ends_the_runs_and_the_daemon() {
    let mut world = World::new();
    world.task("long", LONG);
    world.serve();
    let run = up(&world, "long");
    world.signal(Signal::INT);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    let row = world.row(run).unwrap();
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("killed", Some("shutdown")), "{row:?}");
    assert!(world.log_of(run).contains("bye"), "it had its grace");
    assert!(world.of_runs().is_empty());
}

#[test]
fn the_second_interrupt_kills() {
    let mut world = World::new();
    world.task("stubborn", STUBBORN);
    world.serve();
    let run = up(&world, "stubborn");
    world.signal(Signal::INT);
    world.until_state(run, "stopping");
    let asked = Instant::now();
    world.signal(Signal::INT);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    let row = world.row(run).unwrap();
    assert_eq!((row.state.as_str(), row.signal), ("killed", Some(9)), "{row:?}");
    assert!(world.of_runs().is_empty());
}

#[test]
fn a_database_that_cannot_be_read_keeps_neither_the_runs_nor_the_daemon() {
    let mut world = World::new();
    world.task("stubborn", STUBBORN);
    world.serve();
    up(&world, "stubborn");
    assert!(!world.of_runs().is_empty());
    rusqlite::Connection::open(world.state("lucid.db"))
        .and_then(|database| database.execute_batch("ALTER TABLE runs RENAME TO elsewhere"))
        .unwrap();
    world.signal(Signal::INT);
    // Two of the same kind that come at once are one.
    world.until("it goes down", || world.read("daemon.log").contains("once more kills them").then_some(()));
    world.signal(Signal::INT);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    assert!(world.of_runs().is_empty(), "{:?}", world.of_runs());
}

#[test]
fn stop_ends_the_runs_waits_for_the_daemon_and_leaves_what_waited_undone() {
    let mut world = World::with("scheduler: {max_parallel_runs: 1}");
    world.task("long", LONG);
    world.task("waits", "command: touch waited");
    world.serve();
    let run = up(&world, "long");
    let waits = world.start("waits");
    world.lucid(["stop"]).expect(0);
    // Its first thread is gone when `stop` returns; the kernel may have others of it to take down still.
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    assert_eq!(world.row(run).unwrap().state, "killed");
    assert_eq!(world.row(waits).unwrap().state, "skipped");
    assert!(!world.path("waited").exists());
    world.lucid(["stop"]).expect(3);
}

#[test]
fn a_start_that_hangs_on_a_file_holds_up_nobody() {
    let mut world = World::new();
    world.task("held", "env_file: fifo\ncommand: touch ran");
    world.task("fine", "command: 'true'");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, world.path("fifo"), kind, mode, 0).unwrap();
    world.serve();
    let held = world.start("held");
    assert_eq!(world.run("fine").state, "ok");
    assert_eq!(world.row(held).unwrap().state, "claimed");
    world.lucid(["kill", &held.to_string()]).expect(0);
    assert_eq!(world.row(held).unwrap().state, "killed");
    world.signal(Signal::TERM);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
}

#[test]
fn hang_up_reads_the_files_again() {
    // Too seldom to be what brings the change about, and no file system events either.
    let mut world = World::with("scheduler: {rescan: 1h}");
    world.serve();
    world.write("tasks/new.md", "---\ncommand: echo new\n---\n");
    world.signal(Signal::HUP);
    world.until("the task", || (world.lucid(["task", "new"]).code == 0).then_some(()));
    assert!(world.daemon_ended().is_none());
}

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn of(world: &mut World) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        world.env.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
        Self(socket)
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn until(&self, line: &str) -> String {
        loop {
            let message = self.next();
            if message.lines().any(|own| own == line) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_reloads_is_well_and_goes() {
    let mut world = World::new();
    world.task("patient", "command: while [ ! -e go ]; do sleep 0.05; done");
    world.serve();
    let run = world.start("patient");
    // Recorded comes before begun: a daemon that is killed in between leaves a run that never started.
    world.until("started", || world.run_file(run, "started").exists().then_some(()));
    world.kill_daemon();
    world.write("go", "");
    world.until("exit.json", || world.run_file(run, "exit.json").exists().then_some(()));
    let manager = Manager::of(&mut world);
    world.env.push(("WATCHDOG_USEC".to_owned(), "400000".to_owned()));
    // What is handed to the daemon is not for its runs.
    world.task("shows", "command: env");
    let child = world.serve_command().spawn().unwrap();
    world.adopt(child);
    let ready = manager.until("READY=1");
    // The past is settled before anybody is told that we are there.
    assert_eq!(world.row(run).unwrap().state, "ok");
    assert!(ready.contains("STATUS=") || manager.next().contains("STATUS="), "{ready}");
    assert_eq!(world.lucid(["status"]).code, 0, "it listens when it says so");
    manager.until("WATCHDOG=1");
    manager.until("WATCHDOG=1");
    world.signal(Signal::HUP);
    let reloading = manager.until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.until("READY=1");
    let shows = world.run("shows");
    let shown = world.log_of(shows.id);
    assert!(!shown.contains("NOTIFY_SOCKET") && !shown.contains("WATCHDOG"), "{shown}");
    world.signal(Signal::TERM);
    manager.until("STOPPING=1");
    assert_eq!(code_of(world.until_daemon_ends()), 0);
}

#[test]
fn a_reload_that_hangs_keeps_nobody_from_ending_the_daemon() {
    let mut world = World::new().with_failpoints();
    let manager = Manager::of(&mut world);
    world.serve();
    manager.until("READY=1");
    world.write("bin/failpoints/armed/reload.read", "stall 1");
    world.signal(Signal::HUP);
    manager.until("RELOADING=1");
    world.signal(Signal::TERM);
    loop {
        let said = manager.next();
        assert!(!said.contains("READY=1"), "it waits for the reload");
        if said.lines().any(|line| line == "STOPPING=1") {
            break;
        }
    }
    assert_eq!(code_of(world.until_daemon_ends()), 0);
}

#[test]
fn a_watchdog_hears_nothing_of_a_daemon_that_hangs() {
    let mut world = World::new();
    let manager = Manager::of(&mut world);
    world.env.push(("WATCHDOG_USEC".to_owned(), "400000".to_owned()));
    world.serve();
    manager.until("WATCHDOG=1");
    world.signal(Signal::STOP);
    manager.0.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    let mut bytes = [0; 4096];
    while manager.0.recv(&mut bytes).is_ok() {}
    world.signal(Signal::CONT);
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.until("WATCHDOG=1");
}

#[test]
fn a_socket_that_the_service_manager_opened_is_served_and_left_in_place() {
    let mut world = World::new();
    let path = world.path("given.sock");
    let listener = UnixListener::bind(&path).unwrap();
    world.configure(&format!("control: {{socket: '{}'}}", path.display()));
    // What connects before the daemon runs waits in the socket.
    let mut early = world.lucid_command(["status", "--json"]);
    let early = early.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut shell = Command::new("/bin/sh");
    let serve = world.serve_command();
    shell.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(world.root());
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=control exec \"$0\" serve";
    shell.args(["-c", script, LUCID]).stdin(OwnedFd::from(listener));
    shell.stdout(std::process::Stdio::null()).stderr(world.log_file());
    let child = shell.spawn().unwrap();
    world.adopt(child);
    world.until_served();
    let answered = early.wait_with_output().unwrap();
    assert!(answered.status.success(), "{answered:?}");
    world.task("shows", "command: env; ls -l /proc/self/fd");
    world.lucid(["reload"]).expect(0);
    let run = world.run("shows");
    let shown = world.log_of(run.id);
    assert!(!shown.contains("LISTEN_") && !shown.contains("socket:"), "{shown}");
    world.signal(Signal::TERM);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    assert!(path.exists(), "the socket is the service manager's");
}

#[test]
fn what_waits_when_the_daemon_is_stopped_has_not_started() {
    let mut world = World::with("scheduler: {max_parallel_runs: 1}\ndefaults: {kill_grace: 1s}\n");
    world.task("long", "command: sleep 600");
    world.task("due", "schedule: in 1s\ncommand: echo $LUCID_RUN_ID >> said");
    world.task("asked", "command: echo asked >> said");
    world.serve();
    let long = world.start("long");
    world.until_state(long, "running");
    let due = world.until("it is due", || world.rows("due").pop());
    let asked = world.start("asked");
    world.lucid(["stop"]).expect(0);
    assert_eq!(code_of(world.until_daemon_ends()), 0);
    let state = |id| world.row(id).map(|row| (row.state, row.reason.unwrap_or_default()));
    assert_eq!(state(long), Some(("killed".into(), "shutdown".into())));
    assert_eq!(state(due.id), Some(("not_started".into(), String::new())));
    assert_eq!(state(asked), Some(("skipped".into(), "draining".into())));
    world.serve();
    world.until_state(due.id, "ok");
    assert_eq!(world.read("said"), format!("{}\n", due.id));
}
