//! What the database knows of each task: is it on, is it paused, from when is it counted, and up
//! to where every due instant has its row.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::registry::{Kept, Text};
use crate::model::digest::Digest;
use crate::model::ids::TaskId;

/// A task's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    pub id: TaskId,
    pub enabled: bool,
    /// The file is there.
    pub present: bool,
    pub hash: String,
    /// Schedule, zone and jitter as one text; a change starts the count anew.
    pub schedule: String,
    /// Every due instant up to this one has its row.
    pub covered_ms: i64,
    pub pause: Option<Pause>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub at_ms: i64,
    /// `None`: until somebody resumes it.
    pub until_ms: Option<i64>,
    pub reason: Option<String>,
    pub actor: String,
}

impl Pause {
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

/// What a reload found out about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: TaskId,
    pub enabled: bool,
    pub hash: String,
    pub schedule: String,
    /// From when due instants are counted, whatever was before; `None`: by the rule of [`see`].
    pub from_ms: Option<i64>,
}

const COLUMNS: &str = "id, enabled, present, hash, schedule, covered_ms, paused_at_ms, paused_until_ms, \
     pause_reason, pause_actor";

pub fn get(conn: &Connection, id: &TaskId) -> rusqlite::Result<Option<TaskRow>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks WHERE id = ?1"))?
        .query_row([id.as_str()], read)
        .optional()
}

pub fn all(conn: &Connection) -> rusqlite::Result<Vec<TaskRow>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM tasks ORDER BY id"))?.query_map([], read)?.collect()
}

/// Records what the file says now. Counting of due instants starts at `now_ms` for a task that is
/// new, switched on, back again, or has another schedule: before that it had none.
pub fn see(conn: &Connection, seen: &Seen, now_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO tasks (id, enabled, present, hash, schedule, covered_ms) \
         VALUES (?1, ?2, 1, ?3, ?4, coalesce(?6, ?5)) \
         ON CONFLICT (id) DO UPDATE SET \
           covered_ms = CASE WHEN ?6 IS NOT NULL OR excluded.enabled > tasks.enabled OR tasks.present = 0 \
                               OR tasks.schedule <> excluded.schedule \
                             THEN excluded.covered_ms ELSE tasks.covered_ms END, \
           enabled = excluded.enabled, present = 1, hash = excluded.hash, schedule = excluded.schedule",
    )?
    .execute(params![seen.id.as_str(), seen.enabled, seen.hash, seen.schedule, now_ms, seen.from_ms])?;
    Ok(())
}

/// The file is gone, and nothing stands in for it.
pub fn forget(conn: &Connection, id: &TaskId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM last_good WHERE task = ?1")?.execute([id.as_str()])?;
    conn.prepare_cached("UPDATE tasks SET present = 0 WHERE id = ?1")?.execute([id.as_str()])?;
    Ok(())
}

/// Keeps the text of a good file in place of the one before it.
pub fn keep(conn: &Connection, text: &Text) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO last_good (task, hash, text) VALUES (?1, ?2, ?3) ON CONFLICT (task) DO UPDATE SET \
         hash = excluded.hash, text = excluded.text, broken_since_ms = NULL",
    )?
    .execute(params![text.id.as_str(), text.hash.to_string(), &*text.bytes])?;
    Ok(())
}

/// The hash of each text that is kept; one that cannot be read is kept anew.
pub fn kept_hashes(conn: &Connection) -> rusqlite::Result<HashMap<TaskId, Digest>> {
    let mut statement = conn.prepare_cached("SELECT task, hash FROM last_good")?;
    let mut rows = statement.query([])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        if let Ok(hash) = row.get_ref(1)?.as_str()?.parse() {
            found.insert(id_of(&row.get::<_, String>(0)?)?, hash);
        }
    }
    Ok(found)
}

/// The texts that are kept of `ids`.
pub fn kept(conn: &Connection, ids: &[TaskId]) -> rusqlite::Result<Vec<Kept>> {
    let mut statement = conn.prepare_cached("SELECT text, broken_since_ms FROM last_good WHERE task = ?1")?;
    let mut found = Vec::new();
    for id in ids {
        let row = statement.query_row([id.as_str()], |row| {
            Ok(Kept { id: id.clone(), bytes: row.get(0)?, broken_since_ms: row.get(1)? })
        });
        found.extend(row.optional()?);
    }
    Ok(found)
}

/// Since when files are worse than the texts that are kept of them.
pub fn broken_since(conn: &Connection) -> rusqlite::Result<BTreeMap<TaskId, i64>> {
    conn.prepare_cached("SELECT task, broken_since_ms FROM last_good WHERE broken_since_ms IS NOT NULL")?
        .query_map([], |row| Ok((id_of(&row.get::<_, String>(0)?)?, row.get(1)?)))?
        .collect()
}

/// Says since when the file is worse than the text that is kept of it, or that it is not.
pub fn set_broken_since(conn: &Connection, id: &TaskId, since_ms: Option<i64>) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE last_good SET broken_since_ms = ?2 WHERE task = ?1")?
        .execute(params![id.as_str(), since_ms])?;
    Ok(())
}

/// When each text of the schedule was first seen; a text that is new is seen at `now_ms`.
pub fn anchor(conn: &Connection, id: &TaskId, schedule: &str, now_ms: i64) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT OR IGNORE INTO anchors (task, schedule, anchor_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![id.as_str(), schedule, now_ms])?;
    conn.prepare_cached("SELECT anchor_ms FROM anchors WHERE task = ?1 AND schedule = ?2")?
        .query_row(params![id.as_str(), schedule], |row| row.get(0))
}

