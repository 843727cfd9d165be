//! A backup on demand, from within the daemon.

use serde_json::json;

use crate::model::event::{Event, EventKind};
use crate::run::RunError;
use crate::store::{BackupInfo, DATABASE_FILE, backup};

use super::App;
use super::refused::{Refused, RefusedKind};

impl App {
    /// Copies the database while it is in use; the copy has been opened and checked when this returns.
    ///
    /// # Errors
    /// [`Refused`] when the copy cannot be made or is not sound.
    pub async fn backup(&self, actor: &str) -> Result<BackupInfo, Refused> {
        let (database, dir) = (self.config.state_dir.join(DATABASE_FILE), self.config.backup.dir.clone());
        let now_ms = self.clock.wall_ms();
        let made = tokio::task::spawn_blocking(move || backup::backup(&database, &dir, now_ms))
            .await
            .map_err(|e| Refused::unavailable(&e.to_string()))?
            .map_err(|e| {
                Refused::new(
                    RefusedKind::Unavailable,
                    "no_backup",
                    format!("no backup was made: {e}"),
                    "df -h",
                )
            })?;
        let (journal, actor) = (self.journal.clone(), actor.to_owned());
        let data = json!({"path": made.path, "bytes": made.bytes, "sha256": made.sha256});
        let event = Event::new(EventKind::BackupMade).actor(&actor).data(data);
        self.store
            .write(move |tx| -> Result<(), RunError> {
                journal.record(tx, now_ms, event.clone())?;
                Ok(())
            })
            .await?;
        Ok(made)
    }
}
