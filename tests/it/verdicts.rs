//! Runs of agents' tasks: the ledger says what the agent's own last word says, and who was turned away comes back
//! when its provider has room.

use std::time::Duration;

use crate::ledger::Row;
use crate::world::World;

/// Graces and a machine that is busy.
const LONG: Duration = Duration::from_secs(90);
const WEEK_MS: i64 = 7 * 24 * 3_600_000;

const SETTINGS: &str = "
agents:
  fake:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
  limited:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
  script:
    command: [sh, agent.sh]
    dialect: claude
    end_grace: 1s
defaults:
  kill_grace: 1s
";

/// A refusal as the real program words it, whose process then ends with 0.
const REFUSED: &str = r#"cat > /dev/null &
echo '{"type":"result","subtype":"success","is_error":true,"api_error_status":400,"result":"no such model"}'
"#;

fn agent_task(world: &World, id: &str, front: &str, prompt: &str) {
    world.write(&format!("tasks/{id}.md"), format!("---\n{front}\ntimeout: 1m\n---\n{prompt}\n"));
}

#[track_caller]
fn ended(world: &World, id: &str) -> Row {
    let run = world.start(id);
    world.until_within(LONG, "its end", || world.row(run).filter(|row| !row.is_live()))
}

fn end_of(row: &Row) -> (&str, Option<&str>, Option<i32>) {
    (row.state.as_str(), row.reason.as_deref(), row.exit_code)
}

#[test]
fn the_ledger_says_what_the_agent_said() {
    let mut world = World::with(SETTINGS);
    world.write("agent.sh", REFUSED);
    agent_task(&world, "refused", "agent: script\nretries: {max: 1, delay: 5m}", "Do it.");
    agent_task(&world, "hangs", "agent: fake", "FAKE_MODE=hang_after_result");
    agent_task(&world, "crashes", "agent: fake", "FAKE_MODE=crash");
    agent_task(&world, "asks-nobody", "agent: fake", "FAKE_MODE=ok");
    world.serve();
    let row = ended(&world, "refused");
    assert_eq!(end_of(&row), ("failed", Some("bad_request"), Some(0)), "{row:?}");
    assert!(row.retry_ms.is_some(), "a failure like any other: {row:?}");
    let why = world.lucid(["why", "refused"]).expect(0).stdout;
    assert!(why.contains("bad_request"), "{why}");
    let row = ended(&world, "hangs");
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("ok", Some("turn_over")), "{row:?}");
    assert_eq!(end_of(&ended(&world, "crashes")), ("failed", Some("exit"), Some(3)));
    assert_eq!(end_of(&ended(&world, "asks-nobody")), ("ok", None, Some(0)));
}

#[test]
fn who_was_turned_away_comes_back_when_there_is_room_where_its_task_says_so() {
    let mut world = World::with(SETTINGS);
    let wish = "retries: {max: 2, delay: 300ms, when: [rate_limit]}";
    agent_task(&world, "overloaded", &format!("agent: fake\n{wish}"), "FAKE_MODE=overloaded_then_ok");
    agent_task(&world, "limited", &format!("agent: limited\n{wish}"), "FAKE_MODE=rate_limited");
    agent_task(&world, "gives-up", "agent: fake\nretries: {max: 2, delay: 300ms}", "FAKE_MODE=rate_limited");
    world.serve();
    world.start("overloaded");
    let rows = world.until_within(LONG, "a second try", || {
        Some(world.rows("overloaded")).filter(|rows| rows.len() == 2 && !rows[1].is_live())
    });
    assert_eq!(end_of(&rows[0]), ("failed", Some("overloaded"), Some(1)), "{rows:?}");
    assert_eq!((rows[1].state.as_str(), rows[1].trigger.as_str(), rows[1].attempt), ("ok", "retry", 2));
    let row = ended(&world, "limited");
    assert_eq!(end_of(&row), ("failed", Some("rate_limited"), Some(1)), "{row:?}");
    // The one that is played here is back in years; nobody waits for longer than eight days.
    let wait = row.retry_ms.expect("a retry") - row.ended_ms.unwrap();
    assert!((WEEK_MS..WEEK_MS + 2 * WEEK_MS / 7).contains(&wait), "{wait} ms");
    let row = ended(&world, "gives-up");
    assert_eq!(end_of(&row), ("failed", Some("rate_limited"), Some(1)), "{row:?}");
    assert_eq!(row.retry_ms, None, "nobody asked for it");
    let page = world.lucid(["explain", "retries.when"]).expect(0).stdout;
    assert!(page.contains("rate_limit") && page.contains("again once that is over"), "{page}");
}

#[test]
fn a_daemon_that_was_dead_reads_the_last_word_afterwards() {
    let mut world = World::with(SETTINGS);
    let front = "agent: limited\nenv: {FAKE_STEP_MS: '1500'}\nretries: {max: 1, when: [rate_limit]}";
    agent_task(&world, "limited", front, "FAKE_MODE=rate_limited");
    world.serve();
    let run = world.start("limited");
    world.until_state(run, "running");
    world.kill_daemon();
    world.until("exit.json", || world.run_file(run, "exit.json").exists().then_some(()));
    world.serve();
    let row = world.ended(run);
    assert_eq!(end_of(&row), ("failed", Some("rate_limited"), Some(1)), "{row:?}");
    assert!(row.retry_ms.is_some_and(|at| at - row.ended_ms.unwrap() > WEEK_MS), "{row:?}");
}
