//! From an assignment to a started worker: lease a slot, make the branch, write run, attempt and worker in
//! one transaction, tell it what to do, let it go. Whatever fails gives the lease back.

use tracing::{error, info, warn};

use super::pass::{POOL_REST, TICKET_REST};
use super::pick::Assignment;
use super::table::{self, Legacy, Place, Worker};
use super::{Dispatch, DispatchError, SLOT_TROUBLE, Stone, lock, prompt};
use crate::config;
use crate::model::ids::{TaskId, TicketId};
use crate::model::message::{Message, MessageId};
use crate::model::run::Run;
use crate::model::ticket::Ticket;
use crate::model::time::millis;
use crate::platform::failpoint;
use crate::pool::{ClaimError, Holder, Leased};
use crate::run::worker::{self as runs, Claim};
use crate::ticket::board::NewAttempt;
use crate::ticket::conversation::Comment;
use crate::ticket::{self, TicketError};

/// Longest part of a branch that comes from the title, in bytes.
const SLUG_MAX_BYTES: usize = 40;
/// Comments that a prompt may hold, the newest ones.
const COMMENTS_MAX: u32 = 500;
/// Branches of earlier attempts that it names.
const BRANCHES_MAX: u32 = 5;

/// Why a ticket was not placed.
enum Failed {
    /// It waits on, with this on the ticket.
    Ticket(String),
    /// Nobody gets a slot of this pool for a while.
    Pool(String),
    /// Somebody was faster, or dispatch has been switched off.
    Moot,
}

impl From<DispatchError> for Failed {
    fn from(error: DispatchError) -> Self {
        Self::Ticket(error.to_string())
    }
}

/// What the transaction has made.
#[derive(Clone)]
struct Begun {
    run: Run,
    worker: Worker,
    ticket: Ticket,
    legacy: Option<Legacy>,
}

impl Dispatch {
    pub(super) async fn place(&self, assignment: Assignment, switch: TaskId) {
        let (outcome, id) = (self.try_place(&assignment, switch).await, assignment.ticket.clone());
        match outcome {
            Ok(()) | Err(Failed::Moot) => {}
            Err(Failed::Ticket(why)) => {
                warn!(ticket = %assignment.ticket, why, "could not place a ticket");
                self.stumble(Stone::Ticket(assignment.ticket), TICKET_REST, &why);
            }
            Err(Failed::Pool(why)) => {
                warn!(pool = assignment.pool, why, "could not lease a slot");
                self.stumble(Stone::Pool(assignment.pool), POOL_REST, &why);
            }
        }
        // Last, so that whoever sees it gone sees what came of it.
        lock(&self.state.reserved).remove(&id);
        self.wake.notify_one();
    }

    async fn try_place(&self, assignment: &Assignment, switch: TaskId) -> Result<(), Failed> {
        let id = &assignment.ticket;
        let profile = self.profile(&assignment.agent).ok_or(Failed::Moot)?.clone();
        let ticket = self.tickets.get(id).await.map_err(DispatchError::from)?.ok_or(Failed::Moot)?;
        failpoint::hit("dispatch.assign").map_err(|fault| Failed::Ticket(fault.to_string()))?;
        let leased = self.lease(id, &assignment.pool).await?;
        let lease = leased.lease;
        failpoint::pass("dispatch.leased");
        match self.begin(&ticket, &profile, &assignment.pool, leased, switch).await {
            Ok((begun, path)) => {
                self.start(begun, &profile, &path).await;
                Ok(())
            }
            Err(failed) => {
                self.release(lease).await;
                Err(failed)
            }
        }
    }

    async fn lease(&self, id: &TicketId, pool: &str) -> Result<Leased, Failed> {
        let budget = self.claim_waits.get(pool).copied().unwrap_or(POOL_REST);
        match self.pools.claim(Holder::Ticket(id.to_string()), pool, budget).await {
            Ok(leased) => {
                lock(&self.state.stumbled).remove(&Stone::Pool(pool.to_owned()));
                Ok(leased)
            }
            Err(ClaimError::PoolFull { .. } | ClaimError::Quarantined { .. }) => Err(Failed::Moot),
            Err(ClaimError::AlreadyLeased { lease, slot, .. }) => {
                self.release(lease).await;
                Err(Failed::Ticket(format!("it still had slot {slot}, which is being given back")))
            }
            // Which pool it is, is said where the reason is shown.
            Err(ClaimError::Git { why, .. }) => Err(Failed::Pool(why)),
            Err(ClaimError::TimedOut { why, .. }) => {
                Err(Failed::Pool(format!("no slot was ready within its time; {why}")))
            }
            Err(e @ (ClaimError::NoSuchPool(_) | ClaimError::Pool(_))) => Err(Failed::Pool(e.to_string())),
        }
    }

