//! The rows of `events` and `cursors`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::types::{ToSql, Type};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde_json::Value;
use tracing::error;

use super::Filter;
use crate::model::condition::Condition;
use crate::model::event::{Event, EventKind, Recorded};
use crate::model::ids::{RunId, TaskId};

/// What a row costs beside its data, roughly, in bytes.
const ROW_BYTES: i64 = 128;

pub(super) fn insert(conn: &Connection, now_ms: i64, event: &Event) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "INSERT INTO events (at_ms, kind, task, run, ticket, actor, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .insert(params![
        now_ms,
        event.kind.name(),
        event.task.as_ref().map(TaskId::as_str),
        event.run.map(|run| run.0),
        event.ticket,
        event.actor,
        event.data.to_string(),
    ])
}

pub(super) fn after(
    conn: &Connection,
    seq: i64,
    limit: usize,
    filter: &Filter,
) -> rusqlite::Result<Vec<Recorded>> {
    select(conn, "seq > ?", "ASC", seq, limit, filter)
}

pub(super) fn before(
    conn: &Connection,
    seq: i64,
    limit: usize,
    filter: &Filter,
) -> rusqlite::Result<Vec<Recorded>> {
    select(conn, "seq < ?", "DESC", seq, limit, filter)
}

fn select(
    conn: &Connection,
    bound: &'static str,
    order: &'static str,
    seq: i64,
    limit: usize,
    filter: &Filter,
) -> rusqlite::Result<Vec<Recorded>> {
    let (mut found, mut seq) = (Vec::new(), seq);
    // A row that does not read counts for none: a page that is not full proves that there is no more.
    while found.len() < limit {
        let want = limit - found.len();
        let rows = page(conn, bound, order, seq, want, filter)?;
        let is_last = rows.len() < want;
        let Some((last, _)) = rows.last() else { break };
        seq = *last;
        for (seq, row) in rows {
            match row {
                Ok(recorded) => found.push(recorded),
                Err(why) => pass_over(seq, &why),
            }
        }
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// Numbers of events that do not read, as far as they have been told.
static UNREADABLE: Mutex<BTreeSet<i64>> = Mutex::new(BTreeSet::new());
/// So many of them are told.
const UNREADABLE_MAX: usize = 1_000;

/// One event must not keep its readers from all others. It is told once, whoever meets it.
fn pass_over(seq: i64, why: &str) {
    let mut known = UNREADABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() < UNREADABLE_MAX && known.insert(seq) {
        error!(seq, why, count = known.len(), "an event cannot be read and is passed over");
    }
}

/// A row's number, and the event in it or why it does not read.
type Numbered = (i64, Result<Recorded, String>);

fn page(
    conn: &Connection,
    bound: &'static str,
    order: &'static str,
    seq: i64,
    limit: usize,
    filter: &Filter,
) -> rusqlite::Result<Vec<Numbered>> {
    let mut sql =
        format!("SELECT seq, at_ms, kind, task, run, ticket, actor, data FROM events WHERE {bound}");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(seq)];
    if let Some(task) = &filter.task {
        sql.push_str(" AND task = ?");
        values.push(Box::new(task.as_str().to_owned()));
    }
    if let Some(run) = filter.run {
        sql.push_str(" AND run = ?");
        values.push(Box::new(run.0));
    }
    if let Some(ticket) = &filter.ticket {
        sql.push_str(" AND ticket = ?");
        values.push(Box::new(ticket.clone()));
    }
    if let Some(kinds) = &filter.kinds {
        sql.push_str(" AND kind IN (SELECT value FROM json_each(?))");
        let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
        values.push(Box::new(Value::from(names).to_string()));
    }
    sql.push_str(" ORDER BY seq ");
    sql.push_str(order);
    sql.push_str(" LIMIT ?");
    values.push(Box::new(i64::try_from(limit).unwrap_or(i64::MAX)));
    let mut statement = conn.prepare_cached(&sql)?;
    // What SQLite itself has to say is of the whole page; what a column holds is of its row alone.
    let rows = statement.query_map(params_from_iter(values), |row| {
        Ok((row.get(0)?, recorded(row).map_err(|why| why.to_string())))
    })?;
    rows.collect()
}

fn recorded(row: &Row<'_>) -> rusqlite::Result<Recorded> {
    let unreadable =
        |column, why: String| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into());
    let kind: String = row.get(2)?;
    let task: Option<String> = row.get(3)?;
    let data: String = row.get(7)?;
    let event = Event {
        kind: EventKind::parse(&kind).ok_or_else(|| unreadable(2, format!("no event kind `{kind}`")))?,
        task: task
            .map(|id| TaskId::parse(&id))
            .transpose()
            .map_err(|error| unreadable(3, error.to_string()))?,
        run: row.get::<_, Option<i64>>(4)?.map(RunId),
        ticket: row.get(5)?,
        actor: row.get(6)?,
        data: serde_json::from_str(&data).map_err(|error| unreadable(7, error.to_string()))?,
    };
    Ok(Recorded { seq: row.get(0)?, at_ms: row.get(1)?, event })
}

pub(super) fn latest(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")?
        .query_row([], |row| row.get(0))
}

