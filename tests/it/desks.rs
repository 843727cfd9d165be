//! What a task says of its slot: what it starts from, and on which branch. What a ticket says of its own: whether it
//! gets one, and what was left there.

use serde_json::json;

use crate::workers::{git, mode, new, serve_dispatch, token_of, until};
use crate::world::{Output, World};

const SETTINGS: &str = "
pools:
  main:
    repo: repo
    slots: 1
  beside:
    repo: repo
    slots: 1
agents:
  fake:
    command: [lucid, fake-agent]
    dialect: claude
    end_grace: 1s
    env:
      FAKE_STEP_MS: 200
dispatch:
  pool: main
  agent: fake
defaults:
  kill_grace: 1s
";

const SHOW: &str = "git rev-parse --abbrev-ref HEAD; echo \"$LUCID_BRANCH\"; ls; git -c user.name=t \
    -c user.email=t@example.invalid commit -q --allow-empty -m work";

#[test]
fn a_task_starts_from_its_own_base_on_a_branch_of_its_own() {
    let mut world = World::with(SETTINGS);
    serve_dispatch(&mut world);
    let repo = world.path("repo");
    git(&repo, &["checkout", "-q", "-b", "side"]);
    std::fs::write(repo.join("side.txt"), "side\n").expect("a file");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "Side"]);
    git(&repo, &["push", "-q", "origin", "side"]);
    git(&repo, &["checkout", "-q", "--detach", "origin/main"]);
    let slotted = |id: &str, worktree: &str| {
        world.task(id, &format!("timeout: 1m\npool: main\nworktree: {worktree}\ncommand: '{SHOW}'"));
    };
    slotted("named", "{base: origin/side, branch: deps}");
    slotted("numbered", "{branch: 'lucid/deps-${run_id}'}");
    slotted("lost", "{base: origin/sidee}");
    world.lucid(["reload"]).expect(0);

    for branch in ["deps", "deps-2"] {
        let row = world.run("named");
        assert_eq!(row.state, "ok", "{row:?}");
        let log = world.log_of(row.id);
        assert!(log.starts_with(&format!("{branch}\n{branch}\nside.txt\ntracked.txt")), "{log}");
    }
    let row = world.run("numbered");
    assert_eq!(row.state, "ok", "{row:?}");
    let (log, branch) = (world.log_of(row.id), format!("lucid/deps-{}", row.id));
    assert!(log.starts_with(&format!("{branch}\n{branch}\ntracked.txt")), "{log}");
    let branches = git(&repo, &["branch", "--format=%(refname:short)", "--list", "deps*", "lucid/*"]);
    assert_eq!(branches, format!("deps\ndeps-2\n{branch}"), "the work of each run stays");

    let row = world.run("lost");
    assert_eq!(row.state, "blocked", "{row:?}");
    let reason = row.reason.unwrap_or_default();
    assert!(reason.contains("origin/sidee") && reason.contains("branch --remotes"), "{reason}");
}

fn shown(world: &World, id: &str) -> String {
    world.lucid(["ticket", "show", id]).expect(0).stdout
}

#[test]
fn a_ticket_says_whether_it_is_worked_on_and_what_was_left_unsaved() {
    let mut world = World::with(SETTINGS);
    serve_dispatch(&mut world);
    let first = mode(&world, "hang");
    let held = until(&world, &first, "in_progress")["run"].as_i64().expect("a run");
    let second = mode(&world, "dirty_tree");
    let full = world.lucid(["ticket", "dispatch", &second]).expect(5);
    assert!(full.stderr.contains("every slot of pool main is in use"), "{full:?}");
    report(&world, &first, "abcdef1");
    world.lucid(["kill", &held.to_string()]).expect(0);
    world.until("a word on the commit", || {
        shown(&world, &first)
            .contains("its report names the commit abcdef1, which is not among")
            .then_some(())
    });
    let run = until(&world, &second, "review")["run"].as_i64().expect("a run");
    let refs = world.until("the rescue", || {
        let refs = git(&world.path("repo"), &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
        (!refs.is_empty()).then_some(refs)
    });
    let text = world.until("the notice", || {
        Some(shown(&world, &second)).filter(|text| text.contains("that is on no branch"))
    });
    let command = format!("git -C {} show {refs}", world.path("repo").display());
    assert_eq!(text.matches(&command).count(), 1, "{text}");
    assert!(text.contains(&format!("lucid logs {run}")), "{text}");
    assert!(world.lucid(["logs", &run.to_string()]).code == 0);

    let healed = world.lucid(["pool", "heal", "--json"]).expect(0).json();
    assert_eq!(healed["healed"].as_array().map(Vec::len), Some(2), "one document: {healed}");
}

#[test]
fn a_ticket_that_is_dispatched_by_hand_has_its_worker() {
    let mut world = World::with(SETTINGS);
    serve_dispatch(&mut world);
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let id = new(&world, "by hand", "FAKE_MODE=slow", "fake");
    world.lucid(["ticket", "dispatch", &id]).expect(5);
    world.lucid(["resume", "ticket-pickup"]).expect(0);
    // Who was faster has put one on it as well.
    let asked: Output = world.lucid(["ticket", "dispatch", &id, "--json"]);
    assert!(asked.code == 0 || asked.stderr.contains("is at work on"), "{asked:?}");
    if asked.code == 0 {
        assert_eq!(asked.json()["ticket"]["state"], "in_progress");
    }
    let gone = world.lucid(["ticket", "new", "--title", "x", "--pool", "nope"]).expect(2);
    assert!(gone.stderr.contains("there is no pool `nope`; there are: main, beside"), "{gone:?}");
    let gone = world.lucid(["ticket", "new", "--title", "x", "--agent", "nope"]).expect(2);
    assert!(gone.stderr.contains("there is no agent profile `nope`; there are: fake"), "{gone:?}");
}

/// Reports as the worker on `id` does.
fn report(world: &World, id: &str, commit: &str) {
    let token = world.until("the worker's token", || token_of(world));
    let body = json!({"status": "done", "summary": "all of it", "commit": commit}).to_string();
    let path = format!("/api/v1/tickets/{id}/report");
    let done = world.lucid_command(["api", "POST", &path, &body]).env("LUCID_TOKEN", token).output();
    assert!(done.expect("lucid starts").status.success());
}

#[test]
fn a_ticket_that_gets_no_slot_says_why_at_once() {
    let mut world = World::with(SETTINGS);
    serve_dispatch(&mut world);
    std::fs::rename(world.path("repo"), world.path("away")).expect("renamed");
    let id = new(&world, "nowhere", "FAKE_MODE=ok", "fake");
    let refused = world.lucid(["ticket", "dispatch", &id]).expect(5);
    assert!(refused.stderr.contains("is no git repository"), "{refused:?}");
    assert_eq!(world.number("SELECT count(*) FROM workers"), 0);
}
