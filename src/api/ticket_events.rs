//! A ticket's log: appended by workers, read by number, followed live.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as Answer};
use serde_json::value::RawValue;

use super::auth::Caller;
use super::convert_ticket as convert;
use super::cursor;
use super::error::ApiError;
use super::extract::{self, Query, TicketPath};
use super::listener::Origin;
use super::sse::{self, Gone, Reset, Sender};
use super::state::Api;
use super::wire::{AfterQuery, EventsAppended, SchemaVersion, TicketEvents};
use crate::daemon::Refused;
use crate::ticket::events::{Follow, FollowError, NewEvent, PAGE_MAX, TicketEvent};

/// Appends one event or a batch (an array) and sends it to all who follow. Answers when it is durable.
#[utoipa::path(post, path = "/api/v1/tickets/{id}/events", tag = "tickets", params(("id" = String, Path)),
    request_body(content = Object, description = "A stream-json event, or an array of them; kept as it comes"),
    responses((status = 201, body = EventsAppended)))]
pub async fn append(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    TicketPath(id): TicketPath,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let author = caller.author(&id)?;
    let (parts, body) = request.into_parts();
    extract::require_json(&parts.headers)?;
    let events = parse(&extract::read(body).await?)?;
    let seqs = api.app.tickets.append(&id, events, &author).await.map_err(Refused::from)?;
    let appended = EventsAppended {
        schema_version: SchemaVersion::default(),
        seq: seqs.last().copied(),
        first: seqs.first().copied(),
        count: seqs.len(),
    };
    Ok((StatusCode::CREATED, Answer(appended)))
}

/// The events of a body, each as its own text.
fn parse(body: &[u8]) -> Result<Vec<NewEvent>, ApiError> {
    let one_or_many: Vec<&RawValue> = match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(body).map_err(|cause| broken(&cause))?,
        Some(_) | None => vec![serde_json::from_slice(body).map_err(|cause| broken(&cause))?],
    };
    let events = one_or_many.into_iter().map(|event| NewEvent::json(event.get())).collect::<Result<_, _>>();
    Ok(events.map_err(Refused::from)?)
}

fn broken(cause: &serde_json::Error) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is no JSON: {cause}"))
}

/// The log after a number, oldest first.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/events", tag = "tickets",
    params(("id" = String, Path), AfterQuery), responses((status = 200, body = TicketEvents)))]
pub async fn list(
    State(api): State<Api>,
    TicketPath(id): TicketPath,
    Query(query): Query<AfterQuery>,
) -> Result<Answer<TicketEvents>, ApiError> {
    let most = u32::try_from(PAGE_MAX).unwrap_or(u32::MAX);
    let limit = cursor::page_size(query.limit, most, most, "limit")? as usize;
    let after = query.after.unwrap_or(0);
    let found = api.app.tickets.events_after(&id, after, limit).await.map_err(Refused::from)?;
    let more = match found.last() {
        Some(last) => api.app.tickets.last_seq(&id).await.map_err(Refused::from)? > last.seq,
        None => false,
    };
    let events = found.iter().map(convert::ticket_event).collect();
    Ok(Answer(TicketEvents { schema_version: SchemaVersion::default(), events, more }))
}

/// The log live, from a number on or from now on: events `ticket_event`, and `reset` where some are not
/// sent.
#[utoipa::path(get, path = "/api/v1/tickets/{id}/stream", tag = "tickets",
    params(("id" = String, Path), AfterQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was read")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub async fn stream(
    State(api): State<Api>,
    origin: Option<Extension<Origin>>,
    TicketPath(id): TicketPath,
    Query(query): Query<AfterQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let last = sse::last_event_id(&headers)?.map(|id| i64::try_from(id).unwrap_or(i64::MAX));
    let latest = api.app.tickets.last_seq(&id).await.map_err(Refused::from)?;
    let follow = api.app.tickets.follow(&id, last.or(query.after).unwrap_or(latest));
    let connection = origin.as_ref().map(|origin| &origin.connection);
    sse::respond(connection, api.closing.clone(), move |to| tell(follow, to))
}

async fn tell(mut follow: Follow, to: Sender) -> Result<(), Gone> {
    loop {
        let (reason, latest) = match follow.next().await {
            Ok(live) => {
                to.frame(live.frame(frame)).await?;
                continue;
            }
            Err(FollowError::TooOld { latest }) => (Reset::TooOld, latest),
            Err(FollowError::Lagged { latest }) => (Reset::Lagged, latest),
            Err(FollowError::UnknownId { latest }) => (Reset::UnknownId, latest),
            Err(FollowError::Closed) => return Ok(()),
            Err(FollowError::Store(cause)) => {
                // The reader comes back with its last id, by then the database may answer again.
                tracing::warn!(%cause, "a stream could not read a ticket's log");
                return Ok(());
            }
        };
        to.reset(reason, u64::try_from(latest).unwrap_or(0)).await?;
    }
}

/// The frame of an event, the same for all who follow.
fn frame(event: &TicketEvent) -> Vec<u8> {
    sse::encode(u64::try_from(event.seq).ok(), "ticket_event", &convert::ticket_event(event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_event_or_many_and_each_keeps_its_text() {
        let one = parse(br#" {"b":1.0,"type":"x","a":12345678901234567890123}"#).unwrap();
        assert_eq!(one, [NewEvent::json(r#"{"b":1.0,"type":"x","a":12345678901234567890123}"#).unwrap()]);
        let many = parse(br#"[{"type":"a"}, "raw line", 7, null]"#).unwrap();
        assert_eq!(many.len(), 4);
        assert_eq!(parse(b"[]").unwrap(), []);
        assert_eq!(parse(b"{").unwrap_err().status(), 400);
        let long = format!("\"{}\"", "x".repeat(256 * 1024));
        assert_eq!(parse(long.as_bytes()).unwrap_err().status(), 422);
    }
}
