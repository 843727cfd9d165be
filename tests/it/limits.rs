//! Hard limits: whatever a command does, its whole tree is gone by timeout + grace + 2 s; whatever it prints,
//! its log stays within bounds and it never waits for a reader.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ledger::Row;
use crate::processes::{self, pid_in, signal};
use crate::world::{LUCID, World};

/// Beyond timeout and grace.
const KILL_SLACK: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(1);

/// How the daemon stands while a run meets its limit.
#[derive(Debug, Clone, Copy)]
enum Daemon {
    Alive,
    Dead,
    Stopped,
}

/// Each writes the pid of what tries to get away into `pid`.
const ESCAPEES: [(&str, &str); 5] = [
    ("ignorer", "trap '' TERM INT HUP\n  echo $$ > ignorer.pid\n  while :; do sleep 0.1; done"),
    (
        "setsid",
        "setsid env -i /bin/sh -c 'trap \"\" TERM; echo $$ > setsid.pid; while :; do sleep 0.1; done' &\n  \
         sleep 600",
    ),
    (
        "orphan",
        "( ( trap '' TERM; echo $$ > orphan.parent; sh -c 'echo $$ > orphan.pid; exec sleep 600' & ) & )\n  \
         sleep 600",
    ),
    ("stopped", "sh -c 'echo $$ > stopped.pid; kill -STOP $$; sleep 600' &\n  sleep 600"),
    (
        "hopper",
        // Each copy forks the next and ends, so that its number changes all the time.
        "cat > hop.sh <<'END'\n  trap '' TERM\n  echo $$ > hopper.pid\n  sleep 0.02\n  \
         setsid sh hop.sh & exit 0\n  END\n  setsid sh hop.sh &\n  sleep 600",
    ),
];

fn escape(daemon: Daemon) {
    let mut world = World::new();
    for (id, script) in ESCAPEES {
        world.task(id, &format!("timeout: 1s\nkill_grace: 1s\ncommand: |\n  {script}"));
    }
    world.serve();
    let runs: Vec<(&str, i64)> = ESCAPEES.iter().map(|(id, _)| (*id, world.start(id))).collect();
    for (id, _) in &runs {
        world.until(&format!("the pid of {id}"), || pid_in(&world.path(&format!("{id}.pid"))));
    }
    let started = Instant::now();
    match daemon {
        Daemon::Alive => {}
        Daemon::Dead => world.kill_daemon(),
        Daemon::Stopped => world.signal(Signal::STOP),
    }
    world.until_within(TIMEOUT + GRACE + KILL_SLACK, "every tree is dead", || {
        let gone = |id: &str| {
            let pid = pid_in(&world.path(&format!("{id}.pid")));
            pid.is_none_or(|pid| !processes::lives(pid))
        };
        (runs.iter().all(|(id, _)| gone(id)) && world.of_runs().is_empty()).then_some(())
    });
    // Nothing came back since: a hopper that got away would have another number by now.
    std::thread::sleep(Duration::from_millis(200));
    assert!(world.of_runs().is_empty(), "{:?}", world.of_runs());
    println!("{daemon:?}: dead after {:?}", started.elapsed());
    match daemon {
        Daemon::Alive => {}
        Daemon::Dead => world.serve(),
        Daemon::Stopped => world.signal(Signal::CONT),
    }
    for (id, run) in runs {
        let row = world.ended(run);
        assert_eq!(
            (row.state.as_str(), row.reason.as_deref()),
            ("timeout", Some("timeout")),
            "{id}: {row:?}"
        );
    }
}

#[test]
fn nothing_escapes_its_timeout() {
    escape(Daemon::Alive);
}

#[test]
fn nothing_escapes_its_timeout_while_the_daemon_is_dead() {
    escape(Daemon::Dead);
}

#[test]
fn nothing_escapes_its_timeout_while_the_daemon_is_stopped() {
    escape(Daemon::Stopped);
}

#[test]
fn what_a_command_leaves_behind_gets_its_grace_and_the_outcome_stays_the_commands() {
    let mut world = World::new();
    world.task(
        "leaves",
        "kill_grace: 1s\ncommand: |\n  setsid sh -c 'trap \"\" TERM; sleep 600' &\n  echo $! > pid\n  exit 5",
    );
    world.serve();
    let row = world.run("leaves");
    assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(5)), "{row:?}");
    assert!(!processes::lives(pid_in(&world.path("pid")).unwrap()));
}

