//! A daemon that is back after a heartbeat has told that it was dead says so itself, as an answer to that message.

use tracing::{info, warn};

use super::App;
use crate::health::direct::{self, Found};
use crate::health::memory::Homes;

/// What cannot be told now is told by the next heartbeat.
pub async fn tell(app: App) {
    let told = tokio::task::spawn_blocking(move || {
        let found = Found {
            trouble: None,
            host: &app.host,
            placement: app.config.placement,
            now_ms: app.clock.wall_ms(),
        };
        let homes = Homes::new(&app.config.state_dir, &app.sources.scratch_dirs());
        direct::tell(&homes, found, |message| direct::send(&app.config, message))
    })
    .await;
    match told {
        Ok(Ok(Some(said))) => {
            info!(said = said.text, "told that the daemon is back");
            if let Some(why) = said.unkept {
                warn!(why, "that it was told could not be kept: the next heartbeat tells it again");
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(why)) => warn!(why, "nobody could be told that the daemon is back"),
        Err(e) => warn!(error = %e, "nobody could be told that the daemon is back"),
    }
}
