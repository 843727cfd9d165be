//! Logins that a person has to renew: what a command said or a file holds, and what that means.
//!
//! Nothing that the command printed is passed on but the declared word it was found by: an output may hold
//! the token itself. Nothing is ever renewed here.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{TokenCheck, TokenSource};
use crate::model::health::{Check, HealthState};
use crate::model::schedule::format_duration;
use crate::model::time::millis;
use crate::platform::glimpse::{self, Look};

use super::look;

/// The most of a file or an output that is read, in bytes.
pub const TEXT_MAX_BYTES: u64 = 1024 * 1024;
/// Statuses that mean by themselves that a person has to log in again.
const REAUTH_STATUSES: [&str; 5] = ["needs_reauth", "reauth", "expired", "revoked", "unauthorized"];
/// A field that says so whatever else the document holds.
const REAUTH_FLAG: &str = "/needs_reauth";
/// Longest status that is shown; anything but a plain word is not shown at all.
const STATUS_MAX_CHARS: usize = 40;
/// Numbers from here on are milliseconds since 1970, not seconds: as seconds it would be the year 5138.
const MILLIS_FROM: f64 = 1e11;

/// How a login stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    Well,
    /// It still works, and not for long.
    Expiring,
    /// Only a person can mend it.
    NeedsReauth,
    /// The check itself could not tell.
    Unknown,
}

impl TokenState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Expiring => "expiring",
            Self::NeedsReauth => "needs_reauth",
            Self::Unknown => "unknown",
        }
    }
}

/// What a look at one login came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenReport {
    pub name: String,
    pub state: TokenState,
    pub detail: String,
    /// When the look began: what was found since then counts for more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Timestamp>,
}

/// As a check among the others.
#[must_use]
pub fn check(report: &TokenReport, portal: Option<&str>) -> Check {
    let state = match report.state {
        TokenState::Well => HealthState::Healthy,
        TokenState::Expiring | TokenState::NeedsReauth | TokenState::Unknown => HealthState::Degraded,
    };
    let hint = match (report.state, portal) {
        (TokenState::NeedsReauth | TokenState::Expiring, Some(portal)) => portal.to_owned(),
        (TokenState::Well | TokenState::Unknown | TokenState::NeedsReauth | TokenState::Expiring, _) => {
            "lucid action token-health".to_owned()
        }
    };
    let name = &report.name;
    let detail = match report.state {
        TokenState::NeedsReauth => format!("{name} needs a login: {}", report.detail),
        TokenState::Well | TokenState::Expiring | TokenState::Unknown => format!("{name}: {}", report.detail),
    };
    Check::new(format!("token:{}", report.name), state, &detail).value(report.state.name()).hint(hint)
}

/// What people are to be told when a login is found in `state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    /// It needs somebody, more than they have been told.
    Raise,
    /// It no longer needs anybody.
    Clear,
    /// It works again, and not for long.
    ClearAndRaise,
}

