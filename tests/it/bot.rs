//! Answers from a phone: the daemon against a Telegram of our own, people who may and people who may not, and
//! a daemon that dies at a bad moment.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use crate::fake_telegram::{CHAT, Call, FakeTelegram, Mode, Seen, TOKEN};
use crate::workers;
use crate::world::{World, code_of};

/// On the list of [`FakeTelegram::settings`].
pub const OWNER: i64 = 7;
const STRANGER: i64 = 9;
pub const GROUP: i64 = -100_500;
/// The bot's own number, as it stands in its token.
const BOT: i64 = 123_456_789;

/// A world whose bot listens to `fake`, without a daemon yet.
pub fn world(fake: &FakeTelegram) -> World {
    let world = World::with(&fake.settings());
    world.write("token", format!("{TOKEN}\n"));
    world
}

#[track_caller]
pub fn until_seen(world: &World, fake: &FakeTelegram, words: &str) -> Seen {
    world.until(&format!("`{words}` is in the chat"), || fake.with(words).into_iter().next())
}

/// What a press was answered with.
#[track_caller]
pub fn until_toast(world: &World, fake: &FakeTelegram, query: &str) -> String {
    world.until(&format!("{query} is answered"), || {
        let answered = fake.calls_of("answerCallbackQuery");
        let call = answered.iter().find(|call| call.body["callback_query_id"] == *query)?;
        Some(call.body["text"].as_str().unwrap_or_default().to_owned())
    })
}

pub fn messages(world: &World) -> Vec<Value> {
    world.lucid(["messages", "--json"]).expect(0).json()["messages"].as_array().expect("messages").clone()
}

pub fn ticket(world: &World, id: &str) -> Value {
    world.lucid(["ticket", "show", id, "--json"]).expect(0).json()["ticket"].clone()
}

fn metric(world: &World, name: &str) -> Option<String> {
    let metrics = world.lucid(["api", "GET", "/metrics"]).expect(0).stdout;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
}

/// A ticket that asks with two answers to choose from; its question in the chat.
#[track_caller]
pub fn asks(world: &World, fake: &FakeTelegram) -> Seen {
    world.lucid(["ticket", "new", "--title", "Rotate <it>"]).expect(0);
    let ask = ["ticket", "ask", "MC-1", "--need", "A token", "--option", "Done", "--option", "Skip it"];
    world.lucid(ask).expect(0);
    until_seen(world, fake, "MC-1 needs you")
}

#[test]
fn a_question_is_answered_with_a_button_once() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    let question = asks(&world, &fake);
    let (label, data) = question.buttons[1].clone();
    assert_eq!((label.as_str(), data.as_str()), ("Skip it", "t:option:MC-1:1"));
    let query = fake.presses(OWNER, CHAT, question.id, &data);
    assert_eq!(until_toast(&world, &fake, &query), "Answered: Skip it");
    let sent = messages(&world);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0]["text"].as_str(), sent[0]["via"].as_str()), (Some("Skip it"), Some("telegram")));
    assert_eq!(sent[0]["author"], "telegram:7");
    assert_eq!(ticket(&world, "MC-1")["state"], "todo");
    let told = until_seen(&world, &fake, "answered MC-1: Skip it");
    assert_eq!(told.reply_to, Some(question.id));
    let second = fake.presses(OWNER, CHAT, question.id, "t:option:MC-1:0");
    assert_eq!(until_toast(&world, &fake, &second), "MC-1 does not ask this any more");
    assert_eq!(messages(&world).len(), 1, "the second press changes nothing");
    for strange in ["t:option:MC-1:99", "t:option:MC-99:0", "a:ack:77", "nonsense", "y:1:t:close:MC-1"] {
        let query = fake.presses(OWNER, CHAT, question.id, strange);
        assert!(!until_toast(&world, &fake, &query).is_empty(), "{strange} is answered");
    }
    assert_ne!(ticket(&world, "MC-1")["state"], "closed", "a yes from long ago counts no more");
}

#[test]
fn a_typed_reply_reaches_the_worker_and_its_reaction_tells_so() {
    let fake = FakeTelegram::start();
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, TOKEN).expect("a token");
    let settings = fake.settings().replace("token_file: token", &format!("token_file: {}", token.display()));
    let world = workers::world(&settings);
    let id = workers::mode(&world, "needs_input");
    let question = world.until_within(workers::LONG, "the question is in the chat", || {
        fake.with(&format!("{id} needs you")).into_iter().next()
    });
    let written = fake.writes(OWNER, CHAT, "blue <b>& \u{1f600}", Some(question.id));
    workers::until(&world, &id, "review");
    let sent = messages(&world);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0]["state"].as_str(), sent[0]["text"].as_str()),
        (Some("acked"), Some("blue <b>& \u{1f600}"))
    );
    let reactions = world.until("the reaction says that it arrived", || {
        let calls = fake.calls_of("setMessageReaction");
        let shown: Vec<String> = calls
            .iter()
            .filter(|call| call.body["message_id"] == written)
            .filter_map(|call| call.body.pointer("/reaction/0/emoji")?.as_str().map(str::to_owned))
            .collect();
        (shown.last().map(String::as_str) == Some("👍")).then_some(shown)
    });
    assert!(reactions.iter().all(|emoji| emoji == "👀" || emoji == "👍"), "{reactions:?}");
    // The text was for the worker, and nobody answers it in words.
    assert!(fake.with("Reply to a ticket message").is_empty());
}

