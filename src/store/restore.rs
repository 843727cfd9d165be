//! Putting a backup in the place of a database that is broken or gone.
//!
//! Nothing is deleted: the broken file and its log are set aside. Everything happens on a copy, whose
//! rename into place is the last step, so a crash on the way leaves a start that simply tries again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::condition::{Condition, inspect};
use super::connection::{self, Role, beside};
use super::maintain::Depth;
use super::open::OpenError;
use super::{BACKUP_DIR, BackupError, DATABASE_FILE, Notice, RUNS_DIR, backup, rotate};
use crate::platform::failpoint;

/// After a restore every numbering goes on this far above what the backup knew, since numbers given
/// after it was made are on people's screens and in logs. A million is eleven tasks that are due every
/// second of a whole day, the usual age of a backup.
pub const RESTORE_ID_MARGIN: i64 = 1_000_000;
/// A run folder with a higher number is no run of ours; 2^53 is where JSON readers lose digits.
const RUN_ID_CREDIBLE_MAX: i64 = 1 << 53;

/// Where the restored database itself says that it is one. In it, so that both come into place at once.
const MARK: &str = "restored";

/// What a restored database says of itself until that has been recorded. Paths as people read them: a name that is no
/// text must not cost the mark.
#[derive(Default, Serialize, Deserialize)]
struct Mark {
    backup: String,
    /// Where the broken file is.
    set_aside: Option<String>,
    because: String,
}

/// Puts the newest sound backup of the state directory `dir`, in it or in `elsewhere`, into place; [`noted`] tells
/// of it from then on.
pub(super) fn restore(dir: &Path, elsewhere: &Path, now_ms: i64, because: &str) -> Result<(), OpenError> {
    let database = dir.join(DATABASE_FILE);
    let copy = beside(&database, ".restoring");
    // A crash after the broken file was moved: only the copy that was not put in place knows where to.
    let known = connection::open(&copy, Role::Reader).and_then(|conn| mark(&conn));
    let mut former = known.ok().flatten().unwrap_or_default();
    let candidates = candidates(dir, elsewhere, now_ms).map_err(|source| OpenError::Backup { source })?;
    for candidate in candidates {
        if !try_copy(&candidate, &copy)? {
            tracing::warn!(backup = %candidate.display(), "this backup is damaged, an older one is tried");
            continue;
        }
        let aside = free_name(&database, now_ms);
        let is_there = database.exists() || beside(&database, "-wal").exists();
        let mark = Mark {
            backup: candidate.display().to_string(),
            set_aside: is_there.then(|| aside.display().to_string()).or_else(|| former.set_aside.take()),
            because: if is_there || former.because.is_empty() {
                because.to_owned()
            } else {
                former.because.clone()
            },
        };
        raise_copy(dir, &copy, &mark)?;
        failpoint::hit("restore.before").map_err(|fault| io_error("restoring", &database)(fault.into()))?;
        set_aside(&database, &aside)?;
        failpoint::hit("restore.set_aside")
            .map_err(|fault| io_error("restoring", &database)(fault.into()))?;
        fs::rename(&copy, &database).map_err(io_error("putting in place", &database))?;
        failpoint::pass("restore.in_place");
        backup::sync(dir).map_err(|source| OpenError::Backup { source })?;
        return Ok(());
    }
    Err(OpenError::NoBackup { path: database, because: because.to_owned() })
}

/// All backups, in the order in which they are tried: the newest first, and last those that a clock which was wrong
/// has dated in the future, for nobody knows how old they are.
fn candidates(dir: &Path, elsewhere: &Path, now_ms: i64) -> Result<Vec<PathBuf>, BackupError> {
    let own = dir.join(BACKUP_DIR);
    let mut found = Vec::new();
    for folder in [own.as_path(), elsewhere] {
        let names = backup::list(folder)?.into_iter();
        found.extend(names.map(|name| (folder.join(name.file_name()), name)));
    }
    found.sort_by(|(_, a), (_, b)| (a.is_future(now_ms), b).cmp(&(b.is_future(now_ms), a)));
    let mut paths: Vec<PathBuf> = found.into_iter().map(|(path, _)| path).collect();
    paths.dedup();
    Ok(paths)
}

