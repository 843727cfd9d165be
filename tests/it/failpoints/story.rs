//! One busy day that passes every failpoint: tasks of all kinds, tickets in slots, people on a phone, backups, a
//! daemon that is killed, slots that somebody spoils, and in the end a database that is broken.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::stage::Stage;
use super::verdict;
use crate::fake_telegram::CHAT;
use crate::invariants::{self, Limits};
use crate::storm::PRELUDE;
use crate::workers::git;
use crate::world::World;

/// On the list of the fake Telegram's settings.
pub const OWNER: i64 = 7;
/// Between two looks at whether a task that is off stays off: two of its instants.
const OFF: Duration = Duration::from_millis(2_200);
/// Ways in which a worker leaves its slot.
const MODES: [&str; 5] = ["commit", "dirty_tree", "leave_rebase", "leave_index_lock", "needs_input"];

pub struct Kind {
    pub id: &'static str,
    front: &'static str,
    script: &'static str,
    pub limits: Limits,
}

const fn limits(every_s: i64, timeout_ms: i64) -> Limits {
    let every_ms = if every_s == 0 { None } else { Some(every_s * 1_000) };
    Limits { every_ms, timeout_ms, grace_ms: 1_000 }
}

pub const KINDS: [Kind; 9] = [
    Kind { id: "quick", front: "schedule: every 1s", script: ":", limits: limits(1, 20_000) },
    Kind { id: "switched", front: "schedule: every 1s", script: ":", limits: limits(1, 20_000) },
    Kind {
        id: "queued",
        front: "schedule: every 2s\noverlap: queue",
        script: "sleep 1.3",
        limits: limits(2, 20_000),
    },
    Kind {
        id: "stubborn",
        front: "schedule: every 4s\ntimeout: 1s",
        script: "trap '' TERM; sleep 30 & sleep 30; sleep 30",
        limits: limits(4, 1_000),
    },
    Kind {
        id: "locked",
        front: "schedule: every 3s\nlock: [shared]",
        script: "sleep 2.2",
        limits: limits(3, 20_000),
    },
    Kind {
        id: "locked-out",
        front: "schedule: every 1s\nlock: [shared]",
        script: ":",
        limits: limits(1, 20_000),
    },
    Kind {
        id: "failing",
        front: "schedule: manual\nretries: {max: 2, delay: 1s}",
        script: "exit 3",
        limits: limits(0, 20_000),
    },
    Kind { id: "long", front: "schedule: manual", script: "sleep 3", limits: limits(0, 20_000) },
    Kind { id: "endless", front: "schedule: manual", script: "sleep 60", limits: limits(0, 20_000) },
];

pub fn write_task(world: &World, kind: &Kind, enabled: &str) {
    let (front, script) = (kind.front, kind.script);
    let end = "  echo $LUCID_RUN_ID >> ends";
    world.task(kind.id, &format!("{front}\n{enabled}\ncommand: |\n{PRELUDE}  {script}\n{end}"));
}

/// Tasks that dispatch starts, in a slot and with an agent, and the milliseconds between their instants.
pub const DISPATCHED: [(&str, i64); 2] = [("slotted", 3_000), ("thinker", 4_000)];

fn write_dispatched(world: &World) {
    let slotted = "schedule: every 3s\npool: main\ntimeout: 1m\nworktree: {claim_wait: 1s}\ncommand: ls";
    world.task("slotted", slotted);
    let thinker = "---\nschedule: every 4s\nagent: fake\ntimeout: 1m\n---\nFAKE_MODE=ok\n";
    world.write("tasks/thinker.md", thinker);
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    i64::try_from(now.as_millis()).expect("a time")
}

