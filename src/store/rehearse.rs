//! The proof of a backup: it is restored, by the way a broken database would be, to a place of its own. And
//! what has gone bad since it was made is found before it is needed.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::backup::{self, BackupError, REHEARSAL};
use super::condition::{Condition, inspect};
use super::connection::Role;
use super::maintain::Depth;
use super::restore;
use super::{BACKUP_DIR, DATABASE_FILE};

/// Ends the name of a backup that no longer counts.
const DAMAGED: &str = ".damaged";

/// Restores the backup `path` into an empty state directory and checks what is there then. Blocks; needs
/// room for one more copy while it lasts.
///
/// # Errors
/// Why nobody could be helped by this backup.
pub fn rehearse(path: &Path, now_ms: i64) -> Result<(), BackupError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { doing, path, source }
    };
    let home = path.parent().unwrap_or(Path::new("."));
    let state = home.join(format!("{REHEARSAL}{}", std::process::id()));
    let _ = fs::remove_dir_all(&state);
    let backups = state.join(BACKUP_DIR);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&backups).map_err(io("making", &backups))?;
    let done = fs::hard_link(path, backups.join(path.file_name().unwrap_or_default()))
        .map_err(io("linking", path))
        .and_then(|()| restored(path, &state, now_ms));
    let _ = fs::remove_dir_all(&state);
    done
}

fn restored(path: &Path, state: &Path, now_ms: i64) -> Result<(), BackupError> {
    let damaged = |because: String| BackupError::Damaged { path: path.to_owned(), because };
    restore::restore(state, &state.join(BACKUP_DIR), now_ms, "a rehearsal")
        .map_err(|e| damaged(e.to_string()))?;
    let found = inspect(&state.join(DATABASE_FILE), Role::Sealed, Depth::Full);
    match found.map_err(|source| BackupError::Sqlite { doing: "checking what was restored", source })? {
        Condition::Sound { .. } => Ok(()),
        other @ (Condition::Empty
        | Condition::Foreign { .. }
        | Condition::Newer { .. }
        | Condition::Broken { .. }) => Err(damaged(format!("what was restored from it is {other:?}"))),
    }
}

/// Checks every backup in `dir` and renames those that are damaged, so that none counts as one that is kept.
///
/// # Errors
/// When the folder cannot be read or a file not be renamed; a backup that cannot be looked at is left alone.
pub fn set_damaged_aside(dir: &Path, now_ms: i64) -> Result<Vec<(PathBuf, String)>, BackupError> {
    let mut damaged = Vec::new();
    for name in backup::list(dir)? {
        let path = dir.join(name.file_name());
        match backup::verify(&path, now_ms) {
            Err(BackupError::Damaged { because, .. }) => {
                let aside = dir.join(format!("{}{DAMAGED}", name.file_name()));
                fs::rename(&path, &aside).map_err(|source| BackupError::Io {
                    doing: "renaming",
                    path: path.clone(),
                    source,
                })?;
                damaged.push((aside, because));
            }
            Ok(_)
            | Err(
                BackupError::Io { .. }
                | BackupError::Sqlite { .. }
                | BackupError::Differs { .. }
                | BackupError::Locked { .. },
            ) => {}
        }
    }
    Ok(damaged)
}
