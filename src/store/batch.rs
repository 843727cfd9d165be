//! One batch of writes: a transaction around a savepoint each, and what follows when it fails.
//!
//! A batch that cannot commit is replayed one by one, so that one bad write costs the others nothing
//! but time. When the disk is full the ballast is given up first and the batch tried again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use tokio::sync::broadcast;

use super::writer::{Counters, Tx};
use super::{Notice, StoreError, ballast, filesystem, maintain};

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

/// The writer's belongings.
pub(super) struct Desk {
    pub conn: Connection,
    pub dir: PathBuf,
    pub notices: broadcast::Sender<Notice>,
    pub counters: Arc<Counters>,
}

impl Desk {
    /// Commits `jobs` together and answers each.
    pub(super) fn commit(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let Err(failure) = self.keep(&mut jobs) else {
            return answer_all(jobs, None);
        };
        if let Failure::Database(StoreError::Busy) = failure {
            // Each replay would wait for the same lock again.
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return answer_all(jobs, Some(&StoreError::Busy));
        }
        if jobs.len() > 1 {
            self.counters.replays.fetch_add(1, Ordering::Relaxed);
        }
        for job in jobs {
            let mut alone = vec![job];
            let fault = self.keep(&mut alone).err().map(|failure| match failure {
                Failure::Database(error) => error,
                Failure::RolledBack => StoreError::Panicked,
            });
            answer_all(alone, fault.as_ref());
        }
    }

    /// [`Desk::transact`], and once more after making room when the disk is full.
    fn keep(&self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let first = self.transact(jobs);
        if !self.starved(first.as_ref()) {
            return first.map(|_refused| ());
        }
        let ballast_spent = ballast::spend(&self.dir);
        // Nobody listening is no failure: the next full disk says it again.
        drop(self.notices.send(Notice::DiskFull { ballast_spent }));
        if ballast_spent { self.transact(jobs).map(|_refused| ()) } else { first.map(|_refused| ()) }
    }

    /// Whether the disk is what failed. A job's own error is opaque here, so one that refused is
    /// believed to be starved when hardly any room is left.
    fn starved(&self, outcome: Result<&usize, &Failure>) -> bool {
        match outcome {
            Ok(0) => false,
            Ok(_) | Err(Failure::RolledBack) => filesystem::is_full(&self.dir),
            Err(Failure::Database(StoreError::DiskFull)) => true,
            Err(Failure::Database(StoreError::Sqlite(_))) => filesystem::is_full(&self.dir),
            Err(Failure::Database(_)) => false,
        }
    }

    /// One transaction around all of `jobs`; the number of those that refused.
    fn transact(&self, jobs: &mut [Box<dyn Job>]) -> Result<usize, Failure> {
        let database = |error: rusqlite::Error| Failure::Database(error.into());
        self.conn.execute_batch("BEGIN IMMEDIATE").map_err(database)?;
        let mut hooks = Vec::new();
        let mut refused = 0;
        for job in jobs.iter_mut() {
            let step = self.step(job.as_mut());
            match step {
                Ok(Some(mut of_job)) => hooks.append(&mut of_job),
                Ok(None) => refused += 1,
                Err(failure) => {
                    self.roll_back();
                    return Err(failure);
                }
            }
        }
        if let Err(error) = self.conn.execute_batch("COMMIT") {
            self.roll_back();
            return Err(database(error));
        }
        let kept = (jobs.len() - refused) as u64;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.counters.writes.fetch_add(kept, Ordering::Relaxed);
        self.counters.largest_batch.fetch_max(kept, Ordering::Relaxed);
        for hook in hooks {
            // The commit stands whatever a hook does.
            drop(catch_unwind(AssertUnwindSafe(hook)));
        }
        Ok(refused)
    }

    /// One job in its savepoint: its hooks, or none when it refused.
    fn step(&self, job: &mut dyn Job) -> Result<Option<Vec<super::writer::Hook>>, Failure> {
        let database = |error: rusqlite::Error| Failure::Database(error.into());
        let run = |sql: &str| self.conn.prepare_cached(sql).and_then(|mut s| s.execute([])).map_err(database);
        run("SAVEPOINT job")?;
        let tx = Tx::new(&self.conn);
        match job.attempt(&tx) {
            Attempt::Done => {
                run("RELEASE job")?;
                Ok(Some(tx.into_hooks()))
            }
            Attempt::Refused if self.conn.is_autocommit() => Err(Failure::RolledBack),
            Attempt::Refused => {
                run("ROLLBACK TO job")?;
                run("RELEASE job")?;
                Ok(None)
            }
        }
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
