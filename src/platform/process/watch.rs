//! The daemon's view of a keeper: is it alive, has it ended, what did it leave.
//!
//! Looks only; it neither signals nor writes. A keeper is known by the lock it holds and by pid with start
//! time, never by a pid alone.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::spec::{Exit, Started, name};
use super::{sys, tree};
use crate::platform::files::Lock;

/// How often the lock is looked at where a process cannot be watched.
const LOCK_POLL: Duration = Duration::from_millis(250);
/// How often while its process lives.
const LOCK_LOOK: Duration = Duration::from_secs(10);
/// How often, once the end has been told.
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A keeper that lived when the value was made.
#[derive(Debug)]
pub struct Keeper {
    pub pid: i32,
    /// Start time in clock ticks since boot; with the pid it is the keeper's identity.
    pub start_ticks: u64,
    dir: PathBuf,
    sign: Sign,
}

/// What tells that a run is kept no longer.
#[derive(Debug)]
enum Sign {
    /// The end of this pipe.
    Pipe(pipe::Receiver),
    /// The end of the process, or the lock: it may have gone on to another run.
    Process(AsyncFd<OwnedFd>),
    /// The lock alone.
    Lock,
}

impl Keeper {
    /// Begins to watch one of which only that is known. Needs a tokio runtime.
    #[must_use]
    pub fn watch(dir: &Path, pid: i32, start_ticks: u64) -> Self {
        let sign = open_pidfd(pid, start_ticks).map_or(Sign::Lock, Sign::Process);
        Self { pid, start_ticks, dir: dir.to_owned(), sign }
    }

    /// Goes on watching one that said on `ready` that it is there.
    pub(super) fn told(dir: &Path, pid: i32, start_ticks: u64, ready: pipe::Receiver) -> Self {
        Self { pid, start_ticks, dir: dir.to_owned(), sign: Sign::Pipe(ready) }
    }

    /// The run's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// When it was let go, by the clock since boot that reads `now`; `now` while it has not written that down. Before
    /// its gate it may have waited for as long as the database took nothing.
    #[must_use]
    pub fn begun(&self, now: Duration) -> Duration {
        match Started::read(&self.dir) {
            Ok(Some(started)) => started.begun_ms.map_or_else(|| self.born(), Duration::from_millis).min(now),
            Ok(None) | Err(_) => now,
        }
    }

    fn born(&self) -> Duration {
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Duration::from_millis(self.start_ticks.saturating_mul(1000) / ticks_per_second)
    }

    /// Whether `pid` is still the process that started at `start_ticks`.
    #[must_use]
    pub fn is_same(pid: i32, start_ticks: u64) -> bool {
        tree::is_same(pid, start_ticks)
    }

    /// Returns when the run is kept no longer: its tree is empty and `exit.json` is there, or its keeper was killed.
    /// Safe to cancel and to call again.
    pub async fn ended(&self) {
        let is_told = self.told_of_end().await;
        // The lock has the last word. A child that was just being born when its keeper was killed still holds
        // it for an instant; and one that cannot be looked at may be held: going on to wait is the safe side.
        while is_kept(&self.dir) {
            tokio::time::sleep(if is_told { LOCK_PAUSE } else { LOCK_POLL }).await;
        }
    }

    /// Whether there is anybody to tell of the end; if so, returns when that is done.
    async fn told_of_end(&self) -> bool {
        match &self.sign {
            Sign::Pipe(ready) => closed(ready).await,
            Sign::Process(pidfd) => {
                while let Err(_elapsed) = timeout(LOCK_LOOK, pidfd.ready(Interest::READABLE)).await {
                    if has_let_go(&self.dir) {
                        break;
                    }
                }
            }
            Sign::Lock => return false,
        }
        true
    }
}

