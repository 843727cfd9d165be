//! What the daemon says to a running keeper: lines through the FIFO `control`, and input through `stdin.jsonl`.
//!
//! Both ends of the language are here, so that they cannot differ. Writing never waits.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::spec::{FILE_MODE, name};
use crate::platform::{failpoint, files};

/// A line of `stdin.jsonl` that is not forwarded but closes the command's standard input.
pub const STDIN_END: &str = r#"{"lucid":"end"}"#;

/// Longest line of `control`, in bytes; less than PIPE_BUF, so that lines never mix.
pub const CONTROL_LINE_MAX_BYTES: usize = 1024;

/// A line of `control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    Stop {
        reason: String,
        grace: Option<Duration>,
    },
    /// Forward what `stdin.jsonl` holds now, then close the command's standard input.
    CloseStdin,
    /// `stdin.jsonl` has grown.
    Stdin,
}

impl Order {
    /// The line, with its end. A reason is cut at [`CONTROL_LINE_MAX_BYTES`] and its line breaks become blanks.
    pub fn line(&self) -> String {
        match self {
            Self::Stop { reason, grace } => {
                let grace = grace.map_or_else(|| "-".to_owned(), |g| g.as_millis().to_string());
                let mut line = format!("stop {grace} {}", reason.replace(['\n', '\r'], " "));
                while line.len() >= CONTROL_LINE_MAX_BYTES {
                    line.pop();
                }
                line.push('\n');
                line
            }
            Self::CloseStdin => "close_stdin\n".to_owned(),
            Self::Stdin => "stdin\n".to_owned(),
        }
    }

    /// Reads a line without its end; `None` when it is none of ours.
    pub fn parse(line: &str) -> Option<Self> {
        match line {
            "close_stdin" => return Some(Self::CloseStdin),
            "stdin" => return Some(Self::Stdin),
            _ => {}
        }
        let (grace, reason) = line.strip_prefix("stop ")?.split_once(' ')?;
        let grace = if grace == "-" { None } else { Some(Duration::from_millis(grace.parse().ok()?)) };
        Some(Self::Stop { reason: reason.to_owned(), grace })
    }
}

/// The keeper's end of `control`.
#[derive(Debug)]
pub struct Orders {
    fifo: File,
    half: Vec<u8>,
}

impl Orders {
    /// Makes the FIFO anew and opens it for both ways: with a writer of our own it never ends.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(name::CONTROL);
        let make =
            || rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(FILE_MODE));
        match make() {
            // Of a keeper that was never let go.
            Err(rustix::io::Errno::EXIST) => std::fs::remove_file(&path).and_then(|()| Ok(make()?))?,
            made => made?,
        }
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { fifo, half: Vec::new() })
    }

    /// To be polled.
    pub fn fifo(&self) -> BorrowedFd<'_> {
        self.fifo.as_fd()
    }

    /// What has come since the last time.
    pub fn take(&mut self) -> Vec<Order> {
        let mut orders = Vec::new();
        let mut block = [0; CONTROL_LINE_MAX_BYTES];
        while let Ok(read @ 1..) = self.fifo.read(&mut block) {
            for &byte in &block[..read] {
                if byte != b'\n' {
                    self.half.push(byte);
                    // A longer line is not of our making; what is left of it is no order.
                    self.half.truncate(CONTROL_LINE_MAX_BYTES);
                    continue;
                }
                let line = std::mem::take(&mut self.half);
                orders.extend(std::str::from_utf8(&line).ok().and_then(Order::parse));
            }
        }
        orders
    }
}

/// Asks the keeper of `dir` to end its run: SIGTERM to the whole tree, SIGKILL after `grace` (the run's own
/// `kill_grace` when `None`; never longer than that).
///
/// # Errors
/// `ENXIO` or not found: no keeper listens, the run is over or never was.
pub fn stop(dir: &Path, reason: &str, grace: Option<Duration>) -> io::Result<()> {
    send(dir, &Order::Stop { reason: reason.to_owned(), grace })
}

