//! Logins that a person has to renew: what was found is written down, told once, and made a ticket for that
//! person, one as long as it lasts.

use jiff::Timestamp;

use crate::config::TokenCheck;
use crate::health::table::{self, TokenRow};
use crate::health::token::{self, Change};
use crate::health::{TokenReport, TokenState};
use crate::journal::Journal;
use crate::model::condition::{Condition, Mark};
use crate::model::event::Event;
use crate::model::health::one_line;
use crate::model::ids::TicketId;
use crate::model::task::Severity;
use crate::model::ticket::{Ask, Priority, Step, Ticket, TicketState};
use crate::store::{StoreError, Tx};
use crate::ticket::board::NewTicket;
use crate::ticket::conversation::CommentKind;
use crate::ticket::{Author, TicketError, Tickets};

use tokio::task::JoinHandle;
use tracing::warn;

use super::App;
use super::health::TOKEN_HEALTH;
use super::looks::is_overtaken;
use super::refused::{Refused, RefusedKind};

const AUTHOR: Author = Author::Lucid(TOKEN_HEALTH);

/// A login as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginView {
    pub name: String,
    pub state: TokenState,
    pub detail: String,
    pub since_ms: i64,
    pub at_ms: i64,
    pub portal: Option<String>,
    pub ticket: Option<String>,
}

/// What is needed to settle one, moved into the transaction.
#[derive(Clone)]
struct Desk {
    tickets: Tickets,
    journal: Journal,
    human: String,
    now_ms: i64,
}

impl App {
    /// Takes what was found of logins, all or some of those that are declared. Those that are known and no
    /// longer declared are closed on the way.
    ///
    /// # Errors
    /// [`Refused`] for a name that is not declared, and what the database says.
    pub async fn report_logins(&self, reports: Vec<TokenReport>) -> Result<Vec<LoginView>, Refused> {
        let checks = self.config.token_checks.clone();
        let mut found = Vec::new();
        for report in reports {
            let Some(check) = checks.iter().find(|check| check.name == report.name) else {
                let message = format!("no token check `{}` is declared", one_line(&report.name));
                let help = "declare it under token_checks in the config, then restart the daemon";
                return Err(Refused::new(RefusedKind::Invalid, "no_such_token_check", message, help));
            };
            found.push((check.clone(), TokenReport { detail: one_line(&report.detail), ..report }));
        }
        let desk = Desk {
            tickets: self.tickets.clone(),
            journal: self.journal.clone(),
            human: self.config.health.human.clone(),
            now_ms: self.clock.wall_ms(),
        };
        let declared: Vec<String> = checks.iter().map(|check| check.name.clone()).collect();
        self.store
            .write(move |tx| {
                for (check, report) in &found {
                    desk.settle(tx, check, report)?;
                }
                for name in table::token_names(tx).map_err(StoreError::from)? {
                    if !declared.contains(&name) {
                        desk.forget(tx, &name)?;
                    }
                }
                Ok::<_, TicketError>(())
            })
            .await?;
        self.logins().await
    }

    /// Looks at one login now, beside whatever goes on: somebody says that they have renewed it. What is found is
    /// told by its ticket.
    pub fn look_at_login(&self, name: &str) -> JoinHandle<()> {
        let (app, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            if let Err(e) = app.look_now(&name).await {
                warn!(login = name, error = %e, "a login was not looked at; the next look is by its task");
            }
        })
    }

    async fn look_now(&self, name: &str) -> Result<(), Refused> {
        let asked = self.clock.boot();
        let turn = self.looks.of(name);
        let mut begun = turn.lock().await;
        // Whoever looked while this waited for its turn has seen all there is to see.
        if begun.is_some_and(|begun| begun >= asked) {
            return Ok(());
        }
        *begun = Some(self.clock.boot());
        let check = self.config.token_checks.iter().find(|check| check.name == name).cloned();
        let Some(check) = check else {
            return self.report_logins(Vec::new()).await.map(drop);
        };
        let (root, now_ms) = (self.config.root.clone(), self.clock.wall_ms());
        let looked = tokio::task::spawn_blocking(move || token::look(&check, &root, now_ms)).await;
        let report = looked.map_err(|e| Refused::unavailable(&e.to_string()))?;
        self.report_logins(vec![report]).await.map(drop)
    }

    /// All that are declared and have been looked at, in the order of the config.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn logins(&self) -> Result<Vec<LoginView>, Refused> {
        let checks = self.config.token_checks.clone();
        let read = move |conn: &rusqlite::Connection| {
            let mut views = Vec::new();
            for check in &checks {
                let Some(row) = table::token(conn, &check.name)? else { continue };
                views.push(LoginView {
                    name: check.name.clone(),
                    state: row.state,
                    detail: row.detail,
                    since_ms: row.since_ms,
                    at_ms: row.at_ms,
                    portal: check.portal.clone(),
                    ticket: row.ticket,
                });
            }
            Ok::<_, StoreError>(views)
        };
        Ok(self.store.read(read).await?)
    }
}

