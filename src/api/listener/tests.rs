//! The listener against real sockets and rude clients.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::connections::Caps;
use crate::api::sse::{self, Sender};
use crate::api::wire::Problem;
use crate::api::{error, extract};

const SOON: Duration = Duration::from_secs(5);
const MANY: Caps = Caps { requests: 256, reserve: 32, streams: 4096 };
const TIMES: Times = Times { head: Duration::from_secs(2), idle: Duration::from_secs(4) };

/// A listener in a folder of its own, on the runtime of the test.
struct World {
    dir: tempfile::TempDir,
    connections: Connections,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl World {
    fn start(caps: Caps) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = crate::api::bind::bind(&dir.path().join("s"), 0o660, None).unwrap();
        let connections = Connections::new(caps);
        let stop = CancellationToken::new();
        let listener = Listener {
            remade: tokio::sync::mpsc::channel(1).1,
            socket: UnixListener::from_std(socket).unwrap(),
            door: Door::Control,
            gatekeeper: Gatekeeper::new(None).unwrap(),
            connections: connections.clone(),
            times: TIMES,
        };
        let serving = tokio::spawn(serve(listener, router(stop.clone()), stop.clone()));
        Self { dir, connections, stop, serving }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.dir.path().join("s")).await.unwrap()
    }

    /// One request on a connection of its own, the whole answer as text.
    async fn ask(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        rest(&mut socket).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }
}

fn router(stop: CancellationToken) -> Router {
    let flood = async move |request: Request| {
        let origin = request.extensions().get::<Origin>().unwrap().clone();
        sse::respond(Some(&origin.connection), stop, async |to: Sender| {
            let text = "x".repeat(1000);
            for n in 0.. {
                to.event(Some(n), "n", &text).await?;
            }
            Ok(())
        })
    };
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/panic", get(async || -> StatusCode { panic!("as a handler might") }))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(300)).await))
        .route("/echo", post(async |body: String| body))
        .route("/flood", get(flood))
        .route("/big", get(async || "y".repeat(20_000_000)))
        .layer(axum::middleware::from_fn(extract::refuse_large))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(axum::middleware::from_fn(error::describe))
}

