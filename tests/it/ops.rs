//! The built-in actions: what they put right, what they leave alone, and what they say.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::workers::{git, mode, new, outcomes, slots_are_whole, ticket, until, world};
use crate::world::World;

/// Everything is stale after a second.
const SOON: &str = "
janitor:
  silent_after: 1s
  unanswered_after: 1s
";

fn janitor(world: &World) -> String {
    world.lucid(["action", "janitor"]).expect(0).stdout
}

/// What the janitor says once it has something to say of `id`.
fn put_right(world: &World, id: &str, verdict: &str) -> String {
    let wanted = format!("{id} {verdict}");
    world.until(&wanted, || Some(janitor(world)).filter(|said| said.contains(&wanted)))
}

fn patch(world: &World, id: &str, change: &Value) {
    let (path, body) = (format!("/api/v1/tickets/{id}"), change.to_string());
    world.lucid(["api", "PATCH", &path, &body]).expect(0);
}

fn comments(world: &World, id: &str) -> String {
    world.lucid(["ticket", "show", id]).expect(0).stdout
}

#[test]
fn a_worker_that_falls_silent_is_ended_and_its_ticket_is_free_again() {
    let world = world(SOON);
    let id = mode(&world, "hang");
    until(&world, &id, "in_progress");
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let said = put_right(&world, &id, "stale_in_progress");
    assert!(said.contains("nothing was heard of its worker"), "{said}");
    let free = until(&world, &id, "todo");
    assert!(free["slot"].is_null(), "{free}");
    assert_eq!(outcomes(&world, &id), ["fake timeout"]);
    assert!(comments(&world, &id).contains("is being ended: nothing was heard"), "{}", comments(&world, &id));
    slots_are_whole(&world);
    assert!(world.of_runs().iter().all(|process| !process.command.contains("fake-agent")));
    let learnings = fs::read_to_string(world.state("janitor_learnings.jsonl")).unwrap();
    let first: Value = serde_json::from_str(learnings.lines().next().unwrap()).unwrap();
    assert_eq!((&first["ticket"], &first["verdict"]), (&json!(id), &json!("stale_in_progress")));
    assert!(!janitor(&world).contains(&id), "and then there is nothing to put right");
}

#[test]
fn in_progress_without_a_worker_goes_back_to_todo() {
    let mut world = World::new();
    world.serve();
    let id = new(&world, "forgotten", "", "");
    world.kill_daemon();
    world.edit_database("UPDATE tickets SET state = 'in_progress', updated_ms = 1");
    world.serve();
    assert!(put_right(&world, &id, "stale_in_progress").contains("no worker was on it"));
    assert_eq!(ticket(&world, &id)["state"], "todo");
}

#[test]
fn an_attempt_whose_run_is_over_is_written_off() {
    let mut world = world(SOON);
    let id = mode(&world, "hang");
    until(&world, &id, "in_progress");
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let run = ticket(&world, &id)["run"].as_i64().unwrap();
    world.lucid(["kill", &run.to_string()]).expect(0);
    until(&world, &id, "needs_input");
    // As a crash between two writes would leave it: the run has ended, the attempt has not.
    world.kill_daemon();
    world.edit_database(&format!(
        "UPDATE tickets SET state = 'in_progress', reason_code = NULL, reason_text = NULL, reason_since_ms = NULL; \
         UPDATE attempts SET ended_ms = NULL, outcome = NULL; UPDATE runs SET ended_ms = 1 WHERE id = {run}"
    ));
    world.serve();
    assert!(put_right(&world, &id, "orphan_worker").contains("run is over"));
    until(&world, &id, "todo");
    assert_eq!(world.events("condition_raised"), 1);
    janitor(&world);
    assert_eq!(world.events("condition_cleared"), 1);
}

