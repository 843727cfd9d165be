//! What became of a worker, from what it said and how it ended, and what is to be done about it. Pure.
//!
//! The result that a program prints wins over how its process then ended: it may hang, crash or be killed
//! after the work is done. What it was told after that is work of its own, which that result says nothing of.
//! What it asked by the API wins over everything.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::dialect::reset_ms;
use crate::model::ticket::Ask;
use crate::model::worker::{AgentEvent, Dialect, Limit, Tokens, TurnEnd, Verdict};

/// Longest text of an agent kept as its last word, in bytes.
const LAST_TEXT_MAX_BYTES: usize = 8192;

/// How long a profile that cannot pay is left alone.
pub const BILLING_COOL: Duration = Duration::from_secs(3600);
/// How long a profile whose program could not be started is left alone.
pub const MISSING_COOL: Duration = Duration::from_secs(60);
/// Wait before a crashed worker's ticket is tried again.
pub const CRASH_PAUSE: Duration = Duration::from_secs(5);
/// Crashes in a row of one ticket before a person has to look.
pub const CRASH_RETRIES: u32 = 2;
/// Tries of one profile that is overloaded before the next one gets the ticket.
pub const OVERLOAD_TRIES: u32 = 3;

/// What was heard of a worker so far; small enough to be kept with every batch of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    pub session: Option<String>,
    pub model: Option<String>,
    /// The last event that listed usage windows.
    pub counted: Option<Limit>,
    /// The last event that refused a request for its limit.
    pub rejected: Option<Limit>,
    pub trouble: Option<Trouble>,
    /// How its last turn that is over ended.
    pub end: Option<TurnEnd>,
    /// Those that are over.
    pub turns: u32,
    /// It has spoken since `end`: another turn is under way, and `end` is no word on it.
    pub speaks: bool,
    /// What it asked a person.
    pub question: Option<Ask>,
    pub last_text: String,
    /// The last usage that named no message.
    pub tokens: Tokens,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: Option<String>,
    pub text: String,
}

impl Heard {
    /// Takes one more thing that the worker said.
    pub fn take(&mut self, event: &AgentEvent) {
        if matches!(event, AgentEvent::Echo { .. } | AgentEvent::Text(_) | AgentEvent::Tool { .. }) {
            self.begin_turn();
        }
        match event {
            AgentEvent::Session { id, model } => {
                self.session = Some(id.clone());
                self.model = model.clone().or_else(|| self.model.take());
            }
            AgentEvent::Text(text) => self.last_text = tail(text),
            AgentEvent::Usage { message, model, tokens } => {
                if model.is_some() {
                    self.model.clone_from(model);
                }
                if message.is_none() {
                    self.tokens = *tokens;
                }
            }
            AgentEvent::Limit(limit) => {
                if !limit.windows.is_empty() {
                    self.counted = Some(limit.clone());
                }
                self.rejected = limit.is_rejected.then(|| limit.clone());
            }
            AgentEvent::Trouble { kind, text } => {
                self.trouble = Some(Trouble { kind: kind.clone(), text: tail(text) });
            }
            AgentEvent::Question(ask) => self.question = Some(ask.clone()),
            AgentEvent::TurnOver(end) => {
                self.turns += 1;
                if end.model.is_some() {
                    self.model.clone_from(&end.model);
                }
                self.end = Some(TurnEnd { text: tail(&end.text), ..end.clone() });
                self.speaks = false;
            }
            AgentEvent::Echo { .. }
            | AgentEvent::Tool { .. }
            | AgentEvent::ToolResult { .. }
            | AgentEvent::Retry { .. }
            | AgentEvent::Raw => {}
        }
    }

    fn begin_turn(&mut self) {
        if self.end.is_some() && !self.speaks {
            self.speaks = true;
            // Of the turn that is over.
            self.trouble = None;
        }
    }

    /// How it ended what it was told to do; none while it is at it.
    #[must_use]
    pub fn last_word(&self) -> Option<&TurnEnd> {
        self.end.as_ref().filter(|_| !self.speaks)
    }

