//! The queue reaper: messages to workers that nobody takes. The daemon does this every minute by itself; the
//! task says what it came to.

use super::{Ops, OpsError, Report};
use crate::ticket::inbox::Reaped;

impl Ops {
    /// One pass.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn reap(&self) -> Result<Reaped, OpsError> {
        let _turn = self.turns.reaper.lock().await;
        Ok(self.tickets.reap_messages().await?)
    }

    /// One pass, told.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn reap_queue(&self) -> Result<Report, OpsError> {
        let Reaped { requeued, expired, dead } = self.reap().await?;
        Ok(Report {
            counts: vec![("requeued", requeued), ("expired", expired), ("dead", dead)],
            lines: Vec::new(),
        })
    }
}
