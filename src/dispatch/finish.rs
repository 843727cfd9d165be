//! A worker's end: what it means, where its ticket goes, what its profile gets, what it used, and then the
//! slot. One transaction writes all but the last, and it is tried until it is written.

use std::time::Duration;

use serde_json::json;
use tracing::{error, info, warn};

use super::classify::{self, Backoff, Effect, Ended, Heard, Next, Tries, With};
use super::commits::strange;
use super::ledger::{self, ApiError, Usage};
use super::table::{self, Worker};
use super::{Dispatch, DispatchError, lock};
use crate::model::event::{Event, EventKind};
use crate::model::ids::TicketId;
use crate::model::run::{Outcome, Run, RunState, StopReason};
use crate::model::ticket::{Step, Ticket, TicketState};
use crate::model::worker::Verdict;
use crate::platform::failpoint;
use crate::store::Tx;
use crate::ticket::board::Ending;
use crate::ticket::conversation::CommentKind;
use crate::ticket::{Author, TicketError};

/// Longest wait between two tries of an overloaded profile.
const BACKOFF_MOST: Duration = Duration::from_secs(600);
/// Wait before an end is offered again to a database that did not take it.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// Earlier ends of a ticket that are looked at.
const HISTORY_MAX: u32 = 50;
const AUTHOR: Author = Author::Lucid("dispatch");

