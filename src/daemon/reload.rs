//! Brings files, registry, database and tick to one state: what the files say now is what counts,
//! as soon as the transaction that says so is durable.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};

use crate::model::event::{Event, EventKind};
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::platform::failpoint;
use crate::run::RunError;
use crate::store::Tx;
use crate::task::agenda::Standing;
use crate::task::due::{CORRECTION_MS, Instants};
use crate::task::registry::Text;
use crate::task::table::{self, Seen};
use crate::task::{Change, Entry, Registry, Snapshot};

use super::App;
use super::message::ToTick;
use super::message::answer;

/// Why the files could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("reading the task files: {0}")]
    Read(String),
    #[error(transparent)]
    Store(#[from] RunError),
}

impl App {
    /// Reads what has changed on disk and makes it count.
    ///
    /// # Errors
    /// When the folder cannot be read or the database does not take it; what counted before still does.
    pub async fn reload(&self, actor: &str) -> Result<Change, ReloadError> {
        let _turn = self.reloading.lock().await;
        let now_ms = self.clock.wall_ms();
        failpoint::hit("reload.read").map_err(|fault| ReloadError::Read(fault.to_string()))?;
        let Files { change, snapshot, texts } = self.read_files(now_ms).await?;
        *self.tasks.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&snapshot);
        // A write that failed last time is made up for, whatever the files say now.
        if change.is_empty() && texts.is_empty() && self.synced.load(Ordering::Acquire) {
            return Ok(change);
        }
        self.synced.store(false, Ordering::Release);
        let (journal, actor) = (self.journal.clone(), actor.to_owned());
        let all = {
            let (snapshot, texts) = (Arc::clone(&snapshot), texts.clone());
            self.store
                .write(move |tx| -> Result<Vec<Standing>, RunError> {
                    failpoint::hit("reload.write")?;
                    for event in take_over(tx, &snapshot, &texts, now_ms)? {
                        journal.record(tx, now_ms, event.actor(&actor))?;
                    }
                    Ok(standings(table::all(tx)?, table::anchors(tx)?, &snapshot))
                })
                .await?
        };
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).saved(&texts);
        failpoint::pass("reload.tell");
        answer(self, ToTick::Synced(all));
        self.synced.store(true, Ordering::Release);
        log(&change);
        tokio::spawn(rest_later(self.clone()));
        Ok(change)
    }

    /// Whether what counts is what the files say, as far as a glance tells.
    pub async fn is_current(&self) -> bool {
        let now_ms = self.clock.wall_ms();
        self.synced.load(Ordering::Acquire)
            && self.with_registry(move |registry| registry.glance(now_ms)).await.is_ok_and(|is_news| !is_news)
    }

    /// What the files say now, and for those broken since an earlier daemon's days what they said when they were
    /// good.
    async fn read_files(&self, now_ms: i64) -> Result<Files, ReloadError> {
        let (change, orphans) = self
            .with_registry(move |registry| {
                let change = registry.reload(now_ms);
                let orphans = registry.orphans(&change);
                (change, orphans)
            })
            .await?;
        let kept = if orphans.is_empty() {
            Vec::new()
        } else {
            self.store.read(move |conn| Ok::<_, RunError>(table::kept(conn, &orphans)?)).await?
        };
        self.with_registry(move |registry| {
            if !kept.is_empty() {
                registry.revive(kept, now_ms);
            }
            Files { change, snapshot: registry.snapshot(), texts: registry.unsaved() }
        })
        .await
    }

    /// Reads files and parses them, so it runs where waiting is allowed.
    async fn with_registry<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Registry) -> T + Send + 'static,
    ) -> Result<T, ReloadError> {
        let registry = Arc::clone(&self.registry);
        tokio::task::spawn_blocking(move || {
            work(&mut registry.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .map_err(|e| ReloadError::Read(e.to_string()))
    }
}

/// The task files as they were just read.
struct Files {
    change: Change,
    snapshot: Arc<Snapshot>,
    /// Of good files, where the database holds another.
    texts: Vec<Text>,
}

/// What a later daemon needs to know of files that are broken, or will be.
fn keep_texts(tx: &Tx<'_>, snapshot: &Snapshot, texts: &[Text]) -> rusqlite::Result<()> {
    for text in texts {
        table::keep(tx, text)?;
    }
    let marks = table::broken_since(tx)?;
    for (id, entry) in snapshot.iter() {
        let mark = marks.get(id).copied();
        if entry.definition.is_some() && entry.stale_since != mark {
            table::set_broken_since(tx, id, entry.stale_since)?;
        }
    }
    Ok(())
}

/// Reading files leaves holes in the heap; the tick is done with its part by then.
async fn rest_later(app: App) {
    tokio::time::sleep(REST_AFTER).await;
    app.drop_conditions().await;
    super::housekeeping::rest(&app).await;
}

/// From the end of a reload to the return of what it used.
const REST_AFTER: Duration = Duration::from_secs(1);

/// The text whose first sighting anchors the schedule.
#[must_use]
pub fn anchor_text(task: &Task) -> String {
    task.schedule.texts().collect::<Vec<_>>().join("; ")
}

/// What the agenda is to know of all tasks, from what the database holds of them.
#[must_use]
pub fn standings(
    rows: Vec<table::TaskRow>,
    anchors: Vec<(TaskId, String, i64)>,
    snapshot: &Snapshot,
) -> Vec<Standing> {
    let anchors: HashMap<(TaskId, String), i64> =
        anchors.into_iter().map(|(task, schedule, at)| ((task, schedule), at)).collect();
    rows.into_iter()
        .filter_map(|row| {
            let entry = snapshot.get(&row.id)?;
            let task = entry.definition.clone()?;
            let key = (row.id.clone(), anchor_text(&task));
            Some(Standing {
                anchor_ms: anchors.get(&key).copied().unwrap_or(row.covered_ms),
                covered_ms: row.covered_ms,
                expired: entry.expired,
                enabled: entry.enabled,
                task,
            })
        })
        .collect()
}

/// Rows for every task of the snapshot that differs from what the database holds, and `texts` kept. Gives what
/// happened: by the database alone, so that what came about while no daemon was there, or while nothing could be
/// written, is told late and not never.
///
/// # Errors
/// Only what the database says.
pub fn take_over(
    tx: &Tx<'_>,
    snapshot: &Snapshot,
    texts: &[Text],
    now_ms: i64,
) -> rusqlite::Result<Vec<Event>> {
    // Marks that a clock which was wrong has left in the future would silence their tasks until then.
    table::uncover(tx, now_ms, now_ms.saturating_add(CORRECTION_MS))?;
    let rows: HashMap<TaskId, table::TaskRow> =
        table::all(tx)?.into_iter().map(|row| (row.id.clone(), row)).collect();
    let marks = table::broken_since(tx)?;
    keep_texts(tx, snapshot, texts)?;
    let mut turns = Vec::new();
    for (id, entry) in snapshot.iter() {
        let seen = seen(id, entry);
        let row = rows.get(id).filter(|row| row.present);
        turns.extend(turned(&seen, entry, row, marks.contains_key(id)).map(|kind| (kind, id)));
        let known = row.is_some_and(|row| {
            row.enabled == seen.enabled && row.hash == seen.hash && row.schedule == seen.schedule
        });
        if known {
            continue;
        }
        let from_ms = match &entry.definition {
            Some(task) if task.schedule.is_one_shot() => Some(one_shot_from(tx, task, rows.get(id), now_ms)?),
            Some(_) | None => None,
        };
        table::see(tx, &Seen { from_ms, ..seen }, now_ms)?;
        if let Some(task) = &entry.definition {
            table::anchor(tx, id, &anchor_text(task), now_ms)?;
        }
    }
    for (id, row) in &rows {
        if row.present && !snapshot.hides(id) && snapshot.get(id).is_none() {
            table::forget(tx, id)?;
            turns.push((EventKind::TaskRemoved, id));
        }
    }
    Ok(events(&turns))
}

/// What happened to one task since its row was written; `is_marked` where that says that its file is worse.
fn turned(
    seen: &Seen,
    entry: &Entry,
    row: Option<&table::TaskRow>,
    is_marked: bool,
) -> impl Iterator<Item = EventKind> {
    // What never was good has no hash.
    let was_broken = row.is_some_and(|row| is_marked || row.hash.is_empty());
    let is_on = row.is_some_and(|row| row.enabled);
    [
        (row.is_none(), EventKind::TaskAdded),
        (row.is_some_and(|row| !seen.hash.is_empty() && row.hash != seen.hash), EventKind::TaskChanged),
        (entry.is_broken() && !was_broken, EventKind::TaskBroken),
        (!entry.is_broken() && was_broken, EventKind::TaskMended),
        (row.is_some() && seen.enabled && !is_on, EventKind::TaskEnabled),
        (row.is_some() && !seen.enabled && is_on, EventKind::TaskDisabled),
    ]
    .into_iter()
    .filter_map(|(is_so, kind)| is_so.then_some(kind))
}

fn seen(id: &TaskId, entry: &Entry) -> Seen {
    match &entry.definition {
        Some(task) => Seen {
            id: id.clone(),
            enabled: entry.enabled,
            from_ms: None,
            hash: task.hash.to_string(),
            schedule: format!(
                "{}|{}|{}",
                anchor_text(task),
                task.settings.zone.name(),
                task.settings.jitter.as_millis()
            ),
        },
        // A file that never parsed has no instants.
        None => Seen {
            id: id.clone(),
            enabled: false,
            from_ms: None,
            hash: entry.hash().map(|hash| hash.to_string()).unwrap_or_default(),
            schedule: String::new(),
        },
    }
}

/// From when the instants of a one-shot are counted: what has passed by the time its text is first seen, or while
/// it was switched off, is a misfire with a row of its own. Other edits never arm it again; one whose file was gone
/// is another one.
fn one_shot_from(
    tx: &Tx<'_>,
    task: &Task,
    row: Option<&table::TaskRow>,
    now_ms: i64,
) -> rusqlite::Result<i64> {
    if row.is_some_and(|row| !row.present) {
        table::unanchor(tx, &task.id)?;
    }
    match (table::anchor_of(tx, &task.id, &anchor_text(task))?, row) {
        (Some(_), Some(row)) => Ok(row.covered_ms),
        (None, _) | (Some(_), None) => {
            let anchor = Timestamp::from_millisecond(now_ms).unwrap_or(Timestamp::UNIX_EPOCH);
            let first = Instants::new(task, anchor).next(Timestamp::UNIX_EPOCH);
            Ok(first.map_or(now_ms, |first| now_ms.min(first.as_millisecond() - 1)))
        }
    }
}

/// Kind by kind. What happens to many at once is one fact, not ten thousand; where it ends something, it names whose.
fn events(turns: &[(EventKind, &TaskId)]) -> Vec<Event> {
    /// Most events of one kind that one reload records singly, and most tasks that one event names.
    const EACH_MAX: usize = 100;
    const KINDS: [EventKind; 7] = [
        EventKind::TaskAdded,
        EventKind::TaskChanged,
        EventKind::TaskRemoved,
        EventKind::TaskBroken,
        EventKind::TaskMended,
        EventKind::TaskEnabled,
        EventKind::TaskDisabled,
    ];
    let mut events = Vec::new();
    for kind in KINDS {
        let ids: Vec<&TaskId> = turns.iter().filter(|(other, _)| *other == kind).map(|(_, id)| *id).collect();
        if ids.len() <= EACH_MAX {
            events.extend(ids.iter().map(|id| Event::new(kind).task(id)));
        } else if matches!(kind, EventKind::TaskRemoved | EventKind::TaskMended) {
            events.extend(ids.chunks(EACH_MAX).map(|part| {
                let tasks: Vec<&str> = part.iter().map(|id| id.as_str()).collect();
                Event::new(kind).data(json!({"count": part.len(), "tasks": tasks}))
            }));
        } else {
            events.push(Event::new(kind).data(json!({"count": ids.len()})));
        }
    }
    events
}

fn log(change: &Change) {
    for id in &change.broken {
        warn!(task = %id, "its file has errors: `lucid check` shows them");
    }
    let counts = [change.added.len(), change.changed.len(), change.removed.len()];
    info!(
        added = counts[0],
        changed = counts[1],
        removed = counts[2],
        broken = change.broken.len(),
        "read the task files"
    );
}
