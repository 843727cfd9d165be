//! From settings to a running daemon: lock, database, files, runs of the last daemon, and only then
//! anything new.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::json;
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

use crate::config::{Config, Sources};
use crate::dispatch::gate::Gate;
use crate::dispatch::{self, Dispatch, DispatchError};
use crate::health::stopped;
use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::ops::{self, Ops};
use crate::platform::clock::Clock;
use crate::platform::failpoint;
use crate::platform::files::Lock;
use crate::platform::process::Nursery;
use crate::pool::{PoolError, Pools};
use crate::run::{Inner as RunsInner, Notice, RunError, Runs, table as runs_table};
use crate::store::{self, OpenError, Store, StoreError};
use crate::task::{Defaults, Known, Registry, Rules, Snapshot};
use crate::ticket::{MessageRules, Tickets};

use super::app::{Inner, Shutdown};
use super::lock;
use super::message::ToTick;
use super::phone::Phone;
use super::ring::LogRing;
use super::tick::Tick;
use super::{ACTIONS, App};

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("another lucid ({holder}) holds {}: stop it first, or set state_dir to another folder", dir.display())]
    Held { dir: PathBuf, holder: String },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(
        "{doing} {}: {source}; make it writable for the user that runs lucid, or set state_dir to another folder",
        path.display()
    )]
    StateDir { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error("secrets file {}: {why}", path.display())]
    Secrets { path: PathBuf, why: String },
    #[error("the database does not answer: {0}")]
    Database(#[from] RunError),
    #[error("taking up the workers of the last daemon: {0}")]
    Dispatch(DispatchError),
    #[error("the worktree pools: {0}")]
    Pools(#[from] PoolError),
    #[error("reading the task files: {0}")]
    Reload(#[from] super::ReloadError),
}

impl BootError {
    /// The daemon's exit code for it: 75 when somebody else holds the state, 78 when a person must act.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Held { .. } => EX_TEMPFAIL,
            // Room may come back by itself: whoever starts the daemon is to try again.
            Self::Store(OpenError::Full { .. }) => 1,
            Self::Store(_) | Self::Secrets { .. } | Self::StateDir { .. } => EX_CONFIG,
            Self::Io { .. } | Self::Database(_) | Self::Dispatch(_) | Self::Pools(_) | Self::Reload(_) => 1,
        }
    }
}

/// `EX_TEMPFAIL` of sysexits(3).
pub const EX_TEMPFAIL: i32 = 75;
/// `EX_CONFIG` of sysexits(3).
pub const EX_CONFIG: i32 = 78;

/// What the process brings along.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub clock: Clock,
    pub sources: Sources,
    pub env: BTreeMap<String, String>,
    pub home: Option<PathBuf>,
    pub exe: PathBuf,
    pub host: String,
}

/// A daemon that has settled its past and has not begun anything new.
pub struct Daemon {
    pub app: App,
    inbox: mpsc::UnboundedReceiver<ToTick>,
    notices: mpsc::UnboundedReceiver<Notice>,
    retry_ms: Option<i64>,
    /// Held for life: one daemon a state directory.
    lock: Lock,
}

