//! Settings that are wrong or name what is not there: the same words from every command, and from the daemon
//! while it runs.

use std::fs;

use serde_json::Value;

use crate::workers::git;
use crate::world::World;

const BROKEN: &str = "token_checks:\n  mail: {command: check --mail}\nscheduler:\n  tick: soon";

#[test]
fn every_command_tells_every_problem_in_one_shape() {
    let world = World::with(BROKEN);
    let wanted = "error: lucid.yaml:6:19: token_checks.mail.command: a text of several words";
    for (args, code) in [
        (vec!["serve"], 78),
        (vec!["config"], 1),
        (vec!["config", "--effective"], 1),
        (vec!["check"], 1),
        (vec!["telegram", "setup"], 1),
        (vec!["heartbeat"], 2),
    ] {
        let said = world.lucid(args.iter().copied()).expect(code).stderr;
        // What the heartbeat could do all the same is said before.
        let said = said.lines().skip_while(|line| line.starts_with("lucid: ")).collect::<Vec<_>>().join("\n");
        let said = format!("{said}\n");
        assert!(said.starts_with(wanted), "{args:?}: {said}");
        assert!(
            said.contains("\n  6 |   mail: {command: check --mail}\n    |                   ^\n"),
            "{args:?}: {said}"
        );
        assert!(said.contains("\n help: write `command: [\"check\",\"--mail\"]`\n"), "{args:?}: {said}");
        assert!(
            said.contains("\nerror: lucid.yaml:8:9: scheduler.tick: `soon` is no duration"),
            "{args:?}: {said}"
        );
        assert!(!said.contains("--socket"), "{args:?}: {said}");
    }
    // A slip in a setting keeps nobody from the daemon: its socket is known.
    let said = world.lucid(["status"]).expect(3).stderr;
    assert!(said.contains("no daemon on"), "{said}");
    world.configure("scheduler: {tick: [");
    let said = world.lucid(["status"]).expect(1).stderr;
    assert!(said.starts_with("error: lucid.yaml:") && said.contains("not YAML"), "{said}");
    assert!(said.contains("--socket PATH does without them"), "{said}");
    world.configure("");
    let output =
        world.lucid_command(["config"]).env("LUCID_LOG__LEVL", "x").env("LUCID_LOG__LEVEL", "y").output();
    let said = String::from_utf8(output.expect("lucid starts").stderr).expect("text");
    assert_eq!(said.matches("error: environment: LUCID_LOG__LEV").count(), 2, "{said}");
}

#[test]
fn what_keeps_the_daemon_from_starting_is_told_before_the_next_start_is_tried() {
    let mut world = World::with("");
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.serve();
    for (settings, wanted) in [
        ("nonsense: 1", "lucid.yaml:5:1: unknown key `nonsense`"),
        ("secrets: {file: /nonexist}", "lucid.yaml:5:17: secrets.file: there is no file /nonexist"),
        ("control: {group: nogrp99}", "lucid.yaml:5:18: control.group: there is no group `nogrp99`"),
    ] {
        world.configure(settings);
        let reloaded = world.lucid(["reload"]).expect(1).stdout;
        assert!(reloaded.contains("the next start would be refused"), "{reloaded}");
        assert!(!reloaded.contains("take effect at the next start"), "{reloaded}");
        let problems = world.lucid(["problems", "--json"]).expect(0).json();
        let refused = problem(&problems, "settings:refused").expect("at once");
        assert!(refused["text"].as_str().is_some_and(|text| text.contains(wanted)), "{wanted}: {refused}");
        let document = world.lucid(["reload", "--json"]).expect(1).json();
        assert_eq!(document["rejected"][0]["line"], 5, "{document}");
        assert_eq!(document["restart"].as_array().map(Vec::len), Some(0), "{document}");
        for (args, code) in [(["check", "--quiet"], 1), (["config", "--effective"], 1)] {
            let said = world.lucid(args).expect(code).stderr;
            assert!(said.contains(wanted), "{args:?}: {said}");
        }
    }
    world.configure("defaults: {shell: /nonexist}");
    let said = world.lucid(["check"]).expect(0).stderr;
    assert!(said.contains("warning: lucid.yaml:5:19: defaults.shell: there is no file /nonexist"), "{said}");
    world.configure("control: {group: nogrp99}");
    world.kill_daemon();
    let said = world.lucid(["serve"]).expect(78).stderr;
    assert!(said.contains("control.group: there is no group `nogrp99`"), "{said}");
}

