//! After a start: every live row is adopted, finished from what its keeper left, or declared lost.

use std::sync::Arc;

use tracing::{info, warn};

use crate::model::run::{Run, RunState, Step};
use crate::model::task::Task;
use crate::platform::process::{self, Found};
use crate::run::{RunError, Runs, outcome, table};

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
        let live = self.store.read(|conn| -> Result<_, RunError> { Ok(table::live(conn)?) }).await?;
        let mut recovered = Recovered::default();
        for run in live {
            match run.state() {
                // "go" is only written after the row says `running`.
                RunState::Claimed => {
                    if run.waiting.is_none() {
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
        info!(?recovered, "settled the runs of the last daemon");
        Ok(recovered)
    }

    async fn recover_one(&self, run: Run, task: Option<Arc<Task>>, recovered: &mut Recovered) {
        let boot_id = run.boot_id.clone().unwrap_or_default();
        let found = match process::examine(&self.run_dir(run.id), &boot_id) {
            Ok(found) => found,
            Err(e) => {
                warn!(run = run.id.0, error = %e, "cannot read what its keeper left; trying again beside the rest");
                let runs = self.clone();
                tokio::spawn(async move { runs.settle(run.id, task).await });
                return;
            }
        };
        match found {
            Found::Exited(exit) => {
                recovered.finished += 1;
                self.finish_from(run, task.as_ref(), &exit).await;
            }
            Found::OtherBoot => {
                recovered.lost += 1;
                self.finish(run, task.as_ref(), outcome::lost("reboot"), None).await;
            }
            Found::Alive(keeper) => {
                recovered.adopted += 1;
                let runs = self.clone();
                tokio::spawn(async move { runs.adopt(run, task, keeper).await });
            }
            Found::NotStarted => {
                recovered.not_started += 1;
                self.never_started(run).await;
            }
            Found::Vanished => {
                recovered.lost += 1;
                warn!(run = run.id.0, task = %run.task, "its keeper is gone without a result");
                self.sweep(&run).await;
                self.finish(run, task.as_ref(), outcome::lost("keeper_killed"), None).await;
            }
        }
    }

    /// Takes up again the rows whose gate never opened: the same row starts once more.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn claim_again(&self) -> Result<Vec<Run>, RunError> {
        let (journal, gates, now_ms) = (self.journal.clone(), self.gates(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                for mut run in table::not_started(tx)? {
                    let from = run.state();
                    if table::is_taken(tx, run.id)? || gates.draining {
                        continue;
                    }
                    run.step(Step::ClaimAgain)?;
                    // Promotion, like any other wait: its locks and its place are looked at anew.
                    run.waiting = Some(crate::model::run::Waiting::Lock);
                    run.started_ms = None;
                    if table::update(tx, &run, from)? {
                        table::set_fence(tx, run.id, table::next_fence(tx)?)?;
                    }
                }
                crate::run::flight::promote(tx, &journal, gates, now_ms)
            })
            .await
    }

    /// Turns a claimed run that could not start in time into a skipped one, and lets go who waited for it.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn give_up(&self, run: Run, reason: &'static str) -> Result<(), RunError> {
        let (journal, gates, now_ms) = (self.journal.clone(), self.gates(), self.clock.wall_ms());
        let promoted = self
            .store
            .write(move |tx| {
                crate::run::flight::give_up(tx, &journal, run.clone(), reason, now_ms)?;
                crate::run::flight::promote(tx, &journal, gates, now_ms)
            })
            .await?;
        if !promoted.is_empty() {
            self.tell(crate::run::Notice::Promoted(promoted));
        }
        Ok(())
    }
}
