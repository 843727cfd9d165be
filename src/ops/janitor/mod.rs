//! The janitor: looks at every ticket that is not over, and puts right what no person has to decide.

pub mod classify;
pub mod learnings;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::warn;

use super::{JANITOR, Ops, OpsError, Report};
use crate::dispatch::gate::GateQuestion;
use crate::model::condition::{Condition, Line, Mark};
use crate::model::ids::{RunId, TicketId};
use crate::model::run::StopReason;
use crate::model::task::Severity;
use crate::model::ticket::{GateAnswer, Step, TicketState};
use crate::ticket::board::{Edit, Ending};
use crate::ticket::conversation::CommentKind;
use crate::ticket::{Author, TicketError};

use classify::{AtWork, Facts, Limits, Orphan, Stale, Verdict, classify};
use learnings::Learning;
use table::Seen;

/// Commits that the remotes are asked about in one pass; the next pass goes on.
const GATES_MAX: usize = 50;
/// No further remote is asked after this time: one that hangs holds up a pass, not the janitor.
const GATES_WITHIN: Duration = Duration::from_secs(60);
/// How far back a suspend or a step of the clock is looked for; no worker is silent for longer.
const LOOK_BACK_MS: i64 = 24 * 3_600_000;
const AUTHOR: Author = Author::Lucid(JANITOR);
/// Begins the key of a condition about a ticket whose worker came apart from it.
const ORPHAN: &str = "orphan:";

impl Ops {
    /// One pass over all tickets that are not over.
    ///
    /// # Errors
    /// Only what the database says; what could not be done about one ticket is told and tried again.
    pub async fn janitor(&self) -> Result<Report, OpsError> {
        let _turn = self.turns.janitor.lock().await;
        let from_ms = self.clock.wall_ms() - LOOK_BACK_MS;
        let (seen, awake_ms) = self
            .store
            .read(move |conn| Ok::<_, OpsError>((table::open(conn)?, table::awake_since(conn, from_ms)?)))
            .await?;
        let limits =
            Limits { silent_after: self.rules.silent_after, unanswered_after: self.rules.unanswered_after };
        let mut report = Report::counting(&Verdict::NAMES);
        let mut pass = Pass::default();
        let (began, mut asked) = (self.clock.boot(), 0);
        for seen in &seen {
            let mut facts = self.facts(seen, awake_ms);
            let worth_asking = facts.worker.is_none() && seen.state == TicketState::Review;
            if let Some(commit) = seen.commit.as_ref().filter(|_| worth_asking)
                && asked < GATES_MAX
                && self.clock.boot().saturating_sub(began) < GATES_WITHIN
            {
                asked += 1;
                let question = GateQuestion { pool: seen.pool.clone(), commit: commit.clone() };
                facts.gate = Some((self.gate)(question).await);
            }
            let now_ms = self.clock.wall_ms();
            let verdict = classify(&facts, limits, now_ms);
            report.count(verdict.name(), 1);
            if verdict == Verdict::Healthy {
                continue;
            }
            match self.put_right(seen, &facts, &verdict, &mut pass).await {
                Ok(Some((why, action))) => {
                    report.lines.push(format!("{} {}: {why}; {action}", facts.ticket, verdict.name()));
                    pass.learnings.push(learning(&facts, &verdict, why, action, now_ms));
                }
                // Somebody was faster; what it is now, the next pass sees.
                Ok(None) => {}
                Err(e) => {
                    warn!(ticket = %facts.ticket, error = %e, "the janitor could not put a ticket right");
                    report.lines.push(format!("{} {}: {e}", facts.ticket, verdict.name()));
                }
            }
        }
        self.call_off(&pass.orphans).await?;
        self.learn(pass.learnings).await;
        Ok(report)
    }

    /// Time that passed while nobody could be heard counts for nothing: `awake_ms` is when it last ended.
    fn facts(&self, seen: &Seen, awake_ms: i64) -> Facts {
        let worker = seen.worker.as_ref().map(|worker| AtWork {
            run: worker.run,
            fence: worker.fence,
            agent: worker.agent.clone(),
            started_ms: worker.started_ms.max(awake_ms),
            heard_ms: worker.heard_ms.max(awake_ms),
            max_runtime: self.dispatch.profile(&worker.agent).map(|profile| profile.max_runtime),
            run_state: worker.run_state,
        });
        Facts {
            ticket: seen.ticket.clone(),
            state: seen.state,
            assignee: seen.assignee.clone(),
            since_ms: seen.since_ms,
            until_ms: seen.until_ms,
            attempts: seen.attempts,
            max_attempts: seen.max_attempts.unwrap_or(self.dispatch.rules.max_attempts),
            worker,
            gate: None,
        }
    }

