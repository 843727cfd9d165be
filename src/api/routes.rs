//! The table of routes: every method and path with the right it asks for.
//!
//! A route that is not in it cannot be reached: `auth` denies what it does not find here. A test
//! holds it to the OpenAPI document, which the handlers' own declarations make.

use axum::http::Method;

use super::auth::Right;

/// Answered whatever else is going on.
pub const HEALTHZ: &str = "/healthz";

const TABLE: [(Method, &str, Right); 35] = [
    (Method::GET, HEALTHZ, Right::Alive),
    (Method::GET, "/readyz", Right::Read),
    (Method::GET, "/metrics", Right::Read),
    (Method::GET, "/api/health", Right::Read),
    (Method::GET, "/api/v1/openapi.json", Right::Read),
    (Method::GET, "/api/v1/status", Right::Read),
    (Method::GET, "/api/v1/health", Right::Read),
    (Method::GET, "/api/v1/problems", Right::Read),
    (Method::GET, "/api/v1/tasks", Right::Read),
    (Method::GET, "/api/v1/tasks/{id}", Right::Read),
    (Method::PATCH, "/api/v1/tasks/{id}", Right::EditTasks),
    (Method::POST, "/api/v1/tasks/{id}/runs", Right::RunTasks),
    (Method::GET, "/api/v1/tasks/{id}/next", Right::Read),
    (Method::GET, "/api/v1/tasks/{id}/why", Right::Read),
    (Method::POST, "/api/v1/tasks/{id}/pause", Right::PauseTasks),
    (Method::POST, "/api/v1/tasks/{id}/resume", Right::PauseTasks),
    (Method::POST, "/api/v1/pause", Right::PauseTasks),
    (Method::POST, "/api/v1/resume", Right::PauseTasks),
    (Method::POST, "/api/v1/schedule/preview", Right::Read),
    (Method::GET, "/api/v1/runs", Right::Read),
    (Method::GET, "/api/v1/runs/{id}", Right::Read),
    (Method::GET, "/api/v1/runs/{id}/log", Right::Read),
    (Method::GET, "/api/v1/runs/{id}/stream", Right::Read),
    (Method::POST, "/api/v1/runs/{id}/kill", Right::StopRuns),
    (Method::POST, "/api/v1/runs/{id}/retry", Right::RunTasks),
    (Method::GET, "/api/v1/activity", Right::Read),
    (Method::GET, "/api/v1/stream", Right::Read),
    (Method::GET, "/api/v1/logs", Right::Read),
    (Method::POST, "/api/v1/check", Right::Read),
    (Method::POST, "/api/v1/reload", Right::Reload),
    (Method::POST, "/api/v1/drain", Right::Drain),
    (Method::POST, "/api/v1/undrain", Right::Drain),
    (Method::POST, "/api/v1/stop", Right::Stop),
    (Method::POST, "/api/v1/backup", Right::Backup),
    (Method::GET, "/api/v1/config", Right::ReadConfig),
];

/// The right that `method` on the route `path` asks for; `None` when there is no such route.
#[must_use]
pub fn right(method: &Method, path: &str) -> Option<Right> {
    // What may be read may be asked about.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(m, p, _)| m == method && *p == path).map(|(_, _, right)| *right)
}