    async fn begin(
        &self,
        ticket: &Ticket,
        profile: &config::Agent,
        pool: &str,
        leased: Leased,
        switch: TaskId,
    ) -> Result<(Begun, std::path::PathBuf), Failed> {
        let branch = format!("cr/{}-{}-{}", ticket.id, slug(&ticket.title), ticket.attempt + 1);
        let branch = self.pools.free_branch(leased.lease, &branch).await.map_err(DispatchError::from)?;
        let place = Place {
            pool: pool.to_owned(),
            lease: leased.lease,
            slot: leased.slot,
            branch: Some(branch),
            base_commit: leased.base_commit,
        };
        let begun = self.write_begin(ticket, profile, place, switch).await?.ok_or(Failed::Moot)?;
        Ok((begun, leased.path))
    }

    /// Run, attempt and worker, all or nothing. `None` when it is no longer to be.
    async fn write_begin(
        &self,
        ticket: &Ticket,
        profile: &config::Agent,
        place: Place,
        switch: TaskId,
    ) -> Result<Option<Begun>, DispatchError> {
        let (this, profile, now_ms) = (self.clone(), profile.clone(), self.clock.wall_ms());
        let (id, attempt) = (ticket.id.clone(), ticket.attempt + 1);
        let check_in = millis(self.rules.check_in);
        self.store
            .write(move |tx| {
                failpoint::hit("dispatch.begin")?;
                let legacy = table::legacy(tx, &id)?;
                let request = runs::Request {
                    switch: switch.clone(),
                    ticket: id.clone(),
                    attempt,
                    argv: vec![format!("agent:{}", profile.name)],
                    now_ms,
                };
                let run = match runs::claim(tx, &this.journal, this.runs.gates(), &request)? {
                    Claim::Go(run) => run,
                    Claim::Off(_) | Claim::Taken(_) => return Ok(None),
                };
                let new = NewAttempt {
                    run: run.id,
                    fence: run.fence,
                    agent: profile.name.clone(),
                    branch: place.branch.clone(),
                    slot: Some(place.slot.clone()),
                    lease: Some(place.lease.0),
                    check_in_ms: Some(now_ms.saturating_add(check_in)),
                };
                let ticket = this.tickets.begin_attempt(tx, &id, &new, now_ms)?;
                let worker = Worker {
                    run: run.id,
                    fence: run.fence,
                    task: run.task.to_string(),
                    ticket: Some(id.clone()),
                    agent: profile.name.clone(),
                    dialect: profile.dialect,
                    attempt,
                    place: Some(place.clone()),
                    read_bytes: 0,
                    heard: super::classify::Heard::default(),
                    started_ms: now_ms,
                };
                table::insert(tx, &worker)?;
                Ok::<_, DispatchError>(Some(Begun { run, worker, ticket, legacy }))
            })
            .await
    }

    /// From here on the worker's row exists: whatever happens, its attendant writes the end.
    async fn start(&self, begun: Begun, profile: &config::Agent, path: &std::path::Path) {
        let Begun { run, worker, ticket, legacy } = begun;
        failpoint::pass("dispatch.start");
        let attendance = self.attendance(&worker);
        let (brief, told) = match self.ready(&ticket, &worker, legacy.as_ref()).await {
            Ok(brief) => brief,
            Err(e) => {
                error!(ticket = %ticket.id, error = %e, "could not make a slot ready for its worker");
                self.runs.block(run, &format!("{SLOT_TROUBLE}{e}")).await;
                attendance.over.cancel();
                self.attend(worker, Vec::new(), attendance);
                return;
            }
        };
        let session = resumable(legacy.as_ref(), &worker);
        let prepared = self.prepare(&run, &worker, profile, path, &prompt::write(&brief), session);
        match prepared {
            Ok(prepared) => {
                info!(ticket = %ticket.id, run = run.id.0, agent = profile.name, "starting a worker");
                let runs = self.runs.clone();
                let over = std::sync::Arc::clone(&attendance);
                tokio::spawn(async move {
                    runs.launch_prepared(run, None, prepared).await;
                    over.over.cancel();
                });
            }
            Err(why) => {
                self.runs.block(run, &why.to_string()).await;
                attendance.over.cancel();
            }
        }
        self.attend(worker, told, attendance);
    }

    /// The branch, made only now: it bears the attempt's number, which nobody else can have any more.
    async fn ready(
        &self,
        ticket: &Ticket,
        worker: &Worker,
        legacy: Option<&Legacy>,
    ) -> Result<(prompt::Brief, Vec<MessageId>), DispatchError> {
        failpoint::hit("dispatch.ready")?;
        if let Some(place) = &worker.place
            && let Some(branch) = &place.branch
        {
            self.pools.branch(place.lease, branch).await?;
        }
        Ok(self.brief(ticket, worker, legacy).await?)
    }

