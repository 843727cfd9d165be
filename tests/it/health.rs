//! How well the box is: what a heartbeat finds, writes and tells; logins that only a person can renew; logs.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::world::World;

/// Whatever the machine's own disks are like.
const NO_DISK: &str = "disk_degraded_pct: 0, disk_critical_pct: 0";

fn with(health: &str, more: &str) -> World {
    let world = World::with("");
    configure(&world, health, more);
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.task("token-health", "action: token-health\ntimeout: 2m");
    world
}

fn configure(world: &World, health: &str, more: &str) {
    world.configure(&format!("health: {{{health}}}\n{more}"));
}

fn status_file(world: &World) -> Value {
    serde_json::from_str(&world.read("state/status.json")).expect("status.json")
}

fn check<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("checks");
    checks
        .iter()
        .find(|check| check["id"].as_str().is_some_and(|found| found.starts_with(id)))
        .unwrap_or(&Value::Null)
}

#[track_caller]
fn beat(world: &World) -> Value {
    let row = world.run("heartbeat");
    assert_eq!(row.state, "ok", "{}", world.log_of(row.id));
    status_file(world)
}

#[test]
fn a_disk_below_its_limit_is_critical_told_once_and_over_when_there_is_room() {
    let agents = "agents:\n  good: {command: [lucid, fake-agent]}\n  gone: {command: [/nowhere/agent]}";
    let mut world = with("disk_degraded_pct: 100, disk_critical_pct: 100", agents);
    world.serve();
    assert_eq!(world.lucid(["health", "--json"]).expect(2).json()["state"], "critical");
    assert_eq!(world.events("condition_raised"), 0, "looking is not telling");
    let status = beat(&world);
    assert_eq!((&status["schema_version"], &status["state"]), (&1.into(), &"critical".into()), "{status}");
    assert_eq!(status["pid"], world.daemon_pid(), "{status}");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    for instant in ["at", "since", "beat_at"] {
        assert!(status[instant].as_str().expect(instant).parse::<jiff::Timestamp>().is_ok(), "{status}");
    }
    let disk = check(&status, "disk:");
    assert_eq!((&disk["state"], &disk["critical_at"]), (&"critical".into(), &"100%".into()), "{disk}");
    assert!(disk["hint"].as_str().is_some_and(|hint| hint.starts_with("df -h ")), "{disk}");
    assert_eq!(check(&status, "agent:good")["state"], "healthy", "{status}");
    assert_eq!(check(&status, "agent:gone")["state"], "degraded", "{status}");
    assert_eq!(check(&status, "api")["state"], "healthy", "{status}");
    beat(&world);
    assert_eq!((world.events("condition_raised"), world.events("condition_cleared")), (1, 0));

    let shown = world.lucid(["status"]).expect(0).stdout;
    assert!(shown.contains("CRITICAL since "), "{shown}");
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(problems.contains("critical below 100%") && problems.contains("df -h"), "{problems}");
    let line = world.lucid(["health", "--nagios"]).expect(2).stdout;
    assert!(line.starts_with("LUCID CRITICAL - ") && line.lines().count() == 1, "{line}");

    // The state outlives the daemon; its end is told by the next one.
    configure(&world, NO_DISK, "");
    world.restart();
    let status = beat(&world);
    assert_eq!(status["state"], "healthy", "{status}");
    assert_eq!((world.events("condition_raised"), world.events("condition_cleared")), (1, 1));
    world.lucid(["health"]).expect(0);
    assert!(world.lucid(["status"]).expect(0).stdout.contains(" healthy"));
}

#[test]
fn failed_runs_of_an_hour_are_critical_and_the_heartbeat_itself_is_no_failure() {
    let mut world = with(&format!("{NO_DISK}, failed_runs_critical: 3"), "");
    world.task("bad", "command: exit 3");
    world.serve();
    for _ in 0..2 {
        world.run("bad");
    }
    let status = beat(&world);
    assert_eq!(check(&status, "failed_runs")["state"], "healthy", "{status}");
    assert_eq!(status["state"], "degraded", "a task whose last run failed: {status}");
    world.run("bad");
    let status = beat(&world);
    let failed = check(&status, "failed_runs");
    assert_eq!((&failed["state"], &failed["value"]), (&"critical".into(), &"3".into()), "{failed}");
    assert!(failed["detail"].as_str().unwrap().contains(": bad"), "{failed}");
    // First what is degraded, then what is critical, each once.
    assert_eq!(world.events("condition_raised"), 2);
    configure(&world, &format!("{NO_DISK}, failed_runs_critical: 100"), "");
    world.write("tasks/bad.md", "---\ncommand: 'true'\n---\n");
    world.restart();
    world.run("bad");
    assert_eq!(beat(&world)["state"], "healthy");
    assert_eq!(world.events("condition_cleared"), 1);
}

