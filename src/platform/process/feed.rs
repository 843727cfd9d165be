//! The command's standard input: a text, or the whole lines of `stdin.jsonl` as they are appended.
//!
//! Never waits for the command to read, and holds at most one block in memory besides a given text.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::control::STDIN_END;
use super::spec::{Stdin, name};

/// Read and written at once, in bytes.
const BLOCK_BYTES: usize = 32 * 1024;

/// What is still to be written, and where to.
pub struct Feed {
    /// Gone when everything is written or the command has closed its end.
    pipe: Option<File>,
    source: Source,
}

enum Source {
    Text { text: Vec<u8>, done: usize },
    Live(Live),
}

struct Live {
    path: PathBuf,
    file: Option<File>,
    /// Everything before is written.
    sent: u64,
    /// Everything before is whole lines.
    whole: u64,
    ended: bool,
    close_asked: bool,
}

impl Feed {
    /// The feed and the command's end of it; `None` when there is nothing to feed.
    ///
    /// # Errors
    /// A pipe cannot be made.
    pub fn open(stdin: &Stdin, dir: &std::path::Path) -> io::Result<Option<(Self, OwnedFd)>> {
        let source = match stdin {
            Stdin::Null => return Ok(None),
            Stdin::Text(text) => Source::Text { text: text.clone().into_bytes(), done: 0 },
            Stdin::Live => Source::Live(Live {
                path: dir.join(name::STDIN),
                file: None,
                sent: 0,
                whole: 0,
                ended: false,
                close_asked: false,
            }),
        };
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Some((Self { pipe: Some(File::from(OwnedFd::from(writer))), source }, reader.into())))
    }

    /// Follows a file, so that somebody must look from time to time.
    pub fn is_live(&self) -> bool {
        self.pipe.is_some() && matches!(self.source, Source::Live(_))
    }

    /// To be polled for room, while there is something to write.
    pub fn wants_room(&self) -> Option<BorrowedFd<'_>> {
        let pending = match &self.source {
            Source::Text { .. } => true,
            Source::Live(live) => live.sent < live.whole,
        };
        self.pipe.as_ref().filter(|_| pending).map(File::as_fd)
    }

    /// No more will be appended.
    pub fn close_soon(&mut self) {
        if let Source::Live(live) = &mut self.source {
            live.close_asked = true;
        }
        self.advance();
    }

    /// Writes what the pipe takes now.
    pub fn advance(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let is_done = match &mut self.source {
            Source::Text { text, done } => write_some(pipe, text, done).map(|()| *done == text.len()),
            Source::Live(live) => live.advance(pipe),
        };
        match is_done {
            Ok(false) => {}
            // An error is the command that has closed its input.
            Ok(true) | Err(_) => {
                self.pipe = None;
                if let Source::Text { text, .. } = &mut self.source {
                    *text = Vec::new();
                }
            }
        }
    }
}

impl Live {
    /// Whether everything is written and no more will come.
    fn advance(&mut self, pipe: &mut File) -> io::Result<bool> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(_) => return Ok(self.close_asked),
            }
        }
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            if self.sent == self.whole && !self.ended {
                self.look_on(&mut block);
            }
            if self.sent == self.whole {
                return Ok(self.ended || self.close_asked);
            }
            let want = usize::try_from(self.whole - self.sent).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
            let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let read = file.read_at(&mut block[..want], self.sent)?;
            let mut done = 0;
            let result = write_some(pipe, &block[..read], &mut done);
            self.sent += done as u64;
            result?;
            if done < read || read == 0 {
                return Ok(false);
            }
        }
    }

    /// Looks for line ends until there is a whole line, or nothing new. Begins behind the last whole line each time:
    /// half a line may have given way to a shorter one since.
    fn look_on(&mut self, block: &mut [u8]) {
        let Some(file) = &self.file else { return };
        let mut seen = self.whole;
        // As far as it may be the end marker.
        let mut line = Vec::new();
        while self.whole == self.sent && !self.ended {
            let Ok(read @ 1..) = file.read_at(block, seen) else { return };
            for (at, &byte) in block[..read].iter().enumerate() {
                if byte != b'\n' {
                    // One byte more than the marker is enough to tell that it is another line.
                    if line.len() <= STDIN_END.len() {
                        line.push(byte);
                    }
                    continue;
                }
                if line == STDIN_END.as_bytes() {
                    self.ended = true;
                    return;
                }
                line.clear();
                self.whole = seen + at as u64 + 1;
            }
            seen += read as u64;
        }
    }
}

fn write_some(pipe: &mut File, bytes: &[u8], done: &mut usize) -> io::Result<()> {
    while *done < bytes.len() {
        match pipe.write(&bytes[*done..]) {
            Ok(n) => *done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::control::append_stdin;
    use super::*;
    use std::io::Read as _;

    fn read_all(fd: OwnedFd) -> String {
        let mut text = String::new();
        File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    fn live(dir: &std::path::Path) -> (Feed, File) {
        let (feed, end) = Feed::open(&Stdin::Live, dir).unwrap().unwrap();
        rustix::io::ioctl_fionbio(&end, true).unwrap();
        (feed, File::from(end))
    }

    fn available(file: &mut File) -> String {
        let mut bytes = vec![0; 1 << 16];
        let n = file.read(&mut bytes).unwrap_or(0);
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }

    #[test]
    fn a_text_goes_through_in_pieces() {
        let text = "0123456789".repeat(50_000);
        let (mut feed, end) =
            Feed::open(&Stdin::Text(text.clone()), std::path::Path::new("/")).unwrap().unwrap();
        let reader = std::thread::spawn(move || read_all(end));
        while feed.wants_room().is_some() {
            feed.advance();
        }
        assert_eq!(reader.join().unwrap(), text);
    }

    #[test]
    fn only_whole_lines_are_forwarded_until_the_marker() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, mut end) = live(dir.path());
        feed.advance();
        let path = dir.path().join(name::STDIN);
        std::fs::write(&path, "one\nha").unwrap();
        feed.advance();
        assert_eq!(available(&mut end), "one\n");
        append_stdin(dir.path(), "two").unwrap();
        std::fs::write(&path, format!("one\ntwo\n{STDIN_END}\nlate\n")).unwrap();
        feed.advance();
        assert!(!feed.is_live());
        assert_eq!(available(&mut end), "two\n");
        assert_eq!(available(&mut end), "");
    }

    #[test]
    fn a_line_that_is_shorter_than_the_half_it_replaces_goes_through_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, mut end) = live(dir.path());
        let path = dir.path().join(name::STDIN);
        std::fs::write(&path, "one\nhalf of a long line").unwrap();
        feed.advance();
        assert_eq!(available(&mut end), "one\n");
        append_stdin(dir.path(), "two").unwrap();
        feed.advance();
        assert_eq!(available(&mut end), "two\n");
    }

    #[test]
    fn a_close_forwards_what_is_there_first() {
        let dir = tempfile::tempdir().unwrap();
        let (mut feed, mut end) = live(dir.path());
        std::fs::write(dir.path().join(name::STDIN), "last\nhalf").unwrap();
        feed.close_soon();
        assert!(!feed.is_live());
        assert_eq!(available(&mut end), "last\n");
    }

    #[test]
    fn a_command_that_closed_its_input_ends_the_feed() {
        let (mut feed, end) =
            Feed::open(&Stdin::Text("x".into()), std::path::Path::new("/")).unwrap().unwrap();
        drop(end);
        feed.advance();
        assert!(feed.wants_room().is_none());
    }
}
