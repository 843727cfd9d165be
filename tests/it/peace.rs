//! Who wants peace from what: mutes, what they do not reach, and what people are called in the chat.

use crate::fake_telegram::{CHAT, FakeTelegram, Mode, Seen, TOKEN};
use crate::world::World;

/// On the list of [`FakeTelegram::settings`].
const OWNER: i64 = 7;

fn world(fake: &FakeTelegram) -> World {
    let world = World::with(&fake.settings());
    world.write("token", format!("{TOKEN}\n"));
    world
}

fn broken(world: &World, id: &str, severity: &str) {
    world.task(id, &format!("schedule: manual\ncommand: exit 1\nalerts: {{severity: {severity}}}"));
}

#[track_caller]
fn until_seen(world: &World, fake: &FakeTelegram, words: &str) -> Seen {
    world.until(&format!("`{words}` is in the chat"), || fake.with(words).into_iter().next())
}

#[test]
fn a_mute_reaches_what_people_know_and_not_what_is_graver() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    broken(&world, "known", "warning");
    broken(&world, "unknown", "warning");
    world.serve();
    world.run("known");
    let known = until_seen(&world, &fake, "known failed");
    fake.set(Mode::Busy(2));
    world.run("unknown");
    world
        .until("nobody has heard of it", || fake.calls().iter().any(|call| call.status == 429).then_some(()));
    fake.writes(OWNER, CHAT, "/mute 2h", None);
    world.until("one is muted", || {
        let page = world.lucid(["alerts", "--json"]).expect(0).json();
        (page["mutes"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    fake.set(Mode::Ok);
    let answer = until_seen(&world, &fake, "🔕 ");
    assert!(answer.visible.starts_with("🔕 known muted until "), "{answer:?}");
    let other = until_seen(&world, &fake, "unknown failed");
    fake.presses(OWNER, CHAT, other.id, "a:ack:2");
    until_seen(&world, &fake, "Acknowledged by Somebody.");
    let page = world.lucid(["alerts", "--json"]).expect(0).json();
    assert_eq!(page["alerts"][0]["actor"], "Somebody (telegram:7)", "{page}");
    // It gets worse: that was not what somebody wanted peace from.
    broken(&world, "known", "critical");
    world.lucid(["reload"]).expect(0);
    world.run("known");
    let worse = until_seen(&world, &fake, "Now critical: known failed");
    assert!(worse.id != known.id && !worse.silent, "{worse:?}");
    let page = world.lucid(["alerts", "--state", "muted", "--json"]).expect(0).json();
    assert_eq!(
        (page["alerts"].as_array().map(Vec::len), page["mutes"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
}

#[test]
fn a_bot_that_got_another_name_answers_to_it() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    fake.writes(OWNER, CHAT, "/help@box_bot", None);
    let first = until_seen(&world, &fake, "its worker gets it");
    fake.rename("other_bot");
    fake.set(Mode::Gateway);
    let failed = || fake.calls_of("getUpdates").iter().any(|call| call.status == 502);
    world.until("something in between answers", || failed().then_some(()));
    fake.set(Mode::Ok);
    fake.writes(OWNER, CHAT, "/help@box_bot", None);
    fake.writes(OWNER, CHAT, "/help@other_bot", None);
    fake.writes(OWNER, CHAT, "/tasks", None);
    world.until("the last is answered", || {
        (fake.chat().iter().filter(|seen| seen.id > first.id).count() >= 2).then_some(())
    });
    assert_eq!(fake.with("its worker gets it").len(), 2, "{:#?}", fake.chat());
}

#[test]
fn an_answer_that_arrives_opens_the_way_again() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    broken(&world, "flaky", "warning");
    world.serve();
    // Who is shut out from the start hears nobody.
    fake.writes(OWNER, CHAT, "/help", None);
    until_seen(&world, &fake, "its worker gets it");
    fake.set(Mode::Blocked);
    world.run("flaky");
    world.until("the way is shut", || {
        let told = world.lucid(["problems"]).expect(0).stdout;
        told.contains("alerts do not get through").then_some(())
    });
    fake.set(Mode::Ok);
    fake.writes(OWNER, CHAT, "/status", None);
    until_seen(&world, &fake, "flaky failed");
    let told = world.lucid(["problems"]).expect(0).stdout;
    assert!(!told.contains("do not get through"), "{told}");
}

#[test]
fn output_that_met_a_shut_way_arrives_when_it_is_open_again() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.task("brief", "schedule: manual\ncommand: echo the plan of the day\ndeliver: telegram");
    fake.set(Mode::Blocked);
    world.serve();
    world.run("brief");
    let problem = |world: &World, words: &str| {
        let told = world.lucid(["problems"]).expect(0).stdout;
        told.contains(words).then_some(told)
    };
    world.until("the problem is told", || problem(&world, "alerts do not get through"));
    fake.set(Mode::Ok);
    world.lucid(["telegram", "test"]).expect(0);
    until_seen(&world, &fake, "the plan of the day");
    assert_eq!(problem(&world, "could not be delivered"), None);
    // What is refused for its own sake is shown, with the way to what was lost.
    fake.set(Mode::Unnamed);
    world.run("brief");
    let told = world.until("what was lost is told", || problem(&world, "the output of run #2 could not be"));
    assert!(told.contains("lucid logs 2"), "{told}");
}
