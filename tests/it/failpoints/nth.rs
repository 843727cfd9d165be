//! The n-th call of a kind fails, for n from 1 until a small piece of work is done without meeting the fault: as
//! SQLite is tested, only with a daemon around it.

use std::time::{Duration, Instant};

use super::stage::{Order, Stage};
use super::story::{OWNER, ticket, until_reviewed};
use super::verdict;
use crate::fake_telegram::CHAT;

/// A point at which all calls of a kind pass.
const KINDS: [&str; 6] =
    ["store.commit.before", "git.call", "run.fork", "telegram.call", "files.replace", "files.sync"];
/// More calls than the piece of work can make.
const CALLS_MAX: u32 = 2_000;

/// A run that fails and is told of, and a ticket from new to its review, until nothing more goes on.
fn work(stage: &mut Stage) {
    stage.insist(&["run", "failing"]);
    let asked = stage.fake.writes(OWNER, CHAT, "/status", None);
    let id = ticket(stage, "commit");
    until_reviewed(stage, &id);
    stage.insist(&["disable", "other"]);
    stage.insist(&["enable", "other"]);
    verdict::slots_are_whole(stage);
    stage.until("the bot answers", |stage| stage.fake.chat().into_iter().find(|m| m.reply_to == Some(asked)));
    stage.until("a world at rest", |stage| {
        let live = "SELECT (SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')) \
                    + (SELECT count(*) FROM workers WHERE verdict IS NULL) \
                    + (SELECT count(*) FROM runs WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed') \
                       OR (state = 'not_started' AND ticket IS NULL))";
        (stage.world.number(live) == 0).then_some(())
    });
}

/// Fails call after call of `kind`, and gives how many there are; `next` says which one follows.
fn fail_each(kind: &str, next: impl Fn(u32) -> u32) -> u32 {
    let mut stage = Stage::new(Vec::new());
    stage.world.task("failing", "schedule: manual\ncommand: exit 3");
    stage.world.task("other", "schedule: manual\ncommand: ':'");
    stage.world.task("ticket-pickup", "action: ticket-pickup\nschedule: manual");
    work(&mut stage);
    let mut visit = 1;
    loop {
        let order = Order { point: kind.to_owned(), action: "error", visit };
        stage.forget(kind);
        stage.arm(&order);
        work(&mut stage);
        if !stage.has_fired(kind) {
            break;
        }
        assert!(visit < CALLS_MAX, "{kind} never comes to an end");
        visit = next(visit);
    }
    stage.disarm(kind);
    verdict::sound(&mut stage);
    visit
}

fn all(next: fn(u32) -> u32) {
    std::thread::scope(|scope| {
        let kinds: Vec<_> =
            KINDS.iter().map(|kind| (kind, scope.spawn(move || fail_each(kind, next)))).collect();
        for (kind, tried) in kinds {
            let calls = tried.join().unwrap_or_else(|_| panic!("see above: {kind}"));
            println!("{kind}: no fault at call {calls}");
            assert!(calls > 1, "{kind} is never called");
        }
    });
}

#[test]
fn a_call_that_fails_costs_a_try_and_no_more() {
    // The first ones, then ever fewer: a whole pass is run by name.
    all(|visit| if visit < 3 { visit + 1 } else { visit * 2 });
}

/// How many steps a slot takes from free over leased to free again.
const SLOT_STEPS: u32 = 4;
/// Longest time that a slot may be nobody's and not free.
const NOBODYS_MAX: Duration = Duration::from_secs(60);

