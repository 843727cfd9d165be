//! Real keepers, real `/bin/sh`: the limits of a run hold whoever dies, and nothing of it is left behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lucid::platform::process::output::Reader;
use lucid::platform::process::spec::Cgroups;
use lucid::platform::process::{
    Cause, End, Exit, ForkError, Found, Keeper, Nursery, Private, Spec, Stdin, Stdout, append_stdin, boot_id,
    clear, close_stdin, examine, stop,
};
use rustix::process::{Pid, Signal, kill_process};

/// Longest that any run of these tests may take, whatever its timeout.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a kill may take beyond timeout and grace.
const KILL_SLACK: Duration = Duration::from_secs(2);

struct World {
    root: tempfile::TempDir,
    nursery: Nursery,
}

fn world() -> World {
    let nursery = Nursery::start(Path::new(env!("CARGO_BIN_EXE_lucid"))).expect("the nursery starts");
    World { root: tempfile::tempdir().expect("a directory"), nursery }
}

/// A cookie that no other test and no earlier run of these tests has.
fn cookie(id: &str) -> (String, String) {
    ("LUCID_RUN_ID".to_owned(), format!("{id}-{}", std::process::id()))
}

fn sh(id: &str, script: &str) -> Spec {
    Spec {
        cookie: cookie(id),
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        preflight: None,
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".into(),
        timeout_ms: 15_000,
        kill_grace_ms: 300,
        idle_timeout_ms: None,
        log_max: 1_000_000,
        stdin: Stdin::Null,
        stdout: Stdout::Log,
        cgroups: Cgroups::Auto,
    }
}

impl World {
    fn dir(&self, id: &str) -> PathBuf {
        self.root.path().join(id)
    }

    async fn start(&self, id: &str, spec: &Spec, private: &Private) -> Keeper {
        spec.write(&self.dir(id)).expect("the spec is written");
        let gate = self.nursery.fork(&self.dir(id)).await.expect("a keeper");
        gate.open(private).await.expect("the gate opens")
    }

    async fn run(&self, id: &str, spec: &Spec) -> Exit {
        let keeper = self.start(id, spec, &Private::default()).await;
        self.end_of(id, &keeper).await
    }

    async fn end_of(&self, id: &str, keeper: &Keeper) -> Exit {
        tokio::time::timeout(PATIENCE, keeper.ended()).await.expect("the run ends in time");
        Exit::read(&self.dir(id)).expect("readable").expect("an exit")
    }

    fn log(&self, id: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir(id).join("output.log")).expect("a log")).into_owned()
    }

    fn marker(&self, id: &str) -> PathBuf {
        self.root.path().join(format!("{id}.marker"))
    }

    fn examine(&self, id: &str) -> Found {
        examine(&self.dir(id), &boot_id().expect("a boot id")).expect("examined")
    }
}

fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// The pids that a script has written, one a line, once there are `count`.
async fn pids_in(path: &Path, count: usize) -> Vec<i32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let pids: Vec<i32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if pids.len() >= count && text.ends_with('\n') {
            return pids;
        }
        assert!(Instant::now() < deadline, "{} holds {text:?}", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn all_die(pids: &[i32], within: Duration) {
    let deadline = Instant::now() + within;
    while pids.iter().any(|pid| alive(*pid)) {
        assert!(Instant::now() < deadline, "still alive: {pids:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("killed");
}

// ---- the gate ----

#[tokio::test]
async fn without_go_the_command_never_runs() {
    let world = world();
    let marker = world.marker("gate");
    let spec = sh("gate", &format!("touch {}", marker.display()));
    spec.write(&world.dir("gate")).unwrap();
    let gate = world.nursery.fork(&world.dir("gate")).await.unwrap();
    let (pid, start) = (gate.pid, gate.start_ticks);
    assert!(Keeper::is_same(pid, start));
    assert!(matches!(world.examine("gate"), Found::Alive(keeper) if keeper.pid == pid));
    drop(gate);
    all_die(&[pid], PATIENCE).await;
    assert!(matches!(world.examine("gate"), Found::NotStarted));
    assert!(!marker.exists() && !world.dir("gate").join("started").exists());

    // The same directory may be used once more.
    world.run("gate", &spec).await;
    assert!(marker.exists());
    assert!(matches!(world.examine("gate"), Found::Exited(_)));
    assert!(matches!(world.nursery.fork(&world.dir("gate")).await, Err(ForkError::Refused(_))));
}

#[tokio::test]
async fn one_run_has_one_keeper() {
    let world = world();
    let spec = sh("twice", "true");
    spec.write(&world.dir("twice")).unwrap();
    let gate = world.nursery.fork(&world.dir("twice")).await.unwrap();
    let Err(ForkError::Refused(why)) = world.nursery.fork(&world.dir("twice")).await else {
        panic!("a second keeper for one run")
    };
    assert!(why.contains(&gate.pid.to_string()), "{why}");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_refused() {
    let world = world();
    assert!(matches!(world.nursery.fork(&world.dir("nothing")).await, Err(ForkError::Refused(_))));
}

// ---- outcomes ----

#[tokio::test]
async fn codes_and_signals_are_told_apart() {
    let world = world();
    let exit = world.run("code", &sh("code", "echo out; echo err >&2; exit 7")).await;
    assert_eq!((exit.end, exit.cause), (End::Code(7), Cause::Itself));
    assert_eq!(world.log("code"), "out\nerr\n");
    assert_eq!((exit.log_bytes, exit.log_cut_bytes, exit.killed, exit.leftovers), (8, 0, 0, 0));
    assert!(exit.ended_ms >= exit.started_ms);
    let exit = world.run("signal", &sh("signal", "kill -9 $$")).await;
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Itself));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let world = world();
    let script = world.root.path().join("no-x");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let start = async |id: &str, argv: &[&str], cwd: &Path| {
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let exit = world.run(id, &Spec { argv, cwd: cwd.to_owned(), ..sh(id, "") }).await;
        match exit.end {
            End::Spawn { code, error } => (code, error),
            other => panic!("{id}: {other:?}"),
        }
    };
    let root = Path::new("/");
    assert_eq!(start("s1", &["/no/such/program"], root).await.0, 127);
    assert_eq!(start("s2", &["no-such-program"], root).await.0, 127);
    assert_eq!(start("s3", &[script.to_str().unwrap()], root).await.0, 126);
    assert_eq!(start("s4", &["/"], root).await.0, 126);
    let (code, error) = start("s5", &["true"], Path::new("/no/such/dir")).await;
    assert_eq!(code, 126);
    assert!(error.contains("/no/such/dir"), "{error}");
    assert!(world.log("s5").contains("/no/such/dir"));
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let world = world();
    let spec = Spec { argv: vec!["/usr/bin/env".to_owned()], ..sh("env", "") };
    let private = Private { env: vec![("TOKEN".to_owned(), "t".to_owned())], masks: Vec::new() };
    let keeper = world.start("env", &spec, &private).await;
    world.end_of("env", &keeper).await;
    let log = world.log("env");
    let mut names: Vec<&str> = log.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LUCID_RUN_ID", "PATH", "TOKEN"]);
    let exit = world.run("fds", &sh("fds", "ls /proc/self/fd | tr '\\n' ' '; umask")).await;
    assert_eq!(exit.end, End::Code(0));
    assert_eq!(world.log("fds"), "0 1 2 3 0022\n", "3 is the directory that ls reads");
}

#[tokio::test]
async fn a_preflight_that_says_no_ends_the_run() {
    let world = world();
    let preflight = |script: &str| Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    let spec = Spec { preflight: preflight("echo no disk; exit 3"), ..sh("pf", "echo ran") };
    assert_eq!(world.run("pf", &spec).await.end, End::Preflight { code: 3 });
    assert_eq!(world.log("pf"), "no disk\n");
    let spec = Spec { preflight: preflight("echo fine"), ..sh("pf2", "echo ran; exit 4") };
    assert_eq!(world.run("pf2", &spec).await.end, End::Code(4));
    assert_eq!(world.log("pf2"), "fine\nran\n");
    let spec = Spec { preflight: preflight("exec sleep 60"), timeout_ms: 300, ..sh("pf3", "echo ran") };
    let exit = world.run("pf3", &spec).await;
    assert_eq!((exit.end, exit.cause), (End::Preflight { code: 143 }, Cause::Timeout));
    assert_eq!(world.log("pf3"), "");
}

// ---- limits ----

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

async fn escapees_die(without_cgroup: bool) {
    let world = world();
    for (id, script, count) in ESCAPEES {
        let marker = world.marker(id);
        let mut spec = Spec { timeout_ms: 700, ..sh(id, script) };
        spec.cookie = cookie(&format!("{id}-{without_cgroup}"));
        spec.env.push(("M".to_owned(), marker.display().to_string()));
        let begun = Instant::now();
        let keeper = world.start(id, &spec, &Private::default()).await;
        if without_cgroup {
            forget_cgroup(&world.dir(id)).await;
        }
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

/// The run's cgroup, once it has begun; `None` where there are none.
async fn cgroup_of(dir: &Path) -> Option<PathBuf> {
    let started = dir.join("started");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&started).unwrap_or_default();
        if let Ok(started) = serde_json::from_str::<serde_json::Value>(&text) {
            return started["cgroup"].as_str().map(PathBuf::from);
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn cgroup_goes(dir: &Path) {
    let cgroup = cgroup_of(dir).await;
    let deadline = Instant::now() + KILL_SLACK;
    while cgroup.as_ref().is_some_and(|cgroup| cgroup.exists()) {
        assert!(Instant::now() < deadline, "{cgroup:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Moves everything out of the run's cgroup: from then on only the tree is left to the keeper.
async fn forget_cgroup(dir: &Path) {
    let Some(cgroup) = cgroup_of(dir).await else { return };
    tokio::time::sleep(Duration::from_millis(100)).await;
    let parent = cgroup.parent().unwrap().join("cgroup.procs");
    for _ in 0..100 {
        let procs = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = std::fs::write(&parent, pid);
        }
    }
}

/// Living processes with this cookie in their environment.
fn carriers(cookie: &(String, String)) -> Vec<i32> {
    let entry = format!("{}={}", cookie.0, cookie.1);
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|e| e == entry.as_bytes()) && alive(*pid)
        })
        .collect()
}

#[tokio::test]
async fn no_escapee_survives_its_timeout() {
    escapees_die(false).await;
}

#[tokio::test]
async fn no_escapee_survives_without_a_cgroup() {
    escapees_die(true).await;
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

// ---- who dies ----

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

// ---- input and output ----

#[tokio::test]
async fn a_flood_keeps_head_and_tail() {
    let world = world();
    let script = "echo first; yes 0123456789abcdef | head -c 100000000; echo; echo last";
    let spec = Spec { log_max: 100_000, ..sh("flood", script) };
    let keeper = world.start("flood", &spec, &Private::default()).await;
    let exit = world.end_of("flood", &keeper).await;
    assert_eq!(exit.end, End::Code(0));
    assert_eq!((exit.log_bytes, exit.log_cut_bytes), (100_000_012, 99_900_012));
    let log = world.log("flood");
    assert!(log.starts_with("first\n0123") && log.ends_with("\nlast\n"));
    assert!(log.contains("[lucid: 99900012 bytes cut here]"));
    assert!(!world.dir("flood").join("output.tail").exists());

    let reader = Reader::open(&world.dir("flood")).unwrap();
    let head = reader.read_from(0, 1 << 20).unwrap();
    assert_eq!((head.offset, head.next, head.complete), (0, 50_000, false));
    let tail = reader.read_from(head.next, 1 << 20).unwrap();
    assert_eq!((tail.offset, tail.cut_bytes), (99_950_012, 99_900_012));
    assert_eq!((tail.next, tail.complete), (100_000_012, true));
    assert!(tail.bytes.ends_with(b"\nlast\n"));
    assert_eq!(reader.tail(1).unwrap().bytes, b"last\n");
}

#[tokio::test]
async fn a_log_is_readable_while_it_grows() {
    let world = world();
    let script = "printf %050d 1; printf %050d 2; printf '%040d\\nmarker\\n' 3; exec sleep 60";
    let spec = Spec { log_max: 60, ..sh("grow", script) };
    let keeper = world.start("grow", &spec, &Private::default()).await;
    let reader = Reader::open(&world.dir("grow")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !reader.tail(1).unwrap().bytes.ends_with(b"marker\n") {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let chunk = reader.read_from(30, 1000).unwrap();
    assert_eq!((chunk.offset, chunk.next, chunk.complete), (148 - 30, 148, false));
    kill(keeper.pid);
    keeper.ended().await;
    cgroup_goes(&world.dir("grow")).await;
    // A keeper that was killed folded nothing, and lost nothing either.
    let again = reader.read_from(30, 1000).unwrap();
    assert_eq!((again.bytes, again.complete), (chunk.bytes, true));
}

#[tokio::test]
async fn hostile_bytes_are_kept_as_they_are() {
    let world = world();
    let script = "head -c 3000000 /dev/zero; printf '\\377\\376\\033[31m'; exec >&-; echo err >&2";
    let spec = Spec { log_max: 10_000_000, ..sh("bytes", script) };
    assert_eq!(world.run("bytes", &spec).await.end, End::Code(0));
    let log = std::fs::read(world.dir("bytes").join("output.log")).unwrap();
    assert_eq!(log.len(), 3_000_000 + 7 + 4);
    assert!(log.ends_with(b"\x00\xff\xfe\x1b[31merr\n"));
}

#[tokio::test]
async fn a_secret_never_reaches_a_file() {
    let world = world();
    let secret = "s3cret-canary-value";
    let script = "printf %s \"${TOKEN%-*-*}\"; sleep 0.2; echo \"-${TOKEN#*-}\"; printf %s \"$TOKEN\" | base64; \
                  echo \"$TOKEN\" >&2; echo \"{\\\"k\\\":\\\"$TOKEN\\\"}\"";
    let private = Private { env: vec![("TOKEN".into(), secret.into())], masks: vec![secret.into()] };
    for (id, stdout) in [("mask1", Stdout::Log), ("mask2", Stdout::Lines { max_bytes: 10_000 })] {
        let spec = Spec { stdout, ..sh(id, script) };
        let keeper = world.start(id, &spec, &private).await;
        assert_eq!(world.end_of(id, &keeper).await.end, End::Code(0));
        let mut stars = 0;
        for entry in std::fs::read_dir(world.dir(id)).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("control") {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{}: {text}", path.display());
            stars += text.matches("***").count();
        }
        assert_eq!(stars, 4, "{id}");
    }
}

#[tokio::test]
async fn lines_and_log_are_kept_apart() {
    let world = world();
    let script = "cat; echo '{\"a\":1}'; echo oops >&2; printf '{\"b\":2}'";
    let spec = Spec {
        stdout: Stdout::Lines { max_bytes: 1_000_000 },
        stdin: Stdin::Text("{\"prompt\":\"`id` $(id)\"}\n".to_owned()),
        ..sh("lines", script)
    };
    assert_eq!(world.run("lines", &spec).await.end, End::Code(0));
    let events = std::fs::read_to_string(world.dir("lines").join("events.jsonl")).unwrap();
    assert_eq!(events, "{\"prompt\":\"`id` $(id)\"}\n{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(world.log("lines"), "oops\n");
}

#[tokio::test]
async fn a_large_prompt_does_not_deadlock() {
    let world = world();
    let prompt = "0123456789\n".repeat(200_000);
    let spec = Spec { stdin: Stdin::Text(prompt), log_max: 10_000_000, ..sh("prompt", "cat") };
    assert_eq!(world.run("prompt", &spec).await.log_bytes, 2_200_000);
    let spec = Spec { stdin: Stdin::Text("x".repeat(1_000_000)), ..sh("unread", "exit 0") };
    assert_eq!(world.run("unread", &spec).await.end, End::Code(0));
}

#[tokio::test]
async fn live_input_is_followed_until_it_is_closed() {
    let world = world();
    let spec = Spec { stdin: Stdin::Live, ..sh("live", "while read l; do echo got $l; done; echo eof") };
    spec.write(&world.dir("live")).unwrap();
    append_stdin(&world.dir("live"), "early").unwrap();
    let keeper = world.start("live", &spec, &Private::default()).await;
    append_stdin(&world.dir("live"), "two").unwrap();
    let reader = Reader::open(&world.dir("live")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while reader.read_from(0, 100).unwrap().bytes != b"got early\ngot two\n" {
        assert!(Instant::now() < deadline, "{}", world.log("live"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    append_stdin(&world.dir("live"), "three").unwrap();
    close_stdin(&world.dir("live")).unwrap();
    assert_eq!(world.end_of("live", &keeper).await.end, End::Code(0));
    assert_eq!(world.log("live"), "got early\ngot two\ngot three\neof\n");
}

// ---- cost ----

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
        let keeper = world.nursery.fork(dir).await.unwrap().open(&Private::default()).await.unwrap();
        keeper.ended().await;
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
