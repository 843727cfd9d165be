//! The rows of `alerts` and `mutes`.

#![allow(clippy::missing_errors_doc, reason = "each gives what the database says, and nothing else")]

use rusqlite::types::{FromSql, Type};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compose::HEALTH;
use crate::model::alert::{Alert, AlertId, AlertState};
use crate::model::notice::{Again, Notice, NoticeKind, Part};
use crate::model::task::Severity;

const COLUMNS: &str = "id, fingerprint, state, severity, count, first_ms, last_ms, told_ms, storm, \
     muted_until_ms, actor, resolved_ms, goods, notice, ending, kind, subject";

pub(super) fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

pub(super) fn parse_severity(name: &str) -> Option<Severity> {
    [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|s| name_of(*s) == name)
}

pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// A column that holds a word or JSON of ours.
pub(super) fn column<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl Fn(&str) -> Option<T>,
) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    parse(&text).ok_or_else(|| {
        let why = format!("`{}` is none of ours", text.chars().take(100).collect::<String>());
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, why.into())
    })
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    column(row, index, |text| serde_json::from_str(text).ok())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let state = column(row, 2, AlertState::parse)?;
    let times = (row.get(5)?, row.get(6)?);
    let (id, severity) = (AlertId(row.get(0)?), column(row, 3, parse_severity)?);
    let notice = match from_json(row, 13) {
        Ok(notice) => notice,
        Err(_) => unreadable(row, id, severity)?,
    };
    let mut alert = Alert::restore(state, id, row.get(1)?, notice, times, row.get(9)?);
    alert.severity = severity;
    alert.count = row.get(4)?;
    alert.told_ms = row.get(7)?;
    alert.storm = row.get::<_, Option<i64>>(8)?.map(AlertId);
    alert.actor = row.get(10)?;
    alert.resolved_ms = row.get(11)?;
    alert.goods = row.get(12)?;
    alert.ending = from_json(row, 14).unwrap_or_default();
    Ok(alert)
}

/// Stands for a notice that cannot be read: one damaged row must not hide the others, nor stop what they lead to.
fn unreadable(row: &Row<'_>, id: AlertId, severity: Severity) -> rusqlite::Result<Notice> {
    let kind = NoticeKind::parse(&row.get::<_, String>(15)?).unwrap_or(NoticeKind::Condition);
    let mut notice = Notice::new(kind, row.get(16)?, severity);
    notice.headline = vec![Part::Bold(format!("{}: the text of this alert is damaged", notice.subject))];
    notice.body = vec![
        Part::Text(format!("Row {} of the table alerts cannot be read. What happened: ", id.0)),
        Part::Code("lucid problems".to_owned()),
    ];
    Ok(notice)
}

/// Writes a new alert, whose number is ignored; the number it got.
pub(super) fn insert(conn: &Connection, alert: &Alert) -> rusqlite::Result<AlertId> {
    let notice = &alert.notice;
    conn.prepare_cached(
        "INSERT INTO alerts (fingerprint, kind, subject, state, severity, count, first_ms, last_ms, told_ms, \
         storm, muted_until_ms, actor, resolved_ms, goods, cause, lasts_ms, fades_ms, notice, ending) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?
    .execute(params![
        alert.fingerprint,
        notice.kind.name(),
        notice.subject,
        alert.state().name(),
        name_of(alert.severity),
        alert.count,
        alert.first_ms,
        alert.last_ms,
        alert.told_ms,
        alert.storm.map(|storm| storm.0),
        alert.muted_until_ms,
        alert.actor,
        alert.resolved_ms,
        alert.goods,
        notice.cause,
        lasts_ms(alert),
        notice.fades_ms,
        json(notice)?,
        json(&alert.ending)?,
    ])?;
    Ok(AlertId(conn.last_insert_rowid()))
}

fn lasts_ms(alert: &Alert) -> Option<i64> {
    match alert.notice.again {
        Again::Lasting => Some(alert.notice.repeat_ms),
        Again::Happening => None,
    }
}

pub(super) fn update(conn: &Connection, alert: &Alert) -> rusqlite::Result<()> {
    let notice = &alert.notice;
    conn.prepare_cached(
        "UPDATE alerts SET state = ?2, severity = ?3, count = ?4, last_ms = ?5, told_ms = ?6, storm = ?7, \
         muted_until_ms = ?8, actor = ?9, resolved_ms = ?10, goods = ?11, cause = ?12, lasts_ms = ?13, \
         fades_ms = ?14, notice = ?15, ending = ?16 WHERE id = ?1",
    )?
    .execute(params![
        alert.id.0,
        alert.state().name(),
        name_of(alert.severity),
        alert.count,
        alert.last_ms,
        alert.told_ms,
        alert.storm.map(|storm| storm.0),
        alert.muted_until_ms,
        alert.actor,
        alert.resolved_ms,
        alert.goods,
        notice.cause,
        lasts_ms(alert),
        notice.fades_ms,
        json(notice)?,
        json(&alert.ending)?,
    ])?;
    Ok(())
}

/// Its message was about its flapping.
pub(super) fn mark_flapping(conn: &Connection, id: AlertId) -> rusqlite::Result<()> {
    conn.execute("UPDATE alerts SET flapping = 1 WHERE id = ?1", [id.0]).map(|_rows| ())
}

fn one<P: rusqlite::Params>(conn: &Connection, wanted: &str, values: P) -> rusqlite::Result<Option<Alert>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE {wanted}"))?
        .query_row(values, read)
        .optional()
}

