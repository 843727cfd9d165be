//! What a reload tells: real files, a real database, and daemons that come and go.

use std::fs;
use std::path::PathBuf;

use crate::run::RunError;
use crate::store::Store;
use crate::task::testing::rules;
use crate::task::{Registry, table};

use super::reload::take_over;

const GOOD: &str = "---\ncommand: ./x\nschedule: every 5m\n---\n";
const BROKEN: &str = "---\ncommand: ./x\nschedule: every 5m\ntimout: 1m\n---\n";
const NOW_MS: i64 = 4_000_000_000_000;

struct Machine {
    store: Store,
    tasks: PathBuf,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tasks = dir.path().join("tasks");
        fs::create_dir(&tasks).unwrap();
        let store = Store::open(&dir.path().join("state"), NOW_MS).unwrap().store;
        Self { store, tasks, _dir: dir }
    }

    fn write(&self, id: &str, text: &str) {
        fs::write(self.tasks.join(format!("{id}.md")), text).unwrap();
    }

    fn remove(&self, id: &str) {
        fs::remove_file(self.tasks.join(format!("{id}.md"))).unwrap();
    }

    /// A daemon that was just started, and has told nobody anything.
    fn daemon(&self) -> Registry {
        let kept = self.store.read_blocking(|conn| Ok::<_, RunError>(table::kept_hashes(conn)?)).unwrap();
        Registry::new(self.tasks.clone(), rules()).keeping(kept)
    }

    /// What a reload of `daemon` tells, one line an event; the disk takes it unless it is `full`.
    fn reload(&self, daemon: &mut Registry, full: bool) -> Vec<String> {
        let change = daemon.reload(NOW_MS);
        let orphans = daemon.orphans(&change);
        let kept = self.store.read_blocking(move |conn| Ok::<_, RunError>(table::kept(conn, &orphans)?));
        daemon.revive(kept.unwrap(), NOW_MS);
        let (snapshot, texts) = (daemon.snapshot(), daemon.unsaved());
        let told: Result<_, RunError> = {
            let texts = texts.clone();
            self.store.write_blocking(move |tx| {
                let events = take_over(tx, &snapshot, &texts, NOW_MS)?;
                if full { Err(rusqlite::Error::InvalidQuery.into()) } else { Ok(events) }
            })
        };
        let Ok(events) = told else { return Vec::new() };
        daemon.saved(&texts);
        let line = |event: crate::model::event::Event| match event.task {
            Some(task) => format!("{} {task}", event.kind.name()),
            None => format!("{} {}", event.kind.name(), event.data),
        };
        events.into_iter().map(line).collect()
    }
}

#[test]
fn a_one_shot_is_not_armed_again_by_a_folder_that_was_away() {
    let machine = Machine::new();
    machine.write("once", "---\ncommand: ./x\nschedule: in 2m\n---\n");
    let mut daemon = machine.daemon();
    assert_eq!(machine.reload(&mut daemon, false), ["task_added once"]);
    let covered = || {
        let rows = machine.store.read_blocking(|conn| Ok::<_, RunError>(table::all(conn)?)).unwrap();
        rows.iter().map(|row| row.covered_ms).collect::<Vec<_>>()
    };
    let spent_ms = NOW_MS + 120_000;
    let cover = move |tx: &crate::store::Tx<'_>| -> Result<(), RunError> {
        let id = crate::model::ids::TaskId::parse("once").unwrap();
        Ok(crate::run::table::cover(tx, &id, spent_ms)?)
    };
    machine.store.write_blocking(cover).unwrap();
    let away = machine.tasks.with_extension("away");
    for mut daemon in [daemon, machine.daemon()] {
        fs::rename(&machine.tasks, &away).unwrap();
        machine.reload(&mut daemon, false);
        fs::rename(&away, &machine.tasks).unwrap();
        machine.reload(&mut daemon, false);
        assert_eq!(covered(), [spent_ms], "it had its instant");
    }
}

#[test]
fn what_happened_to_files_while_no_daemon_was_there_is_told_by_the_next() {
    let machine = Machine::new();
    machine.write("stays", GOOD);
    machine.write("mends", GOOD);
    machine.write("never", BROKEN);
    machine.write("goes", GOOD);
    let mut first = machine.daemon();
    let told = machine.reload(&mut first, false);
    assert_eq!(
        told,
        ["task_added goes", "task_added mends", "task_added never", "task_added stays", "task_broken never"]
    );
    machine.write("mends", BROKEN);
    assert_eq!(machine.reload(&mut first, false), ["task_broken mends"]);
    assert_eq!(machine.reload(&mut machine.daemon(), false), [""; 0], "it is known");

    machine.write("mends", GOOD);
    machine.write("never", GOOD);
    machine.write("stays", &GOOD.replace("5m", "6m\nenabled: false"));
    machine.remove("goes");
    let told = machine.reload(&mut machine.daemon(), false);
    assert_eq!(
        told,
        [
            "task_changed never",
            "task_changed stays",
            "task_removed goes",
            "task_mended mends",
            "task_mended never",
            "task_enabled never",
            "task_disabled stays",
        ]
    );
    machine.write("stays", BROKEN);
    assert_eq!(machine.reload(&mut machine.daemon(), false), ["task_broken stays"]);
}

#[test]
fn what_could_not_be_written_is_told_with_the_next_reload() {
    let machine = Machine::new();
    machine.write("a", GOOD);
    let mut daemon = machine.daemon();
    machine.reload(&mut daemon, false);
    machine.write("a", BROKEN);
    machine.write("b", GOOD);
    assert_eq!(machine.reload(&mut daemon, true), [""; 0]);
    assert_eq!(machine.reload(&mut daemon, false), ["task_added b", "task_broken a"]);
    assert_eq!(machine.reload(&mut daemon, false), [""; 0]);
}

#[test]
fn a_folder_that_cannot_be_listed_has_lost_nothing() {
    let machine = Machine::new();
    machine.write("a", GOOD);
    machine.reload(&mut machine.daemon(), false);
    fs::rename(&machine.tasks, machine.tasks.with_extension("away")).unwrap();
    std::os::unix::fs::symlink(&machine.tasks, &machine.tasks).unwrap();
    assert_eq!(machine.reload(&mut machine.daemon(), false), [""; 0]);
    fs::remove_file(&machine.tasks).unwrap();
    assert_eq!(machine.reload(&mut machine.daemon(), false), [""; 0]);
    fs::create_dir(&machine.tasks).unwrap();
    assert_eq!(machine.reload(&mut machine.daemon(), false), ["task_removed a"]);
}

#[test]
fn where_many_files_go_at_once_each_is_named() {
    let machine = Machine::new();
    let ids: Vec<String> = (0..150).map(|n| format!("t{n:03}")).collect();
    for id in &ids {
        machine.write(id, GOOD);
    }
    let told = machine.reload(&mut machine.daemon(), false);
    assert_eq!(told, [r#"task_added {"count":150}"#]);
    for id in &ids {
        machine.remove(id);
    }
    let told = machine.reload(&mut machine.daemon(), false);
    assert_eq!(told.len(), 2, "{told:?}");
    for id in &ids {
        assert_eq!(told.iter().filter(|line| line.contains(&format!("\"{id}\""))).count(), 1, "{id}");
    }
}
