//! The way to a person that needs no daemon: said when the daemon is dead, hangs or was stopped, and when it is
//! back. What was said is remembered in a file of its own, so that a heartbeat every few minutes is no alarm each.

use serde::{Deserialize, Serialize};

use crate::alert::telegram::{Format, Outgoing, Sound, Telegram, TelegramError};
use crate::config::{Config, Placement};
use crate::model::text::clean;

use super::memory::{Homes, Memory, Outage, Turn};

/// The same trouble is said again after this time, in milliseconds.
const AGAIN_MS: i64 = HOUR_MS;
/// And that it is still stopped, as somebody wanted.
const STILL_STOPPED_MS: i64 = 24 * HOUR_MS;
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
    /// Nothing answers, as somebody wanted: no alarm.
    Stopped,
}

/// A message in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub chat: i64,
    /// None where Telegram took it and told no number.
    pub message: Option<i32>,
}

/// What a heartbeat has found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub trouble: Option<(Trouble, &'a str)>,
    pub host: &'a str,
    /// Whose service the daemon is.
    pub placement: Placement,
    pub now_ms: i64,
}

/// A message that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub text: String,
    pub sound: Sound,
    /// What it answers.
    pub reply_to: Option<Sent>,
}

/// What was said, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub text: String,
    pub sent: Sent,
    /// Why it is said again by the next heartbeat: no place takes that it was.
    pub unkept: Option<String>,
}

/// What there is to say, and what is to be remembered once it has been said.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    message: Message,
    memory: Option<Memory>,
}

/// Says what is to be said by `send`, and remembers it only where that succeeded: what could not be sent is
/// tried again by the next heartbeat. Gives what was said.
///
/// # Errors
/// What `send` says; that somebody else is saying it.
pub fn tell(
    homes: &Homes,
    found: Found<'_>,
    send: impl FnOnce(&Message) -> Result<Sent, String>,
) -> Result<Option<Said>, String> {
    if decide(homes.recall(), found).is_none() {
        return Ok(None);
    }
    let Turn::Ours { _lock } = homes.turn() else {
        return Err("another heartbeat or the daemon is telling it".to_owned());
    };
    // Somebody may have said it meanwhile.
    let before = homes.recall();
    let Some(word) = decide(before.clone(), found) else { return Ok(None) };
    let sent = send(&word.message)?;
    let kept = match (word.memory, before) {
        (Some(memory), _) => homes.remember(&Memory { sent: Some(sent), ..memory }),
        (None, Some(before)) => homes.forget(&before, found.now_ms),
        (None, None) => Ok(()),
    };
    Ok(Some(Said { text: word.message.text, sent, unkept: kept.err() }))
}

