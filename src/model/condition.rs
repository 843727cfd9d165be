//! A condition: a lasting state of the box that a person should hear of when it begins and when it ends.
//! Whoever finds one records it; what becomes of it, a message or silence, is not the finder's business.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::event::{Event, EventKind};
use super::task::Severity;

/// Said as often as it is found: the key tells whether it is the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Stays the same while the same thing is wrong: `health`, `token:mail`, `dispatch`.
    pub key: String,
    pub severity: Severity,
    /// What is wrong, in a line that is enough on a locked screen.
    pub title: String,
    #[serde(default)]
    pub lines: Vec<Line>,
    /// Where a person mends it.
    #[serde(default)]
    pub link: Option<String>,
    /// The ticket on which it is mended.
    #[serde(default)]
    pub ticket: Option<String>,
}

/// One fact of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub mark: Mark,
    pub text: String,
    /// The check that found it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Good,
    Doubtful,
    Bad,
    Plain,
}

impl Condition {
    #[must_use]
    pub fn new(key: &str, severity: Severity, title: String) -> Self {
        Self { key: key.to_owned(), severity, title, lines: Vec::new(), link: None, ticket: None }
    }

    #[must_use]
    pub fn line(mut self, mark: Mark, text: String) -> Self {
        self.lines.push(Line { mark, text, check: None });
        self
    }

    /// A line that the check `id` found.
    #[must_use]
    pub fn check(mut self, mark: Mark, text: String, id: &str) -> Self {
        self.lines.push(Line { mark, text, check: Some(id.to_owned()) });
        self
    }

    /// The event that tells of it.
    #[must_use]
    pub fn raised(&self) -> Event {
        let event = Event::new(EventKind::ConditionRaised).data(json!(self));
        match &self.ticket {
            Some(ticket) => event.ticket(ticket),
            None => event,
        }
    }

    /// The event that tells that the condition `key` is over, and in a line how things are now.
    #[must_use]
    pub fn cleared(key: &str, title: &str) -> Event {
        Event::new(EventKind::ConditionCleared).data(json!({"key": key, "title": title}))
    }

    /// What an event of [`EventKind::ConditionRaised`] tells; none of any other.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        if event.kind != EventKind::ConditionRaised {
            return None;
        }
        serde_json::from_value(event.data.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_the_whole_condition() {
        let mut condition = Condition::new("token:mail", Severity::Critical, "mail needs a login".to_owned())
            .line(Mark::Bad, "the token was revoked".to_owned());
        condition.link = Some("https://portal.example".to_owned());
        condition.ticket = Some("MC-4".to_owned());
        let event = condition.raised();
        assert_eq!(event.ticket.as_deref(), Some("MC-4"));
        assert_eq!(Condition::of(&event), Some(condition));
        assert_eq!(Condition::of(&Condition::cleared("token:mail", "well again")), None);
    }
}
