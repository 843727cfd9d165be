//! The lines of a worker's output as its keeper writes them, from where they were last taken in.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// Read at once, in bytes; one longer line is read whole all the same.
const BATCH_BYTES: u64 = 1024 * 1024;
/// Lines of one batch.
const LINES_MAX: usize = 500;
/// Longest line that is read, in bytes; the keeper cuts earlier.
const LINE_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Times that what is left is tried to be read, and the wait in between.
const TRIES: u32 = 20;
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Whole lines and where the next begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    pub lines: Vec<String>,
    pub to_bytes: u64,
}

/// Whether the writer is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Alive,
    /// What stands there is all: a line without its end is one as well.
    Gone,
}

/// What stands behind `from_bytes`. Blocks.
pub(super) fn read(path: &Path, from_bytes: u64, writer: Writer) -> io::Result<Batch> {
    let none = Batch { lines: Vec::new(), to_bytes: from_bytes };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(none),
        Err(e) => return Err(e),
    };
    let mut want = BATCH_BYTES;
    loop {
        file.seek(SeekFrom::Start(from_bytes))?;
        let mut bytes = Vec::new();
        (&file).take(want).read_to_end(&mut bytes)?;
        let is_all = (bytes.len() as u64) < want;
        let batch = split(&bytes, from_bytes, if is_all { writer } else { Writer::Alive });
        if !batch.lines.is_empty() || is_all || want >= LINE_MAX_BYTES {
            return Ok(batch);
        }
        want = LINE_MAX_BYTES;
    }
}

/// What a writer that is gone has left behind `from_bytes`. A file that cannot be read, by a shortage of descriptors
/// say, is tried again for a while: what stands there will not be looked at again. Blocks.
pub(super) fn read_rest(path: &Path, from_bytes: u64) -> io::Result<Batch> {
    for _ in 1..TRIES {
        match read(path, from_bytes, Writer::Gone) {
            Ok(batch) => return Ok(batch),
            Err(_) => std::thread::sleep(TRY_EVERY),
        }
    }
    read(path, from_bytes, Writer::Gone)
}

fn split(bytes: &[u8], from_bytes: u64, writer: Writer) -> Batch {
    let mut batch = Batch { lines: Vec::new(), to_bytes: from_bytes };
    let mut rest = bytes;
    while batch.lines.len() < LINES_MAX && !rest.is_empty() {
        let (line, taken) = match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) => (&rest[..end], end + 1),
            None if writer == Writer::Gone => (rest, rest.len()),
            None => break,
        };
        batch.lines.push(String::from_utf8_lossy(line).into_owned());
        batch.to_bytes += taken as u64;
        rest = &rest[taken..];
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        assert_eq!(read(&path, 0, Writer::Alive).unwrap(), Batch::default());
        std::fs::write(&path, b"one\n\ntw\xff\nhalf").unwrap();
        let first = read(&path, 0, Writer::Alive).unwrap();
        assert_eq!(first.lines, ["one", "", "tw\u{fffd}"]);
        assert_eq!(read(&path, first.to_bytes, Writer::Alive).unwrap().lines, Vec::<String>::new());
        let last = read(&path, first.to_bytes, Writer::Gone).unwrap();
        assert_eq!((last.lines, last.to_bytes), (vec!["half".to_owned()], 13));
    }

    #[test]
    fn what_is_left_outlives_a_file_that_cannot_be_read_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(read(&path, 0, Writer::Gone).is_err());
        let (whole, later) = (dir.path().join("whole"), path.clone());
        std::fs::write(&whole, "the result").unwrap();
        let mender = std::thread::spawn(move || {
            std::thread::sleep(TRY_EVERY / 2);
            std::fs::rename(whole, later).unwrap();
        });
        let rest = read_rest(&path, 0).unwrap();
        mender.join().unwrap();
        assert_eq!(rest.lines, ["the result"]);
    }

    #[test]
    fn a_line_longer_than_a_batch_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let long = "x".repeat(3_000_000);
        std::fs::write(&path, format!("{long}\nnext\n")).unwrap();
        let batch = read(&path, 0, Writer::Alive).unwrap();
        assert_eq!(batch.lines.len(), 2);
        assert_eq!(batch.lines[0].len(), 3_000_000);
        let many = "y\n".repeat(2 * LINES_MAX);
        std::fs::write(&path, many).unwrap();
        assert_eq!(read(&path, 0, Writer::Gone).unwrap().lines.len(), LINES_MAX);
    }
}
