//! Task files: what an edit changes and how soon, what a broken one is told, what switches a task off.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::invariants;
use crate::world::World;

/// A changed file counts within this.
const SOON: Duration = Duration::from_secs(2);

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[test]
fn a_changed_file_counts_within_two_seconds() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: echo old >> said");
    world.serve();
    world.until("the old one", || world.read("said").contains("old").then_some(()));
    world.task("tick", "schedule: every 1s\ncommand: echo new >> said");
    world.task("added", "schedule: every 1s\ncommand: echo added >> said");
    let changed = Instant::now();
    world.until("both", || {
        let said = world.read("said");
        (said.contains("new") && said.contains("added")).then_some(())
    });
    // One more second until it is due.
    println!("counted after {:?}", changed.elapsed());
    let known_ms = world.number("SELECT min(at_ms) FROM events WHERE kind = 'task_changed'");
    let written: SystemTime = fs::metadata(world.path("tasks/tick.md")).unwrap().modified().unwrap();
    let written_ms = i64::try_from(written.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!(known_ms - written_ms < i64::try_from(SOON.as_millis()).unwrap(), "{} ms", known_ms - written_ms);
}

#[test]
fn a_broken_file_is_told_by_line_and_its_last_good_version_goes_on() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s\ncommand: echo good >> said");
    world.serve();
    world.until("a tick", || world.read("said").contains("good").then_some(()));
    world.task("tick", "schedule: every 1s\ntimout: 5m\ncommand: echo bad >> said");
    world.until("the file is known as broken", || (world.events("task_broken") == 1).then_some(()));
    let before = world.read("said").lines().count();
    world.until("it goes on", || (world.read("said").lines().count() > before + 1).then_some(()));
    assert!(!world.read("said").contains("bad"));
    let check = world.lucid(["check"]).expect(1);
    let told = format!("{}{}", check.stdout, check.stderr);
    assert!(told.contains("error[E101]") && told.contains("tasks/tick.md:3:1"), "{told}");
    assert!(told.contains("did you mean") && told.contains("timout: 5m"), "{told}");
    let document = world.lucid(["check", "--json"]).expect(1).json();
    let first = &document["diagnostics"][0];
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(3), Some(1)), "{first}");
    assert_eq!((&document["errors"], &document["schema_version"]), (&1.into(), &1.into()));
    let task = world.lucid(["task", "tick", "--json"]).expect(0).json();
    assert_eq!(task["task"]["definition"]["stale"], true, "{task}");
    world.lucid(["explain", "E101"]).expect(0);
    // A broken file that says so still stops its task.
    world.task("tick", "schedule: every 1s\ntimout: 5m\nenabled: false\ncommand: echo bad >> said");
    world.until("it is off", || {
        (world.number("SELECT enabled FROM tasks WHERE id = 'tick'") == 0).then_some(())
    });
    let off_ms = now_ms();
    std::thread::sleep(Duration::from_millis(2_200));
    invariants::nothing_started_since(&world, "tick", off_ms);
    // Mended, it is back.
    world.task("tick", "schedule: every 1s\ncommand: echo mended >> said");
    world.until("the mended one", || world.read("said").contains("mended").then_some(()));
}

#[test]
fn switched_off_or_removed_nothing_of_a_task_starts_and_what_runs_goes_on() {
    let mut world = World::new();
    for task in ["off", "gone"] {
        world.task(task, "schedule: every 1s\noverlap: queue\ncommand: sleep 1.5");
    }
    world.serve();
    for task in ["off", "gone"] {
        world.until("a run", || world.rows(task).into_iter().find(|row| row.state == "running"));
    }
    world.task("off", "enabled: false\nschedule: every 1s\noverlap: queue\ncommand: sleep 1.5");
    fs::remove_file(world.path("tasks/gone.md")).unwrap();
    world.until("both are off", || {
        (world.number("SELECT count(*) FROM tasks WHERE enabled AND present") == 0).then_some(())
    });
    let off_ms = now_ms();
    world.until("all is quiet", || {
        (world.number("SELECT count(*) FROM runs WHERE state IN ('claimed', 'running')") == 0).then_some(())
    });
    std::thread::sleep(Duration::from_secs(1));
    for task in ["off", "gone"] {
        invariants::nothing_started_since(&world, task, off_ms);
        let rows = world.rows(task);
        // One that waited for its turn when the task was switched off never gets it.
        assert!(rows.iter().all(|row| row.started_ms.is_none_or(|at| at < off_ms + 50)), "{rows:?}");
        assert!(rows.iter().any(|row| row.state == "ok"), "what ran was left alone: {rows:?}");
    }
    world.lucid(["run", "off"]).expect(5);
    world.lucid(["run", "gone"]).expect(4);
    let forced = world.lucid(["run", "off", "--force", "--json"]).expect(0).json();
    let run = forced["run"]["id"].as_i64().unwrap();
    let actor: String =
        world.database().query_row("SELECT actor FROM runs WHERE id = ?1", [run], |row| row.get(0)).unwrap();
    assert!(!actor.is_empty() && actor != "scheduler", "{actor}");
    assert_eq!(world.ended(run).state, "ok");
}

