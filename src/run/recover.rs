//! After a start: every live row is adopted, finished from what its keeper left, or declared lost.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::model::run::{Run, RunState};
use crate::model::task::Task;
use crate::platform::failpoint;
use crate::platform::process::{self, Found};
use crate::run::{Notice, RunError, Runs, flight, live, table};

/// Longest wait at boot for one run to be settled.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// What was found, for the daemon's first line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    pub adopted: u32,
    pub finished: u32,
    pub lost: u32,
    pub not_started: u32,
}

impl Runs {
    /// Settles every row that an earlier daemon left live. Nothing new may be started before this is over.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn recover<F>(&self, definition: F) -> Result<Recovered, RunError>
    where
        F: Fn(&Run) -> Option<Arc<Task>>,
    {
        let live = self.store.read(|conn| -> Result<_, RunError> { Ok(live::table::live(conn)?) }).await?;
        failpoint::hit("run.recover")?;
        let mut recovered = Recovered::default();
        for run in live {
            match run.state() {
                // "go" is only written after the row says `running`.
                RunState::Claimed => {
                    let task = definition(&run);
                    if task.is_some_and(|task| self.is_too_late(&run, &task)) {
                        self.skip_late(run, "too_late").await;
                    } else if run.waiting.is_none() {
                        self.never_started(run).await;
                        recovered.not_started += 1;
                    }
                }
                RunState::Running | RunState::Stopping | RunState::KillFailed => {
                    let task = definition(&run);
                    self.recover_one(run, task, &mut recovered).await;
                }
                RunState::Ok
                | RunState::Failed
                | RunState::Timeout
                | RunState::Killed
                | RunState::Lost
                | RunState::NotStarted
                | RunState::Blocked
                | RunState::Skipped
                | RunState::Missed => {}
            }
        }
        self.pass_over_late(definition).await?;
        let Recovered { adopted, finished, lost, not_started } = recovered;
        info!(adopted, finished, lost, not_started, "settled the runs of the last daemon");
        Ok(recovered)
    }

    async fn recover_one(&self, run: Run, task: Option<Arc<Task>>, recovered: &mut Recovered) {
        let boot_id = run.boot_id.clone().unwrap_or_default();
        match process::examine(&self.run_dir(run.id), &boot_id) {
            Ok(Found::Alive(keeper)) => {
                failpoint::pass("run.adopt");
                recovered.adopted += 1;
                // A stop that was recorded may not have reached the keeper.
                if let Some(reason) = run.stop_reason.filter(|_| run.state() == RunState::Stopping) {
                    self.tell_keeper(run.id, reason, None);
                }
                let runs = self.clone();
                tokio::spawn(async move { runs.adopt(run, task, keeper).await });
                return;
            }
            Ok(Found::Exited(_)) => recovered.finished += 1,
            Ok(Found::NotStarted) => recovered.not_started += 1,
            Ok(Found::Vanished | Found::Unreadable | Found::Gone | Found::OtherBoot) => recovered.lost += 1,
            Err(e) => warn!(run = run.id.0, error = %e, "cannot read what its keeper left; trying again"),
        }
        let runs = self.clone();
        let id = run.id;
        let settled = tokio::spawn(async move { runs.settle(run, task).await });
        // What cannot be settled now (a process that outlives SIGKILL) must not keep the rest waiting.
        if tokio::time::timeout(SETTLE_MAX, settled).await.is_err() {
            warn!(run = id.0, "not settled yet; going on beside the rest");
        }
    }

    /// A due instant that waited through a downtime longer than its task makes up for.
    fn is_too_late(&self, run: &Run, task: &Task) -> bool {
        let window = crate::model::time::millis(task.settings.catch_up_window);
        run.scheduled_ms.is_some_and(|at| self.clock.wall_ms().saturating_sub(at) > window)
    }

    /// Rows whose gate never opened and that are to start once more, though not at any time.
    async fn pass_over_late<F>(&self, definition: F) -> Result<(), RunError>
    where
        F: Fn(&Run) -> Option<Arc<Task>>,
    {
        let waiting =
            self.store.read(|conn| -> Result<_, RunError> { Ok(table::not_started(conn)?) }).await?;
        for run in waiting {
            if definition(&run).is_some_and(|task| self.is_too_late(&run, &task)) {
                self.skip_late(run, "too_late").await;
            }
        }
        Ok(())
    }

    async fn skip_late(&self, run: Run, reason: &'static str) {
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        let id = run.id;
        let write = || {
            let (journal, run) = (journal.clone(), run.clone());
            self.store.write(move |tx| flight::give_up(tx, &journal, run.clone(), reason, now_ms))
        };
        self.insist(id, write).await;
    }

    /// Gives to be started whoever can go now: what waits, and the rows whose gate never opened.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn claim_again(&self) -> Result<Vec<Run>, RunError> {
        let (journal, gates, now_ms) = (self.journal.clone(), self.gates(), self.clock.wall_ms());
        self.store.write(move |tx| flight::promote(tx, &journal, gates, now_ms)).await
    }

    /// Turns a claimed run that could not start in time into a skipped one, and lets go who waited for it. Until that
    /// is written the run holds its key, so it is tried until it is.
    pub async fn pass_up(&self, run: Run, reason: &'static str) {
        let (journal, gates, now_ms) = (self.journal.clone(), self.gates(), self.clock.wall_ms());
        let id = run.id;
        let write = || {
            let (journal, run) = (journal.clone(), run.clone());
            self.store.write(move |tx| {
                flight::give_up(tx, &journal, run.clone(), reason, now_ms)?;
                flight::promote(tx, &journal, gates, now_ms)
            })
        };
        let promoted = self.insist(id, write).await.unwrap_or_default();
        if !promoted.is_empty() {
            self.tell(Notice::Promoted(promoted));
        }
    }
}
