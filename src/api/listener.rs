//! Serves the router on a Unix socket: accepts, counts, times and closes connections.
//!
//! The socket is given (see `bind`), and so is the signal to stop. What a request may do is decided
//! by `auth`; here it is only told through which door it came, and from whom.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::connections::{Admission, Connection, Connections};
use super::error::ApiError;
use super::limits::{
    ACCEPT_RETRY_AFTER, HEADER_MAX_BYTES, HUNG_CHECK_EVERY, OVERLOAD_RETRY_AFTER_S, RESERVE_READ_WITHIN,
    SHUTDOWN_GRACE, WRITE_STALLED_AFTER,
};
use super::peer::{Gatekeeper, Level, Peer};
use super::pulse::{Patience, Pulse};

/// Which socket a request came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// `lucid.sock`: people and their programs, known by peer credentials, or by a run's token.
    Control,
    /// `worker.sock`: run tokens and nothing else.
    Worker,
}

/// A request's origin, in its extensions.
#[derive(Debug, Clone)]
pub struct Origin {
    pub door: Door,
    pub peer: Peer,
    pub connection: Connection,
}

/// A socket to serve, and who is let in by it.
#[derive(Debug)]
pub struct Listener {
    pub socket: UnixListener,
    /// New ones that take its place.
    pub remade: mpsc::Receiver<UnixListener>,
    pub door: Door,
    pub gatekeeper: Gatekeeper,
    pub connections: Connections,
    pub times: Times,
}

/// How long clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Over a request's head, from its first byte to its last.
    pub head: Duration,
    /// Until the first byte of the next request.
    pub idle: Duration,
}

/// Serves `router` until `stop`, then lets answers under way finish within [`SHUTDOWN_GRACE`].
pub async fn serve(mut listener: Listener, router: Router, stop: CancellationToken) {
    let connections = listener.connections.clone();
    let tasks = TaskTracker::new();
    let patience = Patience { write: WRITE_STALLED_AFTER, head: listener.times.head };
    let watchdog = tokio::spawn(close_the_hung(connections.clone(), patience));
    let host =
        Host { door: listener.door, gatekeeper: listener.gatekeeper, idle: listener.times.idle, router };
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            () = stop.cancelled() => break,
            Some(socket) = listener.remade.recv() => {
                listener.socket = socket;
                continue;
            }
        };
        match accepted {
            Ok((socket, _)) => match connections.admit() {
                Admission::Served(connection) => {
                    tasks.spawn(host.clone().converse(socket, connection, Place::Regular));
                }
                Admission::Reserve(connection) => {
                    tasks.spawn(host.clone().converse(socket, connection, Place::Reserve));
                }
                Admission::Refused => drop(socket),
            },
            Err(cause) => {
                tracing::warn!(%cause, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY_AFTER).await;
            }
        }
    }
    tasks.close();
    connections.finish_all();
    if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        connections.kill_all();
        tasks.wait().await;
    }
    watchdog.abort();
}

/// A task of its own: what runs inside a connection is never polled while its reader does not read.
async fn close_the_hung(connections: Connections, patience: Patience) {
    loop {
        // An idle box is not woken for nobody.
        connections.some().await;
        tokio::time::sleep(HUNG_CHECK_EVERY).await;
        let closed = connections.kill_hung(patience);
        if closed > 0 {
            tracing::warn!(closed, "closed connections whose clients neither read nor finish a request");
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Regular,
    /// Above the cap: `/healthz` or 503, one request.
    Reserve,
}

/// What every connection of a listener needs.
#[derive(Clone)]
struct Host {
    door: Door,
    gatekeeper: Gatekeeper,
    idle: Duration,
    router: Router,
}

impl Host {
    async fn converse(self, socket: UnixStream, connection: Connection, place: Place) {
        let Self { door, gatekeeper, idle, router } = self;
        let peer = match gatekeeper.judge(&socket).await {
            Ok(peer) => peer,
            Err(cause) => {
                tracing::debug!(%cause, "a peer without credentials");
                return;
            }
        };
        // A stranger on the control socket gets one answer, not a place.
        let stays = place == Place::Regular && (door == Door::Worker || peer.level != Level::None);
        let read_within = if stays { idle } else { RESERVE_READ_WITHIN };
        let origin = Origin { door, peer, connection: connection.clone() };
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            answer(request.map(Body::new), origin.clone(), place, router.clone())
        });
        let io = TokioIo::new(WatchedSocket { socket, pulse: connection.pulse().clone() });
        let conversation = http1::Builder::new()
            .timer(TokioTimer::new())
            // Counts from the end of the answer before: it is what limits an idle connection.
            .header_read_timeout(read_within)
            .max_buf_size(HEADER_MAX_BYTES)
            .keep_alive(stays)
            // `printf 'GET …' | nc -U` closes its side and still wants the answer.
            .half_close(true)
            .serve_connection(io, service);
        let mut conversation = pin!(conversation);
        tokio::select! {
            result = conversation.as_mut() => return log_end(result),
            () = connection.kill_token().cancelled() => return,
            () = connection.finish_token().cancelled() => {}
        }
        conversation.as_mut().graceful_shutdown();
        tokio::select! {
            result = conversation.as_mut() => log_end(result),
            () = connection.kill_token().cancelled() => {}
            () = tokio::time::sleep(SHUTDOWN_GRACE) => {}
        }
    }
}

fn log_end(result: Result<(), hyper::Error>) {
    if let Err(cause) = result {
        // A client may break off as it likes: no matter for the daemon's log.
        tracing::trace!(%cause, "a connection broke off");
    }
}

async fn answer(
    mut request: Request,
    origin: Origin,
    place: Place,
    router: Router,
) -> Result<Response, Infallible> {
    if place == Place::Reserve && request.uri().path() != super::routes::HEALTHZ {
        let mut response = ApiError::unavailable("overloaded", "all connections are in use")
            .retry_after_s(OVERLOAD_RETRY_AFTER_S)
            .into_response();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(response);
    }
    let under_way = origin.connection.request();
    request.extensions_mut().insert(origin);
    let response = router.oneshot(request).await;
    drop(under_way);
    response
}

/// A socket that remembers when its bytes moved.
struct WatchedSocket {
    socket: UnixStream,
    pulse: Arc<Pulse>,
}

impl WatchedSocket {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.pulse.blocked(),
            Poll::Ready(_) => self.pulse.flowed(),
        }
        written
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pulse.heard();
        }
        read
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, buffers);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
