//! `output.log`: head and tail of everything a run prints, within a fixed size, in flat memory.
//!
//! The first half of the size is written straight to the file. What follows goes round in a ring file, so a
//! keeper that is killed loses nothing; [`Log::finish`] folds the ring into the log. Writing never fails
//! towards the caller: what cannot be written is counted and marked.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::spec::FILE_MODE;

/// First bytes of a ring file; size of the head, size of the tail and bytes ever written follow as u64.
const RING_MAGIC: &[u8; 8] = b"LUCRING1";
const RING_HEADER_BYTES: usize = 32;
/// The ring is larger than what is promised by this much: a write that a kill tore in two has spoiled only
/// bytes that no longer count.
const RING_SPARE_BYTES: u64 = 64 * 1024;
/// Largest single write to the ring.
const RING_WRITE_MAX_BYTES: usize = 32 * 1024;

/// How much of a log of `log_max` bytes is its head.
pub fn head_max(log_max: u64) -> u64 {
    log_max / 2
}

/// What stands in `output.log` for `cut` bytes.
pub fn cut_marker(cut: u64) -> String {
    format!("\n[lucid: {cut} bytes cut here]\n")
}

/// Totals of a finished log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub bytes: u64,
    pub cut: u64,
    pub lost: u64,
}

/// The log while it is written.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// Made with the first byte: many runs print nothing, and making a file is most of what a short run costs.
    file: Option<File>,
    tail_path: PathBuf,
    ring: Option<Ring>,
    head_max: u64,
    tail_max: u64,
    /// Bytes in the head.
    head: u64,
    /// Not written since the last mark.
    unmarked: u64,
    lost: u64,
}

impl Log {
    /// Starts an empty log; one of an earlier start is overwritten.
    #[must_use]
    pub fn new(path: &Path, tail_path: &Path, log_max: u64) -> Self {
        let head_max = head_max(log_max);
        Self {
            path: path.to_owned(),
            file: None,
            tail_path: tail_path.to_owned(),
            ring: None,
            head_max,
            tail_max: log_max - head_max,
            head: 0,
            unmarked: 0,
            lost: 0,
        }
    }

    /// Appends. What the disk does not take is dropped, counted, and marked once it takes more.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.unmarked > 0 {
            let mark =
                format!("\n[lucid: {} bytes lost here, the log could not be written]\n", self.unmarked);
            if self.put(mark.as_bytes()) < mark.len() {
                self.unmarked += bytes.len() as u64;
                self.lost += bytes.len() as u64;
                return;
            }
            self.unmarked = 0;
        }
        let missing = (bytes.len() - self.put(bytes)) as u64;
        self.unmarked += missing;
        self.lost += missing;
    }

    /// Folds the ring into the log. A full disk leaves the ring beside it, and readers know both forms. The
    /// ring's file goes with [`Log::forget_ring`], once `exit.json` says what was cut.
    pub fn finish(&mut self) -> Totals {
        if self.unmarked > 0 {
            self.write(b"");
        }
        let Some(ring) = &self.ring else {
            return Totals { bytes: self.head, cut: 0, lost: self.lost };
        };
        let totals =
            Totals { bytes: self.head + ring.total(), cut: ring.total() - ring.kept(), lost: self.lost };
        let folded = opened(&mut self.file, &self.path).and_then(|file| {
            let folded = fold(file, self.head, ring, totals.cut);
            if folded.is_err() {
                let _ = file.set_len(self.head);
            }
            folded
        });
        if folded.is_err() {
            self.ring = None;
        }
        totals
    }

    /// Removes the ring's file, if it was folded.
    pub fn forget_ring(&mut self) {
        if self.ring.take().is_some() {
            let _ = std::fs::remove_file(&self.tail_path);
        }
    }

    /// How many bytes of `bytes` were taken.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let room = usize::try_from(self.head_max - self.head).unwrap_or(usize::MAX).min(bytes.len());
        let mut done = 0;
        if self.ring.is_none() {
            while done < room {
                let Ok(file) = opened(&mut self.file, &self.path) else { return done };
                match file.write(&bytes[done..room]) {
                    Ok(0) => return done,
                    Ok(n) => {
                        done += n;
                        self.head += n as u64;
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return done,
                }
            }
            if done == bytes.len() {
                return done;
            }
            match Ring::create(&self.tail_path, self.head, self.tail_max) {
                Ok(ring) => self.ring = Some(ring),
                Err(_) => return done,
            }
        }
        done + self.ring.as_mut().map_or(0, |ring| ring.put(&bytes[done..]))
    }
}

fn opened<'f>(file: &'f mut Option<File>, path: &Path) -> io::Result<&'f mut File> {
    match file {
        Some(file) => Ok(file),
        None => Ok(file.insert(create(path)?)),
    }
}

fn fold(log: &mut File, head: u64, ring: &Ring, cut: u64) -> io::Result<()> {
    log.seek(SeekFrom::Start(head))?;
    if cut > 0 {
        log.write_all(cut_marker(cut).as_bytes())?;
    }
    let mut buffer = vec![0; RING_WRITE_MAX_BYTES];
    let mut from = cut;
    while from < ring.total() {
        let n = ring.read_at(&mut buffer, from)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        log.write_all(&buffer[..n])?;
        from += n as u64;
    }
    Ok(())
}

