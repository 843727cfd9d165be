//! Telegram as a server of our own: real HTTP on a port of this machine, with Telegram's answers and with those
//! of a bad day. It records every call, keeps the chat as a person would see it, and reads markup as strictly
//! as Telegram does.

mod answers;
mod markup;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A token of the right shape.
pub const TOKEN: &str = "123456789:AAF-canary_token_of_the_fake_Telegram";
/// The chat that it knows.
pub const CHAT: i64 = 4_242;
/// Longest that anything waits at the server.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How calls are answered from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Ok,
    /// 429 with this `retry_after`, in seconds.
    Busy(u32),
    /// The same to one chat alone: its number, and how long.
    BusyIn(i64, u32),
    /// 500 in Telegram's own words.
    Trouble,
    /// 502 from something in between.
    Gateway,
    /// The person has blocked the bot.
    Blocked,
    /// Everything is taken but messages.
    Muted,
    NoChat,
    /// Markup is refused whatever it says.
    Entities,
    /// The group has become another chat.
    Moved(i64),
    /// Another program fetches with the same token.
    Conflict,
    /// What was fetched comes again, whatever is confirmed.
    Forgetful,
    /// Messages are taken, and the answer names none.
    Unnamed,
    /// Does what is asked, then breaks the connection.
    ResetAfter,
    /// Does what is asked, and answers after this time.
    Slow(Duration),
}

/// One call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Instant,
    pub method: String,
    pub body: Value,
    /// The whole body, where it was no JSON: a file.
    pub raw: Vec<u8>,
    pub status: u16,
}

/// A message as a person sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: i64,
    pub chat: i64,
    pub thread: Option<i64>,
    /// As it was sent, markup and all.
    pub text: String,
    /// As it is read.
    pub visible: String,
    pub buttons: Vec<(String, String)>,
    pub reply_to: Option<i64>,
    pub silent: bool,
    /// How often it was changed.
    pub edits: u32,
    pub reaction: Option<String>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    calls: Vec<Call>,
    chat: BTreeMap<i64, Seen>,
    next_message: i64,
    updates: VecDeque<Value>,
    next_update: i64,
    up: bool,
    /// The bot's name.
    name: String,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    address: SocketAddr,
}

/// The server; it ends with this value.
#[derive(Debug)]
pub struct FakeTelegram {
    shared: Arc<Shared>,
}

impl FakeTelegram {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = State {
            mode: Mode::Ok,
            calls: Vec::new(),
            chat: BTreeMap::new(),
            next_message: 100,
            updates: VecDeque::new(),
            next_update: 1,
            up: true,
            name: "box_bot".to_owned(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), address });
        wire::listen(&shared, listener);
        Self { shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Settings that send a world's alerts here; the token is in `token` of its folder.
    pub fn settings(&self) -> String {
        format!(
            "telegram:\n  token_file: token\n  chat_id: {CHAT}\n  allowed_users: [7]\n  api_url: {}\n  quiet_hours: \"\"\n",
            self.url()
        )
    }

    pub fn set(&self, mode: Mode) {
        self.state().mode = mode;
        self.shared.changed.notify_all();
    }

    /// The bot has another name from now on.
    pub fn rename(&self, name: &str) {
        name.clone_into(&mut self.state().name);
    }

    /// Connections are refused from now on.
    pub fn go_down(&self) {
        self.state().up = false;
        // Wakes whoever accepts.
        drop(TcpStream::connect(self.shared.address));
        let started = Instant::now();
        while TcpStream::connect(self.shared.address).is_ok() {
            assert!(started.elapsed() < WAIT_MAX, "the fake Telegram does not go down");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn come_up(&self) {
        let started = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.shared.address) {
                Ok(listener) => break listener,
                Err(e) => assert!(started.elapsed() < WAIT_MAX, "cannot come up again: {e}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.state().up = true;
        wire::listen(&self.shared, listener);
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The calls of one method.
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.method.eq_ignore_ascii_case(method)).collect()
    }

    /// The chat from its beginning.
    pub fn chat(&self) -> Vec<Seen> {
        self.state().chat.values().cloned().collect()
    }

    /// The messages that can be read as containing `words`.
    pub fn with(&self, words: &str) -> Vec<Seen> {
        self.chat().into_iter().filter(|message| message.visible.contains(words)).collect()
    }

    /// Something happens in the chat; `update` is its content without a number. Gives the number.
    pub fn push(&self, mut update: Value) -> i64 {
        let mut state = self.state();
        let number = state.next_update;
        state.next_update += 1;
        update["update_id"] = json!(number);
        state.updates.push_back(update);
        drop(state);
        self.shared.changed.notify_all();
        number
    }

    /// Somebody writes; `reply_to` is a message of the chat. Gives the message's number.
    pub fn writes(&self, user: i64, chat: i64, text: &str, reply_to: Option<i64>) -> i64 {
        let id = {
            let mut state = self.state();
            state.next_message += 1;
            state.next_message
        };
        let mut message = json!({"message_id": id, "date": since_epoch(), "chat": chat_json(chat),
            "from": {"id": user, "is_bot": false, "first_name": "Somebody"}, "text": text});
        if let Some(original) = reply_to {
            message["reply_to_message"] =
                json!({"message_id": original, "date": since_epoch(), "chat": chat_json(chat), "text": "…"});
        }
        self.push(json!({ "message": message }));
        id
    }

    /// Somebody presses a button of a message; gives what the press is answered by.
    pub fn presses(&self, user: i64, chat: i64, message: i64, data: &str) -> String {
        let query = format!("query-{}", self.state().next_update);
        self.push(json!({"callback_query": {"id": query, "chat_instance": "1", "data": data,
            "from": {"id": user, "is_bot": false, "first_name": "Somebody"},
            "message": {"message_id": message, "date": since_epoch(), "chat": chat_json(chat), "text": "…"}}}));
        query
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }
}

impl Drop for FakeTelegram {
    fn drop(&mut self) {
        self.state().up = false;
        self.shared.changed.notify_all();
        drop(TcpStream::connect(self.shared.address));
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since_epoch() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs()
}

fn chat_json(chat: i64) -> Value {
    // As Telegram numbers them: groups are below zero.
    if chat < 0 {
        json!({"id": chat, "type": "supergroup", "title": "Box"})
    } else {
        json!({"id": chat, "type": "private", "first_name": "Somebody"})
    }
}
