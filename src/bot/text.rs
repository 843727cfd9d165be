//! What somebody wrote: a command, a reply that is for a ticket's worker, or neither.

use super::answer::{Answer, Show};
use super::command::{self, Command, Read, Which};
use super::deed::{Deed, Person, Wording};
use super::look::Firing;
use super::reply::with_note;
use super::table::{self, Written};
use super::work::Acted;
use super::{Bot, press};
use crate::alert::words::phrase;
use crate::daemon::{ManualRun, PauseFor, Refused, RefusedKind};
use crate::model::alert::AlertId;
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::message::MessageId;
use crate::model::notice::{Button, Part, Shown};
use crate::model::run::Run;
use crate::model::span::span;
use crate::run::history;
use crate::store::StoreError;

/// A command that was meant for a moment is not followed when it comes so much later, milliseconds.
const LATE_MS: i64 = 15 * 60_000;
/// Said once to whoever writes what is neither.
const HINT: &str = "Reply to a ticket message or type /help.";

impl Bot {
    pub(super) async fn read_text(&self, written: &Written) -> Result<Acted, Refused> {
        let Deed::Text { by, text, reply_to, wording, at_ms, .. } = &written.deed else {
            return Ok(Acted::Done(Answer::default()));
        };
        let ticket = match reply_to {
            Some(original) => self.ticket_of(by.chat, *original).await?,
            None => None,
        };
        // Words of somebody else are no command, whoever passes them on.
        match (wording, &ticket) {
            (Wording::Own, _) => {}
            (Wording::Forwarded, None) => return self.hint(by).await,
            (Wording::Forwarded, Some(_)) => {
                let told = "✋ Words that were passed on are not taken. Write them yourself.";
                return Ok(Acted::Done(Answer::text(told)));
            }
            (Wording::Edited, _) => return self.edited(by, written.deed.message(), text).await,
        }
        if let Some(what) = written.deed.attached().filter(|_| text.trim().is_empty()) {
            return Ok(Acted::Done(Self::cannot_take(what, by.chat > 0 || ticket.is_some())));
        }
        match (command::read(text, self.own_name().as_deref()), ticket) {
            (Read::ForAnother, _) => Ok(Acted::Done(Answer::default())),
            (Read::Wrong(why), _) => Ok(Acted::Done(Answer::text(format!("✋ {why}")))),
            (Read::Command(command), _) => {
                let late_ms = self.app.clock.wall_ms() - at_ms;
                if command.is_of_the_moment() && late_ms > LATE_MS {
                    let late = span(late_ms);
                    return Ok(Acted::Done(Answer::text(format!(
                        "✋ This came {late} late and was not done. Send it again if it is still wanted."
                    ))));
                }
                Ok(match self.command(written, command, *reply_to).await? {
                    Acted::Done(answer) => Acted::Done(with_note(answer, written.deed.attached())),
                    noted @ Acted::Noted(_) => noted,
                })
            }
            (Read::Plain | Read::Unknown(_), Some(ticket)) => self.reply(written, &ticket, text).await,
            // In a group it may be another bot's.
            (Read::Unknown(_), None) if by.chat < 0 => Ok(Acted::Done(Answer::default())),
            (Read::Unknown(name), None) => {
                Ok(Acted::Done(Answer::text(format!("There is no /{}. Type /help.", phrase(&name)))))
            }
            (Read::Plain, None) => match reply_to {
                // Whoever answers us waits for something, each time.
                Some(original) if self.is_ours(by.chat, *original).await? => {
                    Ok(Acted::Done(Answer::text(format!("✋ Nobody reads a reply to this message. {HINT}"))))
                }
                Some(_) | None => self.hint(by).await,
            },
        }
    }

    /// Whether a message may be one of ours: in a group people answer each other.
    async fn is_ours(&self, chat: i64, message: i32) -> Result<bool, Refused> {
        Ok(chat > 0 || self.app.alerts.of_message(chat, message).await?.is_some())
    }

    /// What was changed after it had been sent: it stands as it was taken.
    async fn edited(&self, by: &Person, message: i32, text: &str) -> Result<Acted, Refused> {
        let is_command = by.chat > 0 && command::read(text, None) != Read::Plain;
        let is_taken = self.ticket_of(by.chat, message).await?.is_some();
        Ok(Acted::Done(if is_command || is_taken {
            Answer::text("✋ An edit is not taken: what you sent first stands. Send it as another message.")
        } else {
            Answer::default()
        }))
    }

    async fn hint(&self, by: &Person) -> Result<Acted, Refused> {
        let (chat, person, now_ms) = (by.chat, by.id, self.app.clock.wall_ms());
        let is_news = self
            .app
            .store
            .write(move |tx| Ok::<_, StoreError>(table::hint(tx, chat, person, now_ms)?))
            .await?;
        Ok(Acted::Done(if is_news { Answer::text(HINT) } else { Answer::default() }))
    }

