//! A command of our own with a deadline: it ends, or it and its whole group are killed.
//!
//! For tools that the daemon asks something (git). What users want run goes to a keeper, never through here.
//! Output goes into memory files, not pipes, so nothing a child leaves behind can hold the caller up.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// The most that a command may say on one of its outputs, in bytes.
const OUTPUT_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Longest time between two looks at how much a child has said.
const SIZE_LOOK: Duration = Duration::from_millis(50);
/// Pause between two looks at a child that cannot be watched by a descriptor.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
/// How long a killed child may take to be gone; then it hangs in the kernel, and nobody waits for it.
pub const REAP_MAX: Duration = Duration::from_secs(2);
/// Pause between two looks at a killed child, and the stack of who waits for one that hangs, in bytes.
const REAP_PAUSE: Duration = Duration::from_millis(1);
const REAPER_STACK_BYTES: usize = 64 * 1024;
/// What a tool may need to know of its surroundings; everything else is left out.
const INHERITED: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Errand {
    pub program: OsString,
    pub args: Vec<OsString>,
    /// Beside what every errand inherits: where programs and the home are, agents, proxies.
    pub env: Vec<(OsString, OsString)>,
    pub dir: PathBuf,
    pub stdin: Vec<u8>,
}

/// How it ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Why nothing is known of how it would have ended.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    #[error("could not be started: {0}")]
    Spawn(io::Error),
    #[error("was killed after {} ms", after.as_millis())]
    TimedOut { after: Duration },
    #[error("said more than {max} bytes")]
    TooMuch { max: u64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs `errand` to its end, for `limit` at most; then its process group gets SIGKILL. Blocks for no longer than
/// that and [`REAP_MAX`].
///
/// # Errors
/// [`ErrandError`]; no process of the group is left in either case but what moved to a group of its own and what
/// hangs in the kernel.
pub fn run(errand: &Errand, limit: Duration) -> Result<Done, ErrandError> {
    run_capped(errand, limit, OUTPUT_MAX_BYTES)
}

/// As [`run`]; one that says more than `max` bytes on an output is ended like one that takes too long.
///
/// # Errors
/// As [`run`].
pub fn run_capped(errand: &Errand, limit: Duration, max: u64) -> Result<Done, ErrandError> {
    let (mut stdout, mut stderr) = (memory_file()?, memory_file()?);
    let mut child = start(errand, &stdout, &stderr)?;
    let why = wait(&mut child, limit, max, [&stdout, &stderr])?;
    if let Some(why) = why {
        kill_group(&child);
        reap(child, REAP_MAX);
        return Err(why);
    }
    let status = child.wait()?;
    Ok(Done {
        code: status.code(),
        signal: status.signal(),
        stdout: contents(&mut stdout, max)?,
        stderr: contents(&mut stderr, max)?,
    })
}

fn start(errand: &Errand, stdout: &File, stderr: &File) -> Result<Child, ErrandError> {
    let stdin = if errand.stdin.is_empty() {
        Stdio::null()
    } else {
        let mut file = memory_file()?;
        file.write_all(&errand.stdin)?;
        file.seek(SeekFrom::Start(0))?;
        Stdio::from(file)
    };
    let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    Command::new(&errand.program)
        .args(&errand.args)
        .env_clear()
        .envs(inherited)
        .envs(errand.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&errand.dir)
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?))
        .spawn()
        .map_err(ErrandError::Spawn)
}

