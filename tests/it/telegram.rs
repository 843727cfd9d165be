//! What reaches a phone: the daemon against a Telegram of our own, on good days and on bad ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::fake_telegram::{CHAT, FakeTelegram, Mode, Seen, TOKEN};
use crate::world::World;

/// A world whose alerts go to `fake`, without a daemon yet.
pub fn world(fake: &FakeTelegram) -> World {
    let world = World::with(&fake.settings());
    world.write("token", format!("{TOKEN}\n"));
    world
}

/// A task that prints a text and ends with the code in the file `code`.
pub fn task(world: &World, id: &str, more: &str) {
    world.task(id, &format!("schedule: manual\ncommand: cat said; exit $(cat code)\nworking_dir: .\n{more}"));
}

pub fn set(world: &World, said: impl AsRef<[u8]>, code: i32) {
    world.write("said", said);
    world.write("code", code.to_string());
}

#[track_caller]
pub fn until_seen(world: &World, fake: &FakeTelegram, words: &str) -> Seen {
    world.until(&format!("`{words}` is in the chat: {:#?}", visible(fake)), || {
        fake.with(words).into_iter().next()
    })
}

pub fn visible(fake: &FakeTelegram) -> Vec<String> {
    fake.chat().into_iter().map(|message| message.visible).collect()
}

pub fn alerts(world: &World) -> Vec<Value> {
    let page = world.lucid(["alerts", "--json"]).expect(0).json();
    page["alerts"].as_array().expect("alerts").clone()
}

/// Nothing is left to send, and the chat has seen `calls` calls that write.
#[track_caller]
pub fn until_quiet(world: &World) {
    world.until("nothing is left to send", || {
        let page = world.lucid(["alerts", "--json"]).expect(0).json();
        (page["pending"] == 0).then_some(())
    });
}

#[test]
fn a_failure_is_one_message_and_its_end_an_answer_to_it() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "flaky", "alerts: {repeat: 6h}");
    set(&world, "one\ntwo\nthree\nfour\nfive\nError: <disk> & more\n", 3);
    world.serve();
    let first = world.run("flaky");
    let message = until_seen(&world, &fake, "flaky failed · exit 3");
    assert!(message.visible.contains("Error: <disk> & more") && !message.visible.contains("one"));
    assert!(message.visible.contains(&format!("#{}", first.id)) && message.visible.contains("1st failure"));
    let pressed: Vec<&str> = message.buttons.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(pressed, ["Retry", "Log", "Mute 1h", "Ack"]);
    assert!(!message.silent && message.reply_to.is_none());
    world.run("flaky");
    let again = world.until("the message counts", || {
        fake.with("2nd failure in a row").into_iter().next().filter(|seen| seen.edits > 0)
    });
    assert_eq!(again.id, message.id, "no second message");
    set(&world, "fine\n", 0);
    world.run("flaky");
    let reply = until_seen(&world, &fake, "flaky recovered · down ");
    assert_eq!((reply.reply_to, reply.silent), (Some(message.id), true));
    assert!(reply.visible.contains("2 runs failed") && !reply.visible.contains("healthy"));
    world.until("the first message turns green and loses its buttons", || {
        let seen = fake.chat().into_iter().find(|seen| seen.id == message.id)?;
        (seen.visible.starts_with("🟢") && seen.buttons.is_empty()).then_some(())
    });
    assert_eq!(fake.chat().len(), 2, "{:#?}", visible(&fake));
    let told = alerts(&world);
    assert_eq!((told.len(), told[0]["state"].as_str()), (1, Some("resolved")));
    assert_eq!(told[0]["deliveries"][0]["message_id"], message.id);
}

#[test]
fn what_comes_at_once_is_folded_and_a_person_can_have_peace() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    for n in 0..6 {
        task(&world, &format!("job-{n}"), "");
    }
    set(&world, "No space left on device\n", 1);
    world.serve();
    let runs: Vec<i64> = (0..6).map(|n| world.start(&format!("job-{n}"))).collect();
    runs.iter().for_each(|run| drop(world.ended(*run)));
    let fold = world.until("a fold of six", || fake.with("6 things went wrong").into_iter().next());
    assert!(fold.visible.contains("No space left on device"), "{}", fold.visible);
    until_quiet(&world);
    assert_eq!(fake.chat().len(), 4, "{:#?}", visible(&fake));
    let told = alerts(&world);
    let single = told.iter().find(|alert| alert["kind"] == "task_failed" && alert["folded_into"].is_null());
    let id = single.expect("one that was told by itself")["id"].to_string();
    let acked = world.lucid(["alert", "ack", &id]).expect(0);
    assert!(acked.stdout.contains("is acked"), "{acked:?}");
    until_seen(&world, &fake, "Acknowledged by ");
    world.lucid(["alert", "mute", &id, "--for", "2h"]).expect(0);
    let muted = until_seen(&world, &fake, "Muted until ");
    assert_eq!(muted.buttons.last(), Some(&("Unmute".to_owned(), format!("a:unmute:{id}"))));
    world.restart();
    let page = world.lucid(["alerts", "--state", "muted", "--json"]).expect(0).json();
    assert_eq!(page["alerts"][0]["id"].to_string(), id, "a mute outlives the daemon: {page}");
    assert_eq!(page["mutes"].as_array().map(Vec::len), Some(1));
    world.lucid(["alert", "ack", "9999"]).expect(4);
}