    /// What the worker is told, and the messages that are part of it.
    async fn brief(
        &self,
        ticket: &Ticket,
        worker: &Worker,
        legacy: Option<&Legacy>,
    ) -> Result<(prompt::Brief, Vec<MessageId>), TicketError> {
        let me = ticket::Worker { ticket: ticket.id.clone(), run: worker.run, fence: worker.fence };
        let mut told = Vec::new();
        for message in self.tickets.claim_all(&me).await? {
            self.tickets.deliver(message.id, &me).await?;
            told.push(message);
        }
        let (comments, older) = self.tickets.last_comments(&ticket.id, COMMENTS_MAX).await?;
        let (conversation, older) = converse(&comments, older, &told);
        let links = self.tickets.links(&ticket.id).await?;
        let (id, run) = (ticket.id.clone(), worker.run);
        let earlier = self
            .store
            .read(move |conn| Ok::<_, TicketError>(table::branches(conn, &id, run, BRANCHES_MAX)?))
            .await?;
        let brief = prompt::Brief {
            ticket: ticket.id.to_string(),
            title: ticket.title.clone(),
            body: ticket.body.clone(),
            priority: ticket.priority.name().to_owned(),
            branch: worker.place.as_ref().and_then(|place| place.branch.clone()),
            base_commit: worker.place.as_ref().map(|place| place.base_commit.clone()),
            attempt: worker.attempt,
            max_attempts: ticket.max_attempts.unwrap_or(self.rules.max_attempts),
            conversation,
            older,
            context: links
                .into_iter()
                .map(|link| prompt::Linked { path: link.path, label: link.title })
                .collect(),
            previous: legacy.and_then(|last| last.verdict.clone()),
            earlier,
            lucid: self.runs.site.exe.to_string_lossy().into_owned(),
        };
        Ok((brief, told.into_iter().map(|message| message.id).collect()))
    }
}

/// The end of a conversation for a prompt, and how many entries came before it. Each of `told` is in it, and has to
/// be: it is known as read once the prompt is.
fn converse(comments: &[Comment], older: usize, told: &[Message]) -> (Vec<prompt::Said>, usize) {
    let at = |ms| jiff::Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default();
    let is_of = |message: &Message, said: &Comment| {
        (message.created_ms, &message.author, &message.text) == (said.at_ms, &said.author, &said.body)
    };
    let before = told.iter().filter(|message| !comments.iter().any(|said| is_of(message, said)));
    let before: Vec<prompt::Said> = before
        .map(|message| prompt::Said {
            at: at(message.created_ms),
            author: message.author.clone(),
            text: message.text.clone(),
            must: true,
        })
        .collect();
    let older = older.saturating_sub(before.len());
    let said = comments.iter().map(|said| prompt::Said {
        at: at(said.at_ms),
        author: said.author.clone(),
        text: said.body.clone(),
        must: told.iter().any(|message| is_of(message, said)),
    });
    (before.into_iter().chain(said).collect(), older)
}

/// A conversation goes on only where the program keeps it: same profile, same folder.
fn resumable(legacy: Option<&Legacy>, worker: &Worker) -> Option<String> {
    let last = legacy?;
    let same_place = last.slot.as_deref() == worker.place.as_ref().map(|place| place.slot.as_str());
    let same = last.agent == worker.agent && same_place && last.verdict.as_deref() == Some("needs_input");
    last.session.clone().filter(|_| same)
}

/// The title as part of a branch: lower-case letters, digits and single dashes.
fn slug(title: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
        if slug.len() >= SLUG_MAX_BYTES {
            break;
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "work".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::MessageState;
    use crate::ticket::conversation::CommentKind;

    #[test]
    fn what_is_delivered_with_a_prompt_is_in_it_though_the_conversation_went_on() {
        let message = |id, text: &str| {
            let mut message =
                Message::new(MessageId(id), "MC-1".parse().unwrap(), MessageState::Delivered, id);
            (message.author, message.text) = ("user:ana".into(), text.into());
            message
        };
        let said = |at_ms, author: &str, body: &str| Comment {
            id: at_ms,
            at_ms,
            kind: CommentKind::Message,
            author: author.into(),
            run: None,
            body: body.into(),
        };
        let comments = [said(5, "run:3", "yes"), said(6, "user:ana", "yes"), said(7, "user:ana", "yes")];
        let told = [message(2, "long ago"), message(6, "yes")];
        let (conversation, older) = converse(&comments, 4, &told);
        let texts: Vec<(&str, bool)> = conversation.iter().map(|s| (s.text.as_str(), s.must)).collect();
        assert_eq!(texts, [("long ago", true), ("yes", false), ("yes", true), ("yes", false)]);
        assert_eq!(older, 3);
    }

    #[test]
    fn any_title_makes_a_branch() {
        let cases = [
            ("Fix the login page", "fix-the-login-page"),
            ("  `rm -rf /` && echo ü", "rm-rf-echo"),
            ("../../etc/passwd", "etc-passwd"),
            ("日本語", "work"),
            ("--", "work"),
            ("a.lock", "a-lock"),
        ];
        for (title, want) in cases {
            assert_eq!(slug(title), want);
        }
        assert!(slug(&"x y ".repeat(99)).len() <= SLUG_MAX_BYTES);
    }
}
