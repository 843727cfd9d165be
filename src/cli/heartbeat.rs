//! `lucid heartbeat`: one look at everything, without depending on the daemon; also what the task `heartbeat`
//! does. It writes the status file and the log; the daemon, where it answers, tells who is to be told.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::{Context, Document, accepted, api};
use super::failure::{Exit, Failure};
use super::look::{Look, clean};
use super::{config, health};
use crate::api::wire;
use crate::config::{Config, Placement};
use crate::daemon::STATE_LOCK;
use crate::health::direct::{self, Found, Said, Trouble};
use crate::health::memory::Homes;
use crate::health::{files, stopped, verdict};
use crate::model::health::Check;
use crate::model::time::millis;
use crate::platform::client::{Client, ClientError, Request};
use crate::platform::files::Lock;
use crate::platform::glimpse::{self, LOOK_MAX};
use crate::platform::webhook;

/// A daemon that restarts is asked again this often, with this pause.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_secs(2);
/// One that takes the question and does not answer is asked this often.
const HANGS: u32 = 2;
/// A daemon may start this long, its migrations and checks included, before it counts as dead.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the daemon may take to say that it is ready.
const READY_MAX: Duration = Duration::from_secs(10);
/// And to take a report.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A daemon that was told to go and still holds its state after this time hangs, in milliseconds: its runs may
/// take 95 s.
const STOP_MAX_MS: i64 = 120_000;
/// How long the outgoing ping may take.
const PING_MAX: Duration = Duration::from_secs(10);

/// On whose behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A run of the daemon's own: it cannot tell that the daemon is dead, and does not fail for what it finds.
    Task,
    /// Somebody outside: a timer, a person.
    Itself,
}

/// Why the daemon is not heard.
struct Silence {
    trouble: Trouble,
    why: String,
}

/// # Errors
/// A configuration that is refused; a daemon that this user may not ask; a file that cannot be written.
pub fn run(context: &Context, by: By) -> Result<Exit, Failure> {
    let config = match config::load(context) {
        Err(refused) if by == By::Itself => return without_settings(context, critical(refused)),
        loaded => loaded?,
    };
    let client = context.client()?;
    let ready = ready(context, &config, &client)?
        .map_err(|silence| on_purpose(&config, context.clock.wall_ms()).unwrap_or(silence));
    // Told before anything else is looked at: what a daemon hangs at may hang whoever looks at it too.
    let silence = ready.as_ref().err().filter(|_| by == By::Itself);
    let mut told = silence.and_then(|silence| tell(context, &config, Some(silence)));
    let mut checks = health::outside(context, &config)?;
    checks.insert(0, of_daemon(&ready, config.placement));
    let taken = match &ready {
        Ok(_) => report(&client, &checks),
        Err(silence) => {
            Err(Failure::Ended { exit: Exit::NoDaemon, message: silence.why.clone(), help: None })
        }
    };
    if let Err(refused) = &taken
        && refused.exit() == Exit::NotPermitted
    {
        return taken.map(|_| Exit::Done);
    }
    let (status, health) = status(context, &client, &checks, taken.as_ref().ok())?;
    let written = write(context, &config, &status, &health);
    ping(context, &config);
    if by == By::Itself && ready.is_ok() {
        // One that answers and does not take the report tells nobody of it either.
        let untold = taken.as_ref().err().map(|refused| Silence {
            trouble: Trouble::Hung,
            why: format!("it does not take the heartbeat: {refused}"),
        });
        told = tell(context, &config, untold.as_ref());
    }
    let document = Document { raw: status.to_string().into_bytes(), value: health };
    context.show(&document, |health, look| said(health, &config, written.is_ok(), told.as_ref(), look))?;
    match (by, written) {
        (By::Itself, Ok(())) => Ok(health::exit(document.value.state)),
        (By::Itself, Err(unwritten)) if document.value.state == wire::HealthState::Critical => {
            Err(critical(unwritten))
        }
        (By::Itself | By::Task, Err(unwritten)) => Err(unwritten),
        // What it found is told; a run that fails for it would be one failure more to tell.
        (By::Task, Ok(())) => taken.map(|_| Exit::Done),
    }
}

