//! What people write on a phone and who reads it: nothing is lost in silence, what costs money is asked once more,
//! and what cannot be taken is said.

use serde_json::{Value, json};

use crate::bot::{GROUP, OWNER, asks, data, messages, ticket, until_seen, until_toast, world};
use crate::fake_telegram::{CHAT, FakeTelegram, Mode, Seen};
use crate::workers::LONG;
use crate::world::World;

fn comments(world: &World, id: &str) -> String {
    world.lucid(["api", "GET", &format!("/api/v1/tickets/{id}/comments")]).expect(0).stdout
}

/// The message that answers another.
#[track_caller]
fn until_answered(world: &World, fake: &FakeTelegram, original: i64) -> Seen {
    world.until(&format!("message {original} is answered"), || {
        fake.chat().into_iter().find(|seen| seen.reply_to == Some(original))
    })
}

fn reaction_to(fake: &FakeTelegram, message: i64) -> Option<String> {
    let calls = fake.calls_of("setMessageReaction");
    let last = calls.iter().rev().find(|call| call.body["message_id"] == message)?;
    last.body.pointer("/reaction/0/emoji")?.as_str().map(str::to_owned)
}

#[test]
fn a_reply_that_no_worker_reads_is_kept_and_told_at_once() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    let question = asks(&world, &fake);
    world.lucid(["ticket", "move", "MC-1", "review"]).expect(0);
    let written = fake.writes(OWNER, CHAT, "one more thing", Some(question.id));
    let told = until_answered(&world, &fake, written);
    assert!(told.visible.starts_with("📝 MC-1 is review, where no worker is put on it."), "{}", told.visible);
    assert!(told.visible.contains("Your text is a comment on it"), "{}", told.visible);
    assert_eq!(data(&told, "Put a worker on it"), "t:todo:MC-1");
    assert_eq!(messages(&world)[0]["state"], "expired");
    assert!(comments(&world, "MC-1").contains("one more thing"));
    world.until("its reaction says so", || {
        (reaction_to(&fake, written).as_deref() == Some("🤷")).then_some(())
    });
    let by_hand = world.lucid(["reply", "MC-1", "and another"]).expect(0).stdout;
    assert!(
        by_hand.contains("is a comment on it") && by_hand.contains("lucid ticket move MC-1 todo"),
        "{by_hand}"
    );
    assert_eq!(ticket(&world, "MC-1")["state"], "review");
    // In line again it would wait for nobody.
    let refused = world.lucid(["message", "retry", "1"]).expect(5).stderr;
    assert!(refused.contains("no worker is put on it"), "{refused}");
    world.lucid(["ticket", "close", "MC-1", "--reason", "enough"]).expect(0);
    let late = fake.writes(OWNER, CHAT, "too late?", Some(question.id));
    let told = until_answered(&world, &fake, late);
    assert!(told.visible.contains("MC-1 is closed") && !told.buttons.is_empty(), "{}", told.visible);
    assert!(comments(&world, "MC-1").contains("too late?"));
    let refused = world.lucid(["reply", "MC-1", "x"]).expect(5).stderr;
    assert!(refused.contains("lucid ticket move MC-1 todo"), "{refused}");
    // A reply to what was said reaches the same ticket; and nobody was told a second time by an alert.
    fake.presses(OWNER, CHAT, told.id, &data(&told, "Put a worker on it"));
    let sure = until_seen(&world, &fake, "Put a worker on MC-1 again?");
    fake.presses(OWNER, CHAT, sure.id, &data(&sure, "Yes"));
    until_seen(&world, &fake, "MC-1 is todo");
    let on = fake.writes(OWNER, CHAT, "go on", Some(told.id));
    world.until("it is in line", || (messages(&world)[0]["state"] == "queued").then_some(()));
    world.until("its reaction says so", || (reaction_to(&fake, on).as_deref() == Some("👀")).then_some(()));
    assert!(fake.with("Message to MC-1").is_empty(), "{:#?}", fake.with("Message to MC-1"));
}

const LOGIN: &str = "health: {human: keeper, disk_degraded_pct: 0, disk_critical_pct: 0}\n\
    token_checks:\n  mail:\n    command: [/bin/sh, login.sh]\n    portal: https://portal.example/again\n";

