//! What costs money is asked once more: a command waits in its update until somebody says yes, and a yes counts
//! once.

use tracing::warn;

use super::Bot;
use super::answer::{Answer, Show, instead};
use super::command::{self, Command, Read};
use super::deed::Deed;
use super::reply::with_note;
use super::table::{self, Written};
use super::work::Acted;
use crate::alert::words::{clip, phrase};
use crate::daemon::Refused;
use crate::model::ids::TaskId;
use crate::model::notice::Part;
use crate::store::StoreError;
use crate::ticket::board::{NewTicket, TITLE_MAX_BYTES};
use crate::ticket::{Author, TicketError};

/// Characters of a title in a question.
const TITLE_CHARS: usize = 120;

/// The question before a run that costs money.
pub(super) fn may_run(task: &TaskId) -> String {
    format!("Run {task} now? It costs money.")
}

impl Bot {
    /// Asks whether to do what was written.
    fn ask_first(&self, written: &Written, question: &str) -> Acted {
        let answer = self.ask_whether(&format!("u:do:{}", written.id), question);
        Acted::Done(Answer { is_open: true, ..answer })
    }

    /// Runs a task, or asks whether to.
    pub(super) async fn run_or_ask(&self, written: &Written, task: &TaskId) -> Result<Acted, Refused> {
        if self.costs(task) {
            return Ok(self.ask_first(written, &may_run(task)));
        }
        let key = key_of(written);
        Ok(Acted::Done(self.run(task, written.deed.by(), key).await?))
    }

    /// Makes a ticket, or asks whether to where an agent would be put on it.
    pub(super) async fn make_or_ask(&self, written: &Written, text: &str) -> Result<Acted, Refused> {
        let (title, _) = split(text);
        if title.len() > TITLE_MAX_BYTES {
            return Ok(Acted::Done(Answer::text(format!(
                "✋ A title has at most {TITLE_MAX_BYTES} bytes. Write the rest below it."
            ))));
        }
        if self.app.dispatches() {
            let title = phrase(title);
            let question = format!(
                "Make a ticket “{}” and put an agent on it? It costs money.",
                clip(&title, TITLE_CHARS)
            );
            return Ok(self.ask_first(written, &question));
        }
        self.make(written, text, None).await
    }

    /// Closes a question: what it asked about is not done any more, whoever says yes after it.
    pub(super) async fn declined(&self, pressed: &Written, asked: Option<i64>) -> Result<Acted, Refused> {
        let told = || {
            let parts = vec![Part::Text("Nothing was done.".to_owned())];
            Answer::toast("Nothing was done").and(Show::Instead { parts })
        };
        let Some(id) = asked else { return Ok(Acted::Done(told())) };
        let chat = pressed.deed.by().chat;
        let is_closed = self.app.store.write(move |tx| {
            let is_here = table::asked(tx, id)?.is_some_and(|asked| asked.deed.by().chat == chat);
            Ok::<_, StoreError>(is_here && table::redeem(tx, id)?)
        });
        Ok(if is_closed.await? { Acted::Done(told()) } else { answered() })
    }

    /// Does what was written in an update, now that somebody has said yes.
    pub(super) async fn confirmed(&self, pressed: &Written, id: i64) -> Result<Acted, Refused> {
        let by = pressed.deed.by();
        let asked = self.app.store.read(move |conn| Ok::<_, StoreError>(table::asked(conn, id)?)).await?;
        let Some(asked) = asked.filter(|asked| asked.deed.by().chat == by.chat) else {
            return Ok(answered());
        };
        let Deed::Text { text, .. } = &asked.deed else { return Ok(answered()) };
        match command::read(text, self.own_name().as_deref()) {
            Read::Command(Command::Run(task)) => {
                // Asked for twice, it is the same run.
                let answer = self.run(&task, by, key_of(&asked)).await?;
                let redeemed = self.app.store.write(move |tx| Ok::<_, StoreError>(table::redeem(tx, id)?));
                if let Err(e) = redeemed.await {
                    warn!(error = %e, "a question stays open that was answered; another yes is the same run");
                }
                Ok(Acted::Done(answer))
            }
            Read::Command(Command::New(text)) => self.make(pressed, &text, Some(id)).await,
            Read::Command(_) | Read::Wrong(_) | Read::Unknown(_) | Read::ForAnother | Read::Plain => {
                Ok(answered())
            }
        }
    }

    /// Makes a ticket in the transaction that notes it as done; `asked` is the update whose question this answers.
    async fn make(&self, written: &Written, text: &str, asked: Option<i64>) -> Result<Acted, Refused> {
        let by = written.deed.by();
        let (title, body) = split(text);
        let new = NewTicket { title: title.to_owned(), body: body.to_owned(), ..NewTicket::default() };
        let (tickets, author, now_ms) =
            (self.app.tickets.clone(), Author::Person(by.actor()), self.app.clock.wall_ms());
        let (row, place) = (written.id, (by.chat, written.deed.message()));
        let attached = written.deed.attached().map(str::to_owned);
        let answer = self
            .app
            .store
            .write(move |tx| {
                if let Some(asked) = asked
                    && !table::redeem(tx, asked)?
                {
                    return Ok(None);
                }
                let ticket = tickets.create_in(tx, &new, &author, now_ms)?;
                let parts = vec![
                    Part::Text("🆕 ".to_owned()),
                    Part::Bold(ticket.id.to_string()),
                    Part::Text(format!(" {}", phrase(&ticket.title))),
                ];
                let mut answer = Answer::say(parts).about(&ticket.id);
                if asked.is_some() {
                    // It takes the place of the question, and a reply to that is for the ticket.
                    table::track(tx, place, &ticket.id.to_string(), None, now_ms)?;
                    answer = instead(answer.with_toast(format!("{} is made", ticket.id)));
                }
                let answer = with_note(answer, attached.as_deref());
                table::done(tx, row, &answer)?;
                Ok::<_, TicketError>(Some(answer))
            })
            .await?;
        Ok(answer.map_or_else(answered, Acted::Noted))
    }
}

/// The same update is the same request.
fn key_of(written: &Written) -> String {
    format!("telegram:{}:{}", written.bot, written.number)
}

fn split(text: &str) -> (&str, &str) {
    let (title, body) = text.split_once('\n').unwrap_or((text, ""));
    (title.trim(), body.trim())
}

fn answered() -> Acted {
    let parts = vec![Part::Text("This was answered before.".to_owned())];
    Acted::Done(Answer::toast("This was answered before").and(Show::Instead { parts }))
}
