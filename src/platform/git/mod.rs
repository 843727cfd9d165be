//! Git: one repository, its worktrees, and nothing of what they are for.
//!
//! Git's own program does every write and all that goes over the network, each call with a deadline at which
//! its group is killed. libgit2 only reads, and where it cannot open a repository the program reads too.
//! A call that may destroy something names the git directory and the worktree outright, so that git can
//! never go looking for another repository.

mod checkout;
mod clean;
mod glance;
mod remote;
mod rescue;
mod state;
mod worktree;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::platform::failpoint::{self, Fault};
use crate::platform::process::bounded::{self, Done, Errand, ErrandError};

pub use checkout::{Change, Checkout, Cut, Halves, Merged, Names};
pub use clean::Keep;
pub use glance::{no_repository, no_working_copy};
pub use rescue::Rescue;
pub use state::{Head, State};
pub use worktree::{Found, Tree};

/// The longest that any one call may take, whatever the budget.
const CALL_MAX: Duration = Duration::from_secs(120);
/// First and longest pause before a lock of the whole repository is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(320);
/// The most of git's complaint that is passed on, in bytes.
const COMPLAINT_MAX_BYTES: usize = 600;
/// Environment variable by which calls of ours in one worktree are known.
const COOKIE: &str = "LUCID_GIT_WORKTREE";

/// What holds whatever anybody has put into the repository's shared configuration.
const SETTINGS: [&str; 9] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.ignoreStat=false",
    "core.bare=false",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "gc.worktreePruneExpire=never",
];

/// Time that may still be spent; handed down, never made longer.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    until: Instant,
}

impl Budget {
    #[must_use]
    pub fn new(time: Duration) -> Self {
        Self { until: Instant::now() + time }
    }

    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left().is_zero()
    }
}

/// What git could not do.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("git {command} was not done in time")]
    TimedOut { command: String },
    #[error("git {command}: {complaint}")]
    Failed { command: String, code: Option<i32>, complaint: String },
    #[error("git {command}: {source}")]
    Errand { command: String, source: ErrandError },
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("{} is no git repository: {why}", path.display())]
    NotARepository { path: PathBuf, why: String },
    /// What lies there is not the worktree it should be; nothing has been touched.
    #[error("{} {why}", path.display())]
    NotOurs { path: PathBuf, why: String },
    #[error("{} is held by process {}", lock.display(), pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Locked { lock: PathBuf, pids: Vec<i32> },
    #[error("there is no {0}")]
    NoSuchRef(String),
}

impl GitError {
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

impl From<Fault> for GitError {
    fn from(fault: Fault) -> Self {
        Self::Failed { command: "failpoint".to_owned(), code: None, complaint: fault.to_string() }
    }
}

/// A repository, known by the directory that its worktrees share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    common: PathBuf,
}

impl Repo {
    /// The repository at `path`: a working copy or a bare one.
    ///
    /// # Errors
    /// [`GitError::NotARepository`].
    pub fn open(path: &Path, budget: Budget) -> Result<Self, GitError> {
        let bad = |why: String| GitError::NotARepository { path: path.to_owned(), why };
        let common = match git2::Repository::open(path) {
            Ok(repo) => repo.commondir().to_owned(),
            Err(_) => {
                let call = Call {
                    mark: None,
                    dir: None,
                    tree: None,
                    index: None,
                    cwd: path,
                    ceiling: path.parent(),
                };
                let out = call.read(["rev-parse", "--path-format=absolute", "--git-common-dir"], budget);
                line_path(&out.map_err(|e| bad(e.to_string()))?)
            }
        };
        let common = common.canonicalize().map_err(|e| bad(e.to_string()))?;
        if common.join("HEAD").exists() { Ok(Self { common }) } else { Err(bad("it has no HEAD".to_owned())) }
    }

    /// The git directory that all worktrees share, without symbolic links.
    #[must_use]
    pub fn common(&self) -> &Path {
        &self.common
    }

    fn call(&self) -> Call<'_> {
        Call {
            mark: None,
            dir: Some(&self.common),
            tree: None,
            index: None,
            cwd: &self.common,
            ceiling: None,
        }
    }
}

/// Where a call of git's program happens.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    /// The worktree by which the process is known as one of ours.
    mark: Option<&'a Path>,
    /// Git looks for it from `cwd` on when there is none.
    dir: Option<&'a Path>,
    tree: Option<&'a Path>,
    index: Option<&'a Path>,
    cwd: &'a Path,
    ceiling: Option<&'a Path>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Locks {
    /// May take git's locks.
    Taken,
    /// Leaves out what is merely convenient and needs one.
    Avoided,
}