#[test]
fn an_answer_about_a_login_has_it_looked_at_and_the_truth_is_told() {
    let fake = FakeTelegram::start();
    let mut world = World::with(&format!("{}{LOGIN}", fake.settings()));
    world.write("token", format!("{}\n", crate::fake_telegram::TOKEN));
    world.task("token-health", "action: token-health\ntimeout: 2m");
    world.write("login.sh", "echo invalid_grant; exit 1\n");
    world.serve();
    world.run("token-health");
    let asked = until_seen(&world, &fake, "MC-1 needs you");
    assert!(asked.buttons.contains(&("Open".to_owned(), "https://portal.example/again".to_owned())));
    assert!(asked.visible.contains("the login is looked at again at once"), "{}", asked.visible);
    assert!(!asked.visible.contains("worker"), "{}", asked.visible);
    assert_eq!(fake.chat().len(), 1, "one trouble is one message: {:#?}", fake.chat());
    // Not true: it asks again, in a message of its own.
    let written = fake.writes(OWNER, CHAT, "done", Some(asked.id));
    let again = until_seen(&world, &fake, "It still does not work");
    assert!(again.id > asked.id && again.visible.contains("🙋 MC-1 needs you"), "{}", again.visible);
    assert_eq!(ticket(&world, "MC-1")["state"], "needs_input");
    world.until("the answer was heeded", || {
        (reaction_to(&fake, written).as_deref() == Some("👍")).then_some(())
    });
    // Nobody can tell.
    world.write("login.sh", "exit 9\n");
    let said = world.lucid(["reply", "MC-1", "done"]).expect(0).stdout;
    assert_eq!(
        said,
        "MC-1 is needs_input: Whether it works again could not be found out: the check failed: exit 9.\n"
    );
    until_seen(&world, &fake, "could not be found out");
    fake.writes(OWNER, CHAT, "/t MC-1", None);
    until_seen(&world, &fake, "Reply to this message to have the login looked at again.");
    // True at last.
    world.write("login.sh", "exit 0\n");
    let newest = fake.with("could not be found out").swap_remove(0);
    fake.writes(OWNER, CHAT, "now it is", Some(newest.id));
    let over = until_seen(&world, &fake, "The login works again.");
    assert!(
        over.visible.starts_with("🟢 MC-1 no longer needs you") && over.reply_to == Some(newest.id),
        "{over:?}"
    );
    assert_eq!(ticket(&world, "MC-1")["state"], "closed");
    assert!(messages(&world).iter().all(|message| message["state"] == "acked"), "{:#?}", messages(&world));
    assert_eq!(world.number("SELECT count(*) FROM runs"), 1, "none of it waited for the task");
}

const AGENT: &str = "agents:\n  fake: {command: [lucid, fake-agent], dialect: plain}\n";

#[test]
fn what_costs_money_is_asked_once_more_and_what_is_over_is_said() {
    let fake = FakeTelegram::start();
    let mut world = World::with(&format!("{}{AGENT}", fake.settings()));
    world.write("token", format!("{}\n", crate::fake_telegram::TOKEN));
    world.task("ticket-pickup", "action: ticket-pickup\nschedule: every 2m");
    world.task("flap", "schedule: manual\ncommand: exit 3");
    world.write("tasks/thinker.md", "---\nschedule: manual\nagent: fake\n---\nThink.\n");
    world.serve();
    fake.writes(OWNER, CHAT, "/run thinker", None);
    let sure = until_seen(&world, &fake, "Run thinker now? It costs money.");
    let count = |table: &str| world.number(&format!("SELECT count(*) FROM {table}"));
    let runs = || world.number("SELECT count(*) FROM runs WHERE task = 'thinker'");
    assert_eq!(runs(), 0);
    let yes = data(&sure, "Yes");
    let query = fake.presses(OWNER, CHAT, sure.id, &yes);
    assert!(until_toast(&world, &fake, &query).contains("is started as"), "{:?}", fake.chat());
    let query = fake.presses(OWNER, CHAT, sure.id, &yes);
    assert_eq!(until_toast(&world, &fake, &query), "This was answered before");
    assert_eq!(runs(), 1);
    fake.writes(OWNER, CHAT, "/new Paint the <shed>\nGreen.", None);
    let sure = until_seen(&world, &fake, "Make a ticket “Paint the <shed>” and put an agent on it?");
    assert_eq!(count("tickets"), 0);
    let yes = data(&sure, "Yes");
    fake.presses(OWNER, CHAT, sure.id, &yes);
    let query = fake.presses(OWNER, CHAT, sure.id, &yes);
    assert_eq!(until_toast(&world, &fake, &query), "This was answered before");
    assert_eq!(count("tickets"), 1, "a yes counts once");
    assert_eq!(ticket(&world, "MC-1")["body"], "Green.");
    fake.writes(OWNER, CHAT, "rather red", Some(sure.id));
    world.until("a reply to what was the question is for the ticket", || {
        comments(&world, "MC-1").contains("rather red").then_some(())
    });
    let row = world.run("flap");
    until_seen(&world, &fake, "flap failed");
    let said = fake.writes(OWNER, CHAT, &format!("/kill {}", row.id), None);
    let told = until_answered(&world, &fake, said);
    assert!(told.visible.contains("has ended: failed") && told.buttons.is_empty(), "{}", told.visible);
    fake.writes(OWNER, CHAT, "/mute flap 1h", None);
    until_seen(&world, &fake, "🔕 flap muted until ");
    world.lucid(["ticket", "ask", "MC-1", "--need", "A brush"]).expect(0);
    until_seen(&world, &fake, "MC-1 needs you");
    fake.writes(OWNER, CHAT, "/mute mc-1 2h", None);
    until_seen(&world, &fake, "🔕 MC-1 muted until ");
}

