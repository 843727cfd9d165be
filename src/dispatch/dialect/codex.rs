//! Codex: `codex exec --json`, prompt on standard input, one turn a process.
//!
//! Its cached tokens are part of its input tokens. "Reconnecting" errors are not fatal; only a failed turn is.

use serde_json::Value;

use super::{Wishes, count, text};
use crate::model::ticket::Ask;
use crate::model::worker::{AgentEvent, Tokens, TurnEnd};

pub(super) fn flags(wishes: &Wishes) -> Vec<String> {
    let mut flags = vec!["exec".to_owned()];
    match &wishes.resume {
        Some(session) => flags.extend(["resume".to_owned(), session.clone(), "--json".to_owned()]),
        None => flags.extend(["--json", "-s", "workspace-write"].map(str::to_owned)),
    }
    if let Some(model) = &wishes.model {
        flags.extend(["-m".to_owned(), model.clone()]);
    }
    flags.push("-".to_owned());
    flags
}

pub(super) fn read(value: &Value) -> Vec<AgentEvent> {
    match text(value, "/type") {
        Some("thread.started") => text(value, "/thread_id")
            .map(|id| AgentEvent::Session { id: id.to_owned(), model: None })
            .into_iter()
            .collect(),
        Some("item.completed") => item(value),
        Some("turn.completed") => {
            let tokens = tokens(value);
            vec![
                AgentEvent::Usage { message: None, model: None, tokens },
                AgentEvent::TurnOver(TurnEnd { tokens, ..TurnEnd::default() }),
            ]
        }
        Some("turn.failed") => vec![AgentEvent::TurnOver(TurnEnd {
            is_error: true,
            text: text(value, "/error/message").unwrap_or_default().to_owned(),
            ..TurnEnd::default()
        })],
        Some("error") => vec![trouble(text(value, "/message").unwrap_or_default())],
        Some("request_user_input") => vec![AgentEvent::Question(ask(value))],
        Some(_) | None => Vec::new(),
    }
}

fn item(value: &Value) -> Vec<AgentEvent> {
    let said = |path: &str| text(value, path).unwrap_or_default().to_owned();
    match text(value, "/item/type") {
        Some("agent_message") => vec![AgentEvent::Text(said("/item/text"))],
        Some("command_execution") => vec![AgentEvent::Tool {
            name: "command".to_owned(),
            input: serde_json::json!({
                "command": said("/item/command"), "exit_code": value.pointer("/item/exit_code"),
            }),
        }],
        Some("file_change") => vec![AgentEvent::Tool {
            name: "file_change".to_owned(),
            input: value.pointer("/item/changes").cloned().unwrap_or(Value::Null),
        }],
        Some("mcp_tool_call") => vec![AgentEvent::Tool {
            name: said("/item/tool"),
            input: value.pointer("/item/arguments").cloned().unwrap_or(Value::Null),
        }],
        Some("error") => vec![trouble(&said("/item/message"))],
        Some(_) | None => Vec::new(),
    }
}

fn trouble(message: &str) -> AgentEvent {
    if message.starts_with("Reconnecting") {
        return AgentEvent::Retry { status: None, error: message.to_owned() };
    }
    AgentEvent::Trouble { kind: None, text: message.to_owned() }
}

fn ask(value: &Value) -> Ask {
    let questions = value.get("questions").and_then(Value::as_array);
    let words = |question: &Value| {
        question
            .as_str()
            .or_else(|| text(question, "/question"))
            .or_else(|| text(question, "/text"))
            .map(str::to_owned)
    };
    let need: Vec<String> = questions.into_iter().flatten().filter_map(words).collect();
    let options = questions
        .into_iter()
        .flatten()
        .filter_map(|question| question.get("options").and_then(Value::as_array))
        .flatten()
        .filter_map(|option| option.as_str().or_else(|| text(option, "/label")).map(str::to_owned))
        .collect();
    let need = if need.is_empty() { "the agent asks for input".to_owned() } else { need.join("\n") };
    Ask { need, why: None, how: None, options }
}

fn tokens(value: &Value) -> Tokens {
    let cached = count(value, "/usage/cached_input_tokens");
    Tokens {
        input: (count(value, "/usage/input_tokens") - cached).max(0),
        output: count(value, "/usage/output_tokens"),
        cache_read: cached,
        cache_write: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::model::worker::Dialect;

    #[test]
    fn a_turn_and_its_tokens() {
        let lines = [
            r#"{"type":"thread.started","thread_id":"0199"}"#,
            r#"{"type":"item.completed","item":{"id":"0","type":"reasoning","text":"p"}}"#,
            r#"{"type":"item.completed","item":{"id":"3","type":"agent_message","text":"Done."}}"#,
            r#"{"type":"turn.completed","usage":{"input_tokens":24763,"cached_input_tokens":24448,"output_tokens":122}}"#,
        ];
        let events: Vec<AgentEvent> = lines.iter().flat_map(|line| read(Dialect::Codex, line)).collect();
        let tokens = Tokens { input: 315, output: 122, cache_read: 24448, cache_write: 0 };
        assert_eq!(
            events,
            [
                AgentEvent::Session { id: "0199".into(), model: None },
                AgentEvent::Raw,
                AgentEvent::Text("Done.".into()),
                AgentEvent::Usage { message: None, model: None, tokens },
                AgentEvent::TurnOver(TurnEnd { tokens, ..TurnEnd::default() }),
            ]
        );
    }

    #[test]
    fn reconnecting_is_no_failure_and_a_failed_turn_is() {
        let line = r#"{"type":"error","message":"Reconnecting... 1/5"}"#;
        assert!(matches!(&read(Dialect::Codex, line)[..], [AgentEvent::Retry { .. }]));
        let line = r#"{"type":"turn.failed","error":{"message":"You've hit your usage limit. Try again at 12:16 PM."}}"#;
        assert!(matches!(&read(Dialect::Codex, line)[..], [AgentEvent::TurnOver(end)] if end.is_error));
    }

    #[test]
    fn a_question_is_an_ask() {
        let line = r#"{"type":"request_user_input","id":"1","call_id":"c","questions":[{"question":"Which?","options":["a",{"label":"b"}]}]}"#;
        let [AgentEvent::Question(ask)] = &read(Dialect::Codex, line)[..] else { panic!("no question") };
        assert_eq!(
            (ask.need.as_str(), ask.options.as_slice()),
            ("Which?", &["a".to_owned(), "b".to_owned()][..])
        );
    }
}
