//! The daemon as a whole: `reload`, `drain`, `undrain`, `stop`, `backup`, `config`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};
use serde_json::Value;

use super::auth::Caller;
use super::convert;
use super::error::ApiError;
use super::extract::NoBody;
use super::state::Api;
use super::wire::{
    Backup, BackupDocument, ConfigValue, Drained, EffectiveConfig, Reloaded, SchemaVersion, Severity,
    Stopping,
};
use crate::daemon::Drift;
use crate::model::ids::TaskId;
use crate::model::run::Run;

/// Reads the task files again. What has errors is told, and does not count.
#[utoipa::path(post, path = "/api/v1/reload", tag = "daemon", responses((status = 200, body = Reloaded)))]
pub async fn reload(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<Answer<Reloaded>, ApiError> {
    let change = api.app.reload(&caller.actor()).await.map_err(anyhow::Error::from)?;
    let (refused, restart) = match api.app.drift_now().await? {
        Drift::None => (Vec::new(), Vec::new()),
        Drift::Settings(lines) => (Vec::new(), lines),
        Drift::Refused(errors) => (convert::refused_settings(&errors), Vec::new()),
    };
    let snapshot = api.app.snapshot();
    let rejected = snapshot.diagnostics().map(convert::diagnostic);
    let names = |ids: &[TaskId]| ids.iter().map(ToString::to_string).collect();
    Ok(Answer(Reloaded {
        schema_version: SchemaVersion::default(),
        added: names(&change.added),
        changed: names(&change.changed),
        removed: names(&change.removed),
        rejected: rejected.filter(|found| found.severity == Severity::Error).chain(refused).collect(),
        restart,
    }))
}

/// Starts nothing new until `undrain` or a restart; what runs goes on.
#[utoipa::path(post, path = "/api/v1/drain", tag = "daemon", responses((status = 200, body = Drained)))]
pub async fn drain(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<Answer<Drained>, ApiError> {
    let live = api.app.drain(&caller.actor()).await?;
    Ok(Answer(Drained { schema_version: SchemaVersion::default(), draining: true, running: numbers(&live) }))
}

/// Starts new runs again.
#[utoipa::path(post, path = "/api/v1/undrain", tag = "daemon", responses((status = 200, body = Drained)))]
pub async fn undrain(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<Answer<Drained>, ApiError> {
    let live = api.app.undrain(&caller.actor()).await?;
    Ok(Answer(Drained { schema_version: SchemaVersion::default(), draining: false, running: numbers(&live) }))
}

/// Ends the daemon and its runs, each within its grace. Answers when that is decided.
#[utoipa::path(post, path = "/api/v1/stop", tag = "daemon", responses((status = 202, body = Stopping)))]
pub async fn stop(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<(StatusCode, Answer<Stopping>), ApiError> {
    let live = api.app.stop(&caller.actor()).await?;
    let stopping = Stopping {
        schema_version: SchemaVersion::default(),
        pid: std::process::id(),
        running: numbers(&live),
    };
    Ok((StatusCode::ACCEPTED, Answer(stopping)))
}

fn numbers(runs: &[Run]) -> Vec<i64> {
    runs.iter().map(|run| run.id.0).collect()
}

/// Copies the database while it is in use, opens the copy and checks it.
#[utoipa::path(post, path = "/api/v1/backup", tag = "daemon", responses((status = 200, body = BackupDocument)))]
pub async fn backup(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    NoBody: NoBody,
) -> Result<Answer<BackupDocument>, ApiError> {
    let made = api.app.backup(&caller.actor()).await?;
    let backup = Backup {
        path: made.path.display().to_string(),
        bytes: made.bytes,
        sha256: made.sha256,
        verified_at: convert::instant(made.verified_at_ms),
    };
    Ok(Answer(BackupDocument { schema_version: SchemaVersion::default(), backup }))
}

/// Every setting with its value and where that comes from.
#[utoipa::path(get, path = "/api/v1/config", tag = "daemon", responses((status = 200, body = EffectiveConfig)))]
pub async fn config(State(api): State<Api>) -> Answer<EffectiveConfig> {
    let settings = api.app.config.effective().iter();
    let value = settings.map(|setting| ConfigValue {
        key: setting.key.clone(),
        value: Value::String(setting.shown().into_owned()),
        source: setting.source.to_string(),
    });
    Answer(EffectiveConfig { schema_version: SchemaVersion::default(), config: value.collect() })
}
