//! The rows of `outbox` and `channel`.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Channel, Delivery, DeliveryState, NewRow, Purpose, Queued, Waiting};
use crate::alert::Tested;
use crate::alert::table::{column, json, name_of, parse_severity};
use crate::model::alert::{Alert, AlertId};
use crate::model::notice::Topic;

const COLUMNS: &str = "id, alert, purpose, severity, topic, text, original, created_ms, attempts, doubtful, \
     plain, bare";

fn read(row: &Row<'_>) -> rusqlite::Result<Queued> {
    let text: Option<String> = row.get(5)?;
    Ok(Queued {
        id: row.get(0)?,
        alert: row.get::<_, Option<i64>>(1)?.map(AlertId),
        purpose: column(row, 2, Purpose::parse)?,
        severity: column(row, 3, parse_severity)?,
        topic: column(row, 4, Topic::parse)?,
        text: text.and_then(|text| serde_json::from_str(&text).ok()),
        original: row.get(6)?,
        created_ms: row.get(7)?,
        attempts: row.get(8)?,
        is_doubtful: row.get(9)?,
        is_plain: row.get(10)?,
        is_bare: row.get(11)?,
    })
}

pub(in crate::alert) fn insert(
    conn: &Connection,
    new: &NewRow,
    state: DeliveryState,
) -> rusqlite::Result<i64> {
    let text = new.text.as_ref().map(json).transpose()?;
    let ended_ms = state.is_ended().then_some(new.now_ms);
    conn.prepare_cached(
        "INSERT INTO outbox (alert, purpose, state, rank, severity, topic, text, original, created_ms, \
         not_before_ms, ended_ms, run) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        new.alert.map(|alert| alert.0),
        new.purpose.name(),
        state.name(),
        new.rank(),
        name_of(new.severity),
        new.topic.name(),
        text,
        new.original,
        new.now_ms,
        new.not_before_ms,
        ended_ms,
        new.run.map(|run| run.0),
    ])?;
    Ok(conn.last_insert_rowid())
}

/// Has a message changed, once for however often that is wanted before it happens.
pub(in crate::alert) fn insert_edit(conn: &Connection, new: &NewRow) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO outbox (alert, purpose, state, rank, severity, topic, original, created_ms, not_before_ms) \
         VALUES (?1, 'edit', 'pending', ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT (original) WHERE purpose = 'edit' AND state = 'pending' \
         DO UPDATE SET not_before_ms = min(not_before_ms, excluded.not_before_ms)",
    )?
    .execute(params![
        new.alert.map(|alert| alert.0),
        new.rank(),
        name_of(new.severity),
        new.topic.name(),
        new.original,
        new.now_ms,
        new.not_before_ms,
    ])?;
    Ok(())
}

/// The messages of an alert's own, the newest first: number, state and when it was made.
pub(in crate::alert) fn own(
    conn: &Connection,
    alert: AlertId,
) -> rusqlite::Result<Vec<(i64, DeliveryState, u32)>> {
    conn.prepare_cached(
        "SELECT id, state, attempts FROM outbox WHERE alert = ?1 \
         AND purpose IN ('first', 'again', 'worse', 'flapping') ORDER BY id DESC LIMIT 5",
    )?
    .query_map([alert.0], |row| Ok((row.get(0)?, column(row, 1, DeliveryState::parse)?, row.get(2)?)))?
    .collect()
}

/// The newest message of an alert's own that can be answered: it has gone, or it will.
pub(in crate::alert) fn answerable(conn: &Connection, alert: AlertId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT id FROM outbox WHERE alert = ?1 AND purpose IN ('first', 'again', 'worse', 'flapping') \
         AND state IN ('pending', 'sending', 'delivered') ORDER BY id DESC LIMIT 1",
    )?
    .query_row([alert.0], |row| row.get(0))
    .optional()
}

/// The row that goes next: the most important, then the oldest, of what may go now. What answers or changes a
/// message waits until that has gone.
pub(in crate::alert) fn next_id(conn: &Connection, now_ms: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT id FROM outbox AS o WHERE state = 'pending' AND not_before_ms <= ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE id = o.original AND state IN ('pending', 'sending')) \
         ORDER BY rank DESC, id LIMIT 1",
    )?
    .query_row([now_ms], |row| row.get(0))
    .optional()
}

/// What is in a row.
pub(in crate::alert) fn get(conn: &Connection, id: i64) -> rusqlite::Result<Queued> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1"))?.query_row([id], read)
}

/// When something that waits for its time may go.
pub(in crate::alert) fn next_at_ms(conn: &Connection, now_ms: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT min(not_before_ms) FROM outbox WHERE state = 'pending' AND not_before_ms > ?1",
    )?
    .query_row([now_ms], |row| row.get(0))
}

