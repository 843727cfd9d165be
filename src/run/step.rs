//! The transactions that take a run one step further, short of its end.
//!
//! Everything here runs inside the caller's transaction and has no effect but rows and events; the time is a value.

use serde_json::json;

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::RunId;
use crate::model::run::{Run, Step, StopReason};
use crate::platform::failpoint;
use crate::run::{RunError, table};
use crate::store::Tx;

/// Records that `run` has begun, with whom `run` names as its keeper: before its gate is opened. `None`: the row has
/// moved on, and the gate is to fall shut.
///
/// # Errors
/// What the database says, and a run that cannot begin.
pub fn start(
    tx: &Tx<'_>,
    journal: &Journal,
    mut run: Run,
    token_hash: &[u8],
    now_ms: i64,
) -> Result<Option<Run>, RunError> {
    failpoint::hit("run.record_start.before")?;
    let from = run.state();
    run.step(Step::Start)?;
    run.started_ms = Some(now_ms);
    if !table::update(tx, &run, from)? {
        return Ok(None);
    }
    table::set_token(tx, run.id, token_hash)?;
    let late_ms = run.scheduled_ms.map(|at| now_ms - at);
    let event = Event::new(EventKind::RunStarted)
        .task(&run.task)
        .run(run.id)
        .data(json!({"attempt": run.attempt, "late_ms": late_ms}));
    journal.record(tx, now_ms, event)?;
    Ok(Some(run))
}

/// Takes a step that ends nothing and writes it with its event. `None`: the row has moved on.
///
/// # Errors
/// Only what the database says.
pub fn take(
    tx: &Tx<'_>,
    journal: &Journal,
    id: RunId,
    (step, kind, reason): (Step, EventKind, Option<StopReason>),
    now_ms: i64,
) -> Result<Option<Run>, RunError> {
    let Some(mut run) = table::get(tx, id)? else { return Ok(None) };
    let from = run.state();
    if run.step(step).is_err() {
        return Ok(None);
    }
    run.waiting = None;
    if reason.is_some() {
        run.stop_reason = reason;
    }
    if !table::update(tx, &run, from)? {
        return Ok(None);
    }
    if !run.state().is_live() {
        table::drop_locks(tx, run.id)?;
    }
    let data = json!({"reason": reason.map(StopReason::name)});
    journal.record(tx, now_ms, Event::new(kind).task(&run.task).run(run.id).data(data))?;
    Ok(Some(run))
}