impl Desk {
    fn settle(&self, tx: &Tx<'_>, check: &TokenCheck, report: &TokenReport) -> Result<(), TicketError> {
        let before = table::token(tx, &check.name).map_err(StoreError::from)?;
        if before.as_ref().is_some_and(|before| is_overtaken(before, report)) {
            return Ok(());
        }
        let same = before.as_ref().filter(|before| before.state == report.state);
        let mut row = TokenRow {
            state: report.state,
            detail: report.detail.clone(),
            since_ms: same.map_or(self.now_ms, |same| same.since_ms),
            at_ms: report.looked_at.map_or(self.now_ms, Timestamp::as_millisecond),
            told: before.as_ref().and_then(|before| before.told),
            ticket: before.as_ref().and_then(|before| before.ticket.clone()),
        };
        match report.state {
            TokenState::NeedsReauth => {
                row.ticket = Some(self.demand(tx, check, report, row.ticket.as_deref())?.to_string());
            }
            TokenState::Well | TokenState::Expiring => {
                row.ticket = self.dismiss(tx, row.ticket, "The login works again.")?;
            }
            TokenState::Unknown => self.admit_doubt(tx, check, report, row.ticket.as_deref())?,
        }
        let change = token::change(row.told, report.state);
        match change {
            Change::None => {}
            Change::Raise => self.record(tx, raised(check, report, row.ticket.as_deref()))?,
            Change::Clear => self.record(tx, cleared(&check.name, "works again"))?,
            Change::ClearAndRaise => {
                self.record(tx, cleared(&check.name, "works again"))?;
                self.record(tx, raised(check, report, row.ticket.as_deref()))?;
            }
        }
        row.told = match change {
            Change::None => row.told,
            Change::Clear => None,
            Change::Raise | Change::ClearAndRaise => Some(report.state),
        };
        Ok(table::set_token(tx, &check.name, &row).map_err(StoreError::from)?)
    }

    /// One that is no longer declared is nobody's trouble.
    fn forget(&self, tx: &Tx<'_>, name: &str) -> Result<(), TicketError> {
        if let Some(row) = table::token(tx, name).map_err(StoreError::from)? {
            self.dismiss(tx, row.ticket, "The login is no longer looked after.")?;
            if row.told.is_some() {
                self.record(tx, cleared(name, "is no longer looked after"))?;
            }
        }
        Ok(table::forget_token(tx, name).map_err(StoreError::from)?)
    }

    fn record(&self, tx: &Tx<'_>, event: Event) -> Result<(), StoreError> {
        self.journal.record(tx, self.now_ms, event.actor(TOKEN_HEALTH)).map(drop)
    }

    /// The ticket that asks the person: the one there is, asked again where it has been answered and the
    /// login still fails; else a new one. One that the person has closed stays closed.
    fn demand(
        &self,
        tx: &Tx<'_>,
        check: &TokenCheck,
        report: &TokenReport,
        ticket: Option<&str>,
    ) -> Result<TicketId, TicketError> {
        if let Some(ticket) = self.find(tx, ticket)? {
            if self.is_answered(tx, &ticket)? {
                let why = format!("It still does not work: {}.", report.detail);
                self.tickets.ask_in(tx, &ticket.id, &ask(check, why), &AUTHOR, self.now_ms)?;
            }
            return Ok(ticket.id);
        }
        let new = NewTicket {
            title: format!("Log in again: {}", check.name),
            body: body(check),
            priority: Priority::High,
            assignee: Some(self.human.clone()),
            ..NewTicket::default()
        };
        let ticket = self.tickets.create_in(tx, &new, &AUTHOR, self.now_ms)?;
        let why = format!("Programs can no longer use it: {}.", report.detail);
        self.tickets.ask_in(tx, &ticket.id, &ask(check, why), &AUTHOR, self.now_ms)?;
        Ok(ticket.id)
    }

