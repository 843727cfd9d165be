//! What a pressed button does. A second press comes to the same as the first.

use std::time::Duration;

use super::Bot;
use super::answer::{Answer, Show, instead};
use super::deed::{Deed, Person};
use super::press::{self, Press};
use super::reply::put_to_work;
use super::sure::may_run;
use super::table::{self, Snooze, Written};
use super::text::started;
use super::work::Acted;
use crate::alert::AlertError;
use crate::alert::words::phrase;
use crate::daemon::tickets::{Move, TicketChange};
use crate::daemon::{Refused, RefusedKind, replies};
use crate::model::alert::{AlertId, AlertState};
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::message::{Illegal, MessageId, MessageState};
use crate::model::notice::{Button, Part};
use crate::model::task::Kind;
use crate::store::StoreError;
use crate::ticket::{Author, TicketError};

/// What is said where the question that a button belongs to is no longer asked.
fn asked_no_more(ticket: &TicketId) -> Acted {
    Acted::Done(Answer::toast(format!("{ticket} does not ask this any more")))
}

impl Bot {
    pub(super) async fn pressed(&self, written: &Written) -> Result<Acted, Refused> {
        let Deed::Press { data, .. } = &written.deed else { return Ok(Acted::Done(Answer::default())) };
        let Some(press) = press::read(data) else {
            return Ok(Acted::Done(Answer::toast("This button is not known any more")));
        };
        match press {
            Press::NotSure(asked) => self.declined(written, asked).await,
            Press::Sure { minute, of } => {
                if !press::counts(minute, self.app.clock.wall_ms()) {
                    let parts = vec![Part::Text("Too late: nothing was done. Press again.".to_owned())];
                    return Ok(Acted::Done(Answer::toast("Too late").and(Show::Instead { parts })));
                }
                let acted = self.act_on(written, *of).await.unwrap_or_else(|refused| {
                    // Told in the place of the question.
                    Acted::Done(Answer::from(&refused))
                });
                Ok(match acted {
                    Acted::Done(answer) => Acted::Done(instead(answer)),
                    Acted::Noted(answer) => Acted::Noted(answer),
                })
            }
            press if self.is_weighty(&press).await? => Ok(Acted::Done(self.question(&press, data).await?)),
            press => self.act_on(written, press).await,
        }
    }

    /// Whether a run of a task costs money; one that will be refused does not.
    pub(super) fn costs(&self, task: &TaskId) -> bool {
        let snapshot = self.app.snapshot();
        let entry = snapshot.get(task).filter(|entry| entry.enabled);
        let definition = entry.and_then(|entry| entry.definition.as_ref());
        definition.is_some_and(|task| matches!(task.kind, Kind::Agent(_)))
    }

    /// Whether to ask once more: what ends something, and what costs money.
    async fn is_weighty(&self, press: &Press) -> Result<bool, Refused> {
        match press {
            Press::Retry(run) => Ok(self.app.run(*run).await?.is_some_and(|run| self.costs(&run.task))),
            Press::RunTask(task) => Ok(self.costs(task)),
            press => Ok(press.wants_a_second_word()),
        }
    }

    async fn question(&self, press: &Press, data: &str) -> Result<Answer, Refused> {
        let task_of = async |id: RunId| -> Result<String, Refused> {
            let run = self.app.run(id).await?.ok_or_else(|| Refused::no_run(id))?;
            Ok(run.task.to_string())
        };
        let question = match press {
            Press::Close(ticket) => format!("Close {ticket}?"),
            Press::Todo(ticket) => format!("Put a worker on {ticket} again? It costs money."),
            Press::Kill(run) => return self.ask_to_kill(*run, data).await,
            Press::Retry(run) => format!("Run {} again? It costs money.", task_of(*run).await?),
            Press::RunTask(task) => may_run(task),
            Press::Ack(_)
            | Press::Mute(..)
            | Press::Unmute(_)
            | Press::Log(_)
            | Press::PauseTask(..)
            | Press::Choose { .. }
            | Press::Snooze(..)
            | Press::RetryMessage(_)
            | Press::KeepAsComment(_)
            | Press::DropMessage(_)
            | Press::Status
            | Press::Written(_)
            | Press::Sure { .. }
            | Press::NotSure(_) => "Really?".to_owned(),
        };
        Ok(self.ask_whether(data, &question))
    }