/// Locks the state directory, opens the database, reads the task files and settles the runs that an
/// earlier daemon left.
///
/// # Errors
/// [`BootError`], with what to do in its text.
pub async fn boot(config: Config, surroundings: Surroundings, log: LogRing) -> Result<Daemon, BootError> {
    let clock = surroundings.clock;
    let lock = lock::take(&config.state_dir).await?;
    if let Err(e) = stopped::forget(&config.state_dir) {
        warn!(error = %e, "could not forget that the last daemon was stopped on purpose");
    }
    let now_ms = clock.wall_ms();
    let opened = open_database(&config, now_ms).await?;
    let store = opened.store;
    let journal = Journal::new(store.clone());
    // Before anything else happens: what a fresh database's alerts are about begins here.
    let (alerts, mute) = super::alerts::open(&config, &store, &journal, clock).await?;
    let epoch = begin_epoch(&store, &journal, now_ms, &opened.notices).await?;
    let (runs, notices) = open_runs(&config, &surroundings, &store, &journal)?;
    // Where the database is an older one than they are: its slots and keys are not as free as it says.
    runs.end_orphans().await?;
    // Marks only: what slots need is done beside the loop, never on the way to serving.
    let pools = Pools::open(&config.pools, store.clone(), journal.clone(), clock).await?;
    pools.recover().await?;
    let rules = message_rules(&config);
    let tickets = Tickets::new(store.clone(), journal.clone(), clock, &config.tickets.prefix, rules)
        .with_human(&config.health.human);
    let dispatch = dispatch(&config, &journal, clock, (&runs, &tickets, &pools));
    pools.on_rescue(super::dispatch::rescue_notice(&tickets));
    let gate = super::dispatch::pool_gate(&pools, config.dispatch.pool.clone());
    let ops = ops(&config, &dispatch, &gate);
    let (to_tick, inbox) = mpsc::unbounded_channel();
    let kept = store.read(|conn| Ok::<_, RunError>(crate::task::table::kept_hashes(conn)?)).await?;
    let registry = Registry::new(config.tasks_dir.clone(), self::rules(&config))
        .stale_max(config.scheduler.stale_for)
        .keeping(kept);
    let app = App::new(Inner {
        config: Arc::new(config),
        sources: surroundings.sources,
        clock,
        store,
        journal,
        registry: Arc::new(Mutex::new(registry)),
        tasks: RwLock::new(Arc::new(Snapshot::default())),
        runs,
        pools,
        dispatch,
        tickets,
        alerts,
        mute,
        phone: Phone::default(),
        settings: super::settings::SettingsLook::default(),
        backups: super::backups::BackupLook::default(),
        looks: super::looks::Looks::default(),
        gate,
        ops,
        log,
        host: surroundings.host,
        started: clock.wall(),
        epoch,
        store_notices: Mutex::new(Vec::new()),
        wake: Notify::new(),
        next: watch::Sender::new(None),
        reloading: tokio::sync::Mutex::new(()),
        synced: AtomicBool::new(false),
        to_tick,
        ticked_ms: AtomicI64::new(i64::try_from(clock.boot().as_millis()).unwrap_or(0)),
        shutdown: Shutdown::default(),
    });
    for notice in opened.notices {
        warn!(notice = %notice, "the database");
        app.note(notice);
    }
    let retry_ms = settle(&app).await?;
    Ok(Daemon { app, inbox, notices, retry_ms, lock })
}

async fn open_database(config: &Config, now_ms: i64) -> Result<store::Opened, BootError> {
    let (dir, backups) = (config.state_dir.clone(), config.backup.dir.clone());
    let open = move || Store::open_beside(&dir, &backups, now_ms);
    let opened = tokio::task::spawn_blocking(open).await.map_err(|e| BootError::Io {
        doing: "opening the database".into(),
        source: std::io::Error::other(e),
    })?;
    Ok(opened?)
}

/// Makes the files count, and what an earlier daemon left. Says when the next retry is due.
async fn settle(app: &App) -> Result<Option<i64>, BootError> {
    let change = app.reload("daemon").await?;
    info!(tasks = app.snapshot().entries.len(), broken = change.broken.len(), "read the task files");
    let snapshot = app.snapshot();
    // What became of a ticket's run is no business of the task that dispatched it.
    app.runs.recover(|run| run.ticket.is_none().then(|| snapshot.definition(&run.task)).flatten()).await?;
    app.dispatch.recover().await?;
    Ok(app.store.read(|conn| -> Result<_, RunError> { Ok(runs_table::next_retry_ms(conn)?) }).await?)
}

fn message_rules(config: &Config) -> MessageRules {
    MessageRules { expire_after: config.messages.expire_after, max_attempts: config.messages.max_attempts }
}

impl Daemon {
    /// Starts the tick and what goes on beside it.
    pub fn start(self) -> Started {
        let Self { app, inbox, notices, retry_ms, lock } = self;
        let tick = tokio::spawn(Tick::new(app.clone(), inbox, retry_ms).run());
        tokio::spawn(super::follow::notices(app.clone(), notices));
        tokio::spawn(super::follow::files(app.clone()));
        tokio::spawn(super::follow::database(app.clone()));
        tokio::spawn(super::housekeeping::keep(app.clone()));
        tokio::spawn(super::service::watchdog(app.clone()));
        tokio::spawn(super::startup::run(app.clone()));
        tokio::spawn(super::returned::tell(app.clone()));
        tokio::spawn(super::dispatch::keep(app.clone()));
        let gather = super::alerts::gather(app.clone());
        let (alerts, closed) = (app.alerts.clone(), app.shutdown.closed.clone());
        tokio::spawn(
            app.alerts.clone().keep("follower", closed.clone(), move || {
                alerts.clone().follow(gather.clone(), closed.clone())
            }),
        );
        let (alerts, closed) = (app.alerts.clone(), app.shutdown.closed.clone());
        tokio::spawn(
            app.alerts
                .clone()
                .keep("courier", closed.clone(), move || alerts.clone().deliver(closed.clone())),
        );
        let pools = app.pools.clone();
        tokio::spawn(async move { pools.tend().await });
        Started { app, tick, lock }
    }
}

/// A daemon at work.
pub struct Started {
    pub app: App,
    pub(super) tick: tokio::task::JoinHandle<()>,
    pub(super) lock: Lock,
}

