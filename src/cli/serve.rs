//! `lucid serve`: the daemon in the foreground.
//!
//! Puts together what no layer below may know of all at once: settings, log, daemon, sockets, signals and the
//! service manager. The order is the promise: the state is locked and the past settled before anything
//! listens, and everything listens before the first tick.

use std::collections::BTreeMap;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::config::sources;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::{Paint, clean, count};
use crate::api::serve::{self as listeners, OpenError};
use crate::config::{self, Config, ConfigErrors, LogFormat, LogLevel};
use crate::daemon::boot::EX_CONFIG;
use crate::daemon::ring::LogRing;
use crate::daemon::{App, BootError, Surroundings, boot, service, signals};

/// How long the first look at the schedules may take before the daemon says what it knows.
const FIRST_TICK_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct Args {}

/// # Errors
/// What keeps the daemon from running, with 75 when another holds the state and 78 when a person must act.
pub fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let config = config::load(&sources(context)?).map_err(|error| refused(&error))?;
    let ring = LogRing::new(context.clock);
    log_to(context, &config, &ring);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| anyhow::anyhow!("starting the runtime: {error}"))?;
    let served = runtime.block_on(serve(context, config, ring));
    // Whatever still blocks a thread must not keep the daemon from going.
    runtime.shutdown_background();
    served
}

async fn serve(context: &Context, config: Config, ring: LogRing) -> Result<Exit, Failure> {
    let caught = signals::catch().map_err(|error| anyhow::anyhow!("catching signals: {error}"))?;
    let daemon = boot(config, surroundings(context)?, ring).await.map_err(|error| not_booted(&error))?;
    let app = daemon.app.clone();
    let sockets = listeners::open(&app.config).map_err(|error| not_open(&error))?;
    let (serving, obeying) = (app.clone(), app.clone());
    let served = tokio::spawn(listeners::serve(serving, sockets));
    let started = daemon.start();
    tokio::spawn(signals::obey(obeying, caught));
    service::tell(&[NotifyState::Ready]);
    say_hello(context, &app).await?;
    started.until_gone().await;
    match served.await {
        Ok(Ok(())) => Ok(Exit::Done),
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(anyhow::anyhow!("the listeners did not end well: {error}").into()),
    }
}

fn surroundings(context: &Context) -> Result<Surroundings, Failure> {
    let exe = std::env::current_exe()
        .map_err(|error| anyhow::anyhow!("cannot tell this program's file: {error}"))?;
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Ok(Surroundings {
        clock: context.clock,
        env,
        home: std::env::home_dir(),
        exe,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })
}

/// Lines on standard error, and the last of them in memory.
fn log_to(context: &Context, config: &Config, ring: &LogRing) {
    let level = match (context.globals.verbose, context.globals.quiet) {
        (0, true) => LevelFilter::WARN,
        (0, false) => match config.log.level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        },
        (1, _) => LevelFilter::DEBUG,
        (_, _) => LevelFilter::TRACE,
    };
    let ours = |level| Targets::new().with_default(LevelFilter::WARN).with_target("lucid", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(context.error_look().paint == Paint::Ansi);
    let lines = match config.log.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let kept = ring.clone().with_filter(ours(level.max(LevelFilter::INFO)));
    // Another subscriber is there only in a test, which then keeps its own.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours(level))).with(kept).try_init();
}

/// Where it listens and what runs next.
async fn say_hello(context: &Context, app: &App) -> Result<(), Failure> {
    let mut next = app.next.subscribe();
    // With nothing due there is nothing to wait for; the hello then says so.
    let _ = tokio::time::timeout(FIRST_TICK_MAX, next.wait_for(Option::is_some)).await;
    let next = next.borrow().clone();
    let look = context.look();
    let due = match next {
        Some((at, task)) => format!("next: {task} {} ({})", look.instant(at), look.until(at)),
        None => "nothing is due".to_owned(),
    };
    let tasks = count(app.snapshot().entries.len(), "task");
    let socket = app.config.control.socket.to_string_lossy().into_owned();
    context.print(&format!(
        "lucid {} listens on {} · {tasks} · {due}\n",
        env!("CARGO_PKG_VERSION"),
        clean(&socket)
    ))
}

fn refused(error: &ConfigErrors) -> Failure {
    let help = match error {
        ConfigErrors::NotFound { .. } => None,
        ConfigErrors::Refused { .. } => {
            Some("see what is set where with `lucid config --effective`".to_owned())
        }
    };
    Failure::Ended { exit: exit(EX_CONFIG), message: error.to_string(), help }
}

fn not_booted(error: &BootError) -> Failure {
    Failure::Ended { exit: exit(error.exit_code()), message: error.to_string(), help: None }
}

fn not_open(error: &OpenError) -> Failure {
    let code = match error {
        OpenError::Group(_) => exit(EX_CONFIG),
        OpenError::Bind(_) | OpenError::Inherited(_) => Exit::No,
    };
    Failure::Ended { exit: code, message: error.to_string(), help: None }
}

fn exit(code: i32) -> Exit {
    u8::try_from(code).map_or(Exit::No, Exit::Code)
}
