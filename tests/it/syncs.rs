//! Working copies and their remotes: only what may go goes, nothing is forced, and whatever stands in the way
//! leaves the working copy exactly as it was.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::workers::git;
use crate::world::{PATIENCE, World};

/// A world with a bare origin, a working copy `notes`, and another one, `other`, of somebody else.
pub fn world(sync: &str) -> World {
    let world = World::with(&format!(
        "secrets: {{file: secrets.env}}\nsyncs:\n  notes:\n    repo: notes\n    action: git-sync\n    timeout: 1m\n{sync}"
    ));
    world.write("secrets.env", "TOKEN=s3cr3t-value-of-mine\n");
    git(world.root(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "notes"]);
    let notes = world.path("notes");
    git(&notes, &["checkout", "-q", "-b", "main"]);
    put(&notes, "a.md", "one\ntwo\nthree\n");
    put(&notes, "scripts/run.sh", "echo\n");
    git(&notes, &["add", "."]);
    git(&notes, &["commit", "-q", "-m", "First"]);
    git(&notes, &["push", "-q", "-u", "origin", "main"]);
    git(world.root(), &["clone", "-q", "origin.git", "other"]);
    world
}

pub fn put(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

pub fn sync(world: &World) -> crate::world::Output {
    world.lucid(["action", "git-sync"])
}

/// What the remote has.
pub fn remote(world: &World) -> Vec<String> {
    let listed = git(&world.path("origin.git"), &["ls-tree", "-r", "--name-only", "main"]);
    listed.lines().map(str::to_owned).collect()
}

fn on_remote(world: &World, name: &str) -> String {
    git(&world.path("origin.git"), &["show", &format!("main:{name}")])
}

/// Somebody else changes and pushes.
fn elsewhere(world: &World, name: &str, text: &str) {
    let other = world.path("other");
    git(&other, &["pull", "-q", "--no-rebase"]);
    put(&other, name, text);
    git(&other, &["add", "-A", "-f"]);
    git(&other, &["commit", "-q", "-m", "Elsewhere"]);
    git(&other, &["push", "-q"]);
}

/// Everything that a failed sync must leave alone: files with their contents, index, branch, what is begun.
fn picture(dir: &Path) -> String {
    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == ".git") {
                continue;
            }
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }
    let mut all = Vec::new();
    files(dir, &mut all);
    all.sort();
    let contents: Vec<String> = all
        .iter()
        .map(|path| format!("{}={}", path.display(), String::from_utf8_lossy(&fs::read(path).expect("it"))))
        .collect();
    let said = [
        &["status", "--porcelain=v2", "--branch", "--ignored"][..],
        &["rev-parse", "HEAD"],
        &["ls-files", "-s"],
        &["stash", "list"],
        &["for-each-ref", "refs/heads"],
    ];
    // How far the remote is ahead is knowledge, not a change.
    let said =
        said.map(|args| git(dir, args).lines().filter(|l| !l.starts_with("# branch.ab")).collect::<String>());
    let merging = dir.join(".git/MERGE_HEAD").exists();
    format!("{}\n{}\n{merging}", contents.join("\n"), said.join("\n"))
}

#[test]
fn what_may_go_goes_both_ways_and_a_second_time_there_is_nothing_to_do() {
    let world = world("");
    let notes = world.path("notes");
    let hostile = "hostile \u{202e}'\"$(touch pwned) ü.md";
    put(&notes, "a.md", "one, changed\ntwo\nthree\n");
    put(&notes, hostile, "x\n");
    fs::remove_file(notes.join("scripts/run.sh")).expect("gone");
    elsewhere(&world, "theirs.md", "theirs\n");
    let said = sync(&world).expect(0).stdout;
    assert!(said.contains("3 files committed, 1 commits received"), "{said}");
    assert_eq!(on_remote(&world, "a.md"), "one, changed\ntwo\nthree");
    assert!(
        remote(&world).iter().any(|name| name.contains("hostile"))
            && !remote(&world).contains(&"scripts/run.sh".into())
    );
    assert_eq!(fs::read_to_string(notes.join("theirs.md")).expect("it"), "theirs\n");
    assert_eq!(git(&notes, &["status", "--porcelain"]), "");
    let head = git(&notes, &["rev-parse", "HEAD"]);
    assert_eq!(head, git(&world.path("origin.git"), &["rev-parse", "main"]));
    let said = sync(&world).expect(0).stdout;
    assert!(said.contains("0 files committed, 0 commits received, 0 pushed"), "{said}");
    assert_eq!(git(&notes, &["rev-parse", "HEAD"]), head);
    assert!(!world.path("notes/pwned").exists() && !world.path("pwned").exists());
    elsewhere(&world, "more.md", "more\n");
    let said = sync(&world).expect(0).stdout;
    assert!(said.contains("0 files committed, 1 commits received, 0 pushed"), "{said}");
    assert!(notes.join("more.md").exists());
}