#[test]
fn strangers_get_silence_and_are_counted() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    let question = asks(&world, &fake);
    fake.writes(STRANGER, CHAT, "/status", None);
    fake.writes(STRANGER, CHAT, "let me in", Some(question.id));
    // A group with a stolen chat id: somebody else in the right chat, and the right person in another.
    fake.presses(STRANGER, CHAT, question.id, "t:option:MC-1:0");
    fake.writes(OWNER, GROUP, "/status", None);
    fake.presses(OWNER, GROUP, question.id, "t:option:MC-1:0");
    let before = fake.calls_of("sendMessage").len();
    world.until("five are counted", || {
        (metric(&world, "lucid_bot_strangers_total").as_deref() == Some("5")).then_some(())
    });
    let problems = world.lucid(["problems"]).expect(0).stdout;
    assert!(
        problems.contains("5 messages or presses of strangers were ignored since the daemon started"),
        "{problems}"
    );
    // Whoever comes after them is heard, and is the only one who was.
    fake.writes(OWNER, CHAT, "/tickets", None);
    until_seen(&world, &fake, "Rotate <it> · needs input");
    assert_eq!(fake.calls_of("sendMessage").len(), before + 1);
    assert!(fake.calls_of("answerCallbackQuery").is_empty());
    assert!(messages(&world).is_empty());
    let kept = world.database().query_row("SELECT count(*) FROM bot_updates", [], |row| row.get::<_, i64>(0));
    assert_eq!(kept, Ok(1), "nothing of a stranger is kept");
}

#[test]
fn what_was_muted_and_acknowledged_stays_so_over_a_restart() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    for id in ["one", "two"] {
        world.task(id, "schedule: manual\ncommand: exit 3");
    }
    world.serve();
    world.run("one");
    world.run("two");
    let button = |seen: &Seen, name: &str| {
        seen.buttons.iter().find(|(text, _)| text == name).map(|(_, data)| data.clone()).expect("a button")
    };
    let (one, two) = (until_seen(&world, &fake, "one failed"), until_seen(&world, &fake, "two failed"));
    let query = fake.presses(OWNER, CHAT, one.id, &button(&one, "Mute 1h"));
    assert!(until_toast(&world, &fake, &query).starts_with("Muted until "));
    let query = fake.presses(OWNER, CHAT, two.id, &button(&two, "Ack"));
    assert_eq!(until_toast(&world, &fake, &query), "Acknowledged");
    let muted = until_seen(&world, &fake, "Muted until ");
    assert!(muted.id == one.id && muted.visible.contains(" by Somebody."), "{}", muted.visible);
    assert_eq!(until_seen(&world, &fake, "Acknowledged by ").id, two.id);
    world.restart();
    let page = world.lucid(["alerts", "--json"]).expect(0).json();
    // The daemon that was killed is an alert of its own.
    let of_tasks = page["alerts"].as_array().unwrap().iter().filter(|alert| alert["kind"] == "task_failed");
    let mut states: Vec<&str> = of_tasks.filter_map(|alert| alert["state"].as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["acked", "muted"]);
    let query = fake.presses(OWNER, CHAT, one.id, &button(&one, "Mute 1h"));
    assert!(until_toast(&world, &fake, &query).ends_with(" already"), "a second press is the first");
    fake.writes(OWNER, CHAT, "/status", None);
    until_seen(&world, &fake, "🔕 one muted until ");
}

