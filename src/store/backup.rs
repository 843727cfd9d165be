//! Backups: a copy of one snapshot, proved by opening it. Works from any process beside the daemon,
//! under load: the copy is one step inside one read transaction, so no write makes it start again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use sha2::{Digest, Sha256};

use super::condition::{Condition, inspect};
use super::connection::{self, Role, beside};
use super::maintain::Depth;
use super::rotate::{self, BackupName};
use crate::platform::failpoint;

/// What is kept unless the configuration says otherwise: the newest of each of so many days and weeks.
pub const KEEP_DAILY: usize = 7;
pub const KEEP_WEEKLY: usize = 4;
/// Backups within one second; the next one is dated a second later.
const SAME_SECOND_MAX: i64 = 60;
/// A copy that was never finished is cleared away after this, in milliseconds.
const ABANDONED_MS: i64 = 24 * 60 * 60 * 1_000;
const HASH_CHUNK_BYTES: usize = 1 << 16;
const PARTIAL: &str = ".partial";
/// Begins the name of the folder, beside the backups, that a rehearsal has for itself; its pid ends it.
pub(super) const REHEARSAL: &str = ".rehearsal-";

/// A backup that has been opened and found sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupInfo {
    pub path: PathBuf,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
    /// Milliseconds since the epoch.
    pub verified_at_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{doing}: {source}")]
    Sqlite { doing: &'static str, source: rusqlite::Error },
    #[error("{path} is no sound database of lucid: {because}")]
    Damaged { path: PathBuf, because: String },
    #[error("table `{table}` has {rows} rows, its copy {copied}")]
    Differs { table: String, rows: i64, copied: i64 },
    #[error("{path} stayed locked")]
    Locked { path: PathBuf },
}

fn io_error<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> BackupError + use<'p> {
    move |source| BackupError::Io { doing, path: path.to_owned(), source }
}

fn sqlite_error(doing: &'static str) -> impl Fn(rusqlite::Error) -> BackupError + Copy {
    move |source| BackupError::Sqlite { doing, source }
}

/// Copies `database` into `dest_dir` as `lucid-YYYYMMDDTHHMMSSZ.db` after opening and checking the copy.
/// Blocks; takes 0.2 s for 150 MB.
///
/// # Errors
/// See [`BackupError`]; nothing but a finished, sound copy ever bears the name of a backup.
pub fn backup(database: &Path, dest_dir: &Path, now_ms: i64) -> Result<BackupInfo, BackupError> {
    make(database, dest_dir, BackupName { at_ms: now_ms, before_version: None }, now_ms)
}

pub(super) fn make(
    database: &Path,
    dest_dir: &Path,
    name: BackupName,
    now_ms: i64,
) -> Result<BackupInfo, BackupError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dest_dir)
        .map_err(io_error("making", dest_dir))?;
    clear_abandoned(dest_dir, now_ms);
    let partial = dest_dir.join(format!("{}.{}{PARTIAL}", name.file_name(), std::process::id()));
    let made = fill(database, &partial, now_ms).and_then(|info| {
        let path = publish(&partial, dest_dir, name)?;
        Ok(BackupInfo { path, ..info })
    });
    if made.is_err() {
        discard(&partial);
    }
    made
}

/// Opens `path` and checks it whole: structure, indexes, foreign keys, identity.
///
/// # Errors
/// [`BackupError::Damaged`] with the first thing found, or why it could not be looked at.
pub fn verify(path: &Path, now_ms: i64) -> Result<BackupInfo, BackupError> {
    prove(path)?;
    describe(path, now_ms)
}

/// What `work` reads in the finished copy at `path`.
///
/// # Errors
/// When it cannot be opened, and what `work` gives.
pub fn read<T>(path: &Path, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, BackupError> {
    connection::open(path, Role::Sealed)
        .and_then(|conn| work(&conn))
        .map_err(sqlite_error("reading the copy"))
}

/// Deletes what [`rotate::to_delete`] names; returns what is gone.
///
/// # Errors
/// When the folder cannot be read or a file cannot be deleted.
pub fn rotate(
    dest_dir: &Path,
    now_ms: i64,
    daily: usize,
    weekly: usize,
) -> Result<Vec<PathBuf>, BackupError> {
    let names: Vec<String> = list(dest_dir)?.into_iter().map(|name| name.file_name()).collect();
    failpoint::hit("backup.rotate").map_err(|fault| io_error("deleting", dest_dir)(fault.into()))?;
    let mut gone = Vec::new();
    for name in rotate::to_delete(&names, now_ms, daily, weekly) {
        let path = dest_dir.join(name);
        fs::remove_file(&path).map_err(io_error("deleting", &path))?;
        gone.push(path);
    }
    Ok(gone)
}

/// The backups in `dir`, newest first; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<BackupName>, BackupError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("reading", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("reading", dir))?;
        names.extend(entry.file_name().to_str().and_then(BackupName::parse));
    }
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// The newest backup in `dir` that is not dated in the future.
///
/// # Errors
/// When the folder cannot be read.
pub fn newest(dir: &Path, now_ms: i64) -> Result<Option<BackupName>, BackupError> {
    Ok(list(dir)?.into_iter().find(|name| !name.is_future(now_ms)))
}

