//! Pools on real repositories: an origin, a clone of it, slots beside the clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::journal::Filter;
use crate::model::event::Recorded;

mod aside;
mod bases;
mod contention;
mod desync;
mod killed;
mod leases;
mod messes;
mod outage;
mod trouble;

/// Far more than any claim here takes.
pub const LONG: Duration = Duration::from_secs(120);

/// An origin, its clone, and a daemon's store.
pub struct World {
    pub pools: Pools,
    pub journal: Journal,
    pub store: Store,
    config: config::Pool,
    root: PathBuf,
    _dir: TempDir,
}

impl World {
    pub async fn new(slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let git = |folder: &Path, args: &[&str]| git_in(folder, args);
        fs::create_dir(root.join("seed")).unwrap();
        let seed = root.join("seed");
        git(&seed, &["init", "-q", "-b", "main"]);
        for n in 0..20 {
            write(&seed, &format!("src/file{n}.txt"), &format!("line {n}\n"));
        }
        write(&seed, "README", "hello\n");
        write(&seed, ".gitignore", "target/\nnode_modules/\n*.log\n");
        git(&seed, &["add", "-A"]);
        git(&seed, &["commit", "-qm", "first"]);
        git(&root, &["clone", "-q", "--bare", "seed", "origin.git"]);
        git(&root, &["clone", "-q", "origin.git", "repo"]);
        let config = config::Pool {
            name: "main".to_owned(),
            repo: root.join("repo"),
            dir: root.join("slots"),
            slots,
            base: "origin/main".to_owned(),
            keep: vec!["target".to_owned(), "node_modules/".to_owned()],
            claim_wait: Duration::from_secs(30),
        };
        fs::create_dir(root.join("state")).unwrap();
        let store = Store::open(&root.join("state"), 0).unwrap().store;
        let journal = Journal::new(store.clone());
        let pools =
            Pools::open(std::slice::from_ref(&config), store.clone(), journal.clone(), Clock::system())
                .await
                .unwrap();
        Self { pools, journal, store, config, root, _dir: dir }
    }

    /// As after a restart of the daemon: nothing is known but what is in the database and on the disk.
    pub async fn restart(&mut self) {
        let configs = std::slice::from_ref(&self.config);
        self.pools =
            Pools::open(configs, self.store.clone(), self.journal.clone(), Clock::system()).await.unwrap();
        self.pools.recover().await.unwrap();
    }

    /// As if the daemon had been killed when the slot of `lease` was in `state`.
    pub async fn interrupt(&self, lease: LeaseId, state: SlotState, former: Option<&'static str>) {
        self.store
            .write(move |tx| Ok::<_, PoolError>(table::interrupt(tx, lease, state, former)?))
            .await
            .unwrap();
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub fn slot(&self, number: u32) -> PathBuf {
        self.path(&format!("slots/main-{number}"))
    }

    /// The slot's own git directory.
    pub fn admin(&self, number: u32) -> PathBuf {
        PathBuf::from(self.git(&format!("slots/main-{number}"), &["rev-parse", "--absolute-git-dir"]))
    }

    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        git_in(&self.path(folder), args)
    }

    pub fn base(&self) -> String {
        self.git("repo", &["rev-parse", "origin/main"])
    }

    /// A commit on the origin's main, which the clone does not know yet.
    pub fn push(&self, file: &str, text: &str) -> String {
        let seed = self.path("seed");
        write(&seed, file, text);
        git_in(&seed, &["add", "-A"]);
        git_in(&seed, &["commit", "-qm", file]);
        git_in(&seed, &["push", "-q", "../origin.git", "main"]);
        git_in(&seed, &["rev-parse", "HEAD"])
    }

    pub async fn claim(&self, ticket: &str) -> Leased {
        self.pools.claim(Holder::Ticket(ticket.to_owned()), "main", LONG).await.unwrap()
    }

    /// Makes every slot once, clean and free.
    pub async fn warm(&self) {
        let mut leases = Vec::new();
        for n in 0..self.config.slots {
            leases.push(self.claim(&format!("WARM-{n}")).await.lease);
        }
        for lease in leases {
            assert_eq!(self.pools.release(lease).await.unwrap(), Released::Cleaned { rescued: Vec::new() });
        }
    }

    pub async fn events(&self, kind: EventKind) -> Vec<Recorded> {
        let filter = Filter { kinds: Some(vec![kind]), ..Filter::default() };
        self.journal.after(0, 1000, filter).await.unwrap()
    }

    /// All rescue refs.
    pub fn rescues(&self) -> Vec<String> {
        let refs = self.git("repo", &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
        refs.lines().map(str::to_owned).collect()
    }

    /// A file as a commit has it.
    pub fn show(&self, commit: &str, file: &str) -> String {
        self.git("repo", &["show", &format!("{commit}:{file}")])
    }

    pub async fn row(&self, number: u32) -> Slot {
        let id = slot_id("main", number);
        self.store.read(move |conn| Ok::<_, PoolError>(table::get(conn, &id)?)).await.unwrap().unwrap()
    }

    /// By git's own word: on no branch, at the base, nothing changed, nothing hidden, nothing begun.
    pub fn assert_clean(&self, path: &Path) {
        let git = |args: &[&str]| git_in(path, args);
        assert_eq!(git(&["rev-parse", "HEAD"]), self.base());
        assert_eq!(git(&["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD", "on a branch");
        let status = ["status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none"];
        assert_eq!(git(&status), "", "{}", path.display());
        let hidden: Vec<String> = git(&["ls-files", "-v"])
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase() || c == 'S'))
            .map(str::to_owned)
            .collect();
        assert!(hidden.is_empty(), "{hidden:?}");
        let admin = PathBuf::from(git(&["rev-parse", "--absolute-git-dir"]));
        for name in
            ["rebase-merge", "rebase-apply", "sequencer", "MERGE_HEAD", "CHERRY_PICK_HEAD", "BISECT_LOG"]
        {
            assert!(!admin.join(name).exists(), "{name}");
        }
        assert!(!admin.join("index.lock").exists() && !admin.join("HEAD.lock").exists());
        assert!(fs::read_to_string(admin.join("locked")).unwrap().contains("lucid"));
    }
}

/// Git as a person would use it there.
pub fn git_in(folder: &Path, args: &[&str]) -> String {
    let out = try_git(folder, args);
    assert!(
        out.status.success(),
        "git {args:?} in {}: {}",
        folder.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

pub fn try_git(folder: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "core.editor=true"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "somebody")
        .env("GIT_AUTHOR_EMAIL", "somebody@example.org")
        .env("GIT_COMMITTER_NAME", "somebody")
        .env("GIT_COMMITTER_EMAIL", "somebody@example.org")
        .output()
        .unwrap()
}

pub fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub fn read(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap()
}

/// Every file below a folder with its content, git's own left out.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == ".git" {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
