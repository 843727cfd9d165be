//! How things stand with the way to people: whether anything gets through, and where the chat is now.

use serde_json::json;
use tracing::{debug, error, info, warn};

use super::Alerts;
use super::outbox::{Channel, table};
use super::telegram::{Telegram, TelegramError};
use crate::model::event::{Event, EventKind};
use crate::store::StoreError;

impl Alerts {
    /// The channel as it stands; one that was about another chat is forgotten.
    pub(super) async fn channel_of(&self, configured: i64) -> Result<Channel, StoreError> {
        let channel = self.0.store.read(|conn| Ok::<_, StoreError>(table::channel(conn)?)).await?;
        if channel.configured == Some(configured) {
            return Ok(channel);
        }
        let fresh = Channel { configured: Some(configured), ..Channel::default() };
        let row = fresh.clone();
        self.0.store.write(move |tx| Ok::<_, StoreError>(table::set_channel(tx, &row)?)).await?;
        Ok(fresh)
    }

    /// Looks whether what was broken lets something through again; a message may be another matter.
    pub(super) async fn probe(&self, bot: &Telegram, chat: i64, channel: &Channel) -> bool {
        match bot.typing(chat).await {
            Ok(()) => {
                info!("messages get through again");
                self.set_channel(Channel { broken: None, since_ms: None, ..channel.clone() }, None).await;
                return true;
            }
            Err(TelegramError::Moved { to }) => self.moved(channel.configured, to).await,
            Err(why) => debug!(%why, "the way to people is still broken"),
        }
        false
    }

    /// Nothing gets through until a person has mended it.
    pub(super) async fn shut(&self, why: &str) {
        error!(why, "Telegram lets nothing through");
        let channel = Channel {
            broken: Some(why.to_owned()),
            since_ms: Some(self.0.clock.wall_ms()),
            configured: self.0.settings.chat,
            chat: None,
        };
        self.set_channel(channel, Some(why.to_owned())).await;
    }

    /// A group has become another chat.
    pub(super) async fn moved(&self, configured: Option<i64>, to: i64) {
        info!(to, "the chat has another number now");
        let channel = Channel { configured, chat: Some(to), ..Channel::default() };
        self.set_channel(channel, None).await;
    }

    async fn set_channel(&self, channel: Channel, broken: Option<String>) {
        let (journal, now_ms) = (self.0.journal.clone(), self.0.clock.wall_ms());
        let written = self.0.store.write(move |tx| {
            let before = table::channel(tx)?;
            let mut channel = channel.clone();
            if broken.is_some() {
                // Since it broke, and where it is.
                channel.since_ms = before.since_ms.or(channel.since_ms);
                channel.chat = before.chat;
            }
            table::set_channel(tx, &channel)?;
            let kind = match (before.broken.is_some(), channel.broken.is_some()) {
                (false, true) => EventKind::ChannelBroken,
                (true, false) => EventKind::ChannelMended,
                (true, true) | (false, false) => return Ok::<_, StoreError>(false),
            };
            let data = json!({"channel": "telegram", "why": broken});
            journal.record(tx, now_ms, Event::new(kind).actor("alert").data(data))?;
            Ok(kind == EventKind::ChannelMended)
        });
        match written.await {
            Ok(true) => self.catch_up().await,
            Ok(false) => {}
            Err(e) => warn!(error = %e, "cannot note how the way to people stands"),
        }
    }

    /// Tells what goes on and has been told to nobody while nothing got through.
    pub(super) async fn catch_up(&self) {
        if let Err(e) = self.at_desk(|desk, _| Ok(desk.tell_held()?)).await {
            warn!(error = %e, "could not look for alerts that nobody has heard of");
        }
    }
}
