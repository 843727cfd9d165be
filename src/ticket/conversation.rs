//! What is said on a ticket: comments, a worker's question, its report.

mod table;
#[cfg(test)]
mod tests;

use serde_json::json;

use crate::model::event::EventKind;
use crate::model::ids::{RunId, TicketId};
use crate::model::ticket::{Ask, Illegal, Report, Step, Ticket};
use crate::store::Tx;

use super::board::find;
use super::{Author, TicketError, Tickets, at_most, bounded};

pub use table::{Comment, CommentKind};

pub const COMMENT_MAX_BYTES: usize = 256 * 1024;
/// Of each text of a question.
pub const ASK_MAX_BYTES: usize = 16 * 1024;
pub const OPTIONS_MAX: usize = 20;
pub const OPTION_MAX_BYTES: usize = 256;
/// Of a report's one line and its status.
pub const SUMMARY_MAX_BYTES: usize = 2 * 1024;
pub const STATUS_MAX_BYTES: usize = 64;
pub const EVIDENCE_MAX_BYTES: usize = 64 * 1024;
/// Of a commit's name, hex.
const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 7..=64;
/// Comments of one page.
pub const PAGE_MAX: u32 = 500;

impl Tickets {
    /// # Errors
    /// [`TicketError::Stale`] for a worker that is late, [`TicketError::Invalid`] for no or too much text.
    pub async fn comment(&self, id: &TicketId, body: &str, author: &Author) -> Result<Comment, TicketError> {
        bounded("body", body, COMMENT_MAX_BYTES)?;
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        let body = body.to_owned();
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                find(tx, &id)?;
                this.comment_in(tx, &id, CommentKind::Comment, &body, &author, now_ms)
            })
            .await
    }

    /// Says something in the caller's transaction; a notice of lucid's own, say.
    ///
    /// # Errors
    /// What the database says.
    pub fn comment_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        kind: CommentKind,
        body: &str,
        author: &Author,
        now_ms: i64,
    ) -> Result<Comment, TicketError> {
        let comment = table::insert(tx, id, kind, body, author, now_ms)?;
        let data = json!({"comment": comment.id, "kind": kind.name(), "body": body});
        self.tell(tx, id, EventKind::TicketCommented, author, data, now_ms)?;
        Ok(comment)
    }

    /// The conversation after a comment's number, oldest first.
    ///
    /// # Errors
    /// [`TicketError::NoTicket`], or what the database says.
    pub async fn comments(&self, id: &TicketId, after: i64, limit: u32) -> Result<Vec<Comment>, TicketError> {
        let id = id.clone();
        self.store
            .read(move |conn| {
                find(conn, &id)?;
                Ok(table::after(conn, &id, after, limit)?)
            })
            .await
    }

    /// The last `limit` of the conversation, oldest first, and how many came before them.
    ///
    /// # Errors
    /// As [`Tickets::comments`].
    pub async fn last_comments(
        &self,
        id: &TicketId,
        limit: u32,
    ) -> Result<(Vec<Comment>, usize), TicketError> {
        let id = id.clone();
        self.store
            .read(move |conn| {
                find(conn, &id)?;
                Ok(table::last(conn, &id, limit)?)
            })
            .await
    }

    /// Asks a person. The ticket waits for the answer, whatever the worker ends with afterwards.
    ///
    /// # Errors
    /// As [`Tickets::comment`]; [`TicketError::Illegal`] on a ticket that is over.
    pub async fn ask(&self, id: &TicketId, ask: Ask, author: &Author) -> Result<Ticket, TicketError> {
        check_ask(&ask)?;
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                this.ask_in(tx, &id, &ask, &author, now_ms)
            })
            .await
    }

    /// Asks a person in the caller's transaction; the question's texts are within their limits.
    ///
    /// # Errors
    /// [`TicketError::Illegal`] on a ticket that is over, or what the database says.
    pub fn ask_in(
        &self,
        tx: &Tx<'_>,
        id: &TicketId,
        ask: &Ask,
        author: &Author,
        now_ms: i64,
    ) -> Result<Ticket, TicketError> {
        let ticket = self.step_in(tx, id, Step::Ask(ask.clone()), author, now_ms)?;
        table::insert(tx, id, CommentKind::Ask, &told(ask), author, now_ms)?;
        self.tell(tx, id, EventKind::TicketAsked, author, json!(ask), now_ms)?;
        Ok(ticket)
    }

    /// Keeps what a worker says about how it ended. It moves nothing: the end of the run does.
    ///
    /// # Errors
    /// As [`Tickets::comment`]; [`TicketError::Illegal`] on a ticket that is over.
    pub async fn report(
        &self,
        id: &TicketId,
        report: Report,
        author: &Author,
    ) -> Result<Ticket, TicketError> {
        check_report(&report)?;
        let (this, id, author, now_ms) = (self.clone(), id.clone(), author.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                this.admit(tx, &id, &author, now_ms)?;
                let from = find(tx, &id)?.state();
                if from.is_over() {
                    return Err(Illegal::State { from, step: "be reported on" }.into());
                }
                table::set_report(tx, &id, &report, now_ms)?;
                let body = format!("{}: {}", report.status, report.summary);
                table::insert(tx, &id, CommentKind::Report, &body, &author, now_ms)?;
                this.tell(tx, &id, EventKind::TicketReported, &author, json!(report), now_ms)?;
                find(tx, &id)
            })
            .await
    }

    /// Whether `run` has said on the ticket how it ended.
    ///
    /// # Errors
    /// What the database says.
    pub fn has_reported(&self, tx: &Tx<'_>, id: &TicketId, run: RunId) -> Result<bool, TicketError> {
        Ok(table::has_reported(tx, id, run)?)
    }
}

/// A question as it stands in the conversation.
fn told(ask: &Ask) -> String {
    let mut text = ask.need.clone();
    for (name, part) in [("Why", &ask.why), ("How", &ask.how)] {
        if let Some(part) = part {
            text.push_str(&format!("\n\n{name}: {part}"));
        }
    }
    for option in &ask.options {
        text.push_str(&format!("\n- {option}"));
    }
    text
}

fn check_ask(ask: &Ask) -> Result<(), TicketError> {
    bounded("need", &ask.need, ASK_MAX_BYTES)?;
    at_most("why", ask.why.as_deref().unwrap_or_default(), ASK_MAX_BYTES)?;
    at_most("how", ask.how.as_deref().unwrap_or_default(), ASK_MAX_BYTES)?;
    if ask.options.len() > OPTIONS_MAX {
        let why = format!("has {} entries, more than {OPTIONS_MAX}", ask.options.len());
        return Err(TicketError::Invalid { field: "options", why });
    }
    ask.options.iter().try_for_each(|option| bounded("options", option, OPTION_MAX_BYTES))
}

fn check_report(report: &Report) -> Result<(), TicketError> {
    bounded("status", &report.status, STATUS_MAX_BYTES)?;
    bounded("summary", &report.summary, SUMMARY_MAX_BYTES)?;
    at_most("evidence", report.evidence.as_deref().unwrap_or_default(), EVIDENCE_MAX_BYTES)?;
    if report.summary.contains('\n') {
        return Err(TicketError::Invalid { field: "summary", why: "is one line".to_owned() });
    }
    match &report.commit {
        Some(commit)
            if !COMMIT_DIGITS.contains(&commit.len()) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            Err(TicketError::Invalid {
                field: "commit",
                why: "is no commit's name, 7 to 64 hex digits".to_owned(),
            })
        }
        Some(_) | None => Ok(()),
    }
}