/// By what they have been told so far. A check that could not tell changes nothing.
#[must_use]
pub fn change(told: Option<TokenState>, state: TokenState) -> Change {
    use TokenState::{Expiring, NeedsReauth, Unknown, Well};
    match (told, state) {
        (_, Unknown) | (None, Well) => Change::None,
        (None, Expiring | NeedsReauth) => Change::Raise,
        (Some(Expiring), NeedsReauth) => Change::Raise,
        (Some(Expiring), Expiring) | (Some(NeedsReauth), NeedsReauth) => Change::None,
        (Some(NeedsReauth), Expiring) => Change::ClearAndRaise,
        (Some(Expiring | NeedsReauth | Well | Unknown), Well) => Change::Clear,
        (Some(Well | Unknown), Expiring | NeedsReauth) => Change::Raise,
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

type Verdict = (TokenState, String);

/// Looks at one login: runs its command or reads its file. Blocks, for `check.timeout` at most.
#[must_use]
pub fn look(check: &TokenCheck, root: &Path, now_ms: i64) -> TokenReport {
    let (state, detail) = match &check.source {
        TokenSource::Command(argv) => match look::command(argv, root, check.timeout) {
            Ok(said) => judge_command(check, &said, now_ms),
            Err(why) => (TokenState::Unknown, why),
        },
        TokenSource::File(path) => match file(path, check.timeout) {
            Ok(bytes) => judge_file(check, &bytes, now_ms),
            Err(why) => (TokenState::Unknown, format!("the file cannot be read: {why}")),
        },
    };
    TokenReport {
        name: check.name.clone(),
        state,
        detail,
        looked_at: Timestamp::from_millisecond(now_ms).ok(),
    }
}

/// A file's text, unless its file system does not answer within `limit`.
fn file(path: &Path, limit: Duration) -> Result<Vec<u8>, String> {
    let owned = path.to_owned();
    let read = Look::new(path, move || look::bytes(&owned, TEXT_MAX_BYTES));
    let read = glimpse::within(limit, vec![read]).pop().flatten();
    read.unwrap_or_else(|| Err(format!("it did not answer within {}", format_duration(limit))))
}

/// The plainest sign that a person is needed goes first, success last.
#[must_use]
pub fn judge_command(check: &TokenCheck, said: &Said, now_ms: i64) -> Verdict {
    if let Some(code) = said.code.filter(|code| check.needs_reauth_codes.contains(code)) {
        return (TokenState::NeedsReauth, format!("exit {code}"));
    }
    let texts = [&said.stdout, &said.stderr].map(|bytes| String::from_utf8_lossy(bytes).to_lowercase());
    let found = check.needs_reauth_on.iter().find(|word| {
        let word = word.to_lowercase();
        texts.iter().any(|text| text.contains(&word))
    });
    if let Some(word) = found {
        return (TokenState::NeedsReauth, format!("it says {word}"));
    }
    if let Some(verdict) = document(&said.stdout).and_then(|json| judge_document(check, &json, now_ms)) {
        return match (verdict.0, said.code) {
            // A document that sounds well does not outweigh a failure.
            (TokenState::Well, Some(0))
            | (TokenState::NeedsReauth | TokenState::Expiring | TokenState::Unknown, _) => verdict,
            (TokenState::Well, code) => (TokenState::Unknown, ended(code)),
        };
    }
    match said.code {
        Some(0) if check.status.is_some() || check.expiry.is_some() => {
            (TokenState::Unknown, "the output has no such status or expiry".to_owned())
        }
        Some(0) => (TokenState::Well, "the check succeeds".to_owned()),
        code => (TokenState::Unknown, ended(code)),
    }
}

fn ended(code: Option<i32>) -> String {
    code.map_or_else(|| "the check was killed".to_owned(), |code| format!("the check failed: exit {code}"))
}

/// What a file says.
#[must_use]
pub fn judge_file(check: &TokenCheck, bytes: &[u8], now_ms: i64) -> Verdict {
    let Some(json) = document(bytes) else {
        return (TokenState::Unknown, "the file is not JSON".to_owned());
    };
    judge_document(check, &json, now_ms)
        .unwrap_or_else(|| (TokenState::Unknown, "the file has no such status or expiry".to_owned()))
}

fn document(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(bytes).ok().filter(|json| json.is_object() || json.is_array())
}

/// None where the document says nothing of what was declared. Of status and expiry the worse counts.
fn judge_document(check: &TokenCheck, json: &Value, now_ms: i64) -> Option<Verdict> {
    if json.pointer(REAUTH_FLAG) == Some(&Value::Bool(true)) {
        return Some((TokenState::NeedsReauth, "it says needs_reauth".to_owned()));
    }
    let at = |pointer: &Option<String>| pointer.as_deref().map(|pointer| json.pointer(pointer));
    let status = match at(&check.status) {
        None => None,
        Some(found) => Some(judge_status(check, found?)),
    };
    let expiry = match at(&check.expiry) {
        None => None,
        Some(found) => Some(judge_expiry(check, found?, now_ms)),
    };
    [status, expiry].into_iter().flatten().max_by_key(|(state, _)| match state {
        TokenState::Well => 0,
        TokenState::Expiring => 1,
        TokenState::Unknown => 2,
        TokenState::NeedsReauth => 3,
    })
}

fn judge_status(check: &TokenCheck, found: &Value) -> Verdict {
    let text = match found {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            return (TokenState::Unknown, "the status is no word".to_owned());
        }
    };
    let is = |word: &String| word.to_lowercase() == text;
    if check.well.iter().any(is) {
        (TokenState::Well, format!("the status is {}", shown(&text)))
    } else if check.needs_reauth_on.iter().any(is) || REAUTH_STATUSES.contains(&text.as_str()) {
        (TokenState::NeedsReauth, format!("the status is {}", shown(&text)))
    } else {
        (TokenState::Unknown, format!("the status is {}, which means nothing here", shown(&text)))
    }
}

/// A status is a word; what is not may be a secret at the wrong place.
fn shown(text: &str) -> &str {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '));
    if plain && !text.is_empty() && text.len() <= STATUS_MAX_CHARS { text } else { "no plain word" }
}

fn judge_expiry(check: &TokenCheck, found: &Value, now_ms: i64) -> Verdict {
    let Some(at_ms) = instant_ms(found) else {
        return (TokenState::Unknown, "the expiry is no instant".to_owned());
    };
    let Ok(at) = jiff::Timestamp::from_millisecond(at_ms) else {
        return (TokenState::Unknown, "the expiry is no instant".to_owned());
    };
    let at = at.strftime("%Y-%m-%d %H:%M UTC");
    let left_ms = at_ms.saturating_sub(now_ms);
    let before_ms = millis(check.expiring_before);
    if left_ms <= 0 {
        (TokenState::NeedsReauth, format!("it expired {at}"))
    } else if left_ms < before_ms {
        let limit = format_duration(check.expiring_before);
        (TokenState::Expiring, format!("it expires {at}, in less than {limit}"))
    } else {
        (TokenState::Well, format!("it expires {at}"))
    }
}

/// RFC 3339, or seconds or milliseconds since 1970, as a number or as the text of one.
fn instant_ms(found: &Value) -> Option<i64> {
    let number = match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.trim().parse::<jiff::Timestamp>() {
            Ok(at) => return Some(at.as_millisecond()),
            Err(_) => text.trim().parse::<f64>().ok(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let number = number.filter(|number| number.is_finite() && *number > 0.0)?;
    let millis = if number < MILLIS_FROM { number * 1000.0 } else { number };
    // Text and back: a float that is too large for an integer is none.
    format!("{millis:.0}").parse().ok()
}
