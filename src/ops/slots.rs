//! Upkeep of the pools: slots that nobody has and that drift are brought to their base now instead of at the
//! next round.

use super::{Ops, OpsError, Report};
use crate::model::slot::SlotState;

impl Ops {
    /// One round over all slots, told.
    ///
    /// # Errors
    /// Only what the database says: what git says is told.
    pub async fn look_after_slots(&self) -> Result<Report, OpsError> {
        let _turn = self.turns.slots.lock().await;
        let tended = self.pools.tend_once().await;
        let mut report = Report::counting(&["slots", "healed", "quarantined", "pools in trouble"]);
        for healed in &tended.healed {
            let is_well = healed.state == SlotState::Free;
            report.count("healed", usize::from(is_well));
            let mut line = format!("{}: {}", healed.slot, healed.found.join(", "));
            if !is_well {
                line.push_str(&format!("; it is {}", healed.state.name()));
            }
            for reference in &healed.rescued {
                line.push_str(&format!("; what was unsaved is in {reference}"));
            }
            report.lines.push(line);
        }
        for (pool, why) in &tended.trouble {
            report.count("pools in trouble", 1);
            report.lines.push(format!("pool {pool}: {why}"));
        }
        if let Some(counts) = self.pools.counts().await? {
            report.count("slots", counts.slots as usize);
            report.count("quarantined", counts.quarantined as usize);
        }
        Ok(report)
    }
}
