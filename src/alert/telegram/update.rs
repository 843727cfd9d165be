//! What people do in a chat, as values of our own: texts and presses of buttons.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use teloxide::types::{Message, Update as Told, UpdateKind, User};

use super::TelegramError;

/// The kinds that are asked for, by Telegram's names.
const ASKED_FOR: [&str; 3] = ["message", "edited_message", "callback_query"];

/// Somebody, by the number that Telegram vouches for and the name they chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub id: i64,
    /// For people to read; anybody can call themselves anything.
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatKind {
    /// With one person.
    Private,
    Group,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// A text was written.
    Text {
        update: i32,
        chat: i64,
        kind: ChatKind,
        thread: Option<i32>,
        message: i32,
        /// None in an anonymous post.
        from: Option<Sender>,
        /// When it was written, milliseconds since the epoch.
        at_ms: i64,
        text: String,
        /// The message it answers.
        reply_to: Option<i32>,
        /// Written by somebody else, and passed on.
        forwarded: bool,
        /// Written before, and changed now.
        edited: bool,
        /// What came with the text, or instead of it, and is not taken: `photo`, `voice message`, …
        attached: Option<&'static str>,
    },
    /// A button was pressed.
    Press {
        update: i32,
        /// What the press is answered by.
        query: String,
        from: Sender,
        chat: i64,
        thread: Option<i32>,
        message: i32,
        data: String,
    },
    /// Something else.
    Other { update: i32 },
    /// What nobody could read, and why; whose it is and from where, as far as that can be seen.
    Unreadable { update: i32, why: String, from: Option<i64>, chat: Option<i64> },
}

impl Update {
    /// Its number; the next call for updates asks from one above the last.
    #[must_use]
    pub fn number(&self) -> i32 {
        match self {
            Self::Text { update, .. }
            | Self::Press { update, .. }
            | Self::Other { update }
            | Self::Unreadable { update, .. } => *update,
        }
    }
}

/// Reads what a call for updates was answered with, each for itself: one that cannot be read, or over which the
/// library falls, does not take the others with it.
///
/// # Errors
/// [`TelegramError::Unclear`] where nothing of it is an update: asked again at once it would be told again at once.
pub(super) fn read_all(told: &Value) -> Result<Vec<Update>, TelegramError> {
    let told = told.as_array().ok_or_else(|| TelegramError::Unclear("no list of updates".to_owned()))?;
    let updates = each(told, |value| {
        // From text: the library takes the order of the fields for granted.
        let update: Told = serde_json::from_str(&value.to_string()).map_err(|e| e.to_string())?;
        match &update.kind {
            UpdateKind::Error(_) if ASKED_FOR.iter().any(|kind| value.get(kind).is_some()) => {
                Err("it is not as the library knows it".to_owned())
            }
            _ => Ok(read(update)),
        }
    });
    if updates.is_empty() && !told.is_empty() {
        return Err(TelegramError::Unclear("no update of it has a number".to_owned()));
    }
    Ok(updates)
}

fn each(told: &[Value], reader: impl Fn(&Value) -> Result<Update, String>) -> Vec<Update> {
    let number = |value: &Value| value.get("update_id").and_then(Value::as_i64);
    told.iter()
        .filter_map(|value| {
            // Without a number it can be neither taken nor passed over.
            let update = i32::try_from(number(value)?).ok()?;
            let read = catch_unwind(AssertUnwindSafe(|| reader(value)));
            let read = read.unwrap_or_else(|_| Err("the library panicked".to_owned()));
            let (from, chat) = whose(value);
            Some(read.unwrap_or_else(|why| Update::Unreadable { update, why, from, chat }))
        })
        .collect()
}

/// The numbers of whoever did it and of the chat, where they stand where they should.
fn whose(value: &Value) -> (Option<i64>, Option<i64>) {
    let Some(body) = ASKED_FOR.iter().find_map(|kind| value.get(kind)) else { return (None, None) };
    let number = |place: &str| body.pointer(place).and_then(Value::as_i64);
    (number("/from/id"), number("/chat/id").or_else(|| number("/message/chat/id")))
}

