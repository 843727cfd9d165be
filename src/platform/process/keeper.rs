//! A keeper: the process that holds a run, one at a time. Takes the run's lock, opens its files, waits at the gate,
//! lets `supervise` run the command, and leaves `exit.json`.
//!
//! Forked from the nursery, never exec'ed; one thread, no runtime. Nothing of the daemon is needed after "go".

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::cgroup::Cgroup;
use super::control::Orders;
use super::ending::Verdict;
use super::gate::GO;
use super::idle::Door;
use super::lines::Lines;
use super::log::Log;
use super::pump::Pump;
use super::request::Request;
use super::spec::{Cgroups, Exit, FILE_MODE, PRIVATE_MAX_BYTES, Private, Spec, Started, Stdout, name};
use super::supervise::Supervisor;
use super::{sys, tree, watch};
use crate::platform::clock::Clock;
use crate::platform::failpoint;
use crate::platform::files::{self, Lock};

/// Somebody who only looks holds the lock for an instant; a real holder keeps it.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Set aside for `exit.json`, in bytes; an exit is smaller.
const RESERVE_BYTES: u64 = 4096;
/// Pause between two tries to write `exit.json`.
const EXIT_PAUSE: Duration = Duration::from_millis(200);
/// Longest error text in an exit, in bytes.
const ERROR_MAX_BYTES: usize = 1024;
/// Runs that one keeper keeps at most: what a run leaves in its memory does not gather for ever.
const RUNS_MAX: u32 = 256;
const EXIT_DONE: i32 = 0;
const EXIT_UNRECORDED: i32 = 1;

/// What a keeper is born with.
pub struct Birth {
    pub request: Request,
    /// Where runs get their cgroups, if they are to have some.
    pub cgroups: Option<PathBuf>,
    pub door: Door,
}

/// The whole life of a keeper, to its exit code: one run, and another as long as each ends well and the next is there.
pub fn keeper_main(birth: Birth) -> i32 {
    failpoint::pass("keeper.born");
    let Birth { mut request, cgroups, door } = birth;
    let own = match Own::settle() {
        Ok(own) => own,
        Err(e) => {
            request.refuse(&e.to_string());
            return EXIT_DONE;
        }
    };
    let mut kept = 0;
    loop {
        match own.keep(request, cgroups.as_deref()) {
            Kept::Well => {}
            Kept::Not => return EXIT_DONE,
            Kept::Unrecorded => return EXIT_UNRECORDED,
        }
        kept += 1;
        let next = if kept < RUNS_MAX { door.wait(own.pid, own.signals.as_fd()) } else { None };
        let Some(next) = next else { return EXIT_DONE };
        request = next;
    }
}

/// What became of a run.
enum Kept {
    /// It ended by itself and left nothing behind.
    Well,
    /// It never began, or had to be ended: nobody should rely on this keeper any further.
    Not,
    Unrecorded,
}

/// What a keeper has for life.
struct Own {
    pid: i32,
    holder: String,
    signals: OwnedFd,
}

impl Own {
    fn settle() -> io::Result<Self> {
        let signals = sys::signal_fd(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT])?;
        rustix::process::setsid()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let _ = rustix::thread::set_name(c"lucid-keeper");
        // A terminal or log pipe of the daemon must not stay open for our sake.
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        sys::dup_onto(null.as_fd(), libc::STDERR_FILENO)?;
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let start_ticks =
            tree::look(pid).map(|p| p.start_ticks).ok_or_else(|| io::Error::other("/proc is not there"))?;
        Ok(Self { pid, holder: watch::holder_text(pid, start_ticks), signals })
    }

    /// One run. Its lock is free before `ready` ends, which is what the daemon waits for.
    fn keep(&self, request: Request, cgroups: Option<&Path>) -> Kept {
        let nest = match Nest::settle(&request.dir, &self.holder) {
            Ok(nest) => nest,
            Err(e) => {
                request.refuse(&e.to_string());
                return Kept::Not;
            }
        };
        let Request { dir, gate, ready } = request;
        let ready = File::from(ready);
        if (&ready).write_all(format!("ready {}", self.holder).as_bytes()).is_err() {
            return Kept::Not;
        }
        let kept = match wait_for_go(File::from(gate)) {
            Ok(Some(private)) => nest.run(self, &dir, cgroups, &private).unwrap_or(Kept::Unrecorded),
            // Without "go" nothing has happened, and the directory may be used again.
            Ok(None) | Err(_) => {
                drop(nest);
                Kept::Not
            }
        };
        drop(ready);
        kept
    }
}