    /// The ticket that a message of the chat is about.
    pub(super) async fn ticket_of(&self, chat: i64, message: i32) -> Result<Option<TicketId>, Refused> {
        let known = self
            .app
            .store
            .read(move |conn| Ok::<_, StoreError>(table::ticket_of(conn, chat, message)?))
            .await?;
        if let Some(ticket) = known {
            return Ok(ticket.parse().ok());
        }
        let Some(alert) = self.app.alerts.of_message(chat, message).await? else { return Ok(None) };
        let view = self.app.alerts.get(alert).await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        let Some(view) = view else { return Ok(None) };
        match view.alert.notice.subject.split_once(':') {
            Some(("ticket" | "worker", id)) => Ok(id.parse().ok()),
            Some(("message", id)) => {
                let Ok(id) = id.parse() else { return Ok(None) };
                Ok(self.app.tickets.message(MessageId(id)).await?.map(|message| message.ticket))
            }
            Some(_) | None => Ok(None),
        }
    }

    async fn command(
        &self,
        written: &Written,
        command: Command,
        reply_to: Option<i32>,
    ) -> Result<Acted, Refused> {
        let by = written.deed.by();
        let answer = match command {
            Command::Status => Answer::say(self.status().await?),
            Command::Problems => Answer::say(self.problems().await?),
            Command::Tasks => Answer::say(self.tasks().await?),
            Command::Tickets => Answer::say(self.tickets().await?),
            Command::Usage => Answer::say(self.usage().await?),
            Command::Help => Answer::say(help()),
            Command::Ticket(id) => self.ticket(&id).await?,
            Command::Logs(Which::Run(run)) => self.logs(run).await?,
            Command::Logs(Which::Task(task)) => self.logs_of(&task).await?,
            Command::Run(task) => return self.run_or_ask(written, &task).await,
            Command::New(text) => return self.make_or_ask(written, &text).await,
            Command::Mute { length, what } => {
                let alert = match (&what, reply_to) {
                    (None, Some(original)) => match self.app.alerts.of_message(by.chat, original).await? {
                        Some(alert) => Some(alert),
                        // Not everything, when one was meant.
                        None => return Ok(Acted::Done(Answer::text("✋ That message is about no alert."))),
                    },
                    (Some(_), _) | (None, None) => None,
                };
                self.mute(length, what, alert, by).await?
            }
            Command::Pause { task, length } => self.pause(&task, length, by).await?,
            Command::Resume(task) => {
                let was_paused = self.app.resume(Some(&task), &by.actor()).await?;
                let what = if was_paused { "goes on" } else { "is not paused" };
                Answer::text(format!("▶️ {task} {what}."))
            }
            Command::Kill(id) => self.ask_to_kill(id, &format!("r:kill:{}", id.0)).await?,
        };
        Ok(Acted::Done(answer))
    }

    /// Asks once more.
    pub(super) fn ask_whether(&self, data: &str, question: &str) -> Answer {
        Answer::say(vec![Part::Bold(phrase(question))])
            .with_buttons(&press::sure(data, self.app.clock.wall_ms()))
            .with_toast(phrase(question))
    }

    pub(super) async fn run(&self, task: &TaskId, by: &Person, key: String) -> Result<Answer, Refused> {
        let manual = ManualRun { actor: by.actor(), request_key: Some(key), ..ManualRun::default() };
        let run = self.app.run_now(task, manual).await?;
        Ok(started(&run))
    }

    async fn logs(&self, id: RunId) -> Result<Answer, Refused> {
        self.app.run(id).await?.ok_or_else(|| Refused::no_run(id))?;
        Ok(Answer::default().and(Show::Log(id)))
    }

    async fn logs_of(&self, task: &TaskId) -> Result<Answer, Refused> {
        let query =
            history::Query { task: Some(task.clone()), own: true, limit: 20, ..history::Query::default() };
        let runs = self.app.list_runs(query).await?;
        if runs.is_empty() && self.app.snapshot().get(task).is_none() {
            return Err(self.app.no_task(task));
        }
        match runs.iter().find(|run| run.started_ms.is_some()) {
            Some(run) => Ok(Answer::default().and(Show::Log(run.id))),
            None => Ok(Answer::text(format!("{task} has not run yet."))),
        }
    }

