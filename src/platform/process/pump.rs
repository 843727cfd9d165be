//! Moves a run's output from its pipes through the masks into its files, never more than a block at a time.
//!
//! The keeper keeps the writing ends as well, so a pipe never ends: nothing here can wait for that.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use super::lines::Lines;
use super::log::{Log, Totals};
use super::mask::Masker;

/// Read at once, in bytes.
const BLOCK_BYTES: usize = 32 * 1024;
/// Blocks taken from one pipe before the keeper looks at its other duties.
const BLOCKS_AT_ONCE: usize = 16;
/// Most that is taken after the last process has gone: more than a pipe holds. Somebody outside the tree
/// may still write, and must not keep the run from ending.
const DRAIN_MAX_BLOCKS: usize = 128;

/// All output of a run.
pub struct Pump {
    log: Log,
    log_stream: Stream,
    events: Option<(Lines, Stream)>,
    block: Vec<u8>,
}

struct Stream {
    reader: File,
    writer: OwnedFd,
    masker: Masker,
}

impl Pump {
    /// # Errors
    /// The pipes cannot be made.
    pub fn new(log: Log, events: Option<Lines>, masks: &[String]) -> io::Result<Self> {
        let events = match events {
            Some(lines) => Some((lines, Stream::new(masks)?)),
            None => None,
        };
        Ok(Self { log, log_stream: Stream::new(masks)?, events, block: Vec::with_capacity(BLOCK_BYTES) })
    }

    /// For the command's standard error, and for its standard output where nobody wants that as lines.
    pub fn log_end(&self) -> BorrowedFd<'_> {
        self.log_stream.writer.as_fd()
    }

    /// For the command's standard output.
    pub fn stdout_end(&self) -> BorrowedFd<'_> {
        self.events.as_ref().map_or_else(|| self.log_end(), |(_, stream)| stream.writer.as_fd())
    }

    /// To be polled.
    pub fn readers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let events = self.events.as_ref().map(|(_, stream)| stream.reader.as_fd());
        std::iter::once(self.log_stream.reader.as_fd()).chain(events)
    }

    /// Takes what is there, within a limit. Says whether there was anything.
    pub fn advance(&mut self) -> bool {
        self.take(BLOCKS_AT_ONCE)
    }

    /// Adds a line of the keeper's own.
    pub fn note(&mut self, line: &str) {
        self.log.write(format!("lucid: {line}\n").as_bytes());
    }

    /// Takes what the ended processes have left, and completes the files.
    pub fn finish(&mut self) -> Totals {
        self.take(DRAIN_MAX_BLOCKS);
        let Self { log, log_stream, events, .. } = self;
        log_stream.masker.flush(&mut |bytes| log.write(bytes));
        let mut dropped = 0;
        if let Some((lines, stream)) = events {
            stream.masker.flush(&mut |bytes| both(lines, log, bytes));
            dropped = lines.finish();
        }
        let totals = log.finish();
        Totals { lost: totals.lost + dropped, ..totals }
    }

    /// After `exit.json`: nothing needs the ring any more.
    pub fn forget_ring(&mut self) {
        self.log.forget_ring();
    }

    fn take(&mut self, blocks: usize) -> bool {
        let Self { log, log_stream, events, block } = self;
        let mut any = log_stream.take(blocks, block, &mut |bytes| log.write(bytes));
        if let Some((lines, stream)) = events {
            any |= stream.take(blocks, block, &mut |bytes| both(lines, log, bytes));
        }
        any
    }
}

/// What is kept as whole lines for the daemon is output all the same: whoever reads that finds it there.
fn both(lines: &mut Lines, log: &mut Log, bytes: &[u8]) {
    lines.feed(bytes);
    log.write(bytes);
}

impl Stream {
    fn new(masks: &[String]) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { reader: OwnedFd::from(reader).into(), writer: writer.into(), masker: Masker::new(masks) })
    }

    fn take(&mut self, blocks: usize, block: &mut Vec<u8>, write: &mut dyn FnMut(&[u8])) -> bool {
        for taken in 0..blocks {
            block.clear();
            match rustix::io::read(&self.reader, rustix::buffer::spare_capacity(block)) {
                Ok(1..) => self.masker.feed(block, write),
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) | Err(_) => return taken > 0,
            }
        }
        true
    }
}
