//! The registry over real files: what is edited, broken, switched off, removed, renamed, replaced.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use tempfile::TempDir;

use super::registry::{Change, Registry, STALE_MAX};
use super::tests::rules;
use crate::model::ids::TaskId;
use crate::platform::clock::Clock;

const GOOD: &str = "---\ncommand: ./x\nschedule: every 5m\n---\n";
const BROKEN: &str = "---\ncommand: ./x\ntimeout: 1:30\n---\n";

/// A folder with a registry over it, at a time when every file has settled.
struct Folder {
    dir: TempDir,
    registry: Registry,
    now_ms: i64,
}

impl Folder {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let registry = Registry::new(dir.path().to_owned(), rules()).shown_as("tasks".into());
        Self { dir, registry, now_ms: wall_ms() + 10_000 }
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let mut folder = Self::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder.reload();
        folder
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn reload(&mut self) -> Change {
        self.registry.reload(self.now_ms)
    }

    fn ids(&self) -> Vec<String> {
        self.registry.snapshot().iter().map(|(id, _)| id.to_string()).collect()
    }

    /// `runs`, `stale`, `off`, `none`, with the codes said about it.
    fn state(&self, name: &str) -> String {
        let snapshot = self.registry.snapshot();
        let Some(entry) = snapshot.get(&id(name)) else { return "gone".to_owned() };
        let word = match (entry.runnable(), entry.stale_since, &entry.definition) {
            (None, _, Some(_)) if entry.expired => "expired",
            (Some(_), None, _) => "runs",
            (Some(_), Some(_), _) => "stale",
            (None, _, Some(_)) => "off",
            (None, _, None) => "none",
        };
        let codes: Vec<&str> = entry.diagnostics.iter().map(|found| found.code).collect();
        [&[word], codes.as_slice()].concat().join(" ")
    }

    fn loose(&self) -> Vec<String> {
        self.registry
            .snapshot()
            .loose
            .iter()
            .map(|found| format!("{} {}", found.code, found.position()))
            .collect()
    }
}

fn wall_ms() -> i64 {
    Clock::system().wall_ms()
}

