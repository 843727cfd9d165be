//! Who may do what: an update becomes a deed when it comes from somebody on the list in a chat on the list.
//! Everybody else gets silence. Pure.

use serde::{Deserialize, Serialize};

use crate::alert::By;
use crate::alert::telegram::{ChatKind, Update};

/// Bytes of a text that are written down: more than a message to a worker may have, so that one that is too
/// long is refused as what it is.
const TEXT_MAX_BYTES: usize = 96 * 1024;

/// Who did something, and where. Both are on the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: i64,
    /// What they call themselves.
    pub name: String,
    pub chat: i64,
}

impl Person {
    /// As it stands in the journal.
    #[must_use]
    pub fn actor(&self) -> String {
        format!("telegram:{}", self.id)
    }

    /// As it stands with an alert.
    #[must_use]
    pub fn known(&self) -> By {
        By::named(self.actor(), &self.name)
    }
}

/// Whether somebody wrote a text themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wording {
    Own,
    /// Passed on: words of somebody else.
    Forwarded,
    /// Changed after it had been sent.
    Edited,
}

/// What somebody on the list did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    Text {
        by: Person,
        thread: Option<i32>,
        message: i32,
        /// When it was written, milliseconds since the epoch.
        at_ms: i64,
        text: String,
        reply_to: Option<i32>,
        wording: Wording,
        /// What came along and is not taken.
        #[serde(default)]
        attached: Option<String>,
    },
    Press {
        by: Person,
        #[serde(default)]
        thread: Option<i32>,
        /// What the press is answered by.
        query: String,
        message: i32,
        data: String,
    },
}

impl Deed {
    #[must_use]
    pub fn by(&self) -> &Person {
        match self {
            Self::Text { by, .. } | Self::Press { by, .. } => by,
        }
    }

    /// What came along with the words and is not taken.
    #[must_use]
    pub fn attached(&self) -> Option<&str> {
        match self {
            Self::Text { attached, .. } => attached.as_deref(),
            Self::Press { .. } => None,
        }
    }

    /// The message that it is, or that bears the button.
    #[must_use]
    pub fn message(&self) -> i32 {
        match self {
            Self::Text { message, .. } | Self::Press { message, .. } => *message,
        }
    }

    /// The forum's topic that it was done in.
    #[must_use]
    pub fn thread(&self) -> Option<i32> {
        match self {
            Self::Text { thread, .. } | Self::Press { thread, .. } => *thread,
        }
    }
}

/// Numbers of people and chats that may do something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guests {
    pub people: Vec<i64>,
    pub chats: Vec<i64>,
}

/// What an update turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    Deed(Deed),
    /// Somebody, or nobody that can be told, who is not on the list or in a chat that is not.
    Stranger(Option<i64>),
    /// Nothing that concerns us.
    Nothing,
    /// Nobody can tell what it is; whoever did it may be let in.
    Unreadable(String),
}

