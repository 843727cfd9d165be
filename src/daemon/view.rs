//! What the daemon shows of itself: tasks with their standing, runs, the state of the whole.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Run, RunState};
use crate::model::task::Task;
use crate::platform::process::output::{self, Chunk};
use crate::pool;
use crate::run::live::table as runs_live;
use crate::run::{history, table as runs_table};
use crate::store::StoreError;
use crate::task::due::Instants;
use crate::task::names;
use crate::task::table::{self, Pause, TaskRow};
use crate::task::{Entry, Snapshot};

use super::App;
use super::refused::Refused;
use super::reload::anchor_text;

/// Runs remembered with each task.
pub const RECENT_RUNS: u32 = 14;

/// A task as it stands.
#[derive(Debug, Clone)]
pub struct TaskView {
    pub id: TaskId,
    pub entry: Arc<Entry>,
    /// In force now; the pause of the whole schedule included.
    pub pause: Option<Pause>,
    /// When it will next run by itself.
    pub next_at: Option<Timestamp>,
    /// Its schedule has had its last instant.
    pub spent: bool,
    pub live: Option<Run>,
    /// The newest first, at most [`RECENT_RUNS`].
    pub recent: Vec<Run>,
}

impl TaskView {
    /// The definition that counts.
    #[must_use]
    pub fn definition(&self) -> Option<&Arc<Task>> {
        self.entry.definition.as_ref()
    }

    /// The newest run that ran and has ended.
    #[must_use]
    pub fn last_ended(&self) -> Option<&Run> {
        self.recent.iter().find(|run| !run.state().is_live() && has_run(run.state()))
    }

    /// Failures in a row, counted from the newest.
    #[must_use]
    pub fn failures_in_a_row(&self) -> Vec<&Run> {
        self.recent
            .iter()
            .filter(|run| !run.state().is_live() && has_run(run.state()))
            .take_while(|run| run.state().is_failure())
            .collect()
    }
}

/// Rows that merely say why nothing ran tell nothing about the task's health.
fn has_run(state: RunState) -> bool {
    match state {
        RunState::Ok
        | RunState::Failed
        | RunState::Timeout
        | RunState::Killed
        | RunState::Lost
        | RunState::Blocked
        | RunState::KillFailed => true,
        RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::NotStarted
        | RunState::Skipped
        | RunState::Missed => false,
    }
}

/// The whole on one screen.
#[derive(Debug, Clone)]
pub struct StatusView {
    pub tasks: usize,
    pub enabled: usize,
    /// Without any definition that counts.
    pub broken: usize,
    pub paused: usize,
    pub next: Option<(Timestamp, TaskId)>,
    pub live: Vec<Run>,
    /// Tasks whose last run that ended was a failure.
    pub failing: Vec<Failing>,
    pub paused_all: Option<Pause>,
    pub db_bytes: u64,
    pub wal_bytes: u64,
    pub last_backup: Option<Timestamp>,
    /// None without pools.
    pub pool: Option<pool::Counts>,
}

/// A task that fails, and for how long it has.
#[derive(Debug, Clone)]
pub struct Failing {
    pub view: TaskView,
    /// Failed runs since the last that went well.
    pub runs: u32,
    /// When the first of them ended, milliseconds since the epoch.
    pub since_ms: Option<i64>,
}

/// What the database knows of one task.
struct Rows {
    row: Option<TaskRow>,
    /// When its schedule was first seen.
    anchor_ms: Option<i64>,
    recent: Vec<Run>,
    live: Vec<Run>,
}

impl App {
    /// That there is no such task, with the one that was probably meant.
    #[must_use]
    pub fn no_task(&self, id: &TaskId) -> Refused {
        let refused = Refused::no_task(id);
        let snapshot = self.snapshot();
        match names::near(snapshot.entries.keys().map(TaskId::as_str), id.as_str()) {
            Some(near) => {
                let help = format!("did you mean `{near}`? {}", refused.help);
                Refused { help, ..refused }
            }
            None => refused,
        }
    }

