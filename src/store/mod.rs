//! The database: opening, one writer, a few readers, backups. It knows tables only by the schema in
//! `migrations/`; what a row means is the business of the `table.rs` files above.
//!
//! Durability is a promise here: [`Store::write`] answers only after COMMIT with `synchronous=FULL`.
//! All writes go through one thread that commits together what is queued, so no caller can meet
//! `SQLITE_BUSY_SNAPSHOT`, and nobody may hold a transaction across an await.

pub mod backup;
mod ballast;
mod batch;
mod condition;
mod connection;
mod counter;
mod error;
mod maintain;
mod migrate;
mod open;
mod reader;
pub mod rehearse;
mod restore;
pub mod rotate;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::broadcast;

pub use backup::{BackupError, BackupInfo};
pub use ballast::{BALLAST_BYTES, Ballast};
pub use counter::count_up;
pub use error::StoreError;
pub use maintain::{Checkpoint, Depth, Integrity};
pub use open::{OpenError, Opened};
pub use restore::{RESTORE_ID_MARGIN, restore_recorded};
pub use writer::{Metrics, Tx};

use reader::Readers;
use writer::Writer;

/// The database's file name in the state directory.
pub const DATABASE_FILE: &str = "lucid.db";
/// The folder of backups in the state directory.
pub const BACKUP_DIR: &str = "backups";
/// The folder with one folder a run in the state directory.
pub const RUNS_DIR: &str = "runs";
/// Notices a slow listener may be behind before it loses the oldest.
const NOTICES_MAX: usize = 32;

/// Something about the database that a person should hear of; the caller records and alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The file was broken or gone and a backup took its place.
    Restored {
        backup: PathBuf,
        /// Where the broken file lies now; none when it was gone.
        set_aside: Option<PathBuf>,
        because: String,
    },
    /// Run folders have higher numbers than the database ever gave: it has lost commits.
    CommitsLost { highest_known: i64, highest_on_disk: i64 },
    /// A migration ran; the backup is of the state before it.
    Migrated { from: i32, to: i32, backup: Option<PathBuf> },
    /// The file system may not lock reliably.
    DoubtfulFilesystem { name: &'static str },
    /// The disk is full; `ballast_spent` says that the reserve was given up to let writes commit.
    DiskFull { ballast_spent: bool },
    /// The reserve could not be laid at start; a full disk will stop writes at once.
    NoBallast { because: String },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Restored { backup, set_aside, because } => {
                write!(f, "the database was replaced by {} ({because})", backup.display())?;
                match set_aside {
                    Some(path) => write!(f, "; the broken file is {}", path.display()),
                    None => Ok(()),
                }
            }
            Self::CommitsLost { highest_known, highest_on_disk } => write!(
                f,
                "the database knows runs up to {highest_known}, on disk there is {highest_on_disk}: commits were lost"
            ),
            Self::Migrated { from, to, backup } => {
                write!(f, "the database went from schema {from} to {to}")?;
                match backup {
                    Some(path) => write!(f, "; as it was before it is {}", path.display()),
                    None => Ok(()),
                }
            }
            Self::DoubtfulFilesystem { name } => {
                write!(f, "the state directory is on {name}, which may not lock reliably")
            }
            Self::DiskFull { .. } => f.write_str("the disk of the state directory was full"),
            Self::NoBallast { because } => write!(f, "there is no reserve for a full disk: {because}"),
        }
    }
}

/// A handle on the open database; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    writer: Writer,
    readers: Arc<Readers>,
    notices: broadcast::Sender<Notice>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database of the state directory `dir`, making it when there is none and never was
    /// one, mending it from the newest sound backup when it is broken or gone, and migrating it.
    ///
    /// The caller holds the state directory's lock: two daemons never open one directory.
    ///
    /// # Errors
    /// See [`OpenError`]; each says what to do.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Opened, OpenError> {
        Self::open_beside(dir, &dir.join(BACKUP_DIR), now_ms)
    }

    /// As [`Store::open`], where backups are also made elsewhere.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_beside(dir: &Path, backups: &Path, now_ms: i64) -> Result<Opened, OpenError> {
        open::open(dir, backups, now_ms)
    }

    /// Runs `work` in a transaction and answers after its COMMIT.
    ///
    /// `work` may run more than once (its batch is replayed when another member of it spoils the
    /// commit), so it must have no effect but on the database; whatever else has to happen goes into
    /// [`Tx::after_commit`]. When it returns an error, its own changes are rolled back and those of
    /// its batch are not touched.
    ///
    /// # Errors
    /// What `work` returned, or a [`StoreError`] made into an `E`.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.inner.writer.write(work).await
    }

    /// [`Store::write`] for a thread that is not one of the async runtime's.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnMut(&Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.inner.writer.write_blocking(work)
    }

    /// Runs `work` on one of the read-only connections, in one snapshot, for at most 2 s.
    ///
    /// # Errors
    /// What `work` returned; [`StoreError::ReadTooLong`] or [`StoreError::ReadersBusy`] made into an `E`.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&rusqlite::Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        Readers::read(&self.inner.readers, work).await
    }

    /// [`Store::read`] for a thread that is not one of the async runtime's.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&rusqlite::Connection) -> Result<T, E>,
        E: From<StoreError>,
    {
        self.inner.readers.read_blocking(work)
    }

    /// What happens to the database from now on; see [`Opened::notices`] for what happened at start.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.inner.notices.subscribe()
    }

    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.writer.metrics()
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.inner.dir.join(DATABASE_FILE)
    }

    /// Commits what is queued, folds the log into the database and ends the writer. Later writes
    /// answer [`StoreError::Closed`].
    pub fn close(&self) {
        self.inner.writer.close();
    }
}