#[test]
fn silence_ends_a_run_with_an_idle_timeout_and_talk_does_not() {
    let mut world = World::new();
    world.task("silent", "timeout: 60s\nidle_timeout: 1s\nkill_grace: 1s\ncommand: echo once; sleep 50");
    world.task(
        "talks",
        "timeout: 60s\nidle_timeout: 2s\ncommand: for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done",
    );
    world.serve();
    let (silent, talks) = (world.start("silent"), world.start("talks"));
    let row = world.ended(silent);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("timeout", Some("idle")), "{row:?}");
    assert_eq!(world.ended(talks).state, "ok");
}

#[test]
fn kill_ends_a_run_and_its_tree_and_says_who_asked() {
    let mut world = World::new();
    world.task(
        "polite",
        "command: |\n  trap 'echo bye; exit 0' TERM\n  echo ready\n  while :; do sleep 0.05; done",
    );
    world.task(
        "stubborn",
        "kill_grace: 30s\ncommand: |\n  trap '' TERM\n  echo ready\n  while :; do sleep 0.05; done",
    );
    world.serve();
    let (polite, stubborn) = (world.start("polite"), world.start("stubborn"));
    for run in [polite, stubborn] {
        world.until("ready", || world.log_of(run).contains("ready").then_some(()));
    }
    world.lucid(["kill", &polite.to_string()]).expect(0);
    let row = world.ended(polite);
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("killed", Some("cancelled")), "{row:?}");
    assert!(world.log_of(polite).contains("bye"));
    // The person's grace counts, not the task's.
    world.lucid(["kill", &format!("#{stubborn}"), "--grace", "300ms"]).expect(0);
    let killed = Instant::now();
    let row = world.ended(stubborn);
    assert!(killed.elapsed() < Duration::from_secs(10));
    assert_eq!((row.state.as_str(), row.signal), ("killed", Some(9)), "{row:?}");
    assert!(world.of_runs().is_empty());
    // What is over cannot be killed, what never was is unknown.
    world.lucid(["kill", &polite.to_string()]).expect(5);
    world.lucid(["kill", "9999"]).expect(4);
}

#[test]
fn a_keeper_told_to_end_by_the_system_ends_its_run() {
    let mut world = World::new();
    world.task("long", "kill_grace: 1s\ncommand: sleep 600");
    world.serve();
    let run = world.start("long");
    world.until("a command", || world.of_run(run).pop());
    assert!(signal(world.row(run).unwrap().keeper_pid.unwrap(), Signal::TERM));
    assert_eq!(world.ended(run).state, "killed");
}

fn log_within_bounds(world: &World, row: &Row, bytes: u64) -> Vec<u8> {
    assert_eq!(row.state, "ok", "{row:?}");
    let log = std::fs::read(world.run_file(row.id, "output.log")).unwrap();
    let said = world.number(&format!("SELECT log_bytes FROM runs WHERE id = {}", row.id));
    assert_eq!(u64::try_from(said).unwrap(), bytes, "every byte is counted");
    log
}

#[test]
fn a_flood_of_output_keeps_head_and_tail_and_stops_nobody() {
    let mut world = World::new();
    world.task(
        "flood",
        "log_max: 1MB\ncommand: echo first; yes 0123456789012345678 | head -c 100000000; echo last",
    );
    world.task(
        "line",
        "log_max: 1MB\ncommand: echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last",
    );
    world.serve();
    for (task, extra) in [("flood", 6 + 5), ("line", 6 + 1 + 5)] {
        let row = world.run(task);
        let log = log_within_bounds(&world, &row, 100_000_000 + extra);
        assert!(log.len() <= 1_010_000, "{task}: {}", log.len());
        assert!(log.starts_with(b"first\n") && log.ends_with(b"last\n"), "{task}");
        let shown = world.lucid(["logs", task, "--tail", "2"]).expect(0).stdout;
        assert!(shown.ends_with("last\n"), "{task}");
    }
    let peak = peak_memory_kb(world.daemon_pid());
    println!("the daemon's peak memory: {peak} kB");
    assert!(peak < 100_000, "{peak} kB");
}

fn peak_memory_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn bytes_that_are_no_text_are_kept_and_shown_without_harm() {
    let mut world = World::new();
    world.task("bytes", "command: printf 'a\\000b\\377\\376\\303(\\033[31mred\\n'");
    world.serve();
    let row = world.run("bytes");
    let log = log_within_bounds(&world, &row, 16);
    assert_eq!(log, b"a\0b\xff\xfe\xc3(\x1b[31mred\n");
    world.lucid(["logs", "bytes"]).expect(0);
    let stream = world.lucid(["api", "GET", &format!("/api/v1/runs/{}/log", row.id)]).expect(0);
    assert!(stream.stdout.contains("red"), "{stream:?}");
}