fn read(told: Told) -> Update {
    let update = i32::try_from(told.id.0).unwrap_or(i32::MAX);
    let read = match told.kind {
        UpdateKind::Message(message) => text(update, &message, false),
        UpdateKind::EditedMessage(message) => text(update, &message, true),
        UpdateKind::CallbackQuery(query) => {
            let (from, id) = (sender(&query.from), query.id.0);
            query.message.zip(query.data).map(|(message, data)| Update::Press {
                update,
                query: id,
                from,
                chat: message.chat().id.0,
                thread: message.regular_message().and_then(thread_of),
                message: message.id().0,
                data,
            })
        }
        _ => None,
    };
    read.unwrap_or(Update::Other { update })
}

fn thread_of(message: &Message) -> Option<i32> {
    message.thread_id.map(|thread| thread.0.0)
}

/// What a message brings besides words.
fn attached(message: &Message) -> Option<&'static str> {
    let kinds = [
        (message.photo().is_some(), "photo"),
        (message.voice().is_some(), "voice message"),
        (message.video().is_some(), "video"),
        (message.video_note().is_some(), "video message"),
        (message.audio().is_some(), "audio file"),
        (message.animation().is_some(), "animation"),
        (message.document().is_some(), "file"),
        (message.sticker().is_some(), "sticker"),
        (message.location().is_some(), "location"),
        (message.contact().is_some(), "contact"),
        (message.poll().is_some(), "poll"),
    ];
    kinds.into_iter().find(|(is_there, _)| *is_there).map(|(_, name)| name)
}

fn text(update: i32, message: &Message, edited: bool) -> Option<Update> {
    let attached = attached(message);
    let words = message.text().or_else(|| message.caption());
    // Of an album the first may have words; one answer is enough.
    let words = match (words, attached) {
        (Some(words), _) => words,
        (None, Some(_)) if message.media_group_id().is_none() => "",
        (None, _) => return None,
    };
    Some(Update::Text {
        update,
        chat: message.chat.id.0,
        kind: if message.chat.is_private() { ChatKind::Private } else { ChatKind::Group },
        thread: thread_of(message),
        message: message.id.0,
        // What is posted in the name of a chat has no sender to answer for it.
        from: message.from.as_ref().filter(|_| message.sender_chat.is_none()).map(sender),
        at_ms: message.date.timestamp_millis(),
        text: words.to_owned(),
        reply_to: message.reply_to_message().map(|original| original.id.0),
        forwarded: message.forward_origin().is_some() || message.via_bot.is_some(),
        edited,
        attached,
    })
}

