//! What must hold after a day of failures, read from the database, /proc, git and the fake Telegram.

use std::collections::BTreeSet;

use super::stage::Stage;
use super::story::{DISPATCHED, KINDS};
use crate::invariants;
use crate::storm::starts_and_rows_agree;
use crate::workers::git;

/// Every invariant, on a world at rest.
#[track_caller]
pub fn check(stage: &mut Stage, (off_ms, on_ms): (i64, i64)) {
    sound(stage);
    let world = &stage.world;
    assert_eq!(world.read("violations"), "", "two at once\n{}", stage.tale());
    for kind in &KINDS {
        invariants::no_run_outlived_its_limits(world, kind.id, kind.limits);
    }
    let late = world
        .rows("switched")
        .into_iter()
        .find(|row| row.claimed_ms >= off_ms && row.claimed_ms < on_ms && row.started_ms.is_some());
    assert_eq!(late, None, "started although disabled at {off_ms}\n{}", stage.tale());
    // What has no script of ours writes no word of its own.
    let ours = "ticket IS NULL AND task NOT IN ('ticket-pickup', 'db-backup', 'slotted', 'thinker')";
    starts_and_rows_agree(world, &world.rows_where(ours));
    leftovers_are_kept(stage);
}

/// Every due instant so far has one row. For tasks that are on: one that is switched off in the very moment it is due
/// has no such instant.
#[track_caller]
pub fn ledger_is_whole(stage: &Stage) {
    for kind in KINDS.iter().filter(|kind| kind.id != "switched") {
        if let Some(every_ms) = kind.limits.every_ms {
            invariants::each_instant_has_one_row(&stage.world, kind.id, every_ms);
        }
    }
    let (thinker, every_ms) = DISPATCHED[1];
    invariants::each_instant_has_one_row(&stage.world, thinker, every_ms);
}

/// What must hold whatever the day has brought.
#[track_caller]
pub fn sound(stage: &mut Stage) {
    alerts_arrived(stage);
    // Git is asked by the daemon itself: for slots that are given back, and for those that nobody has.
    stage.until("git has ended", |stage| {
        let busy = "SELECT count(*) FROM slots WHERE state NOT IN ('free', 'quarantined')";
        let is_quiet = || stage.world.of_runs().iter().all(|process| !process.command.starts_with("git "));
        (stage.world.number(busy) == 0 && is_quiet()).then_some(())
    });
    let world = &stage.world;
    invariants::processes_and_rows_agree(world);
    invariants::ended_runs_hold_nothing(world);
    invariants::database_is_sound(world);
    world.until("no process is left", || world.of_runs().is_empty().then_some(()));
    world.until("no keeper is left", || world.keepers().is_empty().then_some(()));
    tickets_had_one_worker_at_a_time(stage);
    commits_are_there(stage);
    let log = stage.world.read("daemon.log");
    let panic = log.lines().find(|line| line.contains("panicked at"));
    assert_eq!(panic, None, "\n{}", stage.tale());
}

/// Every slot is free, clean, detached at the base, and free of drift.
#[track_caller]
pub fn slots_are_whole(stage: &mut Stage) {
    stage.until("every slot is whole", |stage| {
        let pool = stage.world.lucid(["pool", "--json"]);
        if pool.code != 0 {
            return None;
        }
        let pool = pool.json();
        let slots = pool["pools"][0]["slots"].as_array().expect("slots").clone();
        let is_whole = |slot: &serde_json::Value| {
            slot["state"] == "free"
                && slot["branch"].is_null()
                && slot["drift"].as_array().is_some_and(Vec::is_empty)
                && (slot["head"].is_null() || slot["dirty"] == 0)
        };
        if slots.iter().all(is_whole) {
            return Some(());
        }
        // What could not be mended is tried again every ten minutes: a person need not wait so long.
        stage.world.lucid(["pool", "heal"]);
        None
    });
}

/// Each message came through or is given up, and what may be there twice says so.
#[track_caller]
fn alerts_arrived(stage: &mut Stage) {
    stage.until("nothing is left to send", |stage| {
        let waiting = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')";
        (stage.world.number(waiting) == 0).then_some(())
    });
    let sent = "SELECT message FROM outbox WHERE state = 'delivered' AND purpose <> 'edit'";
    let connection = stage.world.database();
    let mut statement = connection.prepare(sent).expect("SQL");
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).expect("rows");
    let known: BTreeSet<i64> = rows.collect::<Result<_, _>>().expect("rows");
    let chat: BTreeSet<i64> = stage.fake.chat().iter().map(|message| message.id).collect();
    let lost: Vec<&i64> = known.difference(&chat).collect();
    assert!(lost.is_empty(), "told as delivered and not in the chat: {lost:?}\n{}", stage.tale());
    // What the chat has beside them is an answer of the bot, or one of a pair of which one says that it may be.
    let ours = stage.fake.chat().into_iter().filter(|message| message.reply_to.is_none());
    let stray = ours.filter(|message| !known.contains(&message.id)).count();
    // The mark goes with the next change of the message.
    let calls = stage.fake.calls_of("sendMessage");
    let says_so =
        |text: &serde_json::Value| text.as_str().is_some_and(|text| text.contains("(may be a repeat)"));
    let marked = calls.iter().filter(|call| says_so(&call.body["text"])).count();
    assert!(stray <= marked, "{stray} messages nobody knows of, {marked} repeats\n{:#?}", stage.fake.chat());
}