#[test]
fn what_comes_twice_or_at_a_bad_moment_is_done_once() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.task("job", "schedule: manual\ncommand: exit 0");
    world.serve();
    let question = asks(&world, &fake);
    // Written down, and never confirmed: everything comes again and again.
    fake.set(Mode::Forgetful);
    fake.writes(OWNER, CHAT, "here it is", Some(question.id));
    fake.writes(OWNER, CHAT, "/new Mend the <roof>\nSoon.", None);
    fake.writes(OWNER, CHAT, "/run job", None);
    until_seen(&world, &fake, "job is started as");
    world.restart();
    let polls = fake.calls_of("getUpdates").len();
    world.until("they came again", || (fake.calls_of("getUpdates").len() > polls + 3).then_some(()));
    // A daemon that was killed after the writing and before the doing.
    world.kill_daemon();
    let deed = serde_json::json!({"text": {"by": {"id": OWNER, "name": "a", "chat": CHAT}, "thread": null,
        "message": 77, "at_ms": 0, "text": "/new After the crash", "reply_to": null, "wording": "own"}});
    let database = rusqlite::Connection::open(world.state("lucid.db")).expect("a database");
    let written = database.execute(
        "INSERT INTO bot_updates (bot, number, at_ms, deed) VALUES (?1, 900, 0, ?2)",
        rusqlite::params![BOT, deed.to_string()],
    );
    assert_eq!(written, Ok(1));
    drop(database);
    fake.set(Mode::Ok);
    world.serve();
    until_seen(&world, &fake, "MC-3 After the crash");
    let titles: Vec<Value> = world.lucid(["tickets", "--json"]).expect(0).json()["tickets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ticket| ticket["title"].clone())
        .collect();
    assert_eq!(titles, ["After the crash", "Mend the <roof>", "Rotate <it>"]);
    assert_eq!(messages(&world).len(), 1);
    let runs = world.lucid(["runs", "job", "--json"]).expect(0).json();
    let runs = runs["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["actor"], "telegram:7");
}

/// The data of a message's button.
pub fn data(seen: &Seen, name: &str) -> String {
    let found = seen.buttons.iter().find(|(text, _)| text == name);
    found.unwrap_or_else(|| panic!("no {name}: {:?}", seen.buttons)).1.clone()
}

#[test]
fn commands_say_what_they_do_and_why_they_do_not() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.task("off", "schedule: manual\nenabled: false\ncommand: exit 0");
    world.task("long", "schedule: manual\ncommand: sleep 600");
    world.task("loud", "schedule: manual\ncommand: seq 1 40 | while read n; do head -c 500 /dev/zero | tr '\\0' '<'; echo; done");
    world.serve();
    world.until("its commands are in the menu", || fake.calls_of("setMyCommands").first().map(drop));
    fake.writes(OWNER, CHAT, "/run off", None);
    let refused = until_seen(&world, &fake, "off is disabled");
    assert!(refused.visible.contains("lucid run off --force"), "{}", refused.visible);
    fake.writes(OWNER, CHAT, "/run ../../etc", None);
    until_seen(&world, &fake, "is no task id");
    fake.writes(OWNER, CHAT, "hello?", None);
    fake.writes(OWNER, CHAT, "anybody?", None);
    fake.writes(OWNER, CHAT, "/run@another_bot long", None);
    fake.writes(OWNER, CHAT, "/run@box_bot long", None);
    let started = until_seen(&world, &fake, "long is started as");
    assert_eq!(fake.with("Reply to a ticket message or type /help").len(), 1, "said once");
    let query = fake.presses(OWNER, CHAT, started.id, &data(&started, "Kill"));
    assert!(until_toast(&world, &fake, &query).starts_with("End #"));
    let sure = until_seen(&world, &fake, "End #");
    assert!(world.of_runs().iter().any(|p| p.command.contains("sleep 600")), "not yet");
    fake.presses(OWNER, CHAT, sure.id, &data(&sure, "Yes"));
    world.until("it is told to end, in the place of the question", || {
        let seen = fake.chat().into_iter().find(|seen| seen.id == sure.id)?;
        (seen.visible.contains("is told to end") && seen.buttons.is_empty()).then_some(())
    });
    world.until("it has ended", || {
        let runs = world.lucid(["runs", "long", "--json"]).expect(0).json();
        (runs["runs"][0]["state"] == "killed").then_some(())
    });
    world.run("loud");
    fake.writes(OWNER, CHAT, "/logs loud", None);
    let file = world.until("the log is a file", || fake.calls_of("sendDocument").first().cloned());
    assert!(holds(&file, "run-") && holds(&file, "<<<<"), "its name and its output");
    fake.writes(OWNER, CHAT, "/pause loud 2h", None);
    until_seen(&world, &fake, "loud is paused until ");
    let tasks = world.lucid(["tasks", "--json"]).expect(0).json();
    assert!(tasks.to_string().contains("telegram:7"), "who paused it is known");
    for (command, words) in [
        ("/help", "/pause ID 1h"),
        ("/problems", "telegram"),
        ("/tasks", "long"),
        ("/usage", "No agent"),
        ("/nix", "There is no /nix"),
    ] {
        let before = fake.chat().len();
        fake.writes(OWNER, CHAT, command, None);
        world.until(&format!("{command} is answered"), || {
            let chat = fake.chat();
            (chat.len() > before)
                .then_some(chat.last()?.visible.contains(words) || command == "/problems")?
                .then_some(())
        });
    }
}