/// The newest bytes beyond the head, in a file that goes round. Offsets count from the head's end.
#[derive(Debug)]
pub struct Ring {
    file: File,
    head: u64,
    tail_max: u64,
    total: u64,
}

impl Ring {
    fn create(path: &Path, head: u64, tail_max: u64) -> io::Result<Self> {
        let ring = Self { file: create(path)?, head, tail_max, total: 0 };
        ring.write_header()?;
        Ok(ring)
    }

    /// The ring at `path`, as far as it has been written; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut header = [0; RING_HEADER_BYTES];
        match file.read_exact(&mut header) {
            Ok(()) => {}
            // Just being made.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(e) => return Err(e),
        }
        let number =
            |at: usize| header.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        if &header[..8] != RING_MAGIC {
            return Ok(None);
        }
        Ok(Some(Self { file, head: number(8), tail_max: number(16), total: number(24) }))
    }

    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes ever written.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are still there.
    pub fn kept(&self) -> u64 {
        self.total.min(self.tail_max)
    }

    /// Reads from `offset`, which must be among the kept; short at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let want = usize::try_from(self.total.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let mut done = 0;
        while done < want {
            let (place, run) = self.place(offset + done as u64);
            let step = (want - done).min(run);
            self.file.read_exact_at(&mut buffer[done..done + step], place)?;
            done += step;
        }
        Ok(done)
    }

    /// The data first, then the count: what the header promises is there.
    fn put(&mut self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let (place, run) = self.place(self.total);
            let step = (bytes.len() - done).min(run).min(RING_WRITE_MAX_BYTES);
            if self.file.write_all_at(&bytes[done..done + step], place).is_err() {
                break;
            }
            self.total += step as u64;
            done += step;
            if self.write_header().is_err() {
                break;
            }
        }
        done
    }

    /// Place in the file of the byte at `offset`, and how many follow it there.
    fn place(&self, offset: u64) -> (u64, usize) {
        let size = self.tail_max + RING_SPARE_BYTES;
        let at = offset % size;
        (RING_HEADER_BYTES as u64 + at, usize::try_from(size - at).unwrap_or(usize::MAX))
    }

    fn write_header(&self) -> io::Result<()> {
        let mut header = [0; RING_HEADER_BYTES];
        header[..8].copy_from_slice(RING_MAGIC);
        header[8..16].copy_from_slice(&self.head.to_le_bytes());
        header[16..24].copy_from_slice(&self.tail_max.to_le_bytes());
        header[24..].copy_from_slice(&self.total.to_le_bytes());
        self.file.write_all_at(&header, 0)
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(FILE_MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(log_max: u64, writes: &[&[u8]]) -> (String, Totals) {
        let dir = tempfile::tempdir().unwrap();
        let (path, tail) = (dir.path().join("log"), dir.path().join("tail"));
        let mut log = Log::new(&path, &tail, log_max);
        for bytes in writes {
            log.write(bytes);
        }
        let totals = log.finish();
        log.forget_ring();
        assert!(!tail.exists());
        (String::from_utf8(std::fs::read(path).unwrap_or_default()).unwrap(), totals)
    }

    #[test]
    fn what_fits_is_kept_whole() {
        assert_eq!(
            log_of(10, &[b"01234", b"56789"]),
            ("0123456789".into(), Totals { bytes: 10, cut: 0, lost: 0 })
        );
        assert_eq!(log_of(10, &[b"0123456789"]).0, "0123456789");
        assert_eq!(log_of(10, &[]).0, "");
    }

    #[test]
    fn one_byte_too_many_cuts_one_byte_in_the_middle() {
        let (text, totals) = log_of(10, &[b"0123456789a"]);
        assert_eq!(text, format!("01234{}6789a", cut_marker(1)));
        assert_eq!(totals, Totals { bytes: 11, cut: 1, lost: 0 });
    }

    #[test]
    fn the_ring_goes_round_many_times() {
        let line: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{n:06}\n").into_bytes()).collect();
        let (text, totals) = log_of(1000, &[&line, b"end"]);
        assert_eq!(totals.bytes, 700_003);
        assert_eq!(totals.cut, 699_003);
        assert!(text.starts_with("000000\n000001\n") && text.ends_with("099999\nend"));
        assert_eq!(text.len(), 1000 + cut_marker(699_003).len());
    }

    #[test]
    fn a_full_disk_drops_counts_and_never_fails() {
        let dir = tempfile::tempdir().unwrap();
        let full = dir.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let mut log = Log::new(&full, &dir.path().join("tail"), 100);
        log.write(b"hello");
        log.write(b"world");
        assert_eq!(log.finish(), Totals { bytes: 0, cut: 0, lost: 10 });
    }

    #[test]
    fn lost_bytes_are_marked_where_they_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(&path, &dir.path().join("tail"), 1000);
        log.write(b"before");
        (log.unmarked, log.lost) = (7, 7);
        log.write(b"after");
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "before\n[lucid: 7 bytes lost here, the log could not be written]\nafter"
        );
    }
}
