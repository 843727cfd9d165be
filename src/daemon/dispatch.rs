//! The one loop that dispatches: a pass whenever something happened that could let a ticket go, when a wait
//! is over, and when somebody asks. The switch is a task: without an enabled one nothing goes, whoever asks.

use std::time::Duration;

use tracing::{error, warn};

use crate::dispatch::ledger::{self, ApiError, Usage};
use crate::dispatch::{AgentView, DispatchError, Passed, gate};
use crate::journal::{Feed, Filter};
use crate::model::event::EventKind;
use crate::model::ids::{TaskId, TicketId};
use crate::model::ticket::{Illegal, Ticket, TicketState};
use crate::ticket::conversation::CommentKind;
use crate::ticket::{Author, TicketError, Tickets};

use super::App;
use super::refused::{Refused, RefusedKind};

/// The action of the task that is the switch.
pub const TICKET_PICKUP: &str = "ticket-pickup";

/// What happens in a burst is one reason to look.
const SETTLE: Duration = Duration::from_millis(30);
/// Longest time between two looks: expected check-ins pass without an event.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often profiles whose last answer is old are asked.
const PROBE_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for a worker to be put on a ticket for whoever asked for it; it goes on by itself after that.
const PLACING_MAX: Duration = Duration::from_secs(10);
/// Wait after a database that did not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Events that could let a ticket go, or bring a message to its worker.
const TRIGGERS: [EventKind; 16] = [
    EventKind::TicketCreated,
    EventKind::TicketChanged,
    EventKind::TicketMoved,
    EventKind::AttemptEnded,
    EventKind::MessageQueued,
    EventKind::SlotReleased,
    EventKind::SlotHealed,
    EventKind::TaskAdded,
    EventKind::TaskChanged,
    EventKind::TaskRemoved,
    EventKind::TaskMended,
    EventKind::TaskEnabled,
    EventKind::TaskDisabled,
    EventKind::TaskPaused,
    EventKind::TaskResumed,
    EventKind::Undrained,
];

/// Looks until the daemon goes down.
pub async fn keep(app: App) {
    let mut feed = follow(&app).await;
    let mut next = Duration::ZERO;
    tokio::spawn(probe(app.clone()));
    loop {
        tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            () = app.dispatch.wake.notified() => {}
            () = app.pools.freed() => {}
            () = tokio::time::sleep(next) => {}
            event = feed.next() => match event {
                Ok(recorded) => {
                    if recorded.event.kind == EventKind::MessageQueued
                        && let Some(ticket) = &recorded.event.ticket
                    {
                        app.dispatch.stir(ticket);
                    }
                }
                Err(e) => {
                    warn!(error = %e, "lost the thread of the journal; taking it up where it is now");
                    feed = follow(&app).await;
                }
            },
        }
        tokio::time::sleep(SETTLE).await;
        next = match app.dispatch_pass().await {
            Ok(passed) => until(&app, passed.next_ms),
            Err(e) => {
                error!(error = %e, "a dispatch pass failed; trying again");
                AGAIN
            }
        };
    }
}

/// Asks the profiles' programs now and then, so that a ticket does not find out that one is missing.
async fn probe(app: App) {
    loop {
        app.dispatch.probe().await;
        app.dispatch.wake.notify_one();
        tokio::select! {
            () = app.shutdown.token.cancelled() => return,
            () = tokio::time::sleep(PROBE_EVERY) => {}
        }
    }
}

async fn follow(app: &App) -> Feed {
    let seq = loop {
        match app.journal.latest_seq().await {
            Ok(seq) => break seq,
            Err(e) => warn!(error = %e, "cannot follow the journal; trying again"),
        }
        tokio::time::sleep(AGAIN).await;
    };
    app.journal.subscribe(seq, Filter { kinds: Some(TRIGGERS.to_vec()), ..Filter::default() })
}

fn until(app: &App, at_ms: Option<i64>) -> Duration {
    let Some(at_ms) = at_ms else { return LOOK_EVERY };
    let wait = u64::try_from(at_ms - app.clock.wall_ms()).unwrap_or(0);
    Duration::from_millis(wait).min(LOOK_EVERY)
}

