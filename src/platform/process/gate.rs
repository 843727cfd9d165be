//! The daemon's side of a start: the nursery it keeps, and the gate before each run.
//!
//! A request is a run's directory with two descriptors: the gate's read end, and the write end of a pipe on which
//! the keeper says that it is ready, and which it closes when the run is over. A gate that is dropped closes without
//! "go", and the keeper ends.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::spec::{PRIVATE_MAX_BYTES, Private, name};
use super::watch::{Keeper, holder_of, parse_holder};
use super::{kill, request, sys};
use crate::platform::failpoint;

/// Longest wait for a keeper to take its lock and open its files.
pub const READY_MAX: Duration = Duration::from_secs(10);
/// Runs that are being started at once: enough for every processor, and for a commit that is waited for. With more of
/// them each would have a keeper of its own, instead of one that is through with another run; and descriptors in
/// flight are few, which the kernel limits per user.
const STARTS_AT_ONCE: usize = 32;
/// A nursery that dies under a request is replaced, and the request made again: nothing had started.
const FORK_ATTEMPTS: u32 = 2;
/// How long the end of a keeper that says nothing is waited for.
const SILENT_BUDGET: Duration = Duration::from_secs(2);
/// Longest answer of a keeper, in bytes.
const ANSWER_MAX_BYTES: u64 = 4096;
/// First word of "go"; the length of the JSON form of [`Private`] follows as four bytes, then that form.
pub(super) const GO: &[u8; 8] = b"LUCIDGO\n";
/// The hidden command that `main` branches off to.
pub const NURSERY_COMMAND: &str = "nursery";

/// Why there is no keeper. In each case the run's command has not started and never will.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    #[error("cannot start or reach the process nursery: {0}")]
    Nursery(#[source] io::Error),
    /// The keeper could not lock or open the run's files, or another one holds the run.
    #[error("the keeper gave up: {0}")]
    Refused(String),
    #[error("the keeper was not ready within {} s", READY_MAX.as_secs())]
    Silent,
}

/// The process from which keepers are forked; started again when it has died. Dropping it tells the nursery
/// to go when its last keeper has ended; the keepers go on.
#[derive(Debug)]
pub struct Nursery {
    exe: PathBuf,
    seats: Mutex<Seats>,
    starts: Semaphore,
}

/// One of those who may start a run. To be held until the run is over or goes on for longer.
pub type Turn<'a> = SemaphorePermit<'a>;

#[derive(Debug, Default)]
struct Seats {
    current: Option<Seat>,
    /// Nurseries that were left and have not been seen to end.
    former: Vec<Child>,
}

#[derive(Debug)]
struct Seat {
    socket: Arc<AsyncFd<OwnedFd>>,
    child: Child,
}

impl Nursery {
    /// Starts `exe nursery`. Needs a tokio runtime.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(exe: &Path) -> io::Result<Self> {
        let seat = Seat::start(exe)?;
        let seats = Mutex::new(Seats { current: Some(seat), former: Vec::new() });
        Ok(Self { exe: exe.to_owned(), seats, starts: Semaphore::new(STARTS_AT_ONCE) })
    }

    /// The nursery's process id, while it has one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.seats().current.as_ref().map(|seat| seat.child.id())
    }

    /// Waits until there may be one more start.
    ///
    /// # Errors
    /// Never: nobody closes it.
    pub async fn turn(&self) -> Result<Turn<'_>, ForkError> {
        self.starts.acquire().await.map_err(|e| ForkError::Nursery(io::Error::other(e)))
    }

    /// Finds a keeper for the run in `dir`, whose `spec.json` is written. Returns when the keeper holds the
    /// run's lock and has its files open. Safe to cancel: the keeper then ends without starting anything.
    ///
    /// # Errors
    /// See [`ForkError`].
    pub async fn fork(&self, _turn: &Turn<'_>, dir: &Path) -> Result<Gate, ForkError> {
        failpoint::hit("run.fork").map_err(|fault| ForkError::Nursery(fault.into()))?;
        let mut last = ForkError::Silent;
        for _ in 0..FORK_ATTEMPTS {
            let socket = self.socket().map_err(ForkError::Nursery)?;
            match tokio::time::timeout(READY_MAX, request(&socket, dir)).await {
                Ok(Ok((sender, ready, Answer::Ready { pid, start_ticks }))) => {
                    return Ok(Gate { pid, start_ticks, dir: dir.to_owned(), sender, ready });
                }
                Ok(Ok((_, _, Answer::Refused(why)))) => return Err(ForkError::Refused(why)),
                Ok(Err(e)) => last = ForkError::Nursery(e),
                // It may be stopped, or the keeper that it asked.
                Err(_) => {
                    last = ForkError::Silent;
                    end_silent(dir).await;
                }
            }
            self.forget(&socket);
        }
        Err(last)
    }

    fn socket(&self) -> io::Result<Arc<AsyncFd<OwnedFd>>> {
        let mut seats = self.seats();
        seats.former.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if let Some(seat) = seats.current.as_mut()
            && matches!(seat.child.try_wait(), Ok(None))
        {
            return Ok(Arc::clone(&seat.socket));
        }
        let seat = Seat::start(&self.exe)?;
        let socket = Arc::clone(&seat.socket);
        seats.current = Some(seat);
        Ok(socket)
    }

    /// Leaves a nursery that does not answer; once its socket is closed it goes by itself.
    fn forget(&self, socket: &Arc<AsyncFd<OwnedFd>>) {
        let mut seats = self.seats();
        if let Some(seat) = seats.current.take_if(|seat| Arc::ptr_eq(&seat.socket, socket)) {
            seats.former.push(seat.child);
        }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The socket becomes the nursery's standard input, so that no code of ours runs between fork and exec;
    /// the nursery moves it away and does the rest (session, descriptors, signals) by itself.
    fn start(exe: &Path) -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let child = Command::new(exe)
            .arg(NURSERY_COMMAND)
            // Keepers inherit it: it must hold neither secrets nor the cookie of a run that we are part of.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        Ok(Self { socket: Arc::new(sys::watched(ours, Interest::WRITABLE)?), child })
    }
}

