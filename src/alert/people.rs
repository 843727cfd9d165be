//! What people ask of alerts: to see them, to be left alone by them, and whether a message arrives.

use std::time::Duration;

use serde_json::json;

use super::compose::compose;
use super::dedupe::Say;
use super::desk::Desk;
use super::outbox::{self, Channel, DeliveryState, Purpose};
use super::{AlertError, AlertView, Alerts, Query, Settings, Tested, mutes, render, table, words};
use crate::model::alert::{Alert, AlertId, AlertState, Step};
use crate::model::event::{Event, EventKind};
use crate::model::notice::{Part, Shown, Topic};
use crate::model::time::millis;
use crate::store::StoreError;

/// Deliveries of one alert that are shown.
const DELIVERIES_MAX: u32 = 20;
/// How long a test message may take before it is left to the outbox.
pub const TEST_PATIENCE: Duration = Duration::from_secs(25);
/// One that was refused for now is given another try or two before that is told.
const TEST_AGAIN: Duration = Duration::from_secs(5);
/// Characters of a person's name.
const NAME_CHARS: usize = 40;
const TEST_LOOK: Duration = Duration::from_millis(50);

/// Who did something about an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// As it stands in the journal: `user:alice`, `telegram:7`.
    actor: String,
    /// What people call them, where the actor does not tell it.
    name: Option<String>,
}

impl From<&str> for By {
    fn from(actor: &str) -> Self {
        Self { actor: actor.to_owned(), name: None }
    }
}

impl By {
    /// Somebody whom others know as `name`.
    #[must_use]
    pub fn named(actor: String, name: &str) -> Self {
        let name = words::clip(&words::phrase(name), NAME_CHARS).into_owned();
        Self { actor, name: Some(name).filter(|name| !name.is_empty()) }
    }

    /// As it stands with the alert: `Alice (telegram:7)`.
    fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.actor),
            None => self.actor.clone(),
        }
    }
}

/// What a message calls whoever `shown` stands for.
pub(super) fn name_of(shown: &str) -> &str {
    match shown.rsplit_once(" (") {
        Some((name, actor)) if actor.ends_with(')') => name,
        Some(_) | None => shown.strip_prefix("user:").unwrap_or(shown),
    }
}

/// How far what a person does goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Also to the next alert of the same trouble.
    Trouble,
    Alert,
}

