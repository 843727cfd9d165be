//! What people do not want to hear of for a while: by kind and subject, so that it holds when the trouble ends and
//! begins again meanwhile, and when it goes on in another way: a task that ends with exit 4 today and 3 yesterday.

pub(super) mod table;

use super::dedupe::Before;
use super::desk::Desk;
use crate::model::notice::Notice;

/// Under what a mute of a trouble stands: as it is written now, and as it was once, by fingerprint.
pub(super) fn keys(notice: &Notice) -> [String; 2] {
    [notice.trouble(), notice.fingerprint()]
}

impl Desk<'_> {
    /// Ends the mute of a trouble that is graver now than what was muted: it was said of the lesser thing.
    pub(super) fn break_mute(&self, before: &mut Before, notice: &Notice) -> rusqlite::Result<()> {
        let keys = keys(notice);
        let muted = table::muted_severity(self.conn, &keys)?;
        if muted.is_some_and(|muted| notice.severity > muted) {
            table::unmute(self.conn, &keys)?;
            before.muted_until_ms = None;
        }
        Ok(())
    }
}