#[test]
fn a_heartbeat_from_outside_needs_no_daemon_and_hands_in_what_it_sees_where_there_is_one() {
    let mut world = with(NO_DISK, "");
    fs::create_dir(world.path("state")).unwrap();
    let dead = world.lucid(["heartbeat", "--json"]).expect(2);
    let status = status_file(&world);
    assert_eq!(dead.json(), status);
    assert_eq!((&status["state"], &status["pid"]), (&"critical".into(), &Value::Null), "{status}");
    assert!(check(&status, "api")["detail"].as_str().unwrap().contains("does not answer"), "{status}");
    assert!(!check(&status, "disk:").is_null());
    world.lucid(["health"]).expect(2);

    world.serve();
    let lived = world.lucid(["heartbeat", "--json"]).expect(0).json();
    assert_eq!((&lived["state"], &lived["pid"]), (&"healthy".into(), &world.daemon_pid().into()), "{lived}");
    assert_eq!(check(&lived, "failed_runs")["state"], "healthy", "{lived}");

    // One that was stopped answers nobody.
    world.signal(Signal::STOP);
    let hung = world.lucid(["heartbeat", "--json"]).expect(2).json();
    world.signal(Signal::CONT);
    assert!(check(&hung, "api")["detail"].as_str().unwrap().contains("no answer"), "{hung}");

    let lines = world.lucid(["logs", "--heartbeat"]).expect(0).stdout;
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.lines().nth(1).unwrap().contains("info  healthy, "), "{lines}");
    let one = world.lucid(["logs", "--heartbeat", "--tail", "1", "--json"]).expect(0).json();
    assert_eq!(one["lines"][0]["level"], "error", "{one}");
    world.kill_daemon();
    assert_eq!(world.lucid(["logs", "--heartbeat"]).expect(0).stdout, lines, "read from its file");
}

#[test]
fn an_outgoing_ping_follows_each_heartbeat() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ping_url: 'http://{}/ping/x'", listener.local_addr().unwrap());
    let pinged = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 1024];
        let n = stream.read(&mut heard).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&heard[..n]).into_owned()
    });
    let mut world = with(&format!("{NO_DISK}, {url}"), "");
    world.serve();
    beat(&world);
    assert!(pinged.join().unwrap().starts_with("GET /ping/x HTTP/1.1\r\n"));
    // Nobody listens any more: that is no ill health.
    assert_eq!(beat(&world)["state"], "healthy");
    let accepted = World::with("health: {ping_url: 'https://example.invalid/x'}");
    accepted.lucid(["config"]).expect(0);
}

const LOGIN: &str =
    "token_checks:\n  mail:\n    command: [/bin/sh, login.sh]\n    portal: https://portal.example/again\n";
const REVOKED: &str = "printf '\\033[2J<b>%0200000d' 7; echo '{\"error\": \"invalid_grant\", \"token\": \"sk-very-secret\"}'; exit 1\n";

#[track_caller]
fn look(world: &World) -> String {
    let row = world.run("token-health");
    assert_eq!(row.state, "ok", "{}", world.log_of(row.id));
    world.log_of(row.id)
}

/// How often the login was told of, and its end.
fn told(world: &World) -> (i64, i64) {
    let count = |kind: &str| {
        world.number(&format!(
            "SELECT count(*) FROM events WHERE kind = '{kind}' AND json_extract(data, '$.key') = 'token:mail'"
        ))
    };
    (count("condition_raised"), count("condition_cleared"))
}

fn ticket(world: &World, id: &str) -> Value {
    world.lucid(["ticket", "show", id, "--json"]).expect(0).json()["ticket"].clone()
}