/// A message of the owner with something in it that is no text.
fn brings(fake: &FakeTelegram, chat: i64, what: &Value) -> i64 {
    let id = 9_000 + i64::try_from(fake.calls().len()).expect("a number");
    let mut message = json!({"message_id": id, "date": 1_795_219_200, "from": {"id": OWNER, "is_bot": false,
        "first_name": "Somebody"}, "chat": {"id": chat, "type": "private", "first_name": "Somebody"}});
    if chat < 0 {
        message["chat"] = json!({"id": chat, "type": "supergroup", "title": "Box", "is_forum": true});
    }
    message.as_object_mut().expect("fields").extend(what.as_object().expect("fields").clone());
    fake.push(json!({ "message": message }));
    id
}

#[test]
fn what_cannot_be_taken_is_said_and_what_cannot_be_read_stops_nothing() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.write(
        "lucid.yaml",
        world.read("lucid.yaml").replace(&format!("chat_id: {CHAT}"), &format!("chat_id: {GROUP}")),
    );
    world.serve();
    // Over this one the library cannot agree with Telegram.
    fake.push(json!({"message": {"message_id": "none", "from": {"id": OWNER}, "chat": 7}}));
    // And over this one neither, but a stranger's is nobody's concern.
    fake.push(json!({"message": {"message_id": "none", "from": {"id": 9}, "chat": {"id": 9}}}));
    let voice = brings(
        &fake,
        OWNER,
        &json!({"voice": {"file_id": "a", "file_unique_id": "b", "duration": 2, "mime_type": "audio/ogg"}}),
    );
    let told = until_answered(&world, &fake, voice);
    assert!(
        told.visible.contains("The voice message is not taken here: write it in words"),
        "{}",
        told.visible
    );
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(problems.contains("update 1 is passed over"), "{problems}");
    assert!(!problems.contains("update 2 is") && problems.contains("from user 9"), "{problems}");
    world.lucid(["ticket", "new", "--title", "Rotate it"]).expect(0);
    world.lucid(["ticket", "ask", "MC-1", "--need", "A picture"]).expect(0);
    let question = until_seen(&world, &fake, "MC-1 needs you");
    let photo = json!([{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]);
    let answer = json!({"photo": photo, "caption": "as you see", "message_thread_id": 3,
        "is_topic_message": true, "reply_to_message": {"message_id": question.id, "date": 1, "text": "…",
        "chat": {"id": GROUP, "type": "supergroup", "title": "Box"}}});
    let sent = brings(&fake, GROUP, &answer);
    let told = until_answered(&world, &fake, sent);
    assert!(told.visible.contains("The photo itself is not taken, only the words."), "{}", told.visible);
    assert_eq!((told.chat, told.thread), (GROUP, Some(3)));
    assert_eq!(messages(&world)[0]["text"], "as you see");
    // A press is answered in the topic that its message is in.
    fake.push(json!({"callback_query": {"id": "q-topic", "chat_instance": "1", "data": "s:status",
        "from": {"id": OWNER, "is_bot": false, "first_name": "Somebody"},
        "message": {"message_id": question.id, "date": 1, "text": "…", "message_thread_id": 3,
            "is_topic_message": true, "chat": {"id": GROUP, "type": "supergroup", "title": "Box", "is_forum": true}}}}));
    let status = until_seen(&world, &fake, "0 tasks, 0 on");
    assert_eq!(status.thread, Some(3));
    // What somebody shows to others in the group is none of ours.
    let before = fake.chat().len();
    brings(&fake, GROUP, &json!({"photo": photo}));
    fake.writes(OWNER, OWNER, "/tickets", None);
    until_seen(&world, &fake, "Rotate it · ");
    assert_eq!(fake.chat().len(), before + 1, "{:#?}", fake.chat());
}

