//! Upkeep: folding the log, giving space back, checks, deletion in small pieces.

use std::fs;

use rusqlite::Connection;

use super::ballast::{self, Ballast};
use super::connection::{self, Role, beside};
use super::reader;
use super::{Store, StoreError, Tx};

/// Pages that one call of [`Store::incremental_vacuum`] gives back at most.
const VACUUM_PAGES: i64 = 200;
/// Rows that [`Store::delete_in_chunks`] lets go in one transaction.
pub const DELETE_CHUNK_ROWS: usize = 500;

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// The log is empty.
    Whole,
    /// A reader pinned part of the log.
    Partial { frames_left: i64 },
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// `quick_check`: structure of every page (0.1 s for 158 MB).
    Quick,
    /// `integrity_check`: also that indexes and tables agree.
    Full,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    Sound,
    Damaged { first: String },
}

pub(super) fn checkpoint(conn: &Connection) -> rusqlite::Result<Checkpoint> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        let (busy, log, folded): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(if busy == 0 { Checkpoint::Whole } else { Checkpoint::Partial { frames_left: log - folded } })
    })
}

/// Structure first, then the foreign keys.
pub(super) fn integrity(conn: &Connection, depth: Depth) -> rusqlite::Result<Integrity> {
    let sql = match depth {
        Depth::Quick => "PRAGMA quick_check(1)",
        Depth::Full => "PRAGMA integrity_check(1)",
    };
    let first: String = conn.query_row(sql, [], |row| row.get(0))?;
    if first != "ok" {
        return Ok(Integrity::Damaged { first });
    }
    let mut orphans = conn.prepare("PRAGMA foreign_key_check")?;
    let mut rows = orphans.query([])?;
    Ok(match rows.next()? {
        None => Integrity::Sound,
        Some(row) => {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            Integrity::Damaged { first: format!("a row of `{table}` names a row of `{parent}` that is gone") }
        }
    })
}

impl Store {
    /// Folds the log into the database and empties it, between two batches.
    ///
    /// # Errors
    /// When the writer is gone or SQLite fails.
    pub async fn checkpoint(&self) -> Result<Checkpoint, StoreError> {
        self.inner.writer.errand(|conn| Ok(checkpoint(conn)?)).await
    }

    /// Lets caches and spare connections go, so that a database at rest takes little memory. Waits for the disk.
    ///
    /// # Errors
    /// When the writer is gone or SQLite fails.
    pub async fn rest(&self) -> Result<(), StoreError> {
        self.inner.readers.rest()?;
        self.inner.writer.errand(|conn| Ok(conn.execute_batch(reader::SHRINK)?)).await
    }

    /// Gives up to 200 free pages back to the file system.
    ///
    /// # Errors
    /// When the writer is gone or SQLite fails.
    pub async fn incremental_vacuum(&self) -> Result<(), StoreError> {
        self.inner
            .writer
            .errand(|conn| {
                // Each step frees one page, so the rows have to be walked.
                let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(())
            })
            .await
    }

    /// Checks the whole file on a connection of its own, without the deadline of other reads.
    ///
    /// # Errors
    /// When the check could not be made; damage is an answer.
    pub async fn integrity(&self, depth: Depth) -> Result<Integrity, StoreError> {
        let path = self.path();
        let checked = tokio::task::spawn_blocking(move || {
            let conn = connection::open(&path, Role::Reader)?;
            integrity(&conn, depth)
        });
        match checked.await.map_err(|_| StoreError::Panicked)?.map_err(StoreError::from) {
            Err(StoreError::Damaged(first)) => Ok(Integrity::Damaged { first }),
            other => other,
        }
    }

    /// Lays the ballast again after the disk was full. Blocks for the write of 8 MB.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn restore_ballast(&self) -> std::io::Result<Ballast> {
        ballast::lay(self.dir())
    }

    /// Bytes of the database file.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn size(&self) -> std::io::Result<u64> {
        fs::metadata(self.path()).map(|found| found.len())
    }

    /// Bytes of the log.
    ///
    /// # Errors
    /// When the file cannot be looked at; a log that is not there has 0 bytes.
    pub fn wal_size(&self) -> std::io::Result<u64> {
        match fs::metadata(beside(&self.path(), "-wal")) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Calls `delete(tx, limit_rows)`, each time in a transaction of its own, until it deletes fewer
    /// than the limit; the rows deleted altogether. Other writes go in between.
    ///
    /// # Errors
    /// The first that `delete` returns; what was deleted before stays deleted.
    pub async fn delete_in_chunks<E, F>(&self, delete: F) -> Result<usize, E>
    where
        F: FnMut(&Tx<'_>, usize) -> Result<usize, E> + Clone + Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let mut total = 0;
        loop {
            let mut chunk = delete.clone();
            let gone = self.write(move |tx| chunk(tx, DELETE_CHUNK_ROWS)).await?;
            total += gone;
            if gone < DELETE_CHUNK_ROWS {
                return Ok(total);
            }
        }
    }
}
