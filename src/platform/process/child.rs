//! Starts the command as the keeper's child: session, cgroup, signals, descriptors, environment, exec.
//!
//! What can be prepared is prepared before the fork, so that the child only makes system calls; why it could
//! not start comes back through a pipe that a successful exec closes.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, WaitOptions};

use super::cgroup::Cgroup;
use super::sys::{self, Strings};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Not found, as shells say it.
pub const CODE_NOT_FOUND: i32 = 127;
/// Found, but it cannot be started.
pub const CODE_NOT_STARTED: i32 = 126;

/// Everything a start needs.
pub struct Start<'a> {
    pub argv: &'a [String],
    pub env: &'a [(String, String)],
    pub cwd: &'a Path,
    pub cgroup: Option<&'a Cgroup>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// Why nothing was started.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// [`CODE_NOT_FOUND`] or [`CODE_NOT_STARTED`].
    pub code: i32,
    pub error: String,
}

/// Starts it and returns its pid.
pub fn start(what: &Start<'_>) -> Result<i32, Failure> {
    let prepared = Prepared::new(what)?;
    let system = |doing: &str, e: &io::Error| not_started(format!("cannot {doing}: {e}"));
    let (reader, writer) = io::pipe().map_err(|e| system("make a pipe", &e))?;
    let keeper = rustix::process::getpid();
    let child = || {
        let (step, error) = prepared.become_command(what, keeper);
        let mut report = [0; 5];
        report[0] = step as u8;
        report[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
        let _ = (&writer).write_all(&report);
        CODE_NOT_STARTED
    };
    let cgroup = prepared.cgroup.as_ref().map(File::as_fd);
    let pid = sys::spawn(cgroup, &child).map_err(|e| system("fork", &e))?;
    drop(writer);
    match read_report(reader) {
        None => Ok(pid),
        Some((step, error)) => {
            let _ = rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
            Err(explain(what, step, &error))
        }
    }
}

/// Where a child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    Setup = b's',
    Cwd = b'c',
    Exec = b'e',
}

struct Prepared {
    candidates: Vec<CString>,
    argv: Strings,
    env: Strings,
    cwd: CString,
    cgroup: Option<File>,
}

impl Prepared {
    fn new(what: &Start<'_>) -> Result<Self, Failure> {
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| not_started("an argument or variable holds a NUL byte".to_owned()))
        };
        let program = what.argv.first().filter(|p| !p.is_empty());
        let program = program.ok_or_else(|| not_started("the command is empty".to_owned()))?;
        let path = what.env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, v)| v);
        let candidates: Result<Vec<CString>, Failure> = if program.contains('/') {
            c_string(program).map(|p| vec![p])
        } else {
            // An empty entry would mean the working directory; no task wants that.
            path.split(':')
                .filter(|d| !d.is_empty())
                .map(|dir| c_string(&format!("{dir}/{program}")))
                .collect()
        };
        let argv: Result<Vec<CString>, Failure> = what.argv.iter().map(|a| c_string(a)).collect();
        let env: Result<Vec<CString>, Failure> =
            what.env.iter().map(|(name, value)| c_string(&format!("{name}={value}"))).collect();
        Ok(Self {
            candidates: candidates?,
            argv: Strings::new(argv?),
            env: Strings::new(env?),
            cwd: CString::new(what.cwd.as_os_str().as_bytes())
                .map_err(|_| not_started("the working directory holds a NUL byte".to_owned()))?,
            cgroup: what.cgroup.and_then(|cgroup| File::open(cgroup.path()).ok()),
        })
    }

    /// In the child, which may have our memory: only system calls. Returns only when it failed.
    fn become_command(&self, what: &Start<'_>, keeper: Pid) -> (Step, io::Error) {
        let setup = |e: io::Error| (Step::Setup, e);
        // First of all: from here on the kernel ends us with our keeper, and it may have died just before.
        if let Err(e) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
            return setup(e.into());
        }
        if rustix::process::getppid() != Some(keeper) {
            return setup(io::Error::from_raw_os_error(libc::ESRCH));
        }
        let _ = rustix::process::setsid();
        sys::unblock_signals();
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        for (fd, target) in [(what.stdin, 0), (what.stdout, 1), (what.stderr, 2)] {
            if let Err(e) = sys::dup_onto(fd, target) {
                return setup(e);
            }
        }
        sys::close_all_on_exec();
        if let Err(e) = rustix::process::chdir(self.cwd.as_c_str()) {
            return (Step::Cwd, e.into());
        }
        let mut reason = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            let error = sys::exec(candidate, &self.argv, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                // Like a shell: look on, but remember that there was one that may not be run.
                Some(libc::EACCES) => reason = error,
                Some(_) | None => return (Step::Exec, error),
            }
        }
        (Step::Exec, reason)
    }
}

fn read_report(mut reader: io::PipeReader) -> Option<(Step, io::Error)> {
    let mut report = Vec::new();
    reader.read_to_end(&mut report).ok()?;
    let errno = i32::from_ne_bytes(report.get(1..5)?.try_into().ok()?);
    let step = [Step::Setup, Step::Cwd, Step::Exec].into_iter().find(|s| *s as u8 == report[0])?;
    Some((step, io::Error::from_raw_os_error(errno)))
}

fn explain(what: &Start<'_>, step: Step, error: &io::Error) -> Failure {
    let program = what.argv.first().map_or("", String::as_str);
    match step {
        Step::Setup => not_started(format!("cannot prepare the process: {error}")),
        Step::Cwd => {
            not_started(format!("cannot enter the working directory {}: {error}", what.cwd.display()))
        }
        Step::Exec => match error.raw_os_error() {
            Some(libc::ENOENT) if program.contains('/') && what.cwd.join(program).exists() => {
                let error = format!("{program}: its interpreter (the #! line) or loader does not exist");
                Failure { code: CODE_NOT_FOUND, error }
            }
            Some(libc::ENOENT) => Failure { code: CODE_NOT_FOUND, error: format!("{program}: not found") },
            Some(libc::ENOEXEC) => {
                not_started(format!("{program}: no program, and no #! line says what runs it"))
            }
            Some(libc::E2BIG) => not_started(format!("{program}: arguments and environment are too long")),
            Some(_) | None => not_started(format!("{program}: {error}")),
        },
    }
}

fn not_started(error: String) -> Failure {
    Failure { code: CODE_NOT_STARTED, error }
}

/// `/dev/null`, for a command without input.
pub fn null_input() -> io::Result<File> {
    File::open("/dev/null")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Forking is for processes with one thread, which a test is not; what runs is tested with real keepers.
    #[test]
    fn what_cannot_be_prepared_is_refused_before_the_fork() {
        let null = null_input().unwrap();
        let start = |argv: &[String]| {
            let what = Start {
                argv,
                env: &[],
                cwd: Path::new("/"),
                cgroup: None,
                stdin: null.as_fd(),
                stdout: null.as_fd(),
                stderr: null.as_fd(),
            };
            Prepared::new(&what).err().map(|f| f.code)
        };
        assert_eq!(start(&[]), Some(CODE_NOT_STARTED));
        assert_eq!(start(&[String::new()]), Some(CODE_NOT_STARTED));
        assert_eq!(start(&["a\0b".to_owned()]), Some(CODE_NOT_STARTED));
        assert_eq!(start(&["true".to_owned()]), None);
    }
}