    pub(super) async fn pause(
        &self,
        task: &TaskId,
        length: std::time::Duration,
        by: &Person,
    ) -> Result<Answer, Refused> {
        let reason = Some(format!("by {} on Telegram", phrase(&by.name)));
        self.app.pause(Some(task), PauseFor { for_: Some(length), reason, actor: by.actor() }).await?;
        let until_ms = self.app.clock.wall_ms() + i64::try_from(length.as_millis()).unwrap_or(0);
        let parts = vec![
            Part::Text("⏸ ".to_owned()),
            Part::Bold(task.to_string()),
            Part::Text(" is paused until ".to_owned()),
            Part::Time { ms: until_ms, shown: Shown::Day },
            Part::Text(format!(" by {}.", phrase(&by.name))),
        ];
        Ok(Answer::say(parts).with_toast(format!("Paused until {}", self.clock(until_ms))))
    }

    /// Mutes one alert, those about something, or all that fire and that somebody has been told of: nobody wants
    /// peace from what they do not know.
    async fn mute(
        &self,
        length: std::time::Duration,
        what: Option<String>,
        alert: Option<AlertId>,
        by: &Person,
    ) -> Result<Answer, Refused> {
        let firing = self.firing().await?;
        let is_meant = |one: &Firing| match (&what, alert) {
            (None, None) => one.is_heard,
            (None, Some(alert)) => one.id == alert,
            (Some(what), _) => {
                one.subject == *what
                    || crate::alert::compose::name(&one.subject).eq_ignore_ascii_case(what)
                    || one.id.0.to_string() == *what
            }
        };
        let mut muted = Vec::new();
        for one in firing.iter().filter(|one| is_meant(one)) {
            match self.app.alerts.mute(one.id, length, by.known()).await {
                Ok(_) => muted.push(phrase(crate::alert::compose::name(&one.subject))),
                // It has ended meanwhile.
                Err(e) => tracing::debug!(error = %e, "an alert was not muted"),
            }
        }
        if muted.is_empty() {
            let is_all = what.is_none() && alert.is_none();
            let (why, help) = nothing_muted(what.as_deref(), if is_all { firing.len() } else { 0 });
            return Err(Refused::new(RefusedKind::NotFound, "no_alert", why, help));
        }
        let until_ms = self.app.clock.wall_ms() + i64::try_from(length.as_millis()).unwrap_or(0);
        Ok(Answer::say(vec![
            Part::Text(format!("🔕 {} muted until ", muted.join(", "))),
            Part::Time { ms: until_ms, shown: Shown::Day },
            Part::Text(format!(" by {}.", phrase(&by.name))),
        ]))
    }
}

/// Why no alert was muted, and what to do; `unheard` fire that nobody has been told of.
fn nothing_muted(what: Option<&str>, unheard: usize) -> (String, &'static str) {
    let about = what.map(|what| format!(" about {}", phrase(what))).unwrap_or_default();
    match unheard {
        0 => (format!("Nothing fires{about}"), ""),
        1 => ("1 alert fires that nobody has been told of: it is not muted".to_owned(), "/problems"),
        n => (format!("{n} alerts fire that nobody has been told of: they are not muted"), "/problems"),
    }
}

/// A run that was asked for.
pub(super) fn started(run: &Run) -> Answer {
    let id = run.id;
    let told = if !run.state().is_live() {
        format!(": {id} is {}.", run.state().name().replace('_', " "))
    } else if run.waiting.is_some() {
        format!(" is in line as {id}.")
    } else {
        format!(" is started as {id}.")
    };
    let buttons = vec![
        Button::data("Log", format!("r:log:{}", id.0)),
        Button::data("Kill", format!("r:kill:{}", id.0)),
    ];
    Answer::say(vec![
        Part::Text("▶️ ".to_owned()),
        Part::Bold(run.task.to_string()),
        Part::Text(told.clone()),
    ])
    .with_buttons(&buttons)
    .with_toast(format!("{}{told}", run.task))
}

fn help() -> Vec<Part> {
    let mut parts = vec![Part::Text("Reply to a ticket message and its worker gets it. Or:".to_owned())];
    for (name, wanted, what) in command::MENU.iter().filter(|(name, _, _)| *name != "start") {
        let wanted = if wanted.is_empty() { String::new() } else { format!(" {wanted}") };
        parts.extend([Part::Break, Part::Text(format!("/{name}{wanted}: {what}"))]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_not_muted_and_not_denied() {
        assert_eq!(nothing_muted(None, 0), ("Nothing fires".to_owned(), ""));
        assert_eq!(nothing_muted(Some("backup"), 0).0, "Nothing fires about backup");
        assert!(nothing_muted(None, 1).0.starts_with("1 alert fires"));
        let (why, help) = nothing_muted(None, 3);
        assert!(why.starts_with("3 alerts fire") && help == "/problems", "{why}");
    }

    #[test]
    fn help_names_every_command() {
        let told = serde_json::to_string(&help()).unwrap();
        for (name, _, _) in command::MENU {
            assert!(name == "start" || told.contains(&format!("/{name}")), "{name}");
        }
    }
}