pub(super) fn is_behind(conn: &Connection, seq: i64, limit: u32) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM events WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2")?
        .exists(params![seq, limit])
}

pub(super) fn oldest(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT min(seq) FROM events")?.query_row([], |row| row.get(0))
}

pub(super) fn cursor(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT seq FROM cursors WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn advance(conn: &Connection, name: &str, seq: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO cursors (name, seq) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET seq = max(seq, excluded.seq)",
    )?
    .execute(params![name, seq])
    .map(|_rows| ())
}

pub(super) fn forget_cursor(conn: &Connection, name: &str) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM cursors WHERE name = ?1", [name]).map(|_rows| ())
}

/// The position that no deletion may pass: that of the slowest cursor.
pub(super) fn slowest_cursor(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.query_row("SELECT min(seq) FROM cursors", [], |row| row.get(0))
}

/// The number below which everything is older than `cutoff_ms`.
pub(super) fn first_since(conn: &Connection, cutoff_ms: i64) -> rusqlite::Result<i64> {
    let first: Option<i64> =
        conn.query_row("SELECT min(seq) FROM events WHERE at_ms >= ?1", [cutoff_ms], |row| row.get(0))?;
    match first {
        Some(seq) => Ok(seq),
        None => Ok(latest(conn)? + 1),
    }
}

/// The number of the oldest of the newest `count` events; none when there are fewer.
pub(super) fn first_of_newest(conn: &Connection, count: i64) -> rusqlite::Result<Option<i64>> {
    conn.query_row(
        "SELECT seq FROM events ORDER BY seq DESC LIMIT 1 OFFSET ?1",
        [count.saturating_sub(1).max(0)],
        |row| row.get(0),
    )
    .optional()
}

/// A stretch of the journal, seen from its newest event backwards.
pub(super) struct Stretch {
    /// Where the next stretch begins: only events below this number.
    pub below: i64,
    pub bytes: i64,
    pub events: i64,
}

/// Weighs at most `events` events below `below`.
pub(super) fn weigh(conn: &Connection, below: i64, events: i64) -> rusqlite::Result<Stretch> {
    conn.prepare_cached(
        "SELECT coalesce(min(seq), 0), coalesce(sum(length(data) + ?3), 0), count(*)
         FROM (SELECT seq, data FROM events WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2)",
    )?
    .query_row(params![below, events, ROW_BYTES], |row| {
        Ok(Stretch { below: row.get(0)?, bytes: row.get(1)?, events: row.get(2)? })
    })
}

/// The number of the oldest event of a stretch below `below` that still fits into `bytes`; none fits
/// when it is `below` itself.
pub(super) fn first_that_fits(
    conn: &Connection,
    below: i64,
    events: i64,
    bytes: i64,
) -> rusqlite::Result<i64> {
    conn.prepare_cached(
        "SELECT coalesce(min(seq), ?1) FROM (
             SELECT seq, sum(length(data) + ?4) OVER (ORDER BY seq DESC) AS total
             FROM (SELECT seq, data FROM events WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2))
         WHERE total <= ?3",
    )?
    .query_row(params![below, events, bytes, ROW_BYTES], |row| row.get(0))
}

/// Deletes up to `limit` of the oldest events with a number below `before`, none that the slowest
/// cursor has still to read.
pub(super) fn delete_before(conn: &Connection, before: i64, limit: usize) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM events WHERE seq IN (
             SELECT seq FROM events
             WHERE seq < ?1 AND seq <= (SELECT coalesce(min(seq), 9223372036854775807) FROM cursors)
             ORDER BY seq LIMIT ?2)",
    )?
    .execute(params![before, i64::try_from(limit).unwrap_or(i64::MAX)])
}

/// What the keys of conditions that stand begin with in `meta`.
const CONDITION: &str = "condition:";

pub(super) fn stand(conn: &Connection, condition: &Condition) -> rusqlite::Result<()> {
    let text = serde_json::to_string(condition)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    conn.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute(params![format!("{CONDITION}{}", condition.key), text])
    .map(drop)
}

pub(super) fn fall(conn: &Connection, key: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([format!("{CONDITION}{key}")]).map(drop)
}

/// Those whose key begins with `prefix`; what a newer version has written and this one cannot read is none.
pub(super) fn standing(conn: &Connection, prefix: &str) -> rusqlite::Result<Vec<Condition>> {
    let texts = conn
        .prepare_cached("SELECT value FROM meta WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key")?
        .query_map([format!("{CONDITION}{prefix}")], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

/// Journals as they should not be.
#[cfg(test)]
pub(crate) mod broken {
    use rusqlite::Connection;

    /// Makes `column` of the events `from` to `to` unreadable by writing `text` to it.
    pub fn spoil(conn: &Connection, column: &str, text: &str, from: i64, to: i64) -> rusqlite::Result<()> {
        let sql = format!("UPDATE events SET {column} = ?1 WHERE seq BETWEEN ?2 AND ?3");
        conn.execute(&sql, (text, from, to)).map(drop)
    }

    /// Takes the table away.
    pub fn hide(conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch("ALTER TABLE events RENAME TO elsewhere")
    }

    /// Brings it back.
    pub fn bring_back(conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch("ALTER TABLE elsewhere RENAME TO events")
    }
}
