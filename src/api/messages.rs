//! Messages from people to workers: sent to a ticket, taken and acknowledged by its worker.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json as Answer};

use super::auth::Caller;
use super::convert_ticket as convert;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::{Json, MessagePath, Query, TicketPath};
use super::limits::{PAGE_DEFAULT, PAGE_MAX};
use super::state::Api;
use super::wire::{FailMessage, MessageDocument, MessageFilter, MessagePage, SchemaVersion, SendMessage};
use crate::daemon::Refused;
use crate::model::ids::TicketId;
use crate::model::message::{Message, MessageState};
use crate::ticket::Worker;
use crate::ticket::inbox::Query as InboxQuery;

/// All messages, newest first.
#[utoipa::path(get, path = "/api/v1/messages", tag = "messages", params(MessageFilter),
    responses((status = 200, body = MessagePage)))]
pub async fn list(
    State(api): State<Api>,
    Query(filter): Query<MessageFilter>,
) -> Result<Answer<MessagePage>, ApiError> {
    page(&api, None, filter).await
}

/// A ticket's messages, newest first.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/messages", tag = "messages",
    params(("id" = String, Path), MessageFilter), responses((status = 200, body = MessagePage)))]
pub async fn of_ticket(
    State(api): State<Api>,
    TicketPath(id): TicketPath,
    Query(filter): Query<MessageFilter>,
) -> Result<Answer<MessagePage>, ApiError> {
    api.app.ticket(&id).await?;
    page(&api, Some(id), filter).await
}

async fn page(
    api: &Api,
    ticket: Option<TicketId>,
    filter: MessageFilter,
) -> Result<Answer<MessagePage>, ApiError> {
    let limit = cursor::page_size(filter.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let before = filter.cursor.as_deref().map(|word| cursor::decode_number(List::Messages, word));
    let states = filter.state.as_deref().map(states).transpose()?.unwrap_or_default();
    let query = InboxQuery { ticket, states, before: before.transpose()?, limit: limit + 1 };
    let mut found = api.app.tickets.messages(query).await.map_err(Refused::from)?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = match found.last() {
        Some(last) if has_more => Some(cursor::encode(List::Messages, &last.id.0.to_string())),
        Some(_) | None => None,
    };
    let messages = found.iter().map(convert::message).collect();
    Ok(Answer(MessagePage { schema_version: SchemaVersion::default(), messages, next_cursor }))
}

fn states(text: &str) -> Result<Vec<MessageState>, ApiError> {
    let read = |name: &str| {
        MessageState::parse(name.trim()).ok_or_else(|| {
            let names: Vec<&str> = MessageState::ALL.into_iter().map(MessageState::name).collect();
            ApiError::invalid("invalid_query", format!("`{}` is no state of a message", name.trim()))
                .help(format!("states are {}", names.join(", ")))
        })
    };
    text.split(',').map(read).collect()
}

fn document(message: &Message) -> Answer<MessageDocument> {
    Answer(MessageDocument { schema_version: SchemaVersion::default(), message: convert::message(message) })
}

/// Sends a message to the ticket's worker, this one or the next.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/messages", tag = "messages", params(("id" = String, Path)),
    request_body = SendMessage, responses((status = 201, body = MessageDocument)))]
pub async fn send(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    Json(wish): Json<SendMessage>,
) -> Result<impl IntoResponse, ApiError> {
    let via = wish.via.as_deref().unwrap_or("api");
    let author = caller.person();
    let replied = api.app.reply(&id, &wish.text, via, &author).await?;
    Ok((StatusCode::CREATED, document(&replied.message)))
}

fn worker(caller: &Caller) -> Result<&Worker, ApiError> {
    caller.worker().ok_or_else(|| {
        ApiError::forbidden("messages are taken by the worker of their ticket, with its own token")
    })
}

/// Takes a message; whoever is answered with its text has it.
#[utoipa::path(post, path = "/api/v1/messages/{id}/claim", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = MessageDocument)))]
pub async fn claim(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    MessagePath(id): MessagePath,
) -> Result<Answer<MessageDocument>, ApiError> {
    let worker = worker(&caller)?;
    api.app.tickets.claim(id, worker).await.map_err(Refused::from)?;
    Ok(document(&api.app.tickets.deliver(id, worker).await.map_err(Refused::from)?))
}

/// Says that a message has been read.
#[utoipa::path(post, path = "/api/v1/messages/{id}/ack", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = MessageDocument)))]
pub async fn ack(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    MessagePath(id): MessagePath,
) -> Result<Answer<MessageDocument>, ApiError> {
    Ok(document(&api.app.tickets.ack(id, worker(&caller)?).await.map_err(Refused::from)?))
}

/// Says that a message did not get through; it goes back in line, or is given up and its author told.
#[utoipa::path(post, path = "/api/v1/messages/{id}/fail", tag = "messages", params(("id" = i64, Path)),
    request_body = FailMessage, responses((status = 200, body = MessageDocument)))]
pub async fn fail(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    MessagePath(id): MessagePath,
    Json(wish): Json<FailMessage>,
) -> Result<Answer<MessageDocument>, ApiError> {
    let failed = api.app.tickets.fail(id, worker(&caller)?, &wish.error).await;
    Ok(document(&failed.map_err(Refused::from)?))
}

/// Puts an expired or dead message in line again.
#[utoipa::path(post, path = "/api/v1/messages/{id}/retry", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = MessageDocument)))]
pub async fn retry(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    MessagePath(id): MessagePath,
) -> Result<Answer<MessageDocument>, ApiError> {
    let retried = api.app.tickets.retry_message(id, &caller.person()).await;
    Ok(document(&retried.map_err(Refused::from)?))
}

/// Takes a message out of the line; its text stays in the conversation.
#[utoipa::path(delete, path = "/api/v1/messages/{id}", tag = "messages", params(("id" = i64, Path)),
    responses((status = 200, body = MessageDocument)))]
pub async fn remove(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    MessagePath(id): MessagePath,
) -> Result<Answer<MessageDocument>, ApiError> {
    let dropped = api.app.tickets.drop_message(id, &caller.person()).await;
    Ok(document(&dropped.map_err(Refused::from)?))
}