    /// Everything that the program worded about its failure.
    fn words(&self) -> String {
        let trouble = self.trouble.as_ref().map_or("", |trouble| trouble.text.as_str());
        let end = self.last_word().map_or("", |end| end.text.as_str());
        format!("{trouble}\n{end}")
    }
}

fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(LAST_TEXT_MAX_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// How the process ended, as the ledger says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Code(i32),
    Signal,
    /// Into its limit.
    Timeout,
    /// A person ended it.
    Stopped,
    /// The daemon ended it, on its own way out or after the turn was over.
    Daemon,
    /// Its keeper vanished, or the machine went down.
    Lost,
    Unstartable,
}

/// What the worker's end means.
#[must_use]
pub fn verdict(dialect: Dialect, heard: &Heard, ended: Ended, zone: &TimeZone, now_ms: i64) -> Verdict {
    if heard.question.is_some() {
        return Verdict::NeedsInput;
    }
    if ended == Ended::Stopped {
        return Verdict::Stopped;
    }
    if let Some(end) = heard.last_word() {
        return if end.is_error || end.reason.is_some() {
            failed(heard, end.status, end.reason.as_deref(), zone, now_ms)
        } else {
            Verdict::Ok
        };
    }
    match ended {
        Ended::Unstartable => Verdict::Unstartable,
        Ended::Timeout => Verdict::Timeout,
        Ended::Daemon | Ended::Lost | Ended::Stopped => Verdict::Lost,
        Ended::Code(0) if dialect == Dialect::Plain => Verdict::Ok,
        Ended::Code(_) | Ended::Signal => failed(heard, None, None, zone, now_ms),
    }
}

fn failed(heard: &Heard, status: Option<u16>, reason: Option<&str>, zone: &TimeZone, now_ms: i64) -> Verdict {
    let words = heard.words();
    let lower = words.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|word| lower.contains(word));
    let limited = || Verdict::RateLimited {
        until_ms: reset_ms(heard.counted.as_ref(), heard.rejected.as_ref(), &words, zone, now_ms),
    };
    // Worded so by providers that answer 400: it is the account, not the request.
    if says(&["extra usage", "credit balance", "billing_error"]) {
        return Verdict::Billing;
    }
    match status {
        Some(429) => return limited(),
        Some(401 | 403) => return Verdict::Auth,
        Some(402) => return Verdict::Billing,
        Some(400 | 404 | 413 | 422) => return Verdict::BadRequest,
        Some(500..=599) => return Verdict::Overloaded,
        Some(_) | None => {}
    }
    match heard.trouble.as_ref().and_then(|trouble| trouble.kind.as_deref()) {
        Some("rate_limit") => return limited(),
        Some("authentication_failed") => return Verdict::Auth,
        Some("billing_error") => return Verdict::Billing,
        Some("invalid_request") => return Verdict::BadRequest,
        Some("server_error" | "overloaded") => return Verdict::Overloaded,
        Some(_) | None => {}
    }
    let hit = lower.contains("hit your") && lower.contains("limit");
    if heard.rejected.is_some() || hit || says(&["usage limit", "rate limit", "too many requests"]) {
        return limited();
    }
    if says(&["not logged in", "please run /login", "invalid api key", "unauthorized"]) {
        return Verdict::Auth;
    }
    if says(&["overloaded", "internal server error", "service unavailable"]) {
        return Verdict::Overloaded;
    }
    // It stopped at a limit of its own or at what it was given: another try would stop there too.
    match reason {
        Some("error_during_execution" | "api_error") | None => Verdict::Crash,
        Some(word) if word.starts_with("aborted") => Verdict::Crash,
        Some(_) => Verdict::BadRequest,
    }
}

/// How often this ticket has been tried, and how far the limit is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts so far, the one that has ended included.
    pub attempts: u32,
    pub max_attempts: u32,
    /// In a row, by overload of the same profile, this one included.
    pub overloads: u32,
    /// In a row, by crash, this one included.
    pub crashes: u32,
}

/// The waits between tries of an overloaded profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub least: Duration,
    pub most: Duration,
}

