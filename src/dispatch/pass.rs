//! One pass: look at what could go, decide, write the reason on what waits, and set off what goes.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::pick::{self, Candidate, Profile, Room, Usual};
use super::{Dispatch, DispatchError, Stone, lock, table};
use crate::model::ids::{TaskId, TicketId};
use crate::model::slot::Holder;
use crate::model::ticket::Ticket;
use crate::model::worker::Standing;
use crate::run::worker::held_back;
use crate::ticket::Author;
use crate::ticket::conversation::CommentKind;

/// What a pass came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    pub placed: usize,
    /// Those that somebody is being put on.
    pub went: Vec<TicketId>,
    pub waiting: usize,
    /// Why nothing is dispatched at all.
    pub held: Option<&'static str>,
    /// When time alone may let something go, milliseconds since the epoch.
    pub next_ms: Option<i64>,
}

impl Dispatch {
    /// Places what fits. `switch` is the task whose action this is; without one nothing is dispatched.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn pass(&self, switch: Option<TaskId>) -> Result<Passed, DispatchError> {
        let _turn = self.state.turn.lock().await;
        self.follow_up().await?;
        self.sweep_leases().await?;
        let held = match &switch {
            Some(task) => self.held(task).await?,
            None => Some("disabled"),
        };
        let ready = self.waiting().await?;
        let (Some(switch), None) = (switch.clone(), held) else {
            let text = format!(
                "dispatch is off: the task with `action: ticket-pickup` is {}",
                held.unwrap_or("disabled")
            );
            self.tell_why(ready.iter().map(|ticket| (ticket, "dispatch_off", text.as_str()))).await?;
            let next_ms = match &switch {
                Some(task) => self.pause_ends_ms(task).await?,
                None => None,
            };
            return Ok(Passed { waiting: ready.len(), held, next_ms, ..Passed::default() });
        };
        if ready.is_empty() {
            return Ok(Passed::default());
        }
        let picked = self.pick(&ready).await?;
        let by_id: BTreeMap<_, _> = ready.iter().map(|ticket| (&ticket.id, ticket)).collect();
        let waiting = picked.wait.iter();
        let reasons = waiting.filter_map(|(id, why)| Some((*by_id.get(id)?, why.code, why.text.as_str())));
        self.tell_why(reasons).await?;
        let passed = Passed {
            placed: picked.go.len(),
            went: picked.go.iter().map(|assignment| assignment.ticket.clone()).collect(),
            waiting: picked.wait.len(),
            held: None,
            next_ms: picked.next_ms(),
        };
        for assignment in picked.go {
            info!(ticket = %assignment.ticket, agent = assignment.agent, pool = assignment.pool, "dispatching");
            lock(&self.state.reserved).insert(assignment.ticket.clone(), assignment.clone());
            if let Some(stumble) = lock(&self.state.stumbled).get_mut(&Stone::Pool(assignment.pool.clone())) {
                stumble.again = true;
            }
            let (this, switch) = (self.clone(), switch.clone());
            tokio::spawn(async move { this.place(assignment, switch).await });
        }
        Ok(passed)
    }

    /// Tickets that could be placed and are not being placed right now. A reason that one of them has is that
    /// of the last pass.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn waiting(&self) -> Result<Vec<Ticket>, DispatchError> {
        let mut ready = self.tickets.ready().await?;
        let reserved = lock(&self.state.reserved);
        ready.retain(|ticket| !reserved.contains_key(&ticket.id));
        Ok(ready)
    }

    /// Whether somebody is being put on the ticket, once that is settled or `limit` has passed.
    pub async fn is_placing(&self, ticket: &TicketId, limit: Duration) -> bool {
        let until = self.clock.boot().saturating_add(limit);
        loop {
            let is_placing = lock(&self.state.reserved).contains_key(ticket);
            if !is_placing || self.clock.boot() >= until {
                return is_placing;
            }
            tokio::time::sleep(PLACING_LOOK).await;
        }
    }

    async fn held(&self, switch: &TaskId) -> Result<Option<&'static str>, DispatchError> {
        let (switch, gates, now_ms) = (switch.clone(), self.runs.gates(), self.clock.wall_ms());
        self.store.read(move |conn| Ok(held_back(conn, &switch, gates, now_ms)?)).await
    }

    async fn pause_ends_ms(&self, switch: &TaskId) -> Result<Option<i64>, DispatchError> {
        let (switch, now_ms) = (switch.clone(), self.clock.wall_ms());
        self.store.read(move |conn| Ok(crate::task::table::pause_ends_ms(conn, &switch, now_ms)?)).await
    }

    async fn pick(&self, ready: &[Ticket]) -> Result<pick::Picked, DispatchError> {
        let now_ms = self.clock.wall_ms();
        let ids: Vec<_> = ready.iter().map(|ticket| ticket.id.clone()).collect();
        let legacies = self
            .store
            .read(move |conn| {
                let all: rusqlite::Result<Vec<_>> = ids.iter().map(|id| table::legacy(conn, id)).collect();
                Ok::<_, DispatchError>(all?)
            })
            .await?;
        let candidates: Vec<Candidate> = ready
            .iter()
            .zip(legacies)
            .map(|(ticket, legacy)| {
                let rest = legacy.and_then(|last| Some((last.not_before_ms?, last.verdict?)));
                let stumbled = self.stumbled(&Stone::Ticket(ticket.id.clone()), now_ms);
                Candidate {
                    ticket: ticket.id.clone(),
                    agent: ticket.agent.clone(),
                    pool: ticket.pool.clone(),
                    person: ticket.assignee.clone().filter(|assignee| *assignee == self.human),
                    not_before: stumbled.map(|stumble| (stumble.until_ms, stumble.why)).or(rest),
                }
            })
            .collect();
        let usual = Usual { agent: self.rules.agent.clone(), pool: self.rules.pool.clone() };
        let (profiles, rooms) = (self.profiles(now_ms).await?, self.rooms(now_ms).await?);
        Ok(pick::pick(&candidates, &profiles, &rooms, &usual, now_ms))
    }

    /// All profiles as they stand now, those being placed counted as busy.
    pub(super) async fn profiles(&self, now_ms: i64) -> Result<BTreeMap<String, Profile>, DispatchError> {
        // Before the rows: who gets one meanwhile is counted once, and never not at all.
        let (reserved, placing) = (lock(&self.state.reserved).clone(), lock(&self.state.placing).clone());
        let (mut at_work, mut resting) = self
            .store
            .read(move |conn| {
                Ok::<_, DispatchError>((table::unfinished(conn)?, table::resting(conn, now_ms)?))
            })
            .await?;
        at_work.retain(|worker| {
            let is_reserved = worker.ticket.as_ref().is_some_and(|ticket| reserved.contains_key(ticket));
            !is_reserved && !placing.contains_key(&worker.run)
        });
        let busy = |name: &str| {
            let promised = reserved.values().map(|assignment| &assignment.agent);
            let names = promised.chain(placing.values().flatten()).chain(at_work.iter().map(|w| &w.agent));
            u32::try_from(names.filter(|agent| *agent == name).count()).unwrap_or(u32::MAX)
        };
        let profile = |agent: &crate::config::Agent| Profile {
            standing: resting.remove(&agent.name).unwrap_or_else(|| self.answers(&agent.name)),
            busy: busy(&agent.name),
            max_parallel: agent.max_parallel,
            fallback: agent.fallback.clone(),
        };
        let mut profile = profile;
        Ok(self.agents.iter().map(|agent| (agent.name.clone(), profile(agent))).collect())
    }

    fn answers(&self, agent: &str) -> Standing {
        lock(&self.state.probes).get(agent).map_or(Standing::Ready, |probe| match &probe.answer {
            Ok(_) => Standing::Ready,
            Err(reason) => Standing::Missing { reason: reason.clone() },
        })
    }

    async fn rooms(&self, now_ms: i64) -> Result<BTreeMap<String, Room>, DispatchError> {
        let names: Vec<String> = self.pools.names().map(str::to_owned).collect();
        let mut rooms = BTreeMap::new();
        for name in names {
            let stumble = self.stumbled(&Stone::Pool(name.clone()), now_ms);
            let room = match stumble {
                Some(stumble) if stumble.again || !self.pools.freed_since(&name, stumble.at_ms).await? => {
                    Room::Closed(stumble.why)
                }
                // Somebody got a slot of it ready meanwhile: tried once more before its time.
                Some(_) | None => Room::Free(self.pools.free_slots(&name).await?),
            };
            rooms.insert(name, room);
        }
        Ok(rooms)
    }

    /// Writes the reasons that have changed.
    async fn tell_why<'a>(
        &self,
        reasons: impl Iterator<Item = (&'a Ticket, &'a str, &'a str)>,
    ) -> Result<(), DispatchError> {
        let changed: Vec<_> = reasons
            .filter(|(ticket, code, text)| {
                ticket.reason.as_ref().is_none_or(|old| old.code != *code || old.text != *text)
            })
            .map(|(ticket, code, text)| (ticket.id.clone(), code.to_owned(), text.to_owned()))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let (tickets, now_ms) = (self.tickets.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                for (id, code, text) in &changed {
                    tickets.set_reason(tx, id, Some((code, text)), now_ms)?;
                }
                Ok::<_, DispatchError>(())
            })
            .await
    }

    /// Says on every ticket whose worker was to be heard of by now that it was not.
    async fn follow_up(&self) -> Result<(), DispatchError> {
        let overdue = self.tickets.overdue().await?;
        if overdue.is_empty() {
            return Ok(());
        }
        let (tickets, now_ms) = (self.tickets.clone(), self.clock.wall_ms());
        let minutes = self.rules.check_in.as_secs() / 60;
        self.store
            .write(move |tx| {
                for ticket in &overdue {
                    let text = format!(
                        "Expected check-in has passed: nothing was heard of the worker for {minutes} min."
                    );
                    let author = Author::Lucid("dispatch");
                    tickets.comment_in(tx, &ticket.id, CommentKind::Notice, &text, &author, now_ms)?;
                    tickets.set_check_in(tx, &ticket.id, None)?;
                }
                Ok::<_, DispatchError>(())
            })
            .await
    }

    /// Gives back what nobody works in any more: after a crash between a lease and its worker's row, or
    /// between a worker's end and the release.
    async fn sweep_leases(&self) -> Result<(), DispatchError> {
        for slot in self.pools.leases().await? {
            let (Some(lease), Some(holder)) = (slot.lease, slot.holder) else { continue };
            if lock(&self.state.releasing).contains(&lease) || self.is_held(&holder).await? {
                continue;
            }
            // A run's own end brings a pass; what a dead daemon has left comes the same way.
            info!(slot = slot.id, %holder, "nobody works in this slot any more: giving it back");
            let this = self.clone();
            tokio::spawn(async move { this.release(lease).await });
        }
        Ok(())
    }

    async fn is_held(&self, holder: &Holder) -> Result<bool, DispatchError> {
        let (ticket, run) = (holder.ticket().map(str::to_owned), holder.run());
        let being_placed = lock(&self.state.reserved).keys().any(|id| Some(id.to_string()) == ticket)
            || run.is_some_and(|run| lock(&self.state.placing).contains_key(&run));
        if being_placed {
            return Ok(true);
        }
        self.store
            .read(move |conn| {
                let live = match run {
                    Some(run) => crate::run::table::get(conn, run)?.is_some_and(|run| run.state().is_live()),
                    None => false,
                };
                Ok::<_, DispatchError>(live || table::is_open(conn, ticket.as_deref(), run)?)
            })
            .await
    }

    pub(super) async fn release(&self, lease: crate::pool::LeaseId) {
        lock(&self.state.releasing).push(lease);
        match self.pools.release(lease).await {
            Ok(done) => info!(%lease, ?done, "slot given back"),
            Err(e) => warn!(%lease, error = %e, "could not give a slot back; trying again at the next pass"),
        }
        lock(&self.state.releasing).retain(|releasing| *releasing != lease);
        self.wake.notify_one();
    }
}

/// Time between two looks at whether a ticket is placed.
const PLACING_LOOK: Duration = Duration::from_millis(20);

/// How long a pool is left alone after git failed in it.
pub(super) const POOL_REST: Duration = Duration::from_secs(30);
/// How long a ticket is left alone after it could not be placed.
pub(super) const TICKET_REST: Duration = Duration::from_secs(10);
