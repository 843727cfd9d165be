//! HTTP/1.1 over a Unix socket, blocking and small: a command asks once and ends, so it starts no runtime.
//!
//! One connection a request. This file owns what is sent, `answer` the framing of what comes back, `events`
//! the reading of server-sent events; none knows what is asked or answered.

mod answer;
mod events;
#[cfg(test)]
pub mod played;

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use answer::Answer;
pub use events::{Event, Events, Heard};

/// Longest path that fits `sockaddr_un` with its closing NUL, in bytes.
const SOCKET_PATH_MAX: usize = 107;
/// How long an answer may take to begin, and its next byte to come, in seconds.
const ANSWER_SECS: u64 = 60;
/// Silence after which a stream counts as broken, in seconds; servers ping every 15 s.
const STREAM_SILENCE_SECS: u64 = 45;

/// Where and as whom to ask.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request; `path` is already encoded, query included (see [`Target`]).
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: Vec::new(), body: None }
    }

    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::Get, path)
    }

    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self::new(Method::Post, path)
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn json(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }
}

/// Builds a path with its query; every part is percent-encoded.
#[derive(Debug, Clone)]
pub struct Target {
    text: String,
    in_query: Query,
}

#[derive(Debug, Clone, Copy)]
enum Query {
    NotYet,
    Begun,
}

impl Target {
    /// Starts at `base`, which is taken as it is.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self { text: base.to_owned(), in_query: Query::NotYet }
    }

    /// Adds `/segment`; a slash inside it is encoded.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.text.push('/');
        encode(segment, &mut self.text);
        self
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.text.push(match self.in_query {
            Query::NotYet => '?',
            Query::Begun => '&',
        });
        self.in_query = Query::Begun;
        encode(name, &mut self.text);
        self.text.push('=');
        encode(value, &mut self.text);
        self
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.text
    }
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            into.push(char::from(byte));
        } else {
            // A String takes any text.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

/// Why there is no answer. A problem that the server tells of is an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("nothing listens on {}", socket.display())]
    NoListener { socket: PathBuf, source: io::Error },
    #[error("this user may not use {}", socket.display())]
    Denied { socket: PathBuf, source: io::Error },
    #[error("no answer within {}s", after.as_secs())]
    TimedOut { after: Duration },
    /// The request may or may not have been carried out.
    #[error("the connection broke off: {0}")]
    Broken(#[source] io::Error),
    #[error("the answer is not HTTP: {0}")]
    Malformed(&'static str),
    #[error("a request cannot carry {0}")]
    Unsendable(&'static str),
}

impl ClientError {
    /// True where asking again later may find the server back.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NoListener { .. } | Self::TimedOut { .. } | Self::Broken(_) => true,
            Self::Denied { .. } | Self::Malformed(_) | Self::Unsendable(_) => false,
        }
    }

    fn from_io(error: io::Error, limit: Duration) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut { after: limit },
            _ => Self::Broken(error),
        }
    }
}

impl Client {
    #[must_use]
    pub fn new(socket: PathBuf, token: Option<String>) -> Self {
        Self { socket, token }
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends `request` and reads the head of the answer; the body is read from the [`Answer`].
    ///
    /// # Errors
    /// [`ClientError`]; a status of 400 and above is no error here.
    pub fn send(&self, request: &Request) -> Result<Answer, ClientError> {
        self.send_within(request, Duration::from_secs(ANSWER_SECS))
    }

    /// As [`Client::send`]; `limit` bounds each wait for bytes, not the whole.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn send_within(&self, request: &Request, limit: Duration) -> Result<Answer, ClientError> {
        let head = self.head_of(request)?;
        let mut stream = self.connect()?;
        let io = |e| ClientError::from_io(e, limit);
        stream.set_read_timeout(Some(limit)).map_err(io)?;
        stream.set_write_timeout(Some(limit)).map_err(io)?;
        let sent = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(request.body.as_deref().unwrap_or_default()));
        // A server may answer (413, 401) and close before it has read everything: its answer counts first.
        match Answer::read(stream, limit) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(sent.err().map_or(error, io)),
        }
    }

    /// Opens an event stream, from after `last_id` where there is one.
    ///
    /// # Errors
    /// As [`Client::send`]; look at [`Answer::status`] before reading events.
    pub fn stream(&self, path: impl Into<String>, last_id: Option<&str>) -> Result<Answer, ClientError> {
        let mut request = Request::get(path).header("Accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        self.send_within(&request, Duration::from_secs(STREAM_SILENCE_SECS))
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        let tried = if self.socket.as_os_str().len() <= SOCKET_PATH_MAX {
            UnixStream::connect(&self.socket)
        } else {
            connect_through_folder(&self.socket)
        };
        tried.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
                    ClientError::NoListener { socket, source }
                }
                io::ErrorKind::PermissionDenied => ClientError::Denied { socket, source },
                _ => ClientError::Broken(source),
            }
        })
    }

    fn head_of(&self, request: &Request) -> Result<String, ClientError> {
        if !request.path.starts_with('/') || !request.path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ClientError::Unsendable("this path"));
        }
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
            request.method.name(),
            request.path
        );
        let token = self.token.as_ref().map(|token| ("Authorization", format!("Bearer {token}")));
        for (name, value) in request.headers.iter().chain(token.as_ref()) {
            if value.bytes().any(|b| b.is_ascii_control()) {
                return Err(ClientError::Unsendable("a control character in a header"));
            }
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &request.body {
            let _ = write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        } else if request.method != Method::Get {
            head.push_str("Content-Length: 0\r\n");
        }
        head.push_str("\r\n");
        Ok(head)
    }
}

