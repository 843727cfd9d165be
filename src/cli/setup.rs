//! `lucid telegram setup`: from a bot's token to a chat that alerts reach. It needs no daemon; one that listens
//! with the same token would take what is sent here.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::alert::telegram::{ChatKind, Format, Outgoing, Sound, Telegram, TelegramError, Update};
use crate::config::edit::{self, Set};
use crate::config::{self, Config};
use crate::model::notice::Button;
use crate::platform::client::{Request, Target};
use crate::platform::files;

/// The token's file beside the settings, where they name none.
const TOKEN_FILE: &str = "telegram-token";
const TOKEN_MODE: u32 = 0o600;
/// Longest token that is read, in bytes.
const TOKEN_MAX_BYTES: usize = 256;
/// How long the code may take to arrive.
const PATIENCE: Duration = Duration::from_secs(600);
/// One call for updates: Ctrl-C and the end of patience are never far.
const POLL: Duration = Duration::from_secs(10);
/// Wait after a call that failed.
const AGAIN: Duration = Duration::from_secs(2);
/// Codes are six digits; whoever guesses has as many tries.
const GUESSES_MAX: u32 = 20;

/// Whoever sent the code, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    chat: i64,
    user: i64,
    name: String,
    kind: ChatKind,
    thread: Option<i32>,
    message: i32,
}

/// # Errors
/// No settings file, a token that is none, a code that does not arrive.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let config = super::config::load(context)?;
    let Some(file) = config.file.clone() else {
        return Err(Failure::usage("there is no settings file to write to", "make one: lucid init"));
    };
    let token = read_token(context)?;
    let bot = Telegram::new(token.clone().into(), &config.telegram.api_url).map_err(|e| failed(&e))?;
    refuse_while_listening(context, &config, &bot)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| anyhow::anyhow!("cannot start the runtime: {e}"))?;
    let name = runtime.block_on(bot.me()).map_err(|e| failed(&e))?;
    let code = code()?;
    context.note(&format!(
        "The token is @{}'s. Send it this code, in the chat where alerts are to go:",
        clean(&name)
    ));
    if context.globals.json {
        context.note(&code);
    } else {
        context.print(&format!("{code}\n"))?;
    }
    let found = runtime.block_on(wait(&bot, &code))?;
    let path = config.telegram.token_file.clone().unwrap_or_else(|| beside(&file));
    files::replace(&path, format!("{token}\n").as_bytes(), TOKEN_MODE)
        .map_err(|e| anyhow::anyhow!("cannot write {}: {e}", path.display()))?;
    let keys = keys(&config, &path, &found);
    let changed = edit::set(&file, "telegram", &keys);
    let tested = runtime.block_on(test(&bot, &found));
    report(context, &file, &keys, &path, &found, changed.as_ref().err())?;
    tested.map_err(|e| failed(&e))?;
    Ok(if changed.is_ok() { Exit::Done } else { Exit::No })
}

fn failed(error: &TelegramError) -> Failure {
    let help = match error {
        TelegramError::Shut(_) => Some("check the token: BotFather shows it with /token".to_owned()),
        TelegramError::Refused(why) if why.contains("getUpdates") => {
            Some("another program fetches with this token; stop it, then try again".to_owned())
        }
        TelegramError::Unreachable(_)
        | TelegramError::Unclear(_)
        | TelegramError::Busy { .. }
        | TelegramError::Moved { .. }
        | TelegramError::Markup(_)
        | TelegramError::Unchanged
        | TelegramError::Unnamed
        | TelegramError::Gone(_)
        | TelegramError::Trouble(_)
        | TelegramError::Refused(_) => None,
    };
    Failure::Ended { exit: Exit::No, message: clean(&error.to_string()).into_owned(), help }
}

