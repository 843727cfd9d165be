//! A folder with settings and task files, a daemon on it, and its socket.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags};

/// The binary that is weighed: the one that cargo has built, or another.
pub fn lucid() -> std::ffi::OsString {
    std::env::var_os("BENCH_LUCID").unwrap_or_else(|| env!("CARGO_BIN_EXE_lucid").into())
}

const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    root: tempfile::TempDir,
    daemon: Option<Child>,
}

impl World {
    pub fn with(settings: &str) -> Self {
        let root = tempfile::Builder::new().prefix("lucid-bench-").tempdir().expect("a folder");
        fs::create_dir(root.path().join("tasks")).expect("tasks/");
        let fixed = "root: .\ntasks_dir: tasks\nstate_dir: state\ntimezone: UTC\nlog:\n  level: warn\n";
        fs::write(root.path().join("lucid.yaml"), format!("{fixed}{settings}")).expect("settings");
        Self { root, daemon: None }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    pub fn task(&self, id: &str, front: &str) {
        let text = format!("---\n{front}\n---\nWhat it does, in a line or two.\n");
        fs::write(self.path("tasks").join(format!("{id}.md")), text).expect("a task");
    }

    /// `count` tasks as people write them, none of which is due soon.
    pub fn sleepers(&self, count: u32) {
        let hour = (since_epoch().as_secs() / 3600 + 12) % 24;
        for n in 0..count {
            let front = format!(
                "name: Job {n}\ndescription: Copies something to somewhere\nschedule: \"{} {hour} * * *\"\n\
                 command: exec /bin/true\ntimeout: 5m\ntags: [bench]",
                n % 60
            );
            self.task(&format!("job-{n:05}"), &front);
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(lucid());
        command.args(args).current_dir(self.root.path()).env("LUCID_CONFIG", self.path("lucid.yaml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the daemon; how long it took from there to READY=1.
    pub fn serve(&mut self) -> Duration {
        let heard = UnixDatagram::bind(self.path("notify")).expect("a socket");
        heard.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut command = self.command(&["serve"]);
        command.env("NOTIFY_SOCKET", self.path("notify")).stderr(log);
        let begun = Instant::now();
        self.daemon = Some(command.spawn().expect("lucid starts"));
        let mut text = [0; 4096];
        loop {
            let length = heard.recv(&mut text).unwrap_or_else(|e| panic!("not ready: {e}\n{}", self.log()));
            if text[..length].windows(7).any(|word| word == b"READY=1") {
                break;
            }
        }
        let ready = begun.elapsed();
        fs::remove_file(self.path("notify")).expect("removed");
        ready
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    pub fn nursery(&self) -> u32 {
        super::figures::children(self.pid()).first().copied().expect("a nursery")
    }

    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = rustix::process::Pid::from_child(&daemon);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            daemon.wait().expect("ended");
        }
    }

    pub fn database(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(self.path("state/lucid.db"), flags).expect("the database");
        connection.busy_timeout(PATIENCE).expect("a limit");
        connection
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    pub fn numbers(&self, sql: &str) -> Vec<f64> {
        let connection = self.database();
        let mut statement = connection.prepare(sql).expect("SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a number")).collect()
    }

    /// Waits until `sql` gives `wanted`.
    pub fn until(&self, sql: &str, wanted: i64) {
        // One connection for all looks: what is weighed has the machine to itself.
        let (begun, connection) = (Instant::now(), self.database());
        loop {
            let now: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("a number");
            if now == wanted {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "`{sql}` is {now}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    pub fn line(&self) -> Line {
        Line::to(&self.path("state/lucid.sock"))
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.line().get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("this lucid tells no {name}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One connection that is kept.
pub struct Line(BufReader<UnixStream>);

impl Line {
    pub fn to(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self(BufReader::new(stream))
    }

    /// The body of the answer.
    pub fn get(&mut self, path: &str) -> String {
        self.ask(path, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200)
    }

    /// The body of the answer, 201, to a POST of JSON.
    pub fn post(&mut self, path: &str, body: &str) -> String {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.ask(path, &(head + body), 201)
    }

    fn ask(&mut self, path: &str, request: &str, wanted: u16) -> String {
        self.0.get_mut().write_all(request.as_bytes()).expect("asked");
        let (mut first, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a header");
            if first.is_empty() {
                first.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(first.contains(&format!(" {wanted} ")), "{path}: {first}{body}");
        body
    }
}

pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock")
}

/// An instant as task files write it.
pub fn written(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).expect("a time")).expect("a time").to_string()
}

/// Sleeps until the wall clock reads `seconds`.
pub fn wait_for(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(since_epoch()));
}