/// Why it has to be ended; none once it has ended by itself.
fn wait(
    child: &mut Child,
    limit: Duration,
    max: u64,
    outputs: [&File; 2],
) -> io::Result<Option<ErrandError>> {
    let deadline = Instant::now() + limit;
    let pidfd = pid_of(child).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    loop {
        if child.try_wait()?.is_some() {
            return Ok(None);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Some(ErrandError::TimedOut { after: limit }));
        }
        for output in outputs {
            if output.metadata()?.len() > max {
                return Ok(Some(ErrandError::TooMuch { max }));
            }
        }
        let left = left.min(SIZE_LOOK);
        let Some(pidfd) = &pidfd else {
            std::thread::sleep(LOOK_PAUSE.min(left));
            continue;
        };
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// The child is not reaped yet, so its number is still its own and that of its group.
fn kill_group(child: &Child) {
    if let Some(pid) = pid_of(child) {
        // A group that is gone already is what was wanted.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Waits for a child that was killed, for `limit`; one that is not gone by then is left to a thread of its own.
/// Whether it is gone.
fn reap(mut child: Child, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(REAP_PAUSE),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
    let reaper = std::thread::Builder::new().name("lucid-reaper".to_owned()).stack_size(REAPER_STACK_BYTES);
    // Without a thread it stays a zombie once it has ended, until this process ends.
    drop(reaper.spawn(move || drop(child.wait())));
    false
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn memory_file() -> io::Result<File> {
    Ok(File::from(memfd_create("lucid-errand", MemfdFlags::CLOEXEC)?))
}

fn contents(file: &mut File, max: u64) -> Result<Vec<u8>, ErrandError> {
    if file.metadata()?.len() > max {
        return Err(ErrandError::TooMuch { max });
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Errand {
        Errand {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("GREETING".into(), "hello".into())],
            dir: "/".into(),
            stdin: b"from stdin".to_vec(),
        }
    }

    #[test]
    fn what_it_says_and_how_it_ends() {
        let done = run(&shell("echo $GREETING; cat; echo no >&2; exit 3"), Duration::from_secs(10)).unwrap();
        assert_eq!((done.code, done.signal), (Some(3), None));
        assert_eq!((done.stdout, done.stderr), (b"hello\nfrom stdin".to_vec(), b"no\n".to_vec()));
    }

    #[test]
    fn the_surroundings_of_the_daemon_stay_its_own() {
        let done = run(&shell("env"), Duration::from_secs(10)).unwrap();
        let env = String::from_utf8(done.stdout).unwrap();
        assert!(env.contains("PATH=") && !env.contains("CARGO"), "{env}");
    }

    #[test]
    fn at_its_limit_the_group_dies_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("late");
        let script = format!("(sleep 1; echo x > {}) & sleep 60", mark.display());
        let begun = Instant::now();
        let result = run(&shell(&script), Duration::from_millis(200));
        assert!(matches!(result, Err(ErrandError::TimedOut { .. })));
        assert!(begun.elapsed() < Duration::from_secs(1));
        std::thread::sleep(Duration::from_millis(1200));
        assert!(!mark.exists(), "its child lived on");
    }

    #[test]
    fn one_that_outlives_its_end_is_left_to_somebody_else() {
        // It stands in for one that SIGKILL does not reach: nobody has sent it any.
        let child = Command::new("/bin/sleep").arg("1").spawn().unwrap();
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        let begun = Instant::now();
        assert!(!reap(child, Duration::from_millis(50)));
        assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        let until = Instant::now() + Duration::from_secs(20);
        while proc.exists() {
            assert!(Instant::now() < until, "it is reaped once it ends");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(reap(Command::new("/bin/true").spawn().unwrap(), Duration::from_secs(20)));
    }

    #[test]
    fn a_grandchild_that_keeps_the_output_open_holds_nobody_up() {
        let begun = Instant::now();
        let done = run(&shell("setsid sleep 3 & echo done"), Duration::from_secs(10)).unwrap();
        assert_eq!(done.stdout, b"done\n");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn one_that_never_stops_talking_is_ended_before_its_time() {
        let begun = Instant::now();
        let result = run_capped(&shell("yes"), Duration::from_secs(30), 1_000_000);
        assert!(matches!(result, Err(ErrandError::TooMuch { max: 1_000_000 })));
        assert!(begun.elapsed() < Duration::from_secs(10));
        let result = run_capped(&shell("echo 1234567890"), Duration::from_secs(30), 5);
        assert!(matches!(result, Err(ErrandError::TooMuch { max: 5 })));
    }

    #[test]
    fn what_is_not_there_cannot_be_started() {
        let errand = Errand { program: "/nowhere".into(), ..shell("") };
        assert!(matches!(run(&errand, Duration::from_secs(1)), Err(ErrandError::Spawn(_))));
    }
}
