//! What the fake agent prints, in the language its flags ask for.

use std::io::Write as _;

use serde_json::{Value, json};

/// Far enough that no test waits for it, in seconds since the epoch: 2100.
const RESET_S: i64 = 4_102_444_800;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Claude,
    Codex,
    Plain,
}

impl Language {
    pub(super) fn of(args: &[String]) -> Self {
        if args.iter().any(|arg| arg == "stream-json") {
            Self::Claude
        } else if args.iter().any(|arg| arg == "--json") {
            Self::Codex
        } else {
            Self::Plain
        }
    }

    pub(super) fn is_live(self) -> bool {
        match self {
            Self::Claude => true,
            Self::Codex | Self::Plain => false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    RateLimited,
    Overloaded,
    Auth,
    ExtraUsage,
}

impl Failure {
    fn words(self) -> &'static str {
        match self {
            Self::RateLimited => "You've hit your usage limit.",
            Self::Overloaded => "API Error: 529 Overloaded",
            Self::Auth => "Not logged in · Please run /login",
            Self::ExtraUsage => "API Error: 400 You're out of extra usage",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::RateLimited => 429,
            Self::Overloaded => 529,
            Self::Auth => 401,
            Self::ExtraUsage => 400,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limit",
            Self::Overloaded => "server_error",
            Self::Auth => "authentication_failed",
            Self::ExtraUsage => "invalid_request",
        }
    }
}

pub(super) struct Voice {
    language: Language,
    session: String,
    model: String,
    messages: u32,
}

impl Voice {
    pub(super) fn new(language: Language, session: &str, model: &str) -> Self {
        Self { language, session: session.to_owned(), model: model.to_owned(), messages: 0 }
    }

    pub(super) fn begin(&self) {
        match self.language {
            Language::Claude => object(&json!({
                "type": "system", "subtype": "init", "session_id": self.session, "model": self.model,
                "tools": ["Bash", "Edit"], "permissionMode": "bypassPermissions",
            })),
            Language::Codex => {
                object(&json!({"type": "thread.started", "thread_id": self.session}));
                object(&json!({"type": "turn.started"}));
            }
            Language::Plain => line(&format!("session {}", self.session)),
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        let content = json!([{"type": "text", "text": text}]);
        self.speak(text, &content);
    }

    pub(super) fn tool(&mut self, name: &str, command: &str) {
        match self.language {
            Language::Claude => {
                let content = json!([{"type": "tool_use", "id": "toolu_1", "name": name, "input": {"command": command}}]);
                self.speak("", &content);
            }
            Language::Codex => object(&json!({"type": "item.completed", "item": {
                "id": "item_t", "type": "command_execution", "command": command, "aggregated_output": "",
                "exit_code": 0, "status": "completed",
            }})),
            Language::Plain => line(&format!("$ {command}")),
        }
    }

    /// Each message is told twice, as the real one does with several parts.
    fn speak(&mut self, text: &str, content: &Value) {
        self.messages += 1;
        match self.language {
            Language::Claude => {
                let message = json!({
                    "id": format!("msg_{}", self.messages), "role": "assistant", "model": self.model, "content": content,
                    "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100,
                              "cache_creation_input_tokens": 7},
                });
                let mut again = message.clone();
                again["content"] = json!([]);
                for message in [message, again] {
                    object(&json!({"type": "assistant", "message": message, "session_id": self.session}));
                }
            }
            Language::Codex => object(&json!({"type": "item.completed", "item": {
                "id": format!("item_{}", self.messages), "type": "agent_message", "text": text,
            }})),
            Language::Plain => line(text),
        }
    }

    pub(super) fn garbage(&self) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(
            b"\xff\xfe\x00 not utf-8\n{\n}\nnull\n[1,2\n\n{\"type\":\"from_the_future\",\"x\":{}}\n",
        );
        let _ = out.write_all("\u{202e}\u{0007}\u{1b}[31mred\n".as_bytes());
        let _ = out.flush();
    }

    pub(super) fn result(&mut self, text: &str) {
        match self.language {
            Language::Claude => object(&json!({
                "type": "result", "subtype": "success", "is_error": false, "result": text,
                "session_id": self.session, "total_cost_usd": 0.0123, "terminal_reason": "completed",
                "api_error_status": null, "num_turns": 1,
                "usage": {"input_tokens": 30, "output_tokens": 15, "cache_read_input_tokens": 300,
                          "cache_creation_input_tokens": 21},
                "modelUsage": {self.model.clone(): {"costUSD": 0.0123}},
            })),
            Language::Codex => {
                self.say(text);
                object(&json!({"type": "turn.completed", "usage": {
                    "input_tokens": 130, "cached_input_tokens": 100, "output_tokens": 15,
                }}));
            }
            Language::Plain => line(text),
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        let words = failure.words();
        match self.language {
            Language::Claude => {
                if let Failure::RateLimited = failure {
                    object(&json!({"type": "rate_limit_event", "rate_limit_info": {
                        "status": "rejected", "rateLimitType": "five_hour", "resetsAt": RESET_S,
                    }}));
                }
                object(&json!({
                    "type": "assistant", "session_id": self.session, "error": failure.kind(),
                    "is_api_error_message": true,
                    "message": {"id": "synthetic", "model": "<synthetic>", "role": "assistant",
                                "content": [{"type": "text", "text": words}],
                                "usage": {"input_tokens": 0, "output_tokens": 0}},
                }));
                object(&json!({
                    "is_error": true, "subtype": "success", "api_error_status": failure.status(),
                    "result": words, "type": "result", "duration_ms": 864,
                }));
            }
            Language::Codex => {
                object(&json!({"type": "error", "message": words}));
                object(&json!({"type": "turn.failed", "error": {"message": words}}));
            }
            Language::Plain => line(words),
        }
    }
}

/// The text of one line of live input.
pub(super) fn text_of(input: &str) -> String {
    let value: Value = serde_json::from_str(input).unwrap_or(Value::Null);
    let text = value.pointer("/message/content/0/text").and_then(Value::as_str);
    text.map_or_else(|| input.to_owned(), str::to_owned)
}

fn object(value: &Value) {
    line(&value.to_string());
}

/// Prints one line at once; nobody listening is no reason to fail.
pub(super) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("{text}\n").as_bytes());
    let _ = out.flush();
}
