//! `agents`, `usage`, `api-errors`, `dispatch/pass`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert::instant;
use super::cursor;
use super::error::ApiError;
use super::extract::{Json, Query};
use super::limits::{PAGE_DEFAULT, PAGE_MAX};
use super::state::Api;
use super::wire::{
    AgentEnabled, AgentProfile, AgentState, AgentsDocument, ApiErrorDocument, ApiErrorFilter,
    ApiErrorSummary, ApiErrorWindow, ApiErrorsDocument, PassDocument, RefusedRequest, RunUsage,
    SchemaVersion, UsageDocument, UsageFilter, WriteApiError,
};
use crate::daemon::Refused;
use crate::dispatch::ledger::{ApiError as Refusal, Usage};
use crate::dispatch::{AgentView, Shown};

/// The windows that refused requests are counted over: name and milliseconds.
const WINDOWS: [(&str, i64); 2] = [("1h", 3_600_000), ("24h", 86_400_000)];
/// Longest kind of a refused request, in bytes.
const KIND_MAX_BYTES: usize = 64;
/// Longest name of an agent or ticket that one is told of, in bytes.
const NAME_MAX_BYTES: usize = 128;

/// All agent profiles; asks each program whether it answers.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents", responses((status = 200, body = AgentsDocument)))]
pub async fn list(State(api): State<Api>) -> Result<Answer<AgentsDocument>, ApiError> {
    let agents = api.app.agents().await?.into_iter().map(profile).collect();
    Ok(Answer(AgentsDocument { schema_version: SchemaVersion::default(), agents }))
}

/// Lets a profile that rests work again.
#[utoipa::path(post, path = "/api/v1/agents/{name}/enable", tag = "agents", params(("name" = String, Path)),
    responses((status = 200, body = AgentEnabled)))]
pub async fn enable(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Answer<AgentEnabled>, ApiError> {
    let changed = api.app.enable_agent(&name).await?;
    Ok(Answer(AgentEnabled { schema_version: SchemaVersion::default(), agent: name, changed }))
}

/// Places what fits, now; what waits says why.
#[utoipa::path(post, path = "/api/v1/dispatch/pass", tag = "agents", responses((status = 200, body = PassDocument)))]
pub async fn pass(State(api): State<Api>) -> Result<Answer<PassDocument>, ApiError> {
    let passed = api.app.dispatch_pass().await.map_err(Refused::from)?;
    Ok(Answer(PassDocument {
        schema_version: SchemaVersion::default(),
        placed: u32::try_from(passed.placed).unwrap_or(u32::MAX),
        waiting: u32::try_from(passed.waiting).unwrap_or(u32::MAX),
        held: passed.held.map(str::to_owned),
    }))
}

/// What runs have used, newest first.
#[utoipa::path(get, path = "/api/v1/usage", tag = "agents", params(UsageFilter),
    responses((status = 200, body = UsageDocument)))]
pub async fn usage(
    State(api): State<Api>,
    Query(filter): Query<UsageFilter>,
) -> Result<Answer<UsageDocument>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let since_ms = filter.since.map_or(0, jiff::Timestamp::as_millisecond);
    let usage = api.app.usage(filter.ticket, since_ms, limit).await?.into_iter().map(used).collect();
    Ok(Answer(UsageDocument { schema_version: SchemaVersion::default(), usage }))
}

/// Requests that providers refused, counted over an hour and a day.
#[utoipa::path(get, path = "/api/v1/api-errors", tag = "agents", params(ApiErrorFilter),
    responses((status = 200, body = ApiErrorsDocument)))]
pub async fn api_errors(
    State(api): State<Api>,
    Query(filter): Query<ApiErrorFilter>,
) -> Result<Answer<ApiErrorsDocument>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let (windows, errors) = counted(&api, limit).await?;
    Ok(Answer(ApiErrorsDocument {
        schema_version: SchemaVersion::default(),
        windows,
        errors: errors.into_iter().map(refused).collect(),
    }))
}

/// Only the counts, over an hour and a day.
#[utoipa::path(get, path = "/api/v1/api-errors/summary", tag = "agents",
    responses((status = 200, body = ApiErrorSummary)))]