    /// # Errors
    /// Only what the database says.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        self.store.read(move |conn| Ok(runs_table::get(conn, id)?)).await
    }

    /// Newest first.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn list_runs(&self, query: history::Query) -> Result<Vec<Run>, Refused> {
        let runs =
            self.store.read(move |conn| Ok::<_, StoreError>(history::table::query(conn, &query)?)).await?;
        Ok(runs)
    }

    /// Every task there is a file for, by id.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn tasks(&self) -> Result<Vec<TaskView>, StoreError> {
        let (rows, anchors, paused_all, recent, live) = self
            .store
            .read(|conn| {
                let recent = history::table::recent(conn, RECENT_RUNS)?;
                let live = runs_live::live(conn)?;
                let (rows, anchors) = (table::all(conn)?, table::anchors(conn)?);
                Ok::<_, StoreError>((rows, anchors, table::paused_all(conn)?, recent, live))
            })
            .await?;
        let mut rows: HashMap<TaskId, TaskRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let anchors: HashMap<(TaskId, String), i64> =
            anchors.into_iter().map(|(task, text, at)| ((task, text), at)).collect();
        let (mut recent, mut live) = (by_task(recent), by_task(live));
        let now_ms = self.clock.wall_ms();
        let snapshot = self.snapshot();
        Ok(snapshot
            .iter()
            .map(|(id, entry)| {
                let text = entry.definition.as_deref().map(anchor_text).unwrap_or_default();
                let rows = Rows {
                    row: rows.remove(id),
                    anchor_ms: anchors.get(&(id.clone(), text)).copied(),
                    recent: recent.remove(id).unwrap_or_default(),
                    live: live.remove(id).unwrap_or_default(),
                };
                view(id, entry, rows, paused_all.as_ref(), now_ms)
            })
            .collect())
    }

    /// One task.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn task(&self, id: &TaskId) -> Result<Option<TaskView>, StoreError> {
        let snapshot: Arc<Snapshot> = self.snapshot();
        let Some(entry) = snapshot.get(id) else { return Ok(None) };
        let (wanted, text) = (id.clone(), entry.definition.as_deref().map(anchor_text).unwrap_or_default());
        let (rows, paused_all) = self
            .store
            .read(move |conn| {
                let live = runs_live::live(conn)?;
                Ok::<_, StoreError>((rows(conn, &wanted, &text, &live)?, table::paused_all(conn)?))
            })
            .await?;
        Ok(Some(view(id, entry, rows, paused_all.as_ref(), self.clock.wall_ms())))
    }

    /// The next instants of a task at which it will run by itself, from its own anchor.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn anchor_of(&self, task: &Task) -> Result<Timestamp, StoreError> {
        let (id, text) = (task.id.clone(), anchor_text(task));
        let at =
            self.store.read(move |conn| Ok::<_, StoreError>(table::anchor_of(conn, &id, &text)?)).await?;
        Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or_else(|| self.clock.wall()))
    }

    /// # Errors
    /// Only what the database says.
    pub async fn status(&self) -> Result<StatusView, StoreError> {
        let (pool, last_backup) = (self.pools.counts().await?, self.newest_backup().await);
        let (snapshot, now_ms) = (self.snapshot(), self.clock.wall_ms());
        let seen = Arc::clone(&snapshot);
        let (live, failing, paused, paused_all) = self
            .store
            .read(move |conn| {
                let live = runs_live::live(conn)?;
                let mut failing = Vec::new();
                for id in history::table::failing(conn)? {
                    if let Some(entry) = seen.get(&id).filter(|entry| entry.enabled) {
                        let text = entry.definition.as_deref().map(anchor_text).unwrap_or_default();
                        let streak = history::table::failures_in_a_row(conn, &id)?;
                        failing.push((Arc::clone(entry), rows(conn, &id, &text, &live)?, id, streak));
                    }
                }
                let paused = table::paused_at(conn, now_ms)?;
                Ok::<_, StoreError>((live, failing, paused, table::paused_all(conn)?))
            })
            .await?;
        let failing = failing
            .into_iter()
            .map(|(entry, rows, id, (runs, since_ms))| Failing {
                view: view(&id, &entry, rows, paused_all.as_ref(), now_ms),
                runs,
                since_ms,
            })
            .filter(|failing| failing.view.last_ended().is_some_and(|run| run.state().is_failure()))
            .collect();
        let paused_all = paused_all.filter(|pause| pause.holds_at(now_ms));
        Ok(StatusView {
            tasks: snapshot.entries.len(),
            enabled: snapshot.enabled,
            broken: snapshot.broken,
            paused: match paused_all {
                // What is off is off, paused or not.
                Some(_) => snapshot.enabled,
                None => {
                    paused.iter().filter(|id| snapshot.get(id).is_some_and(|entry| entry.enabled)).count()
                }
            },
            next: self.next.borrow().clone(),
            live,
            failing,
            paused_all,
            db_bytes: self.store.size().unwrap_or(0),
            wal_bytes: self.store.wal_size().unwrap_or(0),
            last_backup: last_backup.and_then(|backup| Timestamp::from_millisecond(backup.at_ms).ok()),
            pool,
        })
    }

    /// A piece of a run's output from the raw byte `offset` on.
    ///
    /// # Errors
    /// The run's folder cannot be read.
    pub async fn read_log(&self, id: RunId, offset: u64, max: usize) -> std::io::Result<Chunk> {
        let dir = self.run_dir(id);
        on_disk(move || output::Reader::open(&dir)?.read_from(offset, max)).await
    }

    /// The last `lines` lines of a run's output, and where to read on.
    ///
    /// # Errors
    /// The run's folder cannot be read.
    pub async fn tail_log(&self, id: RunId, lines: usize) -> std::io::Result<Chunk> {
        let dir = self.run_dir(id);
        on_disk(move || output::Reader::open(&dir)?.tail(lines)).await
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

fn rows(conn: &rusqlite::Connection, id: &TaskId, text: &str, live: &[Run]) -> rusqlite::Result<Rows> {
    let task = Some(id.clone());
    let query = history::Query { task, own: true, limit: RECENT_RUNS, ..history::Query::default() };
    Ok(Rows {
        row: table::get(conn, id)?,
        anchor_ms: table::anchor_of(conn, id, text)?,
        recent: history::table::query(conn, &query)?,
        live: live.iter().filter(|run| run.task == *id).cloned().collect(),
    })
}

fn by_task(runs: Vec<Run>) -> HashMap<TaskId, Vec<Run>> {
    let mut map: HashMap<TaskId, Vec<Run>> = HashMap::new();
    for run in runs {
        map.entry(run.task.clone()).or_default().push(run);
    }
    map
}

fn view(id: &TaskId, entry: &Arc<Entry>, rows: Rows, paused_all: Option<&Pause>, now_ms: i64) -> TaskView {
    let Rows { row, anchor_ms, recent, mut live } = rows;
    let own = row.as_ref().and_then(|row| row.pause.as_ref());
    let pause = [own, paused_all].into_iter().flatten().find(|pause| pause.holds_at(now_ms)).cloned();
    let (next_at, spent) = match (&entry.definition, &row) {
        (Some(task), Some(row)) if entry.enabled => {
            next(task, row, anchor_ms.unwrap_or(row.covered_ms), pause.as_ref(), now_ms)
        }
        (Some(_) | None, _) => (None, false),
    };
    let next_at = match &entry.definition {
        Some(_) if entry.enabled => [next_at, retry_at(&recent, pause.as_ref())].into_iter().flatten().min(),
        Some(_) | None => next_at,
    };
    let at_work = live.iter().position(|run| run.waiting.is_none()).unwrap_or(0);
    let live = (!live.is_empty()).then(|| live.swap_remove(at_work));
    TaskView { id: id.clone(), entry: Arc::clone(entry), pause, next_at, spent, live, recent }
}

/// When what failed is tried again; a pause puts that off.
fn retry_at(recent: &[Run], pause: Option<&Pause>) -> Option<Timestamp> {
    let at_ms = recent.iter().filter_map(|run| run.retry_ms).min()?;
    let at_ms = match pause {
        Some(pause) => at_ms.max(pause.until_ms?),
        None => at_ms,
    };
    Timestamp::from_millisecond(at_ms).ok()
}

/// The next instant that will run: after what is covered, after now, after the pause.
fn next(
    task: &Task,
    row: &TaskRow,
    anchor_ms: i64,
    pause: Option<&Pause>,
    now_ms: i64,
) -> (Option<Timestamp>, bool) {
    let from_ms = match pause {
        Some(Pause { until_ms: None, .. }) => return (None, false),
        Some(Pause { until_ms: Some(until), .. }) => now_ms.max(*until - 1),
        None => now_ms,
    };
    let (Ok(anchor), Ok(from)) =
        (Timestamp::from_millisecond(anchor_ms), Timestamp::from_millisecond(from_ms.max(row.covered_ms)))
    else {
        return (None, false);
    };
    let next = Instants::new(task, anchor).next(from);
    (next, next.is_none() && task.schedule.is_one_shot())
}