fn fill(database: &Path, partial: &Path, now_ms: i64) -> Result<BackupInfo, BackupError> {
    connection::private_file(partial).map_err(io_error("making", partial))?;
    let counted = copy(database, partial)?;
    sync(partial)?;
    prove(partial)?;
    let conn = connection::open(partial, Role::Sealed).map_err(sqlite_error("opening the copy"))?;
    for (table, rows) in counted {
        let copied = count(&conn, &table).map_err(sqlite_error("counting the copy"))?;
        if copied != rows {
            return Err(BackupError::Differs { table, rows, copied });
        }
    }
    drop(conn);
    describe(partial, now_ms)
}

/// Copies the pages and counts the rows of every table in the same snapshot.
fn copy(database: &Path, partial: &Path) -> Result<Vec<(String, i64)>, BackupError> {
    let doing = sqlite_error("copying the database");
    let source = connection::open(database, Role::Reader).map_err(doing)?;
    let mut target = connection::open(partial, Role::Copy).map_err(doing)?;
    failpoint::hit("backup.copy").map_err(|fault| doing(fault.into()))?;
    let snapshot = source.unchecked_transaction().map_err(doing)?;
    let mut counted = Vec::new();
    for table in tables(&snapshot).map_err(doing)? {
        let rows = count(&snapshot, &table).map_err(doing)?;
        counted.push((table, rows));
    }
    let step = Backup::new(&snapshot, &mut target).and_then(|backup| backup.step(-1)).map_err(doing)?;
    // A step of all pages that does not finish has met a lock, and so have the waits inside it.
    if step != StepResult::Done {
        return Err(BackupError::Locked { path: database.to_owned() });
    }
    drop(snapshot);
    // So that the copy is one file, which can be opened where nothing can be written.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
        .map_err(doing)?;
    Ok(counted)
}

fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

fn count(conn: &Connection, table: &str) -> rusqlite::Result<i64> {
    let quoted = table.replace('"', "\"\"");
    conn.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| row.get(0))
}

fn prove(path: &Path) -> Result<(), BackupError> {
    let because =
        match inspect(path, Role::Sealed, Depth::Full).map_err(sqlite_error("checking the backup"))? {
            Condition::Sound { .. } => return Ok(()),
            Condition::Empty => "it has no tables".to_owned(),
            Condition::Foreign { application_id } => {
                format!("it belongs to another program (application id {application_id:#x})")
            }
            Condition::Newer { version } => format!("a newer lucid made it (schema {version})"),
            Condition::Broken { because } => because,
        };
    Err(BackupError::Damaged { path: path.to_owned(), because })
}

fn describe(path: &Path, now_ms: i64) -> Result<BackupInfo, BackupError> {
    let doing = "reading";
    let mut file = File::open(path).map_err(io_error(doing, path))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0_u8; HASH_CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let got = file.read(&mut chunk).map_err(io_error(doing, path))?;
        if got == 0 {
            break;
        }
        hash.update(&chunk[..got]);
        bytes += got as u64;
    }
    let sha256 = format!("{:x}", hash.finalize());
    Ok(BackupInfo { path: path.to_owned(), bytes, sha256, verified_at_ms: now_ms })
}

/// Gives the finished copy the first free name; a link never replaces another backup.
fn publish(partial: &Path, dest_dir: &Path, mut name: BackupName) -> Result<PathBuf, BackupError> {
    failpoint::hit("backup.publish").map_err(|fault| io_error("naming", partial)(fault.into()))?;
    let last = name.at_ms + SAME_SECOND_MAX * 1_000;
    loop {
        let path = dest_dir.join(name.file_name());
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            partial,
            rustix::fs::CWD,
            &path,
            rustix::fs::RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {
                sync(dest_dir)?;
                return Ok(path);
            }
            Err(rustix::io::Errno::EXIST) if name.at_ms < last => name.at_ms += 1_000,
            Err(errno) => return Err(io_error("naming", &path)(errno.into())),
        }
    }
}

pub(super) fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error("syncing", path))
}

/// Removes a database file that nobody needs, with what SQLite puts beside it.
pub(super) fn discard(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        drop(fs::remove_file(beside(path, suffix)));
    }
}

fn clear_abandoned(dest_dir: &Path, now_ms: i64) {
    let Ok(entries) = fs::read_dir(dest_dir) else { return };
    for entry in entries.flatten() {
        let abandoned = entry.metadata().and_then(|found| found.modified()).is_ok_and(|modified| {
            let age = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
            i64::try_from(age).is_ok_and(|modified_ms| now_ms.saturating_sub(modified_ms) > ABANDONED_MS)
        });
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if abandoned && name.ends_with(PARTIAL) {
            discard(&entry.path());
        }
        let is_alive = |pid: &str| Path::new("/proc").join(pid).exists();
        if name.strip_prefix(REHEARSAL).is_some_and(|pid| abandoned || !is_alive(pid)) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
