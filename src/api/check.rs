//! Questions about texts: what is wrong with a task file, when a schedule is due. Nothing is kept.

use std::path::Path;

use axum::Json as Answer;
use axum::extract::State;

use super::convert;
use super::cursor;
use super::error::ApiError;
use super::extract::Json;
use super::limits::{FIRES_DEFAULT, FIRES_MAX};
use super::state::Api;
use super::wire::{CheckFile, Checked, FieldError, Fires, PreviewSchedule, SchemaVersion};
use crate::daemon;
use crate::model::ids::TaskId;
use crate::model::schedule::{self, Schedule, Zone};
use crate::task::{self, Parsed};

/// Name of a text that comes without one.
const UNNAMED: &str = "tasks/task.md";

/// The remarks on a task file's text, or on every file that the daemon reads.
#[utoipa::path(post, path = "/api/v1/check", tag = "check", request_body = CheckFile,
    responses((status = 200, body = Checked)))]
pub async fn check(State(api): State<Api>, Json(wish): Json<CheckFile>) -> Result<Answer<Checked>, ApiError> {
    let Some(text) = wish.text else {
        if wish.path.is_some() {
            return Err(ApiError::invalid(
                "invalid_body",
                "`path` only names a `text`; no file is read by it",
            ));
        }
        let snapshot = api.app.snapshot();
        return Ok(Answer(convert::checked(snapshot.diagnostics(), snapshot.files)));
    };
    let path = wish.path.as_deref().unwrap_or(UNNAMED);
    let rules = daemon::rules(&api.app.config);
    let found = match task::parse(&id_of(path)?, Path::new(path), text.as_bytes(), &rules) {
        Parsed::NotATask(remark) => remark.into_iter().collect(),
        Parsed::Task { diagnostics, .. } => diagnostics,
    };
    Ok(Answer(convert::checked(&found, 1)))
}

fn id_of(path: &str) -> Result<TaskId, ApiError> {
    let name = path.strip_suffix(".md").unwrap_or(path);
    let name = name.split_once("tasks/").map_or(name, |(_, below)| below);
    TaskId::parse(name.trim_start_matches('/')).map_err(|cause| {
        ApiError::invalid("invalid_body", cause.to_string()).at(FieldError {
            pointer: "/path".to_owned(),
            column: None,
            message: cause.why.to_owned(),
            help: None,
        })
    })
}

/// When a schedule would be due, whatever tasks there are.
#[utoipa::path(post, path = "/api/v1/schedule/preview", tag = "check", request_body = PreviewSchedule,
    responses((status = 200, body = Fires)))]
pub async fn preview(
    State(api): State<Api>,
    Json(wish): Json<PreviewSchedule>,
) -> Result<Answer<Fires>, ApiError> {
    let n = cursor::page_size(wish.n, FIRES_DEFAULT, FIRES_MAX, "n")?;
    let zone = match &wish.timezone {
        Some(name) => Zone::parse(name).map_err(|cause| {
            place(
                ApiError::invalid("invalid_timezone", cause.to_string()),
                "/timezone",
                None,
                &cause.to_string(),
                "",
            )
        })?,
        None => api.app.config.zone.clone(),
    };
    let schedule = Schedule::parse(&[wish.schedule.as_str()]).map_err(|cause| {
        let error = ApiError::invalid("invalid_schedule", cause.to_string());
        let column = wish.schedule.get(..cause.column).map_or(0, |before| before.chars().count());
        let column = u32::try_from(column + 1).ok();
        place(error, "/schedule", column, &cause.message, &cause.help)
    })?;
    let from = wish.at.unwrap_or_else(|| api.app.clock.wall());
    let fires = schedule::preview(&schedule, &zone, from, from, n as usize);
    Ok(Answer(Fires {
        schema_version: SchemaVersion::default(),
        fires: fires.into_iter().map(convert::fire).collect(),
        human: Some(schedule.describe(&zone)),
        timezone: Some(zone.name().to_owned()),
        note: schedule.remark(),
    }))
}

fn place(error: ApiError, pointer: &str, column: Option<u32>, message: &str, help: &str) -> ApiError {
    error.at(FieldError {
        pointer: pointer.to_owned(),
        column,
        message: message.to_owned(),
        help: (!help.is_empty()).then(|| help.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_the_id_below_the_tasks_folder() {
        assert_eq!(id_of("tasks/sub/x.md").unwrap().as_str(), "sub/x");
        assert_eq!(id_of("/etc/lucid/tasks/x.md").unwrap().as_str(), "x");
        assert_eq!(id_of("x").unwrap().as_str(), "x");
        assert_eq!(id_of("tasks/X.md").unwrap_err().status(), 422);
    }
}
