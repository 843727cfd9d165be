//! How a connection is opened: the settings of each role, in one place.
//!
//! Only the writer folds the log into the database; that rules out the race between checkpoints that
//! damaged databases before SQLite 3.51.3.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// `LUCD`: tells our database from any other.
pub(super) const APPLICATION_ID: i32 = 0x4C55_4344;
/// The first SQLite without the reset bug of the log, as `sqlite3_libversion_number` writes it.
pub(super) const LIBRARY_MIN: i32 = 3_051_003;
/// How long a connection waits for a lock that another process holds, in milliseconds.
const BUSY_MAX_MS: u64 = 5_000;
/// Pages in the log after which a commit folds it into the database (4 MB).
const AUTOCHECKPOINT_PAGES: i64 = 1_000;
/// The log's file is cut back to this after a checkpoint, in bytes.
const JOURNAL_MAX_BYTES: i64 = 64 << 20;
/// Pages that one of the readers keeps; what is hot is in the page cache of the system anyway.
const READER_CACHE_KIB: i64 = 512;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 128;
/// Nobody but the daemon's user reads the database or its log.
const FILE_MODE: u32 = 0o600;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The one that commits and checkpoints.
    Writer,
    /// Reads, and never folds the log.
    Reader,
    /// A copy that no one else uses yet.
    Copy,
    /// A finished backup, which is only looked at.
    Sealed,
}

/// Opens the existing file `path`.
pub(super) fn open(path: &Path, role: Role) -> rusqlite::Result<Connection> {
    let access = match role {
        Role::Writer | Role::Reader | Role::Copy => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Role::Sealed => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::from_millis(BUSY_MAX_MS))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Or a statement is planned anew for each value, wherever a partial index might serve for that value alone.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    match role {
        Role::Writer => {
            conn.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
            conn.pragma_update(None, "journal_size_limit", JOURNAL_MAX_BYTES)?;
        }
        Role::Reader => {
            conn.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
            conn.pragma_update(None, "wal_autocheckpoint", 0)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            conn.pragma_update(None, "query_only", true)?;
        }
        Role::Copy | Role::Sealed => {}
    }
    Ok(conn)
}

/// Makes a new writer's database WAL; what must be set before the first table is set here.
pub(super) fn lay(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    Err(rusqlite::Error::SqliteFailure(code, Some(format!("journal_mode stays `{mode}`"))))
}

/// Makes sure that `path` is a file only we may read, whatever the umask; SQLite gives the log the
/// same mode. Not for a database that this process has open: closing any descriptor of a file drops
/// the locks that SQLite holds on it.
pub(super) fn private_file(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))
}

/// `path` with `suffix` after its name: `-wal`, `-shm`, …
pub(super) fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