fn id(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

#[test]
fn files_come_change_and_go() {
    let mut folder = Folder::with(&[("a.md", GOOD), ("sub/b.md", GOOD), ("README.md", "# Notes\n")]);
    assert_eq!(folder.ids(), ["a", "sub/b"]);
    assert!(folder.reload().is_empty());

    folder.write("a.md", "---\ncommand: ./y\n---\n");
    folder.write("c.md", GOOD);
    fs::remove_file(folder.path("sub/b.md")).unwrap();
    let change = folder.reload();
    assert_eq!(
        (change.added, change.changed, change.removed),
        (vec![id("c")], vec![id("a")], vec![id("sub/b")])
    );

    fs::rename(folder.path("a.md"), folder.path("d.md")).unwrap();
    let change = folder.reload();
    assert_eq!((change.added, change.removed), (vec![id("d")], vec![id("a")]));

    // What editors do: write beside it, then rename over it, with the same size.
    folder.write(".d.md.tmp", "---\ncommand: ./z\n---\n");
    fs::rename(folder.path(".d.md.tmp"), folder.path("d.md")).unwrap();
    assert_eq!(folder.reload().changed, [id("d")]);

    folder.write("README.md", "# More notes\n");
    assert!(folder.reload().is_empty());
}

#[test]
fn a_broken_file_keeps_its_last_good_version_for_a_day() {
    let mut folder = Folder::with(&[("a.md", GOOD)]);
    let good = folder.registry.snapshot().get(&id("a")).unwrap().hash();
    folder.write("a.md", BROKEN);
    let change = folder.reload();
    assert_eq!((change.broken, change.changed), (vec![id("a")], vec![]));
    assert_eq!(folder.state("a"), "stale E105");
    let snapshot = folder.registry.snapshot();
    assert_eq!(snapshot.get(&id("a")).unwrap().hash(), good);
    assert_eq!(snapshot.get(&id("a")).unwrap().stale_since, Some(folder.now_ms));

    // Another broken version does not start the day again.
    let broken_at = folder.now_ms;
    folder.now_ms += 3_600_000;
    folder.write("a.md", "---\ncommand: [\n---\n");
    assert!(folder.reload().is_empty());
    assert_eq!(folder.state("a"), "stale E110");

    folder.now_ms = broken_at + i64::try_from(STALE_MAX.as_millis()).unwrap() - 1;
    assert!(folder.reload().is_empty());
    folder.now_ms += 1;
    assert_eq!(folder.reload().expired, [id("a")]);
    // Its instants still have to be accounted for, so the definition stays.
    assert_eq!(folder.state("a"), "expired E110");
    assert!(folder.reload().is_empty());

    folder.write("a.md", GOOD);
    assert_eq!(folder.reload().mended, [id("a")]);
    assert_eq!(folder.state("a"), "runs");
}

#[test]
fn disabled_stops_at_once_even_in_a_broken_file() {
    let mut folder = Folder::with(&[("a.md", GOOD)]);
    folder.write("a.md", "---\ncommand: ./x\nenabled: false\ntimeout: 1:30\n---\n");
    assert_eq!(folder.reload().disabled, [id("a")]);
    assert_eq!(folder.state("a"), "off E105");
    assert!(folder.registry.snapshot().get(&id("a")).unwrap().text_says_disabled);

    folder.write("a.md", BROKEN);
    assert_eq!(folder.reload().enabled, [id("a")]);
    assert_eq!(folder.state("a"), "stale E105");

    folder.write("a.md", "---\ncommand: ./x\nenabled: flase\n---\n");
    folder.reload();
    assert_eq!(folder.state("a"), "stale E103");

    folder.write("a.md", "---\ncommand: ./x\nenabled: no\n---\n");
    assert_eq!(folder.reload().disabled, [id("a")]);
    assert_eq!(folder.state("a"), "off");
}

#[test]
fn a_file_that_never_was_good_does_not_run() {
    let mut folder = Folder::new();
    folder.write("a.md", "---\ncommand: ./x\nenabled: maybe\n---\n");
    let change = folder.reload();
    assert_eq!((change.added, change.broken), (vec![id("a")], vec![id("a")]));
    assert_eq!(folder.state("a"), "none E103");
}

#[test]
fn a_half_written_file_waits_a_moment() {
    let mut folder = Folder::with(&[("a.md", GOOD)]);
    for half in ["", "---\ncommand: ./x\nschedule: ev", "---\ncommand: [\n---\n"] {
        folder.write("a.md", half);
        folder.now_ms = wall_ms();
        let change = folder.reload();
        assert!(change.unsettled && change.is_empty(), "{half:?}: {change:?}");
        assert_eq!(folder.state("a"), "runs");
        folder.write("a.md", GOOD);
        folder.now_ms = wall_ms() + 5_000;
        assert!(!folder.reload().unsettled);
    }
    // But a person's word is not waited for.
    folder.write("a.md", "---\nenabled: false\ncommand: [\n---\n");
    folder.now_ms = wall_ms();
    assert_eq!(folder.reload().disabled, [id("a")]);
    folder.write("a.md", GOOD);
    folder.now_ms = wall_ms() + 5_000;
    folder.reload();
    // Emptied for good is broken.
    folder.write("a.md", "");
    assert_eq!(folder.reload().broken, [id("a")]);
}

#[test]
fn a_task_that_reads_as_none_is_broken_until_it_is_gone() {
    let mut folder = Folder::with(&[("a.md", GOOD), ("never.md", BROKEN)]);
    let utf16 = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for text in ["", "# A note\n", "\n---\ncommand: ./x\n---\n", " ---\ncommand: ./x\n---\n"]
        .map(str::as_bytes)
        .into_iter()
        .chain([utf16.as_slice()])
    {
        fs::write(folder.path("a.md"), text).unwrap();
        assert_eq!(folder.reload().broken, [id("a")], "{text:?}");
        assert_eq!(folder.state("a"), "stale E127", "{text:?}");
        folder.write("a.md", GOOD);
        assert_eq!(folder.reload().mended, [id("a")]);
    }
    folder.write("a.md", "# half a note");
    folder.now_ms = wall_ms();
    assert!(folder.reload().unsettled);
    folder.write("a.md", "\n---\nenabled: false\n---\n");
    assert_eq!(folder.reload().disabled, [id("a")]);
    assert_eq!(folder.state("a"), "off E127");
    folder.write("never.md", "# A note\n");
    fs::remove_file(folder.path("a.md")).unwrap();
    assert_eq!(folder.reload().removed, [id("never"), id("a")]);
}

#[test]
fn an_edit_within_one_tick_of_the_clock_is_seen() {
    let mut folder = Folder::new();
    folder.write("a.md", "---\ncommand: ./a\n---\n");
    folder.now_ms = wall_ms();
    folder.reload();
    let meta = fs::metadata(folder.path("a.md")).unwrap();
    folder.write("a.md", "---\ncommand: ./b\n---\n");
    let file = fs::File::options().write(true).open(folder.path("a.md")).unwrap();
    file.set_modified(meta.modified().unwrap()).unwrap();
    assert_eq!(folder.reload().changed, [id("a")]);
}

#[test]
fn what_is_no_file_is_never_opened() {
    let folder_text = "name.md/inner.md";
    let mut folder = Folder::new();
    folder.write(folder_text, GOOD);
    folder.write("real.md", GOOD);
    folder.write("elsewhere.txt", GOOD);
    let fifo = folder.path("pipe.md");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("sock.md")).unwrap();
    symlink("elsewhere.txt", folder.path("link.md")).unwrap();
    symlink("/dev/zero", folder.path("zero.md")).unwrap();
    symlink("nowhere", folder.path("dangling.md")).unwrap();
    symlink(".", folder.path("loop")).unwrap();
    let start = Clock::system().boot();
    folder.reload();
    assert!(Clock::system().boot() - start < Duration::from_secs(2));
    assert_eq!(folder.ids(), ["link", "real"]);
    let expected = ["E123 tasks/dangling.md", "W104 tasks/loop"].map(str::to_owned).into_iter();
    let others = ["name", "pipe", "sock", "zero"].map(|name| format!("E123 tasks/{name}.md"));
    assert_eq!(folder.loose(), expected.chain(others).collect::<Vec<_>>());
    assert!(folder.reload().is_empty());

    // A task that turns into a FIFO is gone.
    fs::rename(&fifo, folder.path("real.md")).unwrap();
    assert_eq!(folder.reload().removed, [id("real")]);
}

