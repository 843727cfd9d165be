//! What a sync must never push, wherever it stands: values of secrets.

use crate::syncs::{put, remote, sync, world};
use crate::workers::git;

#[test]
fn what_git_takes_is_looked_through_and_not_only_what_the_file_held_before() {
    let world = world("");
    let notes = world.path("notes");
    // Stands for somebody who writes between the look and the commit.
    git(&notes, &["config", "filter.late.clean", "sed s/@/s3cr3t-value-of-mine/"]);
    put(&notes, ".gitattributes", "late.md filter=late\n");
    put(&notes, "early.md", "fine\n");
    put(&notes, "late.md", "the token is @\n");
    put(&notes, "later.md", "fine\n");
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("late.md holds the value of the secret TOKEN"), "{said}");
    assert_eq!(remote(&world), ["a.md", "scripts/run.sh"]);
    git(&notes, &["config", "filter.late.clean", "cat"]);
    let said = sync(&world).expect(0).stdout;
    assert!(said.contains("4 files committed"), "{said}");
}

#[test]
fn the_bots_token_does_not_go_either() {
    let world = world("");
    world.configure("telegram: {token_file: bot.token}\nsyncs: {notes: {repo: notes, action: git-sync}}");
    let token = "123456:AAF-abcdefghijklmnopqrstuvwxyz";
    world.write("bot.token", format!("{token}\n"));
    put(&world.path("notes"), "deep/how-to.md", &format!("curl https://api.example/bot{token}/getMe\n"));
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("how-to.md holds the value of the secret telegram.token_file"), "{said}");
    assert!(!said.contains("AAF-"), "{said}");
    assert_eq!(remote(&world), ["a.md", "scripts/run.sh"]);
}
