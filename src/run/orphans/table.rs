//! Which runs the ledger knows to have begun.

use rusqlite::Connection;

use crate::model::ids::RunId;

/// Those of `runs` that have no row, or one by which nothing of them has begun.
///
/// # Errors
/// What the database says, and nothing else.
pub fn not_begun(conn: &Connection, runs: Vec<RunId>) -> rusqlite::Result<Vec<RunId>> {
    let mut begun =
        conn.prepare_cached("SELECT 1 FROM runs WHERE id = ?1 AND state NOT IN ('claimed', 'not_started')")?;
    let mut unknown = Vec::new();
    for run in runs {
        if !begun.exists([run.0])? {
            unknown.push(run);
        }
    }
    Ok(unknown)
}
