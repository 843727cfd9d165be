//! Does what was asked for, one deed after the other, each once. What is changed and that it was done go into
//! one transaction where that can be; everywhere else doing it twice comes to the same.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::answer::Answer;
use super::deed::Deed;
use super::table::{self, Written};
use super::{AGAIN, Bot, SLEEP_MAX};
use crate::alert::keep::unharmed;
use crate::daemon::Refused;
use crate::platform::failpoint;
use crate::store::StoreError;

/// A press spins on the phone until it is answered; one that takes longer than this is told so.
const PRESS_PATIENCE: Duration = Duration::from_millis(1_200);

/// What became of a deed.
pub(super) enum Acted {
    /// Its row says so already.
    Noted(Answer),
    /// To be noted.
    Done(Answer),
}

/// Works until the daemon goes down.
pub(super) async fn work(bot: Bot) {
    loop {
        let next = bot.app.store.read(|conn| Ok::<_, StoreError>(table::next_new(conn)?)).await;
        let go_on = match next {
            Ok(Some((id, Some(written)))) => match unharmed(bot.handle(written)).await {
                Ok(Ok(())) => true,
                Ok(Err(e)) => {
                    warn!(error = %e, "what was written to the bot could not be noted as done");
                    bot.rest(&bot.to_work, AGAIN).await
                }
                Err(why) => {
                    bot.app.alerts.stumble("bot's hand", format!("update {id} is passed over: {why}"));
                    bot.admit_failure(id).await
                }
            },
            Ok(Some((id, None))) => {
                warn!(id, "an update of the bot cannot be read and is passed over");
                bot.pass(id).await
            }
            Ok(None) => bot.rest(&bot.to_work, SLEEP_MAX).await,
            Err(e) => {
                warn!(error = %e, "what was written to the bot could not be read");
                bot.rest(&bot.to_work, AGAIN).await
            }
        };
        if !go_on || bot.stop.is_cancelled() {
            return;
        }
    }
}

impl Bot {
    /// Nothing more is done about an update. False when the daemon goes down.
    async fn pass(&self, id: i64) -> bool {
        let passed = self.app.store.write(move |tx| Ok::<_, StoreError>(table::shown(tx, id)?)).await;
        passed.is_ok() || self.rest(&self.to_work, AGAIN).await
    }

    /// Nothing more is done about an update over which something fell, and whoever sent it is told so. False when
    /// the daemon goes down.
    async fn admit_failure(&self, id: i64) -> bool {
        let told = Answer::text(
            "✋ Something went wrong in lucid itself, and this was not done, or not all of it. See /problems.",
        );
        let noted = self.app.store.write(move |tx| Ok::<_, StoreError>(table::done(tx, id, &told)?)).await;
        self.to_show.notify_one();
        noted.is_ok() || self.rest(&self.to_work, AGAIN).await
    }

    async fn handle(&self, written: Written) -> Result<(), StoreError> {
        failpoint::hit("bot.act")?;
        let mut query = match &written.deed {
            Deed::Press { query, .. } => Some(query.clone()),
            Deed::Text { .. } => None,
        };
        let mut acting = std::pin::pin!(self.act(&written));
        let acted = tokio::select! {
            acted = &mut acting => acted,
            () = sleep(PRESS_PATIENCE) => {
                if let Some(query) = query.take() {
                    self.toast(query, "On it…".to_owned());
                }
                acting.await
            }
        };
        let acted = acted.unwrap_or_else(|refused| {
            // A press has its own few words; more is said where there is something to be done.
            let is_press = matches!(written.deed, Deed::Press { .. });
            Acted::Done(match Answer::from(&refused) {
                answer if is_press && refused.help.is_empty() => Answer { shows: Vec::new(), ..answer },
                answer => answer,
            })
        });
        let (answer, is_noted) = match acted {
            Acted::Noted(answer) => (answer, true),
            Acted::Done(answer) => (answer, false),
        };
        if let Some(query) = query {
            self.toast(query, answer.toast.clone().unwrap_or_default());
        }
        failpoint::hit("bot.done")?;
        if !is_noted {
            let id = written.id;
            self.app.store.write(move |tx| Ok::<_, StoreError>(table::done(tx, id, &answer)?)).await?;
        }
        self.to_show.notify_one();
        Ok(())
    }

    async fn act(&self, written: &Written) -> Result<Acted, Refused> {
        match &written.deed {
            Deed::Text { .. } => self.read_text(written).await,
            Deed::Press { .. } => self.pressed(written).await,
        }
    }

    /// Ends the waiting of whoever pressed. Beside the work: a slow Telegram must not hold up the next deed.
    fn toast(&self, query: String, text: String) {
        let bot = self.clone();
        tokio::spawn(async move {
            if let Err(error) = bot.telegram.answer(&query, &text).await {
                // One that is too old, mostly: the daemon was down.
                tracing::debug!(%error, "a press was not answered");
            }
        });
    }
}
