//! What passes between a ticket, its worker and people: a worker that dies alone, what a report claims, a
//! check-in that passes in silence, a message that nobody can take.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::processes::signal;
use crate::workers::{LONG, mode, new, outcomes, slots_are_whole, ticket, token_of, until, world};
use crate::world::{Output, World};

fn agent_of(world: &World) -> Option<i32> {
    world
        .of_runs()
        .into_iter()
        .find(|process| process.command.contains("fake-agent"))
        .map(|process| process.pid)
}

fn notices(world: &World, words: &str) -> i64 {
    world.number(&format!("SELECT count(*) FROM comments WHERE kind = 'notice' AND body LIKE '%{words}%'"))
}

#[test]
fn a_worker_killed_alone_has_crashed_and_is_followed_by_others_until_a_person_has_to_look() {
    let world = world("");
    let id = mode(&world, "hang");
    let mut killed = Vec::new();
    while killed.len() < 3 {
        let worker = world
            .until_within(LONG, "another worker", || agent_of(&world).filter(|pid| !killed.contains(pid)));
        assert!(signal(worker, Signal::KILL));
        killed.push(worker);
        world.until_within(LONG, "its end", || (outcomes(&world, &id).len() == killed.len()).then_some(()));
    }
    let given_up = until(&world, &id, "needs_input");
    assert_eq!(
        (&given_up["reason"]["code"], &given_up["attempt"]),
        (&json!("crash"), &json!(3)),
        "{given_up}"
    );
    assert_eq!(outcomes(&world, &id), ["fake crash"; 3]);
    let rows = world.rows_where(&format!("ticket = '{id}'"));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.state == "failed" && row.signal == Some(9)), "{rows:?}");
    for pair in rows.windows(2) {
        assert!(pair[1].started_ms > pair[0].ended_ms, "two at once: {pair:?}");
    }
    slots_are_whole(&world);
    world.until("no process is left", || world.of_runs().is_empty().then_some(()));
}

#[test]
fn what_a_report_claims_is_kept_and_shown_and_opens_no_gate() {
    let world = world("");
    let id = mode(&world, "commit");
    let review = until(&world, &id, "review");
    assert_eq!(review["report"]["evidence"], "a fake measured nothing", "{review}");
    let shown = world.lucid(["ticket", "show", &id]).expect(0).stdout;
    assert!(shown.contains("a fake measured nothing"), "{shown}");
    let refused = world.lucid(["ticket", "move", &id, "done"]).expect(5);
    assert!(!refused.stderr.is_empty(), "{refused:?}");
    assert_eq!(ticket(&world, &id)["state"], "review");
}

#[test]
fn a_check_in_that_passes_in_silence_is_told_once_and_kills_nobody() {
    let mut world = world("");
    let id = mode(&world, "hang");
    let at_work = until(&world, &id, "in_progress");
    assert!(at_work["check_in_at"].is_string(), "{at_work}");
    world.until("a worker", || agent_of(&world));
    world.kill_daemon();
    world.edit_database("UPDATE attempts SET check_in_ms = 1 WHERE ended_ms IS NULL");
    world.serve();
    world.until_within(LONG, "the follow-up", || {
        (notices(&world, "Expected check-in has passed") == 1).then_some(())
    });
    world.restart();
    world.lucid(["action", "ticket-pickup"]).expect(0);
    assert_eq!(notices(&world, "Expected check-in has passed"), 1, "told again");
    let still = ticket(&world, &id);
    assert_eq!((&still["state"], &still["attempt"]), (&json!("in_progress"), &json!(1)), "{still}");
    assert!(agent_of(&world).is_some(), "silence alone ends nothing");
}

