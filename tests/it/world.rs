//! A world: a directory with settings and task files, at most one daemon on it, and what asks and looks.
//!
//! Every process of a world's runs carries its mark, so that worlds beside each other do not mix, and none
//! outlives its world, whatever becomes of the test.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::ledger::Row;
use crate::processes::{self, Process, signal};

/// For whatever takes no time of its own: a machine that is busy with ten other tests answers within it.
pub const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Lines of the daemon's log that a failure shows.
const LOG_SHOWN_LINES: usize = 40;

/// A variable that runs inherit from the daemon and that nothing here needs: it carries the world's mark.
const MARK_VARIABLE: &str = "LOGNAME";

pub const LUCID: &str = env!("CARGO_BIN_EXE_lucid");

/// What a command came to.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

pub struct World {
    root: tempfile::TempDir,
    mark: String,
    daemon: Option<Child>,
    /// The program; a name of its own where it lies in a world that arms failpoints.
    program: PathBuf,
    /// Added to the daemon's environment.
    pub env: Vec<(String, String)>,
}

impl World {
    /// A world with the settings' defaults but for a quicker second look at files.
    pub fn new() -> Self {
        Self::with("")
    }

    /// A world whose lucid.yaml also holds `settings`.
    pub fn with(settings: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::Builder::new().prefix("lucid-it-").tempdir().expect("a directory");
        let mark = format!("it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let world = Self { root, mark, daemon: None, program: LUCID.into(), env: Vec::new() };
        fs::create_dir(world.path("tasks")).expect("tasks/");
        world.configure(settings);
        world
    }

    /// Gives the world a program of its own, beside which failpoints can be armed.
    pub fn with_failpoints(mut self) -> Self {
        for below in ["armed", "fired", "visited"] {
            fs::create_dir_all(self.path("bin/failpoints").join(below)).expect("a folder");
        }
        self.program = self.path("bin/lucid");
        // By that name the program knows where it lies. Another file system needs a copy.
        if fs::hard_link(LUCID, &self.program).is_err() {
            fs::copy(LUCID, &self.program).expect("a copy of the program");
        }
        self
    }

    pub fn configure(&self, settings: &str) {
        let fixed = "root: .\ntasks_dir: tasks\nstate_dir: state\ntimezone: UTC\n";
        self.write("lucid.yaml", format!("{fixed}{settings}\n"));
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    pub fn state(&self, below: &str) -> PathBuf {
        self.path("state").join(below)
    }

    pub fn run_file(&self, run: i64, name: &str) -> PathBuf {
        self.state("runs").join(run.to_string()).join(name)
    }

    /// Replaces a file in one step, as a careful editor does.
    pub fn write(&self, below: &str, text: impl AsRef<[u8]>) {
        let new = self.path(&format!(".{}.new", below.replace('/', "-")));
        fs::write(&new, text).expect("a file");
        fs::rename(&new, self.path(below)).expect("a rename");
    }

    pub fn read(&self, below: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(below)).unwrap_or_default()).into_owned()
    }

    /// Writes `tasks/ID.md` with `front` between its fences.
    pub fn task(&self, id: &str, front: &str) {
        self.write(&format!("tasks/{id}.md"), format!("---\n{}\n---\n", front.trim_end()));
    }