#[test]
fn a_command_that_cannot_start_says_so() {
    let mut world = World::new();
    world.write("plain", "no program");
    world.task("missing", "command: [/nowhere/program]");
    world.task("plain", &format!("command: ['{}']", world.path("plain").display()));
    world.task("nowhere", "working_dir: no/such/folder\ncommand: echo never");
    world.serve();
    for (task, code) in [("missing", 127), ("plain", 126), ("nowhere", 126)] {
        let done = world.lucid(["run", task, "--wait"]);
        let row = world.rows(task).pop().unwrap();
        assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(code)), "{row:?}");
        assert!(row.reason.as_deref().is_some_and(|reason| reason.starts_with("spawn")), "{row:?}");
        assert_eq!(done.code, code, "{done:?}");
    }
    assert!(std::path::Path::new(LUCID).exists());
}

/// A cgroup of its own with room for this many processes; gone with its value.
struct Pids(std::path::PathBuf);

const PIDS_MAX: u32 = 64;

impl Pids {
    /// # Errors
    /// Why there can be none here.
    fn new() -> Result<Self, String> {
        let name = format!("lucid-it-{}", std::process::id());
        let mut why = String::new();
        for tree in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let path = std::path::Path::new(tree).join(&name);
            let limited = std::fs::create_dir(&path)
                .and_then(|()| std::fs::write(path.join("pids.max"), PIDS_MAX.to_string()));
            match limited {
                Ok(()) => return Ok(Self(path)),
                Err(e) => why.push_str(&format!("{}: {e}; ", path.display())),
            }
            let _ = std::fs::remove_dir(&path);
        }
        Err(why)
    }

    /// How often the limit has refused a process.
    fn refusals(&self) -> u32 {
        let text = std::fs::read_to_string(self.0.join("pids.events")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("max ")?.trim().parse().ok()).unwrap_or(0)
    }

    fn count(&self) -> u32 {
        let text = std::fs::read_to_string(self.0.join("pids.current")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_fork_bomb_at_its_limit_is_dead_in_time_and_the_daemon_answers_meanwhile() {
    let pids = match Pids::new() {
        Ok(pids) => pids,
        Err(why) => {
            println!("skipped: no cgroup with a limit of processes can be made here: {why}");
            return;
        }
    };
    let mut world = World::new();
    world.write("bomb.sh", "trap '' TERM\nsh bomb.sh & sh bomb.sh &\nsleep 600\n");
    let group = pids.0.join("cgroup.procs");
    // Nothing of its own is forked once the limit is met: a shell that cannot fork ends, and the run with it.
    world.task(
        "bomb",
        &format!(
            "timeout: 3s\nkill_grace: 1s\ncommand: |\n  echo $$ > {}\n  sh bomb.sh &\n  exec sleep 600",
            group.display()
        ),
    );
    world.serve();
    let run = world.start("bomb");
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let (mut most, mut refused) = (0, 0);
    while world.row(run).is_none_or(|row| row.is_live()) {
        let asked = Instant::now();
        assert_eq!(world.lucid(["api", "GET", "/healthz"]).code, 0, "{}", world.log_tail());
        slowest = slowest.max(asked.elapsed());
        most = most.max(pids.count());
        refused = refused.max(pids.refusals());
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", world.picture());
    }
    println!(
        "{most} processes at once, {refused} refused, `lucid api GET /healthz` took at most {slowest:?}"
    );
    assert!(refused > 0, "the bomb never met its limit: {most} of {PIDS_MAX}");
    let row = world.ended(run);
    assert_eq!(row.state, "timeout", "{row:?}");
    let limit = Duration::from_secs(3) + GRACE + KILL_SLACK;
    assert!(row.duration_ms.unwrap() <= i64::try_from(limit.as_millis()).unwrap(), "{row:?}");
    assert_eq!(pids.count(), 0, "something is left: {:?}", world.of_runs());
}

#[test]
fn a_limit_counts_from_when_the_command_was_let_go() {
    let mut world = World::new().with_failpoints();
    world.task("sound", "command: sleep 2\ntimeout: 3s\nkill_grace: 1s");
    world.task("endless", "command: sleep 600\ntimeout: 3s\nkill_grace: 1s");
    world.serve();
    let refusal = "bin/failpoints/fired/run.record_start.before";
    world.write(refusal, "refuse 1");
    let (sound, endless) = (world.start("sound"), world.start("endless"));
    world.until("both keepers wait", || (world.keepers().len() == 2).then_some(()));
    // Longer than the limits, the grace and what a keeper is given beyond.
    for _ in 0..11 {
        world.write(refusal, "refuse 1");
        std::thread::sleep(Duration::from_secs(1));
    }
    std::fs::remove_file(world.path(refusal)).unwrap();
    let (sound, endless) = (world.ended(sound), world.ended(endless));
    assert_eq!(sound.state, "ok", "{sound:?}");
    assert_eq!(endless.state, "timeout", "{endless:?}");
}
