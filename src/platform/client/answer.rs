//! An answer: its head, and its body by length, by chunks or until the connection closes.

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::ClientError;
use super::events::Events;

/// Longest head of an answer, in bytes.
const HEAD_MAX: u64 = 64 * 1024;
/// Longest answer that is read whole, in bytes.
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// How the end of a body is told.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// Bytes still to come.
    Length(u64),
    /// Bytes still to come of the present chunk, 0 between two.
    Chunk(u64),
    UntilClose,
    Ended,
}

/// An answer whose body is still to be read; reading one that was cut short is an error.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    framing: Framing,
    input: BufReader<UnixStream>,
    limit: Duration,
}

impl Answer {
    pub(super) fn read(stream: UnixStream, limit: Duration) -> Result<Self, ClientError> {
        let mut input = BufReader::new(stream);
        loop {
            let (status, headers) = read_head(&mut input, limit)?;
            if (100..200).contains(&status) {
                continue;
            }
            let framing = framing_of(status, &headers)?;
            return Ok(Self { status, headers, framing, input, limit });
        }
    }

    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, which is written in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`ClientError`] when it is cut short, too late or too large.
    pub fn bytes(mut self) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        let limit = self.limit;
        (&mut self).take(BODY_MAX).read_to_end(&mut body).map_err(|e| ClientError::from_io(e, limit))?;
        if body.len() as u64 == BODY_MAX {
            return Err(ClientError::Malformed("it is larger than 64 MiB"));
        }
        Ok(body)
    }

    /// The body as server-sent events.
    #[must_use]
    pub fn events(self) -> Events {
        Events::new(self)
    }

    /// Bounds the silence until the next byte.
    pub(super) fn wait_at_most(&self, limit: Duration) -> io::Result<()> {
        self.input.get_ref().set_read_timeout(Some(limit))
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.input).take(HEAD_MAX).read_line(&mut line)?;
        if line.ends_with('\n') { Ok(line.trim_end().to_owned()) } else { Err(cut_short()) }
    }

    /// Moves to the next chunk, or to the end.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let line = self.read_line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a chunk without its size"))?;
        if size == 0 {
            while !self.read_line()?.is_empty() {}
            self.framing = Framing::Ended;
        } else {
            self.framing = Framing::Chunk(size);
        }
        Ok(size)
    }

    fn read_at_most(&mut self, buffer: &mut [u8], left: u64) -> io::Result<usize> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..most) else { return Ok(0) };
        match self.input.read(part)? {
            0 => Err(cut_short()),
            read => Ok(read),
        }
    }
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.framing {
            Framing::Ended | Framing::Length(0) => {
                self.framing = Framing::Ended;
                Ok(0)
            }
            Framing::UntilClose => self.input.read(buffer),
            Framing::Length(left) => {
                let read = self.read_at_most(buffer, left)?;
                self.framing = Framing::Length(left - read as u64);
                Ok(read)
            }
            Framing::Chunk(left) => {
                let left = if left == 0 { self.next_chunk()? } else { left };
                if left == 0 {
                    return Ok(0);
                }
                let read = self.read_at_most(buffer, left)?;
                self.framing = Framing::Chunk(left - read as u64);
                if left == read as u64 && !self.read_line()?.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk longer than its size"));
                }
                Ok(read)
            }
        }
    }
}

pub(super) fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut short")
}

type Head = (u16, Vec<(String, String)>);

fn read_head(input: &mut BufReader<UnixStream>, limit: Duration) -> Result<Head, ClientError> {
    let mut bounded = input.take(HEAD_MAX);
    let mut line = || {
        let mut line = String::new();
        bounded.read_line(&mut line).map_err(|e| ClientError::from_io(e, limit))?;
        if line.ends_with('\n') {
            Ok(line.trim_end().to_owned())
        } else if bounded.limit() == 0 {
            Err(ClientError::Malformed("its head is too long"))
        } else {
            Err(ClientError::Broken(cut_short()))
        }
    };
    let first = line()?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse::<u16>().ok())
        .ok_or(ClientError::Malformed("its first line has no status"))?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        if text.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = text.split_once(':').ok_or(ClientError::Malformed("a header without a colon"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn framing_of(status: u16, headers: &[(String, String)]) -> Result<Framing, ClientError> {
    if status == 204 || status == 304 {
        return Ok(Framing::Ended);
    }
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    if header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().ends_with("chunked")) {
        return Ok(Framing::Chunk(0));
    }
    header("content-length").map_or(Ok(Framing::UntilClose), |text| {
        text.parse().map(Framing::Length).map_err(|_| ClientError::Malformed("its length is no number"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::played::{Daemon, raw};
    use super::super::{Client, Request};
    use super::*;

    fn answer(text: &str) -> Result<Answer, ClientError> {
        let daemon = Daemon::play(vec![raw(text)]);
        Client::new(daemon.socket(), None).send(&Request::get("/"))
    }

    fn body(text: &str) -> Result<String, ClientError> {
        answer(text)?.bytes().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn bodies_end_by_length_by_chunks_and_by_close() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more").unwrap(), "hello");
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: 1\r\n\r\n";
        assert_eq!(body(chunked).unwrap(), "hello");
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nhello").unwrap(), "hello");
        assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), "");
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap(), "");
        let continued = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(body(continued).unwrap(), "ok");
    }

    #[test]
    fn an_answer_that_was_cut_short_is_never_taken_for_whole() {
        let cut = [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ];
        for text in cut {
            assert!(matches!(body(text), Err(ClientError::Broken(_))), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_http_is_refused() {
        let bad = [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        ];
        for text in bad {
            assert!(matches!(answer(text), Err(ClientError::Malformed(_))), "{text:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * 64 * 1024));
        assert!(matches!(answer(&endless), Err(ClientError::Malformed(_))));
        let wrong_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n";
        assert!(matches!(body(wrong_chunk), Err(ClientError::Broken(_))));
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let answer =
            answer("HTTP/1.1 409 Conflict\r\nX-Log-SIZE:  12 \r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!((answer.status(), answer.header("x-log-size")), (409, Some("12")));
    }
}