/// Lets in whoever is on the list: the person and the chat, or the person's own chat with the bot.
#[must_use]
pub fn admit(update: Update, guests: &Guests) -> Admission {
    let known = |from: i64, chat: i64| {
        guests.people.contains(&from) && (chat == from || guests.chats.contains(&chat))
    };
    match update {
        Update::Other { .. } => Admission::Nothing,
        // One whose chat cannot be seen may be from their own.
        Update::Unreadable { why, from: Some(from), chat, .. } if known(from, chat.unwrap_or(from)) => {
            Admission::Unreadable(why)
        }
        Update::Unreadable { from, .. } => Admission::Stranger(from),
        Update::Text { from: None, .. } => Admission::Stranger(None),
        Update::Text {
            from: Some(from),
            chat,
            kind,
            thread,
            message,
            at_ms,
            text,
            reply_to,
            forwarded,
            edited,
            attached,
            ..
        } => {
            // A private chat bears its person's number, whatever a settings file says.
            let is_odd = kind == ChatKind::Private && chat != from.id;
            if !known(from.id, chat) || (is_odd && !guests.chats.contains(&chat)) {
                return Admission::Stranger(Some(from.id));
            }
            let by = Person { id: from.id, name: from.name, chat };
            let wording = match (forwarded, edited) {
                (true, _) => Wording::Forwarded,
                (false, true) => Wording::Edited,
                (false, false) => Wording::Own,
            };
            let attached = attached.map(str::to_owned);
            Admission::Deed(Deed::Text {
                by,
                thread,
                message,
                at_ms,
                text: cut(text),
                reply_to,
                wording,
                attached,
            })
        }
        Update::Press { query, from, chat, thread, message, data, .. } => {
            if !known(from.id, chat) {
                return Admission::Stranger(Some(from.id));
            }
            let by = Person { id: from.id, name: from.name, chat };
            Admission::Deed(Deed::Press { by, thread, query, message, data })
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX_BYTES {
        let end = (0..=TEXT_MAX_BYTES).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::telegram::Sender;

    const GROUP: i64 = -100_123;

    fn guests() -> Guests {
        Guests { people: vec![7, 8], chats: vec![GROUP] }
    }

    fn text(user: Option<i64>, chat: i64, text: &str) -> Update {
        Update::Text {
            update: 1,
            chat,
            kind: if chat < 0 { ChatKind::Group } else { ChatKind::Private },
            thread: None,
            message: 5,
            from: user.map(|id| Sender { id, name: "x".into() }),
            at_ms: 0,
            text: text.into(),
            reply_to: None,
            forwarded: false,
            edited: false,
            attached: None,
        }
    }

    fn press(user: i64, chat: i64) -> Update {
        let from = Sender { id: user, name: "x".into() };
        let data = "a:ack:1".into();
        Update::Press { update: 2, query: "q".into(), from, chat, thread: None, message: 5, data }
    }

    fn odd(from: Option<i64>, chat: Option<i64>) -> Update {
        Update::Unreadable { update: 4, why: "x".into(), from, chat }
    }

    #[test]
    fn person_and_chat_are_both_on_the_list_or_there_is_silence() {
        let table = [
            (text(Some(7), GROUP, "x"), "let in"),
            (text(Some(7), 7, "x"), "let in"),
            (press(8, GROUP), "let in"),
            (press(8, 8), "let in"),
            // Somebody else in the right chat; somebody right in another; a person's own chat with a third.
            (text(Some(9), GROUP, "x"), "silence"),
            (press(9, GROUP), "silence"),
            (text(Some(7), -5, "x"), "silence"),
            (press(7, -5), "silence"),
            (text(Some(9), 9, "x"), "silence"),
            (press(7, 8), "silence"),
            (text(Some(9), 7, "x"), "silence"),
            // In the name of a chat: nobody answers for it.
            (text(None, GROUP, "x"), "silence"),
            (Update::Other { update: 3 }, "nothing"),
            (odd(Some(7), Some(GROUP)), "passed over"),
            (odd(Some(7), None), "passed over"),
            (odd(Some(9), Some(GROUP)), "silence"),
            (odd(Some(7), Some(-5)), "silence"),
            (odd(None, Some(GROUP)), "silence"),
        ];
        for (update, wanted) in table {
            let told = match admit(update.clone(), &guests()) {
                Admission::Deed(_) => "let in",
                Admission::Stranger(_) => "silence",
                Admission::Nothing => "nothing",
                Admission::Unreadable(_) => "passed over",
            };
            assert_eq!(told, wanted, "{update:?}");
        }
        assert_eq!(admit(press(7, 7), &Guests::default()), Admission::Stranger(Some(7)));
    }

    #[test]
    fn a_text_without_end_is_cut_at_a_character() {
        let long = format!("a{}", "\u{1f600}".repeat(50_000));
        let Admission::Deed(Deed::Text { text, .. }) = admit(text(Some(7), 7, &long), &guests()) else {
            panic!("let in")
        };
        assert!(text.len() <= TEXT_MAX_BYTES && text.len() > TEXT_MAX_BYTES - 4);
    }
}
