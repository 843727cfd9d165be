//! Disks that are full or read-only, databases that are gone, broken, somebody else's or from the future.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::processes;
use crate::workers::{self, git};
use crate::world::{LUCID, World, code_of};

/// A daemon in a user and mount namespace of its own, where `mount` may prepare its state directory.
fn serve_behind(world: &World, mount: &str) -> Command {
    let serve = world.serve_command();
    let mut command = Command::new("unshare");
    let script = format!("set -e; {mount}\nexec \"$0\" serve");
    command.args(["-rm", "/bin/sh", "-c", &script, LUCID]).current_dir(world.root());
    command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(world.log_file());
    command
}

/// A path below the state directory as the daemon sees it.
fn inside(world: &World, below: &str) -> PathBuf {
    let path = world.state(below);
    let path = path.strip_prefix("/").unwrap().to_owned();
    PathBuf::from(format!("/proc/{}/root", world.daemon_pid())).join(path)
}

fn fill(world: &World, name: &str) {
    let mut file = fs::File::create(inside(world, name)).unwrap();
    let block = vec![b'x'; 64 * 1024];
    while file.write_all(&block).is_ok() {}
    while file.write_all(b"x").is_ok() {}
}

fn run_of(world: &World, run: i64) -> Value {
    world.lucid(["api", "GET", &format!("/api/v1/runs/{run}")]).json()["run"].clone()
}

#[test]
fn a_full_disk_loses_no_end_is_told_and_is_over_when_there_is_room_again() {
    let mut world = World::new();
    world.configure(&format!("control: {{socket: '{}'}}", world.path("lucid.sock").display()));
    fs::create_dir(world.path("state")).unwrap();
    world.task("patient", "command: |\n  echo begun\n  while [ ! -e go ]; do sleep 0.05; done\n  yes | head -c 200000\n  exit 7");
    world.task("tick", "schedule: every 1s\ncommand: 'true'");
    let mount = "mount -t tmpfs -o size=40m,mode=0700 lucid-it state";
    let child = serve_behind(&world, mount).spawn().expect("unshare (util-linux) is there");
    world.adopt(child);
    world.until_served();
    assert!(inside(&world, "ballast").exists());
    let run = world.start("patient");
    world.until("it runs", || (run_of(&world, run)["state"] == "running").then_some(()));
    fill(&world, "fill");
    world.write("go", "");
    let ended = world
        .until("its end is recorded", || Some(run_of(&world, run)).filter(|run| run["state"] == "failed"));
    assert_eq!(ended["exit_code"], 7, "{ended}");
    world.until("the full disk is an event", || {
        let activity = world.lucid(["api", "GET", "/api/v1/activity?type=disk_full"]);
        (activity.code == 0 && activity.stdout.contains("disk_full")).then_some(())
    });
    assert!(!inside(&world, "ballast").exists(), "the reserve was given up for it");
    // Full to the last byte, the reserve included: it goes on answering.
    fill(&world, "fill2");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(world.lucid(["api", "GET", "/healthz"]).code, 0, "{}", world.log_tail());
    assert_eq!(world.lucid(["runs", "--json"]).code, 0, "{}", world.log_tail());
    let problems = world.lucid(["problems", "--json"]).stdout;
    assert!(problems.contains("full"), "{problems}");
    for file in ["fill", "fill2"] {
        fs::remove_file(inside(&world, file)).unwrap();
    }
    let last = |world: &World| {
        let runs = world.lucid(["runs", "tick", "--json", "-n", "200"]).json();
        let runs = runs["runs"].as_array().cloned().unwrap_or_default();
        runs.iter().filter(|run| run["state"] == "ok").filter_map(|run| run["id"].as_i64()).max().unwrap_or(0)
    };
    let before = last(&world);
    world.until("it goes on by itself", || (last(&world) > before + 2).then_some(()));
    assert_eq!(run_of(&world, world.start("patient"))["task"], "patient");
    world.until("the second ends", || {
        let runs = world.lucid(["runs", "patient", "--json"]).json();
        runs["runs"].as_array()?.iter().all(|run| run["exit_code"] == 7).then_some(())
    });
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_and_ends_with_78() {
    let world = World::new();
    fs::create_dir(world.path("state")).unwrap();
    let mount = "mount --bind state state; mount -o remount,bind,ro state";
    let output = serve_behind(&world, mount).stderr(Stdio::piped()).output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code_of(output.status), 78, "{said}");
    assert!(
        said.contains(&world.path("state").display().to_string()) && said.contains("state_dir"),
        "{said}"
    );
    assert!(said.lines().count() <= 3, "{said}");
}

