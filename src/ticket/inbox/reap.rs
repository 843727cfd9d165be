//! The pass over messages that nobody takes: what fails goes back in line, what waits too long expires,
//! what a dead worker had in hand is taken back.

use std::time::Duration;

use crate::model::message::{Message, MessageState, Step};
use crate::model::schedule::format_duration;
use crate::model::ticket::TicketState;
use crate::model::time::millis;

use super::super::{MessageRules, TicketError, Tickets};
use super::table::{self, Standing};
use super::{REAPER, find};

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    pub requeued: usize,
    pub expired: usize,
    pub dead: usize,
}

impl Tickets {
    /// One pass. Safe at any time and as often as one likes.
    ///
    /// # Errors
    /// What the database says.
    pub async fn reap_messages(&self) -> Result<Reaped, TicketError> {
        let candidates = self.store.read(|conn| Ok::<_, TicketError>(table::under_way(conn)?)).await?;
        let now_ms = self.clock.wall_ms();
        let rules = self.messages;
        if !candidates.iter().any(|(message, standing)| verdict(message, standing, now_ms, rules).is_some()) {
            return Ok(Reaped::default());
        }
        let this = self.clone();
        self.store
            .write(move |tx| {
                let mut reaped = Reaped::default();
                // Read again: what was true a moment ago may not be true in this transaction.
                for (message, standing) in table::under_way(tx)? {
                    let mut message = message;
                    while let Some(step) = verdict(&message, &standing, now_ms, rules) {
                        message = this.step_message(tx, message, step, &REAPER, now_ms)?;
                    }
                    match message.state() {
                        MessageState::Expired => reaped.expired += 1,
                        MessageState::Dead => reaped.dead += 1,
                        MessageState::Queued => reaped.requeued += 1,
                        MessageState::Received
                        | MessageState::Claimed
                        | MessageState::Delivered
                        | MessageState::Acked
                        | MessageState::Failed => {}
                    }
                    find(tx, &message.ticket)?;
                }
                Ok(reaped)
            })
            .await
    }
}

/// What has to become of a message now, if anything.
fn verdict(message: &Message, standing: &Standing, now_ms: i64, rules: MessageRules) -> Option<Step> {
    let limit_ms = millis(rules.expire_after);
    let is_late = now_ms.saturating_sub(message.since_ms) >= limit_ms;
    match message.state() {
        MessageState::Received | MessageState::Queued | MessageState::Failed if is_late => {
            Some(Step::Expire { why: why(message, standing, rules.expire_after) })
        }
        MessageState::Received | MessageState::Failed => Some(Step::Queue),
        MessageState::Claimed | MessageState::Delivered if standing.live_fence != message.fence => {
            let error = "its worker is gone".to_owned();
            Some(Step::Fail { error, max_attempts: rules.max_attempts })
        }
        MessageState::Queued
        | MessageState::Claimed
        | MessageState::Delivered
        | MessageState::Acked
        | MessageState::Expired
        | MessageState::Dead => None,
    }
}

/// Why nobody took it, in words for whoever wrote it.
fn why(message: &Message, standing: &Standing, limit: Duration) -> String {
    let because = match (standing.live_fence, standing.state) {
        _ if message.attempts > 0 => {
            format!("delivery failed: {}", message.error.as_deref().unwrap_or("no reason is known"))
        }
        (Some(_), _) => "the worker takes no messages while it is at work".to_owned(),
        (None, TicketState::Todo) => match &standing.reason {
            Some(reason) => format!("the ticket waits for a worker ({reason})"),
            None => "the ticket waits for a worker".to_owned(),
        },
        (None, state) => format!("no worker is on the ticket, which is {}", state.name()),
    };
    format!("not taken within {}: {because}", format_duration(limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Fence;
    use crate::model::message::MessageId;

    const RULES: MessageRules = MessageRules { expire_after: Duration::from_secs(1800), max_attempts: 3 };

    fn message(state: MessageState) -> Message {
        let mut message = Message::new(MessageId(1), "MC-1".parse().unwrap(), state, 0);
        message.fence = Some(Fence(7));
        message
    }

    #[test]
    fn what_the_pass_does_to_each_state() {
        let here = Standing { live_fence: Some(Fence(7)), state: TicketState::InProgress, reason: None };
        let gone = Standing { live_fence: None, state: TicketState::Todo, reason: Some("pool full".into()) };
        let mut table = String::new();
        for state in MessageState::ALL {
            for (name, standing, now_ms) in [
                ("young", &here, 1_799_999),
                ("late", &here, 1_800_000),
                ("late, no worker", &gone, 1_800_000),
            ] {
                let step = verdict(&message(state), standing, now_ms, RULES);
                let step = step.map_or("-".to_owned(), |step| format!("{step:?}"));
                table.push_str(&format!("{:<10} {name:<16} {step}\n", state.name()));
            }
        }
        insta::assert_snapshot!(table);
    }
}
