//! What ought to be in the ledger, kept beside the program and compared with it at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use lucid::model::ids::TaskId;
use lucid::model::task::Task;
use lucid::task::due::Instants;
use rusqlite::Connection;

/// A stretch of time in which a task was on with one schedule.
struct Period {
    task: Arc<Task>,
    anchor_ms: i64,
    /// Instants after this count.
    from_ms: i64,
    /// The last instant that is decided; open while the period lasts.
    to_ms: Option<i64>,
}

/// All periods of all tasks.
#[derive(Default)]
pub struct History {
    periods: BTreeMap<TaskId, Vec<Period>>,
    /// A clock that was wrong by hours was put right: what it had called missed may have run after all.
    pub corrected: bool,
}

/// A row that stands for one instant, or for a span of them.
#[derive(Debug)]
#[expect(dead_code, reason = "printed where a promise is broken")]
struct Row {
    id: i64,
    state: String,
    from_ms: i64,
    to_ms: i64,
    count: i64,
}

impl History {
    /// `on` is what counts from now on, with its anchor; `covered_ms` how far the rows reached before that.
    pub fn note(&mut self, id: &TaskId, on: Option<(&Arc<Task>, i64)>, covered_ms: i64, now_ms: i64) {
        let periods = self.periods.entry(id.clone()).or_default();
        let open = periods.last_mut().filter(|period| period.to_ms.is_none());
        let text = |task: &Task| task.schedule.texts().collect::<Vec<_>>().join("; ");
        match (open, on) {
            (Some(period), Some((task, _))) if text(&period.task) == text(task) => {
                period.task = Arc::clone(task);
                return;
            }
            (Some(period), _) => period.to_ms = Some(covered_ms),
            (None, _) => {}
        }
        if let Some((task, anchor_ms)) = on {
            let task = Arc::clone(task);
            periods.push(Period { task, anchor_ms, from_ms: now_ms, to_ms: None });
        }
    }

    /// Compares with the rows: each instant up to `until_ms` has exactly one, and no row is of no instant.
    pub fn check(&self, conn: &Connection, until_ms: i64) -> Result<usize, String> {
        let mut instants = 0;
        for (id, periods) in &self.periods {
            let rows = rows(conn, id).map_err(|e| e.to_string())?;
            let mut known = BTreeMap::new();
            for period in periods {
                for at in period.instants(until_ms) {
                    *known.entry(at).or_insert(0) += 1;
                }
            }
            instants += known.len();
            self.each_instant_has_a_row(id, &rows, &known)?;
            for row in &rows {
                let within = known.keys().filter(|at| row.from_ms <= **at && **at <= row.to_ms).count();
                if row.from_ms <= until_ms && !known.contains_key(&row.from_ms) && !self.corrected {
                    return Err(format!("{id}: {row:?} is of no instant"));
                }
                if row.to_ms <= until_ms && row.count != i64::try_from(within).unwrap_or(0) && !self.corrected
                {
                    return Err(format!("{id}: {row:?} counts other than {within} instants"));
                }
            }
        }
        Ok(instants)
    }

    fn each_instant_has_a_row(
        &self,
        id: &TaskId,
        rows: &[Row],
        known: &BTreeMap<i64, i32>,
    ) -> Result<(), String> {
        for at in known.keys() {
            let of: Vec<&Row> = rows.iter().filter(|row| row.from_ms <= *at && *at <= row.to_ms).collect();
            let text = Timestamp::from_millisecond(*at).map_or_else(|e| e.to_string(), |at| at.to_string());
            if of.is_empty() {
                return Err(format!("{id}: the instant {text} ({at}) has no row"));
            }
            if of.len() > 1 && !self.corrected {
                return Err(format!("{id}: the instant {text} ({at}) has {of:?}"));
            }
        }
        Ok(())
    }
}

impl Period {
    fn instants(&self, until_ms: i64) -> Vec<i64> {
        let end = self.to_ms.unwrap_or(until_ms).min(until_ms);
        let at = |ms| Timestamp::from_millisecond(ms).expect("a time of this century");
        let instants = Instants::new(&self.task, at(self.anchor_ms));
        let mut found = Vec::new();
        let mut next = instants.next(at(self.from_ms));
        while let Some(instant) = next.filter(|instant| instant.as_millisecond() <= end) {
            found.push(instant.as_millisecond());
            next = instants.next(instant);
        }
        found
    }
}

fn rows(conn: &Connection, id: &TaskId) -> rusqlite::Result<Vec<Row>> {
    conn.prepare_cached(
        "SELECT id, state, scheduled_ms, coalesce(missed_to_ms, scheduled_ms), coalesce(missed_count, 1) \
         FROM runs WHERE task = ?1 AND scheduled_ms IS NOT NULL AND trigger IN ('schedule', 'catch_up')",
    )?
    .query_map([id.as_str()], |row| {
        Ok(Row {
            id: row.get(0)?,
            state: row.get(1)?,
            from_ms: row.get(2)?,
            to_ms: row.get(3)?,
            count: row.get(4)?,
        })
    })?
    .collect()
}
