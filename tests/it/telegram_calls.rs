//! Each call to Telegram against a Telegram of our own: what it does, and what each kind of bad day is called.

use std::time::Duration;

use lucid::alert::telegram::{Document, Format, Outgoing, Sound, Telegram, TelegramError, Update};
use lucid::model::notice::Button;

use crate::fake_telegram::{CHAT, FakeTelegram, Mode, TOKEN};

fn message(text: &str) -> Outgoing<'_> {
    Outgoing {
        chat: CHAT,
        thread: None,
        text,
        format: Format::Html,
        buttons: &[],
        reply_to: None,
        sound: Sound::Silent,
    }
}

fn bot(fake: &FakeTelegram) -> Telegram {
    Telegram::new(TOKEN.to_owned().into(), &fake.url()).expect("a bot")
}

/// Every call once, as a chat shows it.
#[tokio::test]
async fn each_call_does_what_it_says() {
    let fake = FakeTelegram::start();
    let bot = bot(&fake);
    assert_eq!(bot.me().await.expect("its name"), "box_bot");
    let buttons = [Button::data("Ack", "a:ack:1".to_owned())];
    let first = Outgoing { buttons: &buttons, sound: Sound::Heard, ..message("<b>a &lt; b</b>") };
    let first = bot.send(&first).await.expect("sent");
    let reply = Outgoing { reply_to: Some(first), thread: Some(9), ..message("so it is") };
    let reply = bot.send(&reply).await.expect("sent");
    bot.edit(CHAT, first, ("<i>over</i>", Format::Html), &[]).await.expect("changed");
    bot.edit(CHAT, first, ("<i>over</i>", Format::Html), &[]).await.expect("nothing to change is fine");
    bot.react(CHAT, reply, "👀").await.expect("a reaction");
    bot.answer("query", "done").await.expect("an answer");
    bot.commands(&[("status", "How it stands")]).await.expect("commands");
    bot.typing(CHAT).await.expect("a sign");
    let file = Document {
        chat: CHAT,
        thread: None,
        reply_to: Some(first),
        name: "run.log",
        bytes: b"all of it".to_vec(),
        caption: "log",
    };
    bot.document(file).await.expect("a file");
    let chat = fake.chat();
    assert_eq!((chat[0].visible.as_str(), chat[0].edits, chat[0].silent), ("over", 1, false));
    assert!(chat[0].buttons.is_empty(), "an edit without buttons takes them away");
    assert_eq!((chat[1].reply_to, chat[1].thread), (Some(i64::from(first)), Some(9)));
    assert_eq!((chat[1].reaction.as_deref(), chat[1].silent), (Some("👀"), true));
    assert!(chat[2].text.contains("run.log") && chat[2].text.contains("all of it"));
    let sent = fake.calls_of("sendDocument");
    assert!(sent[0].raw.windows(9).any(|bytes| bytes == b"all of it"));
    fake.writes(7, CHAT, "hello", Some(i64::from(first)));
    let query = fake.presses(7, CHAT, i64::from(first), "a:ack:1");
    let updates = bot.updates(None, Duration::ZERO).await.expect("updates");
    assert!(
        matches!(&updates[0], Update::Text { text, reply_to, .. } if text == "hello" && *reply_to == Some(first))
    );
    assert!(matches!(&updates[1], Update::Press { query: q, data, .. } if *q == query && data == "a:ack:1"));
    let next = updates[1].number() + 1;
    assert_eq!(bot.updates(Some(next), Duration::from_secs(1)).await.expect("none"), []);
}

/// How calls are answered, and whether that is what the caller is told.
type Day = (Mode, fn(&TelegramError) -> bool);

/// What each kind of bad day looks like to a caller; none of it tells the token.
#[tokio::test]
async fn each_bad_day_has_its_name() {
    let fake = FakeTelegram::start();
    let bot = bot(&fake);
    let days: [Day; 10] = [
        (Mode::Trouble, |e| matches!(e, TelegramError::Trouble(_))),
        (Mode::Gateway, |e| matches!(e, TelegramError::Unclear(why) if why.contains("502"))),
        (Mode::Busy(30), |e| *e == TelegramError::Busy { after: Duration::from_secs(30) }),
        (Mode::Blocked, |e| matches!(e, TelegramError::Shut(_))),
        (Mode::NoChat, |e| matches!(e, TelegramError::Shut(_))),
        (Mode::Entities, |e| matches!(e, TelegramError::Markup(_))),
        (Mode::Moved(-77), |e| *e == TelegramError::Moved { to: -77 }),
        (Mode::Unnamed, |e| *e == TelegramError::Unnamed),
        (Mode::ResetAfter, |e| matches!(e, TelegramError::Unclear(_))),
        (Mode::Slow(Duration::from_secs(30)), |e| matches!(e, TelegramError::Unclear(_))),
    ];
    for (mode, is_right) in days {
        fake.set(mode.clone());
        let error = bot.send(&message("x")).await.expect_err("a bad day");
        assert!(is_right(&error), "{mode:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{error:?}");
    }
    fake.set(Mode::Ok);
    let error = bot.send(&message("<b>open")).await.expect_err("bad markup");
    assert!(matches!(error, TelegramError::Markup(_)), "{error:?}");
    let stranger = Telegram::new("1:other".to_owned().into(), &fake.url()).expect("a bot");
    let error = stranger.send(&message("x")).await.expect_err("a wrong token");
    assert!(matches!(error, TelegramError::Shut(_)), "{error:?}");
    fake.go_down();
    let error = bot.send(&message("x")).await.expect_err("nobody there");
    assert!(matches!(error, TelegramError::Unreachable(_)), "{error:?}");
    assert!(!error.to_string().contains(TOKEN), "{error}");
    fake.come_up();
    bot.send(&message("back")).await.expect("up again");
}
