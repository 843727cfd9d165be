//! What can go wrong with one read or one write, in the words a caller branches on.

use rusqlite::ErrorCode;

use crate::platform::failpoint::Fault;

/// A read or write that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the database's write lock longer than the writer waits (5 s).
    #[error("the database is locked by another process")]
    Busy,
    #[error("the disk that holds the database is full")]
    DiskFull,
    #[error("{limit} writes are waiting already")]
    QueueFull { limit: usize },
    #[error("all {connections} read connections stayed busy for {waited_ms} ms")]
    ReadersBusy { connections: usize, waited_ms: u64 },
    #[error("a read took longer than {limit_ms} ms")]
    ReadTooLong { limit_ms: u64 },
    /// The store has been closed, or its writer has ended.
    #[error("the database is closed")]
    Closed,
    /// The work itself panicked; its changes are rolled back.
    #[error("the work on the database panicked")]
    Panicked,
    /// SQLite gave the transaction up under this work, which did not say why.
    #[error("the transaction was rolled back")]
    RolledBack,
    /// The file is broken; only a new start, which restores a backup, can mend it.
    #[error("the database is damaged ({0})")]
    Damaged(String),
    #[error("database: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Sqlite(error),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Sqlite(fault.into())
    }
}

impl From<Fault> for rusqlite::Error {
    fn from(fault: Fault) -> Self {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        Self::SqliteFailure(code, Some(fault.to_string()))
    }
}

impl StoreError {
    /// The same failure for another member of the batch that met it.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::DiskFull => Self::DiskFull,
            Self::QueueFull { limit } => Self::QueueFull { limit: *limit },
            Self::ReadersBusy { connections, waited_ms } => {
                Self::ReadersBusy { connections: *connections, waited_ms: *waited_ms }
            }
            Self::ReadTooLong { limit_ms } => Self::ReadTooLong { limit_ms: *limit_ms },
            Self::Closed => Self::Closed,
            Self::Panicked => Self::Panicked,
            Self::RolledBack => Self::RolledBack,
            Self::Damaged(why) => Self::Damaged(why.clone()),
            Self::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                Self::Sqlite(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            Self::Sqlite(other) => Self::Sqlite(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(1),
                Some(other.to_string()),
            )),
        }
    }
}