    /// Asks whether to end a run, where there is something to end.
    pub(super) async fn ask_to_kill(&self, id: RunId, data: &str) -> Result<Answer, Refused> {
        let run = self.app.run(id).await?.ok_or_else(|| Refused::no_run(id))?;
        if !run.state().is_live() {
            return Err(Refused::ended(id, run.state()));
        }
        Ok(self.ask_whether(data, &format!("End {id} ({})?", run.task)))
    }

    async fn act_on(&self, written: &Written, press: Press) -> Result<Acted, Refused> {
        let by = written.deed.by();
        let answer = match press {
            Press::Ack(id) => {
                self.app.alerts.ack(id, by.known()).await.map_err(refused)?;
                Answer::toast("Acknowledged")
            }
            Press::Mute(id, length) => self.mute_once(id, length, by).await?,
            Press::Unmute(id) => {
                self.app.alerts.unmute(id, by.known()).await.map_err(refused)?;
                Answer::toast("Unmuted")
            }
            Press::Log(run) => {
                self.app.run(run).await?.ok_or_else(|| Refused::no_run(run))?;
                Answer::toast("Here it comes").and(Show::Log(run))
            }
            Press::Retry(run) => self.retry_once(run, written).await?,
            Press::Kill(id) => {
                let run = self.app.kill_run(id, &by.actor(), None).await?;
                let what = if run.state().has_failed() { "is not tried again" } else { "is told to end" };
                let told = format!("{id} ({}) {what}", run.task);
                Answer::text(format!("⏹ {told}, by {}.", phrase(&by.name))).with_toast(told)
            }
            Press::PauseTask(task, length) => self.pause_once(&task, length, by).await?,
            Press::RunTask(task) => {
                let key = format!("telegram:run:{}:{}:{task}", by.chat, written.deed.message());
                self.run(&task, by, key).await?
            }
            Press::Choose { ticket, place, question } => {
                return self.choose(written, &ticket, place, question).await;
            }
            Press::Snooze(ticket, length) => self.snooze(written, &ticket, length).await?,
            Press::Todo(ticket) => self.move_ticket(&ticket, Move::Todo, by).await?,
            Press::Close(ticket) => {
                let reason = format!("closed by {} on Telegram", phrase(&by.name));
                self.move_ticket(&ticket, Move::Closed { reason }, by).await?
            }
            Press::RetryMessage(id) => self.retry_message(id, by).await?,
            Press::DropMessage(id) => self.drop_message(id, by, "Dropped").await?,
            // It was put there when it came.
            Press::KeepAsComment(id) => {
                self.drop_message(id, by, "Its text is a comment on the ticket").await?
            }
            Press::Status => Answer::say(self.status().await?).with_toast("Here it is"),
            Press::Written(id) => return self.confirmed(written, id).await,
            Press::Sure { .. } | Press::NotSure(_) => Answer::toast("This button is not known any more"),
        };
        Ok(Acted::Done(answer))
    }

    async fn mute_once(&self, id: AlertId, length: Duration, by: &Person) -> Result<Answer, Refused> {
        let view = self.app.alerts.get(id).await.map_err(refused)?;
        let view = view.ok_or_else(|| refused(AlertError::NoAlert(id)))?;
        if let (AlertState::Muted, Some(until_ms)) = (view.state, view.alert.muted_until_ms) {
            return Ok(Answer::toast(format!("Muted until {} already", self.clock(until_ms))));
        }
        let view = self.app.alerts.mute(id, length, by.known()).await.map_err(refused)?;
        let length_ms = i64::try_from(length.as_millis()).unwrap_or(0);
        let until_ms = view.alert.muted_until_ms.unwrap_or(self.app.clock.wall_ms() + length_ms);
        Ok(Answer::toast(format!("Muted until {}", self.clock(until_ms))))
    }

