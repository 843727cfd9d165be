//! The board: making tickets, changing them, moving them, and the attempts that work on them.
//!
//! Everything that changes a ticket's state goes through [`Tickets::step_in`], with the event in the same
//! transaction. Functions that take a transaction are for whoever has more to put into it.

mod create;
pub(super) mod table;
#[cfg(test)]
mod tests;

use serde_json::json;

use crate::model::event::{Event, EventKind};
use crate::model::ids::{Fence, RunId, TicketId};
use crate::model::ticket::{Priority, Reason, Step, Ticket, TicketState};
use crate::store::Tx;

use super::{Author, TicketError, Tickets, at_most, bounded, titled};

pub use table::Query;

pub const TITLE_MAX_BYTES: usize = 512;
pub const BODY_MAX_BYTES: usize = 512 * 1024;
/// Of a name: assignee, agent, pool.
pub const NAME_MAX_BYTES: usize = 128;
pub const REASON_MAX_BYTES: usize = 4 * 1024;

/// Of a comment, in the journal.
const JOURNAL_BODY_BYTES: usize = 1024;

/// A ticket to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTicket {
    pub title: String,
    pub body: String,
    pub priority: Priority,
    pub assignee: Option<String>,
    pub agent: Option<String>,
    pub pool: Option<String>,
    pub max_attempts: Option<u32>,
}

/// What a person changes; none leaves it as it is, an empty name takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    pub title: Option<String>,
    pub body: Option<String>,
    pub priority: Option<Priority>,
    pub assignee: Option<String>,
    pub agent: Option<String>,
    pub pool: Option<String>,
}

/// A worker that has been put on a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttempt {
    pub run: RunId,
    pub fence: Fence,
    pub agent: String,
    pub branch: Option<String>,
    pub slot: Option<String>,
    pub lease: Option<i64>,
    /// When the worker is expected to have said something, milliseconds since the epoch.
    pub check_in_ms: Option<i64>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub run: RunId,
    pub fence: Fence,
    /// For the history: `ok`, `failed`, `timeout`, `lost`, …
    pub outcome: String,
    /// What is recorded for the gate to done; without one, what an earlier attempt has left stays.
    pub commit: Option<String>,
    /// Where the ticket goes, unless it has asked or been moved meanwhile.
    pub then: Step,
    /// Whether it may be tried once more for what was written to it and not read.
    pub again: bool,
}

impl Tickets {
    /// # Errors
    /// What the database says.
    pub async fn get(&self, id: &TicketId) -> Result<Option<Ticket>, TicketError> {
        let id = id.clone();
        self.store.read(move |conn| Ok(table::get(conn, &id)?)).await
    }

    /// How many wait for a person, which of them the longest, and since when in milliseconds; none when none does.
    ///
    /// # Errors
    /// What the database says.
    pub async fn needing_a_person(&self) -> Result<Option<(u32, String, i64)>, TicketError> {
        self.store.read(|conn| Ok(table::needing_a_person(conn)?)).await
    }

