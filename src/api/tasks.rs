//! Tasks: `tasks`, `tasks/{id}` and what can be done with one.

use std::collections::HashSet;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::{Json, NoBody, Query, TaskPath};
use super::idempotency::RequestKey;
use super::limits::{FIRES_DEFAULT, FIRES_MAX, TASK_PAGE_MAX};
use super::state::Api;
use super::wire::{
    Fires, LineEdit, NextQuery, PauseTask, RunDocument, SchemaVersion, StartRun, Task, TaskDocument,
    TaskEdited, TaskFilter, TaskPage, TaskPatch, TaskState, TasksChanged, Why, WhyQuery,
};
use crate::daemon::{ManualRun, PauseFor, Refused, TaskView};
use crate::model::ids::TaskId;

/// All tasks by id, good or not.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(TaskFilter),
    responses((status = 200, body = TaskPage)))]
pub async fn list(
    State(api): State<Api>,
    Query(filter): Query<TaskFilter>,
) -> Result<Answer<TaskPage>, ApiError> {
    let limit = cursor::page_size(filter.limit, TASK_PAGE_MAX, TASK_PAGE_MAX, "limit")?;
    let after = filter.cursor.as_deref().map(|word| cursor::decode(List::Tasks, word)).transpose()?;
    let states = filter.state.as_deref().map(task_states).transpose()?;
    let views = api.app.tasks().await.map_err(anyhow::Error::from)?;
    let now_ms = api.app.clock.wall_ms();
    let mut wanted = views
        .iter()
        .filter(|view| after.as_deref().is_none_or(|after| view.id.as_str() > after))
        .map(|view| convert::task(view, now_ms))
        .filter(|task| states.as_ref().is_none_or(|states| states.contains(&task.state)))
        .filter(|task| filter.tag.as_ref().is_none_or(|tag| task.tags.contains(tag)))
        .filter(|task| filter.q.as_deref().is_none_or(|part| mentions(task, part)));
    let tasks: Vec<Task> = wanted.by_ref().take(limit as usize).collect();
    let next_cursor = match (wanted.next(), tasks.last()) {
        (Some(_), Some(last)) => Some(cursor::encode(List::Tasks, &last.id)),
        (_, _) => None,
    };
    let errors = api.app.snapshot().files_with_errors();
    Ok(Answer(TaskPage {
        schema_version: SchemaVersion::default(),
        tasks,
        next_cursor,
        files_with_errors: u32::try_from(errors).unwrap_or(u32::MAX),
    }))
}

fn task_states(text: &str) -> Result<HashSet<TaskState>, ApiError> {
    let read = |name: &str| {
        serde_json::from_value(serde_json::Value::from(name.trim())).map_err(|_| {
            ApiError::invalid("invalid_query", format!("`{}` is no state of a task", name.trim()))
                .help("states are running, broken, off, paused, failing, done, manual, new, ok")
        })
    };
    text.split(',').map(read).collect()
}

fn mentions(task: &Task, part: &str) -> bool {
    let part = part.to_lowercase();
    [&task.id, &task.name, &task.description].iter().any(|text| text.to_lowercase().contains(&part))
}

/// One task with every setting that a run of it goes by.
#[utoipa::path(get, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path, description = "`/` is written `%2F`")),
    responses((status = 200, body = TaskDocument)))]
pub async fn show(State(api): State<Api>, TaskPath(id): TaskPath) -> Result<Answer<TaskDocument>, ApiError> {
    document(&api, &id).await.map(Answer)
}

async fn view(api: &Api, id: &TaskId) -> Result<TaskView, ApiError> {
    let view = api.app.task(id).await.map_err(anyhow::Error::from)?;
    view.ok_or_else(|| ApiError::from(api.app.no_task(id)))
}

async fn document(api: &Api, id: &TaskId) -> Result<TaskDocument, ApiError> {
    let view = view(api, id).await?;
    Ok(TaskDocument {
        schema_version: SchemaVersion::default(),
        task: convert::task(&view, api.app.clock.wall_ms()),
        settings: view.definition().map(|task| convert::settings(task)),
    })
}

/// Switches a task on or off by rewriting the one line of its file that says so.
#[utoipa::path(patch, path = "/api/v1/tasks/{id}", tag = "tasks", params(("id" = String, Path)),
    request_body = TaskPatch, responses((status = 200, body = TaskEdited)))]
pub async fn patch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TaskPath(id): TaskPath,
    Json(patch): Json<TaskPatch>,
) -> Result<Answer<TaskEdited>, ApiError> {
    let edit = api.app.set_enabled(&id, patch.enabled, &caller.actor()).await?;
    let view = view(&api, &id).await?;
    let file = view.entry.file.display().to_string();
    Ok(Answer(TaskEdited {
        schema_version: SchemaVersion::default(),
        task: convert::task(&view, api.app.clock.wall_ms()),
        edit: edit.map(|edit| LineEdit { file, line: edit.line, before: edit.before, after: edit.after }),
    }))
}

/// Runs a task now. Answers when the run has its row, not when it has ended.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/runs", tag = "tasks", params(("id" = String, Path)),
    request_body = StartRun, responses((status = 202, body = RunDocument)))]
