//! Tickets: `tickets`, `tickets/{id}` and what is said on one.

use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert_ticket as convert;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::{Json, Query, TicketPath};
use super::limits::{PAGE_DEFAULT, PAGE_MAX};
use super::state::Api;
use super::wire::{
    AfterQuery, AskPerson, CommentDocument, Comments, CreateTicket, SchemaVersion, TicketDocument,
    TicketFilter, TicketPage, TicketPatch, WriteComment, WriteReport,
};
use crate::daemon::Refused;
use crate::daemon::tickets::{Move, TicketChange};
use crate::model::ticket::{Ask, Priority, Report, Ticket, TicketState};
use crate::ticket::board::{Edit, NewTicket, Query as BoardQuery};
use crate::ticket::conversation;

/// Tickets, newest first.
#[utoipa::path(get, path = "/api/v1/tickets", tag = "tickets", params(TicketFilter),
    responses((status = 200, body = TicketPage)))]
pub async fn list(
    State(api): State<Api>,
    Query(filter): Query<TicketFilter>,
) -> Result<Answer<TicketPage>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let priority = filter.priority.as_deref().map(priority).transpose()?;
    let before = filter.cursor.as_deref().map(|word| cursor::decode_number(List::Tickets, word));
    let query = BoardQuery {
        states: filter.state.as_deref().map(states).transpose()?.unwrap_or_default(),
        priority,
        assignee: filter.assignee,
        text: filter.q,
        before: before.transpose()?,
        // One more than asked for tells whether there is a next page.
        limit: limit + 1,
    };
    let mut tickets = api.app.tickets.list(query).await.map_err(Refused::from)?;
    let has_more = tickets.len() > limit as usize;
    tickets.truncate(limit as usize);
    let next_cursor = match tickets.last() {
        Some(last) if has_more => Some(cursor::encode(List::Tickets, &last.id.number().to_string())),
        Some(_) | None => None,
    };
    let tickets = tickets.iter().map(|ticket| convert::listed(ticket, max_attempts(&api))).collect();
    Ok(Answer(TicketPage { schema_version: SchemaVersion::default(), tickets, next_cursor }))
}

fn states(text: &str) -> Result<Vec<TicketState>, ApiError> {
    let mut wanted = Vec::new();
    for name in text.split(',').map(str::trim) {
        match name {
            "open" => wanted.extend(TicketState::ALL.into_iter().filter(|state| !state.is_over())),
            name => wanted.push(TicketState::parse(name).ok_or_else(|| {
                let names: Vec<&str> = TicketState::ALL.into_iter().map(TicketState::name).collect();
                ApiError::invalid("invalid_query", format!("`{name}` is no state of a ticket"))
                    .help(format!("states are {}, open", names.join(", ")))
            })?),
        }
    }
    Ok(wanted)
}

fn priority(name: &str) -> Result<Priority, ApiError> {
    Priority::parse(name).ok_or_else(|| {
        ApiError::invalid("invalid_query", format!("`{name}` is no priority"))
            .help("priorities are low, normal, high, critical")
    })
}

fn max_attempts(api: &Api) -> u32 {
    api.app.dispatch.rules.max_attempts
}

/// A ticket with its version as `ETag`.
fn document(api: &Api, ticket: &Ticket) -> impl IntoResponse + use<> {
    let tag = [(ETAG, format!("\"{}\"", ticket.version))];
    let ticket = convert::ticket(ticket, max_attempts(api));
    let document = TicketDocument { schema_version: SchemaVersion::default(), ticket };
    (tag, Answer(document))
}

/// Makes a ticket in `todo`.
#[utoipa::path(post, path = "/api/v1/tickets", tag = "tickets", request_body = CreateTicket,
    responses((status = 201, body = TicketDocument)))]
pub async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Json(wish): Json<CreateTicket>,
) -> Result<impl IntoResponse, ApiError> {
    let named = |name: Option<String>| name.filter(|name| !name.is_empty());
    let new = NewTicket {
        title: wish.title,
        body: wish.body,
        priority: wish.priority,
        assignee: named(wish.assignee),
        agent: named(wish.agent),
        pool: named(wish.pool),
        max_attempts: wish.max_attempts.filter(|max| *max > 0),
    };
    let ticket = api.app.create_ticket(new, &caller.person()).await?;
    let location = format!("/api/v1/tickets/{}", ticket.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], document(&api, &ticket)))
}

/// One ticket.
#[utoipa::path(get, path = "/api/v1/tickets/{id}", tag = "tickets", params(("id" = String, Path)),
    responses((status = 200, body = TicketDocument)))]
pub async fn show(State(api): State<Api>, TicketPath(id): TicketPath) -> Result<impl IntoResponse, ApiError> {
    Ok(document(&api, &api.app.ticket(&id).await?))
}

/// Changes a ticket's text, priority or names, and moves it; both or neither.
#[utoipa::path(patch, path = "/api/v1/tickets/{id}", tag = "tickets",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "The `ETag` it must still have")),
    request_body = TicketPatch, responses((status = 200, body = TicketDocument)))]