    /// Whoever answered is told also when nobody can tell whether it works.
    fn admit_doubt(
        &self,
        tx: &Tx<'_>,
        check: &TokenCheck,
        report: &TokenReport,
        ticket: Option<&str>,
    ) -> Result<(), TicketError> {
        let Some(ticket) = self.find(tx, ticket)? else { return Ok(()) };
        if self.is_answered(tx, &ticket)? {
            let why = format!("Whether it works again could not be found out: {}.", report.detail);
            self.tickets.ask_in(tx, &ticket.id, &ask(check, why), &AUTHOR, self.now_ms)?;
        }
        Ok(())
    }

    /// Whether the person says that it is done; what they wrote is heeded now.
    fn is_answered(&self, tx: &Tx<'_>, ticket: &Ticket) -> Result<bool, TicketError> {
        if ticket.live || ticket.state().is_over() {
            return Ok(false);
        }
        let heeded = self.tickets.heed_in(tx, &ticket.id, &AUTHOR, self.now_ms)?;
        Ok(heeded > 0 || ticket.state() == TicketState::Todo)
    }

    /// Closes the ticket, saying why; gives it back where a worker is on it, to be closed later.
    fn dismiss(&self, tx: &Tx<'_>, ticket: Option<String>, why: &str) -> Result<Option<String>, TicketError> {
        let Some(found) = self.find(tx, ticket.as_deref())? else { return Ok(None) };
        if found.live {
            return Ok(ticket);
        }
        if !found.state().is_over() {
            self.tickets.heed_in(tx, &found.id, &AUTHOR, self.now_ms)?;
            self.tickets.comment_in(tx, &found.id, CommentKind::Notice, why, &AUTHOR, self.now_ms)?;
            self.tickets.step_in(
                tx,
                &found.id,
                Step::Close { text: why.to_owned() },
                &AUTHOR,
                self.now_ms,
            )?;
        }
        Ok(None)
    }

    /// None where the database has forgotten it.
    fn find(&self, tx: &Tx<'_>, ticket: Option<&str>) -> Result<Option<Ticket>, TicketError> {
        let Some(id) = ticket.and_then(|ticket| ticket.parse::<TicketId>().ok()) else { return Ok(None) };
        match self.tickets.find_in(tx, &id) {
            Ok(ticket) => Ok(Some(ticket)),
            Err(TicketError::NoTicket(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn key(name: &str) -> String {
    format!("token:{name}")
}

fn raised(check: &TokenCheck, report: &TokenReport, ticket: Option<&str>) -> Event {
    let title = match report.state {
        TokenState::Expiring => format!("The login {} is about to expire", check.name),
        TokenState::NeedsReauth | TokenState::Well | TokenState::Unknown => {
            format!("The login {} is needed again", check.name)
        }
    };
    let mut condition =
        Condition::new(&key(&check.name), Severity::Warning, title).line(Mark::Bad, report.detail.clone());
    condition.link.clone_from(&check.portal);
    condition.ticket = ticket.map(str::to_owned);
    condition.raised()
}

fn cleared(name: &str, how: &str) -> Event {
    Condition::cleared(&key(name), &format!("The login {name} {how}"))
}

fn ask(check: &TokenCheck, why: String) -> Ask {
    let where_to = check.portal.as_deref().map(|portal| format!(" at {portal}")).unwrap_or_default();
    let open =
        check.portal.as_deref().map(|portal| format!("Open {portal} and log in. ")).unwrap_or_default();
    Ask {
        need: format!("Log in to {} again{where_to}", check.name),
        why: Some(why),
        how: Some(format!(
            "{open}Then answer, with any word: it is looked at again at once, and this closes by itself when it works."
        )),
        options: Vec::new(),
    }
}

fn body(check: &TokenCheck) -> String {
    let portal = check.portal.as_deref().map_or_else(
        || "No portal is declared: set `portal` of the token check in the config.".to_owned(),
        |portal| format!("Portal: {portal}"),
    );
    format!(
        "The token check `{}` says that a person has to log in again. No agent is put on this, and nothing tries to \
         renew the login by itself.\n\n{portal}",
        check.name
    )
}