#[test]
fn nothing_is_lost_while_nobody_answers_and_the_gravest_goes_first() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "light", "");
    task(&world, "grave", "alerts: {severity: critical}");
    set(&world, "broken\n", 1);
    fake.go_down();
    world.serve();
    world.run("light");
    world.run("grave");
    world.until("an attempt has failed", || {
        let metrics = world.lucid(["api", "GET", "/metrics"]).expect(0).stdout;
        let failed = metrics
            .lines()
            .find(|line| line.starts_with("lucid_alerts_deliveries_total{result=\"failed\"}"))?;
        (!failed.ends_with(" 0")).then_some(())
    });
    let status = world.lucid(["status", "--json"]).expect(0).json();
    assert_eq!(status["outbox"]["pending"], 2, "{status}");
    world.restart();
    fake.come_up();
    until_seen(&world, &fake, "light failed");
    let order: Vec<String> = visible(&fake);
    assert!(order[0].contains("grave failed"), "{order:#?}");
    until_quiet(&world);
    assert_eq!(fake.chat().len(), 2);
}

#[test]
fn a_daemon_killed_between_sending_and_noting_it_marks_the_repeat() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "flaky", "");
    set(&world, "broken\n", 1);
    fake.set(Mode::Slow(Duration::from_secs(60)));
    world.serve();
    world.run("flaky");
    world.until("the message has been sent", || (!fake.chat().is_empty()).then_some(()));
    world.signal(Signal::KILL);
    world.until_daemon_ends();
    fake.set(Mode::Ok);
    world.serve();
    let repeat = until_seen(&world, &fake, "(may be a repeat)");
    until_quiet(&world);
    assert_eq!(fake.chat().len(), 2, "one in doubt, one repeat: {:#?}", visible(&fake));
    assert!(repeat.visible.contains("flaky failed"));
}

#[test]
fn a_test_against_a_server_that_is_down_says_what_it_does_and_gives_up() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    fake.set(Mode::Gateway);
    let begun = std::time::Instant::now();
    let tested = world.lucid(["telegram", "test"]).expect(1);
    assert!(begun.elapsed().as_secs() < 25, "{:?}", begun.elapsed());
    assert!(
        tested.stderr.contains("sending a message to the chat of the settings; waiting 25 s at most"),
        "{tested:?}"
    );
    assert!(tested.stdout.starts_with("not delivered") && tested.stdout.contains("502"), "{tested:?}");
}

#[test]
fn refused_markup_a_pause_and_another_chat_cost_no_message() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    for id in ["first", "second", "third"] {
        task(&world, id, "");
    }
    set(&world, "<b>broken\n", 1);
    fake.set(Mode::Entities);
    world.serve();
    world.run("first");
    let plain = until_seen(&world, &fake, "first failed");
    assert!(
        plain.text.contains("<b>broken") && !plain.text.contains("&lt;"),
        "as plain text: {}",
        plain.text
    );
    fake.set(Mode::Busy(2));
    world.run("second");
    world.until("it was asked to pause", || fake.calls().iter().any(|call| call.status == 429).then_some(()));
    fake.set(Mode::Ok);
    until_seen(&world, &fake, "second failed");
    let calls = fake.calls();
    let refused = calls.iter().rposition(|call| call.status == 429).expect("a refusal");
    let pause = calls[refused + 1].at - calls[refused].at;
    assert!(pause >= Duration::from_secs(2), "it pauses as long as it is asked to: {pause:?}");
    fake.set(Mode::Moved(-1_001));
    world.run("third");
    let moved = until_seen(&world, &fake, "third failed");
    assert_eq!(moved.chat, -1_001);
}

/// Everything below a folder that is a file.
fn files(folder: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else if path.is_file() {
            // A FIFO would wait for somebody at its other end.
            found.push(fs::read(path).unwrap_or_default());
        }
    }
}