    /// A daemon's command line, not yet started: settings and mark are in its environment.
    pub fn serve_command(&self) -> Command {
        let mut command = self.command(&self.program);
        command.arg("serve").env(MARK_VARIABLE, &self.mark).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(self.log_file()));
        command
    }

    pub fn log_file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).expect("a log")
    }

    /// Starts the daemon and returns when it answers.
    #[track_caller]
    pub fn serve(&mut self) {
        let child = self.serve_command().spawn().expect("lucid starts");
        self.adopt(child);
        self.until_served();
    }

    /// Takes over a daemon that was started in another way.
    pub fn adopt(&mut self, child: Child) {
        assert!(self.daemon.is_none(), "there is a daemon already");
        self.daemon = Some(child);
    }

    #[track_caller]
    pub fn until_served(&mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.daemon_ended() {
                panic!("the daemon ended: {status}\n{}", self.log_tail());
            }
            if self.lucid(["api", "GET", "/healthz"]).code == 0 {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the daemon does not answer\n{}", self.log_tail());
            std::thread::sleep(LOOK);
        }
    }

    pub fn daemon_pid(&self) -> i32 {
        i32::try_from(self.daemon.as_ref().expect("a daemon").id()).expect("a pid")
    }

    pub fn is_down(&self) -> bool {
        self.daemon.is_none()
    }

    /// The daemon's status once it has ended.
    pub fn daemon_ended(&mut self) -> Option<ExitStatus> {
        let status = self.daemon.as_mut()?.try_wait().expect("a status")?;
        self.daemon = None;
        Some(status)
    }

    pub fn signal(&self, which: Signal) {
        assert!(signal(self.daemon_pid(), which), "the daemon is there to be signalled");
    }

    #[track_caller]
    pub fn until_daemon_ends(&mut self) -> ExitStatus {
        let mut ended = None;
        let started = Instant::now();
        while ended.is_none() {
            assert!(started.elapsed() < PATIENCE, "the daemon does not end\n{}", self.log_tail());
            std::thread::sleep(LOOK);
            ended = self.daemon_ended();
        }
        ended.expect("a status")
    }

    /// kill -9.
    pub fn kill_daemon(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            child.wait().expect("a status");
        }
    }

    #[track_caller]
    pub fn restart(&mut self) {
        self.kill_daemon();
        self.serve();
    }

    pub fn nursery_pid(&self) -> Option<i32> {
        let daemon = self.daemon_pid();
        let is_nursery = |process: &Process| process.parent == daemon && process.command.contains("nursery");
        processes::all().into_iter().find(is_nursery).map(|process| process.pid)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LUCID_") {
                command.env_remove(name);
            }
        }
        command.current_dir(self.root()).env("LUCID_CONFIG", self.path("lucid.yaml"));
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("LISTEN_PID");
        command
    }

    /// The command line of `lucid ARGS…`, for what does not fit [`World::lucid`].
    pub fn lucid_command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(&self.program);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// `lucid ARGS…` from its start to its end.
    pub fn lucid<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Output {
        let output = self.lucid_command(args).output().expect("lucid starts");
        Output {
            code: code_of(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `lucid run TASK`; gives the run's number.
    #[track_caller]
    pub fn start(&self, task: &str) -> i64 {
        let started = self.lucid(["run", task, "--json"]).expect(0);
        started.json()["run"]["id"].as_i64().expect("a run's number")
    }

    /// `lucid run TASK --wait`; gives the run's row.
    #[track_caller]
    pub fn run(&self, task: &str) -> Row {
        let run = self.start(task);
        self.ended(run)
    }

    #[track_caller]
    pub fn ended(&self, run: i64) -> Row {
        self.until(&format!("run {run} ends"), || self.row(run).filter(|row| !row.is_live()))
    }

    #[track_caller]
    pub fn until_state(&self, run: i64, state: &str) -> Row {
        self.until(&format!("run {run} is {state}"), || self.row(run).filter(|row| row.state == state))
    }

    pub fn log_of(&self, run: i64) -> String {
        let read = |name| fs::read(self.run_file(run, name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("output.log"), read("output.tail")].concat()).into_owned()
    }

    /// Living processes of this world's runs: what the daemon started, never itself.
    pub fn of_runs(&self) -> Vec<Process> {
        let daemon = self.daemon.as_ref().and_then(|child| i32::try_from(child.id()).ok());
        let mut marked = processes::with_environment(&format!("{MARK_VARIABLE}={}", self.mark));
        marked.retain(|process| Some(process.pid) != daemon);
        marked
    }

    /// Living processes of one run that carry its cookie.
    pub fn of_run(&self, run: i64) -> Vec<Process> {
        let cookie = processes::with_environment(&format!("LUCID_RUN_ID={run}"));
        let ours = self.of_runs();
        cookie.into_iter().filter(|process| ours.iter().any(|own| own.pid == process.pid)).collect()
    }

    /// The keepers that live, by what they wrote into their locks.
    pub fn keepers(&self) -> Vec<i32> {
        let runs = fs::read_dir(self.state("runs")).into_iter().flatten().flatten();
        let holder = |run: fs::DirEntry| {
            let text = fs::read_to_string(run.path().join("keeper.lock")).ok()?;
            let pid: i32 = text.split_whitespace().next()?.parse().ok()?;
            let command = processes::look(pid)?.command;
            (processes::lives(pid) && command.contains("nursery")).then_some(pid)
        };
        runs.filter_map(holder).collect()
    }

    pub fn log_tail(&self) -> String {
        let log = self.read("daemon.log");
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_SHOWN_LINES)..].join("\n")
    }

    /// Waits until `look` finds what it looks for.
    #[track_caller]
    pub fn until<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.until_within(PATIENCE, what, look)
    }

    #[track_caller]
    pub fn until_within<T>(&self, patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            if started.elapsed() > patience {
                panic!("not within {patience:?}: {what}\n{}", self.picture());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Everything that helps to understand a failure.
    pub fn picture(&self) -> String {
        let rows: Vec<Row> = if self.state("lucid.db").exists() {
            self.rows_where(
                "id > (SELECT max(id) FROM runs) - 20 OR retry_ms IS NOT NULL OR state IN \
                 ('claimed', 'running', 'stopping', 'kill_failed', 'not_started')",
            )
        } else {
            Vec::new()
        };
        let lines = |all: Vec<String>| all.join("\n  ");
        format!(
            "runs:\n  {}\nprocesses:\n  {}\nlog:\n{}",
            lines(rows.iter().map(debug).collect()),
            lines(self.of_runs().iter().map(debug).collect()),
            self.log_tail()
        )
    }
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// As a shell would say it.
pub fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Printed beside the panic's own message.
            eprintln!("{}", self.log_tail());
        }
        self.kill_daemon();
        let started = Instant::now();
        // First what runs, then its keepers, which are what finds the rest.
        loop {
            let keepers = self.keepers();
            let mut left: Vec<i32> = self.of_runs().iter().map(|process| process.pid).collect();
            left.extend(keepers.iter().flat_map(|keeper| processes::below(*keeper)).map(|p| p.pid));
            if left.is_empty() && keepers.is_empty() {
                return;
            }
            for pid in &left {
                signal(*pid, Signal::KILL);
            }
            if left.is_empty() && started.elapsed() > Duration::from_secs(2) {
                for pid in &keepers {
                    signal(*pid, Signal::KILL);
                }
            }
            if started.elapsed() > Duration::from_secs(10) {
                eprintln!("left behind: {left:?} {keepers:?}");
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}
