//! How the daemon is: `status`, `problems`, and the probes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::state::Api;
use super::wire::{
    Database, Failing, Finding, OutboxSummary, PlainHealth, PoolSummary, Problems, Ready, ReadyCheck,
    Scheduler, SchemaVersion, Status,
};
use super::{convert, convert_health, wire};
use crate::alert::outbox::Waiting;
use crate::daemon::problems::{Finding as Found, Grave};
use crate::daemon::{HealthView, StatusView, service};
use crate::pool;

/// Answers as long as the process does; looks at nothing.
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the scheduler ticks and the database takes a write; 503 when not.
#[utoipa::path(get, path = "/readyz", tag = "probes",
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub async fn readyz(State(api): State<Api>) -> Response {
    let looked = service::check(&api.app).await;
    let leaving = api.app.shutdown.token.is_cancelled();
    let checks = vec![
        ReadyCheck {
            name: "daemon".to_owned(),
            ok: !leaving,
            detail: if leaving { "going down" } else { "up" }.to_owned(),
        },
        ReadyCheck {
            name: "scheduler_and_database".to_owned(),
            ok: looked.is_ok(),
            detail: looked
                .err()
                .unwrap_or_else(|| "the scheduler ticks, the database takes writes".to_owned()),
        },
    ];
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // Not an error but an answer: a probe reads the checks, not a problem document.
    (status, axum::Json(Ready { schema_version: SchemaVersion::default(), ready, checks })).into_response()
}

/// The old probe's question, answered in its own words.
#[utoipa::path(get, path = "/api/health", tag = "probes", responses((status = 200, body = PlainHealth)))]
pub async fn plain_health(State(api): State<Api>) -> Result<axum::Json<PlainHealth>, ApiError> {
    let (_, health) = found(&api).await?;
    let status = convert_health::state(health.state);
    Ok(axum::Json(PlainHealth { schema_version: SchemaVersion::default(), status }))
}

/// The whole on one screen.
#[utoipa::path(get, path = "/api/v1/status", tag = "daemon", responses((status = 200, body = Status)))]
pub async fn status(State(api): State<Api>) -> Result<axum::Json<Status>, ApiError> {
    let (view, health) = found(&api).await?;
    let outbox = match api.app.config.telegram.token_file {
        Some(_) => Some(api.app.alerts.waiting().await.map_err(anyhow::Error::from)?),
        None => None,
    };
    Ok(axum::Json(document(&api, &view, &health, outbox)))
}

/// Only what is wrong, the gravest first, each with the command that mends it.
#[utoipa::path(get, path = "/api/v1/problems", tag = "daemon", responses((status = 200, body = Problems)))]
pub async fn problems(State(api): State<Api>) -> Result<axum::Json<Problems>, ApiError> {
    let (_, health) = found(&api).await?;
    let problems = health.findings.iter().map(finding).collect();
    Ok(axum::Json(Problems { schema_version: SchemaVersion::default(), problems }))
}

async fn found(api: &Api) -> Result<(StatusView, HealthView), ApiError> {
    let view = api.app.status().await.map_err(anyhow::Error::from)?;
    let health = api.app.health(&view).await?;
    Ok((view, health))
}

fn pool_summary(counts: pool::Counts) -> PoolSummary {
    let pool::Counts { slots, free, quarantined } = counts;
    PoolSummary { slots, free, leased: slots - free - quarantined, quarantined }
}

fn document(api: &Api, view: &StatusView, health: &HealthView, outbox: Option<Waiting>) -> Status {
    let now_ms = api.app.clock.wall_ms();
    let (next_at, next_task) = view.next.clone().unzip();
    Status {
        schema_version: SchemaVersion::default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        host: api.app.host.clone(),
        timezone: api.app.config.zone.name().to_owned(),
        started_at: api.app.started,
        uptime_ms: api.app.uptime_ms(),
        health: convert_health::state(health.state),
        health_since: health.since_ms.map(convert::instant),
        draining: api.app.runs.gates().draining,
        scheduler: Scheduler {
            tasks: count(view.tasks),
            enabled: count(view.enabled),
            broken: count(view.broken),
            paused: count(view.paused),
            running: count(view.live.len()),
            next_at,
            next_task: next_task.map(|task| task.to_string()),
        },
        database: Database {
            bytes: view.db_bytes,
            wal_bytes: view.wal_bytes,
            last_backup_at: view.last_backup,
        },
        pool: view.pool.map(pool_summary),
        outbox: outbox.map(|waiting| OutboxSummary {
            pending: u32::try_from(waiting.pending).unwrap_or(0),
            oldest_age_ms: waiting.oldest_ms.map(|at| (now_ms - at).max(0)),
        }),
        running: view.live.iter().map(|run| convert::run(run, now_ms)).collect(),
        failing: view
            .failing
            .iter()
            .map(|failing| Failing {
                task: failing.view.id.to_string(),
                failures: failing.runs,
                since: failing.since_ms.map(convert::instant),
                last_run: failing.view.last_ended().map(|run| convert::run(run, now_ms)),
            })
            .collect(),
        problems: health.findings.iter().map(finding).collect(),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn finding(found: &Found) -> Finding {
    wire::Finding {
        id: found.id.clone(),
        severity: match found.grave {
            Grave::Critical => "critical",
            Grave::Warning => "warning",
            Grave::Info => "info",
        }
        .to_owned(),
        subject: found.subject.clone(),
        text: found.text.clone(),
        since: found.since_ms.map(convert::instant),
        fix: found.fix.clone(),
    }
}
