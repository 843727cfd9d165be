//! What reaches a phone of the health of the box: by the daemon while it lives, past it when it is dead.

use std::fs;

use rustix::process::Signal;

use crate::fake_telegram::{FakeTelegram, TOKEN};
use crate::world::World;

fn world(fake: &FakeTelegram, health: &str) -> World {
    let world = World::with(&format!("health: {{{health}}}\n{}", fake.settings()));
    world.write("token", format!("{TOKEN}\n"));
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    fs::create_dir(world.path("state")).expect("a folder");
    world
}

const WELL: &str = "disk_degraded_pct: 0, disk_critical_pct: 0";

#[test]
fn a_dead_daemon_is_told_once_past_it_and_so_is_its_return() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake, WELL);
    fake.go_down();
    let untold = world.lucid(["heartbeat"]).expect(2);
    assert!(untold.stderr.contains("nobody could be told: "), "{untold:?}");
    assert!(!untold.stderr.contains("canary") && !untold.stdout.contains("canary"), "{untold:?}");
    fake.come_up();
    let said = world.lucid(["heartbeat"]).expect(2);
    assert!(said.stdout.contains("told on Telegram, chat 4242: 🆘 CRITICAL: lucid on "), "{said:?}");
    let said = world.lucid(["heartbeat"]).expect(2);
    assert!(!said.stdout.contains("told on"), "{said:?}");
    let told = fake.with("does not answer");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].visible.starts_with("🆘 CRITICAL: lucid on ") && !told[0].silent, "{told:?}");
    world.serve();
    // By the daemon itself, as it starts.
    let back = world.until("it is back", || fake.with(" is back · down ").into_iter().next());
    assert_eq!((back.reply_to, back.silent), (Some(told[0].id), false), "{back:?}");
    for _ in 0..2 {
        world.lucid(["heartbeat"]).expect(0);
    }
    assert_eq!(fake.with(" is back · down ").len(), 1, "{:?}", fake.chat());
    assert_eq!(fake.with("does not answer").len(), 1, "{:?}", fake.chat());
    for file in ["status.json", "heartbeat-alert.json", "logs/heartbeat.log", "logs/daemon.log"] {
        assert!(!world.read(&format!("state/{file}")).contains("canary"), "{file}");
    }
}

#[test]
fn a_dead_daemon_is_told_before_anything_is_looked_at_that_may_hang() {
    let fake = FakeTelegram::start();
    let world = world(&fake, WELL);
    world.configure(&format!(
        "health: {{{WELL}, cli_timeout: 60s}}\nagents:\n  slow: {{command: [/bin/sh, -c, 'sleep 60', sh]}}\n{}",
        fake.settings()
    ));
    let mut beat = world.lucid_command(["heartbeat"]).spawn().expect("lucid starts");
    world.until("it is told", || fake.with("does not answer").into_iter().next());
    assert!(beat.try_wait().expect("a status").is_none(), "it still asks the agent's program");
    beat.kill().expect("it is killed");
    beat.wait().expect("a status");
}

/// `lucid heartbeat` where another place than the state directory is the world's own.
fn beat(world: &World) -> crate::world::Output {
    let scratch = world.path("scratch");
    let output = world.lucid_command(["heartbeat"]).env("XDG_RUNTIME_DIR", scratch).output();
    let output = output.expect("lucid starts");
    crate::world::Output {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_state_directory_that_takes_nothing_keeps_nobody_from_being_told_once() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake, WELL);
    fs::create_dir(world.path("scratch")).expect("a folder");
    // Root writes wherever it likes: what stands in the way is a folder in each file's place.
    let in_the_way = ["status.json", "heartbeat-alert.json", "heartbeat-alert.lock"];
    for file in in_the_way {
        fs::create_dir_all(world.state(file).join("x")).expect("a folder");
    }
    let said = beat(&world).expect(2);
    assert!(said.stdout.contains("told on Telegram, chat 4242: 🆘 CRITICAL: lucid on "), "{said:?}");
    assert!(said.stderr.contains("cannot write ") && !said.stderr.contains("could be told"), "{said:?}");
    assert!(!said.stdout.contains("written to"), "{said:?}");
    for _ in 0..2 {
        let said = beat(&world).expect(2);
        assert!(!said.stdout.contains("told on"), "{said:?}");
    }
    assert_eq!(fake.with("does not answer").len(), 1, "{:?}", fake.chat());
    for file in in_the_way {
        fs::remove_dir_all(world.state(file)).expect("it goes");
    }
    world.env.push(("XDG_RUNTIME_DIR".to_owned(), world.path("scratch").display().to_string()));
    world.serve();
    world.until("it is back", || fake.with(" is back · down ").into_iter().next());
    beat(&world).expect(0);
    assert_eq!(fake.chat().len(), 2, "{:?}", fake.chat());
}

#[test]
fn a_state_directory_that_hangs_keeps_nobody_from_being_told_once() {
    let fake = FakeTelegram::start();
    let world = world(&fake, WELL);
    fs::create_dir(world.path("scratch")).expect("a folder");
    // Nobody ever writes to it: whoever reads waits, as on a disk that is gone.
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR);
    let path = world.state("heartbeat-alert.json");
    rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0).expect("a pipe");
    let said = beat(&world).expect(2);
    assert!(said.stdout.contains("told on Telegram, chat 4242: 🆘 CRITICAL: lucid on "), "{said:?}");
    assert!(said.stderr.contains("it does not answer"), "{said:?}");
    let said = beat(&world).expect(2);
    assert!(!said.stdout.contains("told on"), "{said:?}");
    assert_eq!(fake.with("does not answer").len(), 1, "{:?}", fake.chat());
}