/// A world with one ended run, no daemon, and a backup where that is wanted.
fn settled(backup: Option<()>) -> World {
    let mut world = World::new();
    world.task("one", "command: echo one");
    world.serve();
    world.run("one");
    if backup.is_some() {
        world.lucid(["backup"]).expect(0);
    }
    world.run("one");
    world.signal(rustix::process::Signal::TERM);
    world.until_daemon_ends();
    world
}

fn refused(world: &World) -> String {
    let output = world.serve_command().stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(code_of(output.status), 78, "{said}");
    said
}

fn remove_database(world: &World) {
    for name in ["lucid.db", "lucid.db-wal", "lucid.db-shm"] {
        let _ = fs::remove_file(world.state(name));
    }
}

/// Pages in the middle of the file, so that opening it works and reading does not.
fn corrupt(world: &World) {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(world.state("lucid.db")).unwrap();
    let mut header = [0; 16];
    file.read_exact(&mut header).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length - 4096).unwrap()]).unwrap();
}

#[test]
fn a_database_that_is_gone_or_broken_is_restored_and_no_number_comes_twice() {
    for break_it in [remove_database as fn(&World), corrupt] {
        let mut world = settled(Some(()));
        break_it(&world);
        world.serve();
        assert_eq!(world.events("database_restored"), 1);
        assert!(world.row(1).is_some(), "what the backup held is back");
        let next = world.start("one");
        assert!(next > 2, "run {next} again");
        let problems = world.lucid(["problems", "--json"]).stdout;
        assert!(problems.contains("restored"), "{problems}");
    }
}

#[test]
fn what_a_restored_database_does_not_know_has_ended_before_anything_starts() {
    let mut world = World::new();
    world.task("known", "command: sleep 600");
    world.task("later", "command: sleep 600");
    world.task("stubborn", "command: trap '' TERM; while :; do sleep 0.1; done");
    world.serve();
    let known = world.start("known");
    world.until("its command", || world.of_run(known).pop());
    world.lucid(["backup"]).expect(0);
    let unknown = [world.start("later"), world.start("stubborn")];
    world.until("their commands", || unknown.iter().all(|run| !world.of_run(*run).is_empty()).then_some(()));
    world.kill_daemon();
    remove_database(&world);
    world.serve();
    for run in unknown {
        assert_eq!(world.of_run(run).len(), 0, "run {run} goes on beside its ledger");
        assert!(world.row(run).is_none());
        let told = format!("SELECT count(*) FROM events WHERE kind = 'run_stopping' AND run = {run}");
        assert_eq!(world.number(&told), 1);
        assert!(world.run_file(run, "exit.json").exists(), "its own keeper ended it");
    }
    assert_eq!(world.row(known).unwrap().state, "running");
    assert!(!world.of_run(known).is_empty(), "what the backup knows is adopted");
    let again = world.start("later");
    assert!(again > unknown[1]);
    world.until_state(again, "running");
}