/// Closes a live command's standard input, once what `stdin.jsonl` holds has been forwarded.
///
/// # Errors
/// As [`stop`].
pub fn close_stdin(dir: &Path) -> io::Result<()> {
    send(dir, &Order::CloseStdin)
}

/// Appends one line to `stdin.jsonl` and wakes the keeper. Half a line that an earlier writer left is removed:
/// the keeper has forwarded none of it. There must be one writer at a time.
///
/// # Errors
/// The line holds a line break or is the end marker, or the file cannot be written. That the keeper cannot be
/// woken is no error: it looks by itself.
pub fn append_stdin(dir: &Path, line: &str) -> io::Result<()> {
    if line.contains('\n') || line == STDIN_END {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "input for a live command is one line of text",
        ));
    }
    let path = dir.join(name::STDIN);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    let whole = end_of_last_line(&mut file)?;
    file.set_len(whole)?;
    file.seek(SeekFrom::Start(whole))?;
    failpoint::hit("message.append")?;
    file.write_all(format!("{line}\n").as_bytes())?;
    let _ = send(dir, &Order::Stdin);
    Ok(())
}

/// Begins `stdin.jsonl` anew with `lines`, before the command starts; no file when there are none.
///
/// # Errors
/// As [`append_stdin`].
pub fn begin_stdin(dir: &Path, lines: &[String]) -> io::Result<()> {
    files::remove(&dir.join(name::STDIN))?;
    lines.iter().try_for_each(|line| append_stdin(dir, line))
}

fn send(dir: &Path, order: &Order) -> io::Result<()> {
    let path = dir.join(name::CONTROL);
    let fifo = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    (&fifo).write_all(order.line().as_bytes())
}

/// Offset just behind the last line break.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const STEP_BYTES: u64 = 4096;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        (&*file).take(end - start).read_to_end(&mut block)?;
        if let Some(at) = block.iter().rposition(|&b| b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_way_through_the_fifo() {
        for order in [
            Order::Stop { reason: "cancelled by ana".into(), grace: Some(Duration::from_millis(1500)) },
            Order::Stop { reason: String::new(), grace: None },
            Order::CloseStdin,
            Order::Stdin,
        ] {
            let line = order.line();
            assert_eq!(Order::parse(line.strip_suffix('\n').unwrap()), Some(order));
        }
        let long = Order::Stop { reason: "ü\n".repeat(4000), grace: None }.line();
        assert!(long.len() <= CONTROL_LINE_MAX_BYTES && long.matches('\n').count() == 1);
        for alien in ["", "stop", "stop x", "stop x y", "kill"] {
            assert_eq!(Order::parse(alien), None, "{alien}");
        }
    }

    #[test]
    fn half_a_line_gives_way_to_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        append_stdin(dir.path(), "one").unwrap();
        let path = dir.path().join(name::STDIN);
        std::fs::write(&path, format!("one\n{}", "half".repeat(5000))).unwrap();
        append_stdin(dir.path(), "two").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
        assert!(append_stdin(dir.path(), "a\nb").is_err());
        assert!(append_stdin(dir.path(), STDIN_END).is_err());
    }

    #[test]
    fn orders_arrive_one_by_one_and_noise_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut orders = Orders::open(dir.path()).unwrap();
        close_stdin(dir.path()).unwrap();
        stop(dir.path(), "enough", None).unwrap();
        assert_eq!(orders.take(), [Order::CloseStdin, Order::Stop { reason: "enough".into(), grace: None }]);
        (&orders.fifo).write_all(&[b'x'; 5000]).unwrap();
        (&orders.fifo).write_all(b"\nstdin\nstd").unwrap();
        assert_eq!(orders.take(), [Order::Stdin]);
        (&orders.fifo).write_all(b"in\n").unwrap();
        assert_eq!(orders.take(), [Order::Stdin]);
    }

    #[test]
    fn nobody_listens_is_an_error_not_a_wait() {
        let dir = tempfile::tempdir().unwrap();
        assert!(stop(dir.path(), "x", None).is_err());
    }
}