fn dispatch(
    config: &Config,
    journal: &Journal,
    clock: Clock,
    (runs, tickets, pools): (&Runs, &Tickets, &Pools),
) -> Dispatch {
    Dispatch::new(dispatch::Inner {
        store: runs.store.clone(),
        journal: journal.clone(),
        clock,
        runs: runs.clone(),
        tickets: tickets.clone(),
        pools: pools.clone(),
        agents: config.agents.clone(),
        rules: config.dispatch.clone(),
        human: config.health.human.clone(),
        claim_waits: config.pools.iter().map(|pool| (pool.name.clone(), pool.claim_wait)).collect(),
        zone: config.zone.tz().clone(),
        kill_grace: config.defaults.kill_grace,
        log_max: config.defaults.log_max,
        wake: Notify::new(),
        state: dispatch::State::default(),
    })
}

fn ops(config: &Config, dispatch: &Dispatch, gate: &Gate) -> Ops {
    Ops::new(ops::Inner {
        store: dispatch.store.clone(),
        journal: dispatch.journal.clone(),
        clock: dispatch.clock,
        runs: dispatch.runs.clone(),
        tickets: dispatch.tickets.clone(),
        pools: dispatch.pools.clone(),
        dispatch: dispatch.clone(),
        gate: gate.clone(),
        rules: config.janitor.clone(),
        held_after: config.dispatch.held_after,
        state_dir: config.state_dir.clone(),
        turns: ops::Turns::default(),
    })
}

async fn begin_epoch(
    store: &Store,
    journal: &Journal,
    now_ms: i64,
    notices: &[store::Notice],
) -> Result<i64, RunError> {
    let journal = journal.clone();
    let restored = notices.iter().any(|notice| matches!(notice, store::Notice::Restored { .. }));
    store
        .write(move |tx| {
            failpoint::hit("boot.epoch")?;
            let epoch = runs_table::next_epoch(tx)?;
            let data =
                json!({"epoch": epoch, "version": env!("CARGO_PKG_VERSION"), "pid": std::process::id()});
            journal.record(tx, now_ms, Event::new(EventKind::DaemonStarted).actor("daemon").data(data))?;
            if restored {
                journal.record(tx, now_ms, Event::new(EventKind::DatabaseRestored).actor("daemon"))?;
                store::restore_recorded(tx)?;
            }
            Ok::<_, RunError>(epoch)
        })
        .await
}

fn open_runs(
    config: &Config,
    surroundings: &Surroundings,
    store: &Store,
    journal: &Journal,
) -> Result<(Runs, mpsc::UnboundedReceiver<Notice>), BootError> {
    let io = |doing: &str| {
        let doing = doing.to_owned();
        move |source| BootError::Io { doing, source }
    };
    let dir = config.state_dir.join(store::RUNS_DIR);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io("making the runs folder"))?;
    let nursery = Nursery::start(&surroundings.exe).map_err(io("starting the process nursery"))?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let runs = Runs::new(RunsInner {
        store: store.clone(),
        journal: journal.clone(),
        nursery,
        judge: dispatch::judge(store.clone(), dir.clone(), config.zone.tz().clone(), surroundings.clock),
        clock: surroundings.clock,
        site: super::site::site(config, surroundings)?,
        dir,
        max_parallel_runs: u32::try_from(config.scheduler.max_parallel_runs).unwrap_or(u32::MAX),
        draining: AtomicBool::new(false),
        notices: sender,
    });
    Ok((runs, receiver))
}

/// What task files are read by, from the settings.
#[must_use]
pub fn rules(config: &Config) -> Rules {
    let defaults = &config.defaults;
    let pools = config.pools.iter().map(|pool| (pool.name.clone(), Some(pool.claim_wait)));
    let profiles = config.agents.iter().map(|agent| agent.name.clone());
    Rules {
        defaults: Defaults {
            timeout: defaults.timeout,
            agent_timeout: defaults.agent_timeout,
            kill_grace: defaults.kill_grace,
            catch_up_window: defaults.catch_up_window,
            log_max_bytes: defaults.log_max,
            keep_runs: defaults.keep_runs,
            keep_for: defaults.keep_for,
            shell: defaults.shell.clone(),
            zone: config.zone.clone(),
        },
        known: Known { actions: ACTIONS, pools: pools.collect(), profiles: profiles.collect() },
        now: None,
        here: None,
    }
}

impl App {
    /// The task files as they were last read.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.tasks.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<DispatchError> for BootError {
    fn from(error: DispatchError) -> Self {
        Self::Dispatch(error)
    }
}

impl From<StoreError> for BootError {
    fn from(error: StoreError) -> Self {
        Self::Database(error.into())
    }
}