    /// Gives what was the matter and what was done; `None` when the ticket has moved on.
    async fn put_right(
        &self,
        seen: &Seen,
        facts: &Facts,
        verdict: &Verdict,
        pass: &mut Pass,
    ) -> Result<Option<(String, String)>, OpsError> {
        let (id, version) = (&facts.ticket, seen.version);
        let told = |why: &str, action: &str| Some((why.to_owned(), action.to_owned()));
        Ok(match verdict {
            Verdict::Healthy => None,
            Verdict::StaleInProgress(Stale::NoRun) => {
                let why = "it was in progress and no worker was on it";
                let moved =
                    self.move_on(id, version, Step::Requeue, &format!("Back to todo: {why}.")).await?;
                moved.then(|| told(why, "back to todo")).flatten()
            }
            Verdict::StaleInProgress(Stale::Silent(minutes)) => {
                let why = format!("nothing was heard of its worker for {minutes} min");
                self.end_worker(facts, StopReason::Idle, &why).await?;
                told(&why, "its worker is being ended, then it goes back to todo")
            }
            Verdict::StaleInProgress(Stale::Overtime) => {
                let why = "its worker is past its max_runtime and still there";
                self.end_worker(facts, StopReason::Timeout, why).await?;
                told(why, "its worker is being ended, then it goes back to todo")
            }
            Verdict::StaleNeedsInput => {
                let hours = self.rules.unanswered_after.as_secs() / 3600;
                let why = format!("nobody has replied for {hours} h");
                let text =
                    format!("Back to todo: {why}. A worker goes on without the answer, or asks again.");
                let moved = self.move_on(id, version, Step::Requeue, &text).await?;
                moved.then(|| told(&why, "back to todo")).flatten()
            }
            Verdict::OrphanWorker(Orphan::RunOver) => {
                let why = "its worker's run is over, and nobody had written that down";
                self.write_off(facts).await?;
                pass.orphans.insert(self.orphaned(facts, why).await?);
                told(why, "the attempt is ended, and the ticket is back to todo where it was in progress")
            }
            Verdict::OrphanWorker(Orphan::TicketElsewhere) => {
                let why = format!("the ticket is {} and a silent worker was still on it", facts.state.name());
                self.end_worker(facts, StopReason::Cancelled, &why).await?;
                pass.orphans.insert(self.orphaned(facts, &why).await?);
                told(&why, "its worker is being ended; the ticket stays where it is")
            }
            Verdict::AutoClose => {
                let why = "its commit is on the base branch";
                let step = Step::Done(GateAnswer::Merged);
                let moved = self.move_on(id, version, step, &format!("Done: {why}.")).await?;
                moved.then(|| told(why, "done")).flatten()
            }
            Verdict::WaitOver => {
                let why = "the date it was parked for has come";
                let moved =
                    self.move_on(id, version, Step::Requeue, &format!("Back to todo: {why}.")).await?;
                moved.then(|| told(why, "back to todo")).flatten()
            }
            Verdict::Unkillable => {
                let why = "its worker outlives SIGKILL";
                pass.orphans.insert(self.orphaned(facts, why).await?);
                told(why, "nothing: only the machine's owner can end it")
            }
        })
    }

    /// Moves the ticket and says why, as a person would; false when somebody was faster.
    async fn move_on(&self, id: &TicketId, version: i64, step: Step, text: &str) -> Result<bool, OpsError> {
        match self.tickets.change(id, Edit::default(), Some(step), Some(version), &AUTHOR).await {
            Ok(_) => {}
            Err(TicketError::Changed { .. } | TicketError::AtWork { .. } | TicketError::NoTicket(_)) => {
                return Ok(false);
            }
            Err(e) => return Err(e.into()),
        }
        self.say(id, text).await?;
        Ok(true)
    }