fn many<P: rusqlite::Params>(conn: &Connection, wanted: &str, values: P) -> rusqlite::Result<Vec<Alert>> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} FROM alerts WHERE {wanted}"))?
        .query_map(values, read)?
        .collect()
}

fn number<T: FromSql, P: rusqlite::Params>(conn: &Connection, sql: &str, values: P) -> rusqlite::Result<T> {
    conn.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

pub(super) fn get(conn: &Connection, id: AlertId) -> rusqlite::Result<Option<Alert>> {
    one(conn, "id = ?1", [id.0])
}

pub(super) fn open_of(conn: &Connection, fingerprint: &str) -> rusqlite::Result<Option<Alert>> {
    one(conn, "fingerprint = ?1 AND state <> 'resolved'", [fingerprint])
}

/// How grave an alert is.
pub(super) fn severity(conn: &Connection, id: AlertId) -> rusqlite::Result<Option<Severity>> {
    conn.prepare_cached("SELECT severity FROM alerts WHERE id = ?1")?
        .query_row([id.0], |row| column(row, 0, parse_severity))
        .optional()
}

/// Everything that is open about a subject; all kinds where none is named.
pub(super) fn open_about(
    conn: &Connection,
    subject: &str,
    kinds: &[NoticeKind],
) -> rusqlite::Result<Vec<Alert>> {
    let mut open = many(conn, "subject = ?1 AND state <> 'resolved' ORDER BY id", [subject])?;
    open.retain(|alert| kinds.is_empty() || kinds.contains(&alert.notice.kind));
    Ok(open)
}

/// Beginnings and ends about a subject since `since_ms`.
pub(super) fn changes(conn: &Connection, subject: &str, since_ms: i64) -> rusqlite::Result<u32> {
    number(
        conn,
        "SELECT coalesce(sum((first_ms >= ?2) + (coalesce(resolved_ms, 0) >= ?2)), 0) FROM alerts \
         WHERE subject = ?1 AND (first_ms >= ?2 OR resolved_ms >= ?2)",
        params![subject, since_ms],
    )
}

pub(super) fn flap_told(conn: &Connection, subject: &str) -> rusqlite::Result<Option<i64>> {
    number(conn, "SELECT max(told_ms) FROM alerts WHERE subject = ?1 AND flapping = 1", [subject])
}

/// Messages of their own that alerts of this severity, of kinds that fold, got since `since_ms`.
pub(super) fn fresh(conn: &Connection, severity: Severity, since_ms: i64) -> rusqlite::Result<u32> {
    let told = conn
        .prepare_cached("SELECT kind FROM alerts WHERE severity = ?1 AND told_ms >= ?2 LIMIT 1000")?
        .query_map(params![name_of(severity), since_ms], |row| column(row, 0, NoticeKind::parse))?
        .collect::<rusqlite::Result<Vec<NoticeKind>>>()?;
    Ok(u32::try_from(told.into_iter().filter(|kind| kind.folds()).count()).unwrap_or(u32::MAX))
}

/// The open fold of this severity that grew since `since_ms`; not one whose message has died and is not told anew.
pub(super) fn growing_storm(
    conn: &Connection,
    severity: Severity,
    since_ms: i64,
) -> rusqlite::Result<Option<AlertId>> {
    let mut statement = conn.prepare_cached(
        "SELECT id FROM alerts WHERE kind = 'storm' AND severity = ?1 AND state <> 'resolved' \
         AND last_ms >= ?2 AND (told_ms IS NULL OR EXISTS (SELECT 1 FROM outbox WHERE alert = alerts.id \
         AND state <> 'dead' AND purpose <> 'edit')) ORDER BY id DESC LIMIT 1",
    )?;
    statement.query_row(params![name_of(severity), since_ms], |row| row.get(0).map(AlertId)).optional()
}

/// Whether the box itself is so sick that its tasks fail, and people are told so.
pub(super) fn is_box_to_blame(conn: &Connection, fingerprint: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached(
        "SELECT 1 FROM alerts WHERE fingerprint = ?1 AND severity = 'critical' AND state = 'firing' \
         AND told_ms IS NOT NULL AND cause IS NOT NULL",
    )?
    .exists([fingerprint])
}

/// What lasts and is due to be said again; at most `limit`.
pub(super) fn due_again(conn: &Connection, now_ms: i64, limit: u32) -> rusqlite::Result<Vec<Alert>> {
    many(
        conn,
        "state <> 'resolved' AND state <> 'acked' AND severity <> 'info' AND lasts_ms IS NOT NULL \
         AND coalesce(muted_until_ms, 0) <= ?1 AND told_ms + lasts_ms <= ?1 LIMIT ?2",
        params![now_ms, limit],
    )
}

/// What goes on and was never told by itself or in a fold as grave as it is, though no mute is in the way; at most
/// `limit`.
pub(super) fn untold(conn: &Connection, now_ms: i64, limit: u32) -> rusqlite::Result<Vec<Alert>> {
    many(
        conn,
        "state IN ('firing', 'muted') AND severity <> 'info' AND told_ms IS NULL AND (storm IS NULL \
         OR severity = 'critical' AND (SELECT severity FROM alerts AS fold WHERE fold.id = alerts.storm) \
         <> 'critical') AND coalesce(muted_until_ms, 0) <= ?1 ORDER BY id LIMIT ?2",
        params![now_ms, limit],
    )
}

/// What is over because it has not happened again; at most `limit`.
pub(super) fn faded(conn: &Connection, now_ms: i64, limit: u32) -> rusqlite::Result<Vec<Alert>> {
    many(
        conn,
        "state <> 'resolved' AND fades_ms IS NOT NULL AND last_ms + fades_ms <= ?1 LIMIT ?2",
        params![now_ms, limit],
    )
}

/// What a fold holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    pub total: i64,
    pub open: i64,
    /// Subjects of the first of them, each once.
    pub subjects: Vec<String>,
    /// How many subjects there are.
    pub distinct: i64,
    /// What at least half of them have in common.
    pub cause: Option<String>,
}