fn holds(call: &Call, words: &str) -> bool {
    call.raw.windows(words.len()).any(|window| window == words.as_bytes())
}

#[test]
fn closing_a_ticket_wants_a_second_word() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    world.serve();
    let question = asks(&world, &fake);
    fake.presses(OWNER, CHAT, question.id, "t:close:MC-1");
    let no = until_seen(&world, &fake, "Close MC-1?");
    fake.presses(OWNER, CHAT, no.id, &data(&no, "No"));
    until_seen(&world, &fake, "Nothing was done.");
    assert_eq!(ticket(&world, "MC-1")["state"], "needs_input");
    fake.presses(OWNER, CHAT, question.id, "t:close:MC-1");
    let yes = until_seen(&world, &fake, "Close MC-1?");
    let yes_data = data(&yes, "Yes");
    fake.presses(OWNER, CHAT, yes.id, &yes_data);
    until_seen(&world, &fake, "MC-1 is closed");
    assert_eq!(ticket(&world, "MC-1")["state"], "closed");
    let again = fake.presses(OWNER, CHAT, yes.id, &yes_data);
    assert!(!until_toast(&world, &fake, &again).is_empty());
    assert_eq!(ticket(&world, "MC-1")["state"], "closed");
}

#[test]
fn when_nobody_can_be_heard_it_is_said_and_nothing_is_lost() {
    let fake = FakeTelegram::start();
    let mut world = world(&fake);
    fake.set(Mode::Conflict);
    world.serve();
    let problems = world.until("the conflict is told", || {
        let told = world.lucid(["problems"]).expect(0).stdout;
        told.contains("another program fetches with the same token").then_some(told)
    });
    assert!(!problems.contains(TOKEN), "{problems}");
    fake.writes(OWNER, CHAT, "/new Written meanwhile", None);
    fake.set(Mode::Gateway);
    let failed = || fake.calls_of("getUpdates").iter().filter(|call| call.status == 502).count();
    world.until("something in between answers", || (failed() > 0).then_some(()));
    fake.go_down();
    fake.set(Mode::Ok);
    fake.come_up();
    until_seen(&world, &fake, "MC-1 Written meanwhile");
    world.until("it is well again", || {
        let told = world.lucid(["problems"]).expect(0).stdout;
        (!told.contains("are not heard")).then_some(())
    });
}

#[test]
fn a_chat_is_made_known_with_a_code() {
    let fake = FakeTelegram::start();
    let mut world = World::with(&format!(
        "# mine\ntelegram:\n  # here\n  api_url: {}\n  quiet_hours: \"\"\n",
        fake.url()
    ));
    let refused = world.lucid(["telegram", "setup"]).expect(2);
    assert!(refused.stderr.contains("no token"), "{refused:?}");
    let mut child = world
        .lucid_command(["telegram", "setup"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(world.log_file()))
        .spawn()
        .expect("lucid starts");
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, "{TOKEN}").expect("a token");
    drop(input);
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut code = String::new();
    output.read_line(&mut code).expect("a code");
    assert_eq!(code.trim().len(), 6, "{code}");
    fake.writes(STRANGER, GROUP, "hello", None);
    fake.writes(OWNER, GROUP, &format!("/start {}", code.trim()), None);
    assert_eq!(code_of(child.wait().expect("an end")), 0);
    let settings = world.read("lucid.yaml");
    for line in ["# mine", "  # here", "  chat_id: -100500", "  allowed_users: [7]"] {
        assert!(settings.lines().any(|known| known == line), "{line}: {settings}");
    }
    assert!(!settings.contains(TOKEN), "the token has a file of its own");
    let token = world.path("telegram-token");
    assert_eq!(fs::read_to_string(&token).expect("a token").trim(), TOKEN);
    assert_eq!(fs::metadata(&token).expect("a file").permissions().mode() & 0o777, 0o600);
    until_seen(&world, &fake, "lucid can reach you.");
    world.serve();
    let test = world.lucid(["telegram", "test"]).expect(0);
    assert!(test.stdout.starts_with("delivered"), "{test:?}");
    fake.writes(OWNER, GROUP, "/status", None);
    until_seen(&world, &fake, "0 tasks, 0 on");
    // A second setup would take what is sent to the daemon.
    let mut second =
        world.lucid_command(["telegram", "setup"]).stdin(Stdio::piped()).spawn().expect("lucid starts");
    writeln!(second.stdin.take().expect("a pipe"), "{TOKEN}").expect("a token");
    assert_eq!(code_of(second.wait().expect("an end")), 5);
}
