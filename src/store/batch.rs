//! One batch of writes: a transaction around a savepoint each, and what follows when it fails.
//!
//! A batch that cannot commit is replayed one by one, so that one bad write costs the others nothing
//! but time. When the disk is full the ballast is given up before the replay.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use tokio::sync::broadcast;

use super::writer::{Counters, Hook, Tx};
use super::{Notice, StoreError, ballast, maintain};
use crate::platform::{failpoint, filesystem};

/// What became of one attempt of a job.
pub(super) enum Attempt {
    Done,
    /// The job returned an error of its own, or panicked.
    Refused,
}

/// A piece of work together with the way back to its caller.
pub(super) trait Job: Send {
    fn attempt(&mut self, tx: &Tx<'_>) -> Attempt;
    /// Hands over what the last attempt returned, or `fault` if the store could not keep it.
    fn answer(self: Box<Self>, fault: Option<StoreError>);
}

struct Work<F, A, T, E> {
    work: F,
    answer: A,
    result: Option<Result<T, E>>,
}

pub(super) fn job<T, E, F, A>(work: F, answer: A) -> Box<dyn Job>
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
    A: FnOnce(Result<T, E>) + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Box::new(Work { work, answer, result: None })
}

impl<F, A, T, E> Job for Work<F, A, T, E>
where
    F: FnMut(&Tx<'_>) -> Result<T, E> + Send,
    A: FnOnce(Result<T, E>) + Send,
    T: Send,
    E: From<StoreError> + Send,
{
    fn attempt(&mut self, tx: &Tx<'_>) -> Attempt {
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(tx)))
            .unwrap_or_else(|_| Err(StoreError::Panicked.into()));
        let attempt = if result.is_ok() { Attempt::Done } else { Attempt::Refused };
        self.result = Some(result);
        attempt
    }

    fn answer(self: Box<Self>, fault: Option<StoreError>) {
        let result = match (self.result, fault) {
            // Its own error says more than that of a transaction which it may have brought down.
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(_)) | None, Some(fault)) => Err(fault.into()),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(StoreError::Closed.into()),
        };
        (self.answer)(result);
    }
}

/// Why nothing of a batch was kept.
enum Failure {
    /// BEGIN or COMMIT said so.
    Database(StoreError),
    /// SQLite rolled the transaction back under a job that returned an error.
    RolledBack,
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Database(error) => error,
            Failure::RolledBack => Self::RolledBack,
        }
    }
}

/// The writer's belongings.
pub(super) struct Desk {
    pub conn: Connection,
    pub dir: PathBuf,
    pub notices: broadcast::Sender<Notice>,
    pub counters: Arc<Counters>,
}

impl Desk {
    /// Commits `jobs` together and answers each.
    pub(super) fn commit(&self, mut jobs: Vec<Box<dyn Job>>) {
        let Err(failure) = self.transact(&mut jobs) else {
            return answer_all(jobs, None);
        };
        if let Failure::Database(StoreError::Busy) = failure {
            // Each replay would wait for the same lock again.
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return answer_all(jobs, Some(&StoreError::Busy));
        }
        let roomier = self.starved(&failure) && self.make_room();
        if jobs.len() == 1 && !roomier {
            return answer_all(jobs, Some(&failure.into()));
        }
        self.counters.replays.fetch_add(1, Ordering::Relaxed);
        for job in jobs {
            let mut alone = vec![job];
            let fault = self.transact(&mut alone).err().map(StoreError::from);
            answer_all(alone, fault.as_ref());
        }
    }

    /// Whether the disk is what failed. SQLite rolls the whole transaction back when it cannot write a
    /// page, whatever the job that met it makes of the error.
    fn starved(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Database(StoreError::DiskFull) => true,
            Failure::Database(StoreError::Sqlite(_)) | Failure::RolledBack => filesystem::is_full(&self.dir),
            Failure::Database(_) => false,
        }
    }

    /// Gives the ballast up, if it is still there, and tells that the disk is full either way.
    fn make_room(&self) -> bool {
        let ballast_spent = ballast::spend(&self.dir);
        // Nobody listening is no failure: the next full disk says it again.
        drop(self.notices.send(Notice::DiskFull { ballast_spent }));
        ballast_spent
    }

    /// One transaction around all of `jobs`. When it commits, those that refused left nothing in it.
    fn transact(&self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.run("BEGIN IMMEDIATE")?;
        let mut hooks = Vec::new();
        let mut kept = 0;
        for job in jobs.iter_mut() {
            match self.step(job.as_mut()) {
                Ok(Some(mut of_job)) => {
                    hooks.append(&mut of_job);
                    kept += 1;
                }
                Ok(None) => {}
                Err(failure) => {
                    self.roll_back();
                    return Err(failure);
                }
            }
        }
        let committed =
            failpoint::hit("store.commit.before").map_err(|fault| Failure::Database(fault.into()));
        if let Err(failure) = committed.and_then(|()| self.run("COMMIT")) {
            self.roll_back();
            return Err(failure);
        }
        failpoint::pass("store.commit.after");
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.writes.fetch_add(kept, Ordering::Relaxed);
        self.counters.largest_batch.fetch_max(kept, Ordering::Relaxed);
        for hook in hooks {
            // The commit stands whatever a hook does.
            drop(catch_unwind(AssertUnwindSafe(hook)));
        }
        Ok(())
    }

    /// One job in its savepoint: its hooks, or none when it refused.
    fn step(&self, job: &mut dyn Job) -> Result<Option<Vec<Hook>>, Failure> {
        self.run("SAVEPOINT job")?;
        let tx = Tx::new(&self.conn);
        match job.attempt(&tx) {
            Attempt::Done => {
                self.run("RELEASE job")?;
                Ok(Some(tx.into_hooks()))
            }
            Attempt::Refused if self.conn.is_autocommit() => Err(Failure::RolledBack),
            Attempt::Refused => {
                self.run("ROLLBACK TO job")?;
                self.run("RELEASE job")?;
                Ok(None)
            }
        }
    }

    fn run(&self, sql: &'static str) -> Result<(), Failure> {
        let done = self.conn.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        done.map(|_rows| ()).map_err(|error| Failure::Database(error.into()))
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // There is nothing to do about a rollback that fails; the next BEGIN will say so.
            drop(self.conn.execute_batch("ROLLBACK"));
        }
    }

    /// Folds the log into the database as the last act.
    pub(super) fn finish(self) {
        if let Err(error) = maintain::checkpoint(&self.conn) {
            tracing::warn!(%error, "the log could not be folded into the database at the end");
        }
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, fault: Option<&StoreError>) {
    for job in jobs {
        job.answer(fault.map(StoreError::again));
    }
}