#[test]
fn secrets_databases_logs_and_repositories_within_never_go() {
    let world = world("    include: [\"*\"]\n    exclude: [\"*.bak\", /private]\n");
    let notes = world.path("notes");
    let never = [
        ".env",
        "deep/.env.local",
        "mc.db",
        "mc.db-wal",
        "data.sqlite",
        "run.log",
        "server.pem",
        "id_ed25519",
        ".claude/worktrees/w/file.rs",
        "old.bak",
        "private/diary.md",
    ];
    for name in never {
        put(&notes, name, "x\n");
    }
    git(&notes, &["init", "-q", "within"]);
    put(&notes, "within/file.md", "x\n");
    put(&notes, "fine.md", "x\n");
    let said = sync(&world).expect(0).stdout;
    assert!(
        said.contains("1 files committed") && said.contains("left out: ") && said.contains("1 repositories"),
        "{said}"
    );
    assert_eq!(remote(&world), ["a.md", "fine.md", "scripts/run.sh"]);
    // By value, wherever it stands: nothing goes, and the value is not told.
    put(&notes, "fine.md", "the token is s3cr3t-value-of-mine\n");
    let before = picture(&notes);
    let said = sync(&world).expect(1);
    assert!(said.stdout.contains("fine.md holds the value of the secret TOKEN"), "{said:?}");
    assert!(!said.stdout.contains("s3cr3t-value"), "{said:?}");
    assert_eq!(picture(&notes), before);
    // In a commit that somebody made by hand.
    put(&notes, "fine.md", "x\n");
    git(&notes, &["add", "-f", ".env"]);
    git(&notes, &["commit", "-q", "-m", "Oh no"]);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains(".env") && said.contains("an environment file"), "{said}");
    git(&notes, &["reset", "-q", "--soft", "HEAD~1"]);
    put(&notes, "token.md", "s3cr3t-value-of-mine\n");
    git(&notes, &["reset", "-q"]);
    git(&notes, &["add", "token.md"]);
    git(&notes, &["commit", "-q", "-m", "Oh no"]);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("token.md holds the value of the secret TOKEN"), "{said}");
    let objects = git(&world.path("origin.git"), &["rev-list", "--objects", "--all"]);
    assert!(!objects.contains(".env") && !objects.contains("token.md"), "{objects}");
}

/// Has the remote refuse what is pushed, or take it again.
fn refuse(world: &World, is_on: bool) {
    use std::os::unix::fs::PermissionsExt as _;
    let hook = world.path("origin.git/hooks/pre-receive");
    if is_on {
        fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
        fs::write(&hook, "#!/bin/sh\nexit 1\n").expect("a hook");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("a program");
    } else {
        fs::remove_file(&hook).expect("it was there");
    }
}

