//! What changes by itself: the reaction on what somebody wrote to a worker, which tells how far it has come,
//! and questions that were put off.

use std::time::Duration;

use tracing::{debug, warn};

use super::table::{self, Followed};
use super::{AGAIN, Bot};
use crate::alert::AlertError;
use crate::alert::telegram::TelegramError;
use crate::journal::{Feed, FeedError, Filter};
use crate::model::event::EventKind;
use crate::model::message::{MessageId, MessageState};
use crate::store::StoreError;

/// Events of messages to workers.
const KINDS: [EventKind; 6] = [
    EventKind::MessageQueued,
    EventKind::MessageDelivered,
    EventKind::MessageAcked,
    EventKind::MessageExpired,
    EventKind::MessageFailed,
    EventKind::MessageDead,
];
/// How often what was put off is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Follows until the daemon goes down.
pub(super) async fn follow(bot: Bot) {
    let mut feed = bot.feed().await;
    loop {
        if let Err(e) = bot.react().await {
            warn!(error = %e, "how far messages have come could not be shown");
        }
        if let Err(e) = bot.wake_up().await {
            warn!(error = %e, "what was put off could not be asked again");
        }
        tokio::select! {
            () = bot.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            event = feed.next() => match event {
                Ok(recorded) => {
                    let message = recorded.event.data.get("message").and_then(serde_json::Value::as_i64);
                    if let Some(id) = message {
                        bot.unsettle(MessageId(id)).await;
                    }
                }
                Err(FeedError::Closed) => return,
                Err(FeedError::Reset { .. } | FeedError::Store(_)) => {
                    tokio::time::sleep(AGAIN).await;
                    feed = bot.feed().await;
                }
            }
        }
    }
}

/// The reaction for where a message stands, and whether that is the end of it.
fn reaction(state: MessageState) -> (&'static str, i64) {
    match state {
        MessageState::Received | MessageState::Queued | MessageState::Claimed | MessageState::Failed => {
            ("👀", 0)
        }
        MessageState::Delivered => ("👍", 0),
        MessageState::Acked => ("👍", 1),
        MessageState::Expired | MessageState::Dead => ("🤷", 1),
    }
}

impl Bot {
    /// What happens from now on: how things stand is read anyway.
    async fn feed(&self) -> Feed {
        let filter = Filter { kinds: Some(KINDS.to_vec()), ..Filter::default() };
        let seq = self.app.journal.latest_seq().await.unwrap_or(0);
        self.app.journal.subscribe(seq, filter)
    }

    async fn unsettle(&self, id: MessageId) {
        let unsettled = self.app.store.write(move |tx| Ok::<_, StoreError>(table::unsettle(tx, id)?)).await;
        if let Err(e) = unsettled {
            warn!(error = %e, "how far a message has come is not shown any more");
        }
    }

    async fn react(&self) -> Result<(), StoreError> {
        let followed = self.app.store.read(|conn| Ok::<_, StoreError>(table::followed(conn)?)).await?;
        for followed in followed {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if self.held().contains_key(&followed.chat) {
                continue;
            }
            let Ok(message) = self.app.tickets.message(followed.queued).await else { continue };
            match message {
                Some(message) => {
                    let (emoji, settled) = reaction(message.state());
                    self.show_reaction(followed, emoji, settled).await?;
                }
                // Retention has taken it: what is shown stays, whatever became of it.
                None => {
                    let shown = followed.shown.clone();
                    let settle = move |tx: &crate::store::Tx<'_>| {
                        Ok::<_, StoreError>(table::reacted(tx, &followed, shown.as_deref(), 1)?)
                    };
                    self.app.store.write(settle).await?;
                }
            }
        }
        Ok(())
    }

    async fn show_reaction(
        &self,
        followed: Followed,
        emoji: &'static str,
        settled: i64,
    ) -> Result<(), StoreError> {
        if followed.shown.as_deref() == Some(emoji) && settled == 0 {
            return Ok(());
        }
        let mut settled = settled;
        if followed.shown.as_deref() != Some(emoji) {
            match self.telegram.react(followed.chat, followed.message, emoji).await {
                Ok(()) => {}
                Err(
                    error @ (TelegramError::Gone(_)
                    | TelegramError::Refused(_)
                    | TelegramError::Markup(_)
                    | TelegramError::Moved { .. }),
                ) => {
                    // A group may not allow them, or the message is gone.
                    debug!(%error, "no reaction is shown");
                    settled = 1;
                }
                Err(error) => {
                    if let TelegramError::Busy { after } = &error {
                        self.hold(followed.chat, *after);
                    }
                    debug!(%error, "a reaction is shown later");
                    return Ok(());
                }
            }
        }
        self.app
            .store
            .write(move |tx| Ok::<_, StoreError>(table::reacted(tx, &followed, Some(emoji), settled)?))
            .await
    }

    /// Has asked again what was put off, as an alert says anything: when the quiet hours are over, and not to people
    /// who have muted it.
    async fn wake_up(&self) -> Result<(), AlertError> {
        let (store, now_ms) = (&self.app.store, self.app.clock.wall_ms());
        let due = store.read(move |conn| Ok::<_, StoreError>(table::snoozes_due(conn, now_ms)?)).await?;
        for snooze in due {
            let muted = self.app.alerts.remind(snooze.alert, snooze.at_ms).await?;
            let done = move |tx: &crate::store::Tx<'_>| {
                match muted {
                    Some(until_ms) => table::put_off(tx, &snooze, until_ms)?,
                    None => table::awake(tx, &snooze)?,
                }
                Ok::<_, StoreError>(())
            };
            store.write(done).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_reaction() {
        let told: Vec<String> = MessageState::ALL
            .into_iter()
            .map(|state| format!("{} {:?}", state.name(), reaction(state)))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        received ("👀", 0)
        queued ("👀", 0)
        claimed ("👀", 0)
        delivered ("👍", 0)
        acked ("👍", 1)
        expired ("🤷", 1)
        failed ("👀", 0)
        dead ("🤷", 1)
        "#);
    }
}
