//! Deleting old rows of the ledger.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, params};

use crate::model::ids::{RunId, TaskId};

/// Deletes at most `limit` ended rows of `task` that are beyond its newest `rows` or ended before
/// `oldest_ms`, and gives their numbers. Live rows, waiting retries and rows to be started again stay; so do
/// attempts on tickets, which are the tickets' and not those of the task that dispatched them.
pub fn delete_over(
    conn: &Connection,
    task: &TaskId,
    rows: u64,
    oldest_ms: i64,
    limit: u32,
) -> rusqlite::Result<Vec<RunId>> {
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE task = ?1 AND retry_ms IS NULL \
           AND state NOT IN ('claimed', 'running', 'stopping', 'kill_failed') \
           AND state <> 'not_started' AND ticket IS NULL \
           AND (coalesce(ended_ms, claimed_ms) < ?3 OR id <= coalesce( \
             (SELECT id FROM runs WHERE task = ?1 AND ticket IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?2), -1)) \
           ORDER BY id LIMIT ?4) RETURNING id",
    )?
    .query_map(params![task.as_str(), rows, oldest_ms, limit], |row| row.get(0).map(RunId))?
    .collect()
}

/// Deletes at most `limit` attempts on tickets that ended before `oldest_ms`, and gives their numbers. One that never
/// started has had its successor in a new row.
pub fn delete_attempts(conn: &Connection, oldest_ms: i64, limit: u32) -> rusqlite::Result<Vec<RunId>> {
    conn.prepare_cached(
        "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE ticket IS NOT NULL \
           AND state NOT IN ('claimed', 'running', 'stopping', 'kill_failed') \
           AND coalesce(ended_ms, claimed_ms) < ?1 ORDER BY id LIMIT ?2) RETURNING id",
    )?
    .query_map(params![oldest_ms, limit], |row| row.get(0).map(RunId))?
    .collect()
}

/// Every task that has rows, its file gone or not.
pub fn tasks(conn: &Connection) -> rusqlite::Result<Vec<TaskId>> {
    let names = conn
        .prepare_cached("SELECT DISTINCT task FROM runs")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names.iter().filter_map(|name| TaskId::parse(name).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::{Run, RunState, Trigger};
    use crate::run::RunError;
    use crate::run::table::{self, Extras};
    use crate::store::Store;

    #[test]
    fn what_never_started_stays_while_it_may_still_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap().store;
        let gone = store.write_blocking(|tx| -> Result<_, RunError> {
            let task = TaskId::parse("ticket-pickup").unwrap();
            let mut numbers = Vec::new();
            for ticket in [None, Some("MC-1".to_owned())] {
                let mut run = Run::new(RunId(0), task.clone(), Trigger::Event, RunState::NotStarted);
                run.ticket = ticket;
                run.claimed_ms = 1_000;
                numbers.push(table::insert(tx, &run, &Extras::default())?);
            }
            let young = delete_attempts(tx, 1_000, 10)?;
            let mut old = delete_over(tx, &task, 10, 1_001, 10)?;
            old.extend(delete_attempts(tx, 1_001, 10)?);
            Ok((numbers, young, old))
        });
        let (numbers, young, old) = gone.unwrap();
        assert_eq!((young, old), (vec![], vec![numbers[1]]));
    }

    #[test]
    fn passes_of_dispatch_push_no_attempt_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap().store;
        let (attempt, gone) = store
            .write_blocking(|tx| -> Result<_, RunError> {
                let task = TaskId::parse("ticket-pickup").unwrap();
                let mut numbers = Vec::new();
                for ticket in [Some("MC-1".to_owned()), None, None, None] {
                    let mut run = Run::new(RunId(0), task.clone(), Trigger::Event, RunState::Ok);
                    (run.ticket, run.claimed_ms, run.ended_ms) = (ticket, 1_000, Some(2_000));
                    numbers.push(table::insert(tx, &run, &Extras::default())?);
                }
                Ok((numbers[0], delete_over(tx, &task, 1, 0, 10)?))
            })
            .unwrap();
        assert_eq!(gone.len(), 2);
        assert!(!gone.contains(&attempt), "{gone:?}");
    }
}
