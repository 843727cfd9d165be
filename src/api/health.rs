//! `health`: what is well and what is not, and the reports of those who look from outside.

use axum::Json as Answer;
use axum::extract::State;

use super::convert_health as convert;
use super::error::ApiError;
use super::extract::{Json, Query};
use super::state::Api;
use super::wire::{Health, HealthQuery, ReportHealth, ReportTokens, SchemaVersion, Tokens};

/// Everything that is looked at, good or bad.
#[utoipa::path(get, path = "/api/v1/health", tag = "daemon", params(HealthQuery),
    responses((status = 200, body = Health)))]
pub async fn health(
    State(api): State<Api>,
    Query(query): Query<HealthQuery>,
) -> Result<Answer<Health>, ApiError> {
    let status = api.app.status().await.map_err(anyhow::Error::from)?;
    let view = match query.run {
        None | Some(0) => api.app.health(&status).await?,
        Some(1) => api.app.look_at_health(&status).await?,
        Some(_) => return Err(ApiError::invalid("invalid_query", "`run` is 0 or 1")),
    };
    Ok(Answer(convert::health(view)))
}

/// Writes a heartbeat down: what it has seen, and what the daemon sees itself. Tells whoever is to be told.
#[utoipa::path(post, path = "/api/v1/health", tag = "daemon", request_body = ReportHealth,
    responses((status = 200, body = Health)))]
pub async fn report(
    State(api): State<Api>,
    Json(report): Json<ReportHealth>,
) -> Result<Answer<Health>, ApiError> {
    let outside = report.checks.into_iter().map(convert::seen).collect();
    Ok(Answer(convert::health(api.app.report_health(outside).await?)))
}

/// The logins that are looked after, as they were found last.
#[utoipa::path(get, path = "/api/v1/health/tokens", tag = "daemon", responses((status = 200, body = Tokens)))]
pub async fn tokens(State(api): State<Api>) -> Result<Answer<Tokens>, ApiError> {
    let tokens = api.app.logins().await?.into_iter().map(convert::token).collect();
    Ok(Answer(Tokens { schema_version: SchemaVersion::default(), tokens }))
}

/// Writes down how logins were found; one that needs a person becomes that person's ticket.
#[utoipa::path(post, path = "/api/v1/health/tokens", tag = "daemon", request_body = ReportTokens,
    responses((status = 200, body = Tokens)))]
pub async fn report_tokens(
    State(api): State<Api>,
    Json(report): Json<ReportTokens>,
) -> Result<Answer<Tokens>, ApiError> {
    let reports = report.tokens.into_iter().map(convert::found).collect();
    let tokens = api.app.report_logins(reports).await?.into_iter().map(convert::token).collect();
    Ok(Answer(Tokens { schema_version: SchemaVersion::default(), tokens }))
}