/// Written before the call: whoever finds the row so cannot know whether the call came through.
pub(in crate::alert) fn begin(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    let rows = conn
        .prepare_cached(
            "UPDATE outbox SET state = 'sending', attempts = attempts + 1 WHERE id = ?1 AND state = 'pending'",
        )?
        .execute([id])?;
    Ok(rows == 1)
}

pub(in crate::alert) fn delivered(
    conn: &Connection,
    id: i64,
    (chat, message): (i64, i32),
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET state = 'delivered', chat = ?2, message = ?3, ended_ms = ?4, error = NULL \
         WHERE id = ?1 AND state = 'sending'",
    )?
    .execute(params![id, chat, message, now_ms])
    .map(|_rows| ())
}

/// Ends a row otherwise.
pub(in crate::alert) fn end(
    conn: &Connection,
    id: i64,
    state: DeliveryState,
    error: Option<&str>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET state = ?2, error = ?3, ended_ms = ?4 WHERE id = ?1 \
         AND state IN ('pending', 'sending')",
    )?
    .execute(params![id, state.name(), error, now_ms])
    .map(|_rows| ())
}

/// What the next attempt has to know, and from when on it may be; `now_ms` is now. An edit that a newer one waits behind is not needed any more.
pub(in crate::alert) fn put_back(
    conn: &Connection,
    row: &Queued,
    error: Option<&str>,
    (again_ms, now_ms): (i64, i64),
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE outbox SET state = 'dropped', error = coalesce(?2, error), ended_ms = ?3 \
         WHERE id = ?1 AND state = 'sending' AND purpose = 'edit' AND EXISTS (SELECT 1 FROM outbox AS newer \
         WHERE newer.original = outbox.original AND newer.purpose = 'edit' AND newer.state = 'pending')",
    )?
    .execute(params![row.id, error, now_ms])?;
    conn.prepare_cached(
        "UPDATE outbox SET state = 'pending', error = coalesce(?2, error), doubtful = ?3, plain = ?4, bare = ?5, \
         not_before_ms = max(not_before_ms, ?6) WHERE id = ?1 AND state = 'sending'",
    )?
    .execute(params![row.id, error, row.is_doubtful, row.is_plain, row.is_bare, again_ms])
    .map(|_rows| ())
}

/// Takes back that an alert was told, as its message `id` has died and no other is in line: it goes on untold, and
/// is told when the way to people is well again. Not for ever: each time costs a dead letter.
pub(in crate::alert) fn untell(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    /// Dead letters of one alert after which it is left to whoever looks.
    const DEATHS_MAX: u32 = 5;
    conn.prepare_cached(
        "WITH own AS (SELECT alert, state FROM outbox WHERE alert = (SELECT alert FROM outbox WHERE id = ?1 \
         AND purpose IN ('first', 'again', 'worse', 'flapping')) \
         AND purpose IN ('first', 'again', 'worse', 'flapping')) \
         UPDATE alerts SET told_ms = NULL WHERE id = (SELECT alert FROM own LIMIT 1) AND state <> 'resolved' \
         AND NOT EXISTS (SELECT 1 FROM own WHERE state IN ('pending', 'sending')) \
         AND (SELECT count(*) FROM own WHERE state = 'dead') < ?2",
    )?
    .execute(params![id, DEATHS_MAX])
    .map(|_rows| ())
}

/// Takes back that alerts were told all of whose messages have died, as another message has just arrived: they go
/// on untold. Not for ever: it may be the message itself that is taken by nobody.
pub(in crate::alert) fn untell_dead(conn: &Connection) -> rusqlite::Result<()> {
    /// Dead letters of one alert after which no other that arrives has it told anew.
    const DEATHS_MAX: u32 = 3;
    conn.prepare_cached(
        "UPDATE alerts SET told_ms = NULL WHERE state IN ('firing', 'muted') AND told_ms IS NOT NULL \
         AND (SELECT count(*) FROM outbox WHERE alert = alerts.id AND purpose <> 'edit') BETWEEN 1 AND ?1 - 1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE alert = alerts.id AND purpose <> 'edit' AND state <> 'dead')",
    )?
    .execute([DEATHS_MAX])
    .map(|_rows| ())
}

/// Whether anybody has been told of an alert, by itself or in a fold.
pub(in crate::alert) fn is_heard(conn: &Connection, alert: &Alert) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM outbox WHERE alert IN (?1, ?2) AND state = 'delivered' \
         AND purpose IN ('first', 'again', 'worse', 'flapping')",
    )?
    .exists(params![alert.id.0, alert.storm.map(|storm| storm.0)])
}