/// Everything that is taken before the gate, so that a run that cannot be kept is refused and not lost.
struct Nest {
    spec: Spec,
    /// Held until the run is over: it says that its keeper lives.
    lock: Lock,
    orders: Orders,
    log: Log,
    events: Option<Lines>,
}

impl Nest {
    fn settle(dir: &Path, holder: &str) -> io::Result<Self> {
        // Before the lock is taken too: that writes over what another keeper has left.
        is_unused(dir)?;
        let lock = take_lock(&dir.join(name::LOCK), holder)?;
        failpoint::hit("keeper.locked")?;
        is_unused(dir)?;
        let spec = Spec::read(dir)?;
        let orders = Orders::open(dir)?;
        let log = Log::new(&dir.join(name::OUTPUT), &dir.join(name::OUTPUT_TAIL), spec.log_max);
        let events = match spec.stdout {
            Stdout::Log => None,
            Stdout::Lines { max_bytes } => Some(Lines::create(&dir.join(name::EVENTS), max_bytes)?),
        };
        // Only a help: a disk without a spare block still runs what frees it.
        let _ = reserve(&dir.join(name::EXIT_RESERVE));
        Ok(Self { spec, lock, orders, log, events })
    }

    /// From "go" to `exit.json`.
    fn run(mut self, own: &Own, dir: &Path, cgroups: Option<&Path>, private: &Private) -> io::Result<Kept> {
        failpoint::hit("keeper.go")?;
        let clock = Clock::system();
        let (started_ms, begun) = (clock.wall_ms(), clock.boot());
        let mark = format!("lucid-run-{}-{}", plain(&self.spec.cookie.1), std::process::id());
        let home = match self.spec.cgroups {
            Cgroups::Auto => cgroups,
            Cgroups::Off => None,
        };
        // Written down before it is made: whoever clears up after us must know of it.
        let place = home.map(|home| home.join(mark));
        let begun_ms = u64::try_from(begun.as_millis()).ok();
        write_started(dir, &mut self.lock, &Started { started_ms, begun_ms, cgroup: place.clone() })?;
        failpoint::hit("keeper.started")?;
        let mut pump = Pump::new(self.log, self.events, &private.masks)?;
        let cgroup = place.and_then(Cgroup::create);

        let supervisor =
            Supervisor::new(dir, &self.spec, &private.env, clock, own.signals.as_fd(), self.orders, cgroup)?;
        let verdict = supervisor.run(&mut pump);
        let totals = pump.finish();
        let is_well = verdict.is_well();
        let Verdict { end, cause, killed, escalated, core, leftovers } = verdict;
        let exit = Exit {
            end: end.with_error_cut_at(ERROR_MAX_BYTES),
            cause,
            started_ms,
            ended_ms: clock.wall_ms(),
            duration_ms: u64::try_from((clock.boot().saturating_sub(begun)).as_millis()).unwrap_or(u64::MAX),
            log_bytes: totals.bytes,
            log_cut_bytes: totals.cut,
            log_lost_bytes: totals.lost,
            killed,
            escalated,
            core,
            leftovers,
        };
        failpoint::pass("keeper.exit.before");
        write_exit(dir, &exit)?;
        failpoint::pass("keeper.exit.after");
        pump.forget_ring();
        let _ = std::fs::remove_file(dir.join(name::KILL_FAILED));
        Ok(if is_well { Kept::Well } else { Kept::Not })
    }
}

fn is_unused(dir: &Path) -> io::Result<()> {
    match [name::STARTED, name::EXIT].into_iter().find(|used| dir.join(used).exists()) {
        Some(used) => Err(io::Error::other(format!("the run's directory has been used: {used} is there"))),
        None => Ok(()),
    }
}

