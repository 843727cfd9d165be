//! Single flight: who may start, who waits, who is turned away, each with its row in the ledger.
//!
//! Every function here runs inside the caller's transaction and has no effect but rows and events.

use std::sync::Arc;

use serde_json::json;

use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::{Fence, RunId};
use crate::model::run::{Run, RunState, Step, StopReason, Trigger, Waiting};
use crate::model::task::{Kind, Overlap, Task};
use crate::platform::failpoint;
use crate::run::RunError;
use crate::run::live;
use crate::run::stop;
use crate::run::table::{self, Extras};
use crate::store::Tx;

/// What the daemon allows at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Gates {
    pub max_parallel_runs: u32,
    pub draining: bool,
}

/// Somebody wants a task to run.
#[derive(Debug, Clone)]
pub struct Request {
    pub task: Arc<Task>,
    pub trigger: Trigger,
    /// The due instant; none for manual, startup and event runs.
    pub scheduled_ms: Option<i64>,
    pub attempt: u32,
    pub actor: String,
    pub extra_env: Vec<(String, String)>,
    /// Run it although it is disabled or paused.
    pub forced: bool,
    /// The file has been broken for longer than its last good version may stand in for it.
    pub expired: bool,
    /// Asked again with the same key within [`REQUEST_KEY_KEPT_MS`], the answer is the same run.
    pub request_key: Option<String>,
    pub now_ms: i64,
}

/// How long a request's key stands for its run.
pub const REQUEST_KEY_KEPT_MS: i64 = 24 * 3_600_000;

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Claim {
    /// Start it.
    Go(Run),
    Waits(Run),
    /// Waits for `holder`, which is recorded as stopping: its keeper is to be told.
    Replaces {
        run: Run,
        holder: RunId,
    },
    /// A row says why nothing runs.
    Skipped(Run),
    /// The instant has its row already.
    Covered,
    /// The very same request has its run already.
    Known(Run),
    /// Disabled, or its file is gone: there is no such instant.
    Off,
    /// The file has changed since the request was made: ask again with the new definition.
    Stale,
    /// A manual run or retry found the key taken.
    Taken {
        holder: Run,
    },
    /// A manual run was refused: the task is paused or the daemon drains.
    Refused {
        reason: &'static str,
    },
}

/// Decides about `request` and writes the row.
///
/// # Errors
/// Only what the database says.
pub fn claim(tx: &Tx<'_>, journal: &Journal, gates: Gates, request: &Request) -> Result<Claim, RunError> {
    let task = &request.task;
    let by_clock = matches!(request.trigger, Trigger::Schedule | Trigger::CatchUp);
    if let Some(key) = &request.request_key
        && let Some(run) = table::by_request_key(tx, key, request.now_ms - REQUEST_KEY_KEPT_MS)?
    {
        return Ok(Claim::Known(run));
    }
    let Some(standing) = table::standing(tx, &task.id, request.now_ms)? else { return Ok(Claim::Off) };
    if !request.forced && (!standing.enabled || !standing.present) {
        return Ok(Claim::Off);
    }
    if standing.hash != task.hash.to_string() {
        return Ok(Claim::Stale);
    }
    if by_clock
        && let Some(at) = request.scheduled_ms
        && table::has_instant(tx, &task.id, at)?
    {
        return Ok(Claim::Covered);
    }
    let turned_away = if request.expired {
        Some("invalid_file")
    } else if gates.draining {
        Some("draining")
    } else if standing.paused && !request.forced {
        Some("paused")
    } else {
        None
    };
    if let Some(reason) = turned_away {
        return match request.trigger {
            Trigger::Manual | Trigger::Retry => Ok(Claim::Refused { reason }),
            Trigger::Schedule | Trigger::CatchUp | Trigger::Startup | Trigger::Event => {
                skip(tx, journal, request, reason)
            }
        };
    }
    // A due instant ends the wait of an earlier one for its locks, and the wait for a retry.
    if by_clock {
        give_up_lock_wait(tx, journal, request)?;
        if let Some(run) = table::drop_retry(tx, &task.id)? {
            record(
                tx,
                journal,
                request,
                EventKind::RetryDropped,
                run,
                json!({"reason": "next instant due"}),
            )?;
        }
    }
    match table::holder(tx, &task.flight_key())? {
        None => admit(tx, journal, gates, request),
        Some(holder) => contend(tx, journal, request, holder),
    }
}

