//! The few calls of the operating system that have no safe form: fork, exec, signal masks, closing descriptors.
//!
//! Everything `unsafe` of the crate is in this file and the two below it. Forking is sound here because the nursery
//! and its keepers have one thread.
#![allow(unsafe_code)]

mod clone;
mod memory;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use libc::c_int;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use clone::spawn;
pub use memory::{PageByPage, spare_heap, trim_heap, unmap_until_used};

/// Which side of a fork we are on.
pub enum Fork {
    Child,
    Parent(i32),
}

/// Forks a process that has one thread.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the callers are single-threaded, so the child may use the heap like its parent did.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process without running destructors or exit handlers, which belong to the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any code and does not return.
    unsafe { libc::_exit(code) }
}

/// Blocks every signal that can be, and returns a non-blocking descriptor that yields `wanted`.
pub fn signal_fd(wanted: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the sets are initialised by sigemptyset/sigfillset before use; the descriptor is ours alone.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()))?;
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        for &signal in wanted {
            check(libc::sigaddset(&raw mut set, signal))?;
        }
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal that waits in a [`signal_fd`].
pub fn next_signal(fd: BorrowedFd<'_>) -> Option<c_int> {
    // SAFETY: an all-zero signalfd_siginfo is valid, and read writes at most its size.
    unsafe {
        let mut info = std::mem::zeroed::<libc::signalfd_siginfo>();
        let size = size_of::<libc::signalfd_siginfo>();
        let read = libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size);
        (usize::try_from(read) == Ok(size)).then(|| c_int::try_from(info.ssi_signo).ok()).flatten()
    }
}

/// Gives every signal its default action: what a program expects when it is started.
pub fn default_signals() {
    // SAFETY: SIG_DFL is valid for every signal; numbers that refuse it (KILL, STOP, the C library's own)
    // only return an error.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Lets every signal through.
pub fn unblock_signals() {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Closes all descriptors above standard error. Only for a process that holds none it still needs.
pub fn close_from(first: RawFd) {
    close_range(first, 0);
}

/// Lets every descriptor above standard error end with the next exec.
pub fn close_all_on_exec() {
    close_range(libc::STDERR_FILENO + 1, libc::CLOSE_RANGE_CLOEXEC);
}

fn close_range(first: RawFd, flags: libc::c_uint) {
    let first = libc::c_uint::try_from(first).unwrap_or(3);
    // SAFETY: closing descriptors by number is what the callers ask for; they own none in the range that
    // they go on to use.
    if unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) } == 0 {
        return;
    }
    // A kernel before 5.9, or a filter that does not know the call.
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<c_int> = open.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| libc::c_uint::try_from(*fd).is_ok_and(|fd| fd >= first)) {
        // SAFETY: as above; a number that is not open any more only returns an error.
        unsafe {
            if flags == 0 {
                libc::close(fd);
            } else {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

/// Makes `target` the same open file as `fd`, kept over exec.
pub fn dup_onto(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes any two numbers; what `target` was before is given up by the caller.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }).map(|_| ())
}

/// A close-on-exec copy of standard input at another number.
pub fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: the copy is a fresh descriptor that only the returned value owns.
    unsafe { Ok(OwnedFd::from_raw_fd(check(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3))?)) }
}

/// Argument and environment strings in the form that exec wants.
pub struct Strings {
    _owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    pub fn new(owned: Vec<CString>) -> Self {
        let pointers = owned.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _owned: owned, pointers }
    }
}

/// Becomes another program; returns only why it could not.
pub fn exec(path: &CString, argv: &Strings, env: &Strings) -> io::Error {
    // SAFETY: both arrays end with a null pointer, and their strings live as long as they do.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// A descriptor that tokio watches. Needs a runtime.
pub fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor keeps its number until the AsyncFd, which owns it from here, drops it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Whether a wait status says that a core was dumped.
pub fn dumped_core(status: c_int) -> bool {
    libc::WIFSIGNALED(status) && libc::WCOREDUMP(status)
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
