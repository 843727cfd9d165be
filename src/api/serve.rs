//! Opens the daemon's two sockets and serves them until it goes.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bind::{BindError, bind};
use super::connections::{Caps, Connections};
use super::limits::{FORGET_ANSWERS_EVERY, IDEMPOTENCY_KEPT, RESERVE_CONNECTIONS_MAX};
use super::listener::{Door, Listener, Times, serve as listen};
use super::peer::{Gatekeeper, NoSuchGroup};
use super::place::{self, Kept, Place};
use super::router::router;
use super::state::Api;
use crate::config::Config;
use crate::daemon::answers::Answers;
use crate::daemon::{App, WORKER_SOCKET};

/// Permissions of the socket for runs: they are processes of the daemon's own user.
const WORKER_SOCKET_MODE: u32 = 0o600;

/// Why there is nothing to listen on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Group(#[from] NoSuchGroup),
    #[error("taking over the socket that the service manager opened: {0}")]
    Inherited(io::Error),
}

/// Both sockets, open and not yet served: callers queue up from here on.
#[derive(Debug)]
pub struct Sockets {
    control: (UnixListener, Place),
    worker: (UnixListener, Place),
    gatekeeper: Gatekeeper,
}

/// Takes over the control socket from the service manager, or makes it, and makes the one for runs.
///
/// # Errors
/// [`OpenError`], with what to do in its text.
pub fn open(config: &Config) -> Result<Sockets, OpenError> {
    let gatekeeper = Gatekeeper::new(config.control.group.as_deref())?;
    let control =
        Place { path: config.control.socket.clone(), mode: config.control.mode, gid: gatekeeper.gid() };
    let worker = Place { path: config.state_dir.join(WORKER_SOCKET), mode: WORKER_SOCKET_MODE, gid: None };
    let people = match inherited().map_err(OpenError::Inherited)? {
        Some(socket) => socket,
        None => bind(&control.path, control.mode, control.gid)?,
    };
    let runs = bind(&worker.path, worker.mode, worker.gid)?;
    Ok(Sockets { control: (people, control), worker: (runs, worker), gatekeeper })
}

/// The first socket of socket activation, if there is any.
fn inherited() -> io::Result<Option<UnixListener>> {
    let Some(socket) = listenfd::ListenFd::from_env().take_unix_listener(0)? else { return Ok(None) };
    socket.set_nonblocking(true)?;
    Ok(Some(socket))
}

/// Serves both sockets until the daemon has closed and the last answer is given. Streams end as soon
/// as it goes down.
///
/// # Errors
/// When a socket cannot be watched; nothing is served then.
pub async fn serve(app: App, sockets: Sockets) -> anyhow::Result<()> {
    let limits = &app.config.limits;
    let caps = Caps {
        requests: limits.request_connections,
        reserve: RESERVE_CONNECTIONS_MAX,
        streams: limits.streams,
    };
    let times = Times { head: limits.header_timeout, idle: limits.idle_timeout };
    // Counted apart: runs that take every place of theirs take none of the people's.
    let (people, workers) = (Connections::new(caps), Connections::new(caps));
    let closed = app.shutdown.closed.clone();
    let api = Api::new(app.clone(), Arc::from([people.clone(), workers.clone()]));
    let tallies = api.tallies.clone();
    let router = router(api)?;
    let mut kept = Vec::new();
    let mut door = |door, (socket, place): (UnixListener, Place), connections| -> io::Result<Listener> {
        let socket = tokio::net::UnixListener::from_std(socket)?;
        let (sender, remade) = mpsc::channel(1);
        kept.push(Kept { place, remade: sender });
        Ok(Listener { socket, remade, door, gatekeeper: sockets.gatekeeper.clone(), connections, times })
    };
    let control = door(Door::Control, sockets.control, people)?;
    let worker = door(Door::Worker, sockets.worker, workers)?;
    tokio::spawn(place::keep(kept, closed.clone()));
    tokio::spawn(tallies.follow(app.clone()));
    tokio::spawn(forget_answers(app, closed.clone()));
    tokio::join!(listen(control, router.clone(), closed.clone()), listen(worker, router, closed));
    Ok(())
}

async fn forget_answers(app: App, closed: CancellationToken) {
    let answers = Answers::new(app.store.clone());
    let kept_ms = crate::model::time::millis(IDEMPOTENCY_KEPT);
    let mut ticks = tokio::time::interval(FORGET_ANSWERS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closed.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let before_ms = app.clock.wall_ms().saturating_sub(kept_ms);
        if let Err(cause) = answers.forget(before_ms).await {
            tracing::warn!(%cause, "old answers could not be forgotten");
        }
    }
}
