//! The keeper's loop from "go" to an empty tree: one poll over signals, orders, deadlines, output and input.
//!
//! It waits for processes, never for the end of a pipe. The tree is empty when the kernel says that there is
//! no child left: as a subreaper the keeper is, in the end, the parent of everything below it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::cgroup::Cgroup;
use super::child::{self, Failure, Start};
use super::control::{Order, Orders};
use super::ending::{Ending, Step, Verdict};
use super::feed::Feed;
use super::pump::Pump;
use super::spec::{Cause, End, FILE_MODE, Spec, name};
use super::{sys, tree};
use crate::platform::clock::Clock;
use crate::platform::failpoint;
use crate::platform::files;

/// What is still there this long after the command's end is asked to go; most of it is just ending.
const LEFTOVER_SETTLE: Duration = Duration::from_millis(50);
/// How often `stdin.jsonl` is looked at without being told to.
const LIVE_STDIN_PAUSE: Duration = Duration::from_millis(200);
/// Passes over the direct children in one round of SIGKILL, before all of /proc is searched.
const KILL_PASSES: u32 = 100;
/// Reason of a stop that came as a signal to the keeper.
const SIGNALLED: &str = "shutdown";

/// How far the run has come.
#[derive(Debug)]
enum Stage {
    Preflight(i32),
    Command(i32),
    Ended(End),
}

/// One run under way.
pub struct Supervisor<'a> {
    dir: &'a Path,
    spec: &'a Spec,
    env: Vec<(String, String)>,
    clock: Clock,
    signals: BorrowedFd<'a>,
    orders: Orders,
    timer: OwnedFd,
    cgroup: Option<Cgroup>,
    feed: Option<Feed>,
    stage: Stage,
    cause: Cause,
    ending: Ending,
    deadline: Duration,
    last_output: Duration,
    has_children: bool,
    killed: u32,
    core: bool,
    leftovers: u32,
}

impl<'a> Supervisor<'a> {
    /// The timeout starts here.
    ///
    /// # Errors
    /// There is no timer.
    pub fn new(
        dir: &'a Path,
        spec: &'a Spec,
        secret_env: &[(String, String)],
        clock: Clock,
        signals: BorrowedFd<'a>,
        orders: Orders,
        cgroup: Option<Cgroup>,
    ) -> io::Result<Self> {
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Boottime,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let now = clock.boot();
        Ok(Self {
            dir,
            spec,
            env: spec.environment(secret_env),
            clock,
            signals,
            orders,
            timer,
            cgroup,
            feed: None,
            stage: Stage::Ended(End::Code(0)),
            cause: Cause::Itself,
            ending: Ending::NotBegun,
            deadline: now.saturating_add(Duration::from_millis(spec.timeout_ms)),
            last_output: now,
            has_children: true,
            killed: 0,
            core: false,
            leftovers: 0,
        })
    }

