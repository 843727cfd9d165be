//! Tickets worked on by the fake agent in every way it can end: what the ticket says then, and that its slot
//! is whole again with nobody's work lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::world::World;

/// Retries, graces and a machine that is busy.
pub const LONG: Duration = Duration::from_secs(90);

const PICKUP: &str = "action: ticket-pickup\nschedule: every 2m";

const SETTINGS: &str = "
pools:
  main:
    repo: repo
    slots: 3
agents:
  fake:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    overload_backoff: 1s
    fallback: [other]
  other:
    command: [lucid, fake-agent]
    dialect: codex
    end_grace: 1s
    env:
      FAKE_MODE: commit
  slow:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    env:
      FAKE_STEP_MS: 200
  waits:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    env:
      FAKE_STEP_MS: 2000
  short:
    command: [lucid, fake-agent]
    dialect: claude
    max_runtime: 2s
  plain:
    command: [lucid, fake-agent]
    dialect: plain
  silent:
    command: [sh, -c, 'test $0 = --version || { cat > /dev/null; sleep 5; echo done; }']
    dialect: plain
dispatch:
  pool: main
  agent: fake
defaults:
  kill_grace: 1s
";

pub fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
    let done = Command::new("git").current_dir(dir).args(identity).args(args).output().expect("git");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A world with a repository, its origin and a pool on it, whose dispatch is switched on.
pub fn world(more: &str) -> World {
    let mut world = World::with(&format!("{SETTINGS}{more}"));
    serve_dispatch(&mut world);
    world
}

/// Gives a world a repository with its origin, and starts its daemon with dispatch switched on.
pub fn serve_dispatch(world: &mut World) {
    git(world.root(), &["init", "-q", "--bare", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "repo"]);
    let repo = world.path("repo");
    fs::write(repo.join("tracked.txt"), "first\n").expect("a file");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "First"]);
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    git(&repo, &["fetch", "-q"]);
    world.task("ticket-pickup", PICKUP);
    world.serve();
}

pub fn new(world: &World, title: &str, body: &str, agent: &str) -> String {
    // An argument would be too small for some of the bodies.
    world.write("body.txt", body);
    let made = world.lucid([
        "ticket",
        "new",
        "--title",
        title,
        "--body-file",
        "body.txt",
        "--agent",
        agent,
        "--json",
    ]);
    made.expect(0).json()["ticket"]["id"].as_str().expect("an id").to_owned()
}

pub fn mode(world: &World, mode: &str) -> String {
    new(world, mode, &format!("FAKE_MODE={mode}"), "fake")
}

pub fn ticket(world: &World, id: &str) -> Value {
    world.lucid(["ticket", "show", id, "--json"]).expect(0).json()["ticket"].clone()
}

#[track_caller]
pub fn until(world: &World, id: &str, state: &str) -> Value {
    world.until_within(LONG, &format!("{id} is {state}"), || {
        let ticket = ticket(world, id);
        (ticket["state"] == state).then_some(ticket)
    })
}