/// As far as it goes where the settings are refused: what was measured by others would be no finding, but whether
/// the daemon lives can be seen, written down and told.
fn without_settings(context: &Context, refused: Failure) -> Result<Exit, Failure> {
    let Some(config) = crate::config::heartbeat_despite(&config::sources(context)?) else {
        return Err(refused);
    };
    let why = refused.to_string();
    let why = clean(why.lines().next().unwrap_or_default()).into_owned();
    let client = context.client()?;
    let ready = ready(context, &config, &client)?
        .map_err(|silence| on_purpose(&config, context.clock.wall_ms()).unwrap_or(silence));
    let refusal = verdict::refused_settings(&why);
    let silence = ready.as_ref().err().map(|silence| Silence {
        trouble: silence.trouble,
        why: format!("{}; {}", silence.why, refusal.detail),
    });
    let checks = [of_daemon(&ready, config.placement), refusal];
    let (status, health) = status(context, &client, &checks, None)?;
    let written = write(context, &config, &status, &health);
    let told = tell(context, &config, silence.as_ref());
    let document = Document { raw: status.to_string().into_bytes(), value: health };
    context.show(&document, |health, look| said(health, &config, written.is_ok(), told.as_ref(), look))?;
    if let Err(unwritten) = written {
        context.note(&format!("lucid: {unwritten}"));
    }
    Err(refused)
}

/// Nobody can be told what is not known: that is as grave as what it may hide.
fn critical(failure: Failure) -> Failure {
    let exit = Exit::Code(2);
    match failure {
        Failure::Settings { errors, help, .. } => Failure::Settings { errors, exit, help },
        other => Failure::Ended { exit, message: other.to_string(), help: other.help() },
    }
}

fn of_daemon(ready: &Result<Duration, Silence>, placement: Placement) -> Check {
    match ready {
        Ok(took) => verdict::api(Ok(*took), placement.restart()),
        Err(Silence { trouble: Trouble::Stopped, why }) => verdict::stopped(why, placement.start()),
        Err(Silence { trouble: Trouble::Dead | Trouble::Hung, why }) => {
            verdict::api(Err(why.clone()), placement.restart())
        }
    }
}

/// Why it is silent, where somebody stopped it and it has gone as it was told.
fn on_purpose(config: &Config, now_ms: i64) -> Option<Silence> {
    let stopped = in_state(config, stopped::recall).flatten()?;
    if held(config) && now_ms.saturating_sub(stopped.at_ms) > STOP_MAX_MS {
        return None;
    }
    let at = jiff::Timestamp::from_millisecond(stopped.at_ms).ok()?.to_zoned(config.zone.tz().clone());
    let by = stopped.by.strip_prefix("user:").unwrap_or(&stopped.by);
    let why = format!("on purpose at {}, by {}", at.strftime("%a %-d %b %H:%M"), clean(by));
    Some(Silence { trouble: Trouble::Stopped, why })
}

/// Asks whether the daemon does its work; gives how long the answer took.
fn ready(context: &Context, config: &Config, client: &Client) -> Result<Result<Duration, Silence>, Failure> {
    let (mut tries, mut hangs, started) = (0, 0, context.clock.boot());
    loop {
        tries += 1;
        let begun = context.clock.boot();
        let silence = match client.send_within(&Request::get("/readyz"), READY_MAX) {
            Ok(answer) if answer.status() < 400 => return Ok(Ok(context.clock.boot().saturating_sub(begun))),
            Ok(answer) if answer.status() == 503 => hung(&answer.bytes().unwrap_or_default()),
            Ok(answer) => return Err(accepted(answer).map_or_else(|refused| refused, |_| unexpected())),
            Err(error @ (ClientError::Denied { .. } | ClientError::Unsendable(_))) => {
                return Err(error.into());
            }
            Err(error) => {
                // One that is starting holds its state already, and a socket that is kept open for it waits too.
                if matches!(error, ClientError::TimedOut { .. }) {
                    hangs += 1;
                    tries = if hangs >= HANGS { TRIES } else { tries };
                } else if starting(context, config) {
                    tries = tries.min(TRIES - 1);
                }
                Silence { trouble: Trouble::Dead, why: clean(&error.to_string()).into_owned() }
            }
        };
        if tries >= TRIES || context.clock.boot().saturating_sub(started) >= START_MAX {
            return Ok(Err(silence));
        }
        std::thread::sleep(TRY_PAUSE);
    }
}