#[test]
fn a_silent_worker_on_a_ticket_that_was_parked_is_ended_and_the_ticket_stays_parked() {
    let world = world(SOON);
    let id = mode(&world, "hang");
    until(&world, &id, "in_progress");
    patch(&world, &id, &json!({"state": "waiting", "reason": "for the postman"}));
    put_right(&world, &id, "orphan_worker");
    world.until("the worker is gone", || (!ticket(&world, &id)["slot"].is_string()).then_some(()));
    slots_are_whole(&world);
    assert_eq!(ticket(&world, &id)["state"], "waiting");
    // Until a date that has come.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    patch(&world, &id, &json!({"state": "waiting", "reason": "until then", "until": soon.to_string()}));
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    std::thread::sleep(std::time::Duration::from_secs(2));
    put_right(&world, &id, "wait_over");
    assert_eq!(ticket(&world, &id)["state"], "todo");
}

#[test]
fn a_question_that_nobody_answers_goes_back_unless_it_is_somebodys() {
    let world = world(SOON);
    let (open, taken) = (mode(&world, "needs_input"), mode(&world, "needs_input"));
    until(&world, &open, "needs_input");
    until(&world, &taken, "needs_input");
    patch(&world, &taken, &json!({"assignee": "ann"}));
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let said = put_right(&world, &open, "stale_needs_input");
    assert!(!said.contains(&format!("{taken} ")), "{said}");
    assert_eq!(ticket(&world, &open)["state"], "todo");
    assert_eq!(ticket(&world, &taken)["state"], "needs_input");
    assert!(comments(&world, &open).contains("nobody has replied"), "{}", comments(&world, &open));
}

#[test]
fn review_ends_by_itself_once_the_commit_is_on_the_base_and_not_before() {
    let world = world("");
    let id = mode(&world, "commit");
    let branch = until(&world, &id, "review")["branch"].as_str().unwrap().to_owned();
    assert!(!janitor(&world).contains(&id));
    assert_eq!(ticket(&world, &id)["state"], "review");
    git(&world.path("repo"), &["push", "-q", "origin", &format!("{branch}:main")]);
    put_right(&world, &id, "auto_close");
    assert_eq!(ticket(&world, &id)["state"], "done");
    assert!(comments(&world, &id).contains("its commit is on the base branch"));
}