#[test]
fn the_token_is_nowhere_and_hostile_output_stays_text() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.env.push(("LUCID_LOG__LEVEL".to_owned(), "trace".to_owned()));
    task(&world, "hostile", "");
    let said = format!(
        "{}\n\u{1b}[31m</blockquote><script>\u{1b}[0m & \u{202e}{}\nlast <b>line\n",
        "x".repeat(200_000),
        "😀".repeat(3_000)
    );
    set(&world, said, 1);
    fake.set(Mode::ResetAfter);
    world.serve();
    world.run("hostile");
    world.until("the connection broke", || fake.calls_of("sendMessage").first().map(drop));
    fake.go_down();
    world.until("nobody is there", || {
        let page = world.lucid(["alerts", "--json"]).expect(0).json();
        page["alerts"][0]["deliveries"][0]["error"]
            .as_str()
            .filter(|e| e.contains("cannot be reached"))
            .map(drop)
    });
    fake.set(Mode::Ok);
    fake.come_up();
    let message = until_seen(&world, &fake, "(may be a repeat)");
    assert!(message.visible.encode_utf16().count() <= 1_500, "{}", message.visible.len());
    assert!(message.visible.contains("last <b>line") && !message.visible.contains(['\u{1b}', '\u{202e}']));
    let pid = world.daemon_pid();
    let mut everything = vec![fs::read(format!("/proc/{pid}/cmdline")).expect("a command line")];
    for args in
        [vec!["config", "--effective", "--json"], vec!["alerts", "--json"], vec!["problems", "--json"]]
    {
        everything.push(world.lucid(args).stdout.into_bytes());
    }
    everything.push(world.read("daemon.log").into_bytes());
    files(&world.state(""), &mut everything);
    assert!(everything.len() > 8);
    for bytes in &everything {
        assert!(!bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()), "the token is out");
    }
}

#[test]
fn output_is_delivered_and_a_question_has_its_answers_as_buttons() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "brief", "deliver: telegram");
    set(&world, "Two tickets wait <for you>\n", 0);
    world.serve();
    world.run("brief");
    let brief = until_seen(&world, &fake, "Two tickets wait <for you>");
    assert_eq!((brief.visible.as_str(), brief.silent), ("Two tickets wait <for you>", true));
    set(&world, "[SILENT]\n", 0);
    world.run("brief");
    world.lucid(["ticket", "new", "--title", "Rotate <it>", "--json"]).expect(0);
    world
        .lucid(["ticket", "ask", "MC-1", "--need", "A new token", "--why", "It ran out", "--option", "Done"])
        .expect(0);
    let question = until_seen(&world, &fake, "MC-1 needs you");
    assert!(question.visible.contains("Rotate <it>") && question.visible.contains("A new token"));
    assert_eq!(question.buttons[0], ("Done".to_owned(), "t:option:MC-1:0".to_owned()));
    world.lucid(["reply", "MC-1", "here it is"]).expect(0);
    world.until("it asks no more", || {
        let seen = fake.chat().into_iter().find(|seen| seen.id == question.id)?;
        (seen.buttons.is_empty() && seen.visible.starts_with("🟢")).then_some(())
    });
    assert_eq!(fake.chat().len(), 2, "{:#?}", visible(&fake));
    assert!(fake.calls_of("sendMessage").iter().all(|call| call.body["chat_id"] == CHAT));
}

#[test]
fn without_a_token_it_is_written_down_what_would_have_been_sent() {
    let mut world = World::new();
    task(&world, "flaky", "");
    set(&world, "broken\n", 1);
    world.serve();
    world.run("flaky");
    world.until("it is written down", || {
        let told = world.lucid(["alerts"]).expect(0).stdout;
        (told.contains("flaky failed") && told.contains("would have been")).then_some(())
    });
    let test = world.lucid(["telegram", "test"]).expect(5);
    assert!(test.stderr.contains("token"), "{test:?}");
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(!problems.contains("telegram"), "{problems}");
}

#[test]
fn a_dead_daemon_is_told_by_the_heartbeat_itself_once_and_that_it_is_back() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    world.kill_daemon();
    world.lucid(["heartbeat"]).expect(2);
    let told = until_seen(&world, &fake, "does not answer");
    assert!(told.visible.starts_with("🆘 CRITICAL: lucid on ") && !told.silent, "{told:?}");
    world.lucid(["heartbeat"]).expect(2);
    assert_eq!(fake.chat().len(), 1, "not every few minutes");
    world.serve();
    // How well the rest of this machine is is not the story.
    let back = world.lucid(["heartbeat"]);
    assert!(back.code <= 2, "{back:?}");
    until_seen(&world, &fake, "is back");
}
