//! A sync that is killed at any of its steps: the next one goes on, and nothing is lost or left behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::workers::git;
use crate::world::World;

/// Variable by which gits of one working copy are known.
const COOKIE: &str = "LUCID_GIT_WORKTREE";
/// Calls of git that one sync makes at most.
const CALLS_MAX: u32 = 60;
/// Rounds of a kill at any time.
const ROUNDS: u64 = 12;

/// Stands before git: counts its calls and kills who makes them after the one that is wanted. `torn` leaves the files of that call half written.
const SHIM: &str = r#"#!/bin/sh
real=@GIT@
dir=@DIR@
[ -f "$dir/at" ] || exec "$real" "$@"
n=$(($(cat "$dir/count") + 1)); echo $n > "$dir/count"
read -r at how < "$dir/at"
case "$how $*" in
  "torn "*"read-tree -m -u"*)
    "$real" "$@"
    head -c 3 "$dir/notes/in.md" > "$dir/notes/in.md.new"
    mv "$dir/notes/in.md.new" "$dir/notes/in.md"
    rm -f "$dir/notes/deep/out.sh"; : > "$dir/notes/new-$(cat "$dir/round")/only.sh"
    echo killed > "$dir/killed"; kill -9 $PPID; exit 1;;
  "push "*" push "*) echo killed > "$dir/killed"; kill -9 $PPID; exit 1;;
  "lock "*"update-index -z --index-info"*)
    : > "$dir/notes/.git/index.lock"; : > "$dir/notes/.git/refs/heads/main.lock"
    : > "$dir/notes/.git/refs/remotes/origin/main.lock"
    : > "$dir/origin.git/HEAD.lock"; : > "$dir/origin.git/refs/heads/main.lock"
    echo killed > "$dir/killed"; kill -9 $PPID; exit 1;;
esac
if [ "$n" = "$at" ]; then
  echo killed > "$dir/killed"
  "$real" "$@"; code=$?; kill -9 $PPID; exit $code
fi
exec "$real" "$@"
"#;

/// A working copy `notes` of which only `*.md` is synced, somebody else's `other`, and git behind the shim.
fn world() -> World {
    let world =
        World::with("syncs: {notes: {repo: notes, action: git-sync, timeout: 1m, include: ['*.md']}}");
    git(world.root(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "notes"]);
    let notes = world.path("notes");
    git(&notes, &["checkout", "-q", "-b", "main"]);
    for (name, text) in [("a.md", "a\n"), ("in.md", "in\n"), ("gone.md", "gone\n"), ("run.sh", "run\n")] {
        fs::write(notes.join(name), text).expect("a file");
    }
    git(&notes, &["add", "."]);
    git(&notes, &["commit", "-q", "-m", "First"]);
    git(&notes, &["push", "-q", "-u", "origin", "main"]);
    git(world.root(), &["clone", "-q", "origin.git", "other"]);
    let found =
        std::process::Command::new("/bin/sh").args(["-c", "command -v git"]).output().expect("a shell");
    let real = String::from_utf8(found.stdout).expect("a path");
    fs::create_dir(world.path("bin")).expect("bin");
    let shim = SHIM.replace("@GIT@", real.trim()).replace("@DIR@", &world.root().to_string_lossy());
    world.write("bin/git", shim);
    fs::set_permissions(world.path("bin/git"), fs::Permissions::from_mode(0o755)).expect("a program");
    world
}

/// Changes on both sides that do not contradict each other; what both are to hold in the end.
struct Round {
    number: u64,
    wanted: BTreeMap<String, String>,
}

impl Round {
    fn begin(world: &World, number: u64) -> Self {
        let (notes, other) = (world.path("notes"), world.path("other"));
        git(&other, &["pull", "-q", "--no-rebase"]);
        let text = |who: &str| format!("{who} {number}\n{}", "a line of it\n".repeat(20));
        let write = |dir: &Path, name: &str, text: &str| {
            fs::create_dir_all(dir.join(name).parent().expect("a folder")).expect("folders");
            fs::write(dir.join(name), text).expect("a file");
        };
        let mut wanted = BTreeMap::new();
        let mut put = |dir: &Path, name: String, who: &str| {
            write(dir, &name, &text(who));
            wanted.insert(name, text(who));
        };
        put(&notes, format!("mine-{number}.md"), "mine");
        put(&notes, "a.md".to_owned(), "mine");
        put(&other, "in.md".to_owned(), "theirs");
        put(&other, format!("theirs-{number}.md"), "theirs");
        // Not part of the sync: it comes from elsewhere and is nobody's here.
        put(&other, "deep/out.sh".to_owned(), "theirs");
        put(&other, format!("new-{number}/only.sh"), "theirs");
        if number.is_multiple_of(2) {
            fs::remove_file(other.join("gone.md")).expect("it is there");
        } else {
            put(&other, "gone.md".to_owned(), "theirs");
        }
        // Never part of the sync, and never touched.
        write(&notes, "local.sh", "local\n");
        world.write("round", format!("{number}\n"));
        git(&other, &["add", "-A"]);
        git(&other, &["commit", "-q", "-m", "Elsewhere"]);
        git(&other, &["push", "-q"]);
        Self { number, wanted }
    }