/// A run that is ready and has not begun. Dropping it ends the keeper; the command provably never ran.
#[derive(Debug)]
pub struct Gate {
    /// The keeper's.
    pub pid: i32,
    /// The keeper's start time in clock ticks since boot.
    pub start_ticks: u64,
    dir: PathBuf,
    sender: pipe::Sender,
    /// Ends when the keeper keeps the run no longer.
    ready: pipe::Receiver,
}

impl Gate {
    /// Says "go": the timeout starts, then the command.
    ///
    /// # Errors
    /// `InvalidInput`: `private` is too large, nothing has started. Anything else: the keeper has gone;
    /// whether it took "go" with it is for [`super::examine`] to say.
    pub async fn open(mut self, private: &Private) -> io::Result<Keeper> {
        let body = serde_json::to_vec(private)?;
        let length =
            u32::try_from(body.len()).ok().filter(|_| body.len() <= PRIVATE_MAX_BYTES).ok_or_else(|| {
                let what = format!("the run's secrets are larger than {PRIVATE_MAX_BYTES} bytes");
                io::Error::new(io::ErrorKind::InvalidInput, what)
            })?;
        let mut message = Vec::with_capacity(GO.len() + 4 + body.len());
        message.extend_from_slice(GO);
        message.extend_from_slice(&length.to_le_bytes());
        message.extend_from_slice(&body);
        failpoint::hit("run.gate.before")?;
        // A message may be larger than the pipe, and a keeper that is stopped reads none of it.
        tokio::time::timeout(READY_MAX, self.sender.write_all(&message)).await??;
        failpoint::pass("run.gate.after");
        Ok(Keeper::told(&self.dir, self.pid, self.start_ticks, self.ready))
    }
}

/// Ends a keeper that took the lock of the run in `dir` and then said nothing more. Its gate has fallen shut, so
/// nothing has begun.
async fn end_silent(dir: &Path) {
    let dir = dir.to_owned();
    let end = move || {
        holder_of(&dir.join(name::LOCK))
            .map(|(pid, start_ticks)| kill::kill_tree(&dir, pid, start_ticks, SILENT_BUDGET))
    };
    let _ = tokio::task::spawn_blocking(end).await;
}

enum Answer {
    Ready { pid: i32, start_ticks: u64 },
    Refused(String),
}

async fn request(
    socket: &AsyncFd<OwnedFd>,
    dir: &Path,
) -> io::Result<(pipe::Sender, pipe::Receiver, Answer)> {
    let (gate_read, gate_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let (ready_read, ready_write) = pipe_with(PipeFlags::CLOEXEC)?;
    let sender = pipe::Sender::from_owned_fd(gate_write)?;
    let mut ready = pipe::Receiver::from_owned_fd(ready_read)?;
    socket
        .async_io(Interest::WRITABLE, |socket| {
            request::send(socket.as_fd(), dir, gate_read.as_fd(), ready_write.as_fd())
        })
        .await?;
    // Ours must go, or the end of the keeper's would never show.
    drop((gate_read, ready_write));
    let mut text = String::new();
    BufReader::new((&mut ready).take(ANSWER_MAX_BYTES)).read_line(&mut text).await?;
    let answer = match text.split_once(' ') {
        Some(("ready", rest)) => {
            parse_holder(rest).map(|(pid, start_ticks)| Answer::Ready { pid, start_ticks })
        }
        Some(("refused", why)) => Some(Answer::Refused(why.trim_end().to_owned())),
        Some(_) | None => None,
    };
    answer.map(|answer| (sender, ready, answer)).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}