pub async fn api_error_summary(State(api): State<Api>) -> Result<Answer<ApiErrorSummary>, ApiError> {
    let (windows, _) = counted(&api, 1).await?;
    Ok(Answer(ApiErrorSummary { schema_version: SchemaVersion::default(), windows }))
}

/// The windows with their counts, and the newest `limit` of the longest.
async fn counted(api: &Api, limit: u32) -> Result<(Vec<ApiErrorWindow>, Vec<Refusal>), ApiError> {
    let now_ms = api.app.clock.wall_ms();
    let since = WINDOWS.iter().map(|(_, length_ms)| now_ms - length_ms).collect();
    let (errors, counts) = api.app.api_errors(since, limit).await?;
    let windows = WINDOWS.iter().zip(counts).map(|((name, _), by_kind)| ApiErrorWindow {
        window: (*name).to_owned(),
        total: by_kind.iter().map(|(_, count)| count).sum(),
        by_kind: by_kind.into_iter().collect(),
    });
    Ok((windows.collect(), errors))
}

/// Records a refused request that somebody else has met.
#[utoipa::path(post, path = "/api/v1/api-errors", tag = "agents", request_body = WriteApiError,
    responses((status = 201, body = ApiErrorDocument)))]
pub async fn add_api_error(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Json(new): Json<WriteApiError>,
) -> Result<(StatusCode, Answer<ApiErrorDocument>), ApiError> {
    if new.kind.trim().is_empty() || new.kind.len() > KIND_MAX_BYTES {
        return Err(ApiError::invalid("kind", format!("a kind has 1 to {KIND_MAX_BYTES} bytes")));
    }
    for (field, name) in [("agent", &new.agent), ("ticket", &new.ticket)] {
        if name.as_ref().is_some_and(|name| name.len() > NAME_MAX_BYTES) {
            return Err(ApiError::invalid(field, format!("a name has at most {NAME_MAX_BYTES} bytes")));
        }
    }
    // Whoever shows a run's token speaks for that run and nobody else.
    let (run, own) = match &caller {
        Caller::Run(caller) => (Some(caller.run), caller.work.as_ref().map(|work| work.ticket.to_string())),
        Caller::Peer(_) => (None, None),
    };
    let error = Refusal {
        at_ms: api.app.clock.wall_ms(),
        kind: new.kind,
        agent: new.agent,
        ticket: own.or(new.ticket),
        run,
        status: new.status,
        message: new.message,
    };
    api.app.add_api_error(error.clone()).await?;
    let document = ApiErrorDocument { schema_version: SchemaVersion::default(), error: refused(error) };
    Ok((StatusCode::CREATED, Answer(document)))
}

fn profile(view: AgentView) -> AgentProfile {
    AgentProfile {
        name: view.name,
        dialect: view.dialect.name().to_owned(),
        command: view.command,
        state: match view.shown {
            Shown::Ready => AgentState::Ready,
            Shown::Busy => AgentState::Busy,
            Shown::Cooled => AgentState::Cooled,
            Shown::Disabled => AgentState::Disabled,
            Shown::Missing => AgentState::Missing,
        },
        busy: view.busy,
        max_parallel: view.max_parallel,
        cooled_until: view.cooled_until_ms.map(instant),
        reason: view.reason,
        version: view.version,
    }
}

fn used(usage: Usage) -> RunUsage {
    RunUsage {
        run: usage.run.0,
        ticket: usage.ticket,
        task: usage.task,
        agent: usage.agent,
        model: usage.model,
        input_tokens: usage.tokens.input,
        output_tokens: usage.tokens.output,
        cache_read_tokens: usage.tokens.cache_read,
        cache_write_tokens: usage.tokens.cache_write,
        cost_source: usage.cost_usd.as_ref().map(|_| "provider".to_owned()),
        cost_usd: usage.cost_usd,
        at: instant(usage.at_ms),
    }
}

fn refused(error: Refusal) -> RefusedRequest {
    RefusedRequest {
        at: instant(error.at_ms),
        kind: error.kind,
        agent: error.agent,
        ticket: error.ticket,
        run: error.run.map(|run| run.0),
        status: error.status,
        message: error.message,
    }
}