    /// Everything is on both sides, once, and nothing is left of the one that was killed.
    #[track_caller]
    fn check(&self, world: &World, how: &str) {
        let (notes, origin) = (world.path("notes"), world.path("origin.git"));
        let what = format!("round {} {how}", self.number);
        assert_eq!(git(&notes, &["status", "--porcelain"]), "?? local.sh", "{what}");
        assert_eq!(git(&notes, &["rev-parse", "HEAD"]), git(&origin, &["rev-parse", "main"]), "{what}");
        for (name, text) in &self.wanted {
            assert_eq!(&fs::read_to_string(notes.join(name)).unwrap_or_default(), text, "{what}: {name}");
        }
        assert_eq!(notes.join("gone.md").exists(), self.wanted.contains_key("gone.md"), "{what}");
        assert_eq!(fs::read_to_string(notes.join("local.sh")).expect("it"), "local\n", "{what}");
        let left = std::process::Command::new("find")
            .arg(notes.join(".git"))
            .args(["(", "-name", "*.lock", "-o", "-name", "lucid-sync-*", ")", "-size", "+0"])
            .output()
            .expect("find");
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{what}");
        assert!(!notes.join(".git/index.lock").exists(), "{what}");
        git(&notes, &["fsck", "--no-dangling", "--no-progress"]);
        // One commit of ours a round and those of what was written on: what had arrived is not made again.
        let subjects = git(&notes, &["log", "--no-merges", "--format=%s", "main"]);
        let ours = subjects.lines().filter(|subject| subject.starts_with("Sync by lucid")).count() as u64;
        assert!(ours <= self.number + 3, "{what}: {subjects}");
    }
}

/// A sync behind the shim, which kills it or not.
fn killed(world: &World, at: &str) -> bool {
    let _ = fs::remove_file(world.path("killed"));
    world.write("count", "0\n");
    world.write("at", format!("{at}\n"));
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let ended = world.lucid_command(["action", "git-sync"]).env("PATH", path).output().expect("lucid starts");
    fs::remove_file(world.path("at")).expect("it was there");
    let was = world.path("killed").exists();
    assert!(was || ended.status.success(), "{at}: {}", String::from_utf8_lossy(&ended.stdout));
    was
}

#[track_caller]
fn goes_on(world: &World, round: &Round, how: &str) {
    let said = world.lucid(["action", "git-sync"]);
    assert_eq!(said.code, 0, "round {} {how}: {said:?}", round.number);
    round.check(world, how);
}

#[test]
fn killed_after_each_of_its_steps_the_next_one_goes_on() {
    let world = world();
    let mut steps = 0;
    for at in 1..=CALLS_MAX {
        let round = Round::begin(&world, u64::from(at));
        let was = killed(&world, &format!("{at} after"));
        goes_on(&world, &round, &format!("killed after call {at}"));
        if !was {
            break;
        }
        steps = at;
    }
    assert!((15..CALLS_MAX).contains(&steps), "every step was met: {steps}");
}

#[test]
fn files_that_were_half_taken_over_and_locks_of_dead_gits_are_put_right() {
    let world = world();
    for (number, how) in ["torn", "lock", "torn", "lock"].into_iter().enumerate() {
        let round = Round::begin(&world, number as u64);
        assert!(killed(&world, &format!("0 {how}")), "{how}");
        if how == "torn" {
            // Twice in a row, and somebody has written meanwhile.
            assert!(killed(&world, &format!("0 {how}")), "{how}");
        }
        goes_on(&world, &round, how);
    }
    // Whoever writes on where the sync has been killed contradicts nobody.
    let mut round = Round::begin(&world, 4);
    assert!(killed(&world, "0 torn"));
    fs::write(world.path("notes/a.md"), "written on, after the crash\n").expect("a file");
    round.wanted.insert("a.md".to_owned(), "written on, after the crash\n".to_owned());
    goes_on(&world, &round, "written on");
    // What a person has written over something half done is theirs, and goes as their change.
    let round = Round::begin(&world, 5);
    assert!(killed(&world, "0 torn"));
    let notes = world.path("notes");
    fs::write(notes.join("in.md"), "by hand, after the crash\n").expect("a file");
    let said = world.lucid(["action", "git-sync"]);
    assert!(said.stdout.contains("conflict: both sides have changed in.md"), "{said:?}");
    assert_eq!(fs::read_to_string(notes.join("in.md")).expect("it"), "by hand, after the crash\n");
    assert!(!notes.join("new-5").exists());
    fs::write(notes.join("in.md"), &round.wanted["in.md"]).expect("a file");
    goes_on(&world, &round, "settled by hand");
    // A lock that is not of a dead sync is somebody's, and stays.
    fs::write(notes.join(".git/index.lock"), "").expect("a lock");
    let said = world.lucid(["action", "git-sync"]).expect(1).stdout;
    assert!(said.contains("index.lock"), "{said}");
    assert!(notes.join(".git/index.lock").exists());
}