fn problem<'a>(document: &'a Value, id: &str) -> Option<&'a Value> {
    document["problems"].as_array()?.iter().find(|problem| problem["id"] == id)
}

#[test]
fn what_the_settings_name_and_is_not_there_is_told_and_stands_until_it_is() {
    let disks = "health: {disk_degraded_pct: 0, disk_critical_pct: 0, disks: [/, gone]}";
    let mut world = World::with(&format!("{disks}\nsyncs:\n  notes: {{repo: notes}}"));
    fs::create_dir(world.path("notes")).expect("a folder");
    let wanted = "warning: lucid.yaml:7:17: syncs.notes.repo: ";
    for args in [["config", "--effective"], ["check", "--format=human"]] {
        let said = world.lucid(args).expect(0).stderr;
        assert!(
            said.contains(wanted) && said.contains("\n  7 |   notes: {repo: notes}\n"),
            "{args:?}: {said}"
        );
        assert!(said.contains("health.disks: there is no file or folder"), "{args:?}: {said}");
    }
    world.lucid(["check", "--strict"]).expect(1);
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.serve();
    assert!(world.read("daemon.log").contains(wanted), "{}", world.log_tail());
    world.run("heartbeat");
    let problems = world.lucid(["problems", "--json"]).expect(0).json();
    let notes = problem(&problems, "setting:syncs.notes.repo").expect("the sync");
    assert_eq!(notes["fix"], "lucid check", "{notes}");
    // The heartbeat has seen the same: it is one trouble.
    let disk = format!("disk:{}", world.path("gone").display());
    let rows = problems["problems"].as_array().expect("problems");
    assert_eq!(rows.iter().filter(|problem| problem["id"] == disk.as_str()).count(), 1, "{problems}");
    let health = world.lucid(["health", "--json"]).expect(1).json();
    let checks = health["checks"].as_array().expect("checks");
    assert_eq!(checks.iter().filter(|check| check["id"] == disk.as_str()).count(), 1, "{health}");
    assert!(checks.iter().any(|check| check["id"] == "setting:syncs.notes.repo"), "{health}");
    git(&world.path("notes"), &["init", "-q"]);
    fs::create_dir(world.path("gone")).expect("a folder");
    world.until("the settings name what is there", || {
        let problems = world.lucid(["problems", "--json"]).expect(0).json();
        problem(&problems, "setting:syncs.notes.repo").is_none().then_some(())
    });
    world.run("heartbeat");
    assert_eq!(world.lucid(["health", "--json"]).expect(0).json()["state"], "healthy");
}

#[test]
fn what_waits_for_a_restart_is_said_and_everybody_measures_by_what_is_in_force() {
    let health = |pct: u32| format!("health: {{disk_degraded_pct: {pct}, disk_critical_pct: {pct}}}");
    let mut world = World::with(&health(0));
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.serve();
    world.configure(&health(100));
    assert_eq!(world.run("heartbeat").state, "ok");
    let beaten: Value = serde_json::from_str(&world.read("state/status.json")).expect("a status");
    let looked = world.lucid(["health", "--json"]).expect(0).json();
    for document in [&beaten, &looked] {
        assert_eq!(document["state"], "healthy", "{document}");
        let checks = document["checks"].as_array().expect("checks");
        let changed = checks.iter().find(|check| check["id"] == "settings:changed").expect("the change");
        let detail = changed["detail"].as_str().expect("a text");
        assert!(
            detail.contains("health.disk_critical_pct: 0 is in force, lucid.yaml:5 says 100"),
            "{detail}"
        );
    }
    let problems = world.lucid(["problems", "--json"]).expect(0).json();
    let fix = problem(&problems, "settings:changed").expect("it")["fix"].clone();
    let fix = fix.as_str().expect("a command");
    assert!(fix.starts_with("kill ") && fix.ends_with("; lucid serve"), "{fix}");
    world.configure("health: {disk_degraded_pct: all}");
    world.until("a refused file is told", || {
        let problems = world.lucid(["problems", "--json"]).expect(0).json();
        let refused = problem(&problems, "settings:refused")?.clone();
        assert_eq!(refused["fix"], "lucid check");
        Some(())
    });
    world.configure(&health(100));
    world.restart();
    assert_eq!(world.run("heartbeat").state, "ok");
    world.lucid(["health"]).expect(2);
}

