//! One HTTP request to somewhere else, blocking and with a deadline for the whole of it; over TLS by `tls`.
//! Errors never tell the URL, which may hold a secret.

mod tls;

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// The most of an answer that is read, in bytes.
const ANSWER_MAX_BYTES: u64 = 64 * 1024;

/// Why there is no answer, or why it does not read as one.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("only http:// and https:// URLs are spoken to here")]
    NotHttp,
    #[error("no TLS to speak with")]
    NoTls,
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("the host has no address: {0}")]
    NoAddress(io::Error),
    #[error("no connection: {0}")]
    NoConnection(io::Error),
    #[error("no answer within {} s", after.as_secs())]
    TimedOut { after: Duration },
    #[error("the connection broke off: {0}")]
    Broken(io::Error),
    #[error("the answer is not HTTP")]
    Malformed,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// At most 64 KiB of it.
    pub body: Vec<u8>,
}

/// Asks for `url`.
///
/// # Errors
/// [`WebhookError`]; an answer of any status is none. Within a runtime it must run where blocking is allowed.
pub fn get(url: &str, limit: Duration) -> Result<Answer, WebhookError> {
    send("GET", url, None, limit)
}

/// Sends a JSON body to `url`.
///
/// # Errors
/// As [`get`].
pub fn post_json(url: &str, body: &[u8], limit: Duration) -> Result<Answer, WebhookError> {
    send("POST", url, Some(body), limit)
}

fn send(method: &str, url: &str, body: Option<&[u8]>, limit: Duration) -> Result<Answer, WebhookError> {
    if url.starts_with("https://") {
        return tls::send(method, url, body, limit, &[]);
    }
    let deadline = Deadline { at: Instant::now() + limit, limit };
    let rest = url.strip_prefix("http://").ok_or(WebhookError::NotHttp)?;
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(cut);
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    if !is_plain(url, host) {
        return Err(WebhookError::NotHttp);
    }
    let mut head = format!(
        "{method} {slash}{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: lucid\r\n"
    );
    if let Some(body) = body {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut stream = connect(host, &deadline)?;
    let broken = |e: io::Error| deadline.or(e, WebhookError::Broken);
    stream.set_write_timeout(Some(deadline.left()?)).map_err(broken)?;
    // In one piece: whoever answers before the second would tear the connection, and its answer with it.
    let whole = [head.as_bytes(), body.unwrap_or_default()].concat();
    stream.write_all(&whole).map_err(broken)?;
    read(&mut stream, &deadline)
}

/// A URL without a name and password in it, or anything that no URL holds.
fn is_plain(url: &str, host: &str) -> bool {
    !host.is_empty() && !host.contains('@') && url.bytes().all(|b| b.is_ascii_graphic())
}

fn connect(host: &str, deadline: &Deadline) -> Result<TcpStream, WebhookError> {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let named = if has_port { host.to_owned() } else { format!("{host}:80") };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in named.to_socket_addrs().map_err(WebhookError::NoAddress)? {
        match TcpStream::connect_timeout(&address, deadline.left()?) {
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(deadline.or(last, WebhookError::NoConnection))
}

/// Reads to the end or to the limit; a server that drips is cut off at the deadline.
fn read(stream: &mut TcpStream, deadline: &Deadline) -> Result<Answer, WebhookError> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while (bytes.len() as u64) < ANSWER_MAX_BYTES {
        let io = |e: io::Error| deadline.or(e, WebhookError::Broken);
        stream.set_read_timeout(Some(deadline.left()?)).map_err(io)?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
            // What has come tells whether it was taken.
            Err(_) if is_whole(&bytes) => break,
            Err(e) => return Err(io(e)),
        }
        if is_whole(&bytes) {
            break;
        }
    }
    let head = String::from_utf8_lossy(bytes.get(..bytes.len().min(64)).unwrap_or_default()).into_owned();
    let mut words = head.split_whitespace();
    let status = words.next().filter(|word| word.starts_with("HTTP/1.")).and_then(|_| words.next());
    let status = status.and_then(|status| status.parse().ok()).ok_or(WebhookError::Malformed)?;
    let body = split(&bytes).map(|(_, body)| body.to_vec()).unwrap_or_default();
    Ok(Answer { status, body })
}

/// Whether the body has all the bytes that the head promises.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|text| text.trim().parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const END: &[u8] = b"\r\n\r\n";
    let at = bytes.windows(END.len()).position(|window| window == END)?;
    Some((bytes.get(..at)?, bytes.get(at + END.len()..)?))
}

struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    fn left(&self) -> Result<Duration, WebhookError> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(WebhookError::TimedOut { after: self.limit }) } else { Ok(left) }
    }

    fn or(&self, error: io::Error, otherwise: impl FnOnce(io::Error) -> WebhookError) -> WebhookError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                WebhookError::TimedOut { after: self.limit }
            }
            _ => otherwise(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers once with `said`, and gives what it was sent.
    fn served(said: &'static str, hold: Duration) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a?b=c", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 4096];
            let n = stream.read(&mut heard).unwrap();
            let _ = stream.write_all(said.as_bytes());
            std::thread::sleep(hold);
            String::from_utf8_lossy(&heard[..n]).into_owned()
        });
        (url, server)
    }

    #[test]
    fn a_request_and_its_answer() {
        let (url, server) = served("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Duration::ZERO);
        let answer = get(&url, Duration::from_secs(10)).unwrap();
        assert_eq!(answer, Answer { status: 200, body: b"ok".to_vec() });
        let heard = server.join().unwrap();
        assert!(heard.starts_with("GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:"), "{heard}");
        let (url, server) = served("HTTP/1.1 404 Not Found\r\n\r\n", Duration::ZERO);
        assert_eq!(post_json(&url, b"{}", Duration::from_secs(10)).unwrap().status, 404);
        assert!(server.join().unwrap().contains("Content-Length: 2\r\n"));
    }

    #[test]
    fn silence_and_nonsense_are_told_without_the_url() {
        let (url, server) = served("", Duration::from_millis(600));
        let error = get(&url, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, WebhookError::TimedOut { .. }), "{error}");
        server.join().unwrap();
        let (url, server) = served("SSH-2.0-x\r\n\r\n", Duration::ZERO);
        assert!(matches!(get(&url, Duration::from_secs(10)), Err(WebhookError::Malformed)));
        server.join().unwrap();
        let gone = get("http://127.0.0.1:1/secret", Duration::from_secs(10)).unwrap_err();
        assert!(!gone.to_string().contains("secret"), "{gone}");
        for url in [
            "ftp://x/",
            "http://",
            "https://",
            "https://u:p@x/",
            "http://u:p@x/",
            "http://x/a b",
            "file:///x",
        ] {
            assert!(matches!(get(url, Duration::from_secs(1)), Err(WebhookError::NotHttp)), "{url}");
        }
    }
}