/// When this text of the schedule was first seen; `None` for one that has not been.
pub fn anchor_of(conn: &Connection, id: &TaskId, schedule: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT anchor_ms FROM anchors WHERE task = ?1 AND schedule = ?2")?
        .query_row(params![id.as_str(), schedule], |row| row.get(0))
        .optional()
}

/// Forgets what was seen of a task's schedule: it is anchored anew.
pub fn unanchor(conn: &Connection, id: &TaskId) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM anchors WHERE task = ?1")?.execute([id.as_str()])?;
    Ok(())
}

/// Every anchor there is, without making one.
pub fn anchors(conn: &Connection) -> rusqlite::Result<Vec<(TaskId, String, i64)>> {
    conn.prepare_cached("SELECT task, schedule, anchor_ms FROM anchors")?
        .query_map([], |row| Ok((id_of(&row.get::<_, String>(0)?)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Takes marks that lie beyond `limit_ms` back to `now_ms`; instants that have a row keep it.
pub fn uncover(conn: &Connection, now_ms: i64, limit_ms: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE tasks SET covered_ms = ?1 WHERE covered_ms > ?2")?
        .execute(params![now_ms, limit_ms])?;
    Ok(())
}

/// Gives `false` when there is no such task.
pub fn pause(conn: &Connection, id: &TaskId, pause: &Pause) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE tasks SET paused_at_ms = ?2, paused_until_ms = ?3, pause_reason = ?4, pause_actor = ?5 \
             WHERE id = ?1",
        )?
        .execute(params![id.as_str(), pause.at_ms, pause.until_ms, pause.reason, pause.actor])?;
    Ok(changed == 1)
}

/// Gives `false` when it was not paused.
pub fn resume(conn: &Connection, id: &TaskId) -> rusqlite::Result<bool> {
    let changed = conn
        .prepare_cached(
            "UPDATE tasks SET paused_at_ms = NULL, paused_until_ms = NULL, pause_reason = NULL, \
             pause_actor = NULL WHERE id = ?1 AND paused_at_ms IS NOT NULL",
        )?
        .execute([id.as_str()])?;
    Ok(changed == 1)
}

/// Pauses whose end has come.
pub fn pauses_over(conn: &Connection, now_ms: i64) -> rusqlite::Result<Vec<TaskId>> {
    conn.prepare_cached("SELECT id FROM tasks WHERE paused_at_ms IS NOT NULL AND paused_until_ms <= ?1")?
        .query_map([now_ms], |row| id_of(&row.get::<_, String>(0)?))?
        .collect()
}

/// Tasks with a pause of their own that holds at `now_ms`.
pub fn paused_at(conn: &Connection, now_ms: i64) -> rusqlite::Result<Vec<TaskId>> {
    conn.prepare_cached(
        "SELECT id FROM tasks WHERE paused_at_ms IS NOT NULL AND coalesce(paused_until_ms > ?1, 1)",
    )?
    .query_map([now_ms], |row| id_of(&row.get::<_, String>(0)?))?
    .collect()
}

/// When what pauses a task at `now_ms` is over, its own pause and that of the whole schedule; `None` when nothing
/// does, or nothing but a person ends it.
pub fn pause_ends_ms(conn: &Connection, id: &TaskId, now_ms: i64) -> rusqlite::Result<Option<i64>> {
    let own = get(conn, id)?.and_then(|row| row.pause);
    let holding = [own, paused_all(conn)?].into_iter().flatten().filter(|pause| pause.holds_at(now_ms));
    let ends: Option<Vec<i64>> = holding.map(|pause| pause.until_ms).collect();
    Ok(ends.and_then(|ends| ends.into_iter().max()))
}

/// Pauses the whole schedule; tasks added later are held as well.
pub fn pause_all(conn: &Connection, pause: &Pause) -> rusqlite::Result<()> {
    let value = serde_json::json!({
        "at_ms": pause.at_ms, "until_ms": pause.until_ms, "reason": pause.reason, "actor": pause.actor,
    });
    conn.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('pause_all', ?1)")?
        .execute([value.to_string()])?;
    Ok(())
}

/// Ends the pause of the whole schedule; gives `false` when there was none.
pub fn resume_all(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(conn.prepare_cached("DELETE FROM meta WHERE key = 'pause_all'")?.execute([])? == 1)
}

/// The pause of the whole schedule, over or not.
pub fn paused_all(conn: &Connection) -> rusqlite::Result<Option<Pause>> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM meta WHERE key = 'pause_all'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()).map(|value| Pause {
        at_ms: value["at_ms"].as_i64().unwrap_or(0),
        until_ms: value["until_ms"].as_i64(),
        reason: value["reason"].as_str().map(str::to_owned),
        actor: value["actor"].as_str().unwrap_or_default().to_owned(),
    }))
}

fn id_of(text: &str) -> rusqlite::Result<TaskId> {
    TaskId::parse(text).map_err(|e| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, e.to_string().into())
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let paused_at: Option<i64> = row.get("paused_at_ms")?;
    let pause = match paused_at {
        Some(at_ms) => Some(Pause {
            at_ms,
            until_ms: row.get("paused_until_ms")?,
            reason: row.get("pause_reason")?,
            actor: row.get::<_, Option<String>>("pause_actor")?.unwrap_or_default(),
        }),
        None => None,
    };
    Ok(TaskRow {
        id: id_of(&row.get::<_, String>("id")?)?,
        enabled: row.get("enabled")?,
        present: row.get("present")?,
        hash: row.get("hash")?,
        schedule: row.get("schedule")?,
        covered_ms: row.get("covered_ms")?,
        pause,
    })
}
