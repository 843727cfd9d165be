//! What a worker's token is for: its own ticket, and nothing else.

use super::auth::{Caller, Right};
use super::error::ApiError;
use crate::model::ids::TicketId;
use crate::ticket::Worker;

const TICKETS: &str = "/api/v1/tickets/";
const TICKET_ROUTE: &str = "/api/v1/tickets/{id}";

/// A worker reads and works on its own ticket; which that is, [`hold`] looks up in the path.
///
/// # Errors
/// 403
pub fn may(worker: &Worker, right: Right) -> Result<(), ApiError> {
    match right {
        Right::Alive | Right::ReadTicket | Right::WorkOnTicket | Right::TellErrors => Ok(()),
        Right::Read
        | Right::RunTasks
        | Right::StopRuns
        | Right::PauseTasks
        | Right::EditTasks
        | Right::Reload
        | Right::Drain
        | Right::Stop
        | Right::ReadConfig
        | Right::Backup
        | Right::HealPools
        | Right::Dispatch
        | Right::TendAlerts
        | Right::ReportHealth
        | Right::Upkeep
        | Right::WriteTickets => Err(refusal(worker)),
    }
}

#[must_use]
pub fn refusal(worker: &Worker) -> ApiError {
    ApiError::forbidden(format!("the token of run {} is for {} and nothing else", worker.run, worker.ticket))
        .help("a worker writes events, comments, files, questions and its report to its own ticket")
}

/// Holds a worker to its own ticket on every path below `tickets/{id}`.
///
/// # Errors
/// 403
pub fn hold(caller: &Caller, matched: &str, path: &str) -> Result<(), ApiError> {
    let Some(worker) = caller.worker() else { return Ok(()) };
    if !matched.starts_with(TICKET_ROUTE) {
        return Ok(());
    }
    let segment = path.strip_prefix(TICKETS).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    match segment.parse::<TicketId>() {
        Ok(id) if id == worker.ticket => Ok(()),
        Ok(_) | Err(_) => Err(refusal(worker)),
    }
}