/// Returns when nobody can write any more.
async fn closed(pipe: &pipe::Receiver) {
    let mut rest = [0; 64];
    while pipe.readable().await.is_ok() {
        match pipe.try_read(&mut rest) {
            Ok(1..) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// What a run's directory says about its run.
#[derive(Debug)]
pub enum Found {
    /// Finished; this is how.
    Exited(Exit),
    /// Its keeper lives and is to be adopted.
    Alive(Keeper),
    /// The gate never opened: no user code has run, none ever will.
    NotStarted,
    /// It had started, and its keeper left no result: clear what carries its cookie, the run is lost.
    Vanished,
    /// Its keeper has ended, and what it left as its result is none: clear what carries its cookie, the run is lost.
    Unreadable,
    /// What every keeper makes before it can be let go is not there any more: its command may have run, and may run
    /// yet. End its keeper by its number; the run is lost.
    Gone,
    /// Recorded under another boot: nothing of it can be alive.
    OtherBoot,
}

/// Looks at the run in `dir`, which was recorded under `recorded_boot_id`. Needs a tokio runtime.
///
/// # Errors
/// A file of the directory cannot be read; then nothing is known about the run.
pub fn examine(dir: &Path, recorded_boot_id: &str) -> io::Result<Found> {
    if let Left::Exit(exit) = Left::read(dir)? {
        return Ok(Found::Exited(exit));
    }
    if recorded_boot_id != boot_id()? {
        return Ok(Found::OtherBoot);
    }
    let lock = dir.join(name::LOCK);
    if Lock::is_held(&lock)? {
        let (pid, start_ticks) = parse_holder(&Lock::holder(&lock)?).unwrap_or((0, 0));
        return Ok(Found::Alive(Keeper::watch(dir, pid, start_ticks)));
    }
    // It may have ended between the first look and the lock.
    Ok(match Left::read(dir)? {
        Left::Exit(exit) => Found::Exited(exit),
        Left::Garbage => Found::Unreadable,
        Left::Nothing if Started::read(dir)?.is_some() => Found::Vanished,
        Left::Nothing if lock.try_exists()? => Found::NotStarted,
        Left::Nothing => Found::Gone,
    })
}

/// What is there of a result.
enum Left {
    Exit(Exit),
    /// It will not get any better by being read again.
    Garbage,
    Nothing,
}

impl Left {
    fn read(dir: &Path) -> io::Result<Self> {
        match Exit::read(dir) {
            Ok(Some(exit)) => Ok(Self::Exit(exit)),
            Ok(None) => Ok(Self::Nothing),
            Err(e) => match e.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::PermissionDenied => Ok(Self::Garbage),
                _ => Err(e),
            },
        }
    }
}

/// Whether a keeper holds the run in `dir`, or may hold it.
#[must_use]
pub fn is_kept(dir: &Path) -> bool {
    Lock::is_held(&dir.join(name::LOCK)).unwrap_or(true)
}

/// Whether nobody holds the lock that is there. One that is out of sight with its directory says nothing.
pub(super) fn has_let_go(dir: &Path) -> bool {
    dir.join(name::LOCK).exists() && !is_kept(dir)
}

/// Whether the keeper has said that something of the run in `dir` outlives SIGKILL.
#[must_use]
pub fn kill_failed(dir: &Path) -> bool {
    dir.join(name::KILL_FAILED).exists()
}

/// The kernel's name of this boot.
///
/// # Errors
/// /proc is not there.
pub fn boot_id() -> io::Result<&'static str> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    match KNOWN.get() {
        Some(id) => Ok(id),
        None => {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
            Ok(KNOWN.get_or_init(|| id))
        }
    }
}

/// This process in words that no other will ever match: its number, its start and its boot.
#[must_use]
pub fn this_process() -> String {
    let pid = std::process::id();
    let start_ticks = i32::try_from(pid).ok().and_then(tree::look).map_or(0, |process| process.start_ticks);
    format!("pid {pid} start {start_ticks} boot {}", boot_id().unwrap_or_default())
}

/// The first line of `keeper.lock`.
pub(super) fn holder_text(pid: i32, start_ticks: u64) -> String {
    format!("{pid} {start_ticks}\n")
}

/// The keeper that `file`, the lock or its second name, tells of.
pub(super) fn holder_of(file: &Path) -> Option<(i32, u64)> {
    parse_holder(&Lock::holder(file).ok()?)
}

pub(super) fn parse_holder(text: &str) -> Option<(i32, u64)> {
    let (pid, start_ticks) = text.lines().next()?.split_once(' ')?;
    Some((pid.parse().ok()?, start_ticks.parse().ok()?))
}

/// The start time is compared after opening: from then on the descriptor cannot mean another process.
fn open_pidfd(pid: i32, start_ticks: u64) -> Option<AsyncFd<OwnedFd>> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    if !tree::is_same(pid, start_ticks) {
        return None;
    }
    sys::watched(pidfd, Interest::READABLE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_lock_alone_never_started() {
        let dir = tempfile::tempdir().unwrap();
        let boot = boot_id().unwrap();
        std::fs::write(dir.path().join(name::LOCK), "1 100\n").unwrap();
        assert!(matches!(examine(dir.path(), boot).unwrap(), Found::NotStarted));
        assert!(matches!(examine(dir.path(), "another").unwrap(), Found::OtherBoot));
    }

    #[test]
    fn without_a_lock_nobody_knows_whether_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let boot = boot_id().unwrap();
        assert!(matches!(examine(dir.path(), boot).unwrap(), Found::Gone));
        assert!(matches!(examine(&dir.path().join("gone"), boot).unwrap(), Found::Gone));
        assert!(matches!(examine(dir.path(), "another").unwrap(), Found::OtherBoot));
    }

    #[test]
    fn a_result_that_is_none_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let boot = boot_id().unwrap();
        for text in ["", "{", "null", "\u{0}\u{0}"] {
            std::fs::write(dir.path().join(name::EXIT), text).unwrap();
            assert!(matches!(examine(dir.path(), boot).unwrap(), Found::Unreadable), "{text:?}");
        }
    }

    #[test]
    fn started_without_a_keeper_has_vanished() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name::STARTED), "").unwrap();
        assert!(matches!(examine(dir.path(), boot_id().unwrap()).unwrap(), Found::Vanished));
    }

    #[tokio::test]
    async fn a_keeper_counts_from_when_it_was_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::watch(dir.path(), 1, 100);
        let now = Duration::from_secs(1000);
        assert_eq!(keeper.begun(now), now);
        let write = |text: &str| std::fs::write(dir.path().join(name::STARTED), text).unwrap();
        write("1 100\n{\"started_ms\":5,\"begun_ms\":900000,\"cgroup\":null}");
        assert_eq!(keeper.begun(now), Duration::from_secs(900));
        // Written by an earlier lucid.
        write("1 100\n{\"started_ms\":5,\"cgroup\":null}");
        assert!(keeper.begun(now) < Duration::from_secs(10));
    }

    #[test]
    fn holders_read_back() {
        assert_eq!(parse_holder(&holder_text(12, 34)), Some((12, 34)));
        assert_eq!(parse_holder("12 34\n{\"started_ms\":5}"), Some((12, 34)));
        assert_eq!(parse_holder(""), None);
    }
}