/// What is seen in the state directory; `None` where that hangs, as a daemon may that is to be told of.
fn in_state<T: Send + 'static>(config: &Config, how: impl FnOnce(&Path) -> T + Send + 'static) -> Option<T> {
    let dir = config.state_dir.clone();
    let look = glimpse::Look::new(&config.state_dir, move || how(&dir));
    glimpse::within(LOOK_MAX, vec![look]).pop().flatten()
}

/// Whether a daemon has its state directory, whatever it does there.
fn held(config: &Config) -> bool {
    in_state(config, |dir| Lock::is_held(&dir.join(STATE_LOCK)).unwrap_or(false)) == Some(true)
}

/// Whether one has taken it just now. One that has had it for long and is not heard will not be by waiting: its
/// socket's file may be gone.
fn starting(context: &Context, config: &Config) -> bool {
    let taken =
        in_state(config, |dir| dir.join(STATE_LOCK).metadata().map(|lock| lock.mtime()).ok()).flatten();
    let age_ms = taken.map(|taken| context.clock.wall_ms().saturating_sub(taken.saturating_mul(1000)));
    held(config) && age_ms.is_some_and(|age_ms| age_ms < millis(START_MAX))
}

fn unexpected() -> Failure {
    anyhow::anyhow!("the daemon's answer is no answer to this").into()
}

/// What it says of itself where it is not ready.
fn hung(body: &[u8]) -> Silence {
    let ready: Option<wire::Ready> = serde_json::from_slice(body).ok();
    let bad = ready.iter().flat_map(|ready| &ready.checks).filter(|check| !check.ok);
    let why: Vec<&str> = bad.map(|check| check.detail.as_str()).collect();
    let why = if why.is_empty() { "it is not ready".to_owned() } else { clean(&why.join("; ")).into_owned() };
    Silence { trouble: Trouble::Hung, why }
}

fn report(client: &Client, checks: &[Check]) -> Result<wire::Health, Failure> {
    let body = json!({"checks": checks}).to_string().into_bytes();
    let request = Request::post(api().segment("health")).json(body);
    let mut tries = 1;
    let answer = loop {
        let answer = client.send_within(&request, ANSWER_MAX)?;
        // Busy, as it may be for a moment.
        if answer.status() != 503 || tries >= TRIES {
            break answer;
        }
        tries += 1;
        std::thread::sleep(TRY_PAUSE);
    };
    let raw = accepted(answer)?.bytes()?;
    let read = serde_json::from_slice(&raw);
    read.map_err(|error| anyhow::anyhow!("the daemon's answer does not read as expected: {error}").into())
}

/// The document of the file: the health, when and by whom. Where the daemon does not take the report it is what
/// was seen without it.
fn status(
    context: &Context,
    client: &Client,
    checks: &[Check],
    taken: Option<&wire::Health>,
) -> Result<(Value, wire::Health), Failure> {
    let health = match taken {
        Some(health) => health.clone(),
        None => health::document(checks)?.value,
    };
    let mut status = serde_json::to_value(&health).map_err(anyhow::Error::from)?;
    if let Some(fields) = status.as_object_mut() {
        fields.insert("at".to_owned(), context.clock.wall().to_string().into());
        fields.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        fields.insert("pid".to_owned(), taken.and_then(|_| pid(client)).into());
    }
    Ok((status, health))
}