fn sender(user: &User) -> Sender {
    let name = user.username.clone().unwrap_or_else(|| user.first_name.clone());
    Sender { id: i64::try_from(user.id.0).unwrap_or(i64::MAX), name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(value: &serde_json::Value) -> Update {
        read(serde_json::from_str(&value.to_string()).unwrap())
    }

    #[test]
    fn texts_and_presses_are_read_and_the_rest_is_passed_over() {
        let alice = json!({"id": 7, "is_bot": false, "first_name": "Alice", "username": "alice"});
        let chat = json!({"id": 7, "type": "private", "first_name": "Alice"});
        let original = json!({"message_id": 5, "date": 1, "chat": chat, "text": "a question"});
        let written = parsed(&json!({"update_id": 11, "message": {
            "message_id": 6, "date": 1_795_219_200, "chat": chat, "from": alice, "text": "yes \u{1f600} <b>",
            "reply_to_message": original,
        }}));
        let Update::Text { text, reply_to, from, at_ms, kind, forwarded, .. } = &written else {
            panic!("{written:?}")
        };
        assert_eq!((text.as_str(), *reply_to, *kind), ("yes \u{1f600} <b>", Some(5), ChatKind::Private));
        assert_eq!(from, &Some(Sender { id: 7, name: "alice".into() }));
        assert_eq!((*at_ms, *forwarded, written.number()), (1_795_219_200_000, false, 11));
        let pressed = parsed(&json!({"update_id": 12, "callback_query": {
            "id": "q1", "from": alice, "chat_instance": "x", "data": "a:ack:3",
            "message": {"message_id": 5, "date": 1, "chat": chat, "text": "x"},
        }}));
        assert_eq!(
            pressed,
            Update::Press {
                update: 12,
                query: "q1".into(),
                from: Sender { id: 7, name: "alice".into() },
                chat: 7,
                thread: None,
                message: 5,
                data: "a:ack:3".into(),
            }
        );
        assert_eq!(parsed(&json!({"update_id": 13, "later": {"x": 1}})), Update::Other { update: 13 });
    }

    #[test]
    fn a_caption_counts_as_text_and_what_has_none_is_known_by_its_kind() {
        let alice = json!({"id": 7, "is_bot": false, "first_name": "Alice"});
        let chat = json!({"id": -5, "type": "supergroup", "title": "Box", "is_forum": true});
        let message = |more: serde_json::Value| {
            let mut message = json!({"message_id": 6, "date": 1, "chat": chat, "from": alice,
                "message_thread_id": 3, "is_topic_message": true});
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            parsed(&json!({"update_id": 11, "message": message}))
        };
        let told = |update: Update| match update {
            Update::Text { text, attached, thread, .. } => format!("{text:?} {attached:?} {thread:?}"),
            other => format!("{other:?}"),
        };
        let photo = json!([{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]);
        let voice = json!({"file_id": "a", "file_unique_id": "b", "duration": 2, "mime_type": "audio/ogg"});
        let file = json!({"file_id": "a", "file_unique_id": "b", "file_name": "x.pdf"});
        assert_eq!(
            told(message(json!({"photo": photo, "caption": "yes"}))),
            "\"yes\" Some(\"photo\") Some(3)"
        );
        assert_eq!(told(message(json!({"photo": photo}))), "\"\" Some(\"photo\") Some(3)");
        assert_eq!(told(message(json!({"voice": voice}))), "\"\" Some(\"voice message\") Some(3)");
        assert_eq!(told(message(json!({"document": file}))), "\"\" Some(\"file\") Some(3)");
        let album = message(json!({"photo": photo, "media_group_id": "1"}));
        assert_eq!(album, Update::Other { update: 11 }, "the first of an album speaks for it");
        let press = parsed(&json!({"update_id": 12, "callback_query": {
            "id": "q1", "from": alice, "chat_instance": "x", "data": "s:status",
            "message": {"message_id": 5, "date": 1, "chat": chat, "message_thread_id": 3, "text": "x"},
        }}));
        assert!(matches!(press, Update::Press { thread: Some(3), .. }), "{press:?}");
    }

    #[test]
    fn one_that_cannot_be_read_does_not_take_the_others_with_it() {
        let chat = json!({"id": 7, "type": "private", "first_name": "Alice"});
        let good = |n: i64| json!({"update_id": n, "message": {"message_id": n, "date": 1, "chat": chat, "text": "x"}});
        let bad = json!({"update_id": 3, "message": {"message_id": "no number"}});
        let told = [good(1), json!({"update_id": 2, "later": {}}), bad, json!({"no": "number"}), good(5)];
        let kinds: Vec<String> = read_all(&Value::from(told.to_vec()))
            .unwrap()
            .iter()
            .map(|update| {
                let kind = match update {
                    Update::Text { .. } => "text",
                    Update::Press { .. } => "press",
                    Update::Other { .. } => "other",
                    Update::Unreadable { .. } => "unreadable",
                };
                format!("{} {kind}", update.number())
            })
            .collect();
        assert_eq!(kinds, ["1 text", "2 other", "3 unreadable", "5 text"]);
        let read = each(&told, |value| {
            assert!(value["update_id"] != 2, "as a library might");
            Ok(Update::Other { update: 0 })
        });
        let why = "the library panicked".to_owned();
        assert_eq!(read[1], Update::Unreadable { update: 2, why, from: None, chat: None });
        assert_eq!(read.len(), 4);
    }

    #[test]
    fn an_answer_without_a_single_update_is_unclear() {
        for told in [json!({}), json!([{"no": "number"}]), json!([{"update_id": 9_999_999_999_i64}])] {
            assert!(matches!(read_all(&told), Err(TelegramError::Unclear(_))), "{told}");
        }
        assert_eq!(read_all(&json!([])), Ok(Vec::new()));
    }

    #[test]
    fn whose_an_odd_one_is_can_be_seen() {
        let odd = json!([
            {"update_id": 1, "message": {"message_id": "x", "from": {"id": 9}, "chat": {"id": -5}}},
            {"update_id": 2, "callback_query": {"id": 3, "from": {"id": 7}, "message": {"chat": {"id": 7}}}},
            {"update_id": 3, "message": {"message_id": "x", "chat": 7}},
        ]);
        let whose: Vec<_> = read_all(&odd)
            .unwrap()
            .into_iter()
            .map(|update| match update {
                Update::Unreadable { from, chat, .. } => (from, chat),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(whose, [(Some(9), Some(-5)), (Some(7), Some(7)), (None, None)]);
    }
}
