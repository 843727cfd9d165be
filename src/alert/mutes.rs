//! What people do not want to hear of for a while: by fingerprint, so that it holds when the trouble ends and begins
//! again meanwhile.

pub(super) mod table;

use super::dedupe::Before;
use super::desk::Desk;
use crate::model::notice::Notice;

impl Desk<'_> {
    /// Ends the mute of a trouble that has become graver than it was: it was said of the lesser thing.
    pub(super) fn break_mute(&self, before: &mut Before, notice: &Notice) -> rusqlite::Result<()> {
        let known = match (&before.open, before.muted_until_ms) {
            (Some(open), _) => Some(open.severity),
            (None, Some(_)) => table::last_severity(self.conn, notice)?,
            (None, None) => None,
        };
        if known.is_some_and(|known| notice.severity > known) {
            table::unmute(self.conn, &notice.fingerprint())?;
            before.muted_until_ms = None;
        }
        Ok(())
    }
}
