//! What is asked for: one run, as a message that holds its directory and carries two descriptors. The daemon sends it
//! to the nursery, the nursery to a keeper that has nothing to do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Longest path of a run's directory, in bytes.
const DIR_MAX_BYTES: usize = 4096;

/// A run that somebody is to keep.
pub struct Request {
    pub dir: PathBuf,
    /// From which "go" is read.
    pub gate: OwnedFd,
    /// On which the keeper says that it is ready, and whose end says that it keeps this run no longer.
    pub ready: OwnedFd,
}

impl Request {
    /// Tells the daemon that there will be no keeper.
    pub fn refuse(self, why: &str) {
        let _ = File::from(self.ready).write_all(format!("refused {why}\n").as_bytes());
    }

    /// Passes it on; it stays ours until it is dropped.
    pub fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        send(socket, &self.dir, self.gate.as_fd(), self.ready.as_fd())
    }
}

/// Asks for the run in `dir`.
pub fn send(
    socket: BorrowedFd<'_>,
    dir: &Path,
    gate: BorrowedFd<'_>,
    ready: BorrowedFd<'_>,
) -> io::Result<()> {
    let fds = [gate, ready];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let text = [IoSlice::new(dir.as_os_str().as_bytes())];
    rustix::net::sendmsg(socket, &text, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// One request; `None` when whoever asks is gone.
///
/// # Errors
/// `InvalidData`: it is no request. Anything else is what the system says.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Request>> {
    let mut dir = [0; DIR_MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut dir)], &mut control, flags)?.bytes;
    if read == 0 {
        return Ok(None);
    }
    let mut fds = descriptors(&mut control);
    match (fds.next(), fds.next()) {
        (Some(gate), Some(ready)) => {
            Ok(Some(Request { dir: PathBuf::from(OsStr::from_bytes(&dir[..read])), gate, ready }))
        }
        (_, _) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What came with a message.
pub fn descriptors<'a>(control: &'a mut RecvAncillaryBuffer<'_>) -> impl Iterator<Item = OwnedFd> + 'a {
    control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
}
