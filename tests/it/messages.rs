//! What people say to workers: at work, on their way out, in their next turn, and over restarts of the daemon.

use serde_json::Value;

use crate::workers::{new, outcomes, ticket, token_of, until, world};
use crate::world::World;

fn message(world: &World) -> Value {
    world.lucid(["messages", "--json"]).expect(0).json()["messages"][0].clone()
}

#[test]
fn an_answer_that_its_worker_never_read_is_the_next_ones() {
    let world = world("");
    let id = new(&world, "deaf", "FAKE_MODE=deaf_to_answer", "waits");
    until(&world, &id, "needs_input");
    world.lucid(["reply", &id, "blue, at once"]).expect(0);
    until(&world, &id, "review");
    assert_eq!(outcomes(&world, &id), ["waits ok", "waits ok"]);
    let messages = world.lucid(["messages", "--json"]).expect(0).json();
    assert_eq!(
        (&messages["messages"][0]["state"], &messages["messages"][0]["attempts"]),
        (&"acked".into(), &1.into())
    );
}

#[test]
fn an_answer_to_a_worker_that_is_still_there_is_worked_with_at_once() {
    let world = world("");
    let id = new(&world, "asks and waits", "FAKE_MODE=needs_input", "waits");
    until(&world, &id, "needs_input");
    world.lucid(["reply", &id, "blue"]).expect(0);
    let review = until(&world, &id, "review");
    assert_eq!((review["attempt"].as_i64(), review["commit"].is_string()), (Some(1), true));
    let messages = world.lucid(["messages", "--json"]).expect(0).json();
    assert_eq!(messages["messages"][0]["state"], "acked");
}

#[test]
fn a_turn_that_a_message_began_outlives_a_restart() {
    let mut world = world("");
    let id = new(&world, "talks", "FAKE_MODE=second_turn", "slow");
    let said = |world: &World, what: &str| {
        let count = format!("SELECT count(*) FROM ticket_events WHERE data LIKE '%{what}%'");
        world.until(what, || (world.number(&count) > 0).then_some(()));
    };
    said(&world, "deaf for a while");
    world.lucid(["reply", &id, "one more thing"]).expect(0);
    said(&world, "So far, so good");
    said(&world, "step 2 of");
    assert_eq!(message(&world)["state"], "acked");
    world.restart();
    let review = until(&world, &id, "review");
    assert_eq!(review["report"]["summary"], "done with what was said");
    assert_eq!((review["attempt"].as_i64(), outcomes(&world, &id)), (Some(1), vec!["slow ok".to_owned()]));
}

#[test]
fn what_stood_in_a_prompt_is_known_as_read_after_a_restart() {
    let mut world = world("");
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let id = new(&world, "silent", "", "silent");
    world.lucid(["reply", &id, "and make it blue"]).expect(0);
    world.lucid(["resume", "ticket-pickup"]).expect(0);
    world.until("it is in a prompt", || (message(&world)["state"] == "delivered").then_some(()));
    world.until("it is at work", || {
        world.rows("ticket-pickup").iter().any(|row| row.state == "running").then_some(())
    });
    world.restart();
    until(&world, &id, "review");
    assert_eq!(outcomes(&world, &id), ["silent ok"]);
    assert_eq!((&message(&world)["state"], &message(&world)["attempts"]), (&"acked".into(), &0.into()));
    assert_eq!(ticket(&world, &id)["attempt"], 1);
}

#[test]
fn a_message_reaches_a_worker_at_work_and_stale_writes_change_nothing() {
    let mut world = world("");
    let id = new(&world, "slow", "FAKE_MODE=slow", "slow");
    until(&world, &id, "in_progress");
    let token = world.until("the worker's token", || token_of(&world));
    let other = new(&world, "other", "", "silent");
    world.restart();
    world.lucid(["reply", &id, "hello there"]).expect(0);
    assert!(write(&world, &token, &id).contains("seq"), "its own ticket");
    assert!(write(&world, &token, &other).contains("forbidden"), "another's ticket");
    until(&world, &id, "review");
    let messages = world.lucid(["messages", "--json"]).expect(0).json();
    assert_eq!(messages["messages"][0]["state"], "acked");
    let count =
        |what: &str| world.number(&format!("SELECT count(*) FROM ticket_events WHERE data LIKE '%{what}%'"));
    assert_eq!(count("heard: hello there"), 1);
    assert_eq!(count("written by hand"), 1);
    assert!(write(&world, &token, &id).contains("superseded"));
    assert_eq!(count("written by hand"), 1, "a stale write changes nothing");
}

/// What the daemon says to an event that the token's holder writes.
fn write(world: &World, token: &str, id: &str) -> String {
    let path = format!("/api/v1/tickets/{id}/events");
    let body = r#"{"type":"note","data":{"text":"written by hand"}}"#;
    let mut command = world.lucid_command(["api", "POST", &path, body]);
    let done = command.env("LUCID_TOKEN", token).output().expect("lucid");
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}