/// A path too long for `sockaddr_un` is reached through a descriptor of its folder.
fn connect_through_folder(socket: &Path) -> io::Result<UnixStream> {
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let folder = std::fs::File::open(folder)?;
    UnixStream::connect(Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::played::{Daemon, ok_json, raw};
    use super::*;
    use std::io::Read as _;

    #[test]
    fn parts_of_a_path_are_encoded() {
        let target = Target::new("/api").segment("sub/näme").query("q", "a b&c=d").query("n", "1");
        assert_eq!(String::from(target), "/api/sub%2Fn%C3%A4me?q=a%20b%26c%3Dd&n=1");
    }

    #[test]
    fn what_is_sent_is_one_whole_request() {
        let daemon = Daemon::play(vec![ok_json("{}")]);
        let client = Client::new(daemon.socket(), Some("secret".to_owned()));
        let request = Request::post("/x?y=1").json(b"{\"a\":1}".to_vec()).header("Idempotency-Key", "k");
        assert_eq!(client.send(&request).unwrap().status(), 200);
        let head = "POST /x?y=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIdempotency-Key: k\r\n\
                    Authorization: Bearer secret\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(daemon.requests(), [format!("{head}{{\"a\":1}}")]);
    }

    #[test]
    fn nothing_may_be_smuggled_into_a_request() {
        let client = Client::new("/nowhere".into(), Some("a\r\nX: y".to_owned()));
        let refused = |request| matches!(client.send(&request), Err(ClientError::Unsendable(_)));
        assert!(refused(Request::get("/x")));
        let client = Client::new("/nowhere".into(), None);
        for path in ["x", "/a b", "/a\r\nX: y", "/ü", ""] {
            assert!(matches!(client.send(&Request::get(path)), Err(ClientError::Unsendable(_))), "{path}");
        }
        let split = Request::get("/x").header("Last-Event-ID", "1\r\nX: y");
        assert!(matches!(client.send(&split), Err(ClientError::Unsendable(_))));
    }

    #[test]
    fn who_is_not_there_is_told_from_who_does_not_let_in() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.sock");
        let plain_file = folder.path().join("file");
        std::fs::write(&plain_file, "").unwrap();
        for socket in [missing, plain_file.clone(), plain_file.join("below")] {
            let error = Client::new(socket, None).send(&Request::get("/")).unwrap_err();
            assert!(matches!(error, ClientError::NoListener { .. }), "{error:?}");
            assert!(error.is_passing());
        }
    }

    #[test]
    fn a_socket_beyond_the_length_of_an_address_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let daemon = Daemon::play_in(&deep, vec![ok_json("{}")]);
        assert!(daemon.socket().as_os_str().len() > SOCKET_PATH_MAX);
        assert_eq!(Client::new(daemon.socket(), None).send(&Request::get("/")).unwrap().status(), 200);
        let missing = Client::new(deep.join("f".repeat(60)), None).send(&Request::get("/")).unwrap_err();
        assert!(matches!(missing, ClientError::NoListener { .. }), "{missing:?}");
    }

    #[test]
    fn silence_has_a_limit() {
        let daemon = Daemon::play(vec![raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").held()]);
        let client = Client::new(daemon.socket(), None);
        let mut answer = client.send_within(&Request::get("/"), Duration::from_millis(50)).unwrap();
        let mut two = [0; 2];
        answer.read_exact(&mut two).unwrap();
        assert!(matches!(answer.bytes(), Err(ClientError::TimedOut { .. })));
    }
}