/// One line of standard input; on a terminal it is not shown.
fn read_token(context: &Context) -> Result<String, Failure> {
    let input = std::io::stdin();
    let mut line = String::new();
    let is_terminal = input.is_terminal();
    let before = if is_terminal { tcgetattr(&input).ok() } else { None };
    if is_terminal {
        context.note("Make a bot with BotFather in Telegram, then paste its token here (it is not shown):");
    }
    if let Some(modes) = &before {
        let mut quiet = modes.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        // Where the terminal does not do that, the token is shown.
        let _ = tcsetattr(&input, OptionalActions::Now, &quiet);
    }
    let read = std::io::Read::take(input.lock(), TOKEN_MAX_BYTES as u64).read_line(&mut line);
    if let Some(modes) = &before {
        let _ = tcsetattr(&input, OptionalActions::Now, modes);
    }
    read.map_err(|e| anyhow::anyhow!("cannot read the token: {e}"))?;
    let token = line.trim();
    if !is_token(token) {
        return Err(Failure::usage(
            "what came on standard input is no token of a bot",
            "it looks like 123456789:AA… and comes from BotFather; lucid telegram setup < FILE reads it from a file",
        ));
    }
    Ok(token.to_owned())
}

fn is_token(text: &str) -> bool {
    text.split_once(':').is_some_and(|(number, secret)| {
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && secret.len() >= 20
            && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

/// Two that fetch with one token take each other's updates.
fn refuse_while_listening(context: &Context, config: &Config, bot: &Telegram) -> Result<(), Failure> {
    let telegram = &config.telegram;
    let Some(path) = telegram.token_file.as_ref().filter(|_| !telegram.allowed_users.is_empty()) else {
        return Ok(());
    };
    let is_same = Telegram::from_file(path, &telegram.api_url).is_ok_and(|old| old.number() == bot.number());
    let is_up = context.client()?.send(&Request::get(Target::new("/healthz"))).is_ok();
    if is_same && is_up {
        return Err(Failure::Ended {
            exit: Exit::Conflict,
            message: "the daemon is listening with this token and would take the code".to_owned(),
            help: Some("stop it, set up, start it again: lucid stop".to_owned()),
        });
    }
    Ok(())
}

/// Six digits that nobody can know.
fn code() -> Result<String, Failure> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no randomness for a code: {e}"))?;
    Ok(format!("{:06}", u64::from_le_bytes(bytes) % 1_000_000))
}

/// Fetches until somebody sends the code.
async fn wait(bot: &Telegram, code: &str) -> Result<Found, Failure> {
    let started = Instant::now();
    let (mut offset, mut guesses) = (None, 0);
    while started.elapsed() < PATIENCE {
        let updates = match bot.updates(offset, POLL).await {
            Ok(updates) => updates,
            Err(error @ (TelegramError::Shut(_) | TelegramError::Refused(_))) => return Err(failed(&error)),
            Err(TelegramError::Busy { after }) => {
                tokio::time::sleep(after).await;
                continue;
            }
            Err(_) => {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        for update in updates {
            offset = Some(update.number().saturating_add(1));
            match told(update, code) {
                Told::Code(found) => {
                    // Taken, so that the daemon does not get it.
                    let _ = bot.updates(offset, Duration::ZERO).await;
                    return Ok(found);
                }
                Told::Guess => guesses += 1,
                Told::Nothing => {}
            }
            if guesses >= GUESSES_MAX {
                return Err(Failure::Ended {
                    exit: Exit::No,
                    message: format!("{GUESSES_MAX} wrong codes came in: somebody may be guessing"),
                    help: Some("try again".to_owned()),
                });
            }
        }
    }
    Err(Failure::WaitTimedOut {
        message: "nobody sent the code within 10 minutes".to_owned(),
        help: "try again; in a group, write it as a reply to the bot or as /start CODE".to_owned(),
    })
}

enum Told {
    Code(Found),
    /// Six digits that are not the code.
    Guess,
    Nothing,
}

fn told(update: Update, code: &str) -> Told {
    let Update::Text {
        chat,
        kind,
        thread,
        message,
        from: Some(from),
        text,
        forwarded: false,
        edited: false,
        ..
    } = update
    else {
        return Told::Nothing;
    };
    let word = text.split_whitespace().next_back().unwrap_or_default();
    if word == code {
        return Told::Code(Found { chat, user: from.id, name: from.name, kind, thread, message });
    }
    let is_guess = word.len() == code.len() && word.bytes().all(|b| b.is_ascii_digit());
    if is_guess { Told::Guess } else { Told::Nothing }
}

fn beside(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new(".")).join(TOKEN_FILE)
}

/// What is to stand in the settings.
fn keys(config: &Config, token: &Path, found: &Found) -> Vec<(&'static str, Set)> {
    let mut keys = Vec::new();
    if config.telegram.token_file.is_none() {
        keys.push(("token_file", Set::Text(token.to_string_lossy().into_owned())));
    }
    keys.push(("chat_id", Set::Number(found.chat)));
    let mut users = config.telegram.allowed_users.clone();
    if !users.contains(&found.user) {
        users.push(found.user);
    }
    keys.push(("allowed_users", Set::Numbers(users)));
    keys
}

async fn test(bot: &Telegram, found: &Found) -> Result<i32, TelegramError> {
    let buttons = [Button::data("Status", "s:status".to_owned())];
    bot.send(&Outgoing {
        chat: found.chat,
        thread: found.thread,
        text: "✅ <b>lucid can reach you.</b> Alerts come to this chat once the daemon has started with it.",
        format: Format::Html,
        buttons: &buttons,
        reply_to: Some(found.message),
        sound: Sound::Heard,
    })
    .await
}

fn report(
    context: &Context,
    file: &Path,
    keys: &[(&str, Set)],
    token: &Path,
    found: &Found,
    failure: Option<&config::edit::EditError>,
) -> Result<(), Failure> {
    let lines = keys.iter().fold("telegram:\n".to_owned(), |mut text, (key, value)| {
        let _ = writeln!(text, "  {key}: {}", value.written());
        text
    });
    if context.globals.json {
        let document = json!({"schema_version": 1, "chat_id": found.chat, "user_id": found.user,
            "token_file": token, "config": file, "config_changed": failure.is_none()});
        context.print_json(&serde_json::to_vec(&document).unwrap_or_default())?;
    } else {
        let chat = match found.kind {
            ChatKind::Private => "your own chat with the bot".to_owned(),
            ChatKind::Group => format!("the group {}", found.chat),
        };
        context.print(&format!(
            "{} may answer; alerts go to {chat}.\nThe token is in {}, which only you may read.\n",
            clean(&found.name),
            clean(&token.to_string_lossy())
        ))?;
    }
    match failure {
        None => context.note(&format!(
            "{} is changed. Restart the daemon: it reads the token when it starts.",
            clean(&file.to_string_lossy())
        )),
        Some(error) => context.note(&format!("{error}. Put this into it by hand:\n{lines}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::telegram::Sender;

    fn text(text: &str, from: Option<i64>) -> Update {
        Update::Text {
            update: 1,
            chat: -5,
            kind: ChatKind::Group,
            thread: None,
            message: 3,
            from: from.map(|id| Sender { id, name: "a".into() }),
            at_ms: 0,
            text: text.into(),
            reply_to: None,
            forwarded: false,
            edited: false,
            attached: None,
        }
    }

    #[test]
    fn the_code_is_told_from_guesses_and_talk() {
        let kind = |told| match told {
            Told::Code(found) => format!("code of {} in {}", found.user, found.chat),
            Told::Guess => "guess".to_owned(),
            Told::Nothing => "nothing".to_owned(),
        };
        let table = [
            (text("482913", Some(7)), "code of 7 in -5"),
            (text(" /start 482913 ", Some(7)), "code of 7 in -5"),
            (text("482914", Some(7)), "guess"),
            (text("482913x", Some(7)), "nothing"),
            (text("", Some(7)), "nothing"),
            (text("482913", None), "nothing"),
            (Update::Other { update: 2 }, "nothing"),
        ];
        for (update, wanted) in table {
            assert_eq!(kind(told(update, "482913")), wanted);
        }
        let code = code().unwrap();
        assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    }

    #[test]
    fn tokens_are_known_by_their_shape() {
        assert!(is_token("123456789:AAF-canary_token_of_the_fake"));
        for bad in
            ["", "123", "123:short", "x:AAF-canary_token_of_the_fake", "1:AAF canary_token_of_the_fake"]
        {
            assert!(!is_token(bad), "{bad}");
        }
    }
}
