//! Where what was decided becomes rows: one transaction reads how things stand, lets [`dedupe`] decide, and writes
//! the alert and what is to be sent.

use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::compose::{Around, NAMED_MAX};
use super::dedupe::{self, Before, FLAP_WINDOW_MS, FOLD_AFTER, FOLD_WINDOW_MS, Farewell, Over, Say, Tell};
use super::mutes;
use super::outbox::{self, DeliveryState, NewRow, Purpose};
use super::quiet::QuietHours;
use super::table;
use crate::model::alert::{Alert, AlertId, AlertState};
use crate::model::ids::RunId;
use crate::model::notice::{Notice, NoticeKind, Part, Quiet, Topic};
use crate::model::task::Severity;

/// From one change of a message to the next, milliseconds.
const EDIT_EVERY_MS: i64 = 5_000;
/// The condition that explains what fails on this box.
const HEALTH: &str = "condition/condition:health";

/// Whether there is a way to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    /// No token or no chat: what is made counts as unsent.
    None,
}

/// One transaction's view.
pub(super) struct Desk<'a> {
    pub conn: &'a Connection,
    pub now_ms: i64,
    pub way: Way,
    pub quiet: Option<QuietHours>,
    pub zone: &'a TimeZone,
}

impl Desk<'_> {
    /// Takes in a trouble.
    pub fn raise(&self, notice: Notice) -> rusqlite::Result<()> {
        let mut before = self.before(&notice)?;
        self.break_mute(&mut before, &notice)?;
        let was_open = before.open.is_some();
        let (alert, say) = dedupe::raise(&before, notice, self.now_ms);
        if say == Say::Worse && before.open.is_some_and(|open| open.state() != alert.state()) {
            // It reads as acknowledged or muted, and is not any more.
            self.want_edits(&alert, self.now_ms + EDIT_EVERY_MS)?;
        }
        self.say(alert, say, (before.fresh, was_open))
    }

    /// Writes an alert and has said of it what was decided.
    pub(super) fn say(
        &self,
        mut alert: Alert,
        say: Say,
        (fresh, was_open): (u32, bool),
    ) -> rusqlite::Result<()> {
        let purpose = match say {
            Say::Nothing(_) => {
                self.save(&mut alert)?;
                return Ok(());
            }
            Say::Update => {
                self.save(&mut alert)?;
                return self.want_edits(&alert, self.now_ms + EDIT_EVERY_MS);
            }
            Say::Join(storm) => return self.join(alert, storm, was_open),
            Say::Fold => return self.fold(alert, fresh),
            Say::First => Purpose::First,
            Say::Again => Purpose::Again,
            Say::Worse => Purpose::Worse,
            Say::Flapping => Purpose::Flapping,
        };
        alert.told_ms = Some(self.now_ms);
        self.save(&mut alert)?;
        if purpose == Purpose::Flapping {
            table::mark_flapping(self.conn, alert.id)?;
        }
        self.send(&alert, purpose, None)
    }

    pub(super) fn before(&self, notice: &Notice) -> rusqlite::Result<Before> {
        let (conn, now_ms) = (self.conn, self.now_ms);
        let fingerprint = notice.fingerprint();
        let open = table::open_of(conn, &fingerprint)?;
        if open.as_ref().is_some_and(|open| open.told_ms.is_some()) {
            // Everything else is asked for the first message only.
            return Ok(Before { open, ..Before::default() });
        }
        let since_ms = now_ms - FOLD_WINDOW_MS;
        let is_of_task = notice.kind.is_of_task();
        let fold = open.as_ref().and_then(|open| open.storm);
        let fold = fold.map(|fold| table::severity(conn, fold)).transpose()?.flatten();
        Ok(Before {
            open,
            fold,
            muted_until_ms: mutes::table::muted_until(conn, &mutes::keys(notice), now_ms)?,
            changes: table::changes(conn, &notice.subject, now_ms - FLAP_WINDOW_MS)?,
            flap_told_ms: table::flap_told(conn, &notice.subject)?,
            fresh: table::fresh(conn, notice.severity, since_ms)?,
            storm: table::growing_storm(conn, notice.severity, since_ms)?,
            is_explained: is_of_task && table::is_box_to_blame(conn, HEALTH)?,
        })
    }

    pub(super) fn save(&self, alert: &mut Alert) -> rusqlite::Result<()> {
        if alert.id == AlertId(0) {
            alert.id = table::insert(self.conn, alert)?;
            return Ok(());
        }
        table::update(self.conn, alert)
    }

    /// Makes the message that this and what follows is folded into.
    fn fold(&self, mut alert: Alert, fresh: u32) -> rusqlite::Result<()> {
        let subject = format!("storm:{}", table::name_of(alert.severity));
        let mut notice = Notice::new(NoticeKind::Storm, subject, alert.severity);
        // Several may go on at once.
        notice.class = Some(self.now_ms.to_string());
        let muted_until_ms = mutes::table::muted_until(self.conn, &mutes::keys(&notice), self.now_ms)?;
        let mut storm = Alert::begin(notice, self.now_ms, muted_until_ms);
        let is_muted = storm.state() == AlertState::Muted;
        storm.count = i64::from(fresh.max(FOLD_AFTER)) + 1;
        storm.told_ms = (!is_muted).then_some(self.now_ms);
        self.save(&mut storm)?;
        alert.storm = Some(storm.id);
        self.save(&mut alert)?;
        if is_muted { Ok(()) } else { self.send(&storm, Purpose::First, None) }
    }

    /// Folds an alert into a message that there is.
    fn join(&self, mut alert: Alert, storm: AlertId, was_folded: bool) -> rusqlite::Result<()> {
        let is_new = !was_folded || alert.storm != Some(storm);
        alert.storm = Some(storm);
        self.save(&mut alert)?;
        let Some(mut storm) = table::get(self.conn, storm)?.filter(|storm| !storm.is_over()) else {
            return Ok(());
        };
        let told_ms = storm.told_ms.unwrap_or(storm.first_ms);
        let is_wanted = storm.state_at(self.now_ms) == AlertState::Firing;
        let is_due = is_wanted && self.now_ms - told_ms >= storm.notice.repeat_ms;
        if is_new {
            storm.count += 1;
            storm.last_ms = self.now_ms;
        }
        if is_due {
            storm.told_ms = Some(self.now_ms);
        }
        self.save(&mut storm)?;
        match (is_due, is_new) {
            (true, _) => self.send(&storm, Purpose::Again, None),
            (false, true) => self.want_edits(&storm, self.now_ms + EDIT_EVERY_MS),
            (false, false) => Ok(()),
        }
    }

    /// Takes in an end.
    pub fn clear(&self, over: &Over) -> rusqlite::Result<()> {
        let open = table::open_about(self.conn, &over.subject, &over.kinds)?;
        let mut replied = false;
        for alert in open {
            let tell =
                Over { tell: if replied { over.tell.at_most_edit() } else { over.tell }, ..over.clone() };
            replied |= self.end(alert, &tell)? == Farewell::Reply;
        }
        Ok(())
    }

    pub(super) fn end(&self, mut alert: Alert, over: &Over) -> rusqlite::Result<Farewell> {
        if alert.told_ms.is_none() && outbox::table::answerable(self.conn, alert.id)?.is_some() {
            // Its newest message was lost; whoever read an older one wants to know.
            alert.told_ms = Some(alert.first_ms);
        }
        let subject = &alert.notice.subject;
        let changes = table::changes(self.conn, subject, self.now_ms - FLAP_WINDOW_MS)?;
        let flap_told_ms = table::flap_told(self.conn, subject)?;
        let (mut alert, farewell) = dedupe::clear(alert, over, changes, flap_told_ms, self.now_ms);
        self.save(&mut alert)?;
        match farewell {
            Farewell::NotYet | Farewell::Nothing => {}
            Farewell::Edit => {
                self.drop_unsent(&alert)?;
                self.want_edits(&alert, self.now_ms)?;
            }
            Farewell::Reply => {
                self.want_edits(&alert, self.now_ms)?;
                let original = outbox::table::answerable(self.conn, alert.id)?;
                self.send(&alert, Purpose::Recovery, original)?;
            }
            Farewell::Storm(_) => {}
        }
        if farewell != Farewell::NotYet
            && let Some(storm) = alert.storm
        {
            self.leave(storm)?;
        }
        Ok(farewell)
    }

    /// A folded one is over; the last ends the fold.
    fn leave(&self, storm: AlertId) -> rusqlite::Result<()> {
        let Some(storm) = table::get(self.conn, storm)?.filter(|storm| !storm.is_over()) else {
            return Ok(());
        };
        if table::is_any_open_in(self.conn, storm.id)? {
            return self.want_edits(&storm, self.now_ms + EDIT_EVERY_MS);
        }
        let over = Over {
            subject: storm.notice.subject.clone(),
            kinds: Vec::new(),
            ending: Vec::new(),
            tell: Tell::Reply,
        };
        let (mut storm, farewell) = dedupe::clear(storm, &over, 0, None, self.now_ms);
        self.save(&mut storm)?;
        self.want_edits(&storm, self.now_ms)?;
        if farewell == Farewell::Reply {
            let original = outbox::table::answerable(self.conn, storm.id)?;
            self.send(&storm, Purpose::Recovery, original)?;
        }
        Ok(())
    }

    /// What waited for the end of the quiet hours has nothing left to say.
    fn drop_unsent(&self, alert: &Alert) -> rusqlite::Result<()> {
        for (id, state, attempts) in outbox::table::own(self.conn, alert.id)? {
            if state == DeliveryState::Pending && attempts == 0 {
                outbox::table::end(self.conn, id, DeliveryState::Dropped, None, self.now_ms)?;
            }
        }
        Ok(())
    }

    /// Has the messages about an alert say how it stands now. One that has not gone says so anyway.
    pub fn want_edits(&self, alert: &Alert, not_before_ms: i64) -> rusqlite::Result<()> {
        for (id, state, _) in outbox::table::own(self.conn, alert.id)? {
            match state {
                DeliveryState::Delivered | DeliveryState::Sending => {}
                DeliveryState::Pending if alert.is_over() => {}
                DeliveryState::Pending
                | DeliveryState::Dead
                | DeliveryState::Unsent
                | DeliveryState::Dropped => continue,
            }
            let row = self.row(alert, Purpose::Edit, Some(id), not_before_ms);
            outbox::table::insert_edit(self.conn, &row)?;
            // Only when it is over do the older ones matter: their buttons go.
            if !alert.is_over() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn send(
        &self,
        alert: &Alert,
        purpose: Purpose,
        original: Option<i64>,
    ) -> rusqlite::Result<()> {
        if purpose == Purpose::Again {
            // One that has not gone says how it stands when it goes: that is the same message.
            let own = outbox::table::own(self.conn, alert.id)?;
            if own.iter().any(|(_, state, _)| *state == DeliveryState::Pending) {
                return Ok(());
            }
        }
        let row = self.row(alert, purpose, original, self.not_before_ms(alert));
        outbox::table::insert(self.conn, &row, self.state())?;
        Ok(())
    }

    /// When a message about `alert` may go: a question waits for the end of the quiet hours.
    pub(super) fn not_before_ms(&self, alert: &Alert) -> i64 {
        let waits = alert.notice.quiet == Quiet::Wait && alert.severity != Severity::Critical;
        let quiet_end = self.quiet.filter(|_| waits).and_then(|quiet| quiet.end_ms(self.now_ms, self.zone));
        quiet_end.unwrap_or(self.now_ms)
    }

    fn row(&self, alert: &Alert, purpose: Purpose, original: Option<i64>, not_before_ms: i64) -> NewRow {
        NewRow {
            alert: Some(alert.id),
            purpose,
            severity: alert.severity,
            topic: alert.notice.topic,
            text: None,
            run: None,
            original,
            not_before_ms,
            now_ms: self.now_ms,
        }
    }

    fn state(&self) -> DeliveryState {
        match self.way {
            Way::Open => DeliveryState::Pending,
            Way::None => DeliveryState::Unsent,
        }
    }

    /// A text of somebody's own; the row's number.
    pub fn text(&self, purpose: Purpose, topic: Topic, text: Vec<Part>) -> rusqlite::Result<i64> {
        self.put_in_line(purpose, topic, text, None)
    }

    /// The output of `run`, word for word; the row's number.
    pub fn output(&self, run: RunId, text: Vec<Part>) -> rusqlite::Result<i64> {
        self.put_in_line(Purpose::Brief, Topic::Briefs, text, Some(run))
    }

    fn put_in_line(
        &self,
        purpose: Purpose,
        topic: Topic,
        text: Vec<Part>,
        run: Option<RunId>,
    ) -> rusqlite::Result<i64> {
        let row = NewRow {
            alert: None,
            purpose,
            severity: Severity::Warning,
            topic,
            text: Some(text),
            run,
            original: None,
            not_before_ms: self.now_ms,
            now_ms: self.now_ms,
        };
        outbox::table::insert(self.conn, &row, self.state())
    }

    /// What a message about `alert` says beside it; `changed` is the row of the message that an edit changes.
    pub fn around(&self, alert: &Alert, purpose: Purpose, changed: Option<i64>) -> rusqlite::Result<Around> {
        let changed = match (purpose, changed) {
            (Purpose::Edit, Some(row)) => outbox::table::purpose_of(self.conn, row)?,
            _ => None,
        };
        let others = match purpose {
            Purpose::Recovery => table::others(self.conn, alert.id, NAMED_MAX)?,
            Purpose::First
            | Purpose::Again
            | Purpose::Worse
            | Purpose::Flapping
            | Purpose::Edit
            | Purpose::Brief
            | Purpose::Test => (Vec::new(), 0),
        };
        let is_fold = alert.notice.kind == NoticeKind::Storm;
        let members = if is_fold { Some(table::members(self.conn, alert.id, NAMED_MAX)?) } else { None };
        Ok(Around { others, members, changed, is_doubtful: false, now_ms: self.now_ms })
    }
}