    /// Newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list(&self, query: Query) -> Result<Vec<Ticket>, TicketError> {
        self.store.read(move |conn| Ok(table::list(conn, &query)?)).await
    }

    /// Those that could be dispatched: in `todo` with no worker, the most urgent first, then the oldest.
    ///
    /// # Errors
    /// What the database says.
    pub async fn ready(&self) -> Result<Vec<Ticket>, TicketError> {
        self.store.read(|conn| Ok(table::ready(conn)?)).await
    }

    /// Those whose worker has not been heard by the time it was expected to, and whose check-in is past.
    ///
    /// # Errors
    /// What the database says.
    pub async fn overdue(&self) -> Result<Vec<Ticket>, TicketError> {
        let now_ms = self.clock.wall_ms();
        self.store.read(move |conn| Ok(table::overdue(conn, now_ms)?)).await
    }

    /// Changes fields and takes a step, both or neither; with `if_version` only if nobody was faster.
    ///
    /// # Errors
    /// [`TicketError::Changed`] when somebody was, [`TicketError::AtWork`] when the step needs the worker
    /// to be gone, [`TicketError::Illegal`] when the ticket's state does not allow it.
    pub async fn change(
        &self,
        id: &TicketId,
        edit: Edit,
        step: Option<Step>,
        if_version: Option<i64>,
        author: &Author,
    ) -> Result<Ticket, TicketError> {
        check(&edit, step.as_ref())?;
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                let mut ticket = find(tx, &id)?;
                if if_version.is_some_and(|version| version != ticket.version) {
                    return Err(TicketError::Changed { version: ticket.version, state: ticket.state() });
                }
                let changed = edit_fields(&mut ticket, &edit);
                if !changed.is_empty() {
                    ticket.updated_ms = now_ms;
                    save(tx, &mut ticket)?;
                    let data = json!({"fields": changed});
                    this.tell(tx, &id, EventKind::TicketChanged, &author, data, now_ms)?;
                }
                match &step {
                    Some(step) if needs_rest(step) && ticket.live => Err(at_work(&ticket)),
                    Some(step) => this.step_in(tx, &id, step.clone(), &author, now_ms),
                    None => Ok(ticket),
                }
            })
            .await
    }

    /// Takes a step in the caller's transaction.
    ///
    /// # Errors
    /// As [`Tickets::change`].
    pub fn step_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        step: Step,
        author: &Author,
        now_ms: i64,
    ) -> Result<Ticket, TicketError> {
        let mut ticket = find(tx, id)?;
        let (from, reason) = (ticket.state(), ticket.reason.clone());
        ticket.apply(step, now_ms)?;
        if ticket.state() == from && ticket.reason == reason {
            return Ok(ticket);
        }
        save(tx, &mut ticket)?;
        let reason = ticket.reason.as_ref();
        let data = json!({
            "from": from.name(), "to": ticket.state().name(),
            "code": reason.map(|r| &r.code), "reason": reason.map(|r| &r.text),
        });
        self.tell(tx, id, EventKind::TicketMoved, author, data, now_ms)?;
        self.let_go(tx, &ticket, now_ms)?;
        Ok(ticket)
    }

    /// Puts a worker on a ticket, in the transaction that claims its run: at most one lives.
    ///
    /// # Errors
    /// [`TicketError::AtWork`] when one does, [`TicketError::Illegal`] when the ticket is not `todo`.
    pub fn begin_attempt(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        new: &NewAttempt,
        now_ms: i64,
    ) -> Result<Ticket, TicketError> {
        let ticket = find(tx, id)?;
        if ticket.live {
            return Err(at_work(&ticket));
        }
        self.step_in(tx, id, Step::Start, &Author::Lucid("dispatch"), now_ms)?;
        table::insert_attempt(tx, id, ticket.attempt + 1, new, now_ms)?;
        let data = json!({"attempt": ticket.attempt + 1, "agent": new.agent, "run": new.run.0,
            "branch": new.branch, "slot": new.slot});
        self.tell(tx, id, EventKind::AttemptStarted, &Author::Lucid("dispatch"), data, now_ms)?;
        find(tx, id)
    }

    /// Ends an attempt once its tree is confirmed dead: what it had not acknowledged goes back in line, and
    /// the ticket moves on, unless the worker asked or a person moved it meanwhile. Work that is done without
    /// having read what was written to it is not: the next attempt has it.
    ///
    /// # Errors
    /// [`TicketError::Stale`] when that attempt is not the live one.
    pub fn end_attempt(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        ending: &Ending,
        now_ms: i64,
    ) -> Result<Ticket, TicketError> {
        if !table::end_attempt(tx, id, ending, now_ms)? {
            return Err(TicketError::Stale { ticket: id.clone(), run: ending.run });
        }
        if let Some(commit) = &ending.commit {
            table::set_commit(tx, id, commit)?;
        }
        self.return_messages(tx, id, ending.fence, now_ms)?;
        let data = json!({"run": ending.run.0, "outcome": ending.outcome, "commit": ending.commit});
        self.tell(tx, id, EventKind::AttemptEnded, &Author::Lucid("dispatch"), data, now_ms)?;
        match find(tx, id)? {
            ticket if ticket.state() == TicketState::InProgress => {
                let then = self.after_what_was_read(tx, id, ending, now_ms)?;
                self.step_in(tx, id, then, &Author::Lucid("dispatch"), now_ms)
            }
            ticket => {
                self.let_go(tx, &ticket, now_ms)?;
                Ok(ticket)
            }
        }
    }

    /// Moves the expected check-in of the live attempt; none once it has been followed up.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_check_in(&self, tx: &Tx<'_>, id: &TicketId, at_ms: Option<i64>) -> Result<(), TicketError> {
        Ok(table::set_check_in(tx, id, at_ms)?)
    }

    /// Writes why a ticket in `todo` waits, or that nothing holds it; `since` stands while the code is the same.
    /// One that has moved on since the look keeps its own reason. No event and no version: it is worked out anew
    /// at every pass.
    ///
    /// # Errors
    /// What the database says.
    pub fn set_reason(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        reason: Option<(&str, &str)>,
        now_ms: i64,
    ) -> Result<(), TicketError> {
        let reason = reason.map(|(code, text)| Reason {
            code: code.to_owned(),
            text: text.to_owned(),
            since_ms: now_ms,
        });
        Ok(table::set_reason(tx, id, reason.as_ref())?)
    }

    /// Lets a worker write only while its attempt is the live one, and notes that it was heard.
    pub(super) fn admit(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        author: &Author,
        now_ms: i64,
    ) -> Result<(), TicketError> {
        match author {
            Author::Person(_) | Author::Lucid(_) => Ok(()),
            Author::Worker(worker) if worker.ticket == *id && table::hear(tx, worker, now_ms)? => Ok(()),
            Author::Worker(worker) => Err(TicketError::Stale { ticket: id.clone(), run: worker.run }),
        }
    }

    /// One fact, twice: in the journal for whoever follows everything, in the ticket's own log.
    pub(super) fn tell(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        kind: EventKind,
        author: &Author,
        data: serde_json::Value,
        now_ms: i64,
    ) -> Result<(), TicketError> {
        let mut own = data.clone();
        if let Some(fields) = own.as_object_mut() {
            fields.insert("actor".to_owned(), author.name().into());
        }
        self.note(tx, id, &kind.name(), author.run(), &own, now_ms)?;
        let mut event = Event::new(kind).ticket(id).actor(&author.name()).data(clipped(data));
        event.run = author.run();
        self.journal.record(tx, now_ms, event)?;
        Ok(())
    }
}

