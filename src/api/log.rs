//! A run's output: whole or in part, and live.
//!
//! Offsets are those of the output as it was produced; they stay valid when its middle has been cut
//! out to keep it within its limit.

use std::io;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::stream;

use super::convert;
use super::error::ApiError;
use super::extract::{Query, RunPath};
use super::limits::{LOG_CHUNK_MAX_BYTES, LOG_POLL_EVERY, LOG_TAIL_MAX_LINES};
use super::listener::Origin;
use super::sse::{self, Gone, Reset, Sender};
use super::state::Api;
use super::wire::{EndEvent, LogEvent, LogQuery};
use super::{cursor, runs};
use crate::model::ids::RunId;
use crate::model::run::{Run, RunState};

/// Where the answer ends in the output: what to ask for next.
const SIZE: HeaderName = HeaderName::from_static("x-log-size");
/// Whether the run is over and this is all of its output.
const COMPLETE: HeaderName = HeaderName::from_static("x-log-complete");

/// A run's output as plain text, as far as there is any now.
#[utoipa::path(get, path = "/api/v1/runs/{id}/log", tag = "runs", params(("id" = i64, Path), LogQuery),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn log(
    State(api): State<Api>,
    RunPath(id): RunPath,
    Query(query): Query<LogQuery>,
) -> Result<Response, ApiError> {
    let run = runs::find(&api, id).await?;
    let (body, end) = match (query.tail, query.offset) {
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("invalid_query", "`tail` and `offset` exclude each other"));
        }
        (Some(lines), None) => {
            let lines = cursor::page_size(Some(lines), 0, LOG_TAIL_MAX_LINES, "tail")?;
            none_is_empty(
                api.app.tail_log(id, lines as usize).await.map(|last| (last.bytes.into(), last.next)),
            )?
        }
        (None, offset) => {
            // No line at all, and where the output ends now.
            let end = api.app.tail_log(id, 0).await.map(|nothing| (Body::empty(), nothing.next));
            let (_, end) = none_is_empty(end)?;
            let reader = Copy { api, id, at: offset.unwrap_or(0), end };
            (Body::from_stream(stream::unfold(reader, Copy::next)), end)
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(SIZE, HeaderValue::from(end));
    let complete = if is_over(&run) { "true" } else { "false" };
    headers.insert(COMPLETE, HeaderValue::from_static(complete));
    Ok(response)
}

/// A run that never started has no folder, and so no output.
fn none_is_empty(read: io::Result<(Body, u64)>) -> Result<(Body, u64), ApiError> {
    match read {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok((Body::empty(), 0)),
        read => read.map_err(|cause| ApiError::internal(&anyhow::Error::from(cause))),
    }
}

fn is_over(run: &Run) -> bool {
    !run.state().is_live()
}

/// Reads up to where the output ended when it was asked for: it may grow faster than it is read.
struct Copy {
    api: Api,
    id: RunId,
    at: u64,
    end: u64,
}

impl Copy {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let left = self.end.checked_sub(self.at).filter(|left| *left > 0)?;
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(LOG_CHUNK_MAX_BYTES);
        match self.api.app.read_log(self.id, self.at, max).await {
            Ok(chunk) if chunk.bytes.is_empty() => None,
            Ok(mut chunk) => {
                if chunk.cut_bytes > 0 {
                    let mark = format!("\n[lucid: {} bytes are not kept]\n", chunk.cut_bytes);
                    chunk.bytes.splice(..0, mark.into_bytes());
                }
                self.at = chunk.next;
                Some((Ok(Bytes::from(chunk.bytes)), self))
            }
            Err(cause) => {
                self.end = self.at;
                Some((Err(cause), self))
            }
        }
    }
}

/// A run as it goes: `log` events with its output, `state` events, one `end`.
#[utoipa::path(get, path = "/api/v1/runs/{id}/stream", tag = "runs",
    params(("id" = i64, Path), ("Last-Event-ID" = Option<u64>, Header, description = "Byte offset to go on from")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub async fn stream(
    State(api): State<Api>,
    origin: Option<Extension<Origin>>,
    RunPath(id): RunPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run = runs::find(&api, id).await?;
    let offset = sse::last_event_id(&headers)?.unwrap_or(0);
    let connection = origin.as_ref().map(|origin| &origin.connection);
    let stop = api.closing.clone();
    sse::respond(connection, stop, move |to| follow(Follow { api, id, offset, state: None }, run, to))
}

/// Where a reader of a run stands.
struct Follow {
    api: Api,
    id: RunId,
    offset: u64,
    /// What it was last told.
    state: Option<RunState>,
}

async fn follow(mut reader: Follow, mut run: Run, to: Sender) -> Result<(), Gone> {
    loop {
        if reader.state != Some(run.state()) {
            reader.state = Some(run.state());
            to.event(None, "state", &convert::run(&run, reader.api.app.clock.wall_ms())).await?;
        }
        // Looked at before the output: what a run wrote before its end is then certain to be read.
        let over = is_over(&run);
        let at_end = reader.send_output(over, &to).await?;
        if over && at_end {
            let run = convert::run(&run, reader.api.app.clock.wall_ms());
            return to.event(None, "end", &EndEvent { run, log_bytes: reader.offset }).await;
        }
        if at_end {
            tokio::time::sleep(LOG_POLL_EVERY).await;
        }
        match reader.api.app.run(reader.id).await {
            Ok(Some(now)) => run = now,
            // Retention has taken the row while somebody watched.
            Ok(None) => return Ok(()),
            Err(cause) => tracing::warn!(%cause, "a stream could not read its run"),
        }
    }
}

impl Follow {
    /// Sends what there is, one chunk. Tells whether that was all.
    async fn send_output(&mut self, over: bool, to: &Sender) -> Result<bool, Gone> {
        let chunk = match self.api.app.read_log(self.id, self.offset, LOG_CHUNK_MAX_BYTES).await {
            Ok(chunk) => chunk,
            Err(cause) => {
                if cause.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(run = self.id.0, %cause, "a stream could not read its output");
                }
                return Ok(true);
            }
        };
        if chunk.bytes.is_empty() {
            return Ok(true);
        }
        if chunk.cut_bytes > 0 {
            to.reset(Reset::Lagged, chunk.offset).await?;
            self.offset = chunk.offset;
        }
        let mut bytes = chunk.bytes;
        // A letter that is still being written waits for its other bytes.
        let whole = if over { bytes.len() } else { whole_letters(&bytes) };
        bytes.truncate(whole);
        if bytes.is_empty() {
            return Ok(true);
        }
        let next = self.offset + bytes.len() as u64;
        let event =
            LogEvent { offset: self.offset, next, text: String::from_utf8_lossy(&bytes).into_owned() };
        to.event(Some(next), "log", &event).await?;
        self.offset = next;
        Ok(false)
    }
}

/// The length without an unfinished letter at the end.
fn whole_letters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        // `error_len` is none just for a letter that breaks off at the end.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unfinished_letter_waits() {
        assert_eq!(whole_letters("aß".as_bytes()), 3);
        assert_eq!(whole_letters(&"aß".as_bytes()[..2]), 1);
        assert_eq!(whole_letters(&"🙂".as_bytes()[..3]), 0);
        assert_eq!(whole_letters(&[b'a', 0xff, b'b']), 3);
    }
}
