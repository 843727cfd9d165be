//! A daemon that is back after a heartbeat has told that it was dead says so itself, as an answer to that message.

use tracing::{info, warn};

use super::App;
use crate::health::direct::{self, Found};

/// What cannot be told now is told by the next heartbeat.
pub async fn tell(app: App) {
    let told = tokio::task::spawn_blocking(move || {
        let found = Found { trouble: None, host: &app.host, now_ms: app.clock.wall_ms() };
        direct::tell(&app.config.state_dir, found, |message| direct::send(&app.config, message))
    })
    .await;
    match told {
        Ok(Ok(Some(said))) => info!(said = said.text, "told that the daemon is back"),
        Ok(Ok(None)) => {}
        Ok(Err(why)) => warn!(why, "nobody could be told that the daemon is back"),
        Err(e) => warn!(error = %e, "nobody could be told that the daemon is back"),
    }
}
