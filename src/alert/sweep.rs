//! What comes by the time alone, and what was held back until something was over.

use super::dedupe::{self, Over, Say, Tell};
use super::desk::Desk;
use super::outbox::{self, Purpose};
use super::{mutes, table};
use crate::model::alert::{Alert, Step};
use crate::model::notice::NoticeKind;

/// Alerts that one look takes up.
const SWEEP_MAX: u32 = 100;

impl Desk<'_> {
    /// Whether [`Desk::sweep`] would find anything.
    pub fn is_due(&self) -> rusqlite::Result<bool> {
        Ok(table::is_anything_due(self.conn, self.now_ms)?
            || self.is_held_due()?
            || outbox::stale::table::is_stale(self.conn, self.now_ms - outbox::GIVE_UP_MS)?)
    }

    /// What the time alone brings: what lasts is said again, what has faded is over, what is too old is given up.
    /// How many rows changed.
    pub fn sweep(&self) -> rusqlite::Result<usize> {
        let expired = outbox::stale::table::expire(self.conn, self.now_ms - outbox::GIVE_UP_MS, self.now_ms)?;
        for row in &expired {
            outbox::table::untell(self.conn, *row)?;
        }
        let mut changed = expired.len();
        for mut alert in table::due_again(self.conn, self.now_ms, SWEEP_MAX)? {
            if alert.state_at(self.now_ms) != alert.state() && alert.step(Step::Unmute, self.now_ms).is_err()
            {
                continue;
            }
            alert.told_ms = Some(self.now_ms);
            self.save(&mut alert)?;
            self.send(&alert, Purpose::Again, None)?;
            changed += 1;
        }
        changed += self.tell_held()?;
        for alert in table::faded(self.conn, self.now_ms, SWEEP_MAX)? {
            let tell = if alert.notice.kind == NoticeKind::DiskFull { Tell::Reply } else { Tell::Never };
            let subject = alert.notice.subject.clone();
            let over = Over { subject, kinds: Vec::new(), ending: Vec::new(), tell };
            self.end(alert, &over)?;
            changed += 1;
        }
        mutes::table::forget_mutes(self.conn, self.now_ms)?;
        Ok(changed)
    }

    /// Tells what nothing was said of because of something that is over: a mute, a sick box, its flapping, a way to
    /// people that was broken. What goes on meanwhile is silent for the same reasons as before.
    pub fn tell_held(&self) -> rusqlite::Result<usize> {
        if self.is_broken()? {
            return Ok(0);
        }
        let mut told = 0;
        for alert in table::untold(self.conn, self.now_ms, SWEEP_MAX)? {
            // Each that is told counts for whether the next is folded.
            if let Some((alert, say, fresh)) = self.weigh(alert)? {
                self.say(alert, say, (fresh, false))?;
                told += 1;
            }
        }
        Ok(told)
    }

    /// What is to be said now of one that nothing was said of.
    fn weigh(&self, mut alert: Alert) -> rusqlite::Result<Option<(Alert, Say, u32)>> {
        let has_run_out = alert.state_at(self.now_ms) != alert.state();
        if has_run_out && alert.step(Step::Unmute, self.now_ms).is_err() {
            return Ok(None);
        }
        let before = self.before(&alert.notice)?;
        Ok(match dedupe::held(&before, &alert, self.now_ms) {
            Say::Nothing(_) | Say::Update => None,
            // The newest word of it was lost, an older one was not.
            Say::First if outbox::table::is_heard(self.conn, &alert)? => {
                Some((alert, Say::Again, before.fresh))
            }
            say @ (Say::First | Say::Again | Say::Worse | Say::Flapping | Say::Join(_) | Say::Fold) => {
                Some((alert, say, before.fresh))
            }
        })
    }

    fn is_broken(&self) -> rusqlite::Result<bool> {
        Ok(outbox::table::channel(self.conn)?.broken.is_some())
    }

    fn is_held_due(&self) -> rusqlite::Result<bool> {
        if self.is_broken()? {
            return Ok(false);
        }
        for alert in table::untold(self.conn, self.now_ms, SWEEP_MAX)? {
            if self.weigh(alert)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks anew until when messages wait that nobody has tried to send: the quiet hours may be others now.
    pub fn hold_anew(&self) -> rusqlite::Result<()> {
        for (row, alert) in outbox::table::untried(self.conn)? {
            if let Some(alert) = table::get(self.conn, alert)? {
                outbox::table::set_not_before(self.conn, row, self.not_before_ms(&alert))?;
            }
        }
        Ok(())
    }
}
