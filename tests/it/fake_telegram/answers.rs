//! What each call is answered, by the mode of the day.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::markup::visible;
use super::wire::Request;
use super::{CHAT, Call, Mode, Seen, Shared, TOKEN, chat_json, lock, since_epoch};

pub type Answer = (u16, &'static str, String);

/// `None` breaks the connection.
pub fn answer(shared: &Shared, request: &Request) -> Option<Answer> {
    let (token, method) = request.path.strip_prefix("/bot")?.split_once('/')?;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let raw = if body.is_null() { request.body.clone() } else { Vec::new() };
    let mode = lock(shared).mode.clone();
    let polls = method.eq_ignore_ascii_case("getUpdates");
    let done = if token == TOKEN {
        match &mode {
            Mode::Busy(after) if !polls => {
                refuse(429, "Too Many Requests: retry later", json!({"retry_after": after}))
            }
            Mode::BusyIn(chat, after) if body["chat_id"] == *chat => {
                refuse(429, "Too Many Requests: retry later", json!({"retry_after": after}))
            }
            Mode::Trouble => refuse(500, "Internal Server Error", Value::Null),
            Mode::Gateway => {
                (502, "text/html", format!("<html><h1>502 Bad Gateway</h1>{}</html>", request.path))
            }
            Mode::Conflict if polls => refuse(
                409,
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                Value::Null,
            ),
            Mode::Muted if method.eq_ignore_ascii_case("sendMessage") => {
                refuse(403, "Forbidden: bot was blocked by the user", Value::Null)
            }
            Mode::Blocked if !polls => refuse(403, "Forbidden: bot was blocked by the user", Value::Null),
            Mode::NoChat if !polls => refuse(400, "Bad Request: chat not found", Value::Null),
            Mode::Entities if body.get("parse_mode").is_some() => {
                refuse(400, "Bad Request: can't parse entities: unsupported start tag", Value::Null)
            }
            Mode::Moved(to) if body["chat_id"] != json!(to) && !polls => refuse(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                json!({"migrate_to_chat_id": to}),
            ),
            Mode::Ok
            | Mode::Busy(_)
            | Mode::Blocked
            | Mode::Muted
            | Mode::NoChat
            | Mode::Entities
            | Mode::Moved(_)
            | Mode::Conflict
            | Mode::Forgetful
            | Mode::Unnamed
            | Mode::BusyIn(..)
            | Mode::ResetAfter
            | Mode::Slow(_) => act(shared, method, &body, &raw),
        }
    } else {
        refuse(401, "Unauthorized", Value::Null)
    };
    let call = Call { at: Instant::now(), method: method.to_owned(), body, raw, status: done.0 };
    lock(shared).calls.push(call);
    shared.changed.notify_all();
    match mode {
        Mode::Unnamed if method.eq_ignore_ascii_case("sendMessage") => Some(grant(&json!({}))),
        Mode::ResetAfter if !polls => None,
        Mode::Slow(time) if !polls => {
            hold(shared, &mode, time);
            Some(done)
        }
        _ => Some(done),
    }
}

/// Waits for `time`, or until the mode is another.
fn hold(shared: &Shared, mode: &Mode, time: Duration) {
    let state = lock(shared);
    drop(shared.changed.wait_timeout_while(state, time, |state| state.up && state.mode == *mode));
}

fn refuse(status: u16, why: &str, parameters: Value) -> Answer {
    let mut answer = json!({"ok": false, "error_code": status, "description": why});
    if !parameters.is_null() {
        answer["parameters"] = parameters;
    }
    (status, "application/json", answer.to_string())
}

fn grant(result: &Value) -> Answer {
    (200, "application/json", json!({"ok": true, "result": result}).to_string())
}

fn act(shared: &Shared, method: &str, body: &Value, raw: &[u8]) -> Answer {
    match method.to_ascii_lowercase().as_str() {
        "getme" => {
            grant(&json!({"id": 1, "is_bot": true, "first_name": "Box", "username": lock(shared).name,
            "can_join_groups": true, "can_read_all_group_messages": false, "supports_inline_queries": false,
            "can_connect_to_business": false, "has_main_web_app": false}))
        }
        "sendmessage" => send(shared, body),
        "editmessagetext" => edit(shared, body),
        "senddocument" => send_file(shared, raw),
        "getupdates" => updates(shared, body),
        "setmessagereaction" => {
            let mut state = lock(shared);
            let emoji = body.pointer("/reaction/0/emoji").and_then(Value::as_str).map(str::to_owned);
            if let Some(message) = body["message_id"].as_i64().and_then(|id| state.chat.get_mut(&id)) {
                message.reaction = emoji;
            }
            grant(&json!(true))
        }
        "answercallbackquery" | "setmycommands" | "sendchataction" => grant(&json!(true)),
        _ => refuse(404, "Not Found", Value::Null),
    }
}

/// The text as it is read, or how Telegram would refuse it.
fn read_text(body: &Value) -> Result<(String, String), Answer> {
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    let seen = match body.get("parse_mode").and_then(Value::as_str) {
        None => text.clone(),
        Some(_) => visible(&text)
            .map_err(|why| refuse(400, &format!("Bad Request: can't parse entities: {why}"), Value::Null))?,
    };
    if seen.trim().is_empty() {
        return Err(refuse(400, "Bad Request: message text is empty", Value::Null));
    }
    if seen.encode_utf16().count() > 4096 {
        return Err(refuse(400, "Bad Request: message is too long", Value::Null));
    }
    Ok((text, seen))
}

fn buttons(body: &Value) -> Vec<(String, String)> {
    let rows = body.pointer("/reply_markup/inline_keyboard").and_then(Value::as_array);
    let all = rows.into_iter().flatten().filter_map(Value::as_array).flatten();
    all.map(|button| {
        let word = |key: &str| button[key].as_str().unwrap_or_default().to_owned();
        let press = if button["url"].is_string() { word("url") } else { word("callback_data") };
        (word("text"), press)
    })
    .collect()
}

fn send(shared: &Shared, body: &Value) -> Answer {
    let (text, seen) = match read_text(body) {
        Ok(read) => read,
        Err(refusal) => return refusal,
    };
    let buttons = buttons(body);
    if buttons.iter().any(|(_, press)| press.len() > 64 && !press.starts_with("http")) {
        return refuse(400, "Bad Request: BUTTON_DATA_INVALID", Value::Null);
    }
    let chat = body["chat_id"].as_i64().unwrap_or_default();
    let message = Seen {
        id: 0,
        chat,
        thread: body["message_thread_id"].as_i64(),
        text,
        visible: seen,
        buttons,
        reply_to: body.pointer("/reply_parameters/message_id").and_then(Value::as_i64),
        silent: body["disable_notification"] == json!(true),
        edits: 0,
        reaction: None,
    };
    keep(shared, message)
}

fn send_file(shared: &Shared, raw: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(raw).into_owned();
    let message = Seen {
        id: 0,
        chat: CHAT,
        thread: None,
        visible: text.clone(),
        text,
        buttons: Vec::new(),
        reply_to: None,
        silent: false,
        edits: 0,
        reaction: None,
    };
    keep(shared, message)
}

fn keep(shared: &Shared, mut message: Seen) -> Answer {
    let mut state = lock(shared);
    state.next_message += 1;
    message.id = state.next_message;
    let told = json!({"message_id": message.id, "date": since_epoch(), "chat": chat_json(message.chat),
        "text": message.visible});
    state.chat.insert(message.id, message);
    grant(&told)
}

fn edit(shared: &Shared, body: &Value) -> Answer {
    let (text, seen) = match read_text(body) {
        Ok(read) => read,
        Err(refusal) => return refusal,
    };
    let mut state = lock(shared);
    let Some(message) = body["message_id"].as_i64().and_then(|id| state.chat.get_mut(&id)) else {
        return refuse(400, "Bad Request: message to edit not found", Value::Null);
    };
    let buttons = buttons(body);
    if message.text == text && message.buttons == buttons {
        return refuse(
            400,
            "Bad Request: message is not modified: specified new message content and reply markup are exactly \
             the same as a current content and reply markup of the message",
            Value::Null,
        );
    }
    (message.text, message.visible, message.buttons) = (text, seen, buttons);
    message.edits += 1;
    let told = json!({"message_id": message.id, "date": since_epoch(), "chat": chat_json(message.chat),
        "text": message.visible, "edit_date": since_epoch()});
    grant(&told)
}

/// As Telegram does: what lies before the offset is forgotten, and with nothing there it waits.
fn updates(shared: &Shared, body: &Value) -> Answer {
    let offset = body["offset"].as_i64().unwrap_or(0);
    let wait = Duration::from_secs(body["timeout"].as_u64().unwrap_or(0));
    let mut state = lock(shared);
    let number = |update: &Value| update["update_id"].as_i64().unwrap_or_default();
    if state.mode == Mode::Forgetful && !state.updates.is_empty() {
        let all = state.updates.iter().cloned().collect();
        drop(state);
        // As fast as it could, it would do nothing else.
        std::thread::sleep(Duration::from_millis(100));
        return grant(&all);
    }
    state.updates.retain(|update| number(update) >= offset);
    let (state, _) = shared
        .changed
        .wait_timeout_while(state, wait, |state| state.up && state.updates.is_empty())
        .unwrap_or_else(PoisonError::into_inner);
    grant(&state.updates.iter().cloned().collect())
}
