//! `events.jsonl`: a command's standard output as whole lines, under a hard limit, in flat memory.
//!
//! A line that is too long is replaced by a marker with its beginning. When the file is full, the lines that
//! follow are counted; the last of them is kept after all, because the last line is the result.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
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
    /// The last line that found no room.
    last: Vec<u8>,
    dropped_lines: u64,
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
            last: Vec::new(),
            dropped_lines: 0,
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
        if self.dropped_lines > 0 {
            let mark = format!(
                r#"{{"lucid":"lines_dropped","lines":{},"bytes":{}}}"#,
                self.dropped_lines, self.dropped_bytes
            );
            self.put(mark.as_bytes());
            let last = std::mem::take(&mut self.last);
            self.put(&last);
        }
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
        let size = self.line.len() as u64 + 1;
        if self.dropped_lines == 0 && self.written + size <= self.max_bytes {
            let line = std::mem::take(&mut self.line);
            if self.put(&line) {
                self.written += size;
            } else {
                self.drop_line(line);
                return;
            }
            self.line = line;
            self.line.clear();
        } else {
            let line = std::mem::take(&mut self.line);
            self.drop_line(line);
        }
    }

    fn drop_line(&mut self, line: Vec<u8>) {
        self.dropped_lines += 1;
        self.dropped_bytes += line.len() as u64 + 1;
        self.last = line;
    }

    /// One write for line and end: a follower that reads up to the last line break never sees half of one.
    fn put(&mut self, line: &[u8]) -> bool {
        let mut whole = Vec::with_capacity(line.len() + 2);
        if self.torn {
            whole.push(b'\n');
        }
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.torn = self.file.write_all(&whole).is_err();
        !self.torn
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
