//! A message from a person to a worker: its states, receipts and every way from one to the next.
//!
//! The state is private to this file. Nothing here expires or dies by itself: the reaper gives the step.

use serde::{Deserialize, Serialize};

use super::ids::{Fence, TicketId};

/// Where a message stands. The names are the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Written down; not yet in line.
    Received,
    Queued,
    /// A worker's daemon side has it in hand, under a fence.
    Claimed,
    /// Written to the worker's input or prompt.
    Delivered,
    /// The worker has shown that it read it.
    Acked,
    /// Nobody took it in time.
    Expired,
    /// An attempt to deliver it failed; it goes back in line.
    Failed,
    /// Failed too often, or dropped by a person.
    Dead,
}

impl MessageState {
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Queued,
        Self::Claimed,
        Self::Delivered,
        Self::Acked,
        Self::Expired,
        Self::Failed,
        Self::Dead,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Delivered => "delivered",
            Self::Acked => "acked",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Something may still become of it without a person.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        match self {
            Self::Received | Self::Queued | Self::Claimed | Self::Delivered | Self::Failed => true,
            Self::Acked | Self::Expired | Self::Dead => false,
        }
    }
}

/// What can happen to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Queue,
    Claim(Fence),
    Deliver(Fence),
    Ack(Fence),
    /// Whoever looks after the ticket, which is no worker, has acted on it.
    Heed,
    /// It did not get through, or its worker ended without having shown that it read it.
    Fail {
        error: String,
        max_attempts: u32,
    },
    Expire {
        why: String,
    },
    /// A person wants it tried again from the beginning.
    Retry,
    /// A person wants it out of the way.
    Drop {
        who: String,
    },
}

impl Step {
    fn verb(&self) -> &'static str {
        match self {
            Self::Queue => "be queued",
            Self::Claim(_) => "be claimed",
            Self::Deliver(_) => "be delivered",
            Self::Ack(_) => "be acknowledged",
            Self::Heed => "be heeded",
            Self::Fail { .. } => "fail",
            Self::Expire { .. } => "expire",
            Self::Retry => "be tried again",
            Self::Drop { .. } => "be dropped",
        }
    }
}

/// A step that is not to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("a message that is {} cannot {step}", from.name())]
    State { from: MessageState, step: &'static str },
    /// Somebody else has it in hand.
    #[error("the message is another attempt's")]
    Fence,
}

/// Stands for whoever reads a message without being a worker: fences are counted from one.
const NO_WORKER: Fence = Fence(0);

/// A message's number. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub i64);

/// One message with its receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: MessageId,
    pub ticket: TicketId,
    state: MessageState,
    /// Failed deliveries.
    pub attempts: u32,
    pub text: String,
    pub author: String,
    /// `cli`, `web`, `telegram`, …
    pub via: String,
    /// Whoever has it in hand, or had it last.
    pub fence: Option<Fence>,
    pub created_ms: i64,
    /// From here on its time in line counts: creation, a person's retry, or when it came back from a worker.
    pub since_ms: i64,
    pub delivered_ms: Option<i64>,
    pub acked_ms: Option<i64>,
    /// Why it expired, failed or is dead.
    pub error: Option<String>,
}

impl Message {
    /// A row in `state`, which the caller has read or is about to write.
    #[must_use]
    pub fn new(id: MessageId, ticket: TicketId, state: MessageState, now_ms: i64) -> Self {
        Self {
            id,
            ticket,
            state,
            attempts: 0,
            text: String::new(),
            author: String::new(),
            via: String::new(),
            fence: None,
            created_ms: now_ms,
            since_ms: now_ms,
            delivered_ms: None,
            acked_ms: None,
            error: None,
        }
    }

    #[must_use]
    pub fn state(&self) -> MessageState {
        self.state
    }