    /// Once for each message that offers it.
    async fn retry_once(&self, run: RunId, written: &Written) -> Result<Answer, Refused> {
        let by = written.deed.by();
        // The question and the message it stands below are two; the run is one.
        let key = format!("telegram:retry:{}", run.0);
        let before_ms = self.app.clock.wall_ms();
        let again = self.app.retry_run(run, &by.actor(), Some(key)).await?;
        if again.claimed_ms < before_ms && !again.state().is_live() {
            let told = format!("{run} was started again before: {}", again.id);
            let state = again.state().name().replace('_', " ");
            return Ok(
                Answer::text(format!("{told} ({state}). One more: /run {}", again.task)).with_toast(told)
            );
        }
        Ok(started(&again))
    }

    async fn pause_once(&self, task: &TaskId, length: Duration, by: &Person) -> Result<Answer, Refused> {
        let view = self.app.task(task).await?.ok_or_else(|| self.app.no_task(task))?;
        let held = view.pause.filter(|pause| pause.actor.starts_with("telegram:")).and_then(|p| p.until_ms);
        match held {
            Some(until_ms) => Ok(Answer::toast(format!("Paused until {} already", self.clock(until_ms)))),
            None => self.pause(task, length, by).await,
        }
    }

    /// Answers a ticket's question with one of its own words.
    async fn choose(
        &self,
        written: &Written,
        ticket: &TicketId,
        place: usize,
        question: Option<u32>,
    ) -> Result<Acted, Refused> {
        let by = written.deed.by();
        let Some(ask) = self.app.ticket(ticket).await?.ask else { return Ok(asked_no_more(ticket)) };
        let is_meant = match question {
            Some(question) => question == press::question(&ask),
            None => self.is_asked_by(by.chat, written.deed.message(), ticket).await?,
        };
        let Some(option) = ask.options.get(place).filter(|_| is_meant).cloned() else {
            return Ok(asked_no_more(ticket));
        };
        let answer = Answer::text(format!("✅ {} answered {ticket}: {}", phrase(&by.name), phrase(&option)))
            .about(ticket)
            .with_toast(format!("Answered: {}", phrase(&option)));
        let (tickets, author, now_ms) =
            (self.app.tickets.clone(), Author::Person(by.actor()), self.app.clock.wall_ms());
        let (row, id, noted) = (written.id, ticket.clone(), answer.clone());
        let is_answered = self
            .app
            .store
            .write(move |tx| {
                // Two people may press at once: the first answers.
                if tickets.find_in(tx, &id)?.ask.as_ref() != Some(&ask) {
                    return Ok(None);
                }
                let replied = replies::reply_in(&tickets, tx, &id, (&option, "telegram"), &author, now_ms)?;
                table::done(tx, row, &noted)?;
                Ok::<_, TicketError>(Some(replied))
            })
            .await?;
        let Some(replied) = is_answered else { return Ok(asked_no_more(ticket)) };
        if let Some(login) = &replied.login {
            self.app.look_at_login(login);
        }
        Ok(Acted::Noted(answer))
    }

    /// Whether the alert of this message still asks for the ticket.
    async fn is_asked_by(&self, chat: i64, message: i32, ticket: &TicketId) -> Result<bool, Refused> {
        let Some(alert) = self.app.alerts.of_message(chat, message).await? else { return Ok(false) };
        let view = self.app.alerts.get(alert).await.map_err(refused)?;
        let subject = format!("ticket:{ticket}");
        Ok(view.is_some_and(|view| !view.alert.is_over() && view.alert.notice.subject == subject))
    }

