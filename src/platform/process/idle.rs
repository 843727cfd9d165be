//! Keepers that have nothing to keep and wait a moment for the next run. To fork a keeper, to have it touch for the
//! first time whatever it needs, and to end it cost more than all else about a short run; many short runs at once
//! need only as many keepers as there are at work at a time.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, socketpair,
};

use super::request::{self, Request};
use super::sys;

/// How long a keeper waits for another run before it is let go.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Keepers that wait; any further one is let go at once.
const IDLE_MAX_KEEPERS: usize = 64;

/// The nursery's list of them. It alone decides who goes, so that no request is sent to one that is just leaving.
pub struct IdleKeepers {
    arrivals: OwnedFd,
    /// The last to come is the first to be asked.
    waiting: Vec<Waiting>,
}

struct Waiting {
    pid: i32,
    /// Closing it lets the keeper go.
    channel: OwnedFd,
    since: Instant,
}

/// Where a keeper says that it has nothing to do.
pub struct Door(OwnedFd);

impl IdleKeepers {
    /// An empty list, and its door.
    pub fn open() -> io::Result<(Self, Door)> {
        let (arrivals, door) = pair()?;
        Ok((Self { arrivals, waiting: Vec::with_capacity(IDLE_MAX_KEEPERS) }, Door(door)))
    }

    /// Readable when a keeper comes.
    pub fn arrivals(&self) -> BorrowedFd<'_> {
        self.arrivals.as_fd()
    }

    /// Takes in the next that has come; its number.
    pub fn take_in(&mut self) -> Option<i32> {
        let mut pid = [0; size_of::<i32>()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        rustix::net::recvmsg(&self.arrivals, &mut [IoSliceMut::new(&mut pid)], &mut control, flags).ok()?;
        let pid = i32::from_ne_bytes(pid);
        let channel = request::descriptors(&mut control).next();
        if let Some(channel) = channel.filter(|_| self.waiting.len() < IDLE_MAX_KEEPERS) {
            self.waiting.push(Waiting { pid, channel, since: Instant::now() });
        }
        Some(pid)
    }

    /// Gives `request` to one of them; who has it now. `None`: there is none.
    pub fn give(&mut self, request: &Request) -> Option<i32> {
        while let Some(keeper) = self.waiting.pop() {
            // One that was killed meanwhile takes nothing.
            if request.send(keeper.channel.as_fd()).is_ok() {
                return Some(keeper.pid);
            }
        }
        None
    }

    /// Lets those go that have waited long enough, and says how long it is until the next has.
    pub fn let_go(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.waiting.retain(|keeper| now.duration_since(keeper.since) < IDLE_MAX);
        self.waiting.iter().map(|keeper| IDLE_MAX.saturating_sub(now.duration_since(keeper.since))).min()
    }

    /// Lets all of them go.
    pub fn close(&mut self) {
        self.waiting.clear();
    }
}

impl Door {
    /// Waits for the next run. `None`: it is time to go, for the nursery says so or is gone, or because of a signal.
    pub fn wait(&self, me: i32, signals: BorrowedFd<'_>) -> Option<Request> {
        let (mine, theirs) = pair().ok()?;
        self.enter(me, theirs.as_fd()).ok()?;
        drop(theirs);
        loop {
            let mut fds =
                [PollFd::new(&mine, PollFlags::IN), PollFd::from_borrowed_fd(signals, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return None,
            }
            let (is_asked, is_signalled) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            while is_signalled && let Some(signal) = sys::next_signal(signals) {
                // The last of the run before may have ended only now.
                if signal != libc::SIGCHLD {
                    return None;
                }
            }
            if is_asked {
                return request::receive(mine.as_fd()).ok().flatten();
            }
        }
    }

    fn enter(&self, me: i32, channel: BorrowedFd<'_>) -> io::Result<()> {
        let fds = [channel];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let text = me.to_ne_bytes();
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
