//! The command line as scripts rely on it: exit codes, documents, and what happens when nobody reads.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::world::{LUCID, World, code_of};

#[test]
fn every_exit_code_of_the_contract() {
    let mut world = World::new();
    world.task("fine", "command: 'true'");
    world.task("three", "command: exit 3");
    world.task("long", "timeout: 60s\ncommand: sleep 50");
    world.task("slow", "timeout: 1s\nkill_grace: 1s\ncommand: sleep 50");
    world.task("off", "enabled: false\ncommand: 'true'");
    world.task("term", "command: kill -TERM $$");
    world.task("blocked", "preflight: exit 4\ncommand: 'true'");
    world.lucid(["status"]).expect(3);
    world.lucid(["run", "fine"]).expect(3);
    world.serve();
    world.lucid(["run", "fine", "--wait"]).expect(0);
    world.lucid(["run", "three", "--wait"]).expect(3);
    world.lucid(["run", "three", "--follow"]).expect(3);
    world.lucid(["run", "slow", "--wait"]).expect(124);
    world.lucid(["run", "term", "--wait"]).expect(128 + 15);
    world.lucid(["run", "blocked", "--wait"]).expect(125);
    world.lucid(["run", "off"]).expect(5);
    world.lucid(["run", "nobody"]).expect(4);
    world.lucid(["task", "nobody"]).expect(4);
    world.lucid(["logs", "4711"]).expect(4);
    world.lucid(["why", "nobody"]).expect(4);
    world.lucid(["run", "long", "--wait", "--wait-timeout", "200ms"]).expect(6);
    world.lucid(["run", "long"]).expect(5);
    world.lucid(["pause", "fine"]).expect(0);
    world.lucid(["run", "fine"]).expect(5);
    world.lucid(["run", "fine", "--force", "--wait"]).expect(0);
    world.lucid(["nonsense"]).expect(2);
    world.lucid(["run"]).expect(2);
    world.lucid(["next", "--cron", "61 * * * *"]).expect(2);
    world.lucid(["check"]).expect(0);
    world.lucid(["explain", "E101"]).expect(0);
    world.lucid(["explain", "E999"]).expect(4);
}

#[test]
fn documents_carry_their_version_and_the_contracts_keys() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: echo tick");
    world.serve();
    world.until("a run", || world.rows("tick").into_iter().find(|row| row.state == "ok"));
    let diagnostics = "check --json";
    let documents: [(&str, &[&str]); 10] = [
        ("tasks --json", &["tasks"]),
        ("task tick --json", &["task"]),
        ("runs --json", &["runs", "next_cursor"]),
        ("next --json", &[]),
        ("next tick --json", &["fires"]),
        ("next --cron */5_*_*_*_* --tz Europe/Berlin --at 2027-03-28T00:50:00Z --json", &["fires"]),
        ("config --effective --json", &["config"]),
        ("why tick --json", &["task", "at", "answer", "row"]),
        (diagnostics, &["diagnostics", "files", "errors", "warnings"]),
        (
            "status --json",
            &["version", "pid", "uptime_ms", "health", "scheduler", "pool", "outbox", "problems"],
        ),
    ];
    for (line, keys) in documents {
        let words: Vec<String> =
            line.split(' ').map(|word| word.replace('_', " ").replace("uptime ms", "uptime_ms")).collect();
        let document = world.lucid(words.iter().map(String::as_str)).expect(0).json();
        assert_eq!(document["schema_version"], 1, "{line}: {document}");
        for key in keys {
            assert!(document.get(*key).is_some(), "{line}: no `{key}` in {document}");
        }
    }
}

fn has(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(*key).is_some(), "no `{key}` in {value}");
    }
}

