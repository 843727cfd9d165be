//! How long the ledger and its outputs are kept: by age, by count and by bytes, on the daemon's own
//! cadence and never on the way of a run.

pub mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rusqlite::Connection;

use crate::model::ids::{RunId, TaskId};
use crate::model::time::millis;
use crate::platform::process;
use crate::run::{RunError, Runs};
use crate::store::Tx;

/// Rows deleted in one transaction.
pub const CHUNK_ROWS: u32 = 500;

/// What of one task's past is kept.
#[derive(Debug, Clone)]
pub struct Keep {
    pub task: TaskId,
    pub rows: u64,
    pub age: Duration,
}

/// Limits for the outputs of all runs together.
#[derive(Debug, Clone, Copy)]
pub struct KeepOutputs {
    pub age: Duration,
    pub bytes: u64,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub rows: usize,
    pub folders: usize,
    pub bytes: u64,
}

/// A run's folder as the sweep sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    pub id: RunId,
    pub bytes: u64,
    /// Last change, milliseconds since the epoch.
    pub changed_ms: i64,
}

impl Runs {
    /// Deletes rows that are over their task's limits at `now_ms`, and their folders.
    ///
    /// # Errors
    /// Only what the database says; what went before stays gone.
    pub async fn sweep_rows(
        &self,
        keeps: Vec<Keep>,
        attempts: Duration,
        now_ms: i64,
    ) -> Result<Swept, RunError> {
        let mut swept = Swept::default();
        for keep in keeps {
            let oldest_ms = now_ms.saturating_sub(millis(keep.age));
            let delete =
                move |tx: &Tx<'_>| table::delete_over(tx, &keep.task, keep.rows, oldest_ms, CHUNK_ROWS);
            self.delete_all(delete, &mut swept).await?;
        }
        let oldest_ms = now_ms.saturating_sub(millis(attempts));
        self.delete_all(move |tx| table::delete_attempts(tx, oldest_ms, CHUNK_ROWS), &mut swept).await?;
        Ok(swept)
    }

    /// Deletes chunk after chunk, with the folders of what is gone.
    async fn delete_all(
        &self,
        chunk: impl Fn(&Tx<'_>) -> rusqlite::Result<Vec<RunId>> + Clone + Send + Sync + 'static,
        swept: &mut Swept,
    ) -> Result<(), RunError> {
        loop {
            let chunk = chunk.clone();
            let gone = self.store.write(move |tx| chunk(tx).map_err(RunError::from)).await?;
            swept.rows += gone.len();
            for id in &gone {
                swept.folders += usize::from(remove(&self.run_dir(*id)));
            }
            if gone.len() < CHUNK_ROWS as usize {
                return Ok(());
            }
        }
    }

    /// Deletes folders of ended runs that are too old at `now_ms`, then the oldest until the rest fits.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn sweep_outputs(&self, keep: KeepOutputs, now_ms: i64) -> Result<Swept, RunError> {
        let (dir, store) = (self.dir.clone(), self.store.clone());
        let needed = move || store.read_blocking(|conn| -> Result<_, RunError> { Ok(needed(conn)?) });
        let swept = tokio::task::spawn_blocking(move || sweep(&dir, needed, keep, now_ms)).await;
        swept.unwrap_or_else(|_| Ok(Swept::default()))
    }
}

/// Runs whose folders somebody works in or will.
fn needed(conn: &Connection) -> rusqlite::Result<Vec<RunId>> {
    let rows = super::live::table::live(conn)?.into_iter().chain(super::table::not_started(conn)?);
    Ok(rows.map(|run| run.id).collect())
}