#[test]
fn other_programs_files_are_no_tasks_and_bad_names_are_told() {
    let mut folder = Folder::new();
    for name in
        [".#x.md", "x.md~", "4913", ".x.md.swp", "#x.md#", "_draft.md", "x.txt", ".git/y.md", "_old/z.md"]
    {
        folder.write(name, GOOD);
    }
    folder.write("My Task.md", GOOD);
    folder.write("Notes.md", "# Only notes\n");
    folder.write("Sub/x.md", GOOD);
    folder.write("ok.md", GOOD);
    folder.reload();
    assert_eq!(folder.ids(), ["ok"]);
    assert_eq!(folder.loose(), ["E124 tasks/My Task.md", "E124 tasks/Sub/x.md"]);
}

#[test]
fn large_and_unreadable_files_are_told() {
    let mut folder = Folder::with(&[("a.md", GOOD), ("b.md", GOOD)]);
    folder.write("a.md", &format!("{GOOD}{}", "x".repeat(300_000)));
    fs::set_permissions(folder.path("b.md"), fs::Permissions::from_mode(0o000)).unwrap();
    folder.reload();
    assert_eq!(folder.state("a"), "stale E112");
    folder.write("a.md", &format!("---\nenabled: false\n---\n{}", "x".repeat(300_000)));
    folder.reload();
    assert_eq!(folder.state("a"), "off E112");
    // Root may read everything.
    if fs::File::open(folder.path("b.md")).is_err() {
        assert_eq!(folder.state("b"), "stale E122");
    }
    fs::set_permissions(folder.path("b.md"), fs::Permissions::from_mode(0o644)).unwrap();
    folder.reload();
    assert_eq!(folder.state("b"), "runs");
}

#[test]
fn a_missing_folder_has_no_tasks_and_says_so() {
    let mut folder = Folder::with(&[("a.md", GOOD)]);
    let (here, away) = (folder.dir.path().to_owned(), folder.dir.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(folder.reload().removed, [id("a")]);
    assert_eq!(folder.loose(), [format!("E119 {}", here.display())]);
    fs::rename(&away, &here).unwrap();
    assert_eq!(folder.reload().added, [id("a")]);
    assert!(folder.loose().is_empty());
}

#[test]
fn other_rules_read_every_file_again() {
    let mut folder = Folder::with(&[("a.md", "---\ncommand: ./x\npool: new\n---\n")]);
    assert_eq!(folder.state("a"), "runs E306");
    let mut rules = rules();
    rules.known.pools.insert("new".to_owned(), None);
    folder.registry.set_rules(rules);
    folder.reload();
    assert_eq!(folder.state("a"), "runs");
}

#[test]
fn a_storm_of_renames_ends_in_what_is_there() {
    let mut folder = Folder::with(&[("a.md", GOOD)]);
    let root = folder.dir.path().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300 {
                let (from, to) = if round % 2 == 0 { ("a.md", "b.md") } else { ("b.md", "a.md") };
                fs::rename(root.join(from), root.join(to)).unwrap();
                fs::write(root.join("tmp.md"), GOOD).unwrap();
                let _ = fs::remove_file(root.join("tmp.md"));
            }
        });
        for _ in 0..100 {
            folder.reload();
        }
    });
    folder.reload();
    assert_eq!(folder.ids(), ["a"]);
    assert_eq!(folder.state("a"), "runs");
}

/// Ignored: a measurement. `cargo test --release -- --ignored ten_thousand --nocapture`
#[test]
#[ignore = "a measurement"]
fn ten_thousand_files() {
    let dir = TempDir::new().unwrap();
    for n in 0..10_000 {
        let text = format!(
            "---\nname: task {n}\ndescription: Number {n}\nschedule: \"{} {} * * *\"\ncommand: ./job.sh {n}\n\
             timeout: 5m\nenv: {{A: \"{n}\"}}\n---\n# Task {n}\n\nSome words about it.\n",
            n % 60,
            n % 24
        );
        fs::write(dir.path().join(format!("task-{n}.md")), text).unwrap();
    }
    let resident = || -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before_kb = resident();
    let mut registry = Registry::new(dir.path().to_owned(), rules());
    let start = Clock::system().boot();
    let change = registry.reload(wall_ms() + 10_000);
    let first = Clock::system().boot() - start;
    assert_eq!(change.added.len(), 10_000);
    drop(change);
    let start = Clock::system().boot();
    assert!(registry.reload(wall_ms() + 10_000).is_empty());
    let again = Clock::system().boot() - start;
    println!("a task is {} bytes flat", size_of::<crate::model::task::Task>());
    println!("first {first:?}, again {again:?}, {} kB more resident", resident() - before_kb);
    assert!(first < Duration::from_secs(3) && again < Duration::from_secs(1));
}