pub(super) fn members(conn: &Connection, storm: AlertId, named: u32) -> rusqlite::Result<Members> {
    let (total, open, distinct): (i64, i64, i64) = conn
        .prepare_cached(
            "SELECT count(*), coalesce(sum(state <> 'resolved'), 0), count(DISTINCT subject) FROM alerts \
             WHERE storm = ?1",
        )?
        .query_row([storm.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let subjects = conn
        .prepare_cached(
            "SELECT subject FROM alerts WHERE storm = ?1 GROUP BY subject ORDER BY min(id) LIMIT ?2",
        )?
        .query_map(params![storm.0, named], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let most: Option<(String, i64)> = conn
        .prepare_cached(
            "SELECT cause, count(*) AS many FROM alerts WHERE storm = ?1 AND cause IS NOT NULL \
             GROUP BY cause ORDER BY many DESC LIMIT 1",
        )?
        .query_row([storm.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let cause = most.filter(|(_, many)| *many >= 2 && many * 2 >= total).map(|(cause, _)| cause);
    Ok(Members { total, open, subjects, distinct, cause })
}

/// What goes on in a fold and was told by nothing else.
pub(super) fn untold_in(conn: &Connection, storm: AlertId) -> rusqlite::Result<Vec<Alert>> {
    many(conn, "storm = ?1 AND state <> 'resolved' AND told_ms IS NULL", [storm.0])
}

/// Whether anything that a fold holds goes on.
pub(super) fn is_any_open_in(conn: &Connection, storm: AlertId) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM alerts WHERE storm = ?1 AND state <> 'resolved' LIMIT 1")?
        .exists([storm.0])
}

/// Whether the time alone has brought something.
pub(super) fn is_anything_due(conn: &Connection, now_ms: i64) -> rusqlite::Result<bool> {
    Ok(!due_again(conn, now_ms, 1)?.is_empty()
        || !faded(conn, now_ms, 1)?.is_empty()
        || conn.prepare_cached("SELECT 1 FROM mutes WHERE until_ms <= ?1")?.exists([now_ms])?)
}

/// Subjects of what else goes on, and how much there is.
pub(super) fn others(conn: &Connection, but: AlertId, named: u32) -> rusqlite::Result<(Vec<String>, i64)> {
    // What waits for a person is not unhealthy; a box that is degraded is not well, though that rings nobody.
    const WANTED: &str = "state <> 'resolved' AND (severity <> 'info' OR subject = ?2) AND id <> ?1 \
         AND kind NOT IN \
         ('storm', 'ticket_asks', 'ticket_stuck', 'worker_killed', 'message_expired', 'message_dead', \
          'task_missed', 'database_restored')";
    let subjects = conn
        .prepare_cached(&format!(
            "SELECT subject FROM alerts WHERE {WANTED} GROUP BY subject ORDER BY max(id) DESC LIMIT ?3"
        ))?
        .query_map(params![but.0, HEALTH, named], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let sql = format!("SELECT count(DISTINCT subject) FROM alerts WHERE {WANTED}");
    Ok((subjects, number(conn, &sql, params![but.0, HEALTH])?))
}

/// Which alerts are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Empty is all.
    pub states: Vec<AlertState>,
    /// Only numbers below this one: the keyset cursor.
    pub before: Option<AlertId>,
    pub limit: u32,
}

/// Newest first. A mute that has run out counts as firing.
pub(super) fn list(conn: &Connection, query: &Query, now_ms: i64) -> rusqlite::Result<Vec<Alert>> {
    let before = query.before.map_or(i64::MAX, |id| id.0);
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(before), Box::new(now_ms)];
    let mut wanted = "id < ?1".to_owned();
    if !query.states.is_empty() {
        wanted.push_str(
            " AND (CASE WHEN state = 'muted' AND muted_until_ms <= ?2 THEN 'firing' ELSE state END) IN (",
        );
        for state in &query.states {
            values.push(Box::new(state.name()));
            wanted.push_str(&format!("?{},", values.len()));
        }
        wanted.pop();
        wanted.push(')');
    } else {
        wanted.push_str(" AND ?2 = ?2");
    }
    wanted.push_str(&format!(" ORDER BY id DESC LIMIT {}", query.limit));
    many(conn, &wanted, params_from_iter(values))
}

/// Deletes up to `limit` alerts that were over before `before_ms` and that nothing points to any more.
pub(super) fn delete_over(conn: &Connection, before_ms: i64, limit: usize) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM alerts WHERE id IN (SELECT a.id FROM alerts a WHERE a.resolved_ms < ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE alert = a.id) \
         AND NOT EXISTS (SELECT 1 FROM alerts WHERE storm = a.id) LIMIT ?2)",
    )?
    .execute(params![before_ms, i64::try_from(limit).unwrap_or(i64::MAX)])
}

/// A row as a bad disk or another program leaves it.
#[cfg(test)]
pub(super) fn damage(conn: &Connection, id: AlertId) -> rusqlite::Result<usize> {
    conn.execute("UPDATE alerts SET notice = '{', ending = 'x' WHERE id = ?1", [id.0])
}