/// The day from its beginning to its verdict.
pub fn live(stage: &mut Stage) {
    for kind in &KINDS {
        write_task(&stage.world, kind, "enabled: true");
    }
    stage.world.task("ticket-pickup", "action: ticket-pickup\nschedule: every 10s");
    stage.world.task("db-backup", "action: db-backup\nschedule: manual");
    write_dispatched(&stage.world);
    stage.keep_up();
    let mut tickets: Vec<String> = MODES.iter().map(|mode| ticket(stage, mode)).collect();
    fail_and_talk(stage);
    stop_one(stage);
    let off = switch(stage);
    backup(stage);
    adopt(stage);
    tickets.extend(talk_to_worker(stage));
    for id in &tickets {
        until_reviewed(stage, id);
    }
    leave_slots(stage);
    spoil_slots(stage);
    rest(stage);
    verdict::check(stage, off);
    break_database(stage);
    stage.keep_up();
    invariants::database_is_sound(&stage.world);
}

pub fn ticket(stage: &mut Stage, mode: &str) -> String {
    let body = format!("FAKE_MODE={mode}");
    stage.world.write("body.txt", &body);
    let made = stage.insist(&["ticket", "new", "--title", mode, "--body-file", "body.txt", "--json"]);
    made.json()["ticket"]["id"].as_str().expect("an id").to_owned()
}

/// A failure reaches the phone, where it is acknowledged, and a question is answered.
fn fail_and_talk(stage: &mut Stage) {
    stage.insist(&["run", "failing"]);
    // By itself or in a fold with others: its alert is there, and the chat has heard of it.
    let alert = stage.until("an alert", |stage| {
        let open =
            "SELECT coalesce(max(id), 0) FROM alerts WHERE subject LIKE '%failing' AND state = 'firing'";
        Some(stage.world.number(open)).filter(|id| *id > 0)
    });
    let told = stage.until("something in the chat", |stage| stage.fake.chat().pop());
    stage.fake.presses(OWNER, CHAT, told.id, &format!("a:ack:{alert}"));
    stage.until("it is acknowledged", |stage| {
        let acked = "SELECT count(*) FROM alerts WHERE actor LIKE '%telegram:7%'";
        (stage.world.number(acked) > 0).then_some(())
    });
    let asked = stage.fake.writes(OWNER, CHAT, "/status", None);
    stage.until("the bot answers", |stage| stage.fake.chat().into_iter().find(|m| m.reply_to == Some(asked)));
}

/// Starts `task` until a run of it is under way: one that could not be started has failed.
fn under_way(stage: &mut Stage, task: &str) -> i64 {
    loop {
        let run = stage.insist(&["run", task, "--json"]).json()["run"]["id"].as_i64().expect("a number");
        let row = stage.until("it has started or ended", |stage| {
            stage.world.row(run).filter(|row| row.started_ms.is_some() || !row.is_live())
        });
        if row.is_live() {
            return run;
        }
    }
}

fn stop_one(stage: &mut Stage) {
    let run = under_way(stage, "endless");
    stage.world.lucid(["kill", &run.to_string()]);
    stage.until("it is over", |stage| {
        stage.world.rows("endless").iter().all(|row| !row.is_live()).then_some(())
    });
}

/// Off for a while, then on again; gives the time between.
fn switch(stage: &mut Stage) -> (i64, i64) {
    stage.insist(&["disable", "switched"]);
    let off_ms = now_ms();
    std::thread::sleep(OFF);
    let on_ms = now_ms();
    stage.insist(&["enable", "switched"]);
    (off_ms, on_ms)
}

fn backup(stage: &mut Stage) {
    stage.insist(&["run", "db-backup"]);
    let mut seen = 0;
    loop {
        let row = stage.until("the backup ends", |stage| {
            stage.world.rows("db-backup").into_iter().find(|row| row.id > seen && !row.is_live())
        });
        if row.state == "ok" {
            return;
        }
        seen = row.id;
        stage.insist(&["run", "db-backup"]);
    }
}

/// A daemon that is killed under a run.
fn adopt(stage: &mut Stage) {
    under_way(stage, "long");
    stage.world.kill_daemon();
    stage.keep_up();
}

