//! From a claimed row to the end of its keeper: fork, record, let go, wait, read what it left.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use crate::model::event::{Event, EventKind};
use crate::model::run::{Outcome, Run, RunState, Step, StopReason};
use crate::model::task::Task;
use crate::platform::process::spec::{Private, Spec};
use crate::platform::process::{self, Found, Gate, Keeper};
use crate::run::outcome;
use crate::run::table;
use crate::run::{Notice, RunError, Runs, command};

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
/// How often a run whose processes outlive SIGKILL is looked at again.
const KILL_FAILED_LOOK: Duration = Duration::from_secs(1);
/// How long leftovers of a run without a keeper are hunted for.
const SWEEP_BUDGET: Duration = Duration::from_secs(2);
/// Wait before the folder of an ended run that could not be read is read again.
const EXAMINE_PAUSE: Duration = Duration::from_secs(1);

impl Runs {
    /// Starts `run`, which holds its key and its place, and sees it through.
    pub async fn launch(&self, run: Run, task: Arc<Task>) {
        let id = run.id;
        match self.start(run, &task).await {
            Ok(Some((run, keeper))) => self.watch(run, Some(task), keeper).await,
            Ok(None) => {}
            Err(e) => error!(run = id.0, error = %e, "could not record the start of a run"),
        }
    }

    /// Sees a run through that an earlier daemon started.
    pub async fn adopt(&self, run: Run, task: Option<Arc<Task>>, keeper: Keeper) {
        info!(run = run.id.0, task = %run.task, "adopted a run of an earlier daemon");
        self.watch(run, task, keeper).await;
    }

    /// Ends a claimed run that cannot be tried.
    pub async fn block(&self, run: Run, why: &str) {
        self.finish(run, None, blocked(why), None).await;
    }

    /// Starts `run` as somebody else has prepared it, and sees it through. `task` is whose `retries` and
    /// codes count at its end, if anybody's.
    pub async fn launch_prepared(&self, run: Run, task: Option<Arc<Task>>, prepared: Prepared) {
        let id = run.id;
        match self.let_go(run, task.as_ref(), prepared).await {
            Ok(Some((run, keeper))) => self.watch(run, task, keeper).await,
            Ok(None) => {}
            Err(e) => error!(run = id.0, error = %e, "could not record the start of a run"),
        }
    }

    async fn start(&self, run: Run, task: &Arc<Task>) -> Result<Option<(Run, Keeper)>, RunError> {
        let token = match random_token() {
            Ok(token) => token,
            Err(e) => {
                self.finish(run, Some(task), not_spawned(&e.to_string()), None).await;
                return Ok(None);
            }
        };
        let built = {
            let (site, task, run, token) = (self.site.clone(), Arc::clone(task), run.clone(), token.clone());
            // Reads an env_file, which may lie on a slow disk.
            tokio::task::spawn_blocking(move || command::build(&site, &task, &run, &token)).await
        };
        let (spec, private) = match built {
            Ok(Ok(built)) => built,
            Ok(Err(why)) => {
                self.finish(run, Some(task), blocked(&why.to_string()), None).await;
                return Ok(None);
            }
            Err(e) => {
                self.finish(run, Some(task), not_spawned(&e.to_string()), None).await;
                return Ok(None);
            }
        };
        self.let_go(run, Some(task), Prepared { spec, private, token, input: Vec::new() }).await
    }

    async fn let_go(
        &self,
        run: Run,
        task: Option<&Arc<Task>>,
        prepared: Prepared,
    ) -> Result<Option<(Run, Keeper)>, RunError> {
        let gate = match self.fork(&run, &prepared).await {
            Ok(gate) => gate,
            Err(e) => {
                warn!(run = run.id.0, task = %run.task, error = %e, "could not fork a keeper");
                self.finish(run, task, not_spawned(&e), None).await;
                return Ok(None);
            }
        };
        let Some(run) = self.record_start(run, &gate, &prepared.token).await? else {
            // Cancelled meanwhile. The gate falls shut: its keeper ends without having run anything.
            return Ok(None);
        };
        Ok(self.open_gate(run, gate, &prepared.private).await)
    }

