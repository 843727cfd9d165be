//! The hidden, single-threaded process from which keepers are forked: cheap to fork, and the foster parent of
//! what a killed keeper leaves behind. Keepers that are through with a run are asked before another is forked.
//!
//! It holds nothing that would be missed: when it is killed the daemon starts another, and the keepers go on.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};

use super::idle::{Door, IdleKeepers};
use super::keeper::{self, Birth};
use super::request::{self, Request};
use super::sys::{self, Fork};
use super::{cgroup, kill, tree};
use crate::platform::failpoint;

/// Pause between two rounds against orphans that do not end at once.
const ORPHAN_PAUSE: Duration = Duration::from_millis(20);
/// How long one keeper's leftovers may hold up other requests.
const CLEAR_BUDGET: Duration = Duration::from_millis(500);
const EXIT_BAD_START: u8 = 2;

/// Runs the nursery until the daemon is gone and the last keeper has ended. In a forked keeper it never returns.
#[must_use]
pub fn nursery_main() -> ExitCode {
    match serve() {
        // What a program does when it ends is the nursery's to do, and costs each keeper a dozen page faults.
        Ok(Some(birth)) => sys::exit_now(keeper::keeper_main(birth)),
        Ok(None) => ExitCode::SUCCESS,
        Err(e) => {
            let _ = writeln!(io::stderr(), "lucid nursery: {e} (it is started by `lucid serve` only)");
            ExitCode::from(EXIT_BAD_START)
        }
    }
}

struct Nursery {
    /// Gone when the daemon is.
    socket: Option<OwnedFd>,
    signals: OwnedFd,
    /// Where runs get their cgroups; looked up once for all.
    cgroups: Option<PathBuf>,
    /// With the directory of the run that each keeps; `None` while it keeps none.
    keepers: HashMap<i32, Option<Box<Path>>>,
    idle: IdleKeepers,
    door: Door,
    /// A keeper was killed; what it left is ours until nothing but keepers is.
    orphans: bool,
}

/// `Some` in a keeper, just born.
fn serve() -> io::Result<Option<Birth>> {
    let mut nursery = Nursery::settle()?;
    while nursery.socket.is_some() || !nursery.keepers.is_empty() || nursery.orphans {
        nursery.wait()?;
        // Before the dead are looked at: what one of them kept last is known then.
        nursery.take_in();
        nursery.reap();
        if nursery.orphans {
            nursery.end_orphans();
        }
        if let Some(request) = nursery.answer() {
            return Ok(Some(nursery.leave(request)));
        }
    }
    Ok(None)
}

impl Nursery {
    /// Cuts every tie to the daemon but the socket: session, descriptors, signals, memory that others may read.
    fn settle() -> io::Result<Self> {
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        sys::close_from(libc::STDERR_FILENO + 1);
        let socket = sys::take_stdin()?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::net::sockopt::socket_type(&socket)?;
        sys::dup_onto(std::fs::File::open("/dev/null")?.as_fd(), libc::STDIN_FILENO)?;
        // Fails only for the leader of a group, which then is what we want to be already.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let _ = rustix::thread::set_name(c"lucid-nursery");
        let signals = sys::signal_fd(&[libc::SIGCHLD])?;
        // Here once for all keepers and their commands. They are blocked, so it changes nothing for ourselves.
        sys::default_signals();
        let (idle, door) = IdleKeepers::open()?;
        Ok(Self {
            socket: Some(socket),
            signals,
            cgroups: cgroup::home(),
            keepers: HashMap::new(),
            idle,
            door,
            orphans: false,
        })
    }

    /// In a keeper: lets go of what is the nursery's. Freeing the list of its siblings would copy every page that
    /// they are on, for each keeper anew.
    fn leave(self, request: Request) -> Birth {
        drop((self.socket, self.signals, self.idle));
        std::mem::forget(self.keepers);
        Birth { request, cgroups: self.cgroups, door: self.door }
    }

    fn wait(&mut self) -> io::Result<()> {
        let idle_left = self.idle.let_go();
        let pause = idle_left.into_iter().chain(self.orphans.then_some(ORPHAN_PAUSE)).min();
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        let arrivals = self.idle.arrivals();
        let mut fds = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(arrivals, PollFlags::IN),
        ];
        if let Some(socket) = &self.socket {
            fds.push(PollFd::new(socket, PollFlags::IN));
        }
        match poll(&mut fds, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn take_in(&mut self) {
        while let Some(pid) = self.idle.take_in() {
            if let Some(kept) = self.keepers.get_mut(&pid) {
                *kept = None;
            }
        }
        if self.socket.is_none() {
            self.idle.close();
        }
    }

    fn reap(&mut self) {
        while sys::next_signal(self.signals.as_fd()).is_some() {}
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let Some(dir) = self.keepers.remove(&pid) else { continue };
            if status.exit_status() != Some(0) {
                self.orphans = true;
                // What fled from the tree is found by cgroup and cookie; the tree itself is below us now.
                let _ = dir.map(|dir| kill::clear_after(&dir, pid, CLEAR_BUDGET));
            }
        }
    }

    /// Every child that is no keeper was left by one. Its own children come to us when it dies, so killing
    /// only direct children, which cannot be mistaken for strangers before we reap them, ends whole trees.
    fn end_orphans(&mut self) {
        self.orphans = false;
        for pid in tree::children().into_iter().filter(|pid| !self.keepers.contains_key(pid)) {
            self.orphans = true;
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Takes all requests that wait. Returns early in a child.
    fn answer(&mut self) -> Option<Request> {
        while let Some(socket) = &self.socket {
            let request = match request::receive(socket.as_fd()) {
                Ok(Some(request)) => request,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == io::ErrorKind::InvalidData => continue,
                Ok(None) | Err(_) => {
                    self.socket = None;
                    self.idle.close();
                    // The daemon's terminal or log pipe must not stay open for our sake.
                    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
                        let _ = sys::dup_onto(null.as_fd(), libc::STDERR_FILENO);
                    }
                    return None;
                }
            };
            self.take_in();
            let kept = request.dir.as_path().into();
            if let Some(pid) = self.idle.give(&request) {
                self.keepers.insert(pid, Some(kept));
                continue;
            }
            if let Err(fault) = failpoint::hit("nursery.fork") {
                request.refuse(&fault.to_string());
                continue;
            }
            match sys::fork() {
                Ok(Fork::Child) => return Some(request),
                Ok(Fork::Parent(pid)) => {
                    self.keepers.insert(pid, Some(kept));
                }
                Err(e) => request.refuse(&format!("cannot fork: {e}")),
            }
        }
        None
    }
}