/// A message reaches a worker at work: not the first one, if that dies on the way.
fn talk_to_worker(stage: &mut Stage) -> Vec<String> {
    let mut tickets = Vec::new();
    while !stage.has_passed("message.appended") {
        let id = ticket(stage, "slow");
        let began = format!(
            "SELECT count(*) FROM ticket_events WHERE ticket = {} AND data LIKE '%step %'",
            id.trim_start_matches("MC-")
        );
        stage.until("a worker at work", |stage| (stage.world.number(&began) > 0).then_some(()));
        stage.insist(&["reply", &id, "hello there"]);
        stage.until("it is read or comes too late", |stage| {
            let waits = "SELECT count(*) FROM messages WHERE state IN ('received', 'queued', 'claimed')";
            let is_over = show(stage, &id).is_some_and(|ticket| ticket["state"] == "review");
            (is_over || stage.world.number(waits) == 0).then_some(())
        });
        tickets.push(id);
    }
    tickets
}

fn show(stage: &Stage, id: &str) -> Option<Value> {
    let shown = stage.world.lucid(["ticket", "show", id, "--json"]);
    (shown.code == 0).then(|| shown.json()["ticket"].clone())
}

/// Answers what is asked, and takes up what was given up, until the work is there.
pub fn until_reviewed(stage: &mut Stage, id: &str) {
    loop {
        let state = stage.until(&format!("{id} comes to something"), |stage| {
            let state = show(stage, id)?["state"].as_str()?.to_owned();
            matches!(state.as_str(), "review" | "needs_input").then_some(state)
        });
        if state == "review" {
            return;
        }
        stage.insist(&["reply", id, "blue"]);
        stage.until(&format!("{id} goes on"), |stage| {
            (show(stage, id)?["state"] != "needs_input").then_some(())
        });
    }
}

/// No run of a task has a slot or gets one any more.
fn leave_slots(stage: &mut Stage) {
    let (slotted, every_ms) = DISPATCHED[0];
    invariants::each_instant_has_one_row(&stage.world, slotted, every_ms);
    stage.insist(&["disable", slotted]);
    stage.until("its runs are over", |stage| {
        stage.world.rows(slotted).iter().all(|row| !row.is_live() && row.state != "not_started").then_some(())
    });
}

/// A slot that is no worktree any more, one without its index, and one with a repository within.
fn spoil_slots(stage: &mut Stage) {
    verdict::slots_are_whole(stage);
    let slots = stage.world.state("pools/main");
    fs::rename(slots.join("main-2"), stage.world.path("gone")).expect("a rename");
    fs::write(slots.join("main-2"), "keep this").expect("a file");
    fs::write(stage.world.path("repo/.git/worktrees/main-1/index"), "no index").expect("a file");
    fs::create_dir(slots.join("main-0/within")).expect("a folder");
    git(&slots.join("main-0/within"), &["init", "-q"]);
    fs::write(slots.join("main-0/within/file"), "within").expect("a file");
    stage.insist(&["pool", "heal"]);
    verdict::slots_are_whole(stage);
}

/// Everything that is due by itself is switched off, and what goes on comes to its end.
fn rest(stage: &mut Stage) {
    verdict::ledger_is_whole(stage);
    for kind in &KINDS {
        write_task(&stage.world, kind, "enabled: false");
    }
    stage.insist(&["reload"]);
    stage.insist(&["disable", "thinker"]);
    stage.insist(&["disable", "ticket-pickup"]);
    // What never started for a ticket was dispatched anew, in another row.
    let at_rest = "SELECT count(*) FROM runs WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed') \
                   OR retry_ms IS NOT NULL OR (state = 'not_started' AND ticket IS NULL)";
    stage.until("a world at rest", |stage| (stage.world.number(at_rest) == 0).then_some(()));
}

/// Nothing is left to read of the database; the newest backup takes its place.
fn break_database(stage: &mut Stage) {
    stage.world.kill_daemon();
    fs::write(stage.world.state("lucid.db"), vec![b'x'; 8_192]).expect("a broken database");
    stage.keep_up();
    let state = fs::read_dir(stage.world.state("")).expect("a folder").flatten();
    let is_kept =
        state.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("lucid.db.broken-"));
    assert!(is_kept, "the broken one is set aside\n{}", stage.tale());
    let told = stage.world.number("SELECT count(*) FROM events WHERE kind = 'database_restored'");
    assert_eq!(told, 1, "that it is a backup is recorded once\n{}", stage.tale());
}