#[test]
fn what_is_answered_to_us_or_changed_later_is_not_met_with_silence() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.task("flap", "schedule: manual\ncommand: exit 3");
    world.serve();
    let question = asks(&world, &fake);
    let taken = fake.writes(OWNER, CHAT, "blue", Some(question.id));
    world.until("it is in line", || (messages(&world).len() == 1).then_some(()));
    let person = json!({"id": OWNER, "is_bot": false, "first_name": "Somebody"});
    let chat = json!({"id": CHAT, "type": "private", "first_name": "Somebody"});
    fake.push(json!({"edited_message": {"message_id": taken, "date": 1, "edit_date": 2, "chat": chat,
        "from": person, "text": "red"}}));
    let told = until_answered(&world, &fake, taken);
    assert!(told.visible.contains("what you sent first stands"), "{}", told.visible);
    assert_eq!(messages(&world).len(), 1);
    world.run("flap");
    let alert = until_seen(&world, &fake, "flap failed");
    for words in ["why?", "and now?"] {
        let asked = fake.writes(OWNER, CHAT, words, Some(alert.id));
        let told = until_answered(&world, &fake, asked);
        assert!(told.visible.starts_with("✋ Nobody reads a reply to this message."), "{}", told.visible);
    }
    // One was meant, so not all of them.
    let mute = fake.writes(OWNER, CHAT, "/mute", Some(taken));
    let told = until_answered(&world, &fake, mute);
    assert_eq!(told.visible, "✋ That message is about no alert.");
    // Told when Telegram takes something again, however often it did not.
    fake.set(Mode::Busy(1));
    let asked = fake.writes(OWNER, CHAT, "/tickets", None);
    let before = fake.calls_of("sendMessage").len();
    world.until("it was refused often", || (fake.calls_of("sendMessage").len() > before + 6).then_some(()));
    fake.set(Mode::Ok);
    until_answered(&world, &fake, asked);
}

#[test]
fn a_no_counts_whoever_says_yes_after_it() {
    let fake = FakeTelegram::start();
    let mut world = World::with(&format!("{}{AGENT}", fake.settings()));
    world.write("token", format!("{}\n", crate::fake_telegram::TOKEN));
    world.write("tasks/thinker.md", "---\nschedule: manual\nagent: fake\n---\nThink.\n");
    world.serve();
    fake.writes(OWNER, CHAT, "/run thinker", None);
    let sure = until_seen(&world, &fake, "Run thinker now? It costs money.");
    let query = fake.presses(OWNER, CHAT, sure.id, &data(&sure, "No"));
    assert_eq!(until_toast(&world, &fake, &query), "Nothing was done");
    // From a phone that still shows the question.
    for answer in ["Yes", "No"] {
        let query = fake.presses(OWNER, CHAT, sure.id, &data(&sure, answer));
        assert_eq!(until_toast(&world, &fake, &query), "This was answered before");
    }
    assert_eq!(world.number("SELECT count(*) FROM runs"), 0);
}

#[test]
fn a_pause_that_one_chat_is_to_have_holds_up_no_other() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    let settings =
        world.read("lucid.yaml").replace(&format!("chat_id: {CHAT}"), &format!("chat_id: {GROUP}"));
    world.write("lucid.yaml", settings);
    world.serve();
    fake.set(Mode::BusyIn(GROUP, 3_600));
    fake.writes(OWNER, GROUP, "/tasks", None);
    let of_group = || fake.calls().into_iter().filter(|call| call.body["chat_id"] == GROUP).count();
    world.until("the group is busy", || (of_group() > 0).then_some(()));
    fake.writes(OWNER, OWNER, "/tickets", None);
    until_seen(&world, &fake, "No ticket is open.");
    fake.writes(OWNER, OWNER, "/tasks", None);
    until_seen(&world, &fake, "There are no tasks.");
    assert_eq!(of_group(), 1, "{:#?}", fake.calls());
}

#[test]
fn a_question_that_was_put_off_is_asked_again_once_and_in_full() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    let question = asks(&world, &fake);
    assert!(question.visible.contains("Reply to this message"), "{}", question.visible);
    let query = fake.presses(OWNER, CHAT, question.id, "t:snooze:MC-1:1s");
    assert!(until_toast(&world, &fake, &query).starts_with("Asked again at "));
    let asked = || fake.with("Still so: ");
    let again = world.until_within(LONG, "it is asked again", || asked().into_iter().next());
    assert!(again.visible.contains("MC-1 needs you"), "{}", again.visible);
    assert!(again.visible.contains("Reply to this message"), "{}", again.visible);
    world.until("it is not to be asked a third time", || {
        (world.number("SELECT count(*) FROM bot_snoozes") == 0).then_some(())
    });
    assert_eq!(asked().len(), 1);
    // Its buttons are those of the question.
    let has_snooze = again.buttons.iter().any(|(_, data)| data == "t:snooze:MC-1:3h");
    assert!(has_snooze, "{:?}", again.buttons);
}