/// Sends `message` where the daemon would send it. Not to be called where futures are run.
///
/// # Errors
/// Says why it cannot be sent.
pub fn send(config: &Config, message: &Message) -> Result<Sent, String> {
    let telegram = &config.telegram;
    let (Some(file), Some(chat)) = (&telegram.token_file, telegram.chat_id) else {
        return Err("telegram.token_file and telegram.chat_id are not both set".to_owned());
    };
    let bot = Telegram::from_file(file, &telegram.api_url)?;
    let outgoing = Outgoing {
        chat,
        thread: telegram.topics.alerts,
        text: &message.text,
        format: Format::Plain,
        buttons: &[],
        reply_to: message.reply_to.filter(|original| original.chat == chat).and_then(|sent| sent.message),
        sound: message.sound,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime to send by: {e}"))?;
    match runtime.block_on(bot.send(&outgoing)) {
        Ok(number) => Ok(Sent { chat, message: Some(number) }),
        // Said again every few minutes it would be no better known.
        Err(TelegramError::Unnamed) => Ok(Sent { chat, message: None }),
        Err(e) => Err(e.to_string()),
    }
}

fn decide(memory: Option<Memory>, found: Found<'_>) -> Option<Word> {
    let now_ms = found.now_ms;
    match (memory, found.trouble) {
        (None, None) => None,
        (Some(memory), None) => Some(back(&memory, found)),
        (Some(memory), Some((trouble, _)))
            if memory.trouble == trouble && now_ms.saturating_sub(memory.said_ms) < again_ms(trouble) =>
        {
            None
        }
        (memory, Some((trouble, why))) => Some(bad(memory.as_ref(), trouble, why, found)),
    }
}

fn again_ms(trouble: Trouble) -> i64 {
    match trouble {
        Trouble::Dead | Trouble::Hung => AGAIN_MS,
        Trouble::Stopped => STILL_STOPPED_MS,
    }
}

/// Whoever was woken hears of the end; who was not, is not.
fn sound(trouble: Trouble) -> Sound {
    match trouble {
        Trouble::Dead | Trouble::Hung => Sound::Heard,
        Trouble::Stopped => Sound::Silent,
    }
}

fn back(memory: &Memory, found: Found<'_>) -> Word {
    let (host, lasted) = (found.host, span(found.now_ms.saturating_sub(memory.since_ms)));
    let (text, trouble, reply_to) = match (memory.trouble, memory.outage) {
        (trouble @ (Trouble::Dead | Trouble::Hung), _) => {
            (format!("🟢 lucid on {host} is back · down {lasted}"), trouble, memory.sent)
        }
        (Trouble::Stopped, None) => {
            (format!("🟢 lucid on {host} runs again · stopped {lasted}"), Trouble::Stopped, memory.sent)
        }
        // Whoever was woken waits for the end of that.
        (Trouble::Stopped, Some(outage)) => {
            let down = span(outage.lasted_ms);
            let text = format!("🟢 lucid on {host} is back · down {down}, then stopped {lasted}");
            (text, Trouble::Dead, outage.sent)
        }
    };
    let message = Message { text, sound: sound(trouble), reply_to };
    Word { message, memory: None }
}

fn bad(memory: Option<&Memory>, trouble: Trouble, why: &str, found: Found<'_>) -> Word {
    let Found { host, placement, now_ms, .. } = found;
    // A stop that somebody wanted is no part of an outage.
    let is_wanted = |trouble| trouble == Trouble::Stopped;
    let outage = match memory {
        Some(memory) if is_wanted(trouble) && !is_wanted(memory.trouble) => {
            Some(Outage { lasted_ms: now_ms.saturating_sub(memory.since_ms), sent: memory.sent })
        }
        Some(memory) => memory.outage.filter(|_| is_wanted(trouble)),
        None => None,
    };
    let memory = memory.filter(|memory| is_wanted(memory.trouble) == is_wanted(trouble));
    let since_ms = memory.map_or(now_ms, |memory| memory.since_ms);
    let still = match memory {
        Some(_) => format!(" · for {}", span(now_ms.saturating_sub(since_ms))),
        None => String::new(),
    };
    let why: String = why.chars().take(WHY_MAX_CHARS).collect();
    let (mark, state) = match trouble {
        Trouble::Dead => ("🆘 CRITICAL: ", "does not answer"),
        Trouble::Hung => ("🆘 CRITICAL: ", "hangs"),
        Trouble::Stopped => ("⏸ ", "is stopped"),
    };
    let look = match trouble {
        Trouble::Dead | Trouble::Hung => format!("it is back. Look with: {}", placement.look()),
        Trouble::Stopped => format!("it runs again: {}", placement.start()),
    };
    let text = format!(
        "{mark}lucid on {host} {state}{still}\n{}\nNothing is started and nothing else is told until {look}",
        clean(&why)
    );
    let message = Message { text, sound: sound(trouble), reply_to: None };
    Word {
        message,
        memory: Some(Memory { trouble, since_ms, said_ms: now_ms, sent: None, outage, is_over: false }),
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

    const MEMORY_FILE: &str = "heartbeat-alert.json";

    fn homes(dir: &tempfile::TempDir) -> Homes {
        Homes::new(dir.path(), &[])
    }

    fn found(trouble: Option<(Trouble, &'static str)>, now_ms: i64) -> Found<'static> {
        Found { trouble, host: "atlas", placement: Placement::System, now_ms }
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
            (Some((Trouble::Stopped, "by alice")), 110 * MINUTE_MS),
            (Some((Trouble::Stopped, "by alice")), 100 * HOUR_MS),
            (dead, 100 * HOUR_MS + MINUTE_MS),
            (Some((Trouble::Stopped, "by alice")), 101 * HOUR_MS),
            (Some((Trouble::Stopped, "by alice")), 130 * HOUR_MS),
            (None, 130 * HOUR_MS + MINUTE_MS),
            (None, 130 * HOUR_MS + 2 * MINUTE_MS),
        ];
        let mut told = Vec::new();
        for (trouble, now_ms) in steps {
            let mut how = String::new();
            let said = tell(&homes(&dir), found(trouble, now_ms), |message| {
                let original = message.reply_to.and_then(|sent| sent.message);
                how = format!("{:?} {original:?}: ", message.sound);
                Ok(Sent { chat: 5, message: i32::try_from(now_ms / MINUTE_MS).ok() })
            });
            told.push(said.unwrap().map_or_else(
                || "-".to_owned(),
                |said| format!("{how}{}", said.text.lines().take(2).collect::<Vec<_>>().join(" | ")),
            ));
        }
        insta::assert_snapshot!(told.join("\n"), @r"
        -
        Heard None: 🆘 CRITICAL: lucid on atlas does not answer | nothing listens\x1b[2J
        -
        Heard None: 🆘 CRITICAL: lucid on atlas hangs · for 9m | no tick
        -
        Heard None: 🆘 CRITICAL: lucid on atlas hangs · for 1h09m | no tick
        Heard Some(70): 🟢 lucid on atlas is back · down 1h34m
        -
        Silent None: ⏸ lucid on atlas is stopped | by alice
        Silent None: ⏸ lucid on atlas is stopped · for 98h10m | by alice
        Heard None: 🆘 CRITICAL: lucid on atlas does not answer | nothing listens\x1b[2J
        Silent None: ⏸ lucid on atlas is stopped | by alice
        Silent None: ⏸ lucid on atlas is stopped · for 29h00m | by alice
        Heard Some(6001): 🟢 lucid on atlas is back · down 59m, then stopped 29h01m
        -
        ");
    }

    #[test]
    fn what_could_not_be_sent_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let dead = found(Some((Trouble::Dead, "x")), 1);
        let sent = |_: &Message| Ok(Sent { chat: 5, message: None });
        assert_eq!(tell(&homes(&dir), dead, |_| Err("no network".to_owned())), Err("no network".to_owned()));
        assert!(tell(&homes(&dir), dead, sent).unwrap().is_some());
        assert_eq!(tell(&homes(&dir), dead, sent), Ok(None));
        std::fs::write(dir.path().join(MEMORY_FILE), "nonsense").unwrap();
        assert!(tell(&homes(&dir), dead, sent).unwrap().is_some());
        // As it was written before there was a word of the message.
        std::fs::write(dir.path().join(MEMORY_FILE), r#"{"trouble":"dead","since_ms":1,"said_ms":1}"#)
            .unwrap();
        assert_eq!(tell(&homes(&dir), dead, sent), Ok(None));
    }

    #[test]
    fn one_says_it_and_the_other_leaves_it() {
        let dir = tempfile::tempdir().unwrap();
        let dead = found(Some((Trouble::Dead, "x")), 1);
        let both = tell(&homes(&dir), dead, |_| {
            let other = tell(&homes(&dir), dead, |_| panic!("twice"));
            assert!(other.is_err_and(|why| why.contains("is telling it")));
            Ok(Sent { chat: 5, message: None })
        });
        assert!(both.unwrap().is_some());
    }
}
