//! The way to a person that needs no daemon: said when the daemon is dead or hangs, and when it is back.
//! What was said is remembered in a file of its own, so that a heartbeat every few minutes is no alarm each.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::alert::telegram::{Format, Outgoing, Sound, Telegram};
use crate::config::Config;
use crate::model::text::clean;
use crate::platform::files;

/// What was said last; there while the trouble lasts.
const MEMORY_FILE: &str = "heartbeat-alert.json";
const MEMORY_MODE: u32 = 0o600;
/// The same trouble is said again after this time, in milliseconds.
const AGAIN_MS: i64 = 3_600_000;
/// Longest reason that is told, in characters.
const WHY_MAX_CHARS: usize = 300;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What keeps the daemon from telling of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Nothing answers.
    Dead,
    /// It answers, and does not do its work.
    Hung,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    trouble: Trouble,
    /// When it was found first, milliseconds since the epoch.
    since_ms: i64,
    /// When it was last said.
    said_ms: i64,
}

/// What a heartbeat has found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub trouble: Option<(Trouble, &'a str)>,
    pub host: &'a str,
    pub now_ms: i64,
}

/// What there is to say, and what is to be remembered once it has been said.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    text: String,
    memory: Option<Memory>,
}

/// Says what is to be said by `send`, and remembers it only where that succeeded: what could not be sent is
/// tried again by the next heartbeat. Gives what was said.
///
/// # Errors
/// What `send` or the file system says.
pub fn tell(
    state_dir: &Path,
    found: Found<'_>,
    send: impl FnOnce(&str) -> Result<(), String>,
) -> Result<Option<String>, String> {
    let path = state_dir.join(MEMORY_FILE);
    let Some(word) = decide(recall(&path), found) else { return Ok(None) };
    send(&word.text)?;
    let kept = match &word.memory {
        Some(memory) => serde_json::to_vec(memory)
            .map_err(io::Error::other)
            .and_then(|bytes| files::replace_unsynced(&path, &bytes, MEMORY_MODE)),
        None => std::fs::remove_file(&path),
    };
    kept.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Some(word.text))
}

/// Sends `text` where the daemon would send it.
///
/// # Errors
/// Says why it cannot be sent.
pub fn send(config: &Config, text: &str) -> Result<(), String> {
    let telegram = &config.telegram;
    let (Some(file), Some(chat)) = (&telegram.token_file, telegram.chat_id) else {
        return Err("telegram.token_file and telegram.chat_id are not both set".to_owned());
    };
    let bot = Telegram::from_file(file, &telegram.api_url)?;
    let message = Outgoing {
        chat,
        thread: telegram.topics.alerts,
        text,
        format: Format::Plain,
        buttons: &[],
        reply_to: None,
        sound: Sound::Heard,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime to send by: {e}"))?;
    runtime.block_on(bot.send(&message)).map(|_| ()).map_err(|e| e.to_string())
}

/// A file that does not read as one of ours counts as none: what it was about is said again.
fn recall(path: &Path) -> Option<Memory> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn decide(memory: Option<Memory>, found: Found<'_>) -> Option<Word> {
    let Found { host, now_ms, .. } = found;
    match (memory, found.trouble) {
        (None, None) => None,
        (Some(memory), None) => {
            let down = span(now_ms.saturating_sub(memory.since_ms));
            Some(Word { text: format!("🟢 lucid on {host} is back · down {down}"), memory: None })
        }
        (Some(memory), Some((trouble, _)))
            if memory.trouble == trouble && now_ms.saturating_sub(memory.said_ms) < AGAIN_MS =>
        {
            None
        }
        (memory, Some((trouble, why))) => {
            let since_ms = memory.as_ref().map_or(now_ms, |memory| memory.since_ms);
            let what = match trouble {
                Trouble::Dead => "does not answer",
                Trouble::Hung => "hangs",
            };
            let still = match memory {
                Some(_) => format!(" · for {}", span(now_ms.saturating_sub(since_ms))),
                None => String::new(),
            };
            let why: String = why.chars().take(WHY_MAX_CHARS).collect();
            let text = format!(
                "🆘 CRITICAL: lucid on {host} {what}{still}\n{}\n\
                 Nothing is started and nothing else is told until it is back. Look with: systemctl status lucid",
                clean(&why)
            );
            Some(Word { text, memory: Some(Memory { trouble, since_ms, said_ms: now_ms }) })
        }
    }
}

fn span(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < MINUTE_MS => format!("{}s", ms / 1000),
        ms if ms < HOUR_MS => format!("{}m", ms / MINUTE_MS),
        ms => format!("{}h{:02}m", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(trouble: Option<(Trouble, &'static str)>, now_ms: i64) -> Found<'static> {
        Found { trouble, host: "atlas", now_ms }
    }

    #[test]
    fn once_then_every_hour_then_that_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let dead = Some((Trouble::Dead, "nothing listens\u{1b}[2J"));
        let steps = [
            (None, 0),
            (dead, 1),
            (dead, 5 * MINUTE_MS),
            (Some((Trouble::Hung, "no tick")), 10 * MINUTE_MS),
            (Some((Trouble::Hung, "no tick")), 69 * MINUTE_MS),
            (Some((Trouble::Hung, "no tick")), 70 * MINUTE_MS),
            (None, 95 * MINUTE_MS),
            (None, 100 * MINUTE_MS),
        ];
        let mut told = Vec::new();
        for (trouble, now_ms) in steps {
            let said = tell(dir.path(), found(trouble, now_ms), |_| Ok(())).unwrap();
            told.push(
                said.map_or_else(
                    || "-".to_owned(),
                    |said| said.lines().take(2).collect::<Vec<_>>().join(" | "),
                ),
            );
        }
        insta::assert_snapshot!(told.join("\n"), @r"
        -
        🆘 CRITICAL: lucid on atlas does not answer | nothing listens\x1b[2J
        -
        🆘 CRITICAL: lucid on atlas hangs · for 9m | no tick
        -
        🆘 CRITICAL: lucid on atlas hangs · for 1h09m | no tick
        🟢 lucid on atlas is back · down 1h34m
        -
        ");
    }

    #[test]
    fn what_could_not_be_sent_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let dead = found(Some((Trouble::Dead, "x")), 1);
        assert_eq!(tell(dir.path(), dead, |_| Err("no network".to_owned())), Err("no network".to_owned()));
        assert!(tell(dir.path(), dead, |_| Ok(())).unwrap().is_some());
        assert_eq!(tell(dir.path(), dead, |_| Ok(())), Ok(None));
        std::fs::write(dir.path().join(MEMORY_FILE), "nonsense").unwrap();
        assert!(tell(dir.path(), dead, |_| Ok(())).unwrap().is_some());
    }
}