    async fn fork(&self, run: &Run, prepared: &Prepared) -> Result<Gate, String> {
        let dir = self.run_dir(run.id);
        let bad = |e: std::io::Error| format!("writing {}: {e}", dir.display());
        prepared.spec.write(&dir).map_err(bad)?;
        process::begin_stdin(&dir, &prepared.input).map_err(bad)?;
        self.nursery.fork(&dir).await.map_err(|e| e.to_string())
    }

    async fn record_start(&self, mut run: Run, gate: &Gate, token: &str) -> Result<Option<Run>, RunError> {
        let from = run.state();
        run.step(Step::Start)?;
        run.keeper_pid = Some(gate.pid);
        run.keeper_start = i64::try_from(gate.start_ticks).ok();
        run.boot_id = process::boot_id().ok();
        run.started_ms = Some(self.clock.wall_ms());
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        let token_hash = Sha256::digest(token.as_bytes()).to_vec();
        self.store
            .write(move |tx| -> Result<Option<Run>, RunError> {
                if !table::update(tx, &run, from)? {
                    return Ok(None);
                }
                table::set_token(tx, run.id, &token_hash)?;
                let late_ms = run.scheduled_ms.map(|at| now_ms - at);
                let event = Event::new(EventKind::RunStarted)
                    .task(&run.task)
                    .run(run.id)
                    .data(json!({"attempt": run.attempt, "late_ms": late_ms}));
                journal.record(tx, now_ms, event)?;
                Ok(Some(run.clone()))
            })
            .await
    }

    async fn open_gate(&self, run: Run, gate: Gate, private: &Private) -> Option<(Run, Keeper)> {
        match gate.open(private).await {
            Ok(keeper) => Some((run, keeper)),
            Err(e) => {
                warn!(run = run.id.0, error = %e, "the keeper was gone before it could start its command");
                self.never_started(run).await;
                None
            }
        }
    }

    /// Waits for the keeper's end and steps in when it outlives its own limits.
    async fn watch(&self, mut run: Run, task: Option<Arc<Task>>, keeper: Keeper) {
        let dir = self.run_dir(run.id);
        let limit = Spec::read(&dir).map_or(Duration::MAX, |spec| {
            Duration::from_millis(spec.timeout_ms.saturating_add(spec.kill_grace_ms))
        });
        let since_start = run
            .started_ms
            .and_then(|at| u64::try_from(self.clock.wall_ms() - at).ok())
            .map_or(Duration::ZERO, Duration::from_millis);
        // Suspend is counted by the keeper, not by this timer: it only backs the keeper up.
        let mut wait = limit.saturating_sub(since_start).saturating_add(KEEPER_SLACK);
        loop {
            tokio::select! {
                () = keeper.ended() => break,
                () = tokio::time::sleep(wait) => {
                    wait = KILL_FAILED_LOOK;
                    self.overdue(&mut run, &keeper).await;
                }
            }
        }
        self.settle(run.id, task).await;
    }

    /// The keeper should have ended by now: say so once, and kill what it keeps.
    async fn overdue(&self, run: &mut Run, keeper: &Keeper) {
        let (dir, pid, start) = (keeper.dir().to_owned(), keeper.pid, keeper.start_ticks);
        let killed = tokio::task::spawn_blocking(move || process::kill_tree(&dir, pid, start, SWEEP_BUDGET));
        if let Err(e) = killed.await {
            error!(run = run.id.0, error = %e, "the last resort failed");
        }
        if run.state() == RunState::KillFailed {
            return;
        }
        warn!(run = run.id.0, task = %run.task, "something of this run outlives SIGKILL; its key stays held");
        match self.step(run.id, Step::KillFailed, EventKind::RunKillFailed, None).await {
            Ok(Some(now)) => {
                *run = now;
                self.tell(Notice::KillFailed(run.id));
            }
            Ok(None) => {}
            Err(e) => error!(run = run.id.0, error = %e, "could not record that a kill failed"),
        }
    }