/// The command that mends a problem, as a person types it.
fn typed(world: &World, command: &str) -> std::process::Output {
    let lucid = std::path::Path::new(crate::world::LUCID).parent().expect("a folder");
    let path = format!("{}:{}", lucid.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", command]).env("PATH", path).env("LUCID_CONFIG", world.path("lucid.yaml"));
    shell.current_dir(world.root()).stdin(std::process::Stdio::null()).output().expect("a shell")
}

/// Neither a usage error nor a name that nobody knows, and it has something to say.
#[track_caller]
fn works_as_typed(world: &World, row: &Value) {
    let fix = row["fix"].as_str().expect("a command");
    if fix.starts_with("kill ") {
        // It would not come back, and works as each of the two does.
        return;
    }
    let ended = typed(world, fix);
    let said =
        format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    let refused = [2, 4, 127].contains(&ended.status.code().unwrap_or(127));
    assert!(!refused && !said.trim().is_empty(), "{row}: {said}");
}

#[test]
fn each_trouble_is_named_once_with_a_command_that_works_as_it_is_typed() {
    let settings = "health: {disk_degraded_pct: 100, disk_critical_pct: 0, disks: ['/', 'a disk'], failed_runs_critical: 2}
agents:
  gone: {command: [/nowhere/agent]}
pools:
  none: {repo: none, slots: 1}
token_checks:
  mail: {command: ['false']}
syncs:
  notes: {repo: notes}";
    let mut world = World::with(settings);
    fs::create_dir(world.path("a disk")).expect("a folder");
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.task("token-health", "action: token-health\ntimeout: 2m");
    world.task("bad", "command: exit 3");
    world.task("late", "command: sleep 60\ntimeout: 1s\nkill_grace: 1s");
    world.task("blocked", "command: 'true'\npreflight: 'false'");
    world.task("missing", "command: [/nowhere/program]");
    world.task("broken", "command: x\ntimeout: 1:30");
    world.serve();
    for task in ["bad", "late", "blocked", "missing", "token-health"] {
        world.run(task);
    }
    let new = world.lucid(["ticket", "new", "--title", "Asks", "--json"]).expect(0).json();
    let id = new["ticket"]["id"].as_str().expect("an id").to_owned();
    world.lucid(["ticket", "ask", &id, "--need", "a decision"]).expect(0);
    world.run("heartbeat");
    world.lucid(["pause", "--all"]).expect(0);
    world.configure(&format!("{settings}\nlog: {{level: debug}}"));
    world.lucid(["drain"]).expect(0);
    let problems = world.until("all of it is seen", || {
        let problems = world.lucid(["problems", "--json"]).expect(0).json();
        problem(&problems, "settings:changed").is_some().then_some(problems)
    });
    let rows = problems["problems"].as_array().expect("problems").clone();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<String> = rows.iter().map(|row| text(row, "subject")).collect();
    for wanted in [
        "agent gone",
        "bad",
        "blocked",
        "daemon",
        "disk /",
        "failed runs",
        "late",
        "missing",
        "pools.none.repo",
        "settings",
        "syncs.notes.repo",
        "tasks/broken.md",
        "tickets",
        "token mail",
    ] {
        assert!(names.iter().any(|name| name == wanted), "{wanted}: {names:?}");
    }
    // Two things can be said of the daemon itself; nothing else has a name that another has.
    names.retain(|name| name != "daemon");
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "{names:?}");
    assert!(
        rows.iter()
            .any(|row| text(row, "fix").contains(&format!("df -h '{}", world.path("a disk").display())))
    );
    rows.iter().for_each(|row| works_as_typed(&world, row));
    let status = world.lucid(["status"]).expect(0).stdout;
    assert!(status.contains("timed out") && !status.contains("signal 15"), "{status}");
}

#[test]
fn what_hangs_when_it_is_looked_at_keeps_nobody_from_anything() {
    let mut world = World::with("syncs:\n  notes: {repo: notes}");
    fs::create_dir(world.path("notes")).expect("a folder");
    // Whoever reads it waits for one who writes.
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, world.path("notes/.git"), kind, mode, 0).expect("a pipe");
    let wanted = format!("{} could not be looked at within 2s", world.path("notes").display());
    for args in [["config", "--effective"], ["check", "--format=human"]] {
        let said = world.lucid(args).expect(0).stderr;
        assert!(
            said.contains(&wanted) && said.contains("\n  6 |   notes: {repo: notes}\n"),
            "{args:?}: {said}"
        );
    }
    world.serve();
    assert!(world.read("daemon.log").contains(&wanted), "{}", world.log_tail());
    let problems = world.lucid(["problems", "--json"]).expect(0).json();
    let notes = problem(&problems, "setting:syncs.notes.repo").expect("the sync");
    assert!(notes["text"].as_str().is_some_and(|text| text.starts_with(&wanted)), "{notes}");
}