impl<'a> Call<'a> {
    fn read<I>(&self, args: I, budget: Budget) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Ok(self.done(args, &[], Locks::Avoided, budget)?.stdout)
    }

    fn write<I>(&self, args: I, budget: Budget) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Ok(self.done(args, &[], Locks::Taken, budget)?.stdout)
    }

    fn feed<I>(&self, args: I, stdin: &[u8], budget: Budget) -> Result<Vec<u8>, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Ok(self.done(args, stdin, Locks::Taken, budget)?.stdout)
    }

    /// Runs git until it succeeds, fails for good, or the budget is spent: a lock of the whole repository
    /// is somebody's who works there now, so it is waited for and never deleted.
    fn done<I>(&self, args: I, stdin: &[u8], locks: Locks, budget: Budget) -> Result<Done, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.ended(&self.errand(args, stdin, locks), 0, budget)
    }

    /// As [`Call::write`] where git also answers by ending with `other`.
    fn answer<I>(&self, args: I, other: i32, budget: Budget) -> Result<Done, GitError>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        self.ended(&self.errand(args, &[], Locks::Taken), other, budget)
    }

    fn ended(&self, errand: &Errand, other: i32, budget: Budget) -> Result<Done, GitError> {
        let command = command_of(errand);
        let mut pause = LOCK_PAUSE;
        loop {
            if budget.is_spent() {
                return Err(GitError::TimedOut { command });
            }
            failpoint::hit("git.call")?;
            let done = match bounded::run(errand, budget.left().min(CALL_MAX)) {
                Ok(done) => done,
                Err(ErrandError::TimedOut { .. }) => return Err(GitError::TimedOut { command }),
                Err(source) => return Err(GitError::Errand { command, source }),
            };
            if done.code == Some(0) || done.code == Some(other) {
                return Ok(done);
            }
            if !self.is_shared_lock(&done.stderr) || budget.left() < pause {
                return Err(GitError::Failed {
                    command,
                    code: done.code,
                    complaint: complaint(&done.stderr),
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOCK_PAUSE_MAX);
        }
    }

    fn errand<I>(&self, args: I, stdin: &[u8], locks: Locks) -> Errand
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        let mut all: Vec<OsString> = Vec::new();
        for setting in SETTINGS {
            all.extend(["-c".into(), setting.into()]);
        }
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let mut env: Vec<(OsString, OsString)> = [
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", "lucid"),
            ("GIT_AUTHOR_EMAIL", "lucid@localhost"),
            ("GIT_COMMITTER_NAME", "lucid"),
            ("GIT_COMMITTER_EMAIL", "lucid@localhost"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        if locks == Locks::Avoided {
            env.push(("GIT_OPTIONAL_LOCKS".into(), "0".into()));
        }
        for (name, path) in [
            ("GIT_DIR", self.dir),
            ("GIT_WORK_TREE", self.tree),
            (COOKIE, self.mark),
            ("GIT_INDEX_FILE", self.index),
            ("GIT_CEILING_DIRECTORIES", self.ceiling),
        ] {
            env.extend(path.map(|path| (name.into(), path.as_os_str().to_owned())));
        }
        Errand { program: "git".into(), args: all, env, dir: self.cwd.to_owned(), stdin: stdin.to_vec() }
    }

    /// Whether git failed on a lock that is not this worktree's own.
    fn is_shared_lock(&self, stderr: &[u8]) -> bool {
        let text = String::from_utf8_lossy(stderr);
        text.match_indices(".lock': File exists").any(|(end, _)| {
            let start = text[..end].rfind('\'').map_or(0, |quote| quote + 1);
            let lock = Path::new(&text[start..end]);
            // A worktree's own directory lies in the shared one, below `worktrees/`.
            !self.dir.is_some_and(|dir| self.tree.is_some() && lock.starts_with(dir))
        })
    }
}

/// The subcommand, for people; settings before it are nobody's business.
fn command_of(errand: &Errand) -> String {
    let mut args = &errand.args[..];
    while let [flag, _, rest @ ..] = args
        && flag == "-c"
    {
        args = rest;
    }
    args.iter().take(2).map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn complaint(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut text = lines.join("; ");
    if text.len() > COMPLAINT_MAX_BYTES {
        let end = (0..=COMPLAINT_MAX_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Git's answer of one line.
fn line(out: &[u8]) -> String {
    String::from_utf8_lossy(out).trim_end().to_owned()
}

fn line_path(out: &[u8]) -> PathBuf {
    let end = out.iter().rposition(|b| *b != b'\n').map_or(0, |at| at + 1);
    PathBuf::from(OsStr::from_bytes(&out[..end]))
}
