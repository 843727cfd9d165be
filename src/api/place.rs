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

/// A socket that is kept, and where a new one goes.
#[derive(Debug)]
pub struct Kept {
    pub place: Place,
    pub remade: mpsc::Sender<tokio::net::UnixListener>,
}

/// Looks until `stop` and gives each new socket to whoever serves it: all in one look, for it wakes an idle box. A
/// file that was not there from the start, as with a socket of the service manager's that lies elsewhere, is not
/// missed.
pub async fn keep(mut kept: Vec<Kept>, stop: CancellationToken) {
    kept.retain(|kept| kept.place.path.exists());
    let places: Vec<Place> = kept.iter().map(|kept| kept.place.clone()).collect();
    let mut told = vec![false; kept.len()];
    let mut ticks = tokio::time::interval(SOCKET_LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !kept.is_empty() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let looked = places.clone();
        // A folder on a disk that hangs is waited for by nobody else.
        let look = move || looked.iter().map(Place::remade).collect::<Vec<_>>();
        let Ok(made) = tokio::task::spawn_blocking(look).await else { continue };
        for ((kept, is_told), made) in kept.iter().zip(&mut told).zip(made) {
            let Some(made) = made else { continue };
            kept.give(made.map_err(|e| e.to_string()), is_told).await;
        }
    }
}

impl Kept {
    async fn give(&self, made: Result<UnixListener, String>, is_told: &mut bool) {
        let made =
            made.and_then(|socket| tokio::net::UnixListener::from_std(socket).map_err(|e| e.to_string()));
        let path = self.place.path.display();
        match made {
            Ok(socket) => {
                tracing::warn!(%path, "the socket's file was gone; it is there again");
                *is_told = false;
                // Nobody serves it any more only while the daemon goes down.
                let _ = self.remade.send(socket).await;
            }
            Err(_) if *is_told => {}
            Err(why) => {
                tracing::error!(%path, why, "the socket's file is gone and cannot be made again");
                *is_told = true;
            }
        }
    }
}
