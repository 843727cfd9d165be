//! What workers start from: what others have pushed, what is known where the remote cannot be read, and nothing
//! where the repository is gone. The last two are told.

use std::fs;

use crate::workers::{LONG, git, mode, ticket, until, world};
use crate::world::World;

fn started_from(world: &World, id: &str) -> String {
    let sql = "SELECT base_commit FROM workers WHERE ticket = ?1 ORDER BY run LIMIT 1";
    world.database().query_row(sql, [id], |row| row.get(0)).expect("a worker")
}

/// Another clone pushes a commit.
fn push(world: &World, file: &str) -> String {
    let other = world.path("other");
    if !other.exists() {
        git(world.root(), &["clone", "-q", "-b", "main", "origin.git", "other"]);
    }
    fs::write(other.join(file), "pushed\n").expect("a file");
    git(&other, &["add", "."]);
    git(&other, &["commit", "-q", "-m", file]);
    git(&other, &["push", "-q", "origin", "HEAD:main"]);
    git(&other, &["rev-parse", "HEAD"])
}

#[test]
fn a_worker_starts_from_what_was_pushed_and_goes_on_when_the_remote_is_gone() {
    let world = world("");
    git(&world.path("repo"), &["remote", "set-url", "origin", "../origin.git"]);
    let pushed = push(&world, "second.txt");
    let id = mode(&world, "commit");
    until(&world, &id, "review");
    assert_eq!(started_from(&world, &id), pushed);
    let pool = world.lucid(["pool"]).expect(0).stdout;
    assert!(pool.contains(&format!("origin/main {} (fetched ", &pushed[..8])), "{pool}");

    push(&world, "third.txt");
    fs::rename(world.path("origin.git"), world.path("away.git")).expect("moved");
    let id = mode(&world, "commit");
    until(&world, &id, "review");
    assert_eq!(started_from(&world, &id), pushed, "the last that is known");
    let why = "its remote origin cannot be read, so slots start from the base as last fetched: git fetch";
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(problems.contains(&format!("pool main  {why}")), "{problems}");
    assert!(
        problems.contains(&format!("git -C {} fetch origin", world.path("repo").display())),
        "{problems}"
    );
    let pool = world.lucid(["pool"]).expect(0).stdout;
    assert!(pool.contains(&format!("! {why}")), "{pool}");
    let refused = world.lucid(["ticket", "move", &id, "done"]);
    assert!(
        refused.stderr.contains("lucid pool") && !refused.stderr.contains("merge the commit"),
        "{}",
        refused.stderr
    );

    fs::rename(world.path("away.git"), world.path("origin.git")).expect("moved back");
    world.lucid(["pool", "heal"]).expect(0);
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(!problems.contains("cannot be read"), "{problems}");
}

#[test]
fn a_repository_that_is_gone_is_named_once_and_on_the_ticket() {
    let world = world("");
    let repo = world.path("repo");
    fs::rename(&repo, world.path("repo.gone")).expect("moved");
    let id = mode(&world, "commit");
    let reason = world.until_within(LONG, "the ticket says why it waits", || {
        let reason = ticket(&world, &id)["reason"].clone();
        (reason["code"] == "pool_broken").then(|| reason["text"].as_str().unwrap_or_default().to_owned())
    });
    let shown = repo.display();
    assert_eq!(reason, format!("pool main: {shown} is no git repository: there is no such folder"));
    let problems = world.until_within(LONG, "the folder is among the problems", || {
        let told = world.lucid(["problems"]).expect(0).stdout;
        told.contains("pools.main.repo").then_some(told)
    });
    assert!(problems.contains(&format!("there is no folder {shown}")), "{problems}");
    assert_eq!(problems.matches(&shown.to_string()).count(), 1, "{problems}");
    fs::rename(world.path("repo.gone"), &repo).expect("moved back");
    until(&world, &id, "review");
}
