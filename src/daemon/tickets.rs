//! What people ask of tickets beyond writing to them: moving them through the gate, having them worked on.

use crate::dispatch::gate::GateQuestion;
use crate::model::ids::TicketId;
use crate::model::message;
use crate::model::message::MessageId;
use crate::model::ticket::{GateAnswer, Illegal, Step, Ticket};
use crate::ticket::board::{Edit, NewTicket};
use crate::ticket::{Author, TicketError};

use super::App;

use super::refused::{Refused, RefusedKind};

/// Where a person may put a ticket; the other states are a worker's to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    Todo,
    Waiting {
        reason: String,
        until_ms: Option<i64>,
    },
    Review,
    /// Through the gate.
    Done,
    Closed {
        reason: String,
    },
}

/// A change to a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketChange {
    pub edit: Edit,
    pub to: Option<Move>,
    /// Only if the ticket is still at this version.
    pub if_version: Option<i64>,
}

impl App {
    /// Makes a ticket in `todo`.
    ///
    /// # Errors
    /// [`Refused`]: a text that is none, or a profile or pool that does not exist.
    pub async fn create_ticket(&self, new: NewTicket, author: &Author) -> Result<Ticket, Refused> {
        self.known_names(new.agent.as_deref(), new.pool.as_deref())?;
        Ok(self.tickets.create(new, author).await?)
    }

    /// A ticket that names what does not exist would wait for ever.
    fn known_names(&self, agent: Option<&str>, pool: Option<&str>) -> Result<(), TicketError> {
        let agents = self.dispatch.agents.iter().map(|agent| agent.name.as_str());
        known("agent", agent, "agent profile", &agents.collect::<Vec<_>>())?;
        known("pool", pool, "pool", &self.pools.names().collect::<Vec<_>>())
    }

    /// Changes and moves a ticket, both or neither.
    ///
    /// # Errors
    /// [`Refused`]: unknown, changed meanwhile, a worker on it, or the gate to `done` is closed.
    pub async fn change_ticket(
        &self,
        id: &TicketId,
        change: TicketChange,
        author: &Author,
    ) -> Result<Ticket, Refused> {
        let TicketChange { edit, to, mut if_version } = change;
        self.known_names(edit.agent.as_deref(), edit.pool.as_deref())?;
        let step = match to {
            None => None,
            Some(Move::Todo) => Some(Step::Requeue),
            Some(Move::Waiting { until_ms: Some(until_ms), .. }) if until_ms <= self.clock.wall_ms() => {
                return Err(passed(until_ms));
            }
            Some(Move::Waiting { reason, until_ms }) => Some(Step::Park { text: reason, until_ms }),
            Some(Move::Review) => Some(Step::Review),
            Some(Move::Closed { reason }) => Some(Step::Close { text: reason }),
            Some(Move::Done) => {
                let ticket = self.ticket(id).await?;
                let answer = self.ask_gate(&ticket).await;
                // What the gate said of this version must not count for another.
                if_version = if_version.or(Some(ticket.version));
                Some(Step::Done(answer))
            }
        };
        let is_answer = step == Some(Step::Requeue);
        let ticket = self.tickets.change(id, edit, step, if_version, author).await?;
        if is_answer {
            self.look_at_login_of(id).await;
        }
        Ok(ticket)
    }

    /// Whether the ticket's recorded commit is where `done` wants it.
    pub async fn ask_gate(&self, ticket: &Ticket) -> GateAnswer {
        match &ticket.commit {
            None => GateAnswer::NoCommit,
            Some(commit) => {
                (self.gate)(GateQuestion { pool: ticket.pool.clone(), commit: commit.clone() }).await
            }
        }
    }

    /// # Errors
    /// [`Refused`] when there is none.
    pub async fn ticket(&self, id: &TicketId) -> Result<Ticket, Refused> {
        self.tickets.get(id).await?.ok_or_else(|| Refused::no_ticket(id))
    }
}

/// Whether `name` is one of those that exist; an empty one takes the name away.
fn known(field: &'static str, name: Option<&str>, what: &str, names: &[&str]) -> Result<(), TicketError> {
    let Some(name) = name.filter(|name| !name.is_empty() && !names.contains(name)) else { return Ok(()) };
    let those = match names {
        [] => "the config has none".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    Err(TicketError::Invalid { field, why: format!("there is no {what} `{name}`; {those}") })
}

fn passed(until_ms: i64) -> Refused {
    let at = jiff::Timestamp::from_millisecond(until_ms).map(|at| at.to_string()).unwrap_or_default();
    let message = format!("a ticket waits for a time to come; {at} has passed");
    Refused::new(
        RefusedKind::Invalid,
        "invalid_move",
        message,
        "without `until` it waits until somebody moves it",
    )
}

impl Refused {
    #[must_use]
    pub fn no_ticket(id: &TicketId) -> Self {
        Self::new(
            RefusedKind::NotFound,
            "no_such_ticket",
            format!("there is no ticket {id}"),
            "list them: lucid tickets",
        )
    }

    #[must_use]
    pub fn no_message(id: MessageId) -> Self {
        Self::new(
            RefusedKind::NotFound,
            "no_such_message",
            format!("there is no message {}", id.0),
            "list them: lucid messages",
        )
    }
}

impl From<TicketError> for Refused {
    fn from(error: TicketError) -> Self {
        let told = error.to_string();
        let conflict = |code, help: String| Self::new(RefusedKind::Conflict, code, told.clone(), help);
        match error {
            TicketError::Store(error) => error.into(),
            TicketError::Sql(error) => error.into(),
            TicketError::NoTicket(id) => Self::no_ticket(&id),
            TicketError::NoMessage(id) => Self::no_message(id),
            TicketError::NoLink => Self::new(RefusedKind::NotFound, "no_such_file", told, ""),
            TicketError::Illegal(Illegal::Gate(GateAnswer::NoCommit)) => conflict(
                "gate_closed",
                "a worker's commit is recorded when its run ends; without one: lucid ticket close ID --reason TEXT"
                    .into(),
            ),
            TicketError::Illegal(Illegal::Gate(GateAnswer::Unreadable(_))) => conflict(
                "gate_closed",
                "nothing is known of the commit until its repository can be fetched: lucid pool says what is wrong, \
                 lucid pool heal tries again"
                    .into(),
            ),
            TicketError::Illegal(Illegal::Gate(_)) => conflict(
                "gate_closed",
                "merge the commit into the base branch and push it, then try again".into(),
            ),
            TicketError::Illegal(Illegal::State { from, .. }) if from.is_over() => {
                conflict("illegal_step", "open it again first: lucid ticket move ID todo".into())
            }
            TicketError::Illegal(Illegal::State { .. }) => {
                conflict("illegal_step", "see it: lucid ticket show ID".into())
            }
            TicketError::Message(message::Illegal::State { .. }) => {
                conflict("illegal_step", "see them: lucid messages".into())
            }
            TicketError::Message(message::Illegal::Fence) | TicketError::Stale { .. } => {
                conflict("superseded", "another attempt has taken over; nothing was changed".into())
            }
            TicketError::Unread(unread) => {
                let help = unread.way.unwrap_or_else(|| "its text is a comment on the ticket".to_owned());
                conflict("no_reader", help)
            }
            TicketError::AtWork { run, .. } => {
                conflict("at_work", format!("end it first: lucid kill {}", run.0))
            }
            TicketError::Changed { .. } => {
                Self::new(RefusedKind::Changed, "changed", told, "read it again, then decide again")
            }
            TicketError::Invalid { .. } => Self::new(RefusedKind::Invalid, "invalid_field", told, ""),
        }
    }
}
