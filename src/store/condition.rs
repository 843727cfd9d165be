//! What a database file is: ours and sound, empty, somebody else's, from the future, or broken.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::connection::{self, APPLICATION_ID, Role};
use super::maintain::{self, Depth, Integrity};
use super::migrate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    Sound {
        version: i32,
    },
    /// A file without any table.
    Empty,
    Foreign {
        application_id: i32,
    },
    Newer {
        version: i32,
    },
    Broken {
        because: String,
    },
}

/// Looks at the file `path`; what SQLite calls damage is an answer, any other failure is not.
pub(super) fn inspect(path: &Path, role: Role, depth: Depth) -> rusqlite::Result<Condition> {
    let looked = connection::open(path, role).and_then(|conn| {
        let found = identify(&conn)?;
        check(&conn, found, depth)
    });
    match looked {
        Err(error) if is_damage(&error) => Ok(Condition::Broken { because: error.to_string() }),
        Ok(_) | Err(_) => looked,
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn identify(conn: &Connection) -> rusqlite::Result<Condition> {
    let application_id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = migrate::version(conn)?;
    let objects: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application_id, objects) {
        (0, 0) => Condition::Empty,
        (APPLICATION_ID, 0) => Condition::Broken { because: "it has lost its tables".to_owned() },
        (APPLICATION_ID, _) if version > migrate::NEWEST => Condition::Newer { version },
        (APPLICATION_ID, _) => Condition::Sound { version },
        (application_id, _) => Condition::Foreign { application_id },
    })
}

fn check(conn: &Connection, found: Condition, depth: Depth) -> rusqlite::Result<Condition> {
    match found {
        Condition::Sound { .. } => Ok(match maintain::integrity(conn, depth)? {
            Integrity::Sound => found,
            Integrity::Damaged { first } => Condition::Broken { because: first },
        }),
        // A database that is not ours to open is not ours to judge.
        Condition::Empty | Condition::Foreign { .. } | Condition::Newer { .. } | Condition::Broken { .. } => {
            Ok(found)
        }
    }
}