fn contend(tx: &Tx<'_>, journal: &Journal, request: &Request, holder: Run) -> Result<Claim, RunError> {
    if matches!(request.trigger, Trigger::Manual | Trigger::Retry) {
        return Ok(Claim::Taken { holder });
    }
    match request.task.settings.overlap {
        Overlap::Skip => skip(tx, journal, request, "overlap"),
        Overlap::Queue | Overlap::Replace if table::queued(tx, &request.task.flight_key())?.is_some() => {
            skip(tx, journal, request, "overlap")
        }
        Overlap::Queue => Ok(Claim::Waits(write_claimed(tx, journal, request, Some(Waiting::Overlap))?)),
        Overlap::Replace => {
            let run = write_claimed(tx, journal, request, Some(Waiting::Overlap))?;
            // In one transaction: nobody would ask the holder again after a crash.
            stop::record(tx, journal, holder.id, StopReason::Replaced, &request.actor, request.now_ms)?;
            Ok(Claim::Replaces { run, holder: holder.id })
        }
    }
}

fn admit(tx: &Tx<'_>, journal: &Journal, gates: Gates, request: &Request) -> Result<Claim, RunError> {
    // Counted before the row is written, which would count itself.
    let full = is_counted(&request.task) && live::table::places_taken(tx)? >= gates.max_parallel_runs;
    let mut run = write_claimed(tx, journal, request, None)?;
    let waiting = if table::take_locks(tx, run.id, &request.task.settings.locks)?.is_some() {
        Some(Waiting::Lock)
    } else if full {
        Some(Waiting::Parallel)
    } else {
        None
    };
    let Some(waiting) = waiting else { return Ok(Claim::Go(run)) };
    table::set_waiting(tx, run.id, Some(waiting))?;
    run.waiting = Some(waiting);
    Ok(Claim::Waits(run))
}

/// Agent runs are bounded by their profile and slots, everything else by `max_parallel_runs`.
fn is_counted(task: &Task) -> bool {
    match task.kind {
        Kind::Command(_) | Kind::Action(_) => true,
        Kind::Agent(_) => false,
    }
}

fn write_claimed(
    tx: &Tx<'_>,
    journal: &Journal,
    request: &Request,
    waiting: Option<Waiting>,
) -> Result<Run, RunError> {
    failpoint::hit("run.claim")?;
    let mut run = row(request, RunState::Claimed);
    run.waiting = waiting;
    run.fence = table::next_fence(tx)?;
    run.id = table::insert(tx, &run, &extras(request))?;
    record(tx, journal, request, EventKind::RunClaimed, run.id, json!({"trigger": run.trigger.name()}))?;
    Ok(run)
}

fn skip(tx: &Tx<'_>, journal: &Journal, request: &Request, reason: &str) -> Result<Claim, RunError> {
    let mut run = row(request, RunState::Skipped);
    run.reason = Some(reason.to_owned());
    run.ended_ms = Some(request.now_ms);
    run.id = table::insert(tx, &run, &extras(request))?;
    record(tx, journal, request, EventKind::RunSkipped, run.id, json!({"reason": reason}))?;
    Ok(Claim::Skipped(run))
}

/// Writes the row for a span of instants that nothing will run for, none of which has a row.
///
/// # Errors
/// Only what the database says.
pub fn miss(
    tx: &Tx<'_>,
    journal: &Journal,
    request: &Request,
    to_ms: i64,
    count: i64,
) -> Result<(), RunError> {
    let mut run = row(request, RunState::Missed);
    run.missed_to_ms = Some(to_ms);
    run.missed_count = Some(count);
    run.ended_ms = Some(request.now_ms);
    run.reason = Some("missed".to_owned());
    run.id = table::insert(tx, &run, &extras(request))?;
    record(tx, journal, request, EventKind::RunMissed, run.id, json!({"to_ms": to_ms, "count": count}))
}

fn row(request: &Request, state: RunState) -> Run {
    let mut run = Run::new(RunId(0), request.task.id.clone(), request.trigger, state);
    run.attempt = request.attempt;
    run.actor.clone_from(&request.actor);
    run.scheduled_ms = request.scheduled_ms;
    run.claimed_ms = request.now_ms;
    run.definition_hash = request.task.hash.to_string();
    run.extra_env.clone_from(&request.extra_env);
    run.forced = request.forced;
    run.fence = Fence(0);
    run
}

fn extras(request: &Request) -> Extras {
    Extras {
        flight_key: request.task.flight_key(),
        argv: super::command::argv_shown(&request.task),
        locks: request.task.settings.locks.clone(),
        counted: is_counted(&request.task),
        request_key: request.request_key.clone(),
    }
}

fn record(
    tx: &Tx<'_>,
    journal: &Journal,
    request: &Request,
    kind: EventKind,
    run: RunId,
    data: serde_json::Value,
) -> Result<(), RunError> {
    let event = Event::new(kind).task(&request.task.id).run(run).actor(&request.actor).data(data);
    journal.record(tx, request.now_ms, event)?;
    Ok(())
}