#[test]
fn what_a_person_changes_after_a_push_that_was_refused_stays() {
    let world = world("");
    let notes = world.path("notes");
    let names = ["cut.md", "empty.md", "gone.md", "theirs.md"];
    let body: String = (1..=20).map(|n| format!("line {n}\n")).collect();
    for name in names {
        put(&notes, name, &body);
    }
    assert_eq!(sync(&world).code, 0);
    let merged = format!("above\n{body}below\n");
    for name in names {
        elsewhere(&world, name, &format!("above\n{body}"));
        put(&notes, name, &format!("{body}below\n"));
    }
    refuse(&world, true);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("pre-receive hook declined"), "{said}");
    // The beginning of what was there, nothing, gone, and by hand what both sides would come to.
    put(&notes, "cut.md", "line 1\nline 2\n");
    put(&notes, "empty.md", "");
    fs::remove_file(notes.join("gone.md")).expect("it was there");
    put(&notes, "theirs.md", &merged);
    let before = picture(&notes);
    for _ in 0..2 {
        sync(&world).expect(1);
        assert_eq!(picture(&notes), before);
    }
    // Both have changed them, and what a person has written since is among it.
    refuse(&world, false);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("conflict: both sides have changed empty.md, gone.md;"), "{said}");
    assert_eq!(picture(&notes), before);
    for name in &names[..3] {
        put(&notes, name, &merged);
    }
    put(&notes, "cut.md", &format!("above\n{body}"));
    assert_eq!(sync(&world).code, 0);
    assert_eq!(on_remote(&world, "cut.md"), format!("above\n{body}").trim_end());
    assert_eq!(on_remote(&world, "theirs.md"), merged.trim_end());
    assert!(!notes.join(".git/lucid-sync-intent.json").exists());
}

#[test]
fn a_conflict_leaves_everything_as_it_was_and_stands_until_it_is_settled() {
    let mut world = world("");
    let notes = world.path("notes");
    world.task("git-sync", "action: git-sync\ntimeout: 2m");
    world.serve();
    put(&notes, "a.md", "mine\ntwo\nthree\n");
    put(&notes, "new.md", "x\n");
    put(&notes, "staged.md", "staged\n");
    git(&notes, &["add", "staged.md"]);
    put(&notes, "staged.md", "staged and changed\n");
    elsewhere(&world, "a.md", "theirs\ntwo\nthree\n");
    let before = picture(&notes);
    let tip = git(&world.path("origin.git"), &["rev-parse", "main"]);
    let row = world.run("git-sync");
    assert_eq!(row.state, "failed", "{row:?}");
    assert!(
        world.log_of(row.id).contains("conflict: both sides have changed a.md"),
        "{}",
        world.log_of(row.id)
    );
    assert_eq!(picture(&notes), before);
    assert_eq!(git(&world.path("origin.git"), &["rev-parse", "main"]), tip);
    assert_eq!(world.events("condition_raised"), 1);
    put(&notes, "a.md", "theirs\ntwo\nthree\n");
    assert_eq!(world.run("git-sync").state, "ok");
    assert_eq!(world.events("condition_cleared"), 1);
    assert_eq!(on_remote(&world, "staged.md"), "staged and changed");
    // What had been staged of it is the older half: the next commit must not take the newer one back.
    assert_eq!(git(&notes, &["diff", "--cached", "--name-only"]), "");
}

#[test]
fn what_somebody_has_staged_stays_staged_and_nothing_of_theirs_is_overwritten() {
    let world = world("    include: [\"*.md\"]\n");
    let notes = world.path("notes");
    put(&notes, "scripts/run.sh", "half of it staged\n");
    git(&notes, &["add", "scripts/run.sh"]);
    put(&notes, "scripts/run.sh", "half of it staged\nthe rest not\n");
    put(&notes, "new.sh", "staged, not included\n");
    git(&notes, &["add", "new.sh"]);
    put(&notes, "a.md", "changed\n");
    let staged = git(&notes, &["diff", "--cached"]);
    sync(&world).expect(0);
    assert_eq!(git(&notes, &["diff", "--cached"]), staged);
    assert_eq!(git(&notes, &["diff", "--stat"]).lines().count(), 2, "the rest of run.sh");
    assert_eq!(remote(&world), ["a.md", "scripts/run.sh"]);
    // A change from elsewhere to what is changed here and not part of the sync.
    elsewhere(&world, "scripts/run.sh", "theirs\n");
    let before = picture(&notes);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("scripts/run.sh"), "{said}");
    assert_eq!(picture(&notes), before);
    git(&notes, &["checkout", "-q", "HEAD", "--", "scripts/run.sh"]);
    sync(&world).expect(0);
    // A file that git ignores here is nobody's to overwrite either.
    put(&notes, ".gitignore", "ignored.txt\n");
    put(&notes, "ignored.txt", "mine\n");
    elsewhere(&world, "ignored.txt", "theirs\n");
    let before = picture(&notes);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("ignored.txt"), "{said}");
    assert_eq!(picture(&notes), before);
    assert_eq!(fs::read_to_string(notes.join("ignored.txt")).expect("it"), "mine\n");
}