impl Dispatch {
    pub(super) async fn finish(&self, worker: Worker) {
        // Before the end is written: from then on a pass could take the slot for forgotten.
        if let Some(place) = &worker.place {
            lock(&self.state.releasing).push(place.lease);
        }
        let mut told = false;
        loop {
            match self.try_finish(&worker).await {
                Ok(Some(verdict)) => {
                    info!(run = worker.run.0, agent = worker.agent, verdict, "worker over");
                    break;
                }
                Ok(None) => break,
                Err(e) if !std::mem::replace(&mut told, true) => {
                    error!(run = worker.run.0, error = %e, "could not record a worker's end; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
        failpoint::pass("dispatch.finish.after");
        if let Some(place) = &worker.place {
            self.release(place.lease).await;
        }
        self.wake.notify_one();
    }

    async fn try_finish(&self, worker: &Worker) -> Result<Option<&'static str>, DispatchError> {
        let (id, ticket) = (worker.run, worker.ticket.clone());
        let run =
            self.store.read(move |conn| Ok::<_, DispatchError>(crate::run::table::get(conn, id)?)).await?;
        let ended = run.as_ref().map_or(Ended::Lost, how);
        failpoint::hit("dispatch.finish.before")?;
        let ticket = match &ticket {
            Some(id) => self.tickets.get(id).await?,
            None => None,
        };
        let left = self.left(worker, ticket.as_ref()).await;
        let end = End {
            commit: left.commit,
            strange: left.strange,
            worker: worker.clone(),
            ended,
            stop: run.as_ref().and_then(|run| run.stop_reason),
            reason: run.and_then(|run| run.reason),
            chance: chance(),
            now_ms: self.clock.wall_ms(),
        };
        let this = self.clone();
        self.store.write(move |tx| this.write_end(tx, &end)).await
    }

    fn write_end(&self, tx: &Tx<'_>, end: &End) -> Result<Option<&'static str>, DispatchError> {
        failpoint::hit("dispatch.finish.tx")?;
        let worker = &end.worker;
        let ticket = match &worker.ticket {
            Some(id) => Some(self.tickets.find_in(tx, id)?),
            None => None,
        };
        let asked = ticket.as_ref().is_some_and(|ticket| ticket.state() == TicketState::NeedsInput);
        let verdict = if asked {
            Verdict::NeedsInput
        } else {
            classify::verdict(worker.dialect, &worker.heard, end.ended, &self.zone, end.now_ms)
        };
        let tries = self.tries(tx, worker, ticket.as_ref(), &verdict)?;
        let profile = self.profile(&worker.agent);
        let least = profile.map_or(classify::CRASH_PAUSE, |profile| profile.overload_backoff);
        let backoff = Backoff { least, most: BACKOFF_MOST.max(least) };
        let (next, effect) =
            classify::decide(&verdict, &worker.heard, tries, backoff, end.chance, end.now_ms);
        let not_before = match &next {
            Next::Again { after, .. } => Some(end.now_ms.saturating_add(crate::model::time::millis(*after))),
            Next::Review | Next::Asked | Next::GiveUp { .. } => None,
        };
        let tokens = table::counted(tx, worker.run)?;
        if !table::finish(tx, worker, &verdict, not_before, end.now_ms)? {
            return Ok(None);
        }
        if let Some(id) = &worker.ticket {
            let again = tries.attempts < tries.max_attempts;
            self.end_attempt(tx, end, id, &verdict, (&next, again))?;
        }
        self.affect(tx, end, &verdict, effect)?;
        ledger::table::use_up(tx, &used(end, tokens))?;
        if let Some(error) = refusal(end, &verdict) {
            ledger::table::refuse(tx, &error)?;
        }
        Ok(Some(verdict.name()))
    }

    fn tries(
        &self,
        tx: &Tx<'_>,
        worker: &Worker,
        ticket: Option<&Ticket>,
        verdict: &Verdict,
    ) -> Result<Tries, DispatchError> {
        let history = match &worker.ticket {
            Some(id) => table::history(tx, id, HISTORY_MAX)?,
            None => Vec::new(),
        };
        let in_a_row = |name: &str, same_agent: &dyn Fn(&str) -> bool| {
            let before =
                history.iter().take_while(|(agent, ended)| ended == name && same_agent(agent)).count();
            u32::try_from(before).unwrap_or(u32::MAX).saturating_add(u32::from(verdict.name() == name))
        };
        Ok(Tries {
            attempts: worker.attempt,
            max_attempts: ticket.and_then(|ticket| ticket.max_attempts).unwrap_or(self.rules.max_attempts),
            overloads: in_a_row(Verdict::Overloaded.name(), &|agent| agent == worker.agent),
            crashes: in_a_row(Verdict::Crash.name(), &|_| true),
        })
    }

    fn end_attempt(
        &self,
        tx: &Tx<'_>,
        end: &End,
        id: &TicketId,
        verdict: &Verdict,
        (next, again): (&Next, bool),
    ) -> Result<(), DispatchError> {
        let worker = &end.worker;
        let then = match next {
            Next::Review => Step::Review,
            Next::Asked => worker.heard.question.clone().map_or(Step::Review, Step::Ask),
            Next::GiveUp { code, text } => Step::GiveUp { code: (*code).to_owned(), text: text.clone() },
            Next::Again { .. } => Step::Requeue,
        };
        let ending = Ending {
            run: worker.run,
            fence: worker.fence,
            outcome: verdict.name().to_owned(),
            commit: end.commit.clone(),
            then,
            again,
        };
        match self.tickets.end_attempt(tx, id, &ending, end.now_ms) {
            Ok(_) => {}
            // Somebody has ended it before; whatever they decided stands.
            Err(TicketError::Stale { .. }) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        if let Some(text) = self.notice(end, verdict, next) {
            self.tickets.comment_in(tx, id, CommentKind::Notice, &text, &AUTHOR, end.now_ms)?;
        }
        if let Some(named) = &end.strange
            && self.tickets.has_reported(tx, id, worker.run)?
        {
            let text = strange(worker.attempt, named, end.commit.as_deref());
            self.tickets.comment_in(tx, id, CommentKind::Notice, &text, &AUTHOR, end.now_ms)?;
        }
        Ok(())
    }

    /// What people are told of an end that is none of the expected ones.
    fn notice(&self, end: &End, verdict: &Verdict, next: &Next) -> Option<String> {
        let worker = &end.worker;
        let what = match verdict {
            Verdict::Ok | Verdict::NeedsInput => return None,
            Verdict::Timeout if end.stop == Some(StopReason::Idle) => {
                "was ended because nothing was heard of it any more".to_owned()
            }
            Verdict::Timeout => {
                let minutes =
                    self.profile(&worker.agent).map_or(0, |profile| profile.max_runtime.as_secs() / 60);
                format!("was killed after {minutes} min, its max_runtime")
            }
            Verdict::Unstartable => {
                format!("could not be started: {}", end.reason.as_deref().unwrap_or("no reason is known"))
            }
            Verdict::RateLimited { until_ms } => {
                format!("has used up its limit until {}", instant(*until_ms))
            }
            Verdict::Overloaded
            | Verdict::Auth
            | Verdict::Billing
            | Verdict::BadRequest
            | Verdict::Crash
            | Verdict::Stopped
            | Verdict::Lost => format!("ended: {}", verdict.name()),
        };
        let then = match next {
            Next::Again { with: With::NextProfile, .. } => {
                "the next profile that is ready takes over".to_owned()
            }
            Next::Again { after, .. } => format!("tried again in {} s", after.as_secs()),
            Next::GiveUp { text, .. } => text.clone(),
            Next::Review | Next::Asked => return None,
        };
        Some(format!("Attempt {}: {} {what}; {then}.", worker.attempt, worker.agent))
    }

    fn affect(&self, tx: &Tx<'_>, end: &End, verdict: &Verdict, effect: Effect) -> Result<(), DispatchError> {
        let worker = &end.worker;
        let (until_ms, kind) = match effect {
            Effect::Nothing => return Ok(()),
            Effect::CoolUntil(until_ms) => (Some(until_ms), EventKind::AgentCooled),
            Effect::Disable => (None, EventKind::AgentDisabled),
        };
        let said = words(&worker.heard);
        let reason =
            if said.is_empty() { verdict.name().to_owned() } else { format!("{}: {said}", verdict.name()) };
        if !table::rest(tx, &worker.agent, until_ms, &reason, end.now_ms)? {
            return Ok(());
        }
        warn!(agent = worker.agent, reason, until_ms, "a profile rests");
        let data = json!({"agent": worker.agent, "reason": reason, "until_ms": until_ms});
        let mut event = Event::new(kind).run(worker.run).actor("dispatch").data(data);
        event.ticket = worker.ticket.as_ref().map(ToString::to_string);
        self.journal.record(tx, end.now_ms, event)?;
        Ok(())
    }
}

/// Everything that the last transaction of a worker needs.
struct End {
    worker: Worker,
    ended: Ended,
    /// Of the run.
    reason: Option<String>,
    stop: Option<StopReason>,
    commit: Option<String>,
    /// The commit that its report names and that is none of its own.
    strange: Option<String>,
    chance: u64,
    now_ms: i64,
}

fn how(run: &Run) -> Ended {
    let outcome = Outcome {
        state: run.state(),
        reason: run.reason.clone(),
        exit_code: run.exit_code,
        signal: run.signal,
    };
    ended(&outcome, run.stop_reason)
}

/// How a process ended that came to `outcome` and was asked to end for `stop`, if it was.
pub(super) fn ended(outcome: &Outcome, stop: Option<StopReason>) -> Ended {
    match outcome.state {
        RunState::Ok => match stop {
            Some(StopReason::TurnOver) => Ended::Daemon,
            Some(_) | None => Ended::Code(outcome.exit_code.unwrap_or(0)),
        },
        RunState::Failed => match (outcome.reason.as_deref(), outcome.exit_code) {
            (Some(reason), _) if reason.starts_with("spawn") => Ended::Unstartable,
            (_, Some(code)) => Ended::Code(code),
            (_, None) => Ended::Signal,
        },
        RunState::Timeout => Ended::Timeout,
        RunState::Killed => match stop {
            Some(StopReason::Shutdown | StopReason::TurnOver) => Ended::Daemon,
            Some(StopReason::Timeout | StopReason::Idle) => Ended::Timeout,
            Some(StopReason::Cancelled | StopReason::Replaced) | None => Ended::Stopped,
        },
        // The profile is not to blame for its slot.
        RunState::Blocked
            if outcome.reason.as_deref().is_some_and(|why| why.starts_with(super::SLOT_TROUBLE)) =>
        {
            Ended::Lost
        }
        RunState::Blocked => Ended::Unstartable,
        RunState::Lost
        | RunState::NotStarted
        | RunState::Claimed
        | RunState::Running
        | RunState::Stopping
        | RunState::Skipped
        | RunState::Missed
        | RunState::KillFailed => Ended::Lost,
    }
}

fn used(end: &End, counted: crate::model::worker::Tokens) -> Usage {
    let worker = &end.worker;
    let told = worker.heard.end.as_ref();
    Usage {
        run: worker.run,
        ticket: worker.ticket.as_ref().map(ToString::to_string),
        task: worker.task.clone(),
        agent: worker.agent.clone(),
        model: worker.heard.model.clone(),
        // Counts told with messages lag behind, those of a result cover one turn: the larger is nearer.
        tokens: counted.max(worker.heard.tokens).max(told.map(|end| end.tokens).unwrap_or_default()),
        cost_usd: told.and_then(|end| end.cost_usd.clone()),
        at_ms: end.now_ms,
    }
}

fn refusal(end: &End, verdict: &Verdict) -> Option<ApiError> {
    match verdict {
        Verdict::RateLimited { .. }
        | Verdict::Overloaded
        | Verdict::Auth
        | Verdict::Billing
        | Verdict::BadRequest => {}
        Verdict::Ok
        | Verdict::NeedsInput
        | Verdict::Crash
        | Verdict::Timeout
        | Verdict::Stopped
        | Verdict::Lost
        | Verdict::Unstartable => return None,
    }
    let worker = &end.worker;
    Some(ApiError {
        at_ms: end.now_ms,
        kind: verdict.name().to_owned(),
        agent: Some(worker.agent.clone()),
        ticket: worker.ticket.as_ref().map(ToString::to_string),
        run: Some(worker.run),
        status: worker.heard.last_word().and_then(|end| end.status),
        message: words(&worker.heard),
    })
}

/// What the program said of its failure, one line.
fn words(heard: &Heard) -> String {
    let end = heard.last_word().filter(|end| end.is_error).map(|end| end.text.as_str());
    let said =
        end.filter(|text| !text.is_empty()).or(heard.trouble.as_ref().map(|trouble| trouble.text.as_str()));
    said.unwrap_or_default().lines().next().unwrap_or_default().chars().take(300).collect()
}

fn instant(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

/// For the jitter of a wait; without randomness there is none.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_le_bytes(bytes)
}