pub async fn patch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    headers: HeaderMap,
    Json(wish): Json<TicketPatch>,
) -> Result<impl IntoResponse, ApiError> {
    let if_version = expected(&headers)?;
    let to =
        destination(wish.state, wish.reason.as_deref(), wish.until.map(jiff::Timestamp::as_millisecond))?;
    let edit = Edit {
        title: wish.title,
        body: wish.body,
        priority: wish.priority,
        assignee: wish.assignee,
        agent: wish.agent,
        pool: wish.pool,
    };
    let change = TicketChange { edit, to, if_version };
    Ok(document(&api, &api.app.change_ticket(&id, change, &caller.person()).await?))
}

fn destination(
    state: Option<TicketState>,
    reason: Option<&str>,
    until_ms: Option<i64>,
) -> Result<Option<Move>, ApiError> {
    let refuse = |detail: &str, help: &str| Err(ApiError::invalid("invalid_move", detail).help(help));
    let reason_or = |what: &str| {
        reason.map(str::to_owned).ok_or_else(|| {
            ApiError::invalid("invalid_move", format!("`{what}` wants a reason"))
                .help(format!("lucid ticket move ID {what} --reason TEXT"))
        })
    };
    match state {
        None => Ok(None),
        Some(TicketState::Todo) => Ok(Some(Move::Todo)),
        Some(TicketState::Review) => Ok(Some(Move::Review)),
        Some(TicketState::Done) => Ok(Some(Move::Done)),
        Some(TicketState::Waiting) => Ok(Some(Move::Waiting { reason: reason_or("waiting")?, until_ms })),
        Some(TicketState::Closed) => Ok(Some(Move::Closed { reason: reason_or("closed")? })),
        Some(TicketState::InProgress) => {
            refuse("a ticket is in progress when a worker is on it", "lucid ticket dispatch ID")
        }
        Some(TicketState::NeedsInput) => refuse("a ticket needs input when it asks", "lucid ticket ask ID"),
    }
}

/// The version that `If-Match` names; none for no header and for `*`.
fn expected(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|n| n.parse().ok());
    version.map(Some).ok_or_else(|| ApiError::invalid("bad_if_match", "`If-Match` is no `ETag` of a ticket"))
}

/// Has a ticket worked on now; refused with the reason where nobody can be put on it.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/dispatch", tag = "tickets", params(("id" = String, Path)),
    responses((status = 202, body = TicketDocument)))]
pub async fn dispatch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
) -> Result<impl IntoResponse, ApiError> {
    let ticket = api.app.dispatch_ticket(&id, &caller.actor()).await?;
    Ok((StatusCode::ACCEPTED, document(&api, &ticket)))
}

/// What was said on a ticket, oldest first.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/comments", tag = "tickets",
    params(("id" = String, Path), AfterQuery), responses((status = 200, body = Comments)))]
pub async fn comments(
    State(api): State<Api>,
    TicketPath(id): TicketPath,
    Query(query): Query<AfterQuery>,
) -> Result<Answer<Comments>, ApiError> {
    let most = conversation::PAGE_MAX;
    let limit = cursor::page_size(query.limit, most, most, "limit")?;
    let found =
        api.app.tickets.comments(&id, query.after.unwrap_or(0), limit).await.map_err(Refused::from)?;
    let comments = found.iter().map(convert::comment).collect();
    Ok(Answer(Comments { schema_version: SchemaVersion::default(), comments }))
}

/// Says something on a ticket.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/comments", tag = "tickets", params(("id" = String, Path)),
    request_body = WriteComment, responses((status = 201, body = CommentDocument)))]
pub async fn comment(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    Json(wish): Json<WriteComment>,
) -> Result<impl IntoResponse, ApiError> {
    let author = caller.author(&id)?;
    let comment = api.app.tickets.comment(&id, &wish.body, &author).await.map_err(Refused::from)?;
    let comment = convert::comment(&comment);
    let document = CommentDocument { schema_version: SchemaVersion::default(), comment };
    Ok((StatusCode::CREATED, Answer(document)))
}

/// Asks a person; the ticket waits in `needs_input` for the answer.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/ask", tag = "tickets", params(("id" = String, Path)),
    request_body = AskPerson, responses((status = 200, body = TicketDocument)))]
pub async fn ask(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    Json(wish): Json<AskPerson>,
) -> Result<impl IntoResponse, ApiError> {
    let author = caller.author(&id)?;
    let ask = Ask { need: wish.need, why: wish.why, how: wish.how, options: wish.options };
    Ok(document(&api, &api.app.tickets.ask(&id, ask, &author).await.map_err(Refused::from)?))
}

/// Keeps how a worker says it ended. It moves nothing: the end of the run does.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/report", tag = "tickets", params(("id" = String, Path)),
    request_body = WriteReport, responses((status = 200, body = TicketDocument)))]
pub async fn report(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    Json(wish): Json<WriteReport>,
) -> Result<impl IntoResponse, ApiError> {
    let author = caller.author(&id)?;
    let report =
        Report { status: wish.status, summary: wish.summary, commit: wish.commit, evidence: wish.evidence };
    Ok(document(&api, &api.app.tickets.report(&id, report, &author).await.map_err(Refused::from)?))
}
