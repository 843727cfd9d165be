//! Keeps a socket's file in its place: where somebody has removed it nobody else gets to the daemon.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bind::bind;
use super::limits::SOCKET_LOOK_EVERY;

/// Where a socket's file belongs and what it is like.
#[derive(Debug, Clone)]
pub struct Place {
    pub path: PathBuf,
    pub mode: u32,
    pub gid: Option<u32>,
}

impl Place {
    /// A new socket, where there is no file.
    fn remade(&self) -> Option<Result<UnixListener, super::bind::BindError>> {
        let is_gone = self.path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
        is_gone.then(|| bind(&self.path, self.mode, self.gid))
    }
}

/// Looks until `stop` and gives each new socket to whoever serves it. A file that was not there from the start, as
/// with a socket of the service manager's that lies elsewhere, is not missed.
pub async fn keep(place: Place, remade: mpsc::Sender<tokio::net::UnixListener>, stop: CancellationToken) {
    if !place.path.exists() {
        return;
    }
    let mut ticks = tokio::time::interval(SOCKET_LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = place.clone();
        // A folder on a disk that hangs is waited for by nobody else.
        let Ok(Some(made)) = tokio::task::spawn_blocking(move || looked.remade()).await else { continue };
        let made = made
            .map_err(|e| e.to_string())
            .and_then(|socket| tokio::net::UnixListener::from_std(socket).map_err(|e| e.to_string()));
        let path = place.path.display();
        match made {
            Ok(socket) => {
                tracing::warn!(%path, "the socket's file was gone; it is there again");
                is_told = false;
                if remade.send(socket).await.is_err() {
                    return;
                }
            }
            Err(_) if is_told => {}
            Err(why) => {
                tracing::error!(%path, why, "the socket's file is gone and cannot be made again");
                is_told = true;
            }
        }
    }
}