fn give_up_lock_wait(tx: &Tx<'_>, journal: &Journal, request: &Request) -> Result<(), RunError> {
    let Some(holder) = table::holder(tx, &request.task.flight_key())? else { return Ok(()) };
    if holder.waiting == Some(Waiting::Lock) {
        give_up(tx, journal, holder, "lock", request.now_ms)?;
    }
    Ok(())
}

/// Turns a claimed run that never started into a skipped one.
///
/// # Errors
/// What the database says, and a run that has started.
pub fn give_up(
    tx: &Tx<'_>,
    journal: &Journal,
    mut run: Run,
    reason: &str,
    now_ms: i64,
) -> Result<(), RunError> {
    failpoint::hit("run.give_up")?;
    let from = run.state();
    run.step(Step::Skip)?;
    run.waiting = None;
    run.reason = Some(reason.to_owned());
    run.ended_ms = Some(now_ms);
    if table::update(tx, &run, from)? {
        table::drop_locks(tx, run.id)?;
        let event =
            Event::new(EventKind::RunSkipped).task(&run.task).run(run.id).data(json!({"reason": reason}));
        journal.record(tx, now_ms, event)?;
    }
    Ok(())
}

/// Lets go whoever can go now, the longest waiting first, and gives them to be started.
///
/// # Errors
/// Only what the database says.
pub fn promote(tx: &Tx<'_>, journal: &Journal, gates: Gates, now_ms: i64) -> Result<Vec<Run>, RunError> {
    failpoint::hit("run.promote")?;
    let mut gone = Vec::new();
    if gates.draining {
        return Ok(gone);
    }
    // Most runs end with nobody waiting: there is nobody to count the places for.
    if !table::is_anyone_waiting(tx)? {
        return Ok(gone);
    }
    take_up_again(tx)?;
    loop {
        line_up(tx)?;
        let given_up = let_go(tx, journal, gates, now_ms, &mut gone)?;
        // What one that gave up had held, or its turn, may be what the next waits for; nobody would look again.
        if given_up == 0 {
            return Ok(gone);
        }
    }
}

/// Rows whose gate never opened stand in line once more as soon as their key is free; their locks and their
/// place are looked at anew, as for any other that waits.
fn take_up_again(tx: &Tx<'_>) -> Result<(), RunError> {
    for mut run in table::not_started(tx)? {
        if table::is_taken(tx, run.id)? {
            continue;
        }
        let from = run.state();
        run.step(Step::ClaimAgain)?;
        run.waiting = Some(Waiting::Lock);
        run.started_ms = None;
        if table::update(tx, &run, from)? {
            table::set_fence(tx, run.id, table::next_fence(tx)?)?;
        }
    }
    Ok(())
}

/// Gives those that wait for another run their key and their locks, where these are free by now.
fn line_up(tx: &Tx<'_>) -> Result<(), RunError> {
    for waiter in table::held_back(tx)? {
        if waiter.run.waiting == Some(Waiting::Overlap) && table::holder(tx, &waiter.flight_key)?.is_some() {
            continue;
        }
        let next = if table::take_locks(tx, waiter.run.id, &waiter.locks)?.is_some() {
            Waiting::Lock
        } else {
            Waiting::Parallel
        };
        table::set_waiting(tx, waiter.run.id, Some(next))?;
    }
    Ok(())
}

/// Gives the places that are free; says how many had to give up since their task is not to start any more.
fn let_go(
    tx: &Tx<'_>,
    journal: &Journal,
    gates: Gates,
    now_ms: i64,
    gone: &mut Vec<Run>,
) -> Result<u32, RunError> {
    let mut free = gates.max_parallel_runs.saturating_sub(live::table::places_taken(tx)?);
    let mut given_up = 0;
    for mut waiter in table::wanting_a_place(tx, free.max(1))? {
        if waiter.counted && free == 0 {
            continue;
        }
        let standing = table::standing(tx, &waiter.run.task, now_ms)?;
        let reason = match standing {
            Some(standing) if standing.enabled && standing.present => standing.paused.then_some("paused"),
            Some(_) | None => Some("disabled"),
        };
        if let Some(reason) = reason.filter(|_| !waiter.run.forced) {
            give_up(tx, journal, waiter.run, reason, now_ms)?;
            given_up += 1;
            continue;
        }
        table::set_waiting(tx, waiter.run.id, None)?;
        waiter.run.waiting = None;
        free = free.saturating_sub(u32::from(waiter.counted));
        gone.push(waiter.run);
    }
    Ok(given_up)
}
