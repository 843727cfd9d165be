//! From a claimed row to the end of the run: find a keeper, record, let go, wait, read what it left.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use crate::model::event::EventKind;
use crate::model::ids::RunId;
use crate::model::run::{Outcome, Run, RunState, Step, StopReason};
use crate::model::task::Task;
use crate::model::text::hex;
use crate::platform::failpoint;
use crate::platform::process::spec::{Private, Spec};
use crate::platform::process::{self, ForkError, Found, Gate, Keeper, Turn};
use crate::run::{Notice, RunError, Runs, command, live, outcome, step};

/// Everything that a run needs to be started.
#[derive(Debug)]
pub struct Prepared {
    pub spec: Spec,
    pub private: Private,
    /// The run's own, also in `private`.
    pub token: String,
    /// Lines for a live standard input, there before the command starts.
    pub input: Vec<String>,
}

/// How much longer than its own limit a keeper may take before the daemon steps in.
const KEEPER_SLACK: Duration = Duration::from_secs(5);
/// How often a live run is looked at while its keeper says nothing.
const LOOK: Duration = Duration::from_secs(10);
/// Wait before something that the database did not take is offered again.
const AGAIN_PAUSE: Duration = Duration::from_millis(500);
/// How often a run whose processes outlive SIGKILL is looked at again.
const KILL_FAILED_LOOK: Duration = Duration::from_secs(1);
/// How long leftovers of a run without a keeper are hunted for.
const SWEEP_BUDGET: Duration = Duration::from_secs(2);
/// A run that is not over by then is no short one: the next may be started beside it.
const START_MAX: Duration = Duration::from_millis(20);
/// Wait before a run whose keeper vanished at the gate may start again.
const START_PAUSE: Duration = Duration::from_secs(2);
/// Wait before the folder of an ended run that could not be read is read again.
const EXAMINE_PAUSE: Duration = Duration::from_secs(1);

/// Why a run that was ready is not under way.
enum Halt {
    NoKeeper(Run, ForkError),
    /// Meanwhile, by somebody. The gate falls shut: its keeper ends without having run anything.
    Cancelled,
    /// The keeper did not take "go"; or it did, and could not say so.
    Shut(Run, std::io::Error),
}

/// A run under its keeper, and until when that takes at most, by the clock since boot.
type Started = (Run, Keeper, Duration);

impl Runs {
    /// Starts `run`, which holds its key and its place, and sees it through.
    pub async fn launch(&self, run: Run, task: Arc<Task>) {
        let (runs, of, row) = (self.clone(), Arc::clone(&task), run.clone());
        // Reads an env_file and makes the run's folder, on a disk that may be slow.
        let built = tokio::task::spawn_blocking(move || runs.prepare(&of, &row)).await;
        let ready = built.unwrap_or_else(|e| Err(not_spawned(&e.to_string())));
        self.see_through(run, Some(task), ready).await;
    }

    /// Sees a run through that an earlier daemon started.
    pub async fn adopt(&self, run: Run, task: Option<Arc<Task>>, keeper: Keeper) {
        info!(run = run.id.0, task = %run.task, "adopted a run of an earlier daemon");
        let limit = Spec::read(keeper.dir()).map_or(Duration::MAX, |spec| limit(&spec));
        let begun = keeper.begun(self.clock.boot());
        self.watch(run, task, keeper, begun.saturating_add(limit)).await;
    }

    /// Ends a claimed run that cannot be tried.
    pub async fn block(&self, run: Run, why: &str) {
        self.finish(run, None, blocked(why)).await;
    }

    /// Starts `run` as somebody else has prepared it, and sees it through. `task` is whose `retries` and
    /// codes count at its end, if anybody's.
    pub async fn launch_prepared(&self, run: Run, task: Option<Arc<Task>>, prepared: Prepared) {
        let dir = self.run_dir(run.id);
        let laid_out = tokio::task::spawn_blocking(move || lay_out(&dir, prepared)).await;
        let ready = laid_out.unwrap_or_else(|e| Err(not_spawned(&e.to_string())));
        self.see_through(run, task, ready).await;
    }