fn rescues(world: &World) -> Vec<String> {
    let listed =
        git(&world.path("notes"), &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/sync/"]);
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn what_looks_half_written_is_saved_before_it_is_written_over() {
    let world = world();
    let notes = world.path("notes");
    let round = Round::begin(&world, 0);
    assert!(killed(&world, "0 torn"));
    let said = world.lucid(["action", "git-sync"]).expect(0).stdout;
    round.check(&world, "torn");
    let saved = rescues(&world);
    assert!(saved.len() == 1 && said.contains(&format!("after a crash are in {}", saved[0])), "{said}");
    assert_eq!(git(&notes, &["show", &format!("{}:in.md", saved[0])]), "the");
    // Git was long dead when this was written.
    let round = Round::begin(&world, 1);
    assert!(killed(&world, "0 torn"));
    fs::write(notes.join("in.md"), "their").expect("a file");
    let later = std::time::SystemTime::now() + Duration::from_secs(600);
    fs::File::options()
        .write(true)
        .open(notes.join("in.md"))
        .expect("it")
        .set_modified(later)
        .expect("a time");
    let said = world.lucid(["action", "git-sync"]).expect(1).stdout;
    assert!(said.contains("conflict: both sides have changed in.md"), "{said}");
    assert_eq!(fs::read_to_string(notes.join("in.md")).expect("it"), "their");
    fs::write(notes.join("in.md"), &round.wanted["in.md"]).expect("a file");
    goes_on(&world, &round, "settled by hand");
}

#[test]
fn one_that_is_killed_before_it_touches_a_file_has_none_put_back() {
    let world = world();
    let notes = world.path("notes");
    let round = Round::begin(&world, 0);
    assert!(killed(&world, "0 push"));
    fs::write(notes.join("in.md"), "").expect("a file");
    let said = world.lucid(["action", "git-sync"]).expect(1).stdout;
    assert!(said.contains("conflict: both sides have changed in.md"), "{said}");
    assert_eq!(fs::read_to_string(notes.join("in.md")).expect("it"), "");
    fs::write(notes.join("in.md"), &round.wanted["in.md"]).expect("a file");
    goes_on(&world, &round, "killed while it pushed");
    assert_eq!(rescues(&world), Vec::<String>::new());
}

#[test]
fn many_files_are_put_back_in_few_calls_whatever_their_names() {
    let world = world();
    let other = world.path("other");
    for name in ["\"quoted\\", "two\nlines", "-dash", "a b"] {
        fs::write(other.join(name), "odd\n").expect("a file");
    }
    for number in 0..200 {
        fs::write(other.join(format!("many-{number}.sh")), "many\n").expect("a file");
    }
    std::os::unix::fs::symlink("in.md", other.join("link")).expect("a link");
    let round = Round::begin(&world, 0);
    assert!(killed(&world, "0 torn"));
    assert!(!killed(&world, &format!("{} after", CALLS_MAX + 1)), "{}", world.read("count"));
    round.check(&world, "many files");
    assert_eq!(fs::read_to_string(world.path("notes/two\nlines")).expect("it"), "odd\n");
    assert_eq!(fs::read_link(world.path("notes/link")).expect("it"), Path::new("in.md"));
}

#[test]
fn killed_at_any_time_with_all_its_gits_the_next_one_goes_on() {
    let world = world();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ u64::from(std::process::id());
    println!("seed {seed}");
    for number in 0..ROUNDS {
        let round = Round::begin(&world, number);
        let mut command = world.lucid_command(["action", "git-sync"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().expect("lucid starts");
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::thread::sleep(Duration::from_millis(seed % 400));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
        let _ = kill_process_group(pid, Signal::KILL);
        end_gits(&world.path("notes"));
        child.wait().expect("an end");
        goes_on(&world, &round, "killed at any time");
    }
}

/// As a keeper ends whatever its run has left.
fn end_gits(notes: &Path) {
    let mark = format!("{COOKIE}={}", notes.canonicalize().expect("a path").display());
    for entry in fs::read_dir("/proc").expect("proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let env = fs::read(entry.path().join("environ")).unwrap_or_default();
        if env.split(|b| *b == 0).any(|set| set == mark.as_bytes()) {
            crate::processes::signal(pid, Signal::KILL);
        }
    }
}