#[test]
fn a_dead_daemon_is_told_whatever_else_the_settings_say() {
    let fake = FakeTelegram::start();
    let world = world(&fake, WELL);
    world.write("state/status.json", "{\"state\": \"healthy\"}");
    world.configure(&format!("nonsense: 1\n{}", fake.settings()));
    for _ in 0..2 {
        let said = world.lucid(["heartbeat"]).expect(2);
        assert!(said.stderr.contains("error: lucid.yaml:5:1: unknown key `nonsense`"), "{said:?}");
    }
    let told = fake.with("does not answer");
    assert_eq!(told.len(), 1, "{:?}", fake.chat());
    assert!(told[0].visible.contains("lucid.yaml:5:1: unknown key `nonsense`"), "{told:?}");
    let status: serde_json::Value = serde_json::from_str(&world.read("state/status.json")).expect("JSON");
    assert_eq!(status["state"], "critical", "{status}");
    assert!(status.to_string().contains("settings:refused"), "{status}");
    let nagios = world.lucid(["health", "--nagios"]).expect(3).stdout;
    assert!(
        nagios.starts_with("LUCID UNKNOWN - lucid.yaml:5:1: ") && nagios.lines().count() == 1,
        "{nagios}"
    );
}

#[test]
fn a_socket_that_somebody_has_removed_is_there_again() {
    let mut world = World::with(&format!("health: {{{WELL}}}"));
    world.task("heartbeat", "action: heartbeat\ntimeout: 2m");
    world.serve();
    for socket in ["lucid.sock", "worker.sock"] {
        fs::remove_file(world.state(socket)).expect("a socket");
    }
    let begun = std::time::Instant::now();
    world.lucid(["heartbeat"]).expect(0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(world.run("heartbeat").state, "ok");
    world.until("both are there", || world.state("worker.sock").exists().then_some(()));
}

#[test]
fn one_that_has_its_state_for_long_and_is_not_heard_is_not_waited_for() {
    let world = World::with(&format!("health: {{{WELL}}}"));
    fs::create_dir(world.path("state")).expect("a folder");
    let lock = fs::File::create(world.state("lock")).expect("a lock");
    lock.lock().expect("nobody has it");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    lock.set_modified(long_ago).expect("a time");
    let begun = std::time::Instant::now();
    world.lucid(["heartbeat"]).expect(2);
    // It would be given a minute if it were starting.
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn a_daemon_that_was_stopped_on_purpose_wakes_nobody() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake, WELL);
    world.serve();
    world.lucid(["stop"]).expect(0);
    world.until_daemon_ends();
    let said = world.lucid(["heartbeat"]).expect(1);
    assert!(said.stdout.contains("the daemon is stopped: on purpose at "), "{said:?}");
    assert!(said.stdout.contains("told on Telegram, chat 4242: ⏸ lucid on "), "{said:?}");
    world.lucid(["heartbeat"]).expect(1);
    let chat = fake.chat();
    assert_eq!(chat.len(), 1, "{chat:?}");
    assert!(chat[0].silent && chat[0].visible.contains(" is stopped\non purpose at "), "{chat:?}");
    assert!(chat[0].visible.contains(", by "), "{chat:?}");
    world.serve();
    let back = world.until("it runs", || fake.with(" runs again · stopped ").into_iter().next());
    assert_eq!((back.reply_to, back.silent), (Some(chat[0].id), true), "{back:?}");
    // What ends without a word is dead all the same, and so is what a restart ended and did not bring back.
    world.signal(Signal::TERM);
    world.until_daemon_ends();
    world.lucid(["heartbeat"]).expect(2);
    assert_eq!(fake.with("CRITICAL").len(), 1, "{:?}", fake.chat());
    world.serve();
    world.until("it is back", || fake.with("is back").into_iter().next());
    world.kill_daemon();
    world.lucid(["heartbeat"]).expect(2);
    assert_eq!(fake.with("CRITICAL").len(), 2, "{:?}", fake.chat());
}

#[test]
fn critical_health_is_a_message_and_its_end_an_answer_to_it() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake, "disk_degraded_pct: 100, disk_critical_pct: 100");
    world.serve();
    // By the timer's way: the daemon lives, so it is the daemon that tells.
    world.lucid(["heartbeat"]).expect(2);
    world.run("heartbeat");
    let seen = world.until("the message", || fake.with("CRITICAL: lucid on ").into_iter().next());
    assert!(seen.visible.contains("critical below 100%") && seen.visible.contains("✓ api"), "{seen:?}");
    world.configure(&format!("health: {{{WELL}}}\n{}", fake.settings()));
    world.restart();
    world.run("heartbeat");
    let answer =
        world.until("its end", || fake.chat().into_iter().find(|message| message.reply_to == Some(seen.id)));
    assert!(answer.visible.contains("healthy"), "{answer:?}");
    assert_eq!(fake.with("CRITICAL: lucid on ").len(), 1, "{:?}", fake.chat());
}