#[test]
fn a_remote_that_has_moved_on_is_never_forced() {
    let world = world("    pull: false\n");
    let notes = world.path("notes");
    elsewhere(&world, "theirs.md", "theirs\n");
    let tip = git(&world.path("origin.git"), &["rev-parse", "main"]);
    put(&notes, "mine.md", "mine\n");
    let before = picture(&notes);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("1 commits that are not here"), "{said}");
    assert_eq!((picture(&notes), git(&world.path("origin.git"), &["rev-parse", "main"])), (before, tip));
    // Somebody has rewritten the branch here: that is for them to push.
    git(&notes, &["pull", "-q", "--no-rebase"]);
    git(&notes, &["commit", "-q", "--amend", "-m", "Rewritten"]);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("not here"), "{said}");
    assert!(on_remote(&world, "theirs.md").contains("theirs"));
}

#[test]
fn what_is_unfinished_detached_or_elsewhere_is_left_alone() {
    let world = world("    branch: main\n");
    let notes = world.path("notes");
    put(&notes, "new.md", "x\n");
    let refused = |why: &str| {
        let before = picture(&notes);
        let said = sync(&world).expect(1).stdout;
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(picture(&notes), before, "{why}");
    };
    git(&notes, &["checkout", "-q", "-b", "mine"]);
    refused("main is to be synced");
    git(&notes, &["checkout", "-q", "--detach"]);
    refused("no branch is checked out");
    git(&notes, &["checkout", "-q", "main"]);
    let merge = git(&notes, &["rev-parse", "HEAD"]);
    fs::write(notes.join(".git/MERGE_HEAD"), merge).expect("a merge");
    refused("MERGE_HEAD");
    fs::remove_file(notes.join(".git/MERGE_HEAD")).expect("gone");
    fs::write(notes.join(".git/index.lock"), "").expect("a lock");
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("index.lock"), "{said}");
    fs::remove_file(notes.join(".git/index.lock")).expect("gone");
    sync(&world).expect(0);
    assert!(remote(&world).contains(&"new.md".to_owned()));
}

#[test]
fn an_empty_remote_gets_its_first_branch() {
    let world = world("");
    git(world.root(), &["init", "-q", "--bare", "-b", "main", "fresh.git"]);
    git(&world.path("notes"), &["remote", "set-url", "origin", &world.path("fresh.git").to_string_lossy()]);
    put(&world.path("notes"), "new.md", "x\n");
    let said = sync(&world).expect(0).stdout;
    assert!(said.contains("1 files committed, 0 commits received, 2 pushed"), "{said}");
    let there = git(&world.path("fresh.git"), &["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(there, "a.md\nnew.md\nscripts/run.sh");
}

#[test]
fn a_remote_that_hangs_is_given_up() {
    let world = world("");
    world.configure("syncs: {notes: {repo: notes, action: git-sync, timeout: 2s}}");
    let notes = world.path("notes");
    // Takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("git://{}/x", silent.local_addr().expect("an address"));
    git(&notes, &["remote", "set-url", "origin", &url]);
    put(&notes, "new.md", "x\n");
    let before = picture(&notes);
    let begun = Instant::now();
    let said = sync(&world).expect(1).stdout;
    assert!(begun.elapsed() < PATIENCE, "{said}");
    assert!(said.contains("was not done in time"), "{said}");
    assert_eq!(picture(&notes), before);
    git(&notes, &["remote", "set-url", "origin", "/nowhere/at/all"]);
    let said = sync(&world).expect(1).stdout;
    assert!(said.contains("git fetch"), "{said}");
    assert_eq!(picture(&notes), before);
}
