//! What is told to whoever asked: made with what they asked for, kept until it has been shown.

use serde::{Deserialize, Serialize};

use crate::alert::words::phrase;
use crate::daemon::Refused;
use crate::model::ids::RunId;
use crate::model::notice::{Button, Part};

/// What is told for one deed. All of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The few words in which a press ends.
    pub toast: Option<String>,
    pub shows: Vec<Show>,
    /// It asks whether to do what was written, and nobody has said yes so far.
    pub is_open: bool,
}

/// One thing that is put into the chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    /// A message that answers the one it is about.
    Say {
        parts: Vec<Part>,
        buttons: Vec<Button>,
        /// A reply to it is for this ticket.
        ticket: Option<String>,
    },
    /// The end of a run's output.
    Log(RunId),
    /// Takes the place of the message that was pressed, and of its buttons.
    Instead { parts: Vec<Part> },
}

impl Answer {
    /// A message.
    #[must_use]
    pub fn say(parts: Vec<Part>) -> Self {
        Self::default().and(Show::Say { parts, buttons: Vec::new(), ticket: None })
    }

    /// A message of one text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::say(vec![Part::Text(text.into())])
    }

    /// Only the few words at a press.
    #[must_use]
    pub fn toast(text: impl Into<String>) -> Self {
        Self { toast: Some(text.into()), ..Self::default() }
    }

    #[must_use]
    pub fn and(mut self, show: Show) -> Self {
        self.shows.push(show);
        self
    }

    #[must_use]
    pub fn with_toast(mut self, text: impl Into<String>) -> Self {
        self.toast = Some(text.into());
        self
    }

    /// Puts buttons below the message.
    #[must_use]
    pub fn with_buttons(mut self, new: &[Button]) -> Self {
        for show in &mut self.shows {
            match show {
                Show::Say { buttons, .. } => *buttons = new.to_vec(),
                Show::Log(_) | Show::Instead { .. } => {}
            }
        }
        self
    }

    /// A reply to the message is for this ticket.
    #[must_use]
    pub fn about(mut self, id: &impl ToString) -> Self {
        for show in &mut self.shows {
            match show {
                Show::Say { ticket, .. } => *ticket = Some(id.to_string()),
                Show::Log(_) | Show::Instead { .. } => {}
            }
        }
        self
    }
}

/// What was done takes the place of the question.
#[must_use]
pub fn instead(answer: Answer) -> Answer {
    let mut told = Answer { toast: answer.toast.clone(), ..Answer::default() };
    for show in answer.shows {
        told.shows.push(match show {
            Show::Say { parts, .. } => Show::Instead { parts },
            Show::Log(_) | Show::Instead { .. } => show,
        });
    }
    if told.shows.is_empty() {
        let parts = vec![Part::Text(answer.toast.unwrap_or_else(|| "Done.".to_owned()))];
        told.shows.push(Show::Instead { parts });
    }
    told
}

/// Why something was not done, and what to do about it.
impl From<&Refused> for Answer {
    fn from(refused: &Refused) -> Self {
        let why = phrase(&refused.message);
        let mut parts = vec![Part::Text(format!("✋ {why}."))];
        if !refused.help.is_empty() {
            parts.extend([Part::Break, Part::Code(phrase(&refused.help))]);
        }
        Self::say(parts).with_toast(why)
    }
}
