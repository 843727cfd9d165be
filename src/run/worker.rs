//! Runs of tickets: their rows come from dispatch and not from a schedule.
//!
//! The task named in such a row is the one that allows dispatch at all; its state is looked at in the same
//! transaction, so that disabling it holds from that moment on.

use serde_json::json;

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::run::{Run, RunState, Trigger};
use crate::run::RunError;
use crate::run::flight::Gates;
use crate::run::table::{self, Extras};
use crate::store::Tx;

/// A worker wants a run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The task whose action is the dispatch.
    pub switch: TaskId,
    pub ticket: TicketId,
    pub attempt: u32,
    /// As people may see it.
    pub argv: Vec<String>,
    pub now_ms: i64,
}

/// What became of it.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "looked at once and dropped")]
pub enum Claim {
    Go(Run),
    /// Nothing is dispatched now, and why.
    Off(&'static str),
    /// A worker lives.
    Taken(RunId),
}

/// Why nothing is dispatched, if so.
///
/// # Errors
/// Only what the database says.
pub fn held_back(
    conn: &rusqlite::Connection,
    switch: &TaskId,
    gates: Gates,
    now_ms: i64,
) -> rusqlite::Result<Option<&'static str>> {
    let standing = table::standing(conn, switch, now_ms)?;
    Ok(match standing {
        None => Some("disabled"),
        Some(standing) if !standing.enabled || !standing.present => Some("disabled"),
        Some(standing) if standing.paused => Some("paused"),
        Some(_) if gates.draining => Some("draining"),
        Some(_) => None,
    })
}

/// Writes the row of a worker's run under its ticket's key.
///
/// # Errors
/// Only what the database says.
pub fn claim(tx: &Tx<'_>, journal: &Journal, gates: Gates, request: &Request) -> Result<Claim, RunError> {
    if let Some(reason) = held_back(tx, &request.switch, gates, request.now_ms)? {
        return Ok(Claim::Off(reason));
    }
    let flight_key = format!("ticket:{}", request.ticket);
    if let Some(holder) = table::holder(tx, &flight_key)? {
        return Ok(Claim::Taken(holder.id));
    }
    let mut run = Run::new(RunId(0), request.switch.clone(), Trigger::Event, RunState::Claimed);
    run.ticket = Some(request.ticket.to_string());
    run.attempt = request.attempt;
    "dispatch".clone_into(&mut run.actor);
    run.claimed_ms = request.now_ms;
    run.fence = table::next_fence(tx)?;
    let extras = Extras { flight_key, argv: request.argv.clone(), counted: false, ..Extras::default() };
    run.id = table::insert(tx, &run, &extras)?;
    let event = Event::new(EventKind::RunClaimed)
        .task(&run.task)
        .run(run.id)
        .ticket(&request.ticket)
        .actor("dispatch")
        .data(json!({"trigger": run.trigger.name()}));
    journal.record(tx, request.now_ms, event)?;
    Ok(Claim::Go(run))
}
