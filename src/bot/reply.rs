//! Replies to a ticket's messages: put in line for its worker, or kept as a comment where none would read it, which
//! is said at once.

use super::Bot;
use super::answer::{Answer, Show};
use super::table::{self, Written};
use super::work::Acted;
use crate::alert::words::phrase;
use crate::daemon::{Refused, replies};
use crate::model::ids::TicketId;
use crate::model::notice::{Button, Part};
use crate::model::ticket::Illegal;
use crate::ticket::conversation::CommentKind;
use crate::ticket::{Author, TicketError, Unread};

impl Bot {
    /// Puts a text in line for a ticket's worker; its reaction tells how far it comes.
    pub(super) async fn reply(
        &self,
        written: &Written,
        ticket: &TicketId,
        text: &str,
    ) -> Result<Acted, Refused> {
        let by = written.deed.by();
        let (tickets, author, now_ms) =
            (self.app.tickets.clone(), Author::Person(by.actor()), self.app.clock.wall_ms());
        let (row, place) = (written.id, (by.chat, written.deed.message()));
        let (id, text) = (ticket.clone(), text.to_owned());
        let attached = written.deed.attached().map(str::to_owned);
        let (answer, login) = self
            .app
            .store
            .write(move |tx| {
                let said = (text.as_str(), "telegram");
                let (answer, login) = match replies::reply_in(&tickets, tx, &id, said, &author, now_ms) {
                    Ok(replied) => {
                        table::track(tx, place, &id.to_string(), Some(replied.message.id), now_ms)?;
                        let unread = tickets.unread(&replied.ticket).filter(|_| replied.login.is_none());
                        (unread.map(|unread| kept(&id, &unread)).unwrap_or_default(), replied.login)
                    }
                    Err(TicketError::Illegal(Illegal::State { from, .. })) if from.is_over() => {
                        tickets.comment_in(tx, &id, CommentKind::Comment, &text, &author, now_ms)?;
                        let unread = tickets.unread(&tickets.find_in(tx, &id)?);
                        (unread.map(|unread| kept(&id, &unread)).unwrap_or_default(), None)
                    }
                    Err(e) => return Err(e),
                };
                let answer = with_note(answer, attached.as_deref());
                table::done(tx, row, &answer)?;
                Ok::<_, TicketError>((answer, login))
            })
            .await?;
        if let Some(login) = login {
            self.app.look_at_login(&login);
        }
        Ok(Acted::Noted(answer))
    }

    /// What is told of a photo, a voice message and the like without a word. In a group it may be for others.
    pub(super) fn cannot_take(what: &str, is_for_us: bool) -> Answer {
        if !is_for_us {
            return Answer::default();
        }
        Answer::text(format!(
            "✋ {} is not taken here: write it in words. Words below a photo or a file count.",
            named(what)
        ))
    }
}

/// What is told of a text that no worker reads, and the button that brings one.
fn kept(id: &TicketId, unread: &Unread) -> Answer {
    let buttons: Vec<Button> = put_to_work(id, unread).into_iter().collect();
    Answer::text(format!(
        "📝 {}. Your text is a comment on it, and in the next worker's prompt.",
        phrase(&unread.why)
    ))
    .with_buttons(&buttons)
    .about(id)
}

/// The button that does what would bring a worker, where something would.
pub(super) fn put_to_work(id: &TicketId, unread: &Unread) -> Option<Button> {
    let way = unread.way.as_deref()?;
    way.ends_with(" todo").then(|| Button::data("Put a worker on it", format!("t:todo:{id}")))
}

/// Adds what is to be known of what came along with the words.
pub(super) fn with_note(answer: Answer, attached: Option<&str>) -> Answer {
    let Some(what) = attached else { return answer };
    let parts = vec![Part::Text(format!("📎 {} itself is not taken, only the words.", named(what)))];
    answer.and(Show::Say { parts, buttons: Vec::new(), ticket: None })
}

fn named(what: &str) -> String {
    format!("The {}", phrase(what))
}