#[test]
fn dispatch_that_is_held_up_is_told_and_what_can_go_on_goes_on() {
    let checked = "
pools: {main: {repo: repo, slots: 1}}
agents:
  fake:
    command: [lucid, fake-agent]
    auth_check: [/bin/sh, -c, 'test -e logged-in || { echo \"Not logged in: $KEY\" >&2; exit 1; }']
    secrets: [KEY]
dispatch: {pool: main, agent: fake, held_after: 1s}
secrets: {file: secrets.env}
";
    let mut world = World::with(checked);
    world.write("secrets.env", "KEY=a-secret-of-the-profile\n");
    git(world.root(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "repo"]);
    git(&world.path("repo"), &["commit", "-q", "--allow-empty", "-m", "First"]);
    git(&world.path("repo"), &["push", "-q", "origin", "HEAD:main"]);
    git(&world.path("repo"), &["fetch", "-q"]);
    world.task("ticket-pickup", "action: ticket-pickup\nschedule: every 2m");
    world.task("pickup-watchdog", "action: pickup-watchdog");
    world.serve();
    let row = world.run("pickup-watchdog");
    assert_eq!(row.state, "ok", "{row:?}");
    let said = world.log_of(row.id);
    assert!(said.contains("not logged in: fake") && said.contains("exit 1: Not logged in: ***"), "{said}");
    assert!(!said.contains("a-secret-of"), "{said}");
    let agents = world.lucid(["agents", "--json"]).expect(0).json();
    assert_eq!(agents["agents"][0]["state"], "disabled");
    let critical =
        "SELECT count(*) FROM events WHERE kind = 'condition_raised' AND data LIKE '%\"critical\"%'";
    assert_eq!(world.number(critical), 1);
    let id = new(&world, "waits", "FAKE_MODE=commit", "fake");
    world
        .until("it is held up", || (ticket(&world, &id)["reason"]["code"] == "agent_disabled").then_some(()));
    world.write("logged-in", "");
    let watch = || world.lucid(["action", "pickup-watchdog"]).expect(0).stdout;
    let said = watch();
    assert!(said.contains("fake is logged in again") && said.contains("dispatch goes on again"), "{said}");
    assert_eq!(world.events("condition_cleared"), 1);
    until(&world, &id, "review");
    // What a person has switched off stays off.
    world.lucid(["disable", "ticket-pickup"]).expect(0);
    let id = new(&world, "waits", "FAKE_MODE=commit", "fake");
    let said = world.until("it is told", || Some(watch()).filter(|said| said.contains("held up: 1 ticket")));
    assert!(said.contains("ticket-pickup is disabled: lucid enable ticket-pickup"), "{said}");
    assert!(world.read("tasks/ticket-pickup.md").contains("enabled: false"));
    assert_eq!(ticket(&world, &id)["state"], "todo");
    world.lucid(["enable", "ticket-pickup"]).expect(0);
    until(&world, &id, "review");
    assert!(watch().contains("dispatch goes on again"));
    // Where nobody looks any more, nobody would say that it is over.
    world.lucid(["disable", "ticket-pickup"]).expect(0);
    new(&world, "waits", "FAKE_MODE=commit", "fake");
    world.until("it is told", || Some(watch()).filter(|said| said.contains("held up: 1 ticket")));
    let cleared = world.events("condition_cleared");
    world.lucid(["disable", "pickup-watchdog"]).expect(0);
    world.until("it is dropped", || (world.events("condition_cleared") > cleared).then_some(()));
}

#[test]
fn every_action_runs_as_a_task_with_its_own_token() {
    let mut world = world("");
    let actions = [
        "janitor",
        "queue-reaper",
        "pickup-watchdog",
        "pool-health",
        "morning-brief",
        "weekly-digest",
        "db-backup",
    ];
    for action in actions {
        world.task(action, &format!("action: {action}"));
    }
    world.lucid(["reload"]).expect(0);
    for action in actions {
        let row = world.run(action);
        assert_eq!(row.state, "ok", "{action}: {}", world.log_of(row.id));
        assert!(!world.log_of(row.id).trim().is_empty(), "{action} says something");
    }
    // The right is the action's own: no task gets it by asking.
    world.task("thief", "command: '\"$LUCID\" api POST /api/v1/upkeep/janitor {}'\nenv: {LUCID: /nowhere}");
    let exe = crate::world::LUCID;
    world.task("thief", &format!("command: ['{exe}', api, POST, /api/v1/upkeep/janitor, '{{}}']"));
    world.lucid(["reload"]).expect(0);
    let row = world.run("thief");
    assert_eq!(row.exit_code, Some(7), "{}", world.log_of(row.id));
    world.lucid(["api", "POST", "/api/v1/upkeep/nonsense", "{}"]).expect(4);
    world.restart();
}