    async fn see_through(&self, run: Run, task: Option<Arc<Task>>, ready: Result<Ready, Outcome>) {
        let ready = match ready {
            Ok(ready) => ready,
            Err(outcome) => {
                self.finish(run, task.as_ref(), outcome).await;
                return;
            }
        };
        match self.begin(run, ready).await {
            Ok((run, keeper, until)) => self.watch(run, task, keeper, until).await,
            Err(halt) => self.halted(*halt, task.as_ref()).await,
        }
    }

    /// Returns when the run is under way and is over, or is known to be no short one: its turn is the next one's then.
    async fn begin(&self, run: Run, ready: Ready) -> Result<Started, Box<Halt>> {
        let turn = match self.nursery.turn().await {
            Ok(turn) => turn,
            Err(e) => return Err(Box::new(Halt::NoKeeper(run, e))),
        };
        let started = self.let_go(&turn, run, ready).await?;
        let _ = tokio::time::timeout(START_MAX, started.1.ended()).await;
        Ok(started)
    }

    /// Builds what the keeper will read and leaves it in the run's folder; blocking.
    fn prepare(&self, task: &Task, run: &Run) -> Result<Ready, Outcome> {
        let token = random_token().map_err(|e| not_spawned(&e.to_string()))?;
        let (spec, private) =
            command::build(&self.site, task, run, &token).map_err(|why| blocked(&why.to_string()))?;
        lay_out(&self.run_dir(run.id), Prepared { spec, private, token, input: Vec::new() })
    }

    async fn let_go(&self, turn: &Turn<'_>, run: Run, ready: Ready) -> Result<Started, Box<Halt>> {
        let gate = match self.nursery.fork(turn, &self.run_dir(run.id)).await {
            Ok(gate) => gate,
            Err(e) => return Err(Box::new(Halt::NoKeeper(run, e))),
        };
        let recorded = self.insist(run.id, || self.record_start(run.clone(), &gate, &ready.token)).await;
        let Some(run) = recorded.flatten() else { return Err(Box::new(Halt::Cancelled)) };
        failpoint::pass("run.record_start.after");
        match gate.open(&ready.private).await {
            // From "go": the keeper may have waited long for its start to be recorded.
            Ok(keeper) => Ok((run, keeper, self.clock.boot().saturating_add(ready.limit))),
            Err(e) => Err(Box::new(Halt::Shut(run, e))),
        }
    }

    async fn record_start(&self, mut run: Run, gate: &Gate, token: &str) -> Result<Option<Run>, RunError> {
        run.keeper_pid = Some(gate.pid);
        run.keeper_start = i64::try_from(gate.start_ticks).ok();
        run.boot_id = process::boot_id().ok().map(str::to_owned);
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        let token_hash = Sha256::digest(token.as_bytes()).to_vec();
        self.store.write(move |tx| step::start(tx, &journal, run.clone(), &token_hash, now_ms)).await
    }

    /// What becomes of a run that did not get under way.
    async fn halted(&self, halt: Halt, task: Option<&Arc<Task>>) {
        match halt {
            Halt::NoKeeper(run, e) => {
                warn!(run = run.id.0, task = %run.task, error = %e, "could not get a keeper");
                self.finish(run, task, not_spawned(&e.to_string())).await;
            }
            Halt::Cancelled => {}
            Halt::Shut(run, e) if e.kind() == std::io::ErrorKind::InvalidInput => {
                self.finish(run, None, blocked(&e.to_string())).await;
            }
            Halt::Shut(run, e) => {
                warn!(run = run.id.0, error = %e, "the keeper was gone before it could start its command");
                // A machine that is out of something would be asked again at once, and again.
                tokio::time::sleep(START_PAUSE).await;
                // Or one that is stopped would be waited for, and it has begun nothing.
                self.sweep(&run).await;
                self.settle(run, None).await;
            }
        }
    }

