//! Runs: `runs`, `runs/{id}`, `kill`, `retry`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};
use jiff::Timestamp;

use super::auth::Caller;
use super::convert;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::{Json, NoBody, Query, RunPath};
use super::limits::{PAGE_DEFAULT, PAGE_MAX};
use super::state::Api;
use super::wire::{KillRun, RunDocument, RunFilter, RunPage, SchemaVersion};
use crate::daemon::Refused;
use crate::model::ids::{RunId, TaskId};
use crate::model::run::{Run, RunState};
use crate::run::history;

/// The ledger, newest first: what ran, and what did not and why.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunFilter), responses((status = 200, body = RunPage)))]
pub async fn list(
    State(api): State<Api>,
    Query(filter): Query<RunFilter>,
) -> Result<Answer<RunPage>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let task = filter.task.as_deref().map(TaskId::parse).transpose();
    let task = task.map_err(|cause| ApiError::invalid("invalid_query", cause.to_string()))?;
    let before = filter.cursor.as_deref().map(|word| cursor::decode_number(List::Runs, word)).transpose()?;
    let wanted = task.clone();
    let query = history::Query {
        own: false,
        task,
        states: filter.state.as_deref().map(states).transpose()?.unwrap_or_default(),
        trigger: None,
        since_ms: filter.since.map(Timestamp::as_millisecond),
        before: before.map(RunId),
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    let mut runs = api.app.list_runs(query).await?;
    if let (true, Some(task)) = (runs.is_empty(), wanted) {
        known(&api, task).await?;
    }
    let has_more = runs.len() > limit as usize;
    runs.truncate(limit as usize);
    let next_cursor = match runs.last() {
        Some(last) if has_more => Some(cursor::encode(List::Runs, &last.id.0.to_string())),
        Some(_) | None => None,
    };
    let now_ms = api.app.clock.wall_ms();
    let runs = runs.iter().map(|run| convert::run(run, now_ms)).collect();
    Ok(Answer(RunPage { schema_version: SchemaVersion::default(), runs, next_cursor }))
}

/// Tells a task of which nothing fits the question from one that never was.
async fn known(api: &Api, task: TaskId) -> Result<(), ApiError> {
    if api.app.snapshot().get(&task).is_some() {
        return Ok(());
    }
    let any = history::Query { task: Some(task.clone()), limit: 1, ..history::Query::default() };
    match api.app.list_runs(any).await?.is_empty() {
        true => Err(api.app.no_task(&task).into()),
        false => Ok(()),
    }
}

/// States by name, `failing` and `live` for several.
fn states(text: &str) -> Result<Vec<RunState>, ApiError> {
    let mut wanted = Vec::new();
    for name in text.split(',').map(str::trim) {
        match name {
            "failing" => wanted.extend(RunState::ALL.into_iter().filter(|state| state.is_failure())),
            "live" => wanted.extend(RunState::ALL.into_iter().filter(|state| state.is_live())),
            name => wanted.push(RunState::parse(name).ok_or_else(|| {
                let names: Vec<&str> = RunState::ALL.into_iter().map(RunState::name).collect();
                ApiError::invalid("invalid_query", format!("`{name}` is no state of a run"))
                    .help(format!("states are {}, failing, live", names.join(", ")))
            })?),
        }
    }
    Ok(wanted)
}

/// One row of the ledger.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = RunDocument)))]
pub async fn show(State(api): State<Api>, RunPath(id): RunPath) -> Result<Answer<RunDocument>, ApiError> {
    Ok(Answer(document(&api, &find(&api, id).await?)))
}

/// The row of a run.
///
/// # Errors
/// 404 when there is none.
pub async fn find(api: &Api, id: RunId) -> Result<Run, ApiError> {
    let run = api.app.run(id).await.map_err(anyhow::Error::from)?;
    run.ok_or_else(|| ApiError::from(Refused::no_run(id)))
}

fn document(api: &Api, run: &Run) -> RunDocument {
    RunDocument { schema_version: SchemaVersion::default(), run: convert::run(run, api.app.clock.wall_ms()) }
}

/// Asks a run to end: SIGTERM, its grace, SIGKILL. Answers when that is recorded.
#[utoipa::path(post, path = "/api/v1/runs/{id}/kill", tag = "runs", params(("id" = i64, Path)),
    request_body = KillRun, responses((status = 200, body = RunDocument)))]
pub async fn kill(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    Json(wish): Json<KillRun>,
) -> Result<Answer<RunDocument>, ApiError> {
    let grace = wish.grace_ms.map(Duration::from_millis);
    let run = api.app.kill_run(id, &caller.actor(), grace).await?;
    Ok(Answer(document(&api, &run)))
}

/// Runs the task of an ended run once more, for the same due instant.
#[utoipa::path(post, path = "/api/v1/runs/{id}/retry", tag = "runs", params(("id" = i64, Path)),
    responses((status = 202, body = RunDocument)))]
pub async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RunPath(id): RunPath,
    NoBody: NoBody,
) -> Result<impl IntoResponse, ApiError> {
    let run = api.app.retry_run(id, &caller.actor(), None).await?;
    let location = format!("/api/v1/runs/{}", run.id.0);
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], Answer(document(&api, &run))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_by_name_and_by_kind() {
        assert_eq!(states("ok, lost").unwrap(), [RunState::Ok, RunState::Lost]);
        assert!(states("live").unwrap().iter().all(|state| state.is_live()));
        assert!(states("failing").unwrap().contains(&RunState::Timeout));
        assert_eq!(states("fine").unwrap_err().status(), 422);
        assert_eq!(states("").unwrap_err().status(), 422);
    }
}