/// A fact as the journal has it: of a long text its beginning, the whole of which is on the ticket.
fn clipped(mut data: serde_json::Value) -> serde_json::Value {
    if let Some(serde_json::Value::String(body)) = data.get_mut("body") {
        let end = (0..=JOURNAL_BODY_BYTES).rev().find(|at| body.is_char_boundary(*at));
        body.truncate(end.unwrap_or(0));
    }
    data
}

/// The ticket, which is there.
pub(super) fn find(conn: &rusqlite::Connection, id: &TicketId) -> Result<Ticket, TicketError> {
    table::get(conn, id)?.ok_or_else(|| TicketError::NoTicket(id.clone()))
}

fn save(tx: &Tx<'_>, ticket: &mut Ticket) -> Result<(), TicketError> {
    if !table::update(tx, ticket)? {
        return Err(TicketError::Changed { version: ticket.version, state: ticket.state() });
    }
    ticket.version += 1;
    Ok(())
}

fn at_work(ticket: &Ticket) -> TicketError {
    TicketError::AtWork { ticket: ticket.id.clone(), run: ticket.run.unwrap_or(RunId(0)) }
}

/// Steps after which another worker could come, or none may be left.
fn needs_rest(step: &Step) -> bool {
    match step {
        Step::Requeue | Step::Done(_) | Step::Close { .. } | Step::Start => true,
        Step::Ask(_)
        | Step::Reply
        | Step::Resume
        | Step::Park { .. }
        | Step::Review
        | Step::GiveUp { .. } => false,
    }
}

fn check(edit: &Edit, step: Option<&Step>) -> Result<(), TicketError> {
    if let Some(title) = &edit.title {
        titled(title, TITLE_MAX_BYTES)?;
    }
    at_most("body", edit.body.as_deref().unwrap_or_default(), BODY_MAX_BYTES)?;
    names([("assignee", &edit.assignee), ("agent", &edit.agent), ("pool", &edit.pool)])?;
    match step {
        Some(Step::Close { text } | Step::Park { text, .. }) => bounded("reason", text, REASON_MAX_BYTES),
        Some(_) | None => Ok(()),
    }
}

fn names(names: [(&'static str, &Option<String>); 3]) -> Result<(), TicketError> {
    names
        .into_iter()
        .try_for_each(|(field, name)| at_most(field, name.as_deref().unwrap_or_default(), NAME_MAX_BYTES))
}

/// Takes over what differs; the names of it.
fn edit_fields(ticket: &mut Ticket, edit: &Edit) -> Vec<&'static str> {
    let mut changed = Vec::new();
    for (name, text, new) in
        [("title", &mut ticket.title, &edit.title), ("body", &mut ticket.body, &edit.body)]
    {
        if let Some(new) = new.as_ref().filter(|new| *new != text) {
            text.clone_from(new);
            changed.push(name);
        }
    }
    if let Some(priority) = edit.priority.filter(|new| *new != ticket.priority) {
        ticket.priority = priority;
        changed.push("priority");
    }
    for (name, field, new) in [
        ("assignee", &mut ticket.assignee, &edit.assignee),
        ("agent", &mut ticket.agent, &edit.agent),
        ("pool", &mut ticket.pool, &edit.pool),
    ] {
        let Some(new) = new else { continue };
        let new = Some(new.clone()).filter(|name| !name.is_empty());
        if *field != new {
            *field = new;
            changed.push(name);
        }
    }
    changed
}
