//! What the fake agent does to its worktree and asks of the daemon. All of it may fail, and then it goes on.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::variable;
use crate::platform::client::{Client, Request, Target};

/// How long the child that is left behind would live, in seconds.
const ORPHAN_SECS: &str = "600";

pub(super) struct Work {
    client: Option<Client>,
    ticket: Option<String>,
    attempt: u32,
}

impl Work {
    pub(super) fn new() -> Self {
        let socket = variable("LUCID_SOCKET").map(PathBuf::from);
        Self {
            client: socket.map(|socket| Client::new(socket, variable("LUCID_TOKEN"))),
            ticket: variable("LUCID_TICKET"),
            attempt: variable("LUCID_ATTEMPT").and_then(|text| text.parse().ok()).unwrap_or(1),
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn ask(&self, need: &str, options: &[&str]) {
        self.post(
            "ask",
            &json!({"need": need, "why": "the ticket does not say", "how": "reply", "options": options}),
        );
    }

    pub(super) fn report(&self, summary: &str, commit: Option<&str>) {
        self.post(
            "report",
            &json!({"status": "done", "summary": summary, "commit": commit, "evidence": "a fake measured nothing"}),
        );
    }

    pub(super) fn event(&self, kind: &str, text: &str) {
        self.post("events", &json!({"type": kind, "data": {"text": text}}));
    }

    fn post(&self, what: &str, body: &Value) {
        let (Some(client), Some(ticket)) = (&self.client, &self.ticket) else { return };
        let path = Target::new("/api/v1/tickets").segment(ticket).segment(what);
        let request = Request::post(String::from(path)).json(body.to_string().into_bytes());
        let answer = client.send(&request).map(|answer| (answer.status(), answer.bytes()));
        match answer {
            Ok((status, _)) if status < 400 => {}
            Ok((status, body)) => {
                let body = body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
                complain(&format!("{what}: {status} {body}"));
            }
            Err(e) => complain(&format!("{what}: {e}")),
        }
    }

    /// One commit with one file named after the run; its id.
    pub(super) fn commit(&self) -> Option<String> {
        let name = format!("fake-{}.txt", variable("LUCID_RUN_ID").unwrap_or_else(|| "0".to_owned()));
        std::fs::write(&name, format!("attempt {}\n", self.attempt)).ok()?;
        git(&["add", "--", &name])?;
        git(&["commit", "-q", "-m", "Fake work"])?;
        git(&["rev-parse", "HEAD"])
    }

    /// A changed file, a new one, and one that is staged.
    pub(super) fn dirty(&self) {
        let tracked = git(&["ls-files"]).and_then(|files| files.lines().next().map(str::to_owned));
        if let Some(tracked) = tracked {
            let _ = std::fs::write(tracked, "dirty\n");
        }
        let _ = std::fs::write("fake-untracked.txt", "unsaved\n");
        let _ = std::fs::write("fake-staged.txt", "staged\n");
        git(&["add", "--", "fake-staged.txt"]);
    }

    /// Two commits that conflict, and a rebase of one onto the other that stops there.
    pub(super) fn leave_rebase(&self) {
        let _ = std::fs::write("fake-conflict.txt", "ours\n");
        git(&["add", "--", "fake-conflict.txt"]);
        git(&["commit", "-q", "-m", "Ours"]);
        let Some(ours) = git(&["rev-parse", "HEAD"]) else { return };
        git(&["checkout", "-q", "--detach", "HEAD~1"]);
        let _ = std::fs::write("fake-conflict.txt", "theirs\n");
        git(&["add", "--", "fake-conflict.txt"]);
        git(&["commit", "-q", "-m", "Theirs"]);
        // Meant to fail: the conflict is left where it is.
        git(&["rebase", "-q", &ours]);
    }

    pub(super) fn leave_index_lock(&self) {
        if let Some(dir) = git(&["rev-parse", "--git-dir"]) {
            let _ = std::fs::write(PathBuf::from(dir).join("index.lock"), "");
        }
    }
}

fn git(args: &[&str]) -> Option<String> {
    let identity =
        ["-c", "user.name=Fake Agent", "-c", "user.email=fake@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").args(identity).args(args).stdin(Stdio::null()).output().ok()?;
    if !done.status.success() {
        complain(&format!("git {args:?}: {}", String::from_utf8_lossy(&done.stderr).trim()));
        return None;
    }
    Some(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// A child in a session of its own that outlives us.
pub(super) fn leave_orphan() {
    let child = Command::new("setsid")
        .args(["sleep", ORPHAN_SECS])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    if let Err(e) = child {
        complain(&format!("no orphan: {e}"));
    }
}

pub(super) fn ignore_sigterm() {
    let heard = Arc::new(AtomicBool::new(false));
    if let Err(e) = signal_hook::flag::register(signal_hook::consts::SIGTERM, heard) {
        complain(&format!("SIGTERM: {e}"));
    }
}

fn complain(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "fake-agent: {text}");
}
