//! The sockets under people who hold on, dawdle or talk nonsense; who may do what; what a refusal looks like.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::{PATIENCE, World};

/// An answer, headers as they came.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own.
fn ask(socket: &Path, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(socket);
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: lucid\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    // A refusal may come before all is sent.
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Answer { status, headers: headers.to_ascii_lowercase(), body: body.to_owned() }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn idle_connections_dawdlers_and_noise_keep_nobody_out() {
    let mut world = World::with("limits: {header_timeout: 2s}");
    world.task("one", "command: echo one");
    world.serve();
    let socket = world.state("lucid.sock");
    let mut idle: Vec<UnixStream> = (0..300).map(|_| connect(&socket)).collect();
    let mut slow = connect(&socket);
    slow.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: lucid\r\nX-Slow: ").unwrap();
    for seed in 0..20_u8 {
        let mut noise = connect(&socket);
        let bytes: Vec<u8> =
            (0..2_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0] ^ seed).collect();
        let _ = noise.write_all(&bytes);
    }
    let asked = Instant::now();
    assert_eq!(ask(&socket, "GET", "/healthz", "", "").status, 200);
    println!("/healthz answered after {:?}", asked.elapsed());
    // The others have to wait for a moment: what has just come is spared.
    world.until_within(Duration::from_secs(10), "an idle one makes room", || {
        (ask(&socket, "GET", "/api/v1/status", "", "").status == 200).then_some(())
    });
    world.lucid(["run", "one", "--wait"]).expect(0);
    // The dawdler is shown out in its time.
    let waited = Instant::now();
    let mut rest = Vec::new();
    while waited.elapsed() < PATIENCE && slow.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = slow.read_to_end(&mut rest);
    assert!(waited.elapsed() < Duration::from_secs(10), "{:?}", waited.elapsed());
    // What came into the place of idle ones was let in; idle ones were told nothing worse than the end.
    for stream in &mut idle {
        stream.set_nonblocking(true).unwrap();
    }
    assert_eq!(ask(&socket, "GET", "/healthz", "", "").status, 200);
}

#[test]
fn what_is_too_large_is_refused_with_its_own_status() {
    let mut world = World::new();
    world.task("one", "command: echo one");
    world.serve();
    let socket = world.state("lucid.sock");
    let large = format!("X-Large: {}\r\n", "x".repeat(20_000));
    assert_eq!(ask(&socket, "GET", "/healthz", &large, "").status, 431);
    let body = format!("{{\"env\":{{\"A\":\"{}\"}}}}", "x".repeat(1_100_000));
    let answer = ask(&socket, "POST", "/api/v1/tasks/one/runs", JSON, &body);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(world.rows("one").is_empty());
}

