//! What a world's database says, read from outside while the daemon has it open.

use rusqlite::{Connection, OpenFlags};

use crate::world::{PATIENCE, World};

/// One row of the ledger, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub task: String,
    pub state: String,
    pub trigger: String,
    pub reason: Option<String>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub attempt: i64,
    pub scheduled_ms: Option<i64>,
    pub claimed_ms: i64,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    pub duration_ms: Option<i64>,
    pub waiting: Option<String>,
    pub keeper_pid: Option<i32>,
    pub missed_to_ms: Option<i64>,
    pub missed_count: Option<i64>,
    pub retry_ms: Option<i64>,
    pub fence: i64,
}

impl Row {
    pub fn is_live(&self) -> bool {
        ["claimed", "running", "stopping", "kill_failed"].contains(&self.state.as_str())
    }
}

impl World {
    /// The database, to look into.
    pub fn database(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.state("lucid.db"), flags).expect("the database");
        connection.busy_timeout(PATIENCE).expect("a timeout");
        connection
    }

    pub fn rows_where(&self, condition: &str) -> Vec<Row> {
        let connection = self.database();
        let mut statement = connection
            .prepare(&format!(
                "SELECT id, task, state, trigger, reason, exit_code, signal, attempt, scheduled_ms, claimed_ms, \
                 started_ms, ended_ms, duration_ms, waiting, keeper_pid, missed_to_ms, missed_count, retry_ms, \
                 fence FROM runs WHERE {condition} ORDER BY id"
            ))
            .expect("SQL");
        let rows = statement.query_map([], |row| {
            Ok(Row {
                id: row.get(0)?,
                task: row.get(1)?,
                state: row.get(2)?,
                trigger: row.get(3)?,
                reason: row.get(4)?,
                exit_code: row.get(5)?,
                signal: row.get(6)?,
                attempt: row.get(7)?,
                scheduled_ms: row.get(8)?,
                claimed_ms: row.get(9)?,
                started_ms: row.get(10)?,
                ended_ms: row.get(11)?,
                duration_ms: row.get(12)?,
                waiting: row.get(13)?,
                keeper_pid: row.get(14)?,
                missed_to_ms: row.get(15)?,
                missed_count: row.get(16)?,
                retry_ms: row.get(17)?,
                fence: row.get(18)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    pub fn row(&self, run: i64) -> Option<Row> {
        self.rows_where(&format!("id = {run}")).pop()
    }

    /// Oldest first.
    pub fn rows(&self, task: &str) -> Vec<Row> {
        self.rows_where(&format!("task = '{task}'"))
    }

    /// How many events of `kind` the journal holds.
    pub fn events(&self, kind: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM events WHERE kind = '{kind}'"))
    }

    pub fn number(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// Changes the database of a world whose daemon is down.
    pub fn edit_database(&self, sql: &str) {
        assert!(self.is_down(), "the daemon would not notice");
        Connection::open(self.state("lucid.db")).expect("the database").execute_batch(sql).expect("SQL");
    }
}