#[test]
fn a_message_that_fails_three_times_is_dead_and_its_author_is_told() {
    let world = world("");
    // Its program takes no input while it works: what comes for it stays in line.
    let id = new(&world, "deaf", "FAKE_MODE=hang", "other");
    until(&world, &id, "in_progress");
    let token = world.until("the worker's token", || token_of(&world));
    world.lucid(["reply", &id, "are you there?"]).expect(0);
    let messages = world.lucid(["messages", "--json"]).expect(0).json();
    let number = messages["messages"][0]["id"].as_i64().expect("a number");
    let state = || world.lucid(["messages", "--json"]).expect(0).json()["messages"][0]["state"].clone();
    for failure in 1..=3 {
        let claimed = world.until_within(LONG, "it is in line", || {
            Some(post(&world, &token, number, "claim", "{}")).filter(|answer| answer.code == 0)
        });
        assert_eq!(claimed.json()["message"]["text"], "are you there?");
        assert_eq!(state(), "delivered");
        let failed = post(&world, &token, number, "fail", r#"{"error":"no ears"}"#).expect(0).json();
        assert_eq!(failed["message"]["state"], if failure < 3 { "failed" } else { "dead" }, "{failed}");
    }
    let message = world.lucid(["messages", "--json"]).expect(0).json()["messages"][0].clone();
    let facts = (&message["state"], &message["attempts"], &message["error"]);
    assert_eq!(facts, (&json!("dead"), &json!(3), &json!("no ears")), "{message}");
    assert_eq!(notices(&world, "failed 3 times and is given up: no ears"), 1);
    assert_eq!(world.events("message_dead"), 1);
    // The dead are not taken; a person may put them in line again.
    assert_ne!(post(&world, &token, number, "claim", "{}").code, 0);
    world.lucid(["message", "retry", &number.to_string()]).expect(0);
    assert_eq!(state(), Value::from("queued"));
}

fn post(world: &World, token: &str, message: i64, what: &str, body: &str) -> Output {
    let path = format!("/api/v1/messages/{message}/{what}");
    let mut command = world.lucid_command(["api", "POST", &path, body]);
    let done = command.env("LUCID_TOKEN", token).output().expect("lucid");
    Output {
        code: crate::world::code_of(done.status),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

#[test]
fn tickets_go_as_soon_as_the_pause_of_their_dispatch_is_over() {
    let world = world("");
    world.lucid(["pause", "ticket-pickup", "--for", "3s"]).expect(0);
    let over_ms = world.number("SELECT paused_until_ms FROM tasks WHERE id = 'ticket-pickup'");
    let id = mode(&world, "commit");
    let row = world.until_within(LONG, "its worker", || {
        world.rows_where(&format!("ticket = '{id}'")).into_iter().find_map(|row| row.started_ms)
    });
    assert!((0..2_000).contains(&(row - over_ms)), "{} ms after its end", row - over_ms);
}

#[test]
fn why_says_which_pool_was_full_and_that_a_retry_was_dropped() {
    let world = world("");
    let slots = world.number("SELECT count(*) FROM slots");
    let hold = "pool: main\nworktree: {claim_wait: 1s}\ncommand: sleep 600";
    for n in 0..slots {
        world.task(&format!("holds-{n}"), hold);
    }
    world.task("late", hold);
    world.task("flaky", "retries: {max: 1, delay: 2s}\ncommand: exit 1");
    world.lucid(["reload"]).expect(0);
    for n in 0..slots {
        let run = world.start(&format!("holds-{n}"));
        world.until_state(run, "running");
    }
    let late = world.start("late");
    world.until_within(LONG, "it gives up", || world.row(late).filter(|row| row.state == "skipped"));
    let why = world.lucid(["why", "late"]).expect(0).stdout;
    assert!(why.contains(&format!("no slot of the pool `main` came free in time; it has {slots}")), "{why}");
    let flaky = world.start("flaky");
    world.until_state(flaky, "failed");
    world.lucid(["disable", "flaky"]).expect(0);
    let why = world.until("it is dropped", || {
        let why = world.lucid(["why", "flaky"]).expect(0).stdout;
        why.contains("it was to be tried again, and was not: the task is disabled").then_some(why)
    });
    assert!(why.contains("exit 1"), "{why}");
}
