//! Runs that are live, found by the indexes over them.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, params};

use crate::model::run::Run;
use crate::run::table::{COLUMNS, read};

/// A run that is live, in the words of the indexes over such runs: SQLite takes an index for these very words only.
pub(in crate::run) const LIVE: &str =
    "(state IN ('claimed', 'running') OR state IN ('stopping', 'kill_failed'))";
/// A run that has failed, likewise.
pub(in crate::run) const FAILED: &str =
    "(state IN ('failed', 'timeout') OR state IN ('lost', 'blocked') OR state = 'kill_failed')";

pub fn live(conn: &Connection) -> rusqlite::Result<Vec<Run>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE {LIVE} ORDER BY id"))?
        .query_map([], read)?
        .collect()
}

/// Runs that hold a place under `max_parallel_runs`.
pub fn places_taken(conn: &Connection) -> rusqlite::Result<u32> {
    // Left alone, the planner takes the index of all that live, and reads each row for the rest.
    let count = format!(
        "SELECT count(*) FROM runs INDEXED BY runs_places WHERE {LIVE} AND waiting IS NULL AND counted = 1"
    );
    conn.prepare_cached(&count)?.query_row([], |row| row.get(0))
}

/// Whether the keeper of `run` has a later run that is live.
pub fn is_keeper_busy(conn: &Connection, run: &Run) -> rusqlite::Result<bool> {
    conn.prepare_cached(&format!(
        "SELECT 1 FROM runs WHERE {LIVE} AND keeper_pid = ?1 AND keeper_start = ?2 AND id <> ?3 \
         AND started_ms >= ?4"
    ))?
    .exists(params![run.keeper_pid, run.keeper_start, run.id.0, run.started_ms])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunError;
    use crate::store::{Store, Tx};

    /// One column of what SQLite says about a statement.
    fn explained(conn: &Connection, sql: &str, column: &str) -> String {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(column)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_index_over_states_serves_its_statement_and_builds_no_table_for_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 1_000_000).unwrap().store;
        let look = |tx: &Tx<'_>| -> Result<(), RunError> {
            let statements = [
                (format!("SELECT * FROM runs WHERE {LIVE}"), "runs_live"),
                (format!("SELECT * FROM runs WHERE {FAILED} AND task = 'a' AND id > 7"), "runs_failed"),
                (
                    format!(
                        "SELECT * FROM runs WHERE flight_key = 'a' AND {LIVE} \
                         AND (waiting IS NULL OR waiting <> 'overlap')"
                    ),
                    "runs_one_live",
                ),
            ];
            for (sql, index) in statements {
                let plan = explained(tx, &format!("EXPLAIN QUERY PLAN {sql}"), "detail");
                assert!(plan.contains(index), "{sql}: {plan}");
            }
            let steps = explained(tx, "EXPLAIN UPDATE runs SET state = 'ok' WHERE id = 1", "opcode");
            assert!(steps.contains("IdxDelete"), "{steps}");
            // For the column's own CHECK.
            assert_eq!(steps.matches("OpenEphemeral").count(), 1, "{steps}");
            Ok(())
        };
        store.write_blocking(look).unwrap();
    }
}
