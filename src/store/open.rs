//! The start: is this a place for a database, is it ours, is it sound, is it current. Never silently
//! empty: a database that should be there and is not counts as broken.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::broadcast;

use super::backup::BackupError;
use super::ballast::{self, Ballast};
use super::condition::{Condition, inspect};
use super::connection::{self, LIBRARY_MIN, Role, beside};
use super::maintain::Depth;
use super::reader::Readers;
use super::rotate::BackupName;
use super::writer::Writer;
use super::{
    BACKUP_DIR, DATABASE_FILE, Inner, NOTICES_MAX, Notice, RUNS_DIR, Store, backup, migrate, restore,
};
use crate::platform::failpoint;
use crate::platform::filesystem::{self, Kind};

/// The open store and what happened on the way; the caller records and alerts.
#[derive(Debug)]
pub struct Opened {
    pub store: Store,
    pub notices: Vec<Notice>,
}

/// Why there is no database to work with. A restart does not mend it, a person does; only [`OpenError::Full`] may
/// pass by itself.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "SQLite {found} is too old: versions below 3.51.3 can damage the database; \
         use the lucid that was built with its own SQLite"
    )]
    OldLibrary { found: &'static str },
    #[error(
        "{dir} is on {name}, where SQLite's shared memory does not work; \
         set state_dir to a folder on a local disk"
    )]
    NetworkFilesystem { dir: PathBuf, name: &'static str },
    #[error(
        "nothing can be written in {dir} ({source}); \
         make it writable for the user that runs lucid, or set state_dir to another folder"
    )]
    NotWritable { dir: PathBuf, source: io::Error },
    #[error(
        "the disk of {dir} is full ({source}), and the reserve that was kept for this is spent; make room \
         (df -h {dir}) and start again"
    )]
    Full { dir: PathBuf, source: Box<OpenError> },
    #[error(
        "{path} belongs to another program (application id {application_id:#010x}); \
         move it away or set state_dir to another folder"
    )]
    Foreign { path: PathBuf, application_id: i32 },
    #[error(
        "{path} has schema {found}, this lucid knows {known}; install the newer lucid again, \
         or stop and put the newest backups/lucid-…-before-v….db in its place"
    )]
    Newer { path: PathBuf, found: i32, known: i32 },
    #[error(
        "{path} cannot be used ({because}) and no sound backup was found; nothing was changed. Copy a backup \
         into backups/ under its own name (`lucid backup verify FILE` checks one), or try \
         `sqlite3 {path} .recover`, or start empty on purpose: move the database, its backups and runs/ away"
    )]
    NoBackup { path: PathBuf, because: String },
    #[error(
        "the migration of {path} failed and was rolled back ({source}); install the lucid from before again"
    )]
    Migration { path: PathBuf, source: rusqlite::Error },
    #[error("the backup: {source}; make room and look at the permissions of backups/")]
    Backup { source: BackupError },
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{doing}: {source}")]
    Sqlite { doing: &'static str, source: rusqlite::Error },
}

impl OpenError {
    fn is_full_disk(&self, dir: &Path) -> bool {
        let of_sqlite = |e: &rusqlite::Error| e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        match self {
            Self::Sqlite { source, .. } | Self::Migration { source, .. } => {
                of_sqlite(source) || filesystem::is_full(dir)
            }
            Self::Io { source, .. } | Self::NotWritable { source, .. } => {
                source.kind() == io::ErrorKind::StorageFull
            }
            Self::Backup { .. } => filesystem::is_full(dir),
            Self::Full { .. } => true,
            Self::OldLibrary { .. }
            | Self::NetworkFilesystem { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::NoBackup { .. } => false,
        }
    }
}

/// On a full disk the reserve is given up for it: a daemon that is up can say what is the matter.
pub(super) fn open(dir: &Path, backups: &Path, now_ms: i64) -> Result<Opened, OpenError> {
    let full = match open_once(dir, backups, now_ms) {
        Err(error) if error.is_full_disk(dir) => error,
        done => return done,
    };
    let spent = ballast::spend(dir);
    let again = if spent { open_once(dir, backups, now_ms) } else { Err(full) };
    match again {
        Ok(mut opened) => {
            opened.notices.push(Notice::DiskFull { ballast_spent: spent });
            Ok(opened)
        }
        Err(error) if error.is_full_disk(dir) => {
            Err(OpenError::Full { dir: dir.to_owned(), source: Box::new(error) })
        }
        Err(error) => Err(error),
    }
}

fn open_once(dir: &Path, backups: &Path, now_ms: i64) -> Result<Opened, OpenError> {
    if rusqlite::version_number() < LIBRARY_MIN {
        return Err(OpenError::OldLibrary { found: rusqlite::version() });
    }
    let mut notices = Vec::new();
    prepare_dir(dir, &mut notices)?;
    let path = dir.join(DATABASE_FILE);
    failpoint::hit("store.open").map_err(|fault| sqlite_error("opening the database")(fault.into()))?;
    settle(dir, backups, &path, now_ms)?;
    let mut conn = writer(&path)?;
    let migrated = migrate(&mut conn, dir, now_ms, migrate::MIGRATIONS)?;
    let noted = restore::noted(&conn).map_err(sqlite_error("asking whether this is a backup"))?;
    notices.extend(noted.into_iter().chain(migrated));
    notices.extend(catch_up_numbers(&conn, dir)?);
    // After the database, which needs the room more.
    match ballast::lay(dir) {
        Ok(Ballast::Present | Ballast::Restored) => {}
        Ok(Ballast::NoRoom { free_bytes }) => {
            notices.push(Notice::NoBallast { because: format!("only {free_bytes} bytes are free") });
        }
        Err(error) => notices.push(Notice::NoBallast { because: error.to_string() }),
    }
    let readers = Readers::open(&path).map_err(sqlite_error("opening the read connections"))?;
    let (sender, _) = broadcast::channel(NOTICES_MAX);
    let writer = Writer::start(conn, dir.to_owned(), sender.clone()).map_err(|source| OpenError::Io {
        doing: "starting the writer for",
        path,
        source,
    })?;
    let inner = Inner { dir: dir.to_owned(), writer, readers: Arc::new(readers), notices: sender };
    Ok(Opened { store: Store { inner: Arc::new(inner) }, notices })
}

fn prepare_dir(dir: &Path, notices: &mut Vec<Notice>) -> Result<(), OpenError> {
    let unwritable = |source| OpenError::NotWritable { dir: dir.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritable)?;
    match filesystem::kind(dir).map_err(unwritable)? {
        Kind::Local => {}
        Kind::Doubtful(name) => notices.push(Notice::DoubtfulFilesystem { name }),
        Kind::Network(name) => return Err(OpenError::NetworkFilesystem { dir: dir.to_owned(), name }),
    }
    let trial = dir.join(".lucid-write-trial");
    fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)).map_err(unwritable)
}