    /// Runs until nothing of the run is left.
    pub fn run(mut self, pump: &mut Pump) -> Verdict {
        match self.spec.preflight.as_deref() {
            Some(preflight) => self.start_preflight(preflight, pump),
            None => self.start_command(pump),
        }
        loop {
            self.reap(pump);
            if !self.has_children {
                break;
            }
            self.keep_limits(pump);
            self.wait(pump);
            while sys::next_signal(self.signals).is_some_and(|signal| self.signalled(signal)) {}
            if pump.advance() {
                self.last_output = self.clock.boot();
            }
            self.obey();
            if let Some(feed) = &mut self.feed {
                feed.advance();
            }
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
        let escalated = self.ending.is_killing();
        let end = match self.stage {
            Stage::Ended(end) => end,
            // Without children there is no status to come; only a stranger's waitpid could bring this about.
            Stage::Preflight(_) | Stage::Command(_) => End::Signal(libc::SIGKILL),
        };
        let Self { cause, killed, core, leftovers, .. } = self;
        Verdict { end, cause, killed, escalated, core, leftovers }
    }

    fn start_preflight(&mut self, preflight: &[String], pump: &mut Pump) {
        match self.start(preflight, pump, None) {
            Ok(pid) => self.stage = Stage::Preflight(pid),
            Err(Failure { code, error }) => {
                pump.note(&format!("cannot start the preflight: {error}"));
                self.stage = Stage::Ended(End::Preflight { code });
            }
        }
    }

    fn start_command(&mut self, pump: &mut Pump) {
        let started = Feed::open(&self.spec.stdin, self.dir)
            .map_err(|e| Failure {
                code: child::CODE_NOT_STARTED,
                error: format!("cannot prepare its input: {e}"),
            })
            .and_then(|feed| {
                let (feed, input) = feed.unzip();
                let pid = self.start(&self.spec.argv, pump, input)?;
                Ok((feed, pid))
            });
        match started {
            Ok((feed, pid)) => {
                self.feed = feed;
                self.stage = Stage::Command(pid);
                failpoint::pass("keeper.command");
                // A command that reads at once must not wait for the first tick.
                if let Some(feed) = &mut self.feed {
                    feed.advance();
                }
            }
            Err(Failure { code, error }) => {
                pump.note(&format!("cannot start the command: {error}"));
                self.stage = Stage::Ended(End::Spawn { code, error });
            }
        }
    }

    /// `input` is given away: the command alone must hold its end.
    fn start(&self, argv: &[String], pump: &Pump, input: Option<OwnedFd>) -> Result<i32, Failure> {
        let input = match input {
            Some(input) => input,
            None => child::null_input()
                .map_err(|e| Failure { code: child::CODE_NOT_STARTED, error: format!("/dev/null: {e}") })?
                .into(),
        };
        let is_command = std::ptr::eq(argv, self.spec.argv.as_slice());
        child::start(&Start {
            argv,
            env: &self.env,
            cwd: &self.spec.cwd,
            cgroup: self.cgroup.as_ref(),
            stdin: input.as_fd(),
            stdout: if is_command { pump.stdout_end() } else { pump.log_end() },
            stderr: pump.log_end(),
        })
    }

    /// Takes every status there is, adopted orphans' included.
    fn reap(&mut self, pump: &mut Pump) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid.as_raw_nonzero().get(), status, pump),
                Ok(None) => break self.has_children = true,
                Err(rustix::io::Errno::INTR) => {}
                // ECHILD, and nothing else is possible: the tree is empty.
                Err(_) => break self.has_children = false,
            }
        }
    }

    fn reaped(&mut self, pid: i32, status: WaitStatus, pump: &mut Pump) {
        if self.ending.is_killing() && status.terminating_signal() == Some(libc::SIGKILL) {
            self.killed += 1;
        }
        match self.stage {
            Stage::Preflight(preflight) if pid == preflight => {
                let code = shell_code(status);
                if code == 0 && !self.ending.has_begun() {
                    self.start_command(pump);
                } else {
                    self.ended(End::Preflight { code });
                }
            }
            Stage::Command(command) if pid == command => {
                self.core = sys::dumped_core(status.as_raw());
                self.ended(match status.terminating_signal() {
                    Some(signal) => End::Signal(signal),
                    None => End::Code(status.exit_status().unwrap_or(0)),
                });
            }
            Stage::Preflight(_) | Stage::Command(_) | Stage::Ended(_) => {}
        }
    }

    /// The outcome is decided. What still lives below gets its grace from here, or less if the end had begun.
    fn ended(&mut self, end: End) {
        self.stage = Stage::Ended(end);
        self.feed = None;
        let grace = Duration::from_millis(self.spec.kill_grace_ms);
        self.ending = self.ending.ask(self.clock.boot().saturating_add(LEFTOVER_SETTLE), grace);
    }

    fn keep_limits(&mut self, pump: &mut Pump) {
        let now = self.clock.boot();
        if let Some((at, cause)) = self.limit()
            && now >= at
        {
            self.end_because(cause, None);
        }
        let (ending, step) = self.ending.step(now);
        self.ending = ending;
        match step {
            Some(Step::Terminate) => self.terminate(pump),
            Some(Step::Kill) => self.kill(pump),
            Some(Step::ReportFailure) => self.report_failure(),
            None => {}
        }
        self.set_timer();
    }

    /// The next limit of a command that nobody has asked to end.
    fn limit(&self) -> Option<(Duration, Cause)> {
        if self.ending.has_begun() {
            return None;
        }
        let idle =
            self.spec.idle_timeout_ms.map(|ms| self.last_output.saturating_add(Duration::from_millis(ms)));
        match idle.filter(|at| *at < self.deadline) {
            Some(at) => Some((at, Cause::Idle)),
            None => Some((self.deadline, Cause::Timeout)),
        }
    }

    /// The first cause counts, and none does once the command has ended by itself.
    fn end_because(&mut self, cause: Cause, grace: Option<Duration>) {
        let own = Duration::from_millis(self.spec.kill_grace_ms);
        if !self.ending.has_begun() {
            self.cause = cause;
        }
        self.ending = self.ending.ask(self.clock.boot(), grace.map_or(own, |grace| grace.min(own)));
    }

    /// SIGTERM to all of the tree; SIGCONT, or a stopped process would not see it.
    fn terminate(&mut self, pump: &mut Pump) {
        let mut living = tree::below(std::process::id().cast_signed(), &[]);
        living.retain(|p| !p.is_zombie);
        if matches!(self.stage, Stage::Ended(_)) && !living.is_empty() {
            self.leftovers = u32::try_from(living.len()).unwrap_or(u32::MAX);
            pump.note(&format!("it left processes running: {}; these are ended too", self.leftovers));
        }
        for process in &living {
            tree::signal(process, Signal::TERM);
            tree::signal(process, Signal::CONT);
        }
    }

    /// One round of SIGKILL. A child that dies hands its own children to us, so passes over the direct
    /// children alone end any tree, also one that forks anew every half millisecond; and a direct child
    /// keeps its number until we reap it. Only below one that cannot die must the rest be searched for.
    fn kill(&mut self, pump: &mut Pump) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        for _ in 0..KILL_PASSES {
            for pid in tree::children().into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
            self.reap(pump);
            if !self.has_children {
                return;
            }
            rustix::thread::sched_yield();
        }
        for process in tree::below(std::process::id().cast_signed(), &[]) {
            tree::signal(&process, Signal::KILL);
        }
    }

    fn report_failure(&self) {
        let pids: Vec<i32> =
            tree::below(std::process::id().cast_signed(), &[]).iter().map(|p| p.pid).collect();
        let report = serde_json::json!({"at_ms": self.clock.wall_ms(), "pids": pids});
        let _ = files::replace(&self.dir.join(name::KILL_FAILED), report.to_string().as_bytes(), FILE_MODE);
    }

    /// Absolute, on the clock that counts suspend: a machine that slept over a deadline wakes up to it.
    fn set_timer(&self) {
        let limit = self.limit().map(|(at, _)| at);
        let live =
            self.feed.as_ref().filter(|feed| feed.is_live()).map(|_| self.clock.boot() + LIVE_STDIN_PAUSE);
        let at = [limit, self.ending.next_at(), live].into_iter().flatten().min();
        // Zero would switch it off. A time beyond the clock's range never comes, which is what off means.
        let value = at.map_or(Timespec { tv_sec: 0, tv_nsec: 0 }, |at| Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(at.subsec_nanos().max(1)),
        });
        let off = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: off, it_value: value };
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting);
    }

    fn wait(&self, pump: &Pump) {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.orders.fifo(), PollFlags::IN),
            PollFd::new(&self.timer, PollFlags::IN),
        ];
        fds.extend(pump.readers().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let room = self.feed.as_ref().and_then(Feed::wants_room);
        fds.extend(room.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)));
        // Whatever woke us, everything is looked at; an interrupted wait is no different.
        let _ = poll(&mut fds, None);
    }

    /// Returns true, so that the caller asks for the next one.
    fn signalled(&mut self, signal: i32) -> bool {
        if signal != libc::SIGCHLD {
            self.end_because(Cause::Stop(SIGNALLED.to_owned()), None);
        }
        true
    }

    /// Carries out the orders that have come.
    fn obey(&mut self) {
        for order in self.orders.take() {
            match order {
                Order::Stop { reason, grace } => self.end_because(Cause::Stop(reason), grace),
                Order::CloseStdin => {
                    if let Some(feed) = &mut self.feed {
                        feed.close_soon();
                    }
                }
                // It is looked at after each wake-up.
                Order::Stdin => {}
            }
        }
    }
}

/// As a shell would say it: the code, or 128 + n for a signal.
fn shell_code(status: WaitStatus) -> i32 {
    const SIGNAL_BASE: i32 = 128;
    match status.terminating_signal() {
        Some(signal) => SIGNAL_BASE + signal,
        None => status.exit_status().unwrap_or(0),
    }
}
