//! `lucid serve`: the daemon in the foreground, from settings to its last word.

use std::io::{self, IsTerminal as _};

use sd_notify::NotifyState;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::{clean, count};
use super::refusal;
use crate::api;
use crate::bot;
use crate::config::{self, Config, LogFormat, LogLevel, Sources};
use crate::daemon::boot::EX_CONFIG;
use crate::daemon::ring::LogRing;
use crate::daemon::{self, App, BootError, Surroundings, service, signals};
use crate::model::schedule::format_duration;
use crate::platform::clock::Clock;
use crate::platform::process;

/// Threads of the runtime: the work is waiting, and memory is counted.
const WORKER_THREADS: usize = 2;
/// Threads for disk work at one time.
const BLOCKING_THREADS_MAX: usize = 32;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// # Errors
/// What keeps the daemon from running, with the exit code that says whether a restart could help.
pub fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let sources = Sources::from_process(context.globals.config.clone())
        .map_err(|e| ended(1, format!("cannot tell the current folder: {e}")))?;
    let loaded = config::load(&sources).and_then(|config| config::bars(&config).map(|()| config));
    let config = loaded.map_err(|errors| Failure::Settings {
        errors,
        exit: Exit::Code(u8::try_from(EX_CONFIG).unwrap_or(1)),
        help: None,
    })?;
    refusal::warn(context, &config);
    let surroundings = surroundings(&sources, context.clock).map_err(|e| ended(1, e.to_string()))?;
    let log = start_log(context, &config);
    process::spare_heap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(|e| ended(1, format!("cannot start the runtime: {e}")))?;
    let ended = runtime.block_on(serve(context, config, surroundings, log));
    // All that had to be written is; a read that hangs (an env_file on a dead disk) must not keep us.
    runtime.shutdown_background();
    ended
}

async fn serve(
    context: &Context,
    config: Config,
    surroundings: Surroundings,
    log: LogRing,
) -> Result<Exit, Failure> {
    let signals = signals::catch().map_err(|e| ended(1, format!("cannot catch signals: {e}")))?;
    let daemon = daemon::boot(config, surroundings, log).await.map_err(|e| not_booted(&e))?;
    let app = daemon.app.clone();
    keep_log(&app);
    let sockets = api::serve::open(&app.config).map_err(|e| ended(EX_CONFIG, e.to_string()))?;
    let served = tokio::spawn(api::serve::serve(app.clone(), sockets));
    tokio::spawn(signals::obey(app.clone(), signals));
    let started = daemon.start();
    tokio::spawn(bot::serve(app.clone()));
    let status = format!("{} tasks", app.snapshot().entries.len());
    service::tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    welcome(context, &app).await;
    started.until_gone().await;
    match served.await {
        Ok(Ok(())) => Ok(Exit::Done),
        Ok(Err(e)) => Err(ended(1, format!("the sockets were not served: {e:#}"))),
        Err(e) => Err(ended(1, format!("the listeners ended badly: {e}"))),
    }
}

/// From here on the state directory is ours, and so is the log in it.
fn keep_log(app: &App) {
    let path = app.config.state_dir.join(daemon::logs::DAEMON_LOG);
    let named = app.runs.site.secrets.values().cloned();
    app.log.mask(&named.chain(app.alerts.secret()).collect::<Vec<String>>());
    if let Err(e) = app.log.keep_in(&path, app.config.log.file_max) {
        tracing::warn!(error = %e, path = %path.display(), "the log is kept in memory only");
    }
}

fn not_booted(error: &BootError) -> Failure {
    ended(error.exit_code(), error.to_string())
}

fn ended(code: i32, message: String) -> Failure {
    let exit = Exit::Code(u8::try_from(code).unwrap_or(1));
    Failure::Ended { exit, message, help: None }
}

fn surroundings(sources: &Sources, clock: Clock) -> io::Result<Surroundings> {
    let text = |s: &std::ffi::OsString| s.to_str().map(str::to_owned);
    Ok(Surroundings {
        clock,
        sources: sources.clone(),
        // A variable that is no text could not be passed on by name anyway.
        env: sources.env.iter().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect(),
        home: sources.home.clone(),
        exe: std::env::current_exe()?,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })
}

/// Log lines go to standard error; `-v` and `-q` move what the config says.
fn start_log(context: &Context, config: &Config) -> LogRing {
    let ring = LogRing::new(context.clock);
    let level = match (context.globals.quiet, context.globals.verbose) {
        (true, _) => LevelFilter::WARN,
        (false, 0) => match config.log.level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        },
        (false, 1) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    let filter =
        Targets::new().with_default(level).with_target("tokio_cron_scheduler", level.min(LevelFilter::WARN));
    let masks = ring.clone();
    let stderr =
        tracing_subscriber::fmt::layer().with_writer(move || masks.shown(io::stderr())).with_target(false);
    let stderr = match config.log.format {
        LogFormat::Text => stderr.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => stderr.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(stderr.with_filter(filter.clone()))
        .with(ring.clone().with_filter(filter))
        .init();
    ring
}

/// The first screen: where it listens, what it knows, what runs next.
async fn welcome(context: &Context, app: &App) {
    let snapshot = app.snapshot();
    let (on, broken) = (snapshot.enabled, snapshot.broken);
    // As `lucid status` counts them.
    let off = snapshot.entries.len().saturating_sub(on).saturating_sub(broken);
    let wrong = snapshot.iter().filter(|(_, entry)| entry.is_broken()).count();
    context.note(&format!(
        "lucid {} · pid {} · state {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        app.config.state_dir.display()
    ));
    context.note(&format!("listening on {}", app.config.control.socket.display()));
    if let Some(missing) = snapshot.loose.iter().find(|found| found.code == "E119") {
        let help = missing.help.as_deref().unwrap_or_default();
        return context.note(&format!("no tasks: {}; {help}", clean(&missing.message)));
    }
    let next = first_next(app).await;
    let broken = if broken > 0 { format!(", {broken} broken") } else { String::new() };
    context.note(&format!("{} on, {off} off{broken} · {next}", count(on, "task")));
    match wrong {
        0 => {}
        1 => context.note("1 task file has errors: lucid check"),
        n => context.note(&format!("{n} task files have errors: lucid check")),
    }
    context.note("in another terminal: lucid status · lucid runs · lucid logs -f TASK");
}

/// The tick has to look once before it knows.
async fn first_next(app: &App) -> String {
    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(500);
    let mut next = app.next.subscribe();
    let known = tokio::time::timeout(PATIENCE, next.wait_for(Option::is_some)).await.is_ok();
    let first = if known { next.borrow().clone() } else { None };
    match first {
        Some((at, task)) => {
            let wait = at.duration_since(app.clock.wall()).as_secs().max(0);
            let wait = std::time::Duration::from_secs(wait.unsigned_abs());
            format!("next: {} in {}", clean(task.as_str()), format_duration(wait))
        }
        None => "nothing is scheduled".to_owned(),
    }
}