pub async fn start(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    key: Option<Extension<RequestKey>>,
    TaskPath(id): TaskPath,
    Json(wish): Json<StartRun>,
) -> Result<impl IntoResponse, ApiError> {
    let manual = ManualRun {
        force: wish.force,
        env: wish.env.into_iter().collect(),
        actor: caller.actor(),
        request_key: key.map(|Extension(RequestKey(key))| key),
    };
    let run = api.app.run_now(&id, manual).await?;
    let document = RunDocument {
        schema_version: SchemaVersion::default(),
        run: convert::run(&run, api.app.clock.wall_ms()),
    };
    let location = format!("/api/v1/runs/{}", run.id.0);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Answer(document)))
}

/// The next due instants, whether or not the task is switched on or paused.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/next", tag = "tasks", params(("id" = String, Path), NextQuery),
    responses((status = 200, body = Fires)))]
pub async fn next(
    State(api): State<Api>,
    TaskPath(id): TaskPath,
    Query(query): Query<NextQuery>,
) -> Result<Answer<Fires>, ApiError> {
    let n = cursor::page_size(query.n, FIRES_DEFAULT, FIRES_MAX, "n")?;
    let view = view(&api, &id).await?;
    let task = view.definition().ok_or_else(|| ApiError::from(Refused::broken(&id)))?;
    let anchor = api.app.anchor_of(task).await.map_err(anyhow::Error::from)?;
    let from = query.at.unwrap_or_else(|| api.app.clock.wall());
    let until_ms =
        query.for_ms.map(|ms| from.as_millisecond().saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
    let fires = task.coming(anchor, from, n as usize);
    Ok(Answer(Fires {
        schema_version: SchemaVersion::default(),
        fires: fires
            .into_iter()
            .take_while(|fire| until_ms.is_none_or(|until| fire.at.as_millisecond() <= until))
            .map(convert::fire)
            .collect(),
        human: Some(task.schedule.describe(&task.settings.zone)),
        timezone: Some(task.settings.zone.name().to_owned()),
        note: task.remark(view.entry.enabled, view.pause.is_some()),
    }))
}

/// Why a task ran or did not run, from the ledger.
#[utoipa::path(get, path = "/api/v1/tasks/{id}/why", tag = "tasks", params(("id" = String, Path), WhyQuery),
    responses((status = 200, body = Why)))]
pub async fn why(
    State(api): State<Api>,
    TaskPath(id): TaskPath,
    Query(query): Query<WhyQuery>,
) -> Result<Answer<Why>, ApiError> {
    let why = api.app.why(&id, query.at).await?;
    let now_ms = api.app.clock.wall_ms();
    Ok(Answer(Why {
        schema_version: SchemaVersion::default(),
        task: why.task.to_string(),
        at: why.at,
        answer: why.answer,
        row: why.row.map(|run| convert::run(&run, now_ms)),
    }))
}

fn pause_for(wish: PauseTask, caller: &Caller) -> PauseFor {
    PauseFor { for_: wish.for_ms.map(Duration::from_millis), reason: wish.reason, actor: caller.actor() }
}

/// Lets no due instant of a task run until it is resumed, or for a time. Touches no file.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/pause", tag = "tasks", params(("id" = String, Path)),
    request_body = PauseTask, responses((status = 200, body = TaskDocument)))]
pub async fn pause(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TaskPath(id): TaskPath,
    Json(wish): Json<PauseTask>,
) -> Result<Answer<TaskDocument>, ApiError> {
    api.app.pause(Some(&id), pause_for(wish, &caller)).await?;
    document(&api, &id).await.map(Answer)
}

/// Ends a pause; without one it changes nothing.
#[utoipa::path(post, path = "/api/v1/tasks/{id}/resume", tag = "tasks", params(("id" = String, Path)),
    responses((status = 200, body = TaskDocument)))]
pub async fn resume(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TaskPath(id): TaskPath,
    NoBody: NoBody,
) -> Result<Answer<TaskDocument>, ApiError> {
    api.app.resume(Some(&id), &caller.actor()).await?;
    document(&api, &id).await.map(Answer)
}

/// Pauses the whole schedule.
#[utoipa::path(post, path = "/api/v1/pause", tag = "tasks", request_body = PauseTask,
    responses((status = 200, body = TasksChanged)))]
pub async fn pause_all(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<PauseTask>,
) -> Result<Answer<TasksChanged>, ApiError> {
    api.app.pause(None, pause_for(wish, &caller)).await?;
    Ok(Answer(changed(&api)))
}

/// Ends the pause of the whole schedule; tasks that are paused by themselves stay so.
#[utoipa::path(post, path = "/api/v1/resume", tag = "tasks", responses((status = 200, body = TasksChanged)))]
pub async fn resume_all(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<Answer<TasksChanged>, ApiError> {
    let resumed = api.app.resume(None, &caller.actor()).await?;
    let mut answer = changed(&api);
    if !resumed {
        answer.changed.clear();
    }
    Ok(Answer(answer))
}

/// Whom a pause of the whole schedule concerns: every task that is on.
fn changed(api: &Api) -> TasksChanged {
    let snapshot = api.app.snapshot();
    let on = snapshot.entries.iter().filter(|(_, entry)| entry.enabled);
    TasksChanged {
        schema_version: SchemaVersion::default(),
        changed: on.map(|(id, _)| id.to_string()).collect(),
    }
}
