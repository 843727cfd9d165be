//! Claude Code: stream-json out and, so that messages reach a working agent, stream-json in.
//!
//! `subtype` says "success" even when the provider refused the request: only `is_error` and
//! `api_error_status` count.

use serde_json::{Value, json};

use super::{Wishes, count, status, text};
use crate::model::worker::{AgentEvent, Limit, Tokens, TurnEnd, Window};

/// Our messages are numbered in the last part of their uuid; the rest marks them as ours.
const UUID_PREFIX: &str = "6c756369-6400-4000-8000-";
/// Longest tool output that is kept beside the raw line, in bytes.
const TOOL_TEXT_MAX_BYTES: usize = 4096;

pub(super) fn flags(wishes: &Wishes) -> Vec<String> {
    let mut flags: Vec<String> = [
        "-p",
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
        "--verbose",
        "--replay-user-messages",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut push = |name: &str, value: &str| flags.extend([name.to_owned(), value.to_owned()]);
    if let Some(model) = &wishes.model {
        push("--model", model);
    }
    if let Some(session) = &wishes.resume {
        push("--resume", session);
    }
    if let Some(turns) = wishes.max_turns {
        push("--max-turns", &turns.to_string());
    }
    if let Some(budget) = &wishes.budget_usd {
        push("--max-budget-usd", budget);
    }
    if !wishes.tools.is_empty() {
        push("--allowedTools", &wishes.tools.join(","));
    }
    flags
}

pub(super) fn input_line(message: i64, text: &str) -> String {
    json!({
        "type": "user",
        "uuid": format!("{UUID_PREFIX}{message:012x}"),
        "session_id": "",
        "parent_tool_use_id": null,
        "message": {"role": "user", "content": [{"type": "text", "text": text}]},
    })
    .to_string()
}

pub(super) fn read(value: &Value) -> Vec<AgentEvent> {
    match text(value, "/type") {
        Some("system") => system(value),
        Some("assistant") => assistant(value),
        Some("user") => user(value),
        Some("rate_limit_event") => vec![AgentEvent::Limit(limit(value))],
        Some("result") => vec![AgentEvent::TurnOver(turn_end(value))],
        Some(_) | None => Vec::new(),
    }
}

fn system(value: &Value) -> Vec<AgentEvent> {
    match text(value, "/subtype") {
        Some("init") => text(value, "/session_id")
            .map(|id| AgentEvent::Session { id: id.to_owned(), model: owned(value, "/model") })
            .into_iter()
            .collect(),
        Some("api_retry") => vec![AgentEvent::Retry {
            status: status(value, "/error_status"),
            error: text(value, "/error").unwrap_or_default().to_owned(),
        }],
        Some(_) | None => Vec::new(),
    }
}

fn assistant(value: &Value) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    let said = blocks(value).filter_map(|block| text(block, "/text")).collect::<Vec<_>>().join("\n");
    // An error that the program words as if the model had said it.
    let kind = owned(value, "/error");
    if kind.is_some() || value.pointer("/is_api_error_message") == Some(&Value::Bool(true)) {
        return vec![AgentEvent::Trouble { kind, text: said }];
    }
    for block in blocks(value) {
        match text(block, "/type") {
            Some("text") => {
                events.extend(text(block, "/text").map(|text| AgentEvent::Text(text.to_owned())));
            }
            Some("tool_use") => events.push(AgentEvent::Tool {
                name: text(block, "/name").unwrap_or("tool").to_owned(),
                input: block.get("input").cloned().unwrap_or(Value::Null),
            }),
            Some(_) | None => {}
        }
    }
    if let Some(usage) = value.pointer("/message/usage") {
        events.push(AgentEvent::Usage {
            message: owned(value, "/message/id"),
            model: owned(value, "/message/model").filter(|model| model != "<synthetic>"),
            tokens: tokens(usage),
        });
    }
    events
}

fn user(value: &Value) -> Vec<AgentEvent> {
    let ours = text(value, "/uuid").and_then(|uuid| uuid.strip_prefix(UUID_PREFIX));
    if let Some(message) = ours.and_then(|hex| i64::from_str_radix(hex, 16).ok()) {
        return vec![AgentEvent::Echo { message }];
    }
    blocks(value)
        .filter(|block| text(block, "/type") == Some("tool_result"))
        .map(|block| AgentEvent::ToolResult {
            is_error: block.pointer("/is_error") == Some(&Value::Bool(true)),
            text: clipped(&block.get("content").map(content_text).unwrap_or_default()),
        })
        .collect()
}

fn blocks(value: &Value) -> impl Iterator<Item = &Value> {
    value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten()
}

/// A tool's output is a text or a list of parts.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| text(part, "/text")).collect::<Vec<_>>().join("\n")
        }
        other => other.to_string(),
    }
}