/// Leaves a file at `path` that is ours, sound and not too new, or new and empty by right.
fn settle(dir: &Path, backups: &Path, path: &Path, now_ms: i64) -> Result<(), OpenError> {
    let restore = |because: &str| restore::restore(dir, backups, now_ms, because);
    if !path.exists()
        && let Some(trace) = trace_of_former_life(dir, backups, path)
    {
        return restore(&format!("it is gone, but {trace}"));
    }
    connection::private_file(path)
        .map_err(|source| OpenError::NotWritable { dir: dir.to_owned(), source })?;
    // The reader's role: looking must not fold the log of a broken file into it.
    let found = inspect(path, Role::Reader, Depth::Quick).map_err(sqlite_error("checking the database"))?;
    match found {
        Condition::Sound { .. } => Ok(()),
        Condition::Empty => match trace_of_former_life(dir, backups, path) {
            Some(trace) => restore(&format!("it is empty, but {trace}")),
            // The new file's name has to be as durable as what will be acknowledged from it.
            None => backup::sync(dir).map_err(|source| OpenError::Backup { source }),
        },
        Condition::Foreign { application_id } => {
            Err(OpenError::Foreign { path: path.to_owned(), application_id })
        }
        Condition::Newer { version } => {
            Err(OpenError::Newer { path: path.to_owned(), found: version, known: migrate::NEWEST })
        }
        Condition::Broken { because } => restore(&because),
    }
}

/// What shows that there was a database here.
fn trace_of_former_life(dir: &Path, backups: &Path, path: &Path) -> Option<&'static str> {
    let holds = |name: &str| fs::read_dir(dir.join(name)).is_ok_and(|mut entries| entries.next().is_some());
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|found| found.len() > 0);
    // Other things may lie in a folder that somebody has chosen.
    let is_backed_up = holds(BACKUP_DIR) || backup::list(backups).is_ok_and(|names| !names.is_empty());
    match (is_backed_up, holds(RUNS_DIR), log && !path.exists()) {
        (true, _, _) => Some("there are backups of it"),
        (_, true, _) => Some("there are runs that it gave numbers to"),
        (_, _, true) => Some("its log is there"),
        (false, false, false) => None,
    }
}

fn writer(path: &Path) -> Result<Connection, OpenError> {
    let doing = sqlite_error("opening the database");
    let conn = connection::open(path, Role::Writer).map_err(doing)?;
    connection::lay(&conn).map_err(doing)?;
    Ok(conn)
}

/// Brings the schema up to the last of `migrations`, after a backup when there is something to lose.
pub(super) fn migrate(
    conn: &mut Connection,
    dir: &Path,
    now_ms: i64,
    migrations: &[&str],
) -> Result<Option<Notice>, OpenError> {
    let path = dir.join(DATABASE_FILE);
    let from = migrate::version(conn).map_err(sqlite_error("reading the schema's version"))?;
    let to = migrate::newest_of(migrations);
    if from >= to {
        return Ok(None);
    }
    let backup = if from == 0 {
        None
    } else {
        let name = BackupName { at_ms: now_ms, before_version: Some(to) };
        let made = backup::make(&path, &dir.join(BACKUP_DIR), name, now_ms);
        Some(made.map_err(|source| OpenError::Backup { source })?.path)
    };
    migrate::apply(conn, migrations).map_err(|source| OpenError::Migration { path, source })?;
    Ok((from != 0).then_some(Notice::Migrated { from, to, backup }))
}

/// A log that lost its tail (a lying disk, a copied file) opens without a word; the run folders tell.
fn catch_up_numbers(conn: &Connection, dir: &Path) -> Result<Option<Notice>, OpenError> {
    let doing = sqlite_error("comparing the run folders with the database");
    let highest_known = restore::highest_known_run(conn).map_err(doing)?;
    let highest_on_disk = restore::highest_run(dir);
    if highest_on_disk <= highest_known {
        return Ok(None);
    }
    restore::raise_numbers(conn, highest_on_disk).map_err(doing)?;
    Ok(Some(Notice::CommitsLost { highest_known, highest_on_disk }))
}

fn sqlite_error(doing: &'static str) -> impl Fn(rusqlite::Error) -> OpenError + Copy {
    move |source| OpenError::Sqlite { doing, source }
}
