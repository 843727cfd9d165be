//! The rows of `bot_updates`, `bot_offsets`, `bot_messages`, `bot_snoozes` and `bot_hints`.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::answer::Answer;
use super::deed::Deed;
use crate::model::alert::AlertId;
use crate::model::message::MessageId;

/// Telegram keeps an update for 24 h, and may begin its numbers anew after a quiet week: in between, a number
/// that was seen is known, and one from before is forgotten. Milliseconds.
const REMEMBERED_MS: i64 = 48 * 3_600_000;
/// A message is known as a ticket's for so long, milliseconds.
const MESSAGES_KEPT_MS: i64 = 90 * 24 * 3_600_000;
/// Rows that one look takes up.
const LOOK_MAX: u32 = 100;
/// Rows that one write forgets at most.
const FORGET_MAX: u32 = 50;

/// An update as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub id: i64,
    pub bot: i64,
    pub number: i64,
    pub at_ms: i64,
    pub deed: Deed,
    pub answer: Option<Answer>,
}

/// A message of the chat that became one to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Followed {
    pub chat: i64,
    pub message: i32,
    pub queued: MessageId,
    /// The reaction that it bears.
    pub shown: Option<String>,
}

/// A question that is to be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snooze {
    pub alert: AlertId,
    pub ticket: String,
    pub chat: i64,
    pub message: i32,
    pub at_ms: i64,
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// From which update on to ask; none when that is too old to be true.
pub(super) fn offset(conn: &Connection, bot: i64, now_ms: i64) -> rusqlite::Result<Option<i32>> {
    conn.prepare_cached("SELECT next FROM bot_offsets WHERE bot = ?1 AND at_ms > ?2")?
        .query_row(params![bot, now_ms - REMEMBERED_MS], |row| row.get(0))
        .optional()
}

pub(super) fn set_offset(conn: &Connection, bot: i64, next: i32, now_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO bot_offsets (bot, next, at_ms) VALUES (?1, ?2, ?3) \
         ON CONFLICT (bot) DO UPDATE SET next = excluded.next, at_ms = excluded.at_ms",
    )?
    .execute(params![bot, next, now_ms])
    .map(drop)
}

/// Writes an update down; one that is known already changes nothing.
pub(super) fn keep(
    conn: &Connection,
    (bot, number): (i64, i32),
    deed: &Deed,
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO bot_updates (bot, number, at_ms, deed) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (bot, number) DO NOTHING",
    )?
    .execute(params![bot, number, now_ms, json(deed)?])
    .map(drop)
}

/// Forgets what is too old to come again.
pub(super) fn forget(conn: &Connection, now_ms: i64) -> rusqlite::Result<()> {
    let old = params![now_ms - REMEMBERED_MS, FORGET_MAX];
    conn.prepare_cached(
        "DELETE FROM bot_updates WHERE id IN \
         (SELECT id FROM bot_updates WHERE state = 'shown' AND at_ms < ?1 LIMIT ?2)",
    )?
    .execute(old)?;
    conn.prepare_cached("DELETE FROM bot_messages WHERE at_ms < ?1")?
        .execute(params![now_ms - MESSAGES_KEPT_MS])?;
    conn.prepare_cached("DELETE FROM bot_hints WHERE at_ms < ?1")?
        .execute(params![now_ms - REMEMBERED_MS])?;
    Ok(())
}

fn written(row: &Row<'_>) -> rusqlite::Result<Option<Written>> {
    let (deed, answer): (String, Option<String>) = (row.get(4)?, row.get(5)?);
    let Ok(deed) = serde_json::from_str(&deed) else { return Ok(None) };
    let answer = answer.and_then(|text| serde_json::from_str(&text).ok());
    let (id, bot, number, at_ms) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    Ok(Some(Written { id, bot, number, at_ms, deed, answer }))
}

/// The oldest that has not been done, by its row; without content when that cannot be read.
pub(super) fn next_new(conn: &Connection) -> rusqlite::Result<Option<(i64, Option<Written>)>> {
    conn.prepare_cached(
        "SELECT id, bot, number, at_ms, deed, answer FROM bot_updates WHERE state = 'new' ORDER BY id LIMIT 1",
    )?
    .query_row([], |row| Ok((row.get(0)?, written(row)?)))
    .optional()
}

/// The oldest that has been done and not been told, of chats that are not `held`.
pub(super) fn next_done(
    conn: &Connection,
    held: &HashMap<i64, Duration>,
) -> rusqlite::Result<Option<(i64, Option<Written>)>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, bot, number, at_ms, deed, answer FROM bot_updates WHERE state = 'done' ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let written = written(row)?;
        if !written.as_ref().is_some_and(|written| held.contains_key(&written.deed.by().chat)) {
            return Ok(Some((row.get(0)?, written)));
        }
    }
    Ok(None)
}

/// What of an answer is still to be told.
pub(super) fn told_until(conn: &Connection, id: i64, left: &Answer) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE bot_updates SET answer = ?2 WHERE id = ?1 AND state = 'done'")?
        .execute(params![id, json(left)?])
        .map(drop)
}

/// It is done, in the transaction of what it did where there is one.
pub(super) fn done(conn: &Connection, id: i64, answer: &Answer) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE bot_updates SET state = 'done', answer = ?2 WHERE id = ?1 AND state = 'new'")?
        .execute(params![id, json(answer)?])
        .map(drop)
}