impl Alerts {
    /// Alerts with what was sent about them, newest first.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn list(&self, query: Query) -> Result<Vec<AlertView>, AlertError> {
        let (this, now_ms) = (self.clone(), self.0.clock.wall_ms());
        self.0
            .store
            .read(move |conn| {
                let alerts = table::list(conn, &query, now_ms)?;
                alerts.into_iter().map(|alert| this.view(conn, alert, now_ms)).collect()
            })
            .await
    }

    /// # Errors
    /// Only what the database says.
    pub async fn get(&self, id: AlertId) -> Result<Option<AlertView>, AlertError> {
        let (this, now_ms) = (self.clone(), self.0.clock.wall_ms());
        self.0
            .store
            .read(move |conn| table::get(conn, id)?.map(|alert| this.view(conn, alert, now_ms)).transpose())
            .await
    }

    fn view(&self, conn: &rusqlite::Connection, alert: Alert, now_ms: i64) -> Result<AlertView, AlertError> {
        let Settings { quiet, zone, .. } = &self.0.settings;
        let desk = Desk { conn, now_ms, way: self.way(), quiet: *quiet, zone };
        let newest = outbox::table::own(conn, alert.id)?.first().map(|(row, _, _)| *row);
        let around = desk.around(&alert, Purpose::Edit, newest)?;
        let composed = compose(&alert, Purpose::Edit, &around);
        let text = render::render(&composed.parts, zone, render::VISIBLE_MAX).plain;
        let deliveries = outbox::table::of_alert(conn, alert.id, DELIVERIES_MAX)?;
        let is_heard = outbox::table::is_heard(conn, &alert)?;
        Ok(AlertView { state: alert.state_at(now_ms), alert, text, deliveries, is_heard })
    }

    /// A person knows.
    ///
    /// # Errors
    /// [`AlertError::NoAlert`], or [`AlertError::Illegal`] when it is over.
    pub async fn ack(&self, id: AlertId, by: impl Into<By>) -> Result<AlertView, AlertError> {
        self.step(id, Step::Ack, by.into()).await
    }

    /// Nothing is said about the same trouble for `length`, not even after it has ended and begun again.
    ///
    /// # Errors
    /// As [`Alerts::ack`].
    pub async fn mute(
        &self,
        id: AlertId,
        length: Duration,
        by: impl Into<By>,
    ) -> Result<AlertView, AlertError> {
        let length_ms = millis(length);
        let until_ms = self.0.clock.wall_ms().saturating_add(length_ms);
        self.step(id, Step::Mute(until_ms), by.into()).await
    }

    /// Nothing is said about this one alert for `length`; what begins after its end is told.
    ///
    /// # Errors
    /// As [`Alerts::ack`].
    pub async fn snooze(
        &self,
        id: AlertId,
        length: Duration,
        by: impl Into<By>,
    ) -> Result<AlertView, AlertError> {
        let length_ms = millis(length);
        let until_ms = self.0.clock.wall_ms().saturating_add(length_ms);
        self.reach(id, Step::Mute(until_ms), by.into(), Reach::Alert).await
    }

    /// Says again what was put off until `due_ms`, milliseconds since the epoch, if it goes on and nothing was said
    /// since. Until when it is muted, where it is: nothing is said then.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn remind(&self, id: AlertId, due_ms: i64) -> Result<Option<i64>, AlertError> {
        self.at_desk(move |desk, tx| {
            let Some(mut alert) = table::get(tx, id)? else { return Ok(None) };
            match alert.state_at(desk.now_ms) {
                AlertState::Muted => return Ok(alert.muted_until_ms),
                AlertState::Acked | AlertState::Resolved => return Ok(None),
                AlertState::Firing => {}
            }
            let muted_ms = mutes::table::muted_until(tx, &mutes::keys(&alert.notice), desk.now_ms)?;
            if muted_ms.is_some() || alert.told_ms.is_some_and(|told_ms| told_ms >= due_ms) {
                return Ok(muted_ms);
            }
            alert.step(Step::Unmute, desk.now_ms)?;
            desk.say(alert, Say::Again, (0, true))?;
            Ok(None)
        })
        .await
    }

    /// # Errors
    /// As [`Alerts::ack`].
    pub async fn unmute(&self, id: AlertId, by: impl Into<By>) -> Result<AlertView, AlertError> {
        self.step(id, Step::Unmute, by.into()).await
    }

    async fn step(&self, id: AlertId, step: Step, by: By) -> Result<AlertView, AlertError> {
        self.reach(id, step, by, Reach::Trouble).await
    }

    async fn reach(&self, id: AlertId, step: Step, by: By, reach: Reach) -> Result<AlertView, AlertError> {
        let (this, shown) = (self.clone(), by.shown());
        self.at_desk(move |desk, tx| {
            let mut alert = table::get(tx, id)?.ok_or(AlertError::NoAlert(id))?;
            let (kind, until_ms) = match step {
                Step::Mute(until_ms) => {
                    if reach == Reach::Trouble {
                        let trouble = alert.notice.trouble();
                        mutes::table::mute(tx, (&trouble, alert.severity), until_ms, &shown)?;
                    }
                    (EventKind::AlertMuted, Some(until_ms))
                }
                Step::Unmute => {
                    mutes::table::unmute(tx, &mutes::keys(&alert.notice))?;
                    (EventKind::AlertUnmuted, None)
                }
                Step::Ack | Step::Repeat | Step::Resolve => (EventKind::AlertAcked, None),
            };
            // Its fingerprint can be muted after its end.
            let is_over = alert.is_over() && reach == Reach::Trouble && !matches!(step, Step::Ack);
            if !is_over {
                alert.step(step, desk.now_ms)?;
                alert.actor = Some(shown.clone());
                table::update(tx, &alert)?;
                desk.want_edits(&alert, desk.now_ms)?;
                for mut member in table::untold_in(tx, alert.id)? {
                    member.step(step, desk.now_ms)?;
                    member.actor = Some(shown.clone());
                    table::update(tx, &member)?;
                    let trouble = member.notice.trouble();
                    match (step, reach) {
                        (Step::Mute(until_ms), Reach::Trouble) => {
                            mutes::table::mute(tx, (&trouble, member.severity), until_ms, &shown)?;
                        }
                        (Step::Unmute, _) => mutes::table::unmute(tx, &mutes::keys(&member.notice))?,
                        (_, _) => {}
                    }
                }
            }
            let data = json!({"alert": id.0, "fingerprint": alert.fingerprint, "until_ms": until_ms});
            this.0.journal.record(tx, desk.now_ms, Event::new(kind).actor(&by.actor).data(data))?;
            this.view(tx, alert, desk.now_ms)
        })
        .await
    }

    /// Fingerprints that are muted: until when, and by whom.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn mutes(&self) -> Result<Vec<(String, i64, String)>, StoreError> {
        let now_ms = self.0.clock.wall_ms();
        self.0.store.read(move |conn| Ok(mutes::table::mutes(conn, now_ms)?)).await
    }

    /// Sends a message to see whether one arrives.
    ///
    /// # Errors
    /// [`AlertError::NoWay`] without a token or a chat.
    pub async fn test(&self, host: &str) -> Result<Tested, AlertError> {
        match (&self.0.settings.bot, self.0.settings.chat) {
            (None, _) => return Err(AlertError::NoWay("no token; set telegram.token_file")),
            (Some(_), None) => return Err(AlertError::NoWay("no chat; set telegram.chat_id")),
            (Some(_), Some(_)) => {}
        }
        let text = vec![
            Part::Text("✅ ".to_owned()),
            Part::Bold(format!("lucid on {} can reach you", words::phrase(host))),
            Part::Break,
            Part::Text("A test, asked for at ".to_owned()),
            Part::Time { ms: self.0.clock.wall_ms(), shown: Shown::Clock },
            Part::Text(".".to_owned()),
        ];
        let id = self
            .at_desk(move |desk, tx| {
                // Whoever tests wants to know now, not after the next probe.
                let channel = outbox::table::channel(tx)?;
                outbox::table::set_channel(tx, &Channel { broken: None, since_ms: None, ..channel })?;
                Ok(desk.text(Purpose::Test, Topic::Alerts, text.clone())?)
            })
            .await?;
        let begun = self.0.clock.boot();
        loop {
            let row: Option<Tested> =
                self.0.store.read(move |conn| Ok::<_, StoreError>(outbox::table::outcome(conn, id)?)).await?;
            let Some(tested) = row else { return Err(AlertError::NoWay("the message is gone")) };
            if tested.state == DeliveryState::Delivered {
                self.catch_up().await;
            }
            let waited = self.0.clock.boot().saturating_sub(begun);
            let is_refused = tested.error.is_some() && waited >= TEST_AGAIN;
            if tested.state.is_ended() || is_refused || waited >= TEST_PATIENCE {
                return Ok(tested);
            }
            tokio::time::sleep(TEST_LOOK).await;
        }
    }
}
