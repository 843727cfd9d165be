//! HTTP as far as a client of the Bot API speaks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::answers::answer;
use super::{Shared, WAIT_MAX, lock};

pub fn listen(shared: &Arc<Shared>, listener: TcpListener) {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if !lock(&shared).up {
                return;
            }
            let Ok(stream) = stream else { continue };
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || serve(&shared, stream));
        }
    });
}

/// What came over a connection.
pub struct Request {
    pub path: String,
    pub body: Vec<u8>,
}

fn serve(shared: &Shared, stream: TcpStream) {
    drop(stream.set_read_timeout(Some(WAIT_MAX)));
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let Some(answer) = answer(shared, &request) else { return };
        let (status, kind, text) = answer;
        let head =
            format!("HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", text.len());
        if reader.get_mut().write_all(&[head.as_bytes(), text.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let path = first.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
    }
    let mut body = vec![0; length];
    if chunked {
        body = chunks(reader)?;
    } else {
        reader.read_exact(&mut body).ok()?;
    }
    Some(Request { path, body })
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        reader.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
