//! Reads what a run has written: while it runs, when it has ended, and when its keeper was killed.
//!
//! Offsets are those of the log as it was produced, so they stay valid when the middle is cut. While the run
//! lives the newest bytes are in a ring (`output.tail`); in the end the keeper folds it into `output.log`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::log::{Ring, cut_marker, head_max};
use super::spec::{Exit, Spec, name};
use crate::platform::files::Lock;

/// Largest chunk that one call returns, in bytes.
pub const CHUNK_MAX_BYTES: usize = 1024 * 1024;

/// A piece of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where `bytes` begin. Beyond the offset asked for by [`Chunk::cut_bytes`].
    pub offset: u64,
    /// Bytes after the offset asked for that are no longer there.
    pub cut_bytes: u64,
    pub bytes: Vec<u8>,
    /// What to ask for next.
    pub next: u64,
    /// The run is over and this is the end of its log.
    pub complete: bool,
}

/// The log of the run in one directory.
#[derive(Debug, Clone)]
pub struct Reader {
    dir: PathBuf,
    head_max: u64,
}

/// Which bytes of the log are where, at one instant.
struct Layout {
    /// None while nothing has been printed.
    log: Option<File>,
    /// `[0, head)` is at the start of `output.log`.
    head: u64,
    /// `[tail_from, end)` is in `tail`.
    tail_from: u64,
    end: u64,
    tail: Tail,
    over: bool,
}

enum Tail {
    None,
    Ring(Ring),
    /// In `output.log`, from this place in the file.
    Folded(u64),
}

impl Reader {
    /// # Errors
    /// `spec.json` cannot be read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Ok(Self { dir: dir.to_owned(), head_max: head_max(Spec::read(dir)?.log_max) })
    }

    /// At most `max` bytes (and [`CHUNK_MAX_BYTES`]) from `offset` on; fewer at the seam of a cut.
    ///
    /// # Errors
    /// What the file system says. A log that is not there yet is empty.
    pub fn read_from(&self, offset: u64, max: usize) -> io::Result<Chunk> {
        let Some(layout) = self.layout()? else {
            return Ok(Chunk { offset, cut_bytes: 0, bytes: Vec::new(), next: offset, complete: false });
        };
        let max = max.min(CHUNK_MAX_BYTES) as u64;
        let from = if offset >= layout.head { offset.max(layout.tail_from) } else { offset };
        let stop = if from < layout.head { layout.head } else { layout.end };
        let len = stop.saturating_sub(from).min(max);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = if from < layout.head {
            layout.log.as_ref().map_or(Ok(0), |log| read_up_to(log, &mut bytes, from))?
        } else {
            match &layout.tail {
                Tail::None => 0,
                Tail::Ring(ring) => ring.read_at(&mut bytes, from - layout.head)?,
                Tail::Folded(place) => layout
                    .log
                    .as_ref()
                    .map_or(Ok(0), |log| read_up_to(log, &mut bytes, place + (from - layout.tail_from)))?,
            }
        };
        bytes.truncate(read);
        let next = from + read as u64;
        Ok(Chunk {
            offset: from,
            cut_bytes: from - offset,
            next,
            complete: layout.over && next >= layout.end,
            bytes,
        })
    }

    /// The last `lines` lines, at most [`CHUNK_MAX_BYTES`], and where to read on.
    ///
    /// # Errors
    /// As [`Reader::read_from`].
    pub fn tail(&self, lines: usize) -> io::Result<Chunk> {
        let end = self.layout()?.map_or(0, |layout| layout.end);
        let mut chunk = self.read_from(end.saturating_sub(CHUNK_MAX_BYTES as u64), CHUNK_MAX_BYTES)?;
        // The last chunk may begin in the head and stop at the cut; what lies beyond is the newer.
        while chunk.next < end {
            let more = self.read_from(chunk.next, CHUNK_MAX_BYTES)?;
            if more.bytes.is_empty() {
                break;
            }
            if more.cut_bytes > 0 {
                chunk = more;
            } else {
                chunk.bytes.extend_from_slice(&more.bytes);
                (chunk.next, chunk.complete) = (more.next, more.complete);
            }
        }
        let body = chunk.bytes.strip_suffix(b"\n").unwrap_or(&chunk.bytes);
        let begin = match lines {
            0 => chunk.bytes.len(),
            n => body
                .iter()
                .enumerate()
                .rev()
                .filter(|(_, b)| **b == b'\n')
                .nth(n - 1)
                .map_or(0, |(at, _)| at + 1),
        };
        chunk.bytes.drain(..begin);
        chunk.offset += begin as u64;
        chunk.cut_bytes = 0;
        Ok(chunk)
    }

    /// `None` before the start. What the keeper does next makes any look at two files stale, so the
    /// ring is opened first: once it is gone, `exit.json` is there.
    fn layout(&self) -> io::Result<Option<Layout>> {
        let ring = Ring::open(&self.dir.join(name::OUTPUT_TAIL))?;
        let exit = Exit::read(&self.dir)?;
        let log = match File::open(self.dir.join(name::OUTPUT)) {
            Ok(log) => Some(log),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if log.is_none() && !self.dir.join(name::STARTED).exists() {
            return Ok(None);
        }
        let over = exit.is_some() || !Lock::is_held(&self.dir.join(name::LOCK))?;
        let len = log.as_ref().map_or(Ok(0), |log| log.metadata().map(|metadata| metadata.len()))?;
        if let Some(ring) = ring {
            let (head, total) = (ring.head(), ring.total());
            let tail_from = head + total - ring.kept();
            return Ok(Some(Layout {
                log,
                head,
                tail_from,
                end: head + total,
                tail: Tail::Ring(ring),
                over,
            }));
        }
        let cut = exit.as_ref().map_or(0, |exit| exit.log_cut_bytes);
        let Some(exit) = exit.filter(|_| cut > 0) else {
            // Without a ring and without an end there is only the head, whatever has been added since.
            let len = if over { len } else { len.min(self.head_max) };
            return Ok(Some(Layout { log, head: len, tail_from: len, end: len, tail: Tail::None, over }));
        };
        let head = self.head_max.min(len);
        let place = head + cut_marker(cut).len() as u64;
        Ok(Some(Layout {
            log,
            head,
            tail_from: head + cut,
            end: exit.log_bytes,
            tail: Tail::Folded(place),
            over,
        }))
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