fn take_lock(path: &Path, holder: &str) -> io::Result<Lock> {
    for _ in 0..LOCK_TRIES {
        if let Some(lock) = Lock::try_take(path, holder)? {
            return Ok(lock);
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::other(format!("another keeper holds the run: {}", Lock::holder(path)?.trim_end())))
}

fn reserve(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE_BYTES)?)
}

/// `None` when the gate closes before "go" has come as a whole.
fn wait_for_go(mut gate: File) -> io::Result<Option<Private>> {
    let mut head = [0; GO.len() + 4];
    match gate.read_exact(&mut head) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let length = head[GO.len()..].try_into().map_or(0, u32::from_le_bytes);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !head.starts_with(GO) || length > PRIVATE_MAX_BYTES {
        return Ok(None);
    }
    let mut body = vec![0; length];
    match gate.read_exact(&mut body) {
        Ok(()) => Ok(serde_json::from_slice(&body).ok()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// Not synced: after a power loss the boot id says that nothing of the run lives. It must be there before
/// the command is, or a run that began would be taken for one that did not.
///
/// A second name of the lock's file: a name costs microseconds, a file of its own a hundred times that, and
/// no full disk refuses it.
fn write_started(dir: &Path, lock: &mut Lock, started: &Started) -> io::Result<()> {
    lock.append(&serde_json::to_vec(started)?)?;
    std::fs::hard_link(dir.join(name::LOCK), dir.join(name::STARTED))
}

/// Tries until it is done: an exit code is worth more than a keeper's time. Gives up when the directory is gone.
fn write_exit(dir: &Path, exit: &Exit) -> io::Result<()> {
    let bytes = serde_json::to_vec(exit)?;
    loop {
        match write_exit_once(dir, &bytes) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !dir.exists() => return Err(e),
            Err(_) => thread::sleep(EXIT_PAUSE),
        }
    }
}

/// Into the blocks that were set aside; the rename needs no new ones.
fn write_exit_once(dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let (reserve, path) = (dir.join(name::EXIT_RESERVE), dir.join(name::EXIT));
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&reserve)?;
    file.write_all_at(bytes, 0)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()?;
    failpoint::hit("keeper.exit.rename")?;
    std::fs::rename(&reserve, &path)?;
    files::sync_parent(&path)
}

/// A cookie's value as part of a file name.
fn plain(text: &str) -> String {
    const NAME_MAX_BYTES: usize = 64;
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(NAME_MAX_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::super::spec::{Cause, End};
    use super::*;

    fn go_of(bytes: &[u8]) -> Option<Private> {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        wait_for_go(File::from(OwnedFd::from(reader))).unwrap()
    }

    #[test]
    fn half_a_go_is_no_go() {
        let private = Private { env: vec![("A".into(), "b".into())], masks: vec!["mask-me-please".into()] };
        let body = serde_json::to_vec(&private).unwrap();
        let mut whole = GO.to_vec();
        whole.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        whole.extend_from_slice(&body);
        for cut in 0..whole.len() {
            assert_eq!(go_of(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(go_of(&whole), Some(private));
        whole[0] = b'X';
        assert_eq!(go_of(&whole), None);
    }

    #[test]
    fn an_exit_goes_into_its_reserve_and_fits() {
        let dir = tempfile::tempdir().unwrap();
        reserve(&dir.path().join(name::EXIT_RESERVE)).unwrap();
        let long = "\u{1}".repeat(100_000);
        let exit = Exit {
            end: End::Spawn { code: 126, error: long }.with_error_cut_at(ERROR_MAX_BYTES / 2),
            cause: Cause::Stop("x".repeat(1024)),
            started_ms: i64::MIN,
            ended_ms: i64::MIN,
            duration_ms: u64::MAX,
            log_bytes: u64::MAX,
            log_cut_bytes: u64::MAX,
            log_lost_bytes: u64::MAX,
            killed: u32::MAX,
            escalated: true,
            core: true,
            leftovers: u32::MAX,
        };
        write_exit(dir.path(), &exit).unwrap();
        assert_eq!(Exit::read(dir.path()).unwrap(), Some(exit));
        assert!(!dir.path().join(name::EXIT_RESERVE).exists());
    }
}
