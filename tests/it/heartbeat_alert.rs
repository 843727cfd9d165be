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
