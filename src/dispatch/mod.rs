//! A ticket or an agent task, a slot and a profile make a worker: who goes where, how it is told, what it
//! says, and what its end means. Decisions are pure (`pick`, `classify`, `dialect`, `prompt`); the rest
//! carries them out.
//!
//! There is one [`Dispatch`] and one pass at a time. Nothing here waits for a slot or a program: what takes
//! time has a task of its own.

mod attend;
pub mod classify;
mod commits;
pub mod dialect;
mod finish;
mod judge;
pub mod gate;
mod launch;
pub mod ledger;
mod messages;
mod pass;
pub mod pick;
mod place;
mod probe;
pub mod prompt;
mod table;
mod tail;
mod task;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::journal::Journal;
use crate::model::event::{Event, EventKind};
use crate::model::ids::{RunId, TicketId};
use crate::model::run::RunState;
use crate::model::worker::Standing;
use crate::platform::clock::Clock;
use crate::platform::failpoint::{self, Fault};
use crate::pool::{LeaseId, PoolError, Pools};
use crate::run::{RunError, Runs};
use crate::store::{Store, StoreError};
use crate::ticket::{TicketError, Tickets};

pub use judge::judge;
pub use ledger::Ages;
pub use pass::Passed;
pub use probe::{AgentView, Login, Shown};

/// What stops a change.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Ticket(#[from] TicketError),
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Fault> for DispatchError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

/// The one owner of dispatch. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch(Arc<Inner>);

pub struct Inner {
    pub store: Store,
    pub journal: Journal,
    pub clock: Clock,
    pub runs: Runs,
    pub tickets: Tickets,
    pub pools: Pools,
    pub agents: Vec<config::Agent>,
    pub rules: config::Dispatch,
    /// Who does what is assigned to them without an agent.
    pub human: String,
    /// Of each pool.
    pub claim_waits: BTreeMap<String, Duration>,
    /// In which providers' clock times are read that name none.
    pub zone: TimeZone,
    pub kill_grace: Duration,
    /// Bytes of a worker's standard error that are kept.
    pub log_max: u64,
    /// Something may be placeable.
    pub wake: Notify,
    pub state: State,
}

/// What the daemon knows for as long as it lives.
#[derive(Default)]
pub struct State {
    /// Who gets which profile is decided by one at a time, from the look to the promise.
    turn: tokio::sync::Mutex<()>,
    /// Tickets that are being placed, with profile and pool.
    reserved: Mutex<BTreeMap<TicketId, pick::Assignment>>,
    /// Runs of tasks that are being placed, with the profile that each has been promised.
    placing: Mutex<BTreeMap<RunId, Option<String>>>,
    /// Leases that are being given back.
    releasing: Mutex<Vec<LeaseId>>,
    /// Pools and tickets with which something went wrong, left alone for a while.
    stumbled: Mutex<HashMap<Stone, Stumble>>,
    attended: Mutex<HashMap<RunId, Arc<Attendance>>>,
    probes: Mutex<BTreeMap<String, probe::Probe>>,
}

/// What was stumbled over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stone {
    Pool(String),
    Ticket(TicketId),
}

/// When and why something was stumbled over, milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stumble {
    at_ms: i64,
    until_ms: i64,
    why: String,
    /// It has been tried once more before its time.
    again: bool,
}

/// Begins the reason of a run that could not be started for want of a branch or a prompt.
const SLOT_TROUBLE: &str = "slot: ";

/// How whoever attends a worker is told of the world.
#[derive(Debug, Default)]
struct Attendance {
    /// Its run has ended.
    over: CancellationToken,
    /// A message may be waiting for it.
    stir: Notify,
    ticket: Option<TicketId>,
}

impl std::ops::Deref for Dispatch {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Dispatch {
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Takes up the workers of an earlier daemon; their runs have been settled or adopted.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn recover(&self) -> Result<usize, DispatchError> {
        let workers = self.store.read(|conn| Ok::<_, DispatchError>(table::unfinished(conn)?)).await?;
        failpoint::hit("dispatch.recover")?;
        let count = workers.len();
        for worker in workers {
            let run = worker.run;
            let attendance = self.attendance(&worker);
            let run = self
                .store
                .read(move |conn| Ok::<_, DispatchError>(crate::run::table::get(conn, run)?))
                .await?;
            // One that is only claimed starts once more, with a worker of its own.
            let is_at_work = run.is_some_and(|run| run.state().is_live() && run.state() != RunState::Claimed);
            if !is_at_work {
                attendance.over.cancel();
            }
            self.attend(worker, Vec::new(), attendance);
        }
        Ok(count)
    }

