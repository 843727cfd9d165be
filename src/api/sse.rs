//! Server-sent events: frames, pings, an end when the daemon stops, and no unbounded buffer.
//!
//! What is sent comes from a *source*, an async function that writes to a [`Sender`] and is slowed
//! down by its reader. It runs in its own task, so a ping goes out and a stop is seen although the
//! source waits. A reader that has stopped reading is the listener's business: its watchdog closes
//! the socket, which ends the source here.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::connections::{Connection, StreamGuard};
use super::error::ApiError;
use super::limits::{OVERLOAD_RETRY_AFTER_S, STREAM_BUFFER_FRAMES, STREAM_PING_EVERY, STREAM_RETRY_MS};
use super::wire::ResetEvent;

/// The reader has gone, or the daemon stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads this stream any more")]
pub struct Gone;

/// Why a reader has to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// What comes after its last id is no longer kept.
    TooOld,
    /// It reads more slowly than things happen.
    Lagged,
    /// Its last id was never given.
    UnknownId,
}

impl Reset {
    fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::Lagged => "lagged",
            Self::UnknownId => "unknown_id",
        }
    }
}

/// Writes frames; waits while the reader is behind.
#[derive(Debug, Clone)]
pub struct Sender(mpsc::Sender<Bytes>);

impl Sender {
    /// Sends one event. `id` is what the reader gives back as `Last-Event-ID`.
    ///
    /// # Errors
    /// [`Gone`]
    pub async fn event(&self, id: Option<u64>, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        self.0.send(Bytes::from(encode(id, name, data))).await.map_err(|_| Gone)
    }

    /// Sends a frame that [`encode`] has made, shared with other readers.
    ///
    /// # Errors
    /// [`Gone`]
    pub async fn frame(&self, frame: Arc<[u8]>) -> Result<(), Gone> {
        self.0.send(Bytes::from_owner(frame)).await.map_err(|_| Gone)
    }

    /// Tells the reader that the stream goes on at `from` and that it has to read what lies before.
    ///
    /// # Errors
    /// [`Gone`]
    pub async fn reset(&self, reason: Reset, from: u64) -> Result<(), Gone> {
        self.event(Some(from), "reset", &ResetEvent { reason: reason.name().to_owned(), from }).await
    }
}

/// The bytes of one event.
#[must_use]
pub fn encode(id: Option<u64>, name: &str, data: &impl Serialize) -> Vec<u8> {
    // JSON as serde writes it holds no raw line break, so one `data:` line always carries it; text that came
    // as JSON may hold some between its tokens, where a space means the same.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let data = if data.contains(['\n', '\r']) { data.replace(['\n', '\r'], " ") } else { data };
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n").into_bytes()
}

/// Answers with the events of `source`, until it ends, the reader goes, or `stop`.
///
/// # Errors
/// 503 when there are as many streams as there may be.
pub fn respond<S, F>(
    connection: Option<&Connection>,
    stop: CancellationToken,
    source: S,
) -> Result<Response, ApiError>
where
    S: FnOnce(Sender) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let guard = connection.map(Connection::stream).transpose().map_err(|full| {
        ApiError::unavailable("overloaded", full.to_string()).retry_after_s(OVERLOAD_RETRY_AFTER_S)
    })?;
    let (frames, body) = mpsc::channel(STREAM_BUFFER_FRAMES);
    let source = source(Sender(frames.clone()));
    tokio::spawn(pump(frames, stop, source));
    let mut response = Response::new(Body::from_stream(Frames { frames: body, _place: guard }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies hold back what looks like a slow answer unless told so.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The id in `Last-Event-ID`; `None` without the header.
///
/// # Errors
/// 422 when it is no number.
pub fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| ApiError::invalid("bad_event_id", "`Last-Event-ID` is no id of this stream"))
}

async fn pump(
    frames: mpsc::Sender<Bytes>,
    stop: CancellationToken,
    source: impl Future<Output = Result<(), Gone>>,
) {
    if frames.send(Bytes::from(format!("retry: {STREAM_RETRY_MS}\n\n"))).await.is_err() {
        return;
    }
    let mut source = pin!(source);
    let mut pings = tokio::time::interval_at(Instant::now() + STREAM_PING_EVERY, STREAM_PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Its result says only that the reader has gone, or that all has been said.
            _ = source.as_mut() => return,
            () = stop.cancelled() => return,
            () = frames.closed() => return,
            // A full buffer means that there is something to read: no ping is needed.
            _ = pings.tick() => { let _ = frames.try_send(Bytes::from_static(b": ping\n\n")); }
        }
    }
}

/// The body: what the pump gives, and the connection's place among the streams.
struct Frames {
    frames: mpsc::Receiver<Bytes>,
    _place: Option<StreamGuard>,
}

impl Stream for Frames {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_recv(context).map(|frame| frame.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn frames_have_id_name_and_one_line_of_data() {
        let response = respond(None, CancellationToken::new(), async |to: Sender| {
            to.event(Some(7), "log", &serde_json::json!({"text": "a\nb\r\n\u{2028}"})).await?;
            to.reset(Reset::TooOld, 40).await?;
            to.event(None, "end", &()).await
        });
        let response = response.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(
            text(response).await,
            "retry: 2000\n\nid: 7\nevent: log\ndata: {\"text\":\"a\\nb\\r\\n\u{2028}\"}\n\n\
             id: 40\nevent: reset\ndata: {\"reason\":\"too_old\",\"from\":40}\n\nevent: end\ndata: null\n\n"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_filled_with_pings_until_the_daemon_stops() {
        let stop = CancellationToken::new();
        let response = respond(None, stop.clone(), |_to| std::future::pending()).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(STREAM_PING_EVERY * 2 + std::time::Duration::from_secs(1)).await;
            stop.cancel();
        });
        assert_eq!(text(response).await, "retry: 2000\n\n: ping\n\n: ping\n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_holds_the_source_and_its_going_ends_it() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let response = respond(None, CancellationToken::new(), async move |to: Sender| {
            loop {
                to.event(None, "x", &()).await?;
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })
        .unwrap();
        tokio::time::sleep(STREAM_PING_EVERY * 4).await;
        // One place of the buffer holds the `retry` line.
        assert_eq!(sent.load(Ordering::Relaxed), STREAM_BUFFER_FRAMES - 1);
        let mut body = response.into_body().into_data_stream();
        body.next().await.unwrap().unwrap();
        tokio::time::sleep(STREAM_PING_EVERY).await;
        assert_eq!(sent.load(Ordering::Relaxed), STREAM_BUFFER_FRAMES);
        let weak = Arc::downgrade(&sent);
        drop((sent, body));
        tokio::time::sleep(STREAM_PING_EVERY).await;
        assert!(weak.upgrade().is_none(), "the source still runs");
    }

    #[test]
    fn a_last_event_id_is_a_number() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event_id(&headers).unwrap(), None);
        headers.insert("last-event-id", HeaderValue::from_static("41"));
        assert_eq!(last_event_id(&headers).unwrap(), Some(41));
        headers.insert("last-event-id", HeaderValue::from_static("-1"));
        assert_eq!(last_event_id(&headers).unwrap_err().status(), 422);
    }
}