    /// Waits for the run's end and steps in when its keeper outlives its own limit, which is over at `until`: by the
    /// clock that never jumps, since a wall clock that was set must not end a healthy run.
    async fn watch(&self, mut run: Run, task: Option<Arc<Task>>, keeper: Keeper, until: Duration) {
        let dir = self.run_dir(run.id);
        let overdue_at = until.saturating_add(KEEPER_SLACK);
        loop {
            let left = overdue_at.saturating_sub(self.clock.boot());
            tokio::select! {
                () = keeper.ended() => break,
                () = tokio::time::sleep(left.clamp(KILL_FAILED_LOOK, LOOK)) => {}
            }
            if process::kill_failed(&dir) {
                self.say_kill_failed(&mut run).await;
            } else if self.clock.boot() >= overdue_at {
                self.end_hung_keeper(&run, &keeper).await;
            }
        }
        self.settle(run, task).await;
    }

    /// SIGKILL has been sent and something lives on: said once, and the key stays held.
    async fn say_kill_failed(&self, run: &mut Run) {
        if run.state() == RunState::KillFailed {
            return;
        }
        warn!(run = run.id.0, task = %run.task, "something of this run outlives SIGKILL; its key stays held");
        let step = || self.step(run.id, Step::KillFailed, EventKind::RunKillFailed, None);
        if let Some(now) = self.insist(run.id, step).await.flatten() {
            self.tell(Notice::KillFailed(now.id));
            *run = now;
        }
    }

    /// A keeper that is past its own limits and says nothing is stopped or stuck: the daemon ends it.
    async fn end_hung_keeper(&self, run: &Run, keeper: &Keeper) {
        warn!(run = run.id.0, task = %run.task, "its keeper is past its limits and does not answer; ending both");
        let (dir, pid, start) = (keeper.dir().to_owned(), keeper.pid, keeper.start_ticks);
        let killed = tokio::task::spawn_blocking(move || process::kill_tree(&dir, pid, start, SWEEP_BUDGET));
        if let Err(e) = killed.await {
            error!(run = run.id.0, error = %e, "the last resort failed");
        }
    }

    /// Does what the database has to take, again and again until it does; `None` when it never can.
    pub(super) async fn insist<T, F, W>(&self, id: RunId, work: F) -> Option<T>
    where
        F: Fn() -> W,
        W: Future<Output = Result<T, RunError>>,
    {
        let mut told = false;
        loop {
            match work().await {
                Ok(done) => return Some(done),
                Err(RunError::Illegal(e)) => {
                    error!(run = id.0, error = %e, "a run was asked for a step that it cannot take");
                    return None;
                }
                Err(e) => {
                    // What became of a run must not be lost: a full disk is waited out.
                    if !std::mem::replace(&mut told, true) {
                        error!(run = id.0, error = %e, "the database does not take it; trying again");
                    }
                    tokio::time::sleep(AGAIN_PAUSE).await;
                }
            }
        }
    }