#[test]
fn what_documents_list_carries_the_contracts_keys() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: echo tick");
    world.serve();
    world.until("a run", || world.rows("tick").into_iter().find(|row| row.state == "ok"));
    let tasks = world.lucid(["tasks", "--json"]).json();
    let task = &tasks["tasks"][0];
    has(
        task,
        &[
            "id",
            "name",
            "enabled",
            "state",
            "schedule",
            "timezone",
            "next_at",
            "last_run",
            "definition",
            "problems",
        ],
    );
    has(&task["definition"], &["file", "hash", "stale"]);
    let runs = world.lucid(["runs", "--json"]).json();
    let run = runs["runs"].as_array().unwrap().iter().find(|run| run["state"] == "ok").unwrap();
    has(
        run,
        &[
            "id",
            "task",
            "ticket",
            "attempt",
            "trigger",
            "state",
            "reason",
            "exit_code",
            "signal",
            "scheduled_at",
        ],
    );
    has(run, &["started_at", "ended_at", "duration_ms", "log_bytes", "actor"]);
    let fires = world.lucid(["next", "tick", "--json"]).json();
    has(&fires["fires"][0], &["at", "local", "note"]);
    let config = world.lucid(["config", "--effective", "--json"]).json();
    has(&config["config"][0], &["key", "value", "source"]);
    let status = world.lucid(["status", "--json"]).json();
    has(&status["scheduler"], &["tasks", "enabled", "running", "next_at"]);
    let backup = world.lucid(["backup", "--json"]).expect(0).json();
    has(&backup["backup"], &["path", "bytes", "sha256", "verified_at"]);
    let path = backup["backup"]["path"].as_str().unwrap().to_owned();
    world.lucid(["backup", "verify", &path]).expect(0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut world = World::new();
    world.task("many", "command: 'true'");
    world.task("talks", "command: seq 1 200000");
    world.serve();
    for _ in 0..3 {
        world.run("many");
    }
    world.run("talks");
    for line in ["runs", "runs --json", "logs talks", "tasks --json", "explain", "config --effective"] {
        let script = format!("\"$0\" {line} | head -n 1; exit 0");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script, LUCID]).current_dir(world.root());
        let output = shell.env("LUCID_CONFIG", world.path("lucid.yaml")).output().unwrap();
        assert_eq!(code_of(output.status), 0);
        assert!(output.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn why_answers_for_each_way_an_instant_can_go() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: sleep 1.5");
    world.task("off", "schedule: every 1s\nenabled: false\ncommand: 'true'");
    world.task("manual", "command: 'true'");
    world.serve();
    let skipped = world.until("a skipped row", || {
        world.rows("tick").into_iter().find(|row| row.reason.as_deref() == Some("overlap"))
    });
    let at = jiff::Timestamp::from_millisecond(skipped.scheduled_ms.unwrap()).unwrap().to_string();
    let why = world.lucid(["why", "tick", "--at", &at, "--json"]).expect(0).json();
    assert_eq!(
        (why["row"]["id"].as_i64(), why["row"]["reason"].as_str()),
        (Some(skipped.id), Some("overlap")),
        "{why}"
    );
    assert!(why["answer"].as_str().is_some_and(|answer| !answer.is_empty()), "{why}");
    let why = world.lucid(["why", "off", "--json"]).expect(0).json();
    let answer = why["answer"].to_string();
    assert!(answer.contains("disabled") || answer.contains("off"), "{why}");
    world.lucid(["why", "manual"]).expect(0);
}

#[test]
fn extra_variables_reach_the_run_and_lucids_own_cannot_be_set() {
    let mut world = World::new();
    world.task(
        "shows",
        "command: echo \"[$COLOUR] $LUCID_TRIGGER $LUCID_ATTEMPT $LUCID_TIMEOUT_SECS $LUCID_TASK\"",
    );
    world.task("all", "command: env | cut -d= -f1 | sort | tr '\\n' ' '");
    world.env.push(("SECRET_OF_THE_DAEMON".to_owned(), "x".to_owned()));
    world.serve();
    world.lucid(["run", "shows", "--wait", "--env", "COLOUR=deep blue=1"]).expect(0);
    assert_eq!(world.lucid(["logs", "shows"]).stdout, "[deep blue=1] manual 1 600 shows\n");
    let refused = world.lucid(["run", "shows", "--env", "LUCID_TASK=x"]);
    assert_ne!(refused.code, 0);
    assert_eq!(world.rows("shows").len(), 1);
    let all = world.run("all");
    let names = world.log_of(all.id);
    for gone in ["SECRET_OF_THE_DAEMON", "CARGO", "RUST", "LUCID_CONFIG"] {
        assert!(!names.contains(gone), "{gone} in {names}");
    }
    for there in ["LUCID_RUN_ID", "LUCID_SOCKET", "LUCID_TOKEN", "PATH", "HOME"] {
        assert!(names.contains(there), "{there} not in {names}");
    }
}