#[test]
fn a_revoked_login_is_one_ticket_for_a_person_however_often_it_is_looked_at() {
    let mut world = with(&format!("{NO_DISK}, human: keeper"), LOGIN);
    world.write("login.sh", "exit 0\n");
    world.serve();
    assert!(look(&world).contains("mail: well"));
    assert_eq!(world.number("SELECT count(*) FROM tickets"), 0);
    world.write("login.sh", REVOKED);
    for _ in 0..3 {
        let said = look(&world);
        assert!(said.contains("mail: NEEDS A LOGIN") && said.contains("invalid_grant · MC-1"), "{said}");
        assert!(!said.contains("sk-very-secret"), "{said}");
    }
    assert_eq!(world.number("SELECT count(*) FROM tickets"), 1);
    assert_eq!(told(&world), (1, 0));
    let asked = ticket(&world, "MC-1");
    assert_eq!((&asked["state"], &asked["assignee"]), (&"needs_input".into(), &"keeper".into()), "{asked}");
    assert!(asked["ask"]["need"].as_str().unwrap().contains("https://portal.example/again"), "{asked}");
    let status = beat(&world);
    assert_eq!(status["state"], "degraded", "{status}");
    assert_eq!(check(&status, "token:mail")["hint"], "https://portal.example/again", "{status}");
    let known = world.lucid(["api", "GET", "/api/v1/health/tokens"]).expect(0).json();
    assert_eq!(
        (&known["tokens"][0]["state"], &known["tokens"][0]["ticket"]),
        (&"needs_reauth".into(), &"MC-1".into())
    );

    // Answered, and still revoked: the same ticket asks again, and no agent is put on it meanwhile.
    let again = world.events("ticket_asked") + 1;
    let said = world.lucid(["reply", "MC-1", "done"]).expect(0).stdout;
    assert!(said.starts_with("MC-1 is needs_input: It still does not work"), "{said}");
    world.until("it asks again", || (world.events("ticket_asked") == again).then_some(()));
    assert_eq!(ticket(&world, "MC-1")["state"], "needs_input");
    world.lucid(["ticket", "move", "MC-1", "todo"]).expect(0);
    world.until("it asks once more", || (ticket(&world, "MC-1")["state"] == "needs_input").then_some(()));
    // A check that cannot tell is no news.
    world.write("login.sh", "exit 9\n");
    assert!(look(&world).contains("mail: unknown"));
    assert_eq!(told(&world), (1, 0));
    world.restart();
    world.write("login.sh", "exit 0\n");
    look(&world);
    let closed = ticket(&world, "MC-1");
    assert_eq!(closed["state"], "closed", "{closed}");
    let comments = world.lucid(["api", "GET", "/api/v1/tickets/MC-1/comments"]).expect(0).stdout;
    assert!(comments.contains("The login works again."), "{comments}");
    assert_eq!(told(&world), (1, 1));

    // The next time is another ticket; one that is no longer declared is nobody's trouble.
    world.write("login.sh", REVOKED);
    assert!(look(&world).contains("MC-2"));
    configure(&world, NO_DISK, "");
    world.restart();
    assert!(look(&world).contains("nothing to look at"));
    assert_eq!(ticket(&world, "MC-2")["state"], "closed");
    assert_eq!(told(&world), (2, 2));
}