#[test]
fn disable_counts_from_the_moment_its_command_returns() {
    let mut world = World::new();
    world.task("tick", "schedule: every 1s   # often\ncommand: 'true'");
    world.serve();
    for _ in 0..4 {
        world.lucid(["enable", "tick"]).expect(0);
        world.until("a run", || {
            world.rows("tick").into_iter().rev().find(|row| row.is_live() || row.state == "ok")
        });
        std::thread::sleep(Duration::from_millis(600));
        world.lucid(["disable", "tick"]).expect(0);
        let off_ms = now_ms();
        std::thread::sleep(Duration::from_millis(1_300));
        invariants::nothing_started_since(&world, "tick", off_ms);
    }
}

#[test]
fn enable_and_disable_change_one_line() {
    let mut world = World::new();
    let text =
        "---\r\n# mine\r\nname: 'A  b'\r\nenabled:   yes   # on\r\ncommand: echo x\r\n---\r\n\r\nBody.";
    world.write("tasks/a.md", text);
    world.task("b", "command: echo x # none says enabled");
    world.serve();
    world.lucid(["disable", "a"]).expect(0);
    let changed = world.read("tasks/a.md");
    let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
    let differ: Vec<(String, String)> =
        lines(text).into_iter().zip(lines(&changed)).filter(|(old, new)| old != new).collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert!(differ[0].1.contains("false") && differ[0].1.contains("# on") && differ[0].1.ends_with('\r'));
    assert_eq!(lines(text).len(), lines(&changed).len());
    world.lucid(["run", "a"]).expect(5);
    world.lucid(["disable", "b"]).expect(0);
    assert_eq!(world.read("tasks/b.md").lines().count(), 4);
    world.lucid(["enable", "b"]).expect(0);
    assert_eq!(world.run("b").state, "ok");
    world.lucid(["enable", "nobody"]).expect(4);
}

#[test]
fn a_file_replaced_while_its_task_runs_changes_the_next_run_only() {
    let mut world = World::new();
    world.task("job", "command: |\n  echo old\n  while [ ! -e go ]; do sleep 0.05; done\n  echo old end");
    world.serve();
    let run = world.start("job");
    world.until("output", || world.log_of(run).contains("old").then_some(()));
    world.task("job", "command: echo new");
    world.lucid(["reload"]).expect(0);
    world.write("go", "");
    assert_eq!(world.ended(run).state, "ok");
    assert_eq!(world.log_of(run), "old\nold end\n");
    let next = world.run("job");
    assert_eq!(world.log_of(next.id), "new\n");
}