async fn rest(socket: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end too: the server does not wait for what it will not read.
    let _ = tokio::time::timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The next answer of a connection that stays open; its body must be shorter than `text`.
async fn until(socket: &mut UnixStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let n = tokio::time::timeout(SOON, socket.read(&mut buffer)).await.expect(text).unwrap();
        assert!(n > 0, "closed before `{text}`: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones() {
    let world = World::start(MANY);
    let mut idle = Vec::new();
    for _ in 0..300 {
        let mut socket = world.connect().await;
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(status(&until(&mut socket, "ok").await), "200");
        idle.push(socket);
    }
    assert!(world.connections.counts().requests <= MANY.requests);
    let mut first = idle.remove(0);
    assert_eq!(rest(&mut first).await, "", "the one that idled longest is closed");
    let last = idle.last_mut().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_eq!(status(&until(last, "ok").await), "200");
}

#[tokio::test]
async fn above_the_cap_only_healthz_is_served() {
    let world = World::start(Caps { requests: 2, reserve: 4, streams: 1 });
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut socket = world.connect().await;
        socket.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        busy.push(socket);
    }
    while world.connections.counts().requests < 2 {
        tokio::task::yield_now().await;
    }
    let refused = world.get("/echo").await;
    assert_eq!(status(&refused), "503");
    assert!(refused.contains("retry-after: 1") && refused.contains("overloaded"), "{refused}");
    assert_eq!(status(&world.get("/healthz").await), "200");
    for socket in &mut busy {
        assert_eq!(status(&until(socket, "\r\n\r\n").await), "200");
    }
}

#[tokio::test]
async fn slow_and_endless_headers_are_ended() {
    let world = World::start(Caps { requests: 2, reserve: 0, streams: 1 });
    let endless = format!("GET /healthz HTTP/1.1\r\nx: {}", "a".repeat(HEADER_MAX_BYTES + 1));
    assert_eq!(status(&world.ask(&endless).await), "431");

    let started = std::time::Instant::now();
    let mut loris = world.connect().await;
    let mut closed = false;
    let mut buffer = [0; 1024];
    while started.elapsed() < TIMES.head + SOON && !closed {
        closed = loris.write_all(b"x").await.is_err()
            || matches!(
                tokio::time::timeout(Duration::from_millis(200), loris.read(&mut buffer)).await,
                Ok(Ok(0) | Err(_))
            );
    }
    assert!(closed, "one letter at a time is no request");
    assert!(started.elapsed() >= TIMES.head && started.elapsed() < TIMES.idle);

    let mut silent = world.connect().await;
    assert_eq!(rest(&mut silent).await, "", "an idle connection is closed without a word");
    assert!(started.elapsed() >= TIMES.idle);
}

#[tokio::test]
async fn a_gigabyte_is_refused_before_it_is_read() {
    let world = World::start(MANY);
    let answer = world.ask("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n").await;
    assert_eq!(status(&answer), "413");
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    let problem: Problem = serde_json::from_str(body).unwrap();
    assert_eq!((problem.code.as_str(), problem.instance.as_str()), ("body_too_large", "/echo"));
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let world = World::start(MANY);
    let mut socket = world.connect().await;
    socket.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    socket.shutdown().await.unwrap();
    assert_eq!(status(&rest(&mut socket).await), "200");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start(MANY);
    let mut all = String::new();
    for n in 0..50 {
        all.push_str(&format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n{n:04}"));
    }
    all.push_str("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = world.ask(&all).await;
    let order: Vec<usize> = (0..50).map(|n| answer.find(&format!("\r\n\r\n{n:04}")).unwrap()).collect();
    assert!(order.is_sorted());
    assert!(answer.ends_with("ok"));
}

#[tokio::test]
async fn noise_harms_nobody() {
    let world = World::start(MANY);
    let mut seed = 0x9e37_79b9_u32;
    for _ in 0..200 {
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        })
        .take(300)
        .collect();
        let mut socket = world.connect().await;
        let _ = socket.write_all(&noise).await;
        let _ = socket.write_all(b"\r\n\r\n").await;
        let _ = socket.shutdown().await;
        let answer = rest(&mut socket).await;
        assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    }
    assert_eq!(status(&world.get("/healthz").await), "200");
}

#[tokio::test]
async fn a_panicking_handler_is_a_500_and_the_daemon_lives() {
    let world = World::start(MANY);
    let answer = world.get("/panic").await;
    assert_eq!(status(&answer), "500");
    assert!(answer.contains("application/problem+json") && !answer.contains("as a handler might"));
    assert_eq!(status(&world.get("/healthz").await), "200");
}

#[tokio::test]
async fn who_does_not_read_is_closed_and_others_are_not() {
    let world = World::start(Caps { requests: 4, reserve: 1, streams: 4 });
    let mut deaf = Vec::new();
    for path in ["/flood", "/big"] {
        let mut socket = world.connect().await;
        socket.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        deaf.push(socket);
    }
    let mut reader = world.connect().await;
    reader.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let started = std::time::Instant::now();
    let connections = world.connections.clone();
    // The same the watchdog does, with a shorter patience.
    let patience = Duration::from_secs(1);
    let mut killed = 0;
    while started.elapsed() < patience * 3 {
        let n = reader.read(&mut buffer).await.unwrap();
        assert!(n > 0);
        if started.elapsed() > patience + Duration::from_millis(500) && killed == 0 {
            killed = connections.kill_hung(Patience { write: patience, head: SOON });
        }
    }
    assert_eq!(killed, 2);
    assert_eq!(connections.counts().streams, 1);
    assert!(reader.read(&mut buffer).await.unwrap() > 0);
    for mut socket in deaf {
        rest(&mut socket).await;
    }
}

#[tokio::test]
async fn streams_have_a_cap_of_their_own() {
    let world = World::start(Caps { requests: 2, reserve: 1, streams: 3 });
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut socket = world.connect().await;
        socket.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        until(&mut socket, "event: n").await;
        open.push(socket);
    }
    assert_eq!(world.connections.counts().streams, 3);
    assert_eq!(status(&world.get("/flood").await), "503");
    assert_eq!(status(&world.get("/healthz").await), "200");
}

#[tokio::test]
async fn a_stop_ends_streams_and_lets_answers_finish() {
    let world = World::start(MANY);
    let mut stream = world.connect().await;
    stream.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&mut stream, "event: n").await;
    let mut slow = world.connect().await;
    slow.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let _idle = world.connect().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = std::time::Instant::now();
    world.stop.cancel();
    assert_eq!(status(&rest(&mut slow).await), "200");
    rest(&mut stream).await;
    world.serving.await.unwrap();
    assert!(started.elapsed() < SHUTDOWN_GRACE, "{:?}", started.elapsed());
    assert_eq!(world.connections.counts().streams, 0);
}
