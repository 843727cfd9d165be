//! HTTP/1.1 over a Unix socket, blocking and small: a command asks once and ends, so it starts no runtime.
//!
//! One connection a request. Owns the connecting, the framing of answers (length, chunks, until close)
//! and the reading of server-sent events; it knows nothing of what is asked or answered.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest path that fits `sockaddr_un` with its closing NUL, in bytes.
const SOCKET_PATH_MAX: usize = 107;
/// Longest head of an answer, in bytes.
const HEAD_MAX: u64 = 64 * 1024;
/// Longest answer that is read whole, in bytes.
const BODY_MAX: u64 = 64 * 1024 * 1024;
/// Longest line of an event stream, in bytes.
const EVENT_LINE_MAX: u64 = 4 * 1024 * 1024;
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
    fn read(stream: UnixStream, limit: Duration) -> Result<Self, ClientError> {
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
        Events { input: BufReader::new(self), last_id: None }
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

fn cut_short() -> io::Error {
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

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The id to go on from: this event's own or the last one before it.
    pub id: Option<String>,
    /// Empty when the server named none.
    pub kind: String,
    pub data: String,
}

/// What a stream said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    /// A comment, such as a ping: the server is there.
    Comment,
    /// The stream has ended.
    End,
}

/// The events of an answer, one by one.
#[derive(Debug)]
pub struct Events {
    input: BufReader<Answer>,
    last_id: Option<String>,
}

impl Events {
    /// Bounds the silence until the next byte from now on.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the socket takes no such limit.
    pub fn wait_at_most(&self, limit: Duration) -> Result<(), ClientError> {
        // Zero would mean for ever.
        let limit = limit.max(Duration::from_millis(1)).min(Duration::from_secs(STREAM_SILENCE_SECS));
        let stream = self.input.get_ref().input.get_ref();
        stream.set_read_timeout(Some(limit)).map_err(ClientError::Broken)
    }

    /// The next thing said; an event that was only half received is not given.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] after too long a silence, else [`ClientError::Broken`].
    pub fn next(&mut self) -> Result<Heard, ClientError> {
        let mut event = Event::default();
        let mut data: Option<String> = None;
        loop {
            let Some(line) = self.line()? else { return Ok(Heard::End) };
            if line.is_empty() {
                if let Some(data) = data.take() {
                    event.data = data;
                    event.id.clone_from(&self.last_id);
                    return Ok(Heard::Event(event));
                }
                event = Event::default();
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if data.is_none() && event.kind.is_empty() => return Ok(Heard::Comment),
                "id" => self.last_id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.kind),
                "data" => match &mut data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => data = Some(value.to_owned()),
                },
                // `retry`, and whatever comes later.
                _ => {}
            }
        }
    }

    /// A line without its end; none at the end of the stream.
    fn line(&mut self) -> Result<Option<String>, ClientError> {
        let limit = Duration::from_secs(STREAM_SILENCE_SECS);
        let mut line = String::new();
        let read = (&mut self.input).take(EVENT_LINE_MAX).read_line(&mut line);
        read.map_err(|error| ClientError::from_io(error, limit))?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(Some(line.strip_suffix('\r').unwrap_or(line).to_owned())),
            None if line.is_empty() => Ok(None),
            None => Err(ClientError::Broken(cut_short())),
        }
    }
}
