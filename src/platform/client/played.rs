//! A daemon that plays prepared answers, one a connection, and keeps what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What one connection gets.
#[derive(Debug, Clone)]
pub struct Play {
    text: Vec<u8>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    /// Stays open in silence until the daemon is dropped.
    Hold,
}

impl Play {
    pub fn held(mut self) -> Self {
        self.end = End::Hold;
        self
    }
}

/// These bytes, then the connection closes.
pub fn raw(text: &str) -> Play {
    Play { text: text.as_bytes().to_vec(), end: End::Close }
}

pub fn bytes(status: &str, kind: &str, body: &[u8]) -> Play {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    Play { text: [head.as_bytes(), body].concat(), end: End::Close }
}

pub fn ok_json(body: &str) -> Play {
    bytes("200 OK", "application/json", body.as_bytes())
}

/// An event stream that breaks off after `events`.
pub fn events(events: &str) -> Play {
    raw(&format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n{events}"))
}

pub fn problem(status: u16, code: &str, detail: &str) -> Play {
    let body = serde_json::json!({
        "type": format!("/errors/{code}"), "title": "No", "status": status, "detail": detail,
        "code": code, "help": "do this",
    });
    bytes(&format!("{status} No"), "application/problem+json", body.to_string().as_bytes())
}

pub struct Daemon {
    socket: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    _folder: Option<tempfile::TempDir>,
}

impl Daemon {
    pub fn play(plays: Vec<Play>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = Self::play_in(folder.path(), plays);
        daemon._folder = Some(folder);
        daemon
    }

    /// Once the answers are used up the socket is gone, as after a daemon's end.
    pub fn play_in(folder: &Path, plays: Vec<Play>) -> Self {
        let socket = folder.join("lucid.sock");
        let handle = std::fs::File::open(folder).unwrap();
        let short = format!("/proc/self/fd/{}/lucid.sock", handle.as_raw_fd());
        let listener = UnixListener::bind(&short).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for play in plays {
                let Ok((mut stream, _)) = listener.accept() else { return };
                kept.lock().unwrap().push(request(&stream));
                // A client that has gone early is part of some plays.
                let _ = stream.write_all(&play.text);
                if play.end == End::Hold {
                    held.push(stream);
                }
            }
            drop((listener, handle));
            if !held.is_empty() {
                std::thread::park();
            }
        });
        Self { socket, requests, _folder: None }
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Head and body of one request.
fn request(stream: &UnixStream) -> String {
    let mut input = BufReader::new(stream);
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if input.read_line(&mut text).unwrap_or(0) == 0 {
            return text;
        }
    }
    let length =
        text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    input.read_exact(&mut body).unwrap();
    text + std::str::from_utf8(&body).unwrap()
}