#[test]
fn a_slot_that_drifts_while_nobody_has_it_is_healed_and_its_work_kept() {
    let world = world("");
    let id = mode(&world, "ok");
    until(&world, &id, "review");
    slots_are_whole(&world);
    let slot = fs::read_dir(world.state("pools/main")).unwrap().flatten().find(|entry| entry.path().is_dir());
    let slot = slot.unwrap().path();
    fs::write(slot.join("unsaved.txt"), "mine").unwrap();
    let said = world.lucid(["action", "pool-health"]).expect(0).stdout;
    assert!(said.contains("1 healed") && said.contains("refs/lucid/rescue/"), "{said}");
    assert!(!slot.join("unsaved.txt").exists());
    let refs = git(&world.path("repo"), &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
    let kept = refs.lines().any(|name| {
        git(&world.path("repo"), &["ls-tree", "--name-only", name]).lines().any(|file| file == "unsaved.txt")
    });
    assert!(kept, "{refs}");
    assert!(world.lucid(["action", "pool-health"]).expect(0).stdout.contains("0 healed"));
}

#[test]
fn a_brief_tells_what_needs_a_person_and_otherwise_next_to_nothing() {
    let mut world = World::new();
    world.task("fine", "command: 'true'");
    world.task("broken", "command: exit 3");
    world.serve();
    world.run("fine");
    let brief = |kind: &str| world.lucid(["action", kind]).expect(0).stdout;
    assert_eq!(brief("morning-brief"), "All quiet, 1 run ok\n");
    world.run("broken");
    let id = new(&world, "Choose <b>one</b> \u{1f980}", "", "");
    let ask = json!({"need": "Which one?"}).to_string();
    world.lucid(["api", "POST", &format!("/api/v1/tickets/{id}/ask"), &ask]).expect(0);
    let said = brief("morning-brief");
    assert!(said.contains(&format!("Needs you (1)\n• {id} Choose <b>one</b> \u{1f980} · ")), "{said}");
    assert!(said.contains("Failing now (1)\n• broken · ") && said.contains("exit 3 · 1 run"), "{said}");
    assert!(said.contains("2 runs, 1 ok, 1 failed") && said.contains("no backup yet"), "{said}");
    assert!(brief("weekly-digest").contains("Week to "));
    let document = world.lucid(["--json", "action", "morning-brief"]).expect(0).json();
    assert_eq!((&document["needs_you"], &document["quiet"]), (&json!(1), &json!(false)));
}

#[test]
fn a_backup_is_restored_to_prove_it_and_one_that_has_gone_bad_is_found() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: echo tick");
    world.serve();
    world.until("some runs", || (world.rows("tick").len() >= 2).then_some(()));
    let backups = || {
        let mut names: Vec<String> = fs::read_dir(world.state("backups"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let said = world.lucid(["action", "db-backup"]).expect(0).stdout;
    assert!(said.contains("restored to a place of its own and checked"), "{said}");
    world.lucid(["backup"]).expect(0);
    world.lucid(["action", "db-backup"]).expect(0);
    assert_eq!(backups().len(), 3, "none of today is thinned out: {:?}", backups());
    let path = world.state("backups").join(&backups()[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 4_096 / 2 * 4_096;
    bytes[middle..middle + 4_096].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let said = world.lucid(["action", "db-backup"]).expect(1).stderr;
    assert!(said.contains("1 older backup is damaged"), "{said}");
    assert_eq!(backups().iter().filter(|name| name.ends_with(".damaged")).count(), 1);
    world.lucid(["action", "db-backup"]).expect(0);
    assert!(backups().iter().all(|name| !name.starts_with('.')), "nothing of the rehearsals is left");
}

#[test]
fn refused_requests_are_told_by_anybody_and_counted_by_kind() {
    let mut world = World::new();
    let exe = crate::world::LUCID;
    let body = json!({"kind": "overloaded", "status": 529, "message": "<b>busy</b>"}).to_string();
    world.task("tell", &format!("command: ['{exe}', api, POST, /api/v1/api-errors, '{body}']"));
    world.serve();
    let row = world.run("tell");
    assert_eq!(row.state, "ok", "{}", world.log_of(row.id));
    let long = json!({"kind": "rate_limited", "message": "x".repeat(9_000), "ticket": "MC-1"}).to_string();
    world.lucid(["api", "POST", "/api/v1/api-errors", &long]).expect(0);
    for bad in
        [json!({"kind": "", "message": ""}), json!({"kind": "x", "message": "", "agent": "y".repeat(200)})]
    {
        world.lucid(["api", "POST", "/api/v1/api-errors", &bad.to_string()]).expect(2);
    }
    let summary = world.lucid(["api", "GET", "/api/v1/api-errors/summary"]).expect(0).json();
    let hour = json!({"window": "1h", "total": 2, "by_kind": {"overloaded": 1, "rate_limited": 1}});
    assert_eq!(summary["windows"][0], hour);
    let shown = world.lucid(["api-errors", "--json"]).expect(0).json();
    assert_eq!(shown["errors"][1]["run"], row.id, "the run that told");
    assert!(shown["errors"][0]["message"].as_str().unwrap().len() < 3_000);
}

#[test]
fn rows_that_nobody_needs_any_more_go() {
    let mut world = World::with("retention: {every: 1s}");
    world.serve();
    let open = new(&world, "open", "", "");
    world.kill_daemon();
    let old = "VALUES (1, NULL, 'a', 'plain', 1, 1, 1, 'ok'), (2, 'MC-1', 'a', 'plain', 1, 1, 1, 'ok')";
    world.edit_database(&format!(
        "INSERT INTO workers (run, ticket, agent, dialect, attempt, started_ms, ended_ms, verdict) {old}; \
         INSERT INTO usage (run, task, agent, input, output, cache_read, cache_write, at_ms) \
         VALUES (1, 't', 'a', 1, 1, 1, 1, 1), (2, 't', 'a', 1, 1, 1, 1, unixepoch() * 1000); \
         INSERT INTO api_errors (at_ms, kind, message) VALUES (1, 'k', 'm'), (unixepoch() * 1000, 'k', 'm')"
    ));
    world.serve();
    let left = |table: &str| world.number(&format!("SELECT count(*) FROM {table}"));
    world.until("old rows are gone", || {
        (left("workers") == 1 && left("usage") == 1 && left("api_errors") == 1).then_some(())
    });
    let kept = world.number("SELECT count(*) FROM workers WHERE ticket = 'MC-1'");
    assert_eq!((open.as_str(), kept), ("MC-1", 1), "a ticket that is not over needs its last worker");
}

#[test]
fn an_auth_check_that_hangs_is_ended_and_told_and_changes_nothing() {
    let checked = "
agents:
  slow: {command: [lucid, fake-agent], auth_check: [/bin/sh, -c, 'test -e answers || exec sleep 600']}
  also: {command: [lucid, fake-agent], auth_check: [/bin/sh, -c, 'test -e answers || exec sleep 600']}
  out: {command: [lucid, fake-agent], auth_check: ['false']}
";
    let mut world = World::with(checked);
    world.task("ticket-pickup", "action: ticket-pickup\nschedule: every 2m");
    world.task("pickup-watchdog", "action: pickup-watchdog\ntimeout: 2m");
    world.serve();
    let begun = Instant::now();
    let run = world.start("pickup-watchdog");
    // Meanwhile nobody waits for it.
    let asked = Instant::now();
    world.lucid(["agents"]).expect(0);
    world.lucid(["status"]).expect(0);
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let row = world.until_within(Duration::from_secs(100), "the watchdog ends", || {
        world.row(run).filter(|row| !row.is_live())
    });
    assert_eq!(row.state, "ok", "{row:?}");
    // Both at once, not one after the other.
    assert!(begun.elapsed() < Duration::from_secs(58), "{:?}", begun.elapsed());
    let said = world.log_of(run);
    assert!(
        said.contains("The auth_check of slow does not answer: /bin/sh: was killed after 30000 ms"),
        "{said}"
    );
    let agents = world.lucid(["agents", "--json"]).expect(0).json();
    let states: Vec<&str> = agents["agents"]
        .as_array()
        .expect("agents")
        .iter()
        .map(|agent| agent["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(
        states,
        ["ready", "ready", "disabled"],
        "a check that says nothing is no word about the login"
    );
    world.write("answers", "");
    let before = world.events("condition_cleared");
    assert_eq!(world.run("pickup-watchdog").state, "ok");
    assert_eq!(world.events("condition_cleared"), before + 2);
}