    async fn say(&self, id: &TicketId, text: &str) -> Result<(), OpsError> {
        let (tickets, now_ms) = (self.tickets.clone(), self.clock.wall_ms());
        let (id, text) = (id.clone(), text.to_owned());
        self.store
            .write(move |tx| {
                tickets.comment_in(tx, &id, CommentKind::Notice, &text, &AUTHOR, now_ms)?;
                Ok::<_, OpsError>(())
            })
            .await
    }

    /// TERM, then KILL, by the run's own keeper. What follows, the end of every run brings about: the slot is
    /// given back and the ticket moves on, once the tree is dead and not before.
    async fn end_worker(&self, facts: &Facts, reason: StopReason, why: &str) -> Result<(), OpsError> {
        let Some(worker) = &facts.worker else { return Ok(()) };
        self.runs.stop(worker.run, reason, None, JANITOR).await?;
        self.say(&facts.ticket, &format!("Run {} is being ended: {why}.", worker.run)).await
    }

    /// Has the end of an attempt written whose run is over. Whoever attends workers does it; where nobody does
    /// and none can be put to it, the attempt alone is ended.
    async fn write_off(&self, facts: &Facts) -> Result<(), OpsError> {
        let Some(worker) = &facts.worker else { return Ok(()) };
        if self.dispatch.take_up(worker.run).await? {
            return Ok(());
        }
        let ending = Ending {
            run: worker.run,
            fence: worker.fence,
            outcome: "lost".to_owned(),
            commit: None,
            then: Step::Requeue,
            again: true,
        };
        let (tickets, id, now_ms) = (self.tickets.clone(), facts.ticket.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| match tickets.end_attempt(tx, &id, &ending, now_ms) {
                Ok(_) | Err(TicketError::Stale { .. }) => Ok(()),
                Err(e) => Err(OpsError::from(e)),
            })
            .await
    }

    /// Says that a worker and its ticket came apart; the key of what was said.
    async fn orphaned(&self, facts: &Facts, why: &str) -> Result<String, OpsError> {
        let key = format!("{ORPHAN}{}", facts.ticket);
        let mut condition = Condition::new(&key, Severity::Warning, format!("{}: {why}", facts.ticket));
        if let Some(worker) = &facts.worker {
            let text = format!("{} of {}", worker.run, worker.agent);
            condition.lines.push(Line { mark: Mark::Bad, text, check: None });
        }
        condition.ticket = Some(facts.ticket.to_string());
        self.raise(condition, JANITOR).await?;
        Ok(key)
    }

    /// Ends what was said of tickets that are well again.
    async fn call_off(&self, still: &BTreeSet<String>) -> Result<(), OpsError> {
        for old in self.journal.standing(ORPHAN).await? {
            if !still.contains(&old.key) {
                let ticket = old.key.strip_prefix(ORPHAN).unwrap_or_default();
                self.clear(&old.key, &format!("{ticket} and its worker are in order again"), JANITOR).await?;
            }
        }
        Ok(())
    }

    async fn learn(&self, learnings: Vec<Learning>) {
        let dir = self.state_dir.clone();
        let written = tokio::task::spawn_blocking(move || learnings::append(&dir, &learnings)).await;
        if let Ok(Err(e)) = written {
            warn!(error = %e, "could not write down what the janitor did");
        }
    }
}

/// What a pass has done so far.
#[derive(Default)]
struct Pass {
    /// Keys of the conditions that it found.
    orphans: BTreeSet<String>,
    learnings: Vec<Learning>,
}

fn learning(facts: &Facts, verdict: &Verdict, why: String, action: String, now_ms: i64) -> Learning {
    let at = jiff::Timestamp::from_millisecond(now_ms).map(|at| at.to_string()).unwrap_or_default();
    let worker = facts.worker.as_ref();
    Learning {
        at,
        ticket: facts.ticket.to_string(),
        verdict: verdict.name(),
        why,
        action,
        state: facts.state.name(),
        attempt: facts.attempts,
        agent: worker.map(|worker| worker.agent.clone()),
        run: worker.map(|worker| worker.run).map(|RunId(number)| number),
        age_ms: now_ms.saturating_sub(facts.since_ms),
    }
}