/// The daemon's.
fn pid(client: &Client) -> Option<u32> {
    let answer = client.send_within(&Request::get(api().segment("status")), ANSWER_MAX).ok()?;
    let status: wire::Status = serde_json::from_slice(&accepted(answer).ok()?.bytes().ok()?).ok()?;
    Some(status.pid)
}

fn write(context: &Context, config: &Config, status: &Value, health: &wire::Health) -> Result<(), Failure> {
    let dir = &config.state_dir;
    if in_state(config, |dir| drop(dir.metadata())).is_none() {
        return Err(anyhow::anyhow!("cannot write to {}: it does not answer", dir.display()).into());
    }
    let failed =
        |what: &str, e: std::io::Error| anyhow::anyhow!("cannot write {}: {e}", dir.join(what).display());
    let kept: Vec<Check> =
        serde_json::to_value(&health.checks).and_then(serde_json::from_value).map_err(anyhow::Error::from)?;
    let state = crate::model::health::worst(&kept);
    let status = files::write_status(dir, status).map_err(|e| failed(files::STATUS_FILE, e));
    let log = files::log(dir, config.log.file_max, context.clock.wall(), state, &kept)
        .map_err(|e| failed(files::HEARTBEAT_LOG, e));
    Ok(status.and(log)?)
}

/// Somebody else notices when this stops.
fn ping(context: &Context, config: &Config) {
    let Some(url) = &config.health.ping_url else { return };
    match webhook::get(url, PING_MAX) {
        Ok(answer) if answer.status < 400 => {}
        Ok(answer) => context.note(&format!("lucid: the ping was answered with {}", answer.status)),
        Err(e) => context.note(&format!("lucid: the ping was not taken: {e}")),
    }
}

/// Without the daemon, who else would.
fn tell(context: &Context, config: &Config, silence: Option<&Silence>) -> Option<Said> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let found = Found {
        trouble: silence.map(|silence| (silence.trouble, silence.why.as_str())),
        host: &host,
        placement: config.placement,
        now_ms: context.clock.wall_ms(),
    };
    // Without a current folder there is still an environment; it has named the settings already.
    let scratch = config::sources(context).map(|sources| sources.scratch_dirs()).unwrap_or_default();
    let homes = Homes::new(&config.state_dir, &scratch);
    match direct::tell(&homes, found, |message| direct::send(config, message)) {
        Ok(told) => {
            if let Some(why) = told.as_ref().and_then(|said| said.unkept.as_deref()) {
                let text = "that it was told cannot be kept, and it is told again at the next heartbeat";
                context.note(&format!("lucid: {text}: {}", clean(why)));
            }
            told
        }
        Err(why) => {
            context.note(&format!("lucid: nobody could be told: {}", clean(&why)));
            None
        }
    }
}

fn said(
    health: &wire::Health,
    config: &Config,
    is_written: bool,
    told: Option<&Said>,
    look: &Look,
) -> String {
    let mut text = format!("{}\n", health::render(health, look));
    if is_written {
        let file = config.state_dir.join(files::STATUS_FILE);
        text.push_str(&format!("written to {}\n", clean(&file.to_string_lossy())));
    }
    if let Some(Said { text: words, sent, .. }) = told {
        let first = words.lines().next().unwrap_or_default();
        text.push_str(&format!("told on Telegram, chat {}: {}\n", sent.chat, clean(first)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_ready_says_why() {
        let body = json!({"ready": false, "checks": [
            {"name": "daemon", "ok": true, "detail": "up"},
            {"name": "x", "ok": false, "detail": "the scheduler's last tick was 20000 ms ago\u{1b}[2J"},
        ]});
        let silence = hung(body.to_string().as_bytes());
        assert_eq!(silence.why, "the scheduler's last tick was 20000 ms ago\\x1b[2J");
        assert_eq!(silence.trouble, Trouble::Hung);
        assert_eq!(hung(b"<html>").why, "it is not ready");
    }
}