#[test]
fn a_login_that_hangs_or_floods_is_ended_and_one_in_a_file_expires() {
    let checks = "token_checks:\n  slow: {command: [sleep, '60'], timeout: 1s}\n  flood: {command: ['yes']}\n  \
                  file: {file: token.json, expiry: /expires, status: /status}\n";
    let mut world = with(NO_DISK, checks);
    world.write("token.json", r#"{"status": "ok", "expires": 4102444800}"#);
    world.serve();
    let said = look(&world);
    assert!(said.contains("slow: unknown") && said.contains("flood: unknown"), "{said}");
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(problems.contains("token slow  slow: sleep was killed after 1000 ms"), "{problems}");
    assert!(problems.contains("lucid action token-health"), "{problems}");
    assert!(said.contains("file: well"), "{said}");
    assert!(world.of_runs().is_empty(), "{}", world.picture());
    world.write("token.json", r#"{"status": "ok", "expires": "2020-01-01T00:00:00Z"}"#);
    assert!(look(&world).contains("file: NEEDS A LOGIN"));
    assert_eq!(world.number("SELECT count(*) FROM tickets"), 1);
}

#[test]
fn a_login_that_hangs_longer_than_its_run_takes_nobody_with_it() {
    let checks =
        "token_checks:\n  slow: {command: [sleep, '600'], timeout: 10m}\n  good: {command: ['true']}\n";
    let mut world = with(NO_DISK, checks);
    world.task("token-health", "action: token-health\ntimeout: 6s");
    world.serve();
    let said = look(&world);
    assert!(said.contains("slow: unknown") && said.contains("good: well"), "{said}");
}

#[test]
fn only_the_built_ins_may_report_and_only_what_is_theirs() {
    let mut world = with(NO_DISK, LOGIN);
    let lucid = crate::world::LUCID;
    world.task("other", &format!("command: |\n  {lucid} api POST /api/v1/health '{{\"checks\": []}}'"));
    world.serve();
    let refused = world.run("other");
    assert_eq!(
        (refused.state.as_str(), refused.exit_code),
        ("failed", Some(7)),
        "{}",
        world.log_of(refused.id)
    );
    let post = |path: &str, body: &str| world.lucid(["api", "POST", path, body]);
    let check = r#"{"checks":[{"id":"failed_runs","state":"healthy","detail":"all well"}]}"#;
    post("/api/v1/health", check).expect(2);
    post("/api/v1/health/tokens", r#"{"tokens":[{"name":"other","state":"well"}]}"#).expect(2);
    post("/api/v1/health/tokens", r#"{"tokens":[{"name":"mail","state":"fine"}]}"#).expect(2);
    post("/api/v1/health", r#"{"checks":[{"id":"disk:/x","state":"healthy","detail":"x\u001b[2J"}]}"#)
        .expect(0);
}

fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
    let done = Command::new("git").current_dir(dir).args(identity).args(args).output().expect("git");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn old_locks_that_nobody_holds_go_and_others_stay() {
    let mut world = with(NO_DISK, "pools:\n  main: {repo: repo, slots: 3}");
    git(world.root(), &["init", "-q", "--bare", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "repo"]);
    git(&world.path("repo"), &["commit", "-q", "--allow-empty", "-m", "First"]);
    git(&world.path("repo"), &["push", "-q", "origin", "HEAD:main"]);
    git(&world.path("repo"), &["fetch", "-q"]);
    world.serve();
    world.lucid(["pool", "heal"]).expect(0);
    let lock = |slot: &str| world.path(&format!("repo/.git/worktrees/{slot}/index.lock"));
    let old = SystemTime::now() - Duration::from_secs(3600);
    for (slot, touched) in [("main-0", old), ("main-1", SystemTime::now()), ("main-2", old)] {
        File::create(lock(slot)).expect(slot).set_modified(touched).unwrap();
    }
    let mut holder =
        Command::new("sleep").arg("60").current_dir(world.state("pools/main/main-2")).spawn().unwrap();
    let before = world.events("slot_healed");
    let status = beat(&world);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let locks = check(&status, "locks")["detail"].as_str().unwrap().to_owned();
    assert_eq!(locks, "removed 1 stale lock of git: index.lock in main-0");
    assert!(!lock("main-0").exists() && lock("main-1").exists() && lock("main-2").exists());
    assert_eq!(world.events("slot_healed"), before + 1);
}

#[test]
fn what_the_daemon_says_is_read_back_after_a_restart_and_without_it() {
    let mut world = with(NO_DISK, "");
    world.serve();
    world.restart();
    let lines = world.lucid(["logs", "--daemon", "--tail", "1000", "--json"]).expect(0).json();
    let lines = lines["lines"].as_array().unwrap().clone();
    let starts = lines.iter().filter(|line| line["message"] == "settled the runs of the last daemon").count();
    assert_eq!(starts, 2, "{lines:?}");
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    world.kill_daemon();
    let dead = world.lucid(["logs", "--daemon", "--tail", "1000"]).expect(0).stdout;
    assert!(dead.lines().count() >= lines.len() && dead.contains("read the task files"), "{dead}");
}