pub fn outcomes(world: &World, id: &str) -> Vec<String> {
    let connection = world.database();
    let mut statement = connection
        .prepare("SELECT agent || ' ' || verdict FROM workers WHERE ticket = ?1 AND verdict IS NOT NULL ORDER BY run")
        .expect("SQL");
    let rows = statement.query_map([id], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// Every slot is free, clean, detached at the base, and free of drift.
#[track_caller]
pub fn slots_are_whole(world: &World) {
    world.until_within(LONG, "every slot is whole", || {
        let pool = world.lucid(["pool", "--json"]).expect(0).json();
        let slots = pool["pools"][0]["slots"].as_array().expect("slots").clone();
        let whole = |slot: &Value| {
            slot["state"] == "free"
                && slot["branch"].is_null()
                && slot["drift"].as_array().is_some_and(Vec::is_empty)
                && (slot["head"].is_null() || slot["dirty"] == 0)
        };
        slots.iter().all(whole).then_some(())
    });
}

fn rescued(world: &World, id: &str) -> Vec<String> {
    let refs = git(&world.path("repo"), &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
    refs.lines().filter(|name| name.contains(&format!("/{id}/"))).map(str::to_owned).collect()
}

#[test]
fn a_ticket_goes_from_new_to_done_through_a_question() {
    let world = world("");
    let id = mode(&world, "needs_input");
    let asked = until(&world, &id, "needs_input");
    assert_eq!(asked["ask"]["need"], "Which colour?");
    world.until("the one who asked is gone", || (outcomes(&world, &id).len() == 1).then_some(()));
    world.lucid(["reply", &id, "blue"]).expect(0);
    let review = until(&world, &id, "review");
    let (commit, branch) = (review["commit"].as_str().unwrap(), review["branch"].as_str().unwrap());
    assert_eq!(review["report"]["commit"], commit);
    assert_eq!(branch, format!("cr/{id}-needs-input-2"));
    assert_eq!(git(&world.path("repo"), &["rev-parse", branch]), commit);
    world.lucid(["ticket", "move", &id, "done"]).expect(5);
    git(&world.path("repo"), &["push", "-q", "origin", &format!("{branch}:main")]);
    world.lucid(["ticket", "move", &id, "done"]).expect(0);
    let messages = world.lucid(["messages", "--json"]).expect(0).json();
    assert_eq!(messages["messages"][0]["state"], "acked");
    let usage = world.lucid(["usage", "--ticket", &id, "--json"]).expect(0).json();
    assert_eq!(usage["usage"].as_array().unwrap().len(), 2);
    assert_eq!(usage["usage"][0]["cost_usd"], "0.0123");
    slots_are_whole(&world);
}

#[test]
fn every_end_of_a_turn_leaves_a_whole_slot_and_no_lost_work() {
    let world = world("");
    let modes = [
        "ok",
        "hang_after_result",
        "orphan_child",
        "garbage_lines",
        "huge_line",
        "dirty_tree",
        "commit",
        "commit_no_push",
        "leave_rebase",
        "leave_index_lock",
    ];
    let ids: Vec<String> = modes.iter().map(|name| mode(&world, name)).collect();
    for (name, id) in modes.iter().zip(&ids) {
        let ticket = until(&world, id, "review");
        assert_eq!(outcomes(&world, id), ["fake ok"], "{name}");
        let commits = ["orphan_child", "commit", "commit_no_push", "leave_rebase", "leave_index_lock"];
        assert_eq!(ticket["commit"].is_string(), commits.contains(name), "{name}: {ticket}");
    }
    slots_are_whole(&world);
    let repo = world.path("repo");
    let of = |name: &str| &ids[modes.iter().position(|known| *known == name).unwrap()];
    let dirty = rescued(&world, of("dirty_tree"));
    assert_eq!(dirty.len(), 1);
    assert_eq!(git(&repo, &["show", &format!("{}:fake-untracked.txt", dirty[0])]), "unsaved");
    assert_eq!(git(&repo, &["show", &format!("{}:tracked.txt", dirty[0])]), "dirty");
    assert!(!rescued(&world, of("leave_rebase")).is_empty());
    world.until("the orphans are gone", || {
        world.of_runs().iter().all(|p| !p.command.contains("sleep")).then_some(())
    });
}

#[test]
fn failures_go_where_their_class_says() {
    let world = world("");
    let crash = mode(&world, "crash");
    let overloaded = mode(&world, "overloaded_then_ok");
    let timeout = new(&world, "deaf", "FAKE_MODE=ignore_sigterm", "short");
    assert_eq!(until(&world, &overloaded, "review")["attempt"], 2);
    assert_eq!(outcomes(&world, &overloaded), ["fake overloaded", "fake ok"]);
    assert_eq!(until(&world, &crash, "needs_input")["reason"]["code"], "crash");
    assert_eq!(outcomes(&world, &crash), ["fake crash"; 3]);
    world.until_within(LONG, "a timeout", || {
        outcomes(&world, &timeout).first().cloned().filter(|o| o == "short timeout")
    });
    let shown = world.lucid(["ticket", "show", &timeout]).expect(0).stdout;
    assert!(shown.contains("max_runtime"), "{shown}");
    world.lucid(["disable", "ticket-pickup"]).expect(0);
}

#[test]
fn a_profile_that_cannot_go_on_rests_over_a_restart_and_the_next_takes_over() {
    let mut world = world("");
    let id = mode(&world, "rate_limited");
    // The mode is in the prompt, so that the profile that takes over meets the same end.
    world.until_within(LONG, "both profiles rest", || {
        let agents = world.lucid(["agents", "--json"]).expect(0).json();
        let state = |n: usize| agents["agents"][n]["state"].clone();
        (state(0) == "cooled" && state(1) == "cooled").then_some(())
    });
    assert_eq!(outcomes(&world, &id), ["fake rate_limited", "other rate_limited"]);
    world.until("the ticket says why it waits", || {
        (ticket(&world, &id)["reason"]["code"] == "agent_cooled").then_some(())
    });
    world.restart();
    let agents = world.lucid(["agents", "--json"]).expect(0).json();
    assert_eq!(agents["agents"][0]["state"], "cooled");
    let errors = world.lucid(["api-errors", "--json"]).expect(0).json();
    assert_eq!(errors["windows"][0]["by_kind"]["rate_limited"], 2);
    world.lucid(["agents", "enable", "other"]).expect(0);
    world.until_within(LONG, "it was tried again", || (outcomes(&world, &id).len() == 3).then_some(()));
}

#[test]
fn auth_disables_and_billing_cools() {
    let world = world("");
    let auth = mode(&world, "auth");
    world.until_within(LONG, "both were tried", || (outcomes(&world, &auth).len() == 2).then_some(()));
    assert_eq!(outcomes(&world, &auth), ["fake auth", "other auth"]);
    let problems = world.lucid(["problems", "--json"]).expect(0).json();
    let problems = problems["problems"].as_array().expect("problems");
    let told =
        problems.iter().find(|told| told["id"] == "agent_disabled:fake").expect("the disabled profile");
    assert_eq!(told["fix"], "lucid agents enable fake");
    world.lucid(["ticket", "close", &auth, "--reason", "enough"]).expect(0);
    world.lucid(["agents", "enable", "fake"]).expect(0);
    let billing = mode(&world, "extra_usage_400");
    world.until_within(LONG, "billing", || (outcomes(&world, &billing) == ["fake billing"]).then_some(()));
    world.until("the ticket waits", || {
        (ticket(&world, &billing)["reason"]["code"] == "agent_cooled").then_some(())
    });
}

#[test]
fn hostile_text_reaches_the_worker_byte_for_byte_and_nobody_else() {
    let world = world("");
    let hostile =
        "`touch pwned` $(touch pwned) ; touch pwned\n'\"\\ \u{202e}ü\u{1f4a9} {{x}} %s\n--help\n-rf";
    let body = format!("{hostile}\n{}", "long line ".repeat(20_000));
    for agent in ["fake", "other", "plain"] {
        let id = new(&world, "`touch pwned` $(touch pwned)", &body, agent);
        let ticket = until(&world, &id, "review");
        let run = ticket["run"].as_i64().unwrap();
        let prompt = prompt_of(&world, run);
        assert!(prompt.contains(&body), "{agent}");
        let said = fs::read_to_string(world.run_file(run, "events.jsonl")).unwrap();
        let sum = sha256(&prompt);
        assert!(said.contains(&format!("prompt sha256 {sum} of {} bytes", prompt.len())), "{agent}");
        let spec: Value =
            serde_json::from_slice(&fs::read(world.run_file(run, "spec.json")).unwrap()).unwrap();
        assert!(!spec["argv"].to_string().contains("pwned"));
    }
    slots_are_whole(&world);
    let found = Command::new("find").arg(world.root()).args(["-name", "pwned"]).output().unwrap();
    assert!(found.stdout.is_empty());
}

fn prompt_of(world: &World, run: i64) -> String {
    let spec: Value = serde_json::from_slice(&fs::read(world.run_file(run, "spec.json")).unwrap()).unwrap();
    if let Some(text) = spec["stdin"]["text"].as_str() {
        return text.to_owned();
    }
    let input = fs::read_to_string(world.run_file(run, "stdin.jsonl")).unwrap();
    let first: Value = serde_json::from_str(input.lines().next().unwrap()).unwrap();
    first["message"]["content"][0]["text"].as_str().unwrap().to_owned()
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn twenty_tickets_on_three_slots_with_a_daemon_that_dies_again_and_again() {
    let mut world = world("");
    let ids: Vec<String> = (0..20).map(|n| new(&world, &format!("t{n}"), "FAKE_MODE=slow", "fake")).collect();
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(700));
        world.restart();
    }
    for id in &ids {
        until(&world, id, "review");
        let steps = world.number(&format!(
            "SELECT count(*) FROM ticket_events WHERE ticket = {} AND type = 'assistant' AND data LIKE '%step %'",
            &id[3..]
        ));
        assert_eq!(steps, 20, "{id}: every line once");
    }
    let doubled = world.number(
        "SELECT count(*) FROM runs a JOIN runs b ON a.ticket = b.ticket AND a.id < b.id \
         AND b.started_ms < a.ended_ms AND a.started_ms < b.ended_ms",
    );
    assert_eq!(doubled, 0, "two workers on one ticket");
    slots_are_whole(&world);
}

#[test]
fn the_switch_holds_on_every_path() {
    let world = world("");
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let id = mode(&world, "commit");
    world.until("the reason", || (ticket(&world, &id)["reason"]["code"] == "dispatch_off").then_some(()));
    world.lucid(["ticket", "dispatch", &id]).expect(5);
    world.lucid(["action", "ticket-pickup"]).expect(0);
    assert_eq!(ticket(&world, &id)["state"], "todo");
    assert_eq!(world.number("SELECT count(*) FROM workers"), 0);
    world.lucid(["resume", "ticket-pickup"]).expect(0);
    until(&world, &id, "review");
}

pub fn token_of(world: &World) -> Option<String> {
    let agent = world.of_runs().into_iter().find(|process| process.command.contains("fake-agent"))?;
    let environment = fs::read(format!("/proc/{}/environ", agent.pid)).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    environment.split('\0').find_map(|pair| pair.strip_prefix("LUCID_TOKEN=")).map(str::to_owned)
}

#[test]
fn agent_tasks_and_tasks_in_slots_run_by_the_same_way() {
    let world = world("");
    world.task("brief", "agent: other\npool: main\ntimeout: 1m");
    let text = fs::read_to_string(world.path("tasks/brief.md")).unwrap();
    world.write("tasks/brief.md", format!("{text}\nFAKE_MODE=dirty_tree\n"));
    world.task(
        "where",
        "command: pwd && git status --porcelain && echo x > left-behind\npool: main\ntimeout: 1m",
    );
    world.lucid(["reload"]).expect(0);
    let row = world.run("where");
    assert_eq!(row.state, "ok", "{row:?}");
    assert!(world.log_of(row.id).contains("/pools/main/main-"), "{}", world.log_of(row.id));
    let row = world.run("brief");
    assert_eq!(row.state, "ok", "{row:?}");
    let printed = world.lucid(["logs", &row.id.to_string()]).expect(0).stdout;
    assert!(printed.contains("Left without a commit."), "what an agent prints is its output: {printed}");
    slots_are_whole(&world);
    world.until("usage", || {
        (world.number("SELECT count(*) FROM usage WHERE task = 'brief'") == 1).then_some(())
    });
}