    /// A run has ended.
    pub fn run_over(&self, run: RunId) {
        if let Some(attendance) = lock(&self.state.attended).get(&run) {
            attendance.over.cancel();
        }
        self.wake.notify_one();
    }

    /// A message for this ticket's worker may be waiting.
    pub fn stir(&self, ticket: &str) {
        let attended = lock(&self.state.attended);
        for attendance in attended.values() {
            if attendance.ticket.as_ref().is_some_and(|own| own.to_string() == ticket) {
                attendance.stir.notify_one();
            }
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<&config::Agent> {
        self.agents.iter().find(|agent| agent.name == name)
    }

    /// Ends a profile's rest. False when it did not rest.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn enable(&self, agent: &str) -> Result<bool, DispatchError> {
        let name = agent.to_owned();
        let woken = self.store.write(move |tx| Ok::<_, DispatchError>(table::wake(tx, &name)?)).await?;
        lock(&self.state.probes).remove(agent);
        self.wake.notify_one();
        Ok(woken)
    }

    /// Gives a profile no work until its login works again or a person says so. False when it already had none.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn disable(&self, agent: &str, reason: &str) -> Result<bool, DispatchError> {
        let (agent, reason) = (agent.to_owned(), reason.to_owned());
        let (journal, now_ms) = (self.journal.clone(), self.clock.wall_ms());
        let disabled = move |tx: &crate::store::Tx<'_>| {
            let resting = table::resting(tx, now_ms)?;
            let is_off = matches!(resting.get(&agent), Some(Standing::Disabled { .. }));
            table::rest(tx, &agent, None, &reason, now_ms)?;
            if !is_off {
                let data = serde_json::json!({"agent": agent, "reason": reason, "until_ms": null});
                let event = Event::new(EventKind::AgentDisabled).actor("dispatch").data(data);
                journal.record(tx, now_ms, event)?;
            }
            Ok::<_, DispatchError>(!is_off)
        };
        self.store.write(disabled).await
    }

    /// Forgets rests that are over; whose they were.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn end_rests(&self) -> Result<Vec<String>, DispatchError> {
        let now_ms = self.clock.wall_ms();
        self.store.write(move |tx| Ok::<_, DispatchError>(table::end_rests(tx, now_ms)?)).await
    }

    /// Has somebody write the end of a worker whose run is over. False when there is no such worker.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn take_up(&self, run: RunId) -> Result<bool, DispatchError> {
        if lock(&self.state.attended).contains_key(&run) {
            self.run_over(run);
            return Ok(true);
        }
        let open = self.store.read(|conn| Ok::<_, DispatchError>(table::unfinished(conn)?)).await?;
        let Some(worker) = open.into_iter().find(|worker| worker.run == run) else { return Ok(false) };
        let attendance = self.attendance(&worker);
        attendance.over.cancel();
        self.attend(worker, Vec::new(), attendance);
        Ok(true)
    }

    fn attendance(&self, worker: &table::Worker) -> Arc<Attendance> {
        let attendance = Arc::new(Attendance { ticket: worker.ticket.clone(), ..Attendance::default() });
        lock(&self.state.attended).insert(worker.run, Arc::clone(&attendance));
        attendance
    }

    fn stumble(&self, stone: Stone, wait: Duration, why: &str) {
        let at_ms = self.clock.wall_ms();
        let until_ms = at_ms.saturating_add(crate::model::time::millis(wait));
        let again = self.stumbled(&stone, at_ms).is_some_and(|stumble| stumble.again);
        let stumble = Stumble { at_ms, until_ms, why: why.to_owned(), again };
        lock(&self.state.stumbled).insert(stone, stumble);
    }

    /// What was stumbled over and is still left alone.
    fn stumbled(&self, stone: &Stone, now_ms: i64) -> Option<Stumble> {
        let mut stones = lock(&self.state.stumbled);
        stones.retain(|_, stumble| stumble.until_ms > now_ms);
        stones.get(stone).cloned()
    }
}

/// A panic elsewhere leaves these maps whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