    /// Takes `step`.
    ///
    /// # Errors
    /// [`Illegal`] when the state does not allow it or the fence is another's; nothing has changed.
    pub fn apply(&mut self, step: Step, now_ms: i64) -> Result<(), Illegal> {
        use MessageState::{Acked, Claimed, Dead, Delivered, Expired, Failed, Queued, Received};
        let from = self.state;
        let refuse = Err(Illegal::State { from, step: step.verb() });
        let held_by = |fence: Fence| self.fence == Some(fence);
        match (step, from) {
            (Step::Queue, Received) => self.state = Queued,
            // It was not in line while somebody had it in hand.
            (Step::Queue, Failed) => (self.state, self.since_ms) = (Queued, now_ms),
            (Step::Claim(fence), Queued) => (self.state, self.fence) = (Claimed, Some(fence)),
            (Step::Deliver(fence), Claimed) if held_by(fence) => {
                (self.state, self.delivered_ms, self.error) = (Delivered, Some(now_ms), None);
            }
            (Step::Ack(fence), Claimed | Delivered) if held_by(fence) => {
                (self.state, self.acked_ms) = (Acked, Some(now_ms));
                self.delivered_ms = self.delivered_ms.or(Some(now_ms));
            }
            (Step::Heed, Queued) => {
                (self.state, self.fence) = (Acked, Some(NO_WORKER));
                (self.delivered_ms, self.acked_ms) = (Some(now_ms), Some(now_ms));
            }
            (Step::Deliver(_), Claimed) | (Step::Ack(_), Claimed | Delivered) => return Err(Illegal::Fence),
            (Step::Fail { error, max_attempts }, Claimed | Delivered) => {
                self.attempts += 1;
                self.state = if self.attempts < max_attempts { Failed } else { Dead };
                (self.error, self.fence, self.delivered_ms) = (Some(error), None, None);
            }
            (Step::Expire { why }, Received | Queued | Failed) => {
                (self.state, self.error) = (Expired, Some(why));
            }
            (Step::Retry, Expired | Dead | Failed) => {
                (self.state, self.attempts, self.since_ms) = (Queued, 0, now_ms);
                (self.error, self.fence, self.delivered_ms) = (None, None, None);
            }
            (Step::Drop { who }, Received | Queued | Failed | Expired) => {
                (self.state, self.error) = (Dead, Some(format!("dropped by {who}")));
            }
            (Step::Queue, Queued | Claimed | Delivered | Acked | Expired | Dead)
            | (Step::Claim(_), Received | Claimed | Delivered | Acked | Expired | Failed | Dead)
            | (Step::Deliver(_), Received | Queued | Delivered | Acked | Expired | Failed | Dead)
            | (Step::Ack(_), Received | Queued | Acked | Expired | Failed | Dead)
            | (Step::Heed, Received | Claimed | Delivered | Acked | Expired | Failed | Dead)
            | (Step::Fail { .. }, Received | Queued | Acked | Expired | Failed | Dead)
            | (Step::Expire { .. }, Claimed | Delivered | Acked | Expired | Dead)
            | (Step::Retry, Received | Queued | Claimed | Delivered | Acked)
            | (Step::Drop { .. }, Claimed | Delivered | Acked | Dead) => return refuse,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: Fence = Fence(7);

    fn steps() -> Vec<(&'static str, Step)> {
        let fail = |max_attempts| Step::Fail { error: "x".into(), max_attempts };
        vec![
            ("queue", Step::Queue),
            ("claim", Step::Claim(MINE)),
            ("deliver", Step::Deliver(MINE)),
            ("deliver, other fence", Step::Deliver(Fence(8))),
            ("ack", Step::Ack(MINE)),
            ("ack, other fence", Step::Ack(Fence(8))),
            ("heed", Step::Heed),
            ("fail, more left", fail(3)),
            ("fail, the last", fail(1)),
            ("expire", Step::Expire { why: "x".into() }),
            ("retry", Step::Retry),
            ("drop", Step::Drop { who: "x".into() }),
        ]
    }

    #[test]
    fn every_state_by_every_step() {
        let mut table = String::new();
        for (name, step) in steps() {
            let cells: Vec<&str> = MessageState::ALL
                .into_iter()
                .map(|from| {
                    let mut message = Message::new(MessageId(1), "MC-1".parse().unwrap(), from, 1);
                    message.fence = Some(MINE);
                    let before = message.clone();
                    match message.apply(step.clone(), 2) {
                        Ok(()) => message.state().name(),
                        Err(illegal) => {
                            assert_eq!(message, before, "{illegal} has changed something");
                            if illegal == Illegal::Fence { "fence" } else { "-" }
                        }
                    }
                })
                .collect();
            table.push_str(&format!("{name:<22} {}\n", cells.join(" ")));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn three_failures_are_the_end_and_a_person_can_begin_again() {
        let mut message = Message::new(MessageId(1), "MC-1".parse().unwrap(), MessageState::Received, 1);
        for left in [2, 1, 0] {
            message.apply(Step::Queue, 1).unwrap();
            message.apply(Step::Claim(MINE), 2).unwrap();
            message.apply(Step::Fail { error: "pipe".into(), max_attempts: 3 }, 3).unwrap();
            assert_eq!(message.state(), if left > 0 { MessageState::Failed } else { MessageState::Dead });
        }
        message.apply(Step::Retry, 9).unwrap();
        assert_eq!((message.state(), message.attempts, message.since_ms), (MessageState::Queued, 0, 9));
        assert_eq!((message.error, message.fence), (None, None));
    }
}