    /// Says nothing about a question for a while, then asks it again.
    async fn snooze(
        &self,
        written: &Written,
        ticket: &TicketId,
        length: Duration,
    ) -> Result<Answer, Refused> {
        let (by, message) = (written.deed.by(), written.deed.message());
        let alert = match self.app.alerts.of_message(by.chat, message).await? {
            Some(alert) => Some(alert),
            // A message of the bot's own, which asks again.
            None => self.open_about(&format!("ticket:{ticket}")).await?,
        };
        let Some(alert) = alert else { return Ok(Answer::toast("There is nothing left to put off")) };
        let known =
            self.app.store.read(move |conn| Ok::<_, StoreError>(table::snoozed_until(conn, alert)?)).await?;
        if let Some(until_ms) = known {
            return Ok(Answer::toast(format!("Put off until {} already", self.clock(until_ms))));
        }
        self.app.alerts.snooze(alert, length, by.known()).await.map_err(refused)?;
        let at_ms = self.app.clock.wall_ms() + i64::try_from(length.as_millis()).unwrap_or(0);
        let snooze = Snooze { alert, ticket: ticket.to_string(), chat: by.chat, message, at_ms };
        self.app.store.write(move |tx| Ok::<_, StoreError>(table::snooze(tx, &snooze)?)).await?;
        Ok(Answer::toast(format!("Asked again at {}", self.clock(at_ms))))
    }

    async fn move_ticket(&self, id: &TicketId, to: Move, by: &Person) -> Result<Answer, Refused> {
        let change = TicketChange { to: Some(to), ..TicketChange::default() };
        let ticket = self.app.change_ticket(id, change, &Author::Person(by.actor())).await?;
        let told = format!("{id} is {}", ticket.state().name().replace('_', " "));
        Ok(Answer::text(format!("✅ {told}, by {}.", phrase(&by.name))).about(id).with_toast(told))
    }

    async fn retry_message(&self, id: MessageId, by: &Person) -> Result<Answer, Refused> {
        match self.app.tickets.retry_message(id, &Author::Person(by.actor())).await {
            Ok(_) => Ok(Answer::toast("It is in line again")),
            Err(TicketError::Unread(unread)) => {
                let message = self.app.tickets.message(id).await?;
                let buttons: Vec<Button> =
                    message.iter().filter_map(|message| put_to_work(&message.ticket, &unread)).collect();
                Ok(Answer::text(format!("✋ {}.", phrase(&unread.why)))
                    .with_buttons(&buttons)
                    .with_toast(phrase(&unread.why)))
            }
            Err(e) => Err(e.into()),
        }
    }

    async fn drop_message(&self, id: MessageId, by: &Person, told: &str) -> Result<Answer, Refused> {
        match self.app.tickets.drop_message(id, &Author::Person(by.actor())).await {
            Ok(_) => {}
            // That is where it was to go.
            Err(TicketError::Message(Illegal::State { from: MessageState::Dead, .. })) => {}
            Err(TicketError::Message(_)) => return Ok(Answer::toast("Its worker has it already")),
            Err(e) => return Err(e.into()),
        }
        if let Some(alert) = self.open_about(&format!("message:{}", id.0)).await? {
            self.app.alerts.ack(alert, by.known()).await.map_err(refused)?;
        }
        Ok(Answer::toast(told))
    }
}

/// Why nothing was done to an alert, in the few words of a press.
fn refused(error: AlertError) -> Refused {
    match error {
        AlertError::NoAlert(_) => {
            Refused::new(RefusedKind::NotFound, "no_such_alert", "This is not known any more", "")
        }
        AlertError::Illegal(_) => {
            Refused::new(RefusedKind::Conflict, "illegal_step", "It is over already", "")
        }
        AlertError::Store(error) => error.into(),
        AlertError::NoWay(why) => Refused::unavailable(why),
    }
}