impl App {
    /// One pass, now.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn dispatch_pass(&self) -> Result<Passed, DispatchError> {
        if self.shutdown.token.is_cancelled() {
            return Ok(Passed { held: Some("draining"), ..Passed::default() });
        }
        self.dispatch.pass(self.pickup_task()).await
    }

    /// The task that switches dispatch on; an enabled one before any other.
    pub(super) fn pickup_task(&self) -> Option<TaskId> {
        let snapshot = self.snapshot();
        let first = snapshot.doing(TICKET_PICKUP).min_by_key(|(_, entry)| !entry.enabled);
        first.map(|(id, _)| id.clone())
    }

    /// Whether a new ticket is given to an agent by itself, now or when a pause ends.
    #[must_use]
    pub fn dispatches(&self) -> bool {
        let is_on = self.snapshot().doing(TICKET_PICKUP).any(|(_, entry)| entry.enabled);
        is_on && !self.config.agents.is_empty()
    }

    /// Has a ticket worked on now; it comes back with somebody on it or about to be.
    ///
    /// # Errors
    /// [`Refused`]: unknown, not in `todo`, at work already, nothing is dispatched, or what else holds this one.
    pub async fn dispatch_ticket(&self, id: &TicketId, _actor: &str) -> Result<Ticket, Refused> {
        let ticket = self.ticket(id).await?;
        if let (true, Some(run)) = (ticket.live, ticket.run) {
            return Err(TicketError::AtWork { ticket: id.clone(), run }.into());
        }
        if ticket.state() != TicketState::Todo {
            let illegal = Illegal::State { from: ticket.state(), step: "be dispatched" };
            return Err(TicketError::from(illegal).into());
        }
        let mut went = self.dispatch.is_placing(id, Duration::ZERO).await;
        // What is known of a ticket on which nobody could be put is on it after the next pass, if that does not
        // put somebody on it.
        for _ in 0..2 {
            let passed = self.dispatch_pass().await?;
            if let Some(held) = passed.held {
                return Err(Refused::new(
                    RefusedKind::Conflict,
                    "dispatch_off",
                    format!("nothing is dispatched: the task with `action: {TICKET_PICKUP}` is {held}"),
                    "see: lucid tasks; then lucid enable or lucid resume",
                ));
            }
            // Another pass may have been faster.
            went |= passed.went.contains(id) || self.dispatch.is_placing(id, Duration::ZERO).await;
            let is_placing = went && self.dispatch.is_placing(id, PLACING_MAX).await;
            let now = self.ticket(id).await?;
            if is_placing || now.state() != TicketState::Todo || now.attempt > ticket.attempt {
                return Ok(now);
            }
            if !std::mem::take(&mut went) {
                return Err(not_dispatched(&now));
            }
        }
        Err(not_dispatched(&self.ticket(id).await?))
    }

    /// All agent profiles, as they stand and answer now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn agents(&self) -> Result<Vec<AgentView>, Refused> {
        Ok(self.dispatch.agents().await?)
    }

    /// Lets a resting profile work again.
    ///
    /// # Errors
    /// [`Refused`] when there is no such profile.
    pub async fn enable_agent(&self, name: &str) -> Result<bool, Refused> {
        if self.dispatch.profile(name).is_none() {
            let message = format!("there is no agent profile `{name}`");
            return Err(Refused::new(
                RefusedKind::NotFound,
                "no_such_agent",
                message,
                "list them: lucid agents",
            ));
        }
        Ok(self.dispatch.enable(name).await?)
    }

    /// What runs have used, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn usage(
        &self,
        ticket: Option<String>,
        since_ms: i64,
        limit: u32,
    ) -> Result<Vec<Usage>, Refused> {
        let read = move |conn: &rusqlite::Connection| {
            Ok::<_, DispatchError>(ledger::table::used(conn, ticket.as_deref(), since_ms, limit)?)
        };
        Ok(self.store.read(read).await?)
    }

    /// Refused requests since then, newest first, and how many there were of each kind since each of `windows`.
    ///
    /// # Errors
    /// What the database says.
    pub async fn api_errors(
        &self,
        windows_ms: Vec<i64>,
        limit: u32,
    ) -> Result<(Vec<ApiError>, Vec<Vec<(String, i64)>>), Refused> {
        let read = move |conn: &rusqlite::Connection| {
            let counts: rusqlite::Result<Vec<_>> =
                windows_ms.iter().map(|since| ledger::table::refused_by_kind(conn, *since)).collect();
            let oldest = windows_ms.iter().min().copied().unwrap_or(0);
            Ok::<_, DispatchError>((ledger::table::refused(conn, oldest, limit)?, counts?))
        };
        Ok(self.store.read(read).await?)
    }

    /// Records a refused request that somebody else has met.
    ///
    /// # Errors
    /// What the database says.
    pub async fn add_api_error(&self, error: ApiError) -> Result<(), Refused> {
        let write =
            move |tx: &crate::store::Tx<'_>| Ok::<_, DispatchError>(ledger::table::refuse(tx, &error)?);
        Ok(self.store.write(write).await?)
    }
}

impl From<DispatchError> for Refused {
    fn from(error: DispatchError) -> Self {
        Self::unavailable(&error.to_string())
    }
}

fn not_dispatched(ticket: &Ticket) -> Refused {
    let id = &ticket.id;
    let why = ticket.reason.as_ref().map_or("nobody could be put on it", |reason| reason.text.as_str());
    let message = format!("nobody works on {id} yet: {why}");
    let help = format!("it goes as soon as that has passed; see it: lucid ticket show {id}");
    Refused::new(RefusedKind::Conflict, "not_dispatched", message, help)
}

/// Writes on a ticket what its worker left unsaved, and where that is now.
pub fn rescue_notice(tickets: &Tickets) -> crate::pool::OnRescue {
    let tickets = tickets.clone();
    std::sync::Arc::new(move |tx, rescued, now_ms| {
        let Ok(id) = rescued.ticket.parse::<TicketId>() else { return Ok(()) };
        let repo = rescued.repo.display();
        let commands: Vec<String> =
            rescued.refs.iter().map(|reference| format!("git -C {repo} show {reference}")).collect();
        let text = format!(
            "The worker left work in slot {} that is on no branch. It is saved; see it: {}",
            rescued.slot,
            commands.join("; ")
        );
        let author = Author::Lucid("pool");
        match tickets
            .find_in(tx, &id)
            .and_then(|_| tickets.comment_in(tx, &id, CommentKind::Notice, &text, &author, now_ms))
            .map_err(TicketError::database)
        {
            // A slot must not wait for a ticket that is gone.
            Ok(_) | Err(Err(TicketError::NoTicket(_))) => Ok(()),
            Err(Ok(e)) => Err(e),
            Err(Err(e)) => {
                warn!(ticket = %id, error = %e, "could not say what was rescued");
                Ok(())
            }
        }
    })
}

/// The gate that asks the pools.
pub fn pool_gate(pools: &crate::pool::Pools, usual: Option<String>) -> gate::Gate {
    let pools = pools.clone();
    std::sync::Arc::new(move |question| {
        let (pools, usual) = (pools.clone(), usual.clone());
        Box::pin(async move { gate::ask(&pools, question, usual).await })
    })
}
