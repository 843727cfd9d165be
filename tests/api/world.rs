//! A daemon of its own for each test, asked through its router and through its sockets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use lucid::api::connections::{Admission, Caps, Connections};
use lucid::api::listener::{Door, Origin};
use lucid::api::peer::{Level, Peer};
use lucid::api::state::Api;
use lucid::api::{router, serve};
use lucid::config::{Sources, load};
use lucid::daemon::ring::LogRing;
use lucid::daemon::{App, Surroundings, boot};
use lucid::platform::clock::Clock;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tower::ServiceExt as _;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub const TASKS: [(&str, &str); 6] = [
    ("hello", "schedule: manual\ncommand: echo hello; echo world\ndescription: Says hello"),
    ("slow", "schedule: manual\ncommand: echo begun; sleep 60\ntimeout: 2m\nkill_grace: 1s"),
    (
        "token",
        "schedule: manual\ncommand: printf %s \"$LUCID_TOKEN\" > \"$OUT\"; sleep 60\ngrants: [\"tasks:run\"]\nkill_grace: 1s",
    ),
    ("daily", "schedule: \"0 3 * * *\"\ntimezone: Europe/Berlin\ncommand: \"true\"\ntags: [night]"),
    ("off", "enabled: false\nschedule: every 5m\ncommand: \"true\""),
    ("broken", "schedule: 30m\ncommand: \"true\""),
];

/// A daemon of its own, with its router asked directly and through its sockets.
pub struct World {
    pub dir: tempfile::TempDir,
    pub app: App,
    router: Router,
    admin: Connections,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let tasks = dir.path().join("tasks");
        std::fs::create_dir_all(&tasks).expect("made");
        for (id, front) in TASKS {
            std::fs::write(tasks.join(format!("{id}.md")), format!("---\n{front}\n---\nText.\n"))
                .expect("written");
        }
        let app = daemon(sources(dir.path())).await;
        let sockets = serve::open(&app.config).expect("two sockets");
        let admin = Connections::new(Caps { requests: 256, reserve: 8, streams: 64 });
        let api = Api::new(app.clone(), [admin.clone()].into());
        let router = router::router(api).expect("a router");
        let serving = tokio::spawn(serve::serve(app.clone(), sockets));
        Self { dir, app, router, admin, serving }
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.dir.path().join("state").join(name)
    }

    fn origin(&self, door: Door, level: Level) -> Origin {
        let Admission::Served(connection) = self.admin.admit() else { panic!("there is a place") };
        Origin { door, peer: Peer { uid: 1000, name: "alice".into(), pid: None, level }, connection }
    }

    pub async fn send(&self, mut request: Request<Body>, door: Door, level: Level) -> (StatusCode, Value) {
        request.extensions_mut().insert(self.origin(door, level));
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        if response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
            return (status, Value::Null);
        }
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        let body = match body {
            Value::Null => Body::empty(),
            body => Body::from(body.to_string()),
        };
        let request = request.header(header::CONTENT_TYPE, "application/json").body(body).expect("a request");
        let (status, answer) = self.send(request, Door::Control, Level::Admin).await;
        (status.as_u16(), answer)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Starts a task; its run's number.
    pub async fn run(&self, task: &str, body: Value) -> i64 {
        let (status, answer) = self.ask("POST", &format!("tasks/{task}/runs"), body).await;
        assert_eq!(status, 202, "{answer}");
        answer["run"]["id"].as_i64().expect("a number")
    }

    pub async fn until(&self, run: i64, wanted: &[&str]) -> Value {
        let wait = async {
            loop {
                let run = self.get(&format!("runs/{run}")).await;
                if wanted.contains(&run["run"]["state"].as_str().unwrap_or_default()) {
                    return run["run"].clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("#{run} does not become {wanted:?}"))
    }

    /// A request on a real socket; what follows the headers, line by line.
    pub async fn stream(&self, request: &str) -> BufReader<UnixStream> {
        let mut socket = UnixStream::connect(self.socket("lucid.sock")).await.expect("connected");
        socket.write_all(request.as_bytes()).await.expect("sent");
        BufReader::new(socket)
    }

    pub async fn end(self) {
        let (status, _) = self.ask("POST", "stop", Value::Null).await;
        assert_eq!(status, 202);
        tokio::time::timeout(PATIENCE, self.serving)
            .await
            .expect("it goes")
            .expect("no panic")
            .expect("served");
    }
}

fn sources(dir: &Path) -> Sources {
    let file = dir.join("lucid.yaml");
    std::fs::write(&file, "root: .\ntasks_dir: tasks\nstate_dir: state\ntimezone: UTC\n").expect("written");
    Sources {
        config: Some(file),
        env: Vec::new(),
        cwd: dir.to_owned(),
        home: None,
        machine_zone: Some("UTC".to_owned()),
        system_file: dir.join("none.yaml"),
    }
}

async fn daemon(sources: Sources) -> App {
    let config = load(&sources).expect("a config");
    let clock = Clock::system();
    let surroundings = Surroundings {
        clock,
        sources,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        home: None,
        exe: PathBuf::from(env!("CARGO_BIN_EXE_lucid")),
        host: "testhost".to_owned(),
    };
    let daemon = boot(config, surroundings, LogRing::new(clock)).await.expect("a daemon");
    let app = daemon.app.clone();
    let started = daemon.start();
    tokio::spawn(started.until_gone());
    app
}

pub async fn line(reader: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await.expect("a line in time");
    assert!(read.expect("readable") > 0, "the stream has ended");
    line
}

/// The next event of a stream: id, name, data.
pub async fn event(reader: &mut BufReader<UnixStream>) -> (Option<u64>, String, Value) {
    let (mut id, mut name) = (None, String::new());
    loop {
        let line = line(reader).await;
        if let Some(text) = line.strip_prefix("id: ") {
            id = text.trim().parse().ok();
        } else if let Some(text) = line.strip_prefix("event: ") {
            name = text.trim().to_owned();
        } else if let Some(text) = line.strip_prefix("data: ") {
            return (id, name, serde_json::from_str(text).expect("JSON"));
        }
    }
}

pub fn stream_of(path: &str, last: Option<u64>) -> String {
    let last = last.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
    format!("GET /api/v1/{path} HTTP/1.1\r\nhost: lucid\r\n{last}\r\n")
}