/// Messages about alerts that nobody has tried to send yet, with their alerts.
pub(in crate::alert) fn untried(conn: &Connection) -> rusqlite::Result<Vec<(i64, AlertId)>> {
    conn.prepare_cached(
        "SELECT id, alert FROM outbox WHERE state = 'pending' AND attempts = 0 \
         AND purpose IN ('first', 'again', 'worse', 'flapping') ORDER BY id",
    )?
    .query_map([], |row| Ok((row.get(0)?, AlertId(row.get(1)?))))?
    .collect()
}

pub(in crate::alert) fn set_not_before(conn: &Connection, id: i64, ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE outbox SET not_before_ms = ?2 WHERE id = ?1 AND state = 'pending'")?
        .execute([id, ms])
        .map(|_rows| ())
}

/// What a message was for.
pub(in crate::alert) fn purpose_of(conn: &Connection, id: i64) -> rusqlite::Result<Option<Purpose>> {
    conn.prepare_cached("SELECT purpose FROM outbox WHERE id = ?1")?
        .query_row([id], |row| column(row, 0, Purpose::parse))
        .optional()
}

pub(in crate::alert) fn message_of(conn: &Connection, id: i64) -> rusqlite::Result<Option<(i64, i32)>> {
    conn.prepare_cached("SELECT chat, message FROM outbox WHERE id = ?1 AND message IS NOT NULL")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The alert that a message of a chat is about.
pub(in crate::alert) fn alert_of(
    conn: &Connection,
    chat: i64,
    message: i32,
) -> rusqlite::Result<Option<AlertId>> {
    let found = conn
        .prepare_cached("SELECT alert FROM outbox WHERE chat = ?1 AND message = ?2 ORDER BY id LIMIT 1")?
        .query_row(params![chat, message], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(found.flatten().map(AlertId))
}

/// Everything that was to be sent about an alert, oldest first; at most `limit`.
pub(in crate::alert) fn of_alert(
    conn: &Connection,
    alert: AlertId,
    limit: u32,
) -> rusqlite::Result<Vec<Delivery>> {
    conn.prepare_cached(
        "SELECT purpose, state, message, error, attempts, created_ms, ended_ms FROM outbox WHERE alert = ?1 \
         AND (purpose <> 'edit' OR state IN ('pending', 'sending')) ORDER BY id LIMIT ?2",
    )?
    .query_map(params![alert.0, limit], |row| {
        Ok(Delivery {
            purpose: column(row, 0, Purpose::parse)?,
            state: column(row, 1, DeliveryState::parse)?,
            message: row.get(2)?,
            error: row.get(3)?,
            attempts: row.get(4)?,
            created_ms: row.get(5)?,
            ended_ms: row.get(6)?,
        })
    })?
    .collect()
}

/// How far one row has come.
pub(in crate::alert) fn outcome(conn: &Connection, id: i64) -> rusqlite::Result<Option<Tested>> {
    conn.prepare_cached("SELECT state, message, error FROM outbox WHERE id = ?1")?
        .query_row([id], |row| {
            let state = column(row, 0, DeliveryState::parse)?;
            Ok(Tested { state, message: row.get(1)?, error: row.get(2)? })
        })
        .optional()
}

pub(in crate::alert) fn waiting(conn: &Connection) -> rusqlite::Result<Waiting> {
    conn.prepare_cached(
        "SELECT count(*), min(created_ms) FROM outbox WHERE state IN ('pending', 'sending') \
         AND purpose <> 'edit'",
    )?
    .query_row([], |row| Ok(Waiting { pending: row.get(0)?, oldest_ms: row.get(1)? }))
}

/// Deletes up to `limit` rows that ended before `before_ms` and that nothing answers.
pub(in crate::alert) fn delete_ended(
    conn: &Connection,
    before_ms: i64,
    limit: usize,
) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o WHERE o.ended_ms < ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE original = o.id) LIMIT ?2)",
    )?
    .execute(params![before_ms, i64::try_from(limit).unwrap_or(i64::MAX)])
}

pub(in crate::alert) fn channel(conn: &Connection) -> rusqlite::Result<Channel> {
    let found = conn
        .prepare_cached("SELECT broken, since_ms, configured, chat FROM channel WHERE name = 'telegram'")?
        .query_row([], |row| {
            Ok(Channel {
                broken: row.get(0)?,
                since_ms: row.get(1)?,
                configured: row.get(2)?,
                chat: row.get(3)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub(in crate::alert) fn set_channel(conn: &Connection, channel: &Channel) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO channel (name, broken, since_ms, configured, chat) VALUES ('telegram', ?1, ?2, ?3, ?4) \
         ON CONFLICT (name) DO UPDATE SET broken = excluded.broken, since_ms = excluded.since_ms, \
         configured = excluded.configured, chat = excluded.chat",
    )?
    .execute(params![channel.broken, channel.since_ms, channel.configured, channel.chat])
    .map(|_rows| ())
}