#[test]
fn a_waiting_retry_is_told_and_can_be_dropped() {
    let mut world = World::new();
    world.task("flaky", "retries: {max: 1, delay: 60s}\ncommand: exit 1");
    world.serve();
    let run = world.run("flaky").id;
    let number = run.to_string();
    let why = || world.lucid(["why", "flaky"]).expect(0).stdout;
    assert!(why().contains(&format!("#{run} is tried again at ")), "{}", why());
    for command in [&["task", "flaky"][..], &["runs"], &["status"]] {
        let told = world.lucid(command.iter().copied()).expect(0).stdout;
        assert!(told.contains("tried again in "), "{told}");
    }
    let killed = world.lucid(["kill", &number]).expect(0).stdout;
    assert!(killed.contains("it is not tried again"), "{killed}");
    assert_eq!(world.row(run).unwrap().retry_ms, None);
    assert!(why().contains("was not: cancelled"), "{}", why());
    world.lucid(["kill", &number]).expect(5);
}

#[test]
fn the_pause_of_everything_is_not_a_tasks_own() {
    let mut world = World::new();
    world.task("utf", "command: 'true'");
    world.serve();
    world.lucid(["pause", "--all"]).expect(0);
    let refused = world.lucid(["run", "utf"]);
    assert!(refused.code != 0 && refused.stderr.contains("lucid resume --all"), "{refused:?}");
    let still = world.lucid(["resume", "utf"]).expect(5);
    assert!(still.stderr.contains("lucid resume --all"), "{still:?}");
    world.lucid(["pause", "utf"]).expect(0);
    let own = world.lucid(["resume", "utf"]).expect(0).stdout;
    assert!(own.contains("has been ended; the whole schedule is paused"), "{own}");
    world.lucid(["resume", "--all"]).expect(0);
    world.lucid(["run", "utf"]).expect(0);
}

#[test]
fn what_a_command_left_running_and_what_it_could_not_enter_are_told() {
    let mut world = World::new();
    world.task("parent", "command: |\n  sleep 60 &\n  echo main");
    world.task("nowhere", "working_dir: /nope\ncommand: 'true'");
    world.serve();
    let run = world.run("parent").id;
    assert!(world.log_of(run).contains("left processes running: 1"), "{}", world.log_of(run));
    let why = world.lucid(["why", "parent"]).expect(0).stdout;
    assert!(why.contains("a process that it left running was ended"), "{why}");
    assert_eq!(world.run("nowhere").state, "failed");
    let why = world.lucid(["why", "nowhere"]).expect(0).stdout;
    assert!(why.contains("could not be started: cannot enter the working directory /nope"), "{why}");
}

#[test]
fn a_retry_by_hand_runs_the_same_instant_once_more() {
    let mut world = World::new();
    world.task("flaky", "command: |\n  test -e fixed");
    world.serve();
    let first = world.run("flaky");
    assert_eq!(first.state, "failed");
    world.write("fixed", "");
    let retried = world.lucid(["retry", &first.id.to_string(), "--json"]).expect(0).json();
    let run = retried["run"]["id"].as_i64().unwrap();
    let row = world.ended(run);
    assert_eq!((row.state.as_str(), row.trigger.as_str(), row.attempt), ("ok", "retry", 2));
    world.lucid(["retry", "4711"]).expect(4);
}

#[test]
fn a_long_socket_path_still_works() {
    let mut world = World::new();
    let folder = world.path(&"f".repeat(100));
    std::fs::create_dir(&folder).unwrap();
    world.configure(&format!("state_dir: '{}'\n", folder.join("state").display()));
    // The settings the world writes come first; a key may stand once.
    let text = world.read("lucid.yaml").replace("state_dir: state\n", "");
    world.write("lucid.yaml", text);
    world.task("one", "command: \"true\"");
    world.serve();
    let done = world.lucid(["run", "one", "--wait"]);
    assert_eq!(done.code, 0, "{done:?}\n{}", world.read("daemon.log"));
    world.kill_daemon();
    std::thread::sleep(Duration::from_millis(50));
}