#[test]
fn a_refusal_is_a_problem_document_with_code_and_help() {
    let mut world = World::new();
    world.task("off", "enabled: false\ncommand: echo off");
    world.serve();
    let socket = world.state("lucid.sock");
    let cases = [
        ("GET", "/api/v1/tasks/nobody", "", 404),
        ("GET", "/api/v1/nothing", "", 404),
        ("DELETE", "/api/v1/tasks/off", "", 405),
        ("POST", "/api/v1/tasks/off/runs", "{}", 409),
        ("POST", "/api/v1/tasks/off/runs", "{", 400),
        ("POST", "/api/v1/tasks/off/runs", "{\"surprise\":1}", 422),
        ("GET", "/api/v1/runs/99", "", 404),
        ("GET", "/api/v1/runs?limit=0", "", 422),
        ("POST", "/api/v1/runs/99/kill", "{}", 404),
    ];
    for (method, path, body, status) in cases {
        let answer = ask(&socket, method, path, JSON, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert!(answer.headers.contains("content-type: application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{problem}");
        for key in ["title", "code"] {
            assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {problem}");
        }
    }
    let disabled = ask(&socket, "POST", "/api/v1/tasks/off/runs", JSON, "{}").json();
    assert!(disabled["help"].as_str().is_some_and(|help| help.contains("lucid enable")), "{disabled}");
}

#[test]
fn a_request_sent_again_with_its_key_is_done_once() {
    let mut world = World::new();
    world.task("one", "command: echo one >> said");
    world.task("two", "command: echo two");
    world.serve();
    let socket = world.state("lucid.sock");
    let key = format!("{JSON}Idempotency-Key: a-key\r\n");
    let first = ask(&socket, "POST", "/api/v1/tasks/one/runs", &key, "{}");
    assert_eq!(first.status, 202, "{first:?}");
    let run = first.json()["run"]["id"].as_i64().unwrap();
    world.ended(run);
    // The daemon's memory of it is no process's.
    world.restart();
    let again = ask(&socket, "POST", "/api/v1/tasks/one/runs", &key, "{}");
    assert_eq!((again.status, again.json()["run"]["id"].as_i64()), (202, Some(run)), "{again:?}");
    assert_eq!(world.rows("one").len(), 1);
    let other = ask(&socket, "POST", "/api/v1/tasks/two/runs", &key, "{}");
    assert!([409, 422].contains(&other.status), "{other:?}");
    assert!(world.rows("two").is_empty());
}

#[test]
fn a_runs_token_reads_and_does_only_what_its_task_was_granted() {
    let mut world = World::new();
    let script =
        "command: |\n  echo \"$LUCID_TOKEN\" > token.$LUCID_TASK\n  while [ ! -e go ]; do sleep 0.05; done";
    world.task("plain", script);
    world.task("granted", &format!("grants: ['tasks:run']\n{script}"));
    world.task("other", "command: echo other");
    world.serve();
    let front = format!(
        "env: {{BIN: '{}'}}\ncommand: |\n  \"$BIN\" status --json > status.json && \"$BIN\" run other",
        crate::world::LUCID
    );
    world.task("cli", &front);
    world.lucid(["reload"]).expect(0);
    let (control, worker) = (world.state("lucid.sock"), world.state("worker.sock"));
    let plain = world.start("plain");
    world.start("granted");
    let token = |task: &str| {
        let file = format!("token.{task}");
        world.until("a token", || Some(world.read(&file).trim().to_owned()).filter(|token| token.len() >= 32))
    };
    let (plain_token, granted_token) = (token("plain"), token("granted"));
    let bearer = |token: &str| format!("{JSON}Authorization: Bearer {token}\r\n");
    let run_other =
        |socket: &Path, token: &str| ask(socket, "POST", "/api/v1/tasks/other/runs", &bearer(token), "{}");
    for socket in [&control, &worker] {
        assert_eq!(ask(socket, "GET", "/api/v1/status", &bearer(&plain_token), "").status, 200);
        assert_eq!(run_other(socket, &plain_token).status, 403);
        assert_eq!(ask(socket, "GET", "/api/v1/status", &bearer("nonsense"), "").status, 401);
        for path in ["/api/v1/stop", "/api/v1/drain"] {
            assert_eq!(ask(socket, "POST", path, &bearer(&granted_token), "{}").status, 403);
        }
    }
    assert_eq!(ask(&worker, "GET", "/api/v1/status", "", "").status, 401, "no token, no answer");
    assert_eq!(ask(&worker, "GET", "/healthz", "", "").status, 200);
    assert!(world.rows("other").is_empty());
    let started = run_other(&worker, &granted_token);
    assert_eq!(started.status, 202, "{started:?}");
    // From within a run the command line finds its way by itself, and is told what it may not do.
    let row = world.run("cli");
    assert_eq!((row.state.as_str(), row.exit_code), ("failed", Some(7)), "{}", world.log_of(row.id));
    assert!(world.read("status.json").contains("schema_version"));
    // Nothing of the token is on disk, and it ends with its run.
    assert_eq!(world.number("SELECT count(*) FROM runs WHERE token_hash IS NOT NULL AND id = 1"), 1);
    world.write("go", "");
    world.ended(plain);
    let late = ask(&worker, "GET", "/api/v1/status", &bearer(&plain_token), "").status;
    assert!([401, 409].contains(&late), "{late}");
}

#[test]
fn the_sockets_let_in_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new();
    world.serve();
    let mode = |name: &str| std::fs::metadata(world.state(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("lucid.sock"), 0o660);
    assert_eq!(mode("worker.sock") & 0o007, 0);
    assert_eq!(std::fs::metadata(world.path("state")).unwrap().permissions().mode() & 0o077, 0);
    for name in ["lucid.db", "lock"] {
        assert_eq!(mode(name) & 0o077, 0, "{name}");
    }
}
