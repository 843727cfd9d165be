//! The table of routes: every method and path with the right it asks for.
//!
//! A route that is not in it cannot be reached: `auth` denies what it does not find here. A test
//! holds it to the OpenAPI document, which the handlers' own declarations make.

use axum::http::Method;

use super::auth::Right;

/// Answered whatever else is going on.
pub const HEALTHZ: &str = "/healthz";

const TABLE: [(Method, &str, Right); 78] = [
    (Method::GET, HEALTHZ, Right::Alive),
    (Method::GET, "/readyz", Right::Read),
    (Method::GET, "/metrics", Right::Read),
    (Method::GET, "/api/health", Right::Read),
    (Method::GET, "/api/v1/openapi.json", Right::Read),
    (Method::GET, "/api/v1/status", Right::Read),
    (Method::GET, "/api/v1/health", Right::Read),
    (Method::POST, "/api/v1/health", Right::ReportHealth),
    (Method::GET, "/api/v1/health/tokens", Right::Read),
    (Method::POST, "/api/v1/health/tokens", Right::ReportHealth),
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
    (Method::GET, "/api/v1/pool", Right::Read),
    (Method::POST, "/api/v1/pool/{name}/heal", Right::HealPools),
    (Method::GET, "/api/v1/agents", Right::Read),
    (Method::POST, "/api/v1/agents/{name}/enable", Right::Dispatch),
    (Method::GET, "/api/v1/usage", Right::Read),
    (Method::GET, "/api/v1/api-errors", Right::Read),
    (Method::POST, "/api/v1/api-errors", Right::TellErrors),
    (Method::GET, "/api/v1/api-errors/summary", Right::Read),
    (Method::POST, "/api/v1/dispatch/pass", Right::Dispatch),
    (Method::GET, "/api/v1/alerts", Right::Read),
    (Method::POST, "/api/v1/alerts/test", Right::TendAlerts),
    (Method::POST, "/api/v1/alerts/{id}/ack", Right::TendAlerts),
    (Method::POST, "/api/v1/alerts/{id}/mute", Right::TendAlerts),
    (Method::POST, "/api/v1/alerts/{id}/unmute", Right::TendAlerts),
    (Method::POST, "/api/v1/upkeep/{name}", Right::Upkeep),
    (Method::GET, "/api/v1/brief", Right::Read),
    (Method::POST, "/api/v1/syncs", Right::Upkeep),
    (Method::GET, "/api/v1/tickets", Right::Read),
    (Method::POST, "/api/v1/tickets", Right::WriteTickets),
    (Method::GET, "/api/v1/tickets/{id}", Right::ReadTicket),
    (Method::PATCH, "/api/v1/tickets/{id}", Right::WriteTickets),
    (Method::POST, "/api/v1/tickets/{id}/dispatch", Right::WriteTickets),
    (Method::GET, "/api/v1/tickets/{id}/comments", Right::ReadTicket),
    (Method::POST, "/api/v1/tickets/{id}/comments", Right::WorkOnTicket),
    (Method::POST, "/api/v1/tickets/{id}/ask", Right::WorkOnTicket),
    (Method::POST, "/api/v1/tickets/{id}/report", Right::WorkOnTicket),
    (Method::GET, "/api/v1/tickets/{id}/events", Right::ReadTicket),
    (Method::POST, "/api/v1/tickets/{id}/events", Right::WorkOnTicket),
    (Method::GET, "/api/v1/tickets/{id}/stream", Right::ReadTicket),
    (Method::GET, "/api/v1/tickets/{id}/context", Right::ReadTicket),
    (Method::POST, "/api/v1/tickets/{id}/context", Right::WorkOnTicket),
    (Method::DELETE, "/api/v1/tickets/{id}/context/{ctx_id}", Right::WorkOnTicket),
    (Method::GET, "/api/v1/tickets/{id}/messages", Right::ReadTicket),
    (Method::POST, "/api/v1/tickets/{id}/messages", Right::WriteTickets),
    (Method::GET, "/api/v1/messages", Right::Read),
    (Method::POST, "/api/v1/messages/{id}/claim", Right::WorkOnTicket),
    (Method::POST, "/api/v1/messages/{id}/ack", Right::WorkOnTicket),
    (Method::POST, "/api/v1/messages/{id}/fail", Right::WorkOnTicket),
    (Method::POST, "/api/v1/messages/{id}/retry", Right::WriteTickets),
    (Method::DELETE, "/api/v1/messages/{id}", Right::WriteTickets),
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

/// Every route, for those who have to try them all.
pub fn all() -> impl Iterator<Item = (&'static Method, &'static str, Right)> {
    TABLE.iter().map(|(method, path, right)| (method, *path, *right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_and_the_handlers_are_the_same() {
        let named: BTreeSet<String> = all().map(|(method, path, _)| format!("{method} {path}")).collect();
        assert_eq!(named.len(), TABLE.len(), "a route stands twice in the table");
        let mut handled = BTreeSet::new();
        for (path, item) in crate::api::router::document().paths.paths {
            for (method, operation) in [
                ("GET", item.get),
                ("POST", item.post),
                ("PATCH", item.patch),
                ("PUT", item.put),
                ("DELETE", item.delete),
            ] {
                if operation.is_some() {
                    handled.insert(format!("{method} {path}"));
                }
            }
        }
        assert_eq!(named, handled);
    }

    #[test]
    fn what_is_not_in_the_table_has_no_right() {
        assert_eq!(right(&Method::HEAD, HEALTHZ), Some(Right::Alive));
        assert_eq!(right(&Method::DELETE, "/api/v1/tasks/{id}"), None);
        assert_eq!(right(&Method::GET, "/api/v1/secrets"), None);
    }
}