fn clipped(text: &str) -> String {
    let mut end = text.len().min(TOOL_TEXT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn limit(value: &Value) -> Limit {
    let info = value.get("rate_limit_info").unwrap_or(&Value::Null);
    let windows = info.get("unifiedWindows").and_then(Value::as_object);
    Limit {
        is_rejected: text(info, "/status") == Some("rejected"),
        resets_ms: seconds(info.get("resetsAt")),
        windows: windows
            .into_iter()
            .flatten()
            .filter_map(|(name, window)| {
                Some(Window {
                    name: name.clone(),
                    used_milli: thousandths(window.get("utilization")?)?,
                    resets_ms: seconds(window.get("resetsAt"))?,
                })
            })
            .collect(),
    }
}

/// The stream counts seconds.
fn seconds(value: Option<&Value>) -> Option<i64> {
    value.and_then(Value::as_i64).and_then(|seconds| seconds.checked_mul(1000))
}

/// 0..1 as written by a program to which an exhausted window is the integer 1.
fn thousandths(value: &Value) -> Option<i64> {
    let share = value.as_f64()?;
    format!("{:.0}", (share * 1000.0).floor()).parse().ok()
}

fn tokens(usage: &Value) -> Tokens {
    Tokens {
        input: count(usage, "/input_tokens"),
        output: count(usage, "/output_tokens"),
        cache_read: count(usage, "/cache_read_input_tokens"),
        cache_write: count(usage, "/cache_creation_input_tokens"),
    }
}

fn turn_end(value: &Value) -> TurnEnd {
    let models = value.get("modelUsage").and_then(Value::as_object);
    let reason = text(value, "/terminal_reason").filter(|reason| *reason != "completed");
    let subtype = text(value, "/subtype").filter(|subtype| *subtype != "success");
    TurnEnd {
        is_error: value.pointer("/is_error") == Some(&Value::Bool(true)),
        status: status(value, "/api_error_status"),
        reason: reason.or(subtype).map(str::to_owned),
        text: text(value, "/result").unwrap_or_default().to_owned(),
        cost_usd: value.get("total_cost_usd").and_then(Value::as_number).map(ToString::to_string),
        tokens: value.get("usage").map(tokens).unwrap_or_default(),
        model: models.and_then(|models| models.keys().next()).cloned(),
    }
}

fn owned(value: &Value, path: &str) -> Option<String> {
    text(value, path).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::model::worker::Dialect;

    fn one(line: &str) -> AgentEvent {
        let mut events = read(Dialect::Claude, line);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    #[test]
    fn a_whole_turn() {
        let init = r#"{"type":"system","subtype":"init","cwd":"/w","session_id":"a74d","model":"claude-sonnet-5","tools":[]}"#;
        assert_eq!(
            one(init),
            AgentEvent::Session { id: "a74d".into(), model: Some("claude-sonnet-5".into()) }
        );
        let said = r#"{"type":"assistant","message":{"id":"msg_1","model":"claude-sonnet-5","content":[{"type":"thinking","thinking":".."},{"type":"text","text":"Reading."},{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls"}}],"usage":{"input_tokens":9,"cache_creation_input_tokens":35280,"cache_read_input_tokens":0,"output_tokens":4}},"session_id":".."}"#;
        assert_eq!(
            read(Dialect::Claude, said),
            [
                AgentEvent::Text("Reading.".into()),
                AgentEvent::Tool { name: "Bash".into(), input: json!({"command": "ls"}) },
                AgentEvent::Usage {
                    message: Some("msg_1".into()),
                    model: Some("claude-sonnet-5".into()),
                    tokens: Tokens { input: 9, output: 4, cache_read: 0, cache_write: 35280 },
                },
            ]
        );
        let done = r#"{"type":"result","subtype":"success","is_error":false,"result":"Fixed.","total_cost_usd":0.4137,"terminal_reason":"completed","api_error_status":null,"usage":{"input_tokens":41233,"cache_creation_input_tokens":90,"cache_read_input_tokens":24000,"output_tokens":6180},"modelUsage":{"claude-sonnet-5":{"costUSD":0.41}}}"#;
        let AgentEvent::TurnOver(end) = one(done) else { panic!("no end") };
        assert_eq!((end.is_error, end.status, end.reason, end.text.as_str()), (false, None, None, "Fixed."));
        assert_eq!(end.cost_usd.as_deref(), Some("0.4137"));
        assert_eq!(end.tokens, Tokens { input: 41233, output: 6180, cache_read: 24000, cache_write: 90 });
    }

    #[test]
    fn a_session_limit_says_success_and_means_429() {
        let refused = r#"{"type":"assistant","message":{"id":"ae","model":"<synthetic>","content":[{"type":"text","text":"You've hit your session limit · resets 9am (Europe/Berlin)"}],"usage":{"input_tokens":0}},"error":"rate_limit","is_api_error_message":true}"#;
        assert_eq!(
            one(refused),
            AgentEvent::Trouble {
                kind: Some("rate_limit".into()),
                text: "You've hit your session limit · resets 9am (Europe/Berlin)".into()
            }
        );
        let result = r#"{"is_error":true,"subtype":"success","api_error_status":429,"result":"You've hit your session limit","type":"result","duration_ms":864}"#;
        let AgentEvent::TurnOver(end) = one(result) else { panic!("no end") };
        assert_eq!((end.is_error, end.status), (true, Some(429)));
    }

    #[test]
    fn windows_are_seconds_and_an_integer_one_is_full() {
        let line = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","resetsAt":1789068000,"unifiedWindows":{"five_hour":{"utilization":1,"resetsAt":1789068000},"seven_day":{"utilization":0.65,"resetsAt":1789556400}}}}"#;
        let AgentEvent::Limit(limit) = one(line) else { panic!("no limit") };
        assert!(!limit.is_rejected);
        assert_eq!(limit.resets_ms, Some(1_789_068_000_000));
        let windows: Vec<(&str, i64)> =
            limit.windows.iter().map(|w| (w.name.as_str(), w.used_milli)).collect();
        assert_eq!(windows, [("five_hour", 1000), ("seven_day", 650)]);
    }

    #[test]
    fn our_own_message_comes_back_as_its_receipt() {
        assert_eq!(one(&input_line(77, "ü\n\"x\"")), AgentEvent::Echo { message: 77 });
        let result = r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok","is_error":false}]}}"#;
        assert_eq!(one(result), AgentEvent::ToolResult { is_error: false, text: "ok".into() });
    }
}