/// What the ticket does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Review,
    /// The question it asked stands.
    Asked,
    /// A person has to look.
    GiveUp {
        code: &'static str,
        text: String,
    },
    Again {
        after: Duration,
        with: With,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    Same,
    /// Anyone of the chain but this profile.
    NextProfile,
}

/// What happens to the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    CoolUntil(i64),
    Disable,
}

/// Decides about ticket and profile. `chance` is a random number, for the jitter.
#[must_use]
pub fn decide(
    verdict: &Verdict,
    heard: &Heard,
    tries: Tries,
    backoff: Backoff,
    chance: u64,
    now_ms: i64,
) -> (Next, Effect) {
    let effect = match verdict {
        Verdict::RateLimited { until_ms } => Effect::CoolUntil(*until_ms),
        Verdict::Billing => Effect::CoolUntil(after(now_ms, BILLING_COOL)),
        Verdict::Unstartable => Effect::CoolUntil(after(now_ms, MISSING_COOL)),
        Verdict::Auth => Effect::Disable,
        Verdict::Overloaded if tries.overloads >= OVERLOAD_TRIES => {
            Effect::CoolUntil(after(now_ms, backoff.most))
        }
        Verdict::Overloaded
        | Verdict::Ok
        | Verdict::NeedsInput
        | Verdict::BadRequest
        | Verdict::Crash
        | Verdict::Timeout
        | Verdict::Stopped
        | Verdict::Lost => Effect::Nothing,
    };
    (next(verdict, heard, tries, backoff, chance), effect)
}

fn next(verdict: &Verdict, heard: &Heard, tries: Tries, backoff: Backoff, chance: u64) -> Next {
    let again = |wait, with| Next::Again { after: wait, with };
    let wanted = match verdict {
        Verdict::Ok => return Next::Review,
        Verdict::NeedsInput => return Next::Asked,
        Verdict::Stopped => {
            return Next::GiveUp {
                code: "stopped",
                text: "its run was stopped; move it to todo to go on".into(),
            };
        }
        Verdict::BadRequest => {
            return Next::GiveUp { code: "bad_request", text: told(heard, "the agent refused the work") };
        }
        Verdict::Crash if tries.crashes > CRASH_RETRIES => {
            return Next::GiveUp { code: "crash", text: told(heard, "the agent crashed again and again") };
        }
        Verdict::Crash | Verdict::Lost | Verdict::Timeout => again(CRASH_PAUSE, With::Same),
        Verdict::Overloaded if tries.overloads < OVERLOAD_TRIES => {
            again(overload_wait(backoff, tries.overloads, chance), With::Same)
        }
        Verdict::Overloaded
        | Verdict::RateLimited { .. }
        | Verdict::Auth
        | Verdict::Billing
        | Verdict::Unstartable => again(Duration::ZERO, With::NextProfile),
    };
    if tries.attempts >= tries.max_attempts {
        let text = format!(
            "{} attempts are used up; the last ended: {}",
            tries.attempts,
            told(heard, verdict.name())
        );
        return Next::GiveUp { code: "attempts_spent", text };
    }
    wanted
}

/// Doubles from `least`, at most `most`, and takes between half and all of it.
#[must_use]
pub fn overload_wait(backoff: Backoff, tries: u32, chance: u64) -> Duration {
    let doubled = backoff.least.saturating_mul(2u32.saturating_pow(tries.saturating_sub(1).min(20)));
    let whole = u64::try_from(doubled.min(backoff.most).as_millis()).unwrap_or(u64::MAX);
    let least = u64::try_from(backoff.least.as_millis()).unwrap_or(u64::MAX);
    let floor = (whole / 2).max(least.min(whole));
    Duration::from_millis(floor + chance % (whole - floor + 1))
}

/// The program's own last words, or ours.
fn told(heard: &Heard, otherwise: &str) -> String {
    let end = heard.last_word().map(|end| end.text.as_str()).filter(|text| !text.is_empty());
    let trouble = heard.trouble.as_ref().map(|trouble| trouble.text.as_str()).filter(|text| !text.is_empty());
    let line = end.or(trouble).unwrap_or(otherwise).lines().next().unwrap_or(otherwise);
    line.chars().take(300).collect()
}

fn after(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(crate::model::time::millis(wait))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
