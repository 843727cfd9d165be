//! What people do not want to hear of for a while: by fingerprint, so that it holds when the trouble ends and begins
//! again meanwhile.

pub(super) mod table;

use super::dedupe::Before;
use super::desk::Desk;
use crate::model::notice::Notice;

impl Desk<'_> {
    /// Ends the mute of a trouble that is graver now than what was muted: it was said of the lesser thing.
    pub(super) fn break_mute(&self, before: &mut Before, notice: &Notice) -> rusqlite::Result<()> {
        let fingerprint = notice.fingerprint();
        let muted = table::muted_severity(self.conn, &fingerprint)?;
        if muted.is_some_and(|muted| notice.severity > muted) {
            table::unmute(self.conn, &fingerprint)?;
            before.muted_until_ms = None;
        }
        Ok(())
    }
}
