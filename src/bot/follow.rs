//! What changes by itself: the reaction on what somebody wrote to a worker, which tells how far it has come,
//! and questions that were put off.

use std::time::Duration;

use tracing::{debug, warn};

use super::show::Words;
use super::table::{self, Followed, Snooze};
use super::{AGAIN, Bot, press};
use crate::alert::compose::still_so;
use crate::alert::telegram::{Sound, TelegramError};
use crate::journal::{Feed, FeedError, Filter};
use crate::model::alert::AlertState;
use crate::model::event::EventKind;
use crate::model::ids::TicketId;
use crate::model::message::{MessageId, MessageState};
use crate::model::notice::{Button, Press};
use crate::model::ticket::Ask;
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

/// Whether a question was asked, or never will be, though it went wrong: asked again it would go wrong again, or be
/// there twice. That somebody blocked the bot is told elsewhere.
fn is_final(error: &TelegramError) -> bool {
    match error {
        TelegramError::Unnamed
        | TelegramError::Moved { .. }
        | TelegramError::Markup(_)
        | TelegramError::Unchanged
        | TelegramError::Gone(_)
        | TelegramError::Shut(_)
        | TelegramError::Refused(_) => true,
        TelegramError::Unreachable(_)
        | TelegramError::Unclear(_)
        | TelegramError::Busy { .. }
        | TelegramError::Trouble(_) => false,
    }
}

/// The same button; an answer with its question.
fn of_question(button: &Button, ticket: &TicketId, ask: &Ask) -> Button {
    let place = match &button.press {
        Press::Data(data) => match press::read(data) {
            Some(press::Press::Choose { place, question: None, .. }) => place,
            Some(_) | None => return button.clone(),
        },
        Press::Link(_) => return button.clone(),
    };
    Button::data(&button.text, press::option_data(ticket, place, ask))
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

    /// Asks again what was put off.
    async fn wake_up(&self) -> Result<(), StoreError> {
        let now_ms = self.app.clock.wall_ms();
        let due =
            self.app.store.read(move |conn| Ok::<_, StoreError>(table::snoozes_due(conn, now_ms)?)).await?;
        for snooze in due {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            if self.held().contains_key(&snooze.chat) || !self.ask_again(&snooze).await {
                continue;
            }
            self.app.store.write(move |tx| Ok::<_, StoreError>(table::awake(tx, &snooze)?)).await?;
        }
        Ok(())
    }

    /// Buttons that need no alert's message to be understood: an answer names its question.
    async fn known_by_themselves(&self, snooze: &Snooze, buttons: &[Button]) -> Vec<Button> {
        let Ok(id) = snooze.ticket.parse::<TicketId>() else { return buttons.to_vec() };
        let ask = match self.app.ticket(&id).await {
            Ok(ticket) => ticket.ask,
            Err(_) => None,
        };
        let Some(ask) = ask else { return buttons.to_vec() };
        buttons.iter().map(|button| of_question(button, &id, &ask)).collect()
    }

    /// False when it is to be tried later.
    async fn ask_again(&self, snooze: &Snooze) -> bool {
        let Ok(view) = self.app.alerts.get(snooze.alert).await else { return false };
        let Some(view) = view.filter(|view| match view.state {
            AlertState::Firing | AlertState::Muted => true,
            AlertState::Acked | AlertState::Resolved => false,
        }) else {
            return true;
        };
        let notice = &view.alert.notice;
        let parts = still_so(notice);
        let buttons = self.known_by_themselves(snooze, &notice.buttons).await;
        let mut words = Words {
            chat: snooze.chat,
            // A group without topics takes it all the same.
            thread: self.app.config.telegram.topics.tickets.filter(|_| snooze.chat < 0),
            reply_to: snooze.message,
            parts: &parts,
            buttons: &buttons,
            sound: Sound::Heard,
        };
        let mut said = self.say(&words).await;
        if let Err(TelegramError::Moved { to }) = said {
            words.chat = to;
            said = self.say(&words).await;
        }
        match said {
            Ok(sent) => {
                self.track(words.chat, sent, &snooze.ticket).await;
                true
            }
            Err(error) => {
                warn!(%error, "what was put off was not asked again");
                is_final(&error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_offered_again_names_its_question() {
        let ticket: TicketId = "MC-1".parse().unwrap();
        let ask = Ask { need: "Which?".into(), why: None, how: None, options: vec!["a".into(), "b".into()] };
        let of = |data: &str| of_question(&Button::data("x", data.to_owned()), &ticket, &ask);
        let Press::Data(data) = of("t:option:MC-1:1").press else { panic!("data") };
        let question = Some(press::question(&ask));
        assert_eq!(
            press::read(&data),
            Some(press::Press::Choose { ticket: ticket.clone(), place: 1, question })
        );
        let snooze = Button::data("x", "t:snooze:MC-1:3h".to_owned());
        assert_eq!(of("t:snooze:MC-1:3h"), snooze);
    }

    #[test]
    fn what_was_taken_without_a_number_is_not_asked_for_ever() {
        assert!(is_final(&TelegramError::Unnamed) && is_final(&TelegramError::Moved { to: 1 }));
        assert!(!is_final(&TelegramError::Trouble("x".into())));
        assert!(!is_final(&TelegramError::Unreachable("x".into())));
    }

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
