//! Tickets on the wire.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::SchemaVersion;
use crate::model::ticket::{Ask, Priority, Report, TicketState};

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// `MC-12`
    pub id: String,
    pub title: String,
    /// In lists cut to its beginning.
    pub body: String,
    /// `todo`, `in_progress`, `needs_input`, `waiting`, `review`, `done` or `closed`
    #[schema(value_type = String, example = "todo")]
    pub state: TicketState,
    /// `low`, `normal`, `high` or `critical`
    #[schema(value_type = String, example = "normal")]
    pub priority: Priority,
    pub assignee: Option<String>,
    pub agent: Option<String>,
    pub pool: Option<String>,
    /// Workers that were put on it so far.
    pub attempt: u32,
    /// After so many a person is asked; `dispatch.max_attempts` where the ticket was given none of its own.
    pub max_attempts: Option<u32>,
    pub branch: Option<String>,
    /// What has to be on the base branch before the ticket can be done.
    pub commit: Option<String>,
    /// Of the last attempt.
    pub run: Option<i64>,
    pub slot: Option<String>,
    pub check_in_at: Option<Timestamp>,
    pub reason: Option<TicketReason>,
    /// When what a `waiting` ticket waits for is expected.
    pub until: Option<Timestamp>,
    #[schema(value_type = Option<Object>)]
    pub ask: Option<Ask>,
    #[schema(value_type = Option<Object>)]
    pub report: Option<Report>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Rises with every change; the `ETag`.
    pub version: i64,
}

/// Why a ticket is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TicketReason {
    pub code: String,
    pub text: String,
    pub since: Timestamp,
}

/// `GET tickets/{id}`, and the answer of everything that makes or changes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TicketDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub ticket: Ticket,
}

/// `GET tickets`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TicketPage {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub tickets: Vec<Ticket>,
    pub next_cursor: Option<String>,
}

/// What `GET tickets` is asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TicketFilter {
    /// States, separated by commas; `open` stands for all but `done` and `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Part of the title or body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// 1 to 500; 50 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `POST tickets`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTicket {
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
}

/// `PATCH tickets/{id}`: what is absent stays; an empty name is taken away. With `If-Match`, only if the
/// ticket is still what it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// `todo`, `waiting`, `review`, `done` (through the gate) or `closed`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub state: Option<TicketState>,
    /// With `waiting` and `closed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `waiting`: when what it waits for is expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// `POST tickets/{id}/comments`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteComment {
    pub body: String,
}

/// One thing said on a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comment {
    pub id: i64,
    pub at: Timestamp,
    /// `comment`, `message`, `ask`, `report` or `notice`
    pub kind: String,
    pub author: String,
    pub run: Option<i64>,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommentDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub comment: Comment,
}

/// `GET tickets/{id}/comments`, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comments {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub comments: Vec<Comment>,
}

/// What a ticket's comments and events are asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AfterQuery {
    /// Only those with a number above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `POST tickets/{id}/ask`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskPerson {
    pub need: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// `POST tickets/{id}/report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteReport {
    pub status: String,
    /// One line.
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

/// An event of a ticket's log; also the data of `ticket_event` on its stream, whose id is `seq`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TicketEvent {
    /// Rises over the whole database, so a ticket's have gaps.
    pub seq: i64,
    pub at: Timestamp,
    #[serde(rename = "type")]
    pub kind: String,
    /// `worker`, or `lucid` for what became of the ticket
    pub source: String,
    pub run: Option<i64>,
    /// As it came.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// `GET tickets/{id}/events`, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TicketEvents {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub events: Vec<TicketEvent>,
    /// Ask again after the last one's `seq` for what follows.
    pub more: bool,
}

/// `POST tickets/{id}/events`: the numbers of a batch follow one another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsAppended {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    /// Of the last one; `null` for an empty batch.
    pub seq: Option<i64>,
    pub first: Option<i64>,
    pub count: usize,
}

/// `POST tickets/{id}/context`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkFile {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `manual` (the default) or `auto`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A file that belongs to a ticket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextLink {
    pub id: i64,
    pub path: String,
    pub title: Option<String>,
    pub source: String,
    /// Whether it is there; `null` for a path that leads out of where it starts, and where its disk does not answer.
    pub exists: Option<bool>,
    pub created_at: Timestamp,
    pub actor: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextDocument {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub link: ContextLink,
}

/// `GET tickets/{id}/context`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextLinks {
    #[serde(default)]
    pub schema_version: SchemaVersion,
    pub context: Vec<ContextLink>,
}
