//! What a claim costs against what it replaces: `git worktree add --detach`, in the same run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lucid::config;
use lucid::journal::Journal;
use lucid::platform::clock::Clock;
use lucid::pool::{Holder, Pools};
use lucid::store::Store;

const FILES_A_FOLDER: usize = 100;
const DIRTY: usize = 50;
const MOVED: usize = 200;
/// Far more than any claim takes.
const BUDGET: Duration = Duration::from_secs(300);

/// Medians over the rounds.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// `git worktree add --detach`
    pub add: Duration,
    /// A slot that is clean at the base.
    pub untouched: Duration,
    /// A slot with 50 changed files, which are rescued.
    pub dirty: Duration,
    /// A slot whose base has moved by 200 files.
    pub moved: Duration,
}

impl Figures {
    /// How many times `git worktree add` each takes: untouched, dirty, moved.
    pub fn ratios(&self) -> [f64; 3] {
        [self.untouched, self.dirty, self.moved].map(|claim| claim.as_secs_f64() / self.add.as_secs_f64())
    }
}

/// Measures claims on a repository of `files` files, `rounds` times each, in turn.
pub async fn claims(files: usize, rounds: usize) -> Figures {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().canonicalize().expect("a path");
    let seed = root.join("seed");
    for n in 0..files {
        write(&seed, n, "first");
    }
    git(&seed, &["init", "-q", "-b", "main"]);
    commit(&seed);
    git(&root, &["clone", "-q", "--bare", "seed", "origin.git"]);
    git(&root, &["clone", "-q", "--no-checkout", "origin.git", "repo"]);
    git(&seed, &["remote", "add", "origin", "../origin.git"]);
    let config = config::Pool {
        name: "bench".to_owned(),
        repo: root.join("repo"),
        dir: root.join("slots"),
        slots: 1,
        base: "origin/main".to_owned(),
        keep: vec!["target".to_owned()],
        claim_wait: BUDGET,
    };
    fs::create_dir(root.join("state")).expect("a folder");
    let store = Store::open(&root.join("state"), 0).expect("a store").store;
    let journal = Journal::new(store.clone());
    let pools = Pools::open(&[config], store, journal, Clock::system()).await.expect("pools");
    claim(&pools, &mut Vec::new()).await;
    let slot = root.join("slots/bench-0");
    let [mut add, mut untouched, mut dirty, mut moved] = [const { Vec::new() }; 4];
    for round in 0..rounds {
        let begun = Instant::now();
        git(&root.join("repo"), &["worktree", "add", "-q", "--detach", "../added", "origin/main"]);
        add.push(begun.elapsed());
        git(&root.join("repo"), &["worktree", "remove", "--force", "../added"]);
        claim(&pools, &mut untouched).await;
        (0..DIRTY).for_each(|n| write(&slot, n * (files / DIRTY), &format!("dirty {round}")));
        claim(&pools, &mut dirty).await;
        (0..MOVED).for_each(|n| write(&seed, n * (files / MOVED), &format!("moved {round}")));
        commit(&seed);
        git(&seed, &["push", "-q", "origin", "main"]);
        pools.base("bench").await.expect("a base");
        claim(&pools, &mut moved).await;
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    Figures { add: median(add), untouched: median(untouched), dirty: median(dirty), moved: median(moved) }
}

/// One claim, timed, and its release, which is not.
async fn claim(pools: &Pools, times: &mut Vec<Duration>) {
    let begun = Instant::now();
    let leased = pools.claim(Holder::Ticket("B-1".to_owned()), "bench", BUDGET).await.expect("a slot");
    times.push(begun.elapsed());
    pools.release(leased.lease).await.expect("a release");
}

fn write(folder: &Path, n: usize, text: &str) {
    let folder = folder.join(format!("d{}", n / FILES_A_FOLDER));
    fs::create_dir_all(&folder).expect("a folder");
    let lines = format!("{text} {n}\n").repeat(20);
    fs::write(folder.join(format!("f{n}.txt")), lines).expect("a file");
}

fn commit(folder: &Path) {
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-qm", "more"]);
}

fn git(folder: &Path, args: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"])
        .args(args)
        .current_dir(folder)
        .status()
        .expect("git");
    assert!(status.success(), "git {args:?}");
}
