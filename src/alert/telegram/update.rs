//! What people do in a chat, as values of our own: texts and presses of buttons.

use teloxide::types::{MaybeInaccessibleMessage, Message, Update as Told, UpdateKind, User};

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
    },
    /// A button was pressed.
    Press {
        update: i32,
        /// What the press is answered by.
        query: String,
        from: Sender,
        chat: i64,
        message: i32,
        data: String,
    },
    /// Something else, or something that cannot be read.
    Other { update: i32 },
}

impl Update {
    /// Its number; the next call for updates asks from one above the last.
    #[must_use]
    pub fn number(&self) -> i32 {
        match self {
            Self::Text { update, .. } | Self::Press { update, .. } | Self::Other { update } => *update,
        }
    }
}

pub(super) fn read(told: Told) -> Update {
    let update = i32::try_from(told.id.0).unwrap_or(i32::MAX);
    let read = match told.kind {
        UpdateKind::Message(message) => text(update, &message),
        UpdateKind::CallbackQuery(query) => {
            let (from, id) = (sender(&query.from), query.id.0);
            query.message.zip(query.data).map(|(message, data)| Update::Press {
                update,
                query: id,
                from,
                chat: chat_of(&message),
                message: message.id().0,
                data,
            })
        }
        _ => None,
    };
    read.unwrap_or(Update::Other { update })
}

fn chat_of(message: &MaybeInaccessibleMessage) -> i64 {
    message.chat().id.0
}

fn text(update: i32, message: &Message) -> Option<Update> {
    Some(Update::Text {
        update,
        chat: message.chat.id.0,
        kind: if message.chat.is_private() { ChatKind::Private } else { ChatKind::Group },
        thread: message.thread_id.map(|thread| thread.0.0),
        message: message.id.0,
        // What is posted in the name of a chat has no sender to answer for it.
        from: message.from.as_ref().filter(|_| message.sender_chat.is_none()).map(sender),
        at_ms: message.date.timestamp_millis(),
        text: message.text()?.to_owned(),
        reply_to: message.reply_to_message().map(|original| original.id.0),
        forwarded: message.forward_origin().is_some() || message.via_bot.is_some(),
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
                message: 5,
                data: "a:ack:3".into(),
            }
        );
        assert_eq!(parsed(&json!({"update_id": 13, "later": {"x": 1}})), Update::Other { update: 13 });
    }
}