#[track_caller]
fn tickets_had_one_worker_at_a_time(stage: &Stage) {
    let doubled = stage.world.number(
        "SELECT count(*) FROM runs a JOIN runs b ON a.ticket = b.ticket AND a.id < b.id \
         AND b.started_ms < a.ended_ms AND a.started_ms < b.ended_ms",
    );
    assert_eq!(doubled, 0, "two workers on one ticket\n{}", stage.tale());
    let open = stage.world.number("SELECT count(*) FROM workers WHERE verdict IS NULL");
    assert_eq!(open, 0, "a worker without an end\n{}", stage.tale());
    let in_hand = texts(
        stage,
        "SELECT 'message ' || m.id || ' of ticket ' || m.ticket || ' ' || m.state || ' in the hand of fence ' \
         || coalesce(m.fence, 0) || ', tries ' || m.attempts || ', error ' || coalesce(m.error, '') || ', attempts ' || coalesce((SELECT group_concat(a.fence || ' ' || a.outcome) \
         FROM attempts a WHERE a.ticket = m.ticket), '') FROM messages m \
         WHERE m.state IN ('received', 'claimed', 'delivered', 'failed')",
    );
    assert!(in_hand.is_empty(), "{in_hand:?}\n{}", stage.tale());
    let twice = stage.world.number(
        "SELECT count(*) FROM (SELECT 1 FROM ticket_events WHERE type = 'assistant' \
         AND data LIKE '%step %' GROUP BY run, data HAVING count(*) > 1)",
    );
    assert_eq!(twice, 0, "a line taken in twice\n{}", stage.tale());
}

fn texts(stage: &Stage, sql: &str) -> Vec<String> {
    let connection = stage.world.database();
    let mut statement = connection.prepare(sql).expect("SQL");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// What lay where a slot should be is set aside as it was.
fn aside(stage: &Stage) -> bool {
    let aside = stage.world.state("pools/main/.aside");
    let files = std::fs::read_dir(aside).into_iter().flatten().flatten();
    files.into_iter().any(|file| std::fs::read(file.path()).is_ok_and(|text| text == b"keep this"))
}

/// A slot that could not be rescued from is set aside whole, the file in it.
fn is_aside(stage: &Stage, file: &str) -> bool {
    let aside = std::fs::read_dir(stage.world.state("pools/main/.aside"));
    aside.into_iter().flatten().flatten().any(|folder| folder.path().join(file).is_file())
}

/// What a worker reported as its commit is there.
#[track_caller]
fn commits_are_there(stage: &Stage) {
    let repo = stage.world.path("repo");
    let connection = stage.world.database();
    let mut statement =
        connection.prepare("SELECT commit_id FROM tickets WHERE commit_id IS NOT NULL").expect("SQL");
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    let commits: Vec<String> = rows.collect::<Result<_, _>>().expect("rows");
    assert!(!commits.is_empty(), "somebody has committed\n{}", stage.tale());
    for commit in commits {
        let refs = git(&repo, &["for-each-ref", "--contains", &commit, "--format=%(refname)"]);
        assert!(!refs.is_empty(), "{commit} is in no ref\n{}", stage.tale());
    }
}

/// What was left lying in a slot is in a rescue ref, or set aside.
#[track_caller]
fn leftovers_are_kept(stage: &Stage) {
    let repo = stage.world.path("repo");
    assert!(aside(stage), "what lay at a slot's place is gone\n{}", stage.tale());
    let rescued = git(&repo, &["for-each-ref", "--format=%(refname)", "refs/lucid/rescue/"]);
    let holds = |name: &str, file: &str| git(&repo, &["ls-tree", "-r", "--name-only", name]).contains(file);
    for file in ["fake-untracked.txt", "fake-staged.txt", "within/file"] {
        let is_kept = rescued.lines().any(|name| holds(name, file)) || is_aside(stage, file);
        assert!(is_kept, "{file} is lost: {rescued}\n{}", stage.tale());
    }
}