/// Deletes from the run folders in `dir` what is over `keep`; blocking. Whose folder is needed is asked only when they
/// have been listed: a run that is claimed meanwhile is in that answer, or not in the list.
fn sweep(
    dir: &Path,
    needed: impl FnOnce() -> Result<Vec<RunId>, RunError>,
    keep: KeepOutputs,
    now_ms: i64,
) -> Result<Swept, RunError> {
    let folders = list(dir).unwrap_or_default();
    let needed = needed()?;
    let mut swept = Swept::default();
    for folder in too_many(folders, &needed, keep, now_ms) {
        let path = super::run_dir(dir, folder.id);
        // Whatever the ledger says: somebody is at work there.
        if process::is_kept(&path) {
            continue;
        }
        if remove(&path) {
            swept.folders += 1;
            swept.bytes += folder.bytes;
        }
    }
    Ok(swept)
}

/// Which folders have to go: those over the age, then the oldest over the bytes; a live run's never.
#[must_use]
pub fn too_many(folders: Vec<Folder>, live: &[RunId], keep: KeepOutputs, now_ms: i64) -> Vec<Folder> {
    let oldest_ms = now_ms.saturating_sub(millis(keep.age));
    let mut total: u64 = folders.iter().map(|folder| folder.bytes).sum();
    let by_id: BTreeMap<RunId, Folder> =
        folders.into_iter().filter(|f| !live.contains(&f.id)).map(|f| (f.id, f)).collect();
    let mut gone = Vec::new();
    for folder in by_id.into_values() {
        if folder.changed_ms < oldest_ms || total > keep.bytes {
            total = total.saturating_sub(folder.bytes);
            gone.push(folder);
        }
    }
    gone
}

fn list(dir: &Path) -> io::Result<Vec<Folder>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok()) else { continue };
        let mut folder = Folder { id: RunId(id), bytes: 0, changed_ms: 0 };
        for file in fs::read_dir(entry.path())?.flatten() {
            if let Ok(metadata) = file.metadata() {
                folder.bytes += metadata.len();
                let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                folder.changed_ms = folder.changed_ms.max(changed.map_or(0, millis));
            }
        }
        folders.push(folder);
    }
    Ok(folders)
}

fn remove(dir: &Path) -> bool {
    fs::remove_dir_all(dir).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::files::Lock;

    fn folder(id: i64, bytes: u64, changed_ms: i64) -> Folder {
        Folder { id: RunId(id), bytes, changed_ms }
    }

    fn ids(gone: &[Folder]) -> Vec<i64> {
        gone.iter().map(|f| f.id.0).collect()
    }

    #[test]
    fn age_first_then_bytes_and_never_a_live_one() {
        let keep = KeepOutputs { age: Duration::from_secs(10), bytes: 100 };
        let folders =
            vec![folder(1, 10, 1_000), folder(2, 60, 95_000), folder(3, 30, 96_000), folder(4, 30, 99_000)];
        assert_eq!(ids(&too_many(folders.clone(), &[], keep, 100_000)), [1, 2]);
        assert_eq!(ids(&too_many(folders.clone(), &[RunId(1), RunId(2)], keep, 100_000)), [3]);
        let roomy = KeepOutputs { bytes: 1000, ..keep };
        assert_eq!(ids(&too_many(folders, &[], roomy, 100_000)), [1]);
    }

    #[test]
    fn a_folder_in_which_somebody_works_stays() {
        let dir = tempfile::tempdir().unwrap();
        let make = |id: i64| {
            let path = super::super::run_dir(dir.path(), RunId(id));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("output.log"), b"text").unwrap();
            path
        };
        let (ended, orphaned) = (make(1), make(2));
        let _held = Lock::try_take(&orphaned.join("keeper.lock"), "1 1\n").unwrap().unwrap();
        let keep = KeepOutputs { age: Duration::ZERO, bytes: 0 };
        // Claimed, and its folder laid out, between the list and the look at the ledger.
        let mut young = None;
        let needed = || {
            young = Some(make(3));
            Ok(Vec::new())
        };
        let swept = sweep(dir.path(), needed, keep, i64::MAX).unwrap();
        assert_eq!(swept, Swept { rows: 0, folders: 1, bytes: 4 });
        assert!(!ended.exists() && orphaned.exists() && young.unwrap().exists());
    }
}
