//! What the daemon shows of itself: tasks with their standing, runs, the state of the whole.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Run, RunState};
use crate::model::task::Task;
use crate::platform::process::output::{self, Chunk};
use crate::run::{history, table as runs_table};
use crate::store::{self, StoreError};
use crate::task::due::Instants;
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
    pub failing: Vec<TaskView>,
    pub paused_all: Option<Pause>,
    pub db_bytes: u64,
    pub wal_bytes: u64,
    pub last_backup: Option<Timestamp>,
}

struct Rows {
    tasks: HashMap<TaskId, TaskRow>,
    anchors: HashMap<(TaskId, String), i64>,
    paused_all: Option<Pause>,
}

impl App {
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
        let (rows, mut recent, live) = self
            .store
            .read(|conn| {
                let recent = history::table::recent(conn, RECENT_RUNS)?;
                Ok::<_, StoreError>((rows(conn)?, by_task(recent), by_task(runs_table::live(conn)?)))
            })
            .await?;
        let now_ms = self.clock.wall_ms();
        let snapshot = self.snapshot();
        Ok(snapshot
            .iter()
            .map(|(id, entry)| {
                let recent = recent.remove(id).unwrap_or_default();
                view(id, entry, &rows, recent, live.get(id), now_ms)
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
        let wanted = id.clone();
        let (rows, recent, live) = self
            .store
            .read(move |conn| {
                let query =
                    history::Query { task: Some(wanted), limit: RECENT_RUNS, ..history::Query::default() };
                let recent = history::table::query(conn, &query)?;
                let live = by_task(runs_table::live(conn)?);
                Ok::<_, StoreError>((rows(conn)?, recent, live))
            })
            .await?;
        Ok(Some(view(id, entry, &rows, recent, live.get(id), self.clock.wall_ms())))
    }

    /// The next instants of a task at which it will run by itself, from its own anchor.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn anchor_of(&self, task: &Task) -> Result<Timestamp, StoreError> {
        let (id, text) = (task.id.clone(), anchor_text(task));
        let anchors = self.store.read(|conn| Ok::<_, StoreError>(table::anchors(conn)?)).await?;
        let at = anchors.into_iter().find(|(task, schedule, _)| *task == id && *schedule == text);
        Ok(at
            .and_then(|(_, _, at)| Timestamp::from_millisecond(at).ok())
            .unwrap_or_else(|| self.clock.wall()))
    }

    /// # Errors
    /// Only what the database says.
    pub async fn status(&self) -> Result<StatusView, StoreError> {
        let (live, rows) =
            self.store.read(|conn| Ok::<_, StoreError>((runs_table::live(conn)?, rows(conn)?))).await?;
        let failing_ids = self.store.read(|conn| Ok::<_, StoreError>(history::table::failing(conn)?)).await?;
        let mut failing = Vec::new();
        for id in failing_ids {
            if let Some(view) = self.task(&id).await?
                && view.last_ended().is_some_and(|run| run.state().is_failure())
                && view.entry.enabled
            {
                failing.push(view);
            }
        }
        let snapshot = self.snapshot();
        let now_ms = self.clock.wall_ms();
        let paused_all = rows.paused_all.clone().filter(|pause| pause.holds_at(now_ms));
        let is_paused = |id: &TaskId| {
            rows.tasks.get(id).and_then(|row| row.pause.as_ref()).is_some_and(|p| p.holds_at(now_ms))
        };
        Ok(StatusView {
            tasks: snapshot.iter().count(),
            enabled: snapshot.iter().filter(|(_, entry)| entry.enabled).count(),
            broken: snapshot.iter().filter(|(_, entry)| entry.definition.is_none()).count(),
            paused: snapshot.iter().filter(|(id, _)| paused_all.is_some() || is_paused(id)).count(),
            next: self.next.borrow().clone(),
            live,
            failing,
            paused_all,
            db_bytes: self.store.size().unwrap_or(0),
            wal_bytes: self.store.wal_size().unwrap_or(0),
            last_backup: self.last_backup(),
        })
    }

    fn last_backup(&self) -> Option<Timestamp> {
        let newest = store::backup::list(&self.config.backup.dir).ok()?.into_iter().map(|b| b.at_ms).max()?;
        Timestamp::from_millisecond(newest).ok()
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

fn rows(conn: &rusqlite::Connection) -> rusqlite::Result<Rows> {
    Ok(Rows {
        tasks: table::all(conn)?.into_iter().map(|row| (row.id.clone(), row)).collect(),
        anchors: table::anchors(conn)?.into_iter().map(|(task, text, at)| ((task, text), at)).collect(),
        paused_all: table::paused_all(conn)?,
    })
}

fn by_task(runs: Vec<Run>) -> HashMap<TaskId, Vec<Run>> {
    let mut map: HashMap<TaskId, Vec<Run>> = HashMap::new();
    for run in runs {
        map.entry(run.task.clone()).or_default().push(run);
    }
    map
}

fn view(
    id: &TaskId,
    entry: &Arc<Entry>,
    rows: &Rows,
    recent: Vec<Run>,
    live: Option<&Vec<Run>>,
    now_ms: i64,
) -> TaskView {
    let row = rows.tasks.get(id);
    let own = row.and_then(|row| row.pause.clone()).filter(|pause| pause.holds_at(now_ms));
    let pause = own.or_else(|| rows.paused_all.clone().filter(|pause| pause.holds_at(now_ms)));
    let (next_at, spent) = match (&entry.definition, row) {
        (Some(task), Some(row)) if entry.enabled => next(task, row, rows, pause.as_ref(), now_ms),
        (Some(_) | None, _) => (None, false),
    };
    let live = live.and_then(|runs| runs.iter().find(|run| run.waiting.is_none()).or(runs.first()).cloned());
    TaskView { id: id.clone(), entry: Arc::clone(entry), pause, next_at, spent, live, recent }
}

/// The next instant that will run: after what is covered, after now, after the pause.
fn next(
    task: &Task,
    row: &TaskRow,
    rows: &Rows,
    pause: Option<&Pause>,
    now_ms: i64,
) -> (Option<Timestamp>, bool) {
    let anchor_ms =
        rows.anchors.get(&(task.id.clone(), anchor_text(task))).copied().unwrap_or(row.covered_ms);
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