/// The update whose question is open: it asks whether to do what was written, and nobody has said yes.
pub(super) fn asked(conn: &Connection, id: i64) -> rusqlite::Result<Option<Written>> {
    let found = conn
        .prepare_cached("SELECT id, bot, number, at_ms, deed, answer FROM bot_updates WHERE id = ?1")?
        .query_row([id], written)
        .optional()?
        .flatten();
    Ok(found.filter(|found| found.answer.as_ref().is_some_and(|answer| answer.is_open)))
}

/// Somebody says yes to an open question. False when it is open no more: a yes counts once.
pub(super) fn redeem(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    let Some(mut answer) = asked(conn, id)?.and_then(|found| found.answer) else { return Ok(false) };
    answer.is_open = false;
    let redeemed = conn
        .prepare_cached("UPDATE bot_updates SET answer = ?2 WHERE id = ?1")?
        .execute(params![id, json(&answer)?])?;
    Ok(redeemed == 1)
}

pub(super) fn shown(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE bot_updates SET state = 'shown', answer = coalesce(answer, '{}') WHERE id = ?1",
    )?
    .execute([id])
    .map(drop)
}

/// A message of the chat is about a ticket.
pub(super) fn track(
    conn: &Connection,
    (chat, message): (i64, i32),
    ticket: &str,
    queued: Option<MessageId>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO bot_messages (chat, message, ticket, queued, at_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (chat, message) DO NOTHING",
    )?
    .execute(params![chat, message, ticket, queued.map(|id| id.0), now_ms])
    .map(drop)
}

pub(super) fn ticket_of(conn: &Connection, chat: i64, message: i32) -> rusqlite::Result<Option<String>> {
    conn.prepare_cached("SELECT ticket FROM bot_messages WHERE chat = ?1 AND message = ?2")?
        .query_row(params![chat, message], |row| row.get(0))
        .optional()
}

/// Those whose reaction may not be the last.
pub(super) fn followed(conn: &Connection) -> rusqlite::Result<Vec<Followed>> {
    conn.prepare_cached(
        "SELECT chat, message, queued, shown FROM bot_messages WHERE queued IS NOT NULL AND settled = 0 \
         ORDER BY at_ms DESC LIMIT ?1",
    )?
    .query_map([LOOK_MAX], |row| {
        let queued = MessageId(row.get(2)?);
        Ok(Followed { chat: row.get(0)?, message: row.get(1)?, queued, shown: row.get(3)? })
    })?
    .collect()
}

/// A message to a worker is under way again.
pub(super) fn unsettle(conn: &Connection, queued: MessageId) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE bot_messages SET settled = 0 WHERE queued = ?1 AND settled = 1")?
        .execute([queued.0])
        .map(drop)
}

/// Notes which reaction a message bears, and whether another may follow.
pub(super) fn reacted(
    conn: &Connection,
    followed: &Followed,
    shown: Option<&str>,
    settled: i64,
) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE bot_messages SET shown = ?3, settled = ?4 WHERE chat = ?1 AND message = ?2")?
        .execute(params![followed.chat, followed.message, shown, settled])
        .map(drop)
}

pub(super) fn snooze(conn: &Connection, snooze: &Snooze) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO bot_snoozes (alert, ticket, chat, message, at_ms) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (alert) DO UPDATE SET chat = excluded.chat, message = excluded.message, \
         at_ms = excluded.at_ms",
    )?
    .execute(params![snooze.alert.0, snooze.ticket, snooze.chat, snooze.message, snooze.at_ms])
    .map(drop)
}

/// Until when an alert's question is put off.
pub(super) fn snoozed_until(conn: &Connection, alert: AlertId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT at_ms FROM bot_snoozes WHERE alert = ?1")?
        .query_row([alert.0], |row| row.get(0))
        .optional()
}

pub(super) fn snoozes_due(conn: &Connection, now_ms: i64) -> rusqlite::Result<Vec<Snooze>> {
    conn.prepare_cached(
        "SELECT alert, ticket, chat, message, at_ms FROM bot_snoozes WHERE at_ms <= ?1 ORDER BY at_ms LIMIT ?2",
    )?
    .query_map(params![now_ms, LOOK_MAX], |row| {
        Ok(Snooze {
            alert: AlertId(row.get(0)?),
            ticket: row.get(1)?,
            chat: row.get(2)?,
            message: row.get(3)?,
            at_ms: row.get(4)?,
        })
    })?
    .collect()
}

/// It is muted until then, unless it was put off once more meanwhile.
pub(super) fn put_off(conn: &Connection, snooze: &Snooze, until_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE bot_snoozes SET at_ms = ?3 WHERE alert = ?1 AND at_ms = ?2")?
        .execute(params![snooze.alert.0, snooze.at_ms, until_ms])
        .map(drop)
}

/// It has been asked again, unless it was put off once more meanwhile.
pub(super) fn awake(conn: &Connection, snooze: &Snooze) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM bot_snoozes WHERE alert = ?1 AND at_ms = ?2")?
        .execute(params![snooze.alert.0, snooze.at_ms])
        .map(drop)
}

/// Notes that somebody is told how to write to the bot; whether that is news.
pub(super) fn hint(conn: &Connection, chat: i64, person: i64, now_ms: i64) -> rusqlite::Result<bool> {
    let rows = conn
        .prepare_cached(
            "INSERT INTO bot_hints (chat, person, at_ms) VALUES (?1, ?2, ?3) ON CONFLICT (chat, person) DO NOTHING",
        )?
        .execute(params![chat, person, now_ms])?;
    Ok(rows == 1)
}