#[test]
fn a_worker_of_whom_a_restored_database_knows_nothing_loses_no_work_and_costs_no_attempt() {
    let mut world = workers::world("");
    world.lucid(["pause", "ticket-pickup"]).expect(0);
    let id = workers::new(&world, "commit", "FAKE_MODE=commit", "waits");
    world.lucid(["backup"]).expect(0);
    world.lucid(["resume", "ticket-pickup"]).expect(0);
    let (repo, first) = (world.path("repo"), format!("cr/{id}-commit-1"));
    let slot = world.until("a worker in its slot", || {
        let all = git(&repo, &["worktree", "list", "--porcelain"]);
        let here = all.split("\n\n").find(|tree| tree.contains(&first))?;
        let path = here.lines().next()?.strip_prefix("worktree ")?;
        (!world.of_runs().is_empty()).then(|| PathBuf::from(path))
    });
    world.until("its command", || {
        world.keepers().iter().any(|k| !processes::below(*k).is_empty()).then_some(())
    });
    fs::write(slot.join("unsaved.txt"), "a worker's\n").unwrap();
    world.kill_daemon();
    remove_database(&world);
    world.serve();
    assert!(world.keepers().is_empty(), "it works on in a slot that is free");
    world.lucid(["resume", "ticket-pickup"]).expect(0);
    let review = workers::until(&world, &id, "review");
    assert_eq!(
        (review["attempt"].as_i64(), review["branch"].as_str()),
        (Some(1), Some(&*format!("{first}-2")))
    );
    git(&repo, &["rev-parse", "--verify", &first]);
    let rescued = git(&repo, &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
    let kept = |name: &str| git(&repo, &["ls-tree", "--name-only", name]).contains("unsaved.txt");
    assert!(rescued.lines().any(kept), "{rescued}");
}

#[test]
fn without_a_backup_it_refuses_and_changes_nothing() {
    for break_it in [remove_database as fn(&World), corrupt] {
        let world = settled(None);
        break_it(&world);
        let before = fs::read(world.state("lucid.db")).ok();
        let said = refused(&world);
        assert!(said.contains("backup") && said.contains("lucid.db"), "{said}");
        assert_eq!(fs::read(world.state("lucid.db")).ok(), before, "never silently empty");
    }
}

#[test]
fn a_foreign_or_newer_database_is_refused_and_left_as_it_is() {
    for (pragma, word) in
        [("application_id = 1234567", "another program"), ("user_version = 999", "schema 999")]
    {
        let world = settled(Some(()));
        world.edit_database(&format!("PRAGMA {pragma};"));
        let before = fs::read(world.state("lucid.db")).unwrap();
        let said = refused(&world);
        assert!(said.contains(word), "{said}");
        assert_eq!(fs::read(world.state("lucid.db")).unwrap(), before);
    }
}

/// A repository with an origin: `count` files of `bytes` each, and a task that looks at its slot.
fn repository(world: &World, count: u32, bytes: usize) {
    git(world.root(), &["init", "-q", "--bare", "origin.git"]);
    git(world.root(), &["clone", "-q", "origin.git", "repo"]);
    contents(world, count, bytes, "first");
}

fn contents(world: &World, count: u32, bytes: usize, word: &str) {
    let repo = world.path("repo");
    for n in 0..count {
        fs::write(repo.join(format!("f{n}")), format!("{word} {n}\n").repeat(bytes / 10)).unwrap();
    }
    git(&repo, &["add", "-A"]);
    git(&repo, &["commit", "-q", "-m", word]);
    git(&repo, &["push", "-q", "origin", "HEAD:main"]);
    git(&repo, &["fetch", "-q"]);
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_reset_costs_the_slot_a_wait_and_nothing_else() {
    const FILES: u32 = 100;
    let mut world = World::new();
    let slots = world.path("slots");
    world.configure(&format!(
        "pools: {{main: {{repo: repo, dir: '{}', slots: 1, claim_wait: 15s}}}}",
        slots.display()
    ));
    fs::create_dir(&slots).unwrap();
    repository(&world, FILES, 10_000);
    // Says what its files hold, each kind once.
    world.task("look", "pool: main\ntimeout: 2m\ncommand: cat f* | cut -d ' ' -f 1 | sort -u; ls | wc -l");
    let child = serve_behind(&world, "mount -t tmpfs -o size=12m,mode=0700 lucid-it slots").spawn();
    world.adopt(child.expect("unshare (util-linux) is there"));
    world.until_served();
    let first = world.run("look");
    assert_eq!((first.state.as_str(), world.log_of(first.id).as_str()), ("ok", "first\n100\n"), "{first:?}");
    // The next base is five times as large, and there is room for a part of it.
    contents(&world, FILES, 50_000, "second");
    let below = slots.strip_prefix("/").unwrap();
    let filler = PathBuf::from(format!("/proc/{}/root", world.daemon_pid())).join(below).join("fill");
    fs::write(&filler, vec![b'x'; 9_000_000]).expect("room for it");
    let full = world.run("look");
    assert!(["blocked", "skipped"].contains(&full.state.as_str()), "{full:?}\n{}", world.log_tail());
    assert!(full.started_ms.is_none(), "it ran in half a worktree: {full:?}");
    println!("on a full disk: {} {:?}", full.state, full.reason);
    world.until("the reason is told", || {
        if world.read("daemon.log").contains("No space left on device") {
            return Some(());
        }
        // A machine that is busy may not get so far within one claim.
        world.run("look");
        None
    });
    assert_eq!(world.lucid(["api", "GET", "/healthz"]).code, 0);
    let repo = world.path("repo");
    assert_eq!(git(&repo, &["status", "--porcelain"]), "", "the repository itself is as it was");
    fs::remove_file(&filler).unwrap();
    world.lucid(["pool", "heal"]);
    let healed =
        world.until("a run in a whole slot", || Some(world.run("look")).filter(|row| row.state == "ok"));
    assert_eq!(world.log_of(healed.id), "second\n100\n");
}
