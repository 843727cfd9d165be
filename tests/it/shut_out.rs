//! A chat that lets nothing through: what is said elsewhere meanwhile, and what is told once it is open again.

use serde_json::Value;

use crate::fake_telegram::{FakeTelegram, Mode};
use crate::telegram::{alerts, set, task, until_quiet, until_seen, visible, world};

#[test]
fn a_bot_that_is_shut_out_says_so_everywhere_else_and_comes_back() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "flaky", "");
    set(&world, "broken\n", 1);
    fake.set(Mode::Blocked);
    world.serve();
    world.run("flaky");
    let problems = world.until("the problem is told", || {
        let told = world.lucid(["problems"]).expect(0).stdout;
        told.contains("alerts do not get through").then_some(told)
    });
    assert!(problems.contains("bot was blocked by the user") && problems.contains("lucid telegram test"));
    let told = alerts(&world);
    assert_eq!(told[0]["deliveries"][0]["state"], "dead");
    world.lucid(["telegram", "test"]).expect(1);
    fake.set(Mode::Ok);
    let tested = world.lucid(["telegram", "test"]).expect(0);
    assert!(tested.stdout.starts_with("delivered, message "), "{tested:?}");
    let told = world.lucid(["problems"]).expect(0).stdout;
    assert!(!told.contains("do not get through"), "{told}");
    // It still goes on, and nobody has heard of it: now somebody does, once.
    until_seen(&world, &fake, "flaky failed");
    until_quiet(&world);
    assert!(!world.lucid(["problems"]).expect(0).stdout.contains("could not be delivered"));
    world.run("flaky");
    until_quiet(&world);
    assert_eq!(fake.with("flaky failed").len(), 1, "{:#?}", visible(&fake));
    let told = alerts(&world);
    let states: Vec<&Value> = (0..2).map(|n| &told[0]["deliveries"][n]["state"]).collect();
    assert_eq!(states, ["dead", "delivered"], "{told:?}");
}

#[test]
fn a_way_that_only_seems_mended_costs_no_second_message() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.task("flaky", "schedule: manual\ncommand: exit 1");
    fake.set(Mode::Muted);
    world.serve();
    world.run("flaky");
    world.until("it is given up", || {
        (alerts(&world).first()?["deliveries"][0]["state"] == "dead").then_some(())
    });
    let sends = || fake.calls_of("sendMessage").len();
    world.until("its successor is refused", || (sends() == 2).then_some(()));
    world
        .until("it waits", || (alerts(&world).first()?["deliveries"][1]["state"] == "pending").then_some(()));
}

#[test]
fn a_message_that_gets_no_number_is_repeated_once() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    task(&world, "flaky", "");
    set(&world, "broken\n", 1);
    fake.set(Mode::Unnamed);
    world.serve();
    world.run("flaky");
    world.until("it is given up", || {
        (alerts(&world).first()?["deliveries"][0]["state"] == "dead").then_some(())
    });
    let told = visible(&fake);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(!told[0].contains("may be a repeat") && told[1].contains("(may be a repeat)"), "{told:#?}");
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(problems.contains("told no number; it may have arrived"), "{problems}");
}
