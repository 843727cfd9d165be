//! `events.jsonl`: a command's standard output as whole lines, under a hard limit, in flat memory.
//!
//! A line that is too long is replaced by a marker with its beginning. When the file is full, the lines that
//! follow are counted; the last of them is kept after all, because the last line is the result. Lines that an error
//! kept out leave such a gap too, and the file goes on when it can be written again.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::spec::FILE_MODE;

/// Longest line that is kept whole, in bytes without its end.
pub const LINE_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How much of a longer line its marker quotes, in bytes.
const QUOTE_MAX_BYTES: usize = 1024;

/// The file while it is written.
#[derive(Debug)]
pub struct Lines {
    file: File,
    max_bytes: u64,
    written: u64,
    line: Vec<u8>,
    /// Bytes of the current line that are not in `line`.
    beyond: u64,
    /// At its limit: nothing more goes in before the end.
    full: bool,
    /// Lines that found no room, or met an error, since the last one that is in the file; their bytes.
    gap: (u64, u64),
    /// The last line of the gap.
    last: Vec<u8>,
    dropped_bytes: u64,
    /// A write was torn by an error: the next one starts on a line of its own.
    torn: bool,
}

impl Lines {
    /// Starts an empty file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
        Ok(Self {
            file,
            max_bytes,
            written: 0,
            line: Vec::new(),
            beyond: 0,
            full: false,
            gap: (0, 0),
            last: Vec::new(),
            dropped_bytes: 0,
            torn: false,
        })
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.gather(&rest[..end]);
            self.end_line();
            rest = &rest[end + 1..];
        }
        self.gather(rest);
    }

    /// The stream has ended, with or without a line break. Returns the bytes that were dropped.
    pub fn finish(&mut self) -> u64 {
        if !self.line.is_empty() || self.beyond > 0 {
            self.end_line();
        }
        self.close_gap();
        self.dropped_bytes
    }

    fn gather(&mut self, bytes: &[u8]) {
        let room = (LINE_MAX_BYTES - self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.beyond += (bytes.len() - room) as u64;
    }

    fn end_line(&mut self) {
        if self.beyond > 0 {
            let bytes = self.line.len() as u64 + self.beyond;
            let quote = String::from_utf8_lossy(&self.line[..QUOTE_MAX_BYTES]).into_owned();
            let mark = serde_json::json!({"lucid": "line_cut", "bytes": bytes, "begins": quote});
            self.line = mark.to_string().into_bytes();
            self.beyond = 0;
        }
        let line = std::mem::take(&mut self.line);
        let (gap, size) = (self.gap_bytes(), line.len() as u64 + 1);
        self.full |= self.written.saturating_add(gap).saturating_add(size) > self.max_bytes;
        if self.full || !self.close_gap() || !self.put(&line) {
            self.gap = (self.gap.0 + 1, self.gap.1 + size);
            self.dropped_bytes += size;
            self.last = line;
            return;
        }
        self.line = line;
        self.line.clear();
    }

    fn mark(&self) -> String {
        let (lines, bytes) = self.gap;
        format!(r#"{{"lucid":"lines_dropped","lines":{lines},"bytes":{bytes}}}"#)
    }

    /// What closing the gap takes in the file.
    fn gap_bytes(&self) -> u64 {
        if self.gap.0 == 0 { 0 } else { (self.mark().len() + self.last.len() + 2) as u64 }
    }

    /// Marks the gap, if there is one, and puts its last line behind it; false when that cannot be written.
    fn close_gap(&mut self) -> bool {
        if self.gap.0 == 0 {
            return true;
        }
        // In one write: a mark without its line would be said again.
        let mut whole = self.mark().into_bytes();
        whole.push(b'\n');
        whole.extend_from_slice(&self.last);
        let closed = self.put(&whole);
        if closed {
            self.gap = (0, 0);
            self.last = Vec::new();
        }
        closed
    }

    /// One write for line and end: a follower that reads up to the last line break never sees half of one.
    fn put(&mut self, line: &[u8]) -> bool {
        let mut whole = Vec::with_capacity(line.len() + 2);
        if self.torn {
            whole.push(b'\n');
        }
        whole.extend_from_slice(line);
        whole.push(b'\n');
        let failed = self.file.write_all(&whole).is_err();
        if failed {
            // Half a line counts as well.
            let end = self.file.stream_position().map_or(self.written, |end| end.max(self.written));
            self.torn |= end > self.written;
            self.written = end;
        } else {
            self.torn = false;
            self.written += whole.len() as u64;
        }
        !failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(max_bytes: u64, reads: &[&[u8]]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut lines = Lines::create(&path, max_bytes).unwrap();
        for read in reads {
            lines.feed(read);
        }
        lines.finish();
        String::from_utf8(std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn lines_stay_whole_whatever_the_reads() {
        assert_eq!(lines_of(100, &[b"{\"a\"", b":1}\n{}", b"\n\nend"]), "{\"a\":1}\n{}\n\nend\n");
    }

    #[test]
    fn a_full_file_marks_the_gap_and_keeps_the_result() {
        let text = lines_of(6, &[b"one\ntwo\nthree\nresult\n"]);
        assert_eq!(text, "one\n{\"lucid\":\"lines_dropped\",\"lines\":3,\"bytes\":17}\nresult\n");
    }

    #[test]
    fn an_error_leaves_a_gap_and_the_file_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let mut lines = Lines::create(&path, 1000).unwrap();
        lines.feed(b"one\n");
        let broken = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sound = std::mem::replace(&mut lines.file, broken);
        lines.feed(b"two\nthree\n");
        assert!(!lines.torn);
        // As a disk leaves it that had room for half a line.
        sound.write_all(b"thr").unwrap();
        (lines.file, lines.torn) = (sound, true);
        lines.feed(b"four\nfive\n");
        assert_eq!(lines.finish(), 10);
        let text = std::fs::read_to_string(path).unwrap();
        let mark = "{\"lucid\":\"lines_dropped\",\"lines\":2,\"bytes\":10}";
        assert_eq!(text, format!("one\nthr\n{mark}\nthree\nfour\nfive\n"));
    }

    #[test]
    fn a_file_that_goes_on_keeps_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = Lines::create(&dir.path().join("events"), 60).unwrap();
        let broken = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let sound = std::mem::replace(&mut lines.file, broken);
        lines.feed(b"one\n");
        lines.file = sound;
        lines.feed(b"two\nthree\nfour\n");
        assert!(lines.full && lines.written <= 60, "{lines:?}");
    }

    #[test]
    fn a_line_beyond_the_limit_becomes_a_marker() {
        let big = vec![b'x'; 3 * LINE_MAX_BYTES];
        let text = lines_of(u64::MAX, &[&big, b"\nnext\n"]);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (first["lucid"].as_str(), first["bytes"].as_u64()),
            (Some("line_cut"), Some(3 * LINE_MAX_BYTES as u64))
        );
        assert_eq!(text.lines().nth(1), Some("next"));
        assert!(text.len() < 2 * QUOTE_MAX_BYTES);
    }
}