    /// The keeper has ended: reads what it left and writes the end.
    pub(super) async fn settle(&self, id: crate::model::ids::RunId, task: Option<Arc<Task>>) {
        let run = match self
            .store
            .read(move |conn| -> Result<_, RunError> { Ok(table::get(conn, id)?) })
            .await
        {
            Ok(Some(run)) if run.state().is_live() => run,
            Ok(Some(_) | None) => return,
            Err(e) => {
                error!(run = id.0, error = %e, "could not read a run that has ended; the next start of the daemon will settle it");
                return;
            }
        };
        let found = loop {
            match process::examine(&self.run_dir(id), run.boot_id.as_deref().unwrap_or_default()) {
                // Its lock may be held for an instant longer, by a child between fork and exec.
                Ok(Found::Alive(keeper)) => {
                    keeper.ended().await;
                    continue;
                }
                Ok(found) => break found,
                Err(e) => error!(run = id.0, error = %e, "cannot read what a keeper left; trying again"),
            }
            tokio::time::sleep(EXAMINE_PAUSE).await;
        };
        match found {
            Found::Exited(exit) => self.finish_from(run, task.as_ref(), &exit).await,
            Found::NotStarted => self.never_started(run).await,
            Found::Alive(_) | Found::Vanished => {
                self.sweep(&run).await;
                self.finish(run, task.as_ref(), outcome::lost("keeper_killed"), None).await;
            }
            Found::OtherBoot => self.finish(run, task.as_ref(), outcome::lost("reboot"), None).await,
        }
    }

    /// Ends whatever still carries the run's cookie.
    pub(super) async fn sweep(&self, run: &Run) {
        let dir = self.run_dir(run.id);
        let swept = tokio::task::spawn_blocking(move || process::clear(&dir, SWEEP_BUDGET)).await;
        match swept {
            Ok(0) => {}
            Ok(count) => warn!(run = run.id.0, count, "killed what a run without a keeper had left"),
            Err(e) => error!(run = run.id.0, error = %e, "the hunt for leftovers failed"),
        }
    }

    /// The gate never opened: the row is free to start once more.
    pub(super) async fn never_started(&self, run: Run) {
        match self.step(run.id, Step::NeverStarted, EventKind::RunNotStarted, None).await {
            Ok(_) => self.look(),
            Err(e) => error!(run = run.id.0, error = %e, "could not record that a run never started"),
        }
    }

    /// Takes one step that ends nothing and writes it with its event. `None`: the row has moved on.
    pub(super) async fn step(
        &self,
        id: crate::model::ids::RunId,
        step: Step,
        kind: EventKind,
        reason: Option<StopReason>,
    ) -> Result<Option<Run>, RunError> {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                let Some(mut run) = table::get(tx, id)? else { return Ok(None) };
                let from = run.state();
                if run.step(step).is_err() {
                    return Ok::<_, RunError>(None);
                }
                run.waiting = None;
                if reason.is_some() {
                    run.stop_reason = reason;
                }
                if !table::update(tx, &run, from)? {
                    return Ok(None);
                }
                let data = json!({"reason": reason.map(StopReason::name)});
                journal.record(tx, now_ms, Event::new(kind).task(&run.task).run(run.id).data(data))?;
                Ok(Some(run))
            })
            .await
    }

    pub(super) fn tell(&self, notice: Notice) {
        // The receiver lives as long as the daemon; while it shuts down nobody needs to hear.
        if self.notices.send(notice).is_err() {
            info!("a run ended while the daemon was going down");
        }
    }
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
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