#[test]
fn a_slot_whose_step_the_database_refused_is_soon_free_again() {
    std::thread::scope(|scope| {
        for visit in 1..=SLOT_STEPS {
            scope.spawn(move || {
                let order = Order { point: "pool.step".to_owned(), action: "error", visit };
                let mut stage = Stage::new(Vec::new());
                stage.world.task("ticket-pickup", "action: ticket-pickup\nschedule: manual");
                stage.keep_up();
                stage.arm(&order);
                let id = ticket(&mut stage, "commit");
                stage.until("it is refused", |stage| stage.has_fired("pool.step").then_some(()));
                let began = Instant::now();
                stage.until("every slot is free", |stage| {
                    let taken = "SELECT count(*) FROM slots WHERE state <> 'free'";
                    (stage.world.number(taken) == 0).then_some(())
                });
                assert!(
                    began.elapsed() < NOBODYS_MAX,
                    "step {visit}: {:?}\n{}",
                    began.elapsed(),
                    stage.tale()
                );
                until_reviewed(&mut stage, &id);
                verdict::sound(&mut stage);
            });
        }
    });
}

#[test]
fn a_run_that_found_no_slot_lets_go_of_its_key_whatever_the_database_refused() {
    let order = Order { point: "run.give_up".to_owned(), action: "error", visit: 1 };
    let mut stage = Stage::new(vec![order]);
    let front = "schedule: manual\npool: main\ntimeout: 1m\nworktree: {claim_wait: 500ms}";
    let holders = ["first", "second", "third"];
    for holder in holders {
        stage.world.task(holder, &format!("{front}\ncommand: sleep 20"));
    }
    stage.world.task("late", &format!("{front}\ncommand: ls"));
    for holder in holders {
        stage.insist(&["run", holder]);
    }
    stage.until("every slot is taken", |stage| {
        let leased = "SELECT count(*) FROM slots WHERE state = 'leased'";
        (stage.world.number(leased) == 3).then_some(())
    });
    stage.insist(&["run", "late"]);
    let row = stage
        .until("it is skipped", |stage| stage.world.rows("late").pop().filter(|row| row.state == "skipped"));
    assert_eq!(row.reason.as_deref(), Some("pool_full"));
    assert!(stage.has_fired("run.give_up"));
}

#[test]
fn a_message_that_was_read_is_known_as_read_whatever_note_of_it_the_database_refused() {
    std::thread::scope(|scope| {
        // On the worker's input, and read.
        for visit in 1..=2 {
            scope.spawn(move || {
                let order = Order { point: "message.step".to_owned(), action: "error", visit };
                let mut stage = Stage::new(vec![order]);
                stage.world.task("ticket-pickup", "action: ticket-pickup\nschedule: manual");
                let id = ticket(&mut stage, "slow");
                stage.until("a worker at work", |stage| {
                    let steps = "SELECT count(*) FROM ticket_events WHERE data LIKE '%step %'";
                    (stage.world.number(steps) > 0).then_some(())
                });
                stage.insist(&["reply", &id, "hello there"]);
                until_reviewed(&mut stage, &id);
                assert!(stage.has_fired("message.step"));
                let acked = stage
                    .world
                    .number("SELECT count(*) FROM messages WHERE state = 'acked' AND attempts <= 1");
                assert_eq!(acked, 1, "step {visit}\n{}", stage.tale());
                let heard = "SELECT count(*) FROM ticket_events WHERE data LIKE '%heard: hello there%'";
                assert_eq!(stage.world.number(heard), 1, "it is read once");
            });
        }
    });
}

#[test]
fn an_input_that_a_dying_daemon_did_not_close_is_closed_by_the_next() {
    let order = Order { point: "dispatch.close".to_owned(), action: "abort", visit: 1 };
    let mut stage = Stage::new(vec![order]);
    stage.world.task("ticket-pickup", "action: ticket-pickup\nschedule: manual");
    let id = ticket(&mut stage, "commit");
    until_reviewed(&mut stage, &id);
    assert!(stage.has_fired("dispatch.close"));
    let ended = "SELECT count(*) FROM runs WHERE ticket IS NOT NULL AND state = 'ok' AND stop_reason IS NULL";
    assert_eq!(stage.world.number(ended), 1, "{}", stage.tale());
    verdict::sound(&mut stage);
}

#[test]
#[ignore = "minutes long: run it by name"]
fn whichever_call_fails_it_costs_a_try_and_no_more() {
    all(|visit| visit + 1);
}