#[test]
fn hostile_files_stop_nobody_else_and_run_nothing() {
    let mut world = World::new();
    world.task("good", "schedule: every 1s\ncommand: echo good >> said");
    let bomb = format!(
        "---\na: &a [x, x, x, x, x, x, x, x, x]\n{}command: echo bomb >> ran\n---\n",
        (1..12)
            .map(|n| format!(
                "a{n}: &a{n} [{}]\n",
                vec![if n == 1 { "*a".into() } else { format!("*a{}", n - 1) }; 9].join(", ")
            ))
            .collect::<String>()
    );
    let files: [(&str, Vec<u8>); 12] = [
        ("tabs", b"---\nschedule: every 1s\nenv:\n\tA: 1\ncommand: echo tabs >> ran\n---\n".to_vec()),
        ("bomb", bomb.into_bytes()),
        ("ratio", b"---\nschedule: every 1s\ntimeout: 1:30\ncommand: echo ratio >> ran\n---\n".to_vec()),
        ("bare", b"---\nschedule: 1s\ncommand: echo bare >> ran\n---\n".to_vec()),
        (
            "perhaps",
            b"---\nschedule: every 1s\nenabled: perhaps\ncommand: echo perhaps >> ran\n---\n".to_vec(),
        ),
        ("empty", b"---\nschedule: every 1s\nenabled:\ncommand: echo empty >> ran\n---\n".to_vec()),
        ("latin", b"---\nschedule: every 1s\nname: caf\xe9\ncommand: echo latin >> ran\n---\n".to_vec()),
        ("open", b"---\nschedule: every 1s\ncommand: echo open >> ran\n".to_vec()),
        ("zero", b"---\nschedule: every 1s\ntimeout: 0\ncommand: echo zero >> ran\n---\n".to_vec()),
        ("twice", b"---\nschedule: every 1s\ncommand: echo a >> ran\ncommand: echo b >> ran\n---\n".to_vec()),
        ("never", b"---\nschedule: '0 0 31 2 *'\ncommand: echo never >> ran\n---\n".to_vec()),
        (
            "huge",
            [b"---\nschedule: every 1s\ncommand: echo huge >> ran\n---\n".to_vec(), vec![b'x'; 300_000]]
                .concat(),
        ),
    ];
    for (id, text) in &files {
        fs::write(world.path(&format!("tasks/{id}.md")), text).unwrap();
    }
    let fifo = world.path("tasks/fifo.md");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    fs::create_dir(world.path("tasks/folder.md")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.path("tasks/dangling.md")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", world.path("tasks/zeros.md")).unwrap();
    // Off, whatever word says it.
    world.task("no", "schedule: every 1s\nenabled: no\ncommand: echo no >> ran");
    world.serve();
    world.until("the good one runs", || (world.read("said").lines().count() >= 3).then_some(()));
    assert_eq!(world.read("ran"), "", "{}", world.picture());
    let document = world.lucid(["check", "--json"]).expect(1).json();
    let told = document["diagnostics"].as_array().unwrap();
    for (id, _) in &files {
        let name = format!("{id}.md");
        let errors = told.iter().filter(|d| d["severity"] == "error");
        assert!(errors.clone().any(|d| d["file"].as_str().unwrap().ends_with(&name)), "{id}: {document}");
    }
    assert!(told.iter().any(|d| d["file"].as_str().unwrap().ends_with("fifo.md")), "{document}");
    assert!(world.rows_where("task <> 'good'").is_empty());
    // Changed under way, one after the other, they still stop nobody.
    for (id, text) in &files {
        world.write(&format!("tasks/{id}.md"), text);
    }
    let before = world.read("said").lines().count();
    world.until("it goes on", || (world.read("said").lines().count() > before + 1).then_some(()));
    invariants::each_instant_has_one_row(&world, "good", 1_000);
}

#[test]
fn a_pause_is_kept_over_restarts_can_end_by_itself_and_leaves_its_rows() {
    let mut world = World::new();
    for task in ["kept", "short"] {
        world.task(task, "schedule: every 1s\ncommand: 'true'");
    }
    world.serve();
    world.lucid(["pause", "kept", "--reason", "upgrade"]).expect(0);
    world.lucid(["pause", "short", "--for", "2s"]).expect(0);
    world.restart();
    let shown = world.lucid(["task", "kept", "--json"]).expect(0).json();
    assert_eq!(shown["task"]["paused"]["reason"], "upgrade", "{shown}");
    world.until("skipped rows", || {
        (world.rows("kept").iter().filter(|row| row.reason.as_deref() == Some("paused")).count() >= 2)
            .then_some(())
    });
    world.until("the short pause ends", || world.rows("short").into_iter().find(|row| row.state == "ok"));
    // The first daemon was up for a moment before the pause.
    let since = world
        .rows("kept")
        .iter()
        .filter(|row| row.reason.as_deref() == Some("paused"))
        .map(|row| row.id)
        .min();
    assert!(world.rows("kept").iter().all(|row| Some(row.id) < since || row.state != "ok"));
    world.lucid(["run", "kept"]).expect(5);
    world.lucid(["run", "kept", "--force", "--wait"]).expect(0);
    world.lucid(["resume", "kept"]).expect(0);
    world.until("a scheduled run", || {
        world.rows("kept").into_iter().find(|row| row.state == "ok" && row.trigger == "schedule")
    });
    world.lucid(["pause", "--all", "--reason", "all"]).expect(0);
    let paused_ms = now_ms();
    std::thread::sleep(Duration::from_millis(2_200));
    for task in ["kept", "short"] {
        invariants::nothing_started_since(&world, task, paused_ms);
    }
    world.lucid(["resume", "--all"]).expect(0);
    world.until("a run", || {
        world.rows("short").into_iter().find(|row| row.claimed_ms > paused_ms && row.state == "ok")
    });
    for task in ["kept", "short"] {
        invariants::each_instant_has_one_row(&world, task, 1_000);
    }
}

#[test]
fn a_drained_daemon_starts_nothing_new_until_it_is_undrained() {
    let mut world = World::with("scheduler: {max_parallel_runs: 1}");
    world.task("live", "command: while [ ! -e go ]; do sleep 0.05; done");
    world.task("waits", "command: echo in");
    world.task("tick", "schedule: every 1s\ncommand: 'true'\nenabled: false");
    world.serve();
    let live = world.start("live");
    world.until_state(live, "running");
    let waits = world.start("waits");
    world.lucid(["drain"]).expect(0);
    let drained_ms = now_ms();
    world.lucid(["enable", "tick"]).expect(0);
    world.lucid(["run", "tick"]).expect(5);
    world.until("a skipped row", || {
        world.rows("tick").into_iter().find(|row| row.reason.as_deref() == Some("draining"))
    });
    assert_eq!(world.row(live).unwrap().state, "running");
    world.write("go", "");
    assert_eq!(world.ended(live).state, "ok");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(world.row(waits).unwrap().state, "claimed", "one that waited does not start either");
    invariants::nothing_started_since(&world, "tick", drained_ms);
    world.lucid(["undrain"]).expect(0);
    assert_eq!(world.ended(waits).state, "ok");
    world.until("a run", || world.rows("tick").into_iter().find(|row| row.state == "ok"));
}
