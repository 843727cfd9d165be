//! Keepers that live and of which the ledger knows nothing: it is an older one (a backup was restored, commits were
//! lost). Their tasks, tickets and slots are free by this ledger, so they have to end before anything is given away.

pub mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tracing::{error, warn};

use crate::model::event::{Event, EventKind};
use crate::model::ids::{RunId, TaskId};
use crate::platform::process::{self, Found, Spec, Started};
use crate::run::{RunError, Runs, run_dir};

/// What the keeper of such a run writes down as the cause of its end, and the journal.
const REASON: &str = "not_in_ledger";
/// How long a keeper behind its gate may take to see that the daemon before this one is gone.
const GATE_MAX: Duration = Duration::from_secs(2);
/// How long its command has after SIGTERM. Short: nothing is served before it is over.
const GRACE: Duration = Duration::from_secs(5);
/// How much longer than the grace its keeper may take.
const SLACK: Duration = Duration::from_secs(2);
/// How long each of the last resorts takes at most.
const KILL_MAX: Duration = Duration::from_secs(2);
/// Between two looks at a keeper's lock.
const LOOK: Duration = Duration::from_millis(20);

/// A run without a row, which is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    pub run: RunId,
    pub task: Option<TaskId>,
    /// Nothing of it is left; else the kernel still holds what SIGKILL has reached, and no code of it runs any more.
    pub is_gone: bool,
}

impl Runs {
    /// Ends every run that has a keeper and no row that says so, and says which. Before anything is claimed.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn end_orphans(&self) -> Result<Vec<Orphan>, RunError> {
        let dir = self.dir.clone();
        let listed = tokio::task::spawn_blocking(move || list(&dir)).await.unwrap_or_default();
        let unknown = self
            .store
            .read(move |conn| -> Result<_, RunError> { Ok(table::not_begun(conn, listed)?) })
            .await?;
        let mut ends = JoinSet::new();
        for run in unknown {
            let dir = run_dir(&self.dir, run);
            if process::is_kept(&dir) {
                ends.spawn(end(run, dir));
            }
        }
        let mut orphans: Vec<Orphan> = ends.join_all().await.into_iter().flatten().collect();
        orphans.sort_by_key(|orphan| orphan.run);
        if !orphans.is_empty() {
            self.record_orphans(orphans.clone()).await?;
        }
        Ok(orphans)
    }

    /// Runs that have a keeper now, whatever the ledger says.
    pub async fn kept(&self) -> Vec<RunId> {
        let dir = self.dir.clone();
        let look = move || -> Vec<RunId> {
            list(&dir).into_iter().filter(|run| process::is_kept(&run_dir(&dir, *run))).collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    async fn record_orphans(&self, orphans: Vec<Orphan>) -> Result<(), RunError> {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                for orphan in &orphans {
                    let data = json!({"reason": REASON, "is_gone": orphan.is_gone});
                    let mut event =
                        Event::new(EventKind::RunStopping).run(orphan.run).actor("daemon").data(data);
                    event.task.clone_from(&orphan.task);
                    journal.record(tx, now_ms, event)?;
                }
                Ok(())
            })
            .await
    }
}

/// `None`: it was behind its gate, and has gone by itself.
async fn end(run: RunId, dir: PathBuf) -> Option<Orphan> {
    if waits_at_its_gate(&dir).await {
        return None;
    }
    let task = task_of(&dir);
    let name = task.as_ref().map_or("", TaskId::as_str);
    warn!(run = run.0, task = name, "a run goes on that the database does not know; ending it");
    // By its own keeper, where that answers: it knows the whole tree.
    let told = process::stop(&dir, REASON, Some(GRACE)).is_ok();
    if !told || !is_let_go(&dir, GRACE + SLACK).await {
        let tree = dir.clone();
        let killed = tokio::task::spawn_blocking(move || kill(&tree)).await;
        if let Err(e) = killed {
            error!(run = run.0, error = %e, "the last resort failed");
        }
    }
    let is_gone = is_let_go(&dir, KILL_MAX).await;
    if !is_gone {
        error!(run = run.0, task = name, "something of this run outlives SIGKILL; going on without it");
    }
    Some(Orphan { run, task, is_gone })
}

/// Whether nothing of it had begun, and nothing will.
async fn waits_at_its_gate(dir: &Path) -> bool {
    let has_started = || !matches!(Started::read(dir), Ok(None));
    let until = tokio::time::Instant::now() + GATE_MAX;
    while !has_started() && tokio::time::Instant::now() < until {
        if !process::is_kept(dir) {
            return !has_started();
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

async fn is_let_go(dir: &Path, within: Duration) -> bool {
    let until = tokio::time::Instant::now() + within;
    while process::is_kept(dir) {
        if tokio::time::Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

fn kill(dir: &Path) {
    let alive = process::boot_id().and_then(|boot| process::examine(dir, boot));
    let (pid, start_ticks) = match alive {
        Ok(Found::Alive(keeper)) => (keeper.pid, keeper.start_ticks),
        // Without a keeper to be named there is still what carries the run's cookie.
        Ok(
            Found::Exited(_)
            | Found::NotStarted
            | Found::Vanished
            | Found::Unreadable
            | Found::Gone
            | Found::OtherBoot,
        )
        | Err(_) => (0, 0),
    };
    let count = process::kill_tree(dir, pid, start_ticks, KILL_MAX);
    if count > 0 {
        warn!(dir = %dir.display(), count, "killed what a run without a row had left");
    }
}

/// Whose run it was, by what was written down for its keeper.
fn task_of(dir: &Path) -> Option<TaskId> {
    let spec = Spec::read(dir).ok()?;
    let (_, task) = spec.env.iter().find(|(name, _)| name == "LUCID_TASK")?;
    TaskId::parse(task).ok()
}

fn list(dir: &Path) -> Vec<RunId> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(RunId)).collect()
}