    /// The keeper has let go of the run: reads what it left and writes the end.
    pub(super) async fn settle(&self, mut run: Run, task: Option<Arc<Task>>) {
        failpoint::pass("run.settle");
        let mut told = false;
        let found = loop {
            match process::examine(&self.run_dir(run.id), run.boot_id.as_deref().unwrap_or_default()) {
                // Its lock may be held for an instant longer, by a child between fork and exec.
                Ok(Found::Alive(keeper)) => {
                    keeper.ended().await;
                    continue;
                }
                Ok(found) => break found,
                Err(e) if !std::mem::replace(&mut told, true) => {
                    error!(run = run.id.0, error = %e, "cannot read what a keeper left; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(EXAMINE_PAUSE).await;
        };
        match found {
            Found::Exited(exit) => self.finish_from(run, task.as_ref(), &exit).await,
            Found::NotStarted => self.never_started(run).await,
            Found::Alive(_) | Found::Vanished => self.lose(&mut run, task, "keeper_killed").await,
            Found::Unreadable => self.lose(&mut run, task, "result_unreadable").await,
            Found::Gone => self.lose(&mut run, task, "directory_gone").await,
            Found::OtherBoot => self.finish(run, task.as_ref(), outcome::lost("reboot")).await,
        }
    }

    /// It left no result. What outlives the sweep holds the key until it is gone.
    async fn lose(&self, run: &mut Run, task: Option<Arc<Task>>, reason: &str) {
        while self.sweep(run).await > 0 && self.sweep(run).await > 0 {
            self.say_kill_failed(run).await;
            tokio::time::sleep(KILL_FAILED_LOOK).await;
        }
        self.finish(run.clone(), task.as_ref(), outcome::lost(reason)).await;
    }

    /// Ends the run's keeper, if it is still there, and whatever carries the run's cookie.
    pub(super) async fn sweep(&self, run: &Run) -> u32 {
        let dir = self.run_dir(run.id);
        // By its number only while it is this run's: without the directory its lock cannot say so.
        let pid = if self.keeps_another(run).await { 0 } else { run.keeper_pid.unwrap_or_default() };
        let start = run.keeper_start.and_then(|start| u64::try_from(start).ok()).unwrap_or_default();
        let killing = move || process::kill_tree(&dir, pid, start, SWEEP_BUDGET);
        let swept = tokio::task::spawn_blocking(killing).await;
        match swept {
            Ok(count) => {
                if count > 0 {
                    warn!(run = run.id.0, count, "killed what a run without a keeper had left");
                }
                count
            }
            Err(e) => {
                error!(run = run.id.0, error = %e, "the hunt for leftovers failed");
                0
            }
        }
    }

    /// Whether the run's keeper has gone on to another run.
    async fn keeps_another(&self, run: &Run) -> bool {
        let ask = || async {
            let run = run.clone();
            self.store.read(move |conn| Ok::<_, RunError>(live::table::is_keeper_busy(conn, &run)?)).await
        };
        self.insist(run.id, ask).await.unwrap_or(false)
    }

    /// The gate never opened: the row is free to start once more.
    pub(super) async fn never_started(&self, run: Run) {
        let step = || self.step(run.id, Step::NeverStarted, EventKind::RunNotStarted, None);
        if self.insist(run.id, step).await.flatten().is_none() {
            // Asked to end before it began: it is not to begin now.
            let outcome = Outcome {
                state: RunState::Killed,
                reason: Some(StopReason::Cancelled.name().to_owned()),
                exit_code: None,
                signal: None,
            };
            self.finish(run, None, outcome).await;
        }
        self.look();
    }

    /// Takes one step that ends nothing and writes it with its event. `None`: the row has moved on.
    pub(super) async fn step(
        &self,
        id: RunId,
        step: Step,
        kind: EventKind,
        reason: Option<StopReason>,
    ) -> Result<Option<Run>, RunError> {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        self.store.write(move |tx| step::take(tx, &journal, id, (step, kind, reason), now_ms)).await
    }

    pub(super) fn tell(&self, notice: Notice) {
        // The receiver lives as long as the daemon; while it shuts down nobody needs to hear.
        if self.notices.send(notice).is_err() {
            info!("a run ended while the daemon was going down");
        }
    }
}

/// After this a keeper has ended whatever its command does.
fn limit(spec: &Spec) -> Duration {
    Duration::from_millis(spec.timeout_ms.saturating_add(spec.kill_grace_ms))
}

/// What is left to know of a run whose folder is laid out.
struct Ready {
    private: Private,
    token: String,
    limit: Duration,
}

/// Leaves in the run's folder what the keeper will read; blocking.
fn lay_out(dir: &Path, prepared: Prepared) -> Result<Ready, Outcome> {
    let Prepared { spec, private, token, input } = prepared;
    let bad = |e: std::io::Error| not_spawned(&format!("writing {}: {e}", dir.display()));
    failpoint::hit("run.lay_out.before").map_err(|fault| bad(fault.into()))?;
    spec.write(dir).map_err(bad)?;
    failpoint::hit("run.lay_out.half").map_err(|fault| bad(fault.into()))?;
    process::begin_stdin(dir, &input).map_err(bad)?;
    Ok(Ready { private, token, limit: limit(&spec) })
}

fn blocked(why: &str) -> Outcome {
    Outcome { state: RunState::Blocked, reason: Some(why.to_owned()), exit_code: None, signal: None }
}

fn not_spawned(why: &str) -> Outcome {
    Outcome { state: RunState::Failed, reason: Some(format!("spawn: {why}")), exit_code: None, signal: None }
}

/// 256 random bits, as hex.
///
/// # Errors
/// The system has no randomness to give.
pub fn random_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}