/// Copies one backup and checks the copy; false when it is damaged.
fn try_copy(candidate: &Path, copy: &Path) -> Result<bool, OpenError> {
    backup::discard(copy);
    connection::private_file(copy).map_err(io_error("making", copy))?;
    fs::copy(candidate, copy).map_err(io_error("copying", candidate))?;
    // The copy takes on the mode of its source as well as its bytes.
    connection::private_file(copy).map_err(io_error("making private", copy))?;
    let found = inspect(copy, Role::Copy, Depth::Full)
        .map_err(|source| OpenError::Sqlite { doing: "checking a backup", source })?;
    Ok(match found {
        Condition::Sound { .. } => true,
        Condition::Empty | Condition::Foreign { .. } | Condition::Newer { .. } | Condition::Broken { .. } => {
            false
        }
    })
}

fn raise_copy(dir: &Path, copy: &Path, mark: &Mark) -> Result<(), OpenError> {
    let doing = "raising the numbers of the restored database";
    let raised = connection::open(copy, Role::Copy).and_then(|conn| {
        let text = serde_json::to_string(mark).unwrap_or_default();
        conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![MARK, text])?;
        raise_numbers(&conn, highest_run(dir))
    });
    raised.map_err(|source| OpenError::Sqlite { doing, source })?;
    backup::sync(copy).map_err(|source| OpenError::Backup { source })
}

/// That this database is a restored backup, as long as nobody has recorded it.
pub(super) fn noted(conn: &Connection) -> rusqlite::Result<Option<Notice>> {
    let told = |Mark { backup, set_aside, because }| {
        let (backup, set_aside) = (PathBuf::from(backup), set_aside.map(PathBuf::from));
        Notice::Restored { backup, set_aside, because }
    };
    Ok(mark(conn)?.map(told))
}

/// Whatever stands there, it is a restored one.
fn mark(conn: &Connection) -> rusqlite::Result<Option<Mark>> {
    let text: Option<String> =
        conn.query_row("SELECT value FROM meta WHERE key = ?1", [MARK], |row| row.get(0)).optional()?;
    Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
}

/// Takes note that [`Notice::Restored`] has been recorded, in the transaction that records it.
///
/// # Errors
/// Only what the database says.
pub fn restore_recorded(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM meta WHERE key = ?1", [MARK]).map(drop)
}

fn free_name(database: &Path, now_ms: i64) -> PathBuf {
    let mut aside = beside(database, &format!(".broken-{}", rotate::stamp(now_ms)));
    let mut n = 1;
    while aside.exists() || beside(&aside, "-wal").exists() {
        n += 1;
        aside = beside(database, &format!(".broken-{}-{n}", rotate::stamp(now_ms)));
    }
    aside
}

/// Renames the database and its log.
fn set_aside(database: &Path, aside: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm"] {
        let from = beside(database, suffix);
        match fs::rename(&from, beside(aside, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("setting aside", &from)(error)),
        }
    }
    Ok(())
}

/// The highest number among the run folders, 0 when there is none.
pub(super) fn highest_run(dir: &Path) -> i64 {
    let Ok(entries) = fs::read_dir(dir.join(RUNS_DIR)) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i64>().ok())
        .filter(|number| *number < RUN_ID_CREDIBLE_MAX)
        .fold(0, i64::max)
}

/// The highest run number that the database ever gave, 0 when it gave none.
pub(super) fn highest_known_run(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'runs'", [], |row| {
        row.get(0)
    })
}

/// Lets every numbering (runs, fences, events, …) go on [`RESTORE_ID_MARGIN`] above what is known of it.
pub(super) fn raise_numbers(conn: &Connection, highest_run: i64) -> rusqlite::Result<()> {
    let tx = conn.unchecked_transaction()?;
    let numbered: Vec<String> = tx
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for table in numbered {
        let floor = if table == "runs" { highest_run } else { 0 };
        let known: i64 = tx.query_row(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1",
            params![table],
            |row| row.get(0),
        )?;
        let raised = known.max(floor).saturating_add(RESTORE_ID_MARGIN);
        tx.execute("DELETE FROM sqlite_sequence WHERE name = ?1", params![table])?;
        tx.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", params![table, raised])?;
    }
    let fences = "UPDATE meta SET value = CAST(value AS INTEGER) + ?1 WHERE key = 'fence'";
    tx.execute(fences, [RESTORE_ID_MARGIN])?;
    tx.commit()
}

fn io_error<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> OpenError + use<'p> {
    move |source| OpenError::Io { doing, path: path.to_owned(), source }
}
