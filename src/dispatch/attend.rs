//! Attends one worker from its start, or from the daemon's, to its end: takes in what it prints, hands it
//! messages, says on the ticket that it lives, and closes its input when it has said its last word.
//!
//! What was printed and how far it was read change in one transaction: a restarted daemon goes on exactly
//! there.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::ledger::{self, ApiError};
use super::table::{self, Worker};
use super::tail::{self, Batch, Writer};
use super::{Attendance, Dispatch, DispatchError, dialect, lock};
use crate::model::message::MessageId;
use crate::model::run::StopReason;
use crate::model::worker::AgentEvent;
use crate::platform::failpoint;
use crate::platform::process::{self, spec::name};
use crate::ticket::conversation::CommentKind;
use crate::ticket::events::{NewEvent, Source};
use crate::ticket::{self, Author};

/// Pauses between two looks at a worker's output.
const LOOK_LEAST: Duration = Duration::from_millis(20);
const LOOK_MOST: Duration = Duration::from_millis(250);
/// How often messages are looked for, should nobody have said that there is one.
const INBOX_EVERY: Duration = Duration::from_secs(2);
/// How often a worker's ticket says that it lives.
const SIGN_EVERY_MS: i64 = 30 * 60_000;
/// Wait before something is offered again to a database that did not take it.
pub(super) const AGAIN: Duration = Duration::from_millis(500);

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Open,
    /// Its last word is said, but a message that it has not shown to have read may make it go on.
    Lingers {
        until: Duration,
    },
    /// Its input is closed; then it should have ended.
    Closed {
        until: Duration,
    },
    /// It has been told to stop.
    Stopped,
}

pub(super) struct Attendant {
    pub(super) dispatch: Dispatch,
    pub(super) worker: Worker,
    attendance: Arc<Attendance>,
    /// Messages in its prompt that it has not shown to have read.
    pub(super) prompted: Vec<MessageId>,
    /// Messages on its input that it has not shown to have read.
    pub(super) sent: Vec<MessageId>,
    turn: Turn,
    turns_seen: u32,
    inbox_at: Duration,
    sign_ms: i64,
}

impl Dispatch {
    pub(super) fn attend(&self, worker: Worker, prompted: Vec<MessageId>, attendance: Arc<Attendance>) {
        let now_ms = self.clock.wall_ms();
        let signs = (now_ms - worker.started_ms).max(0) / SIGN_EVERY_MS + 1;
        let attendant = Attendant {
            dispatch: self.clone(),
            sign_ms: worker.started_ms + signs * SIGN_EVERY_MS,
            worker,
            attendance,
            prompted,
            sent: Vec::new(),
            turn: Turn::Open,
            turns_seen: 0,
            inbox_at: Duration::ZERO,
        };
        tokio::spawn(attendant.run());
    }
}

impl Attendant {
    async fn run(mut self) {
        self.resume_messages().await;
        let mut pause = LOOK_LEAST;
        loop {
            let over = self.attendance.over.is_cancelled();
            let batch = self.read(if over { Writer::Gone } else { Writer::Alive }).await;
            let had_lines = !batch.lines.is_empty();
            if had_lines {
                self.take(batch).await;
                pause = LOOK_LEAST;
            } else if over {
                break;
            } else {
                pause = (pause * 2).min(LOOK_MOST);
            }
            if over {
                continue;
            }
            self.look_after(had_lines).await;
            tokio::select! {
                () = self.attendance.over.cancelled() => {}
                () = self.attendance.stir.notified() => self.inbox_at = Duration::ZERO,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let Self { dispatch, worker, attendance, .. } = self;
        // A run that starts once more has another by now.
        lock(&dispatch.state.attended)
            .retain(|run, known| *run != worker.run || !Arc::ptr_eq(known, &attendance));
        dispatch.finish(worker).await;
    }

    async fn read(&self, writer: Writer) -> Batch {
        let path = self.dispatch.runs.run_dir(self.worker.run).join(name::EVENTS);
        let from = self.worker.read_bytes;
        let read = tokio::task::spawn_blocking(move || tail::read(&path, from, writer)).await;
        match read {
            Ok(Ok(batch)) => batch,
            Ok(Err(e)) => {
                warn!(run = self.worker.run.0, error = %e, "cannot read what a worker printed");
                Batch { lines: Vec::new(), to_bytes: from }
            }
            Err(e) => {
                error!(run = self.worker.run.0, error = %e, "reading a worker's output did not end well");
                Batch { lines: Vec::new(), to_bytes: from }
            }
        }
    }

    /// Takes lines in, however long the database needs for it.
    async fn take(&mut self, batch: Batch) {
        let said: Vec<AgentEvent> =
            batch.lines.iter().flat_map(|line| dialect::read(self.worker.dialect, line)).collect();
        let mut after = self.worker.clone();
        said.iter().for_each(|event| after.heard.take(event));
        after.read_bytes = batch.to_bytes;
        let lines: Vec<NewEvent> = batch.lines.iter().filter_map(|line| event_of(line)).collect();
        let intake = Arc::new(Intake { before: self.worker.read_bytes, after: after.clone(), said, lines });
        let mut told = false;
        while let Err(e) = self.dispatch.take_in(Arc::clone(&intake)).await {
            if !std::mem::replace(&mut told, true) {
                error!(run = self.worker.run.0, error = %e, "could not record what a worker printed; trying again");
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.worker = after;
        self.acknowledge(&intake.said).await;
    }

    async fn look_after(&mut self, had_lines: bool) {
        let (now, now_ms) = (self.dispatch.clock.boot(), self.dispatch.clock.wall_ms());
        if now_ms >= self.sign_ms {
            self.sign_ms = now_ms + SIGN_EVERY_MS;
            self.show_life(now_ms).await;
        }
        if now >= self.inbox_at && matches!(self.turn, Turn::Open | Turn::Lingers { .. }) {
            self.inbox_at = now + INBOX_EVERY;
            self.deliver().await;
        }
        let turns = self.worker.heard.turns;
        if turns > self.turns_seen {
            self.turns_seen = turns;
            self.turn_over(now).await;
        } else if had_lines && matches!(self.turn, Turn::Lingers { .. }) {
            self.turn = Turn::Open;
        }
        match self.turn {
            Turn::Lingers { until } if now >= until => self.close(now).await,
            Turn::Closed { until } if now >= until => self.stop().await,
            Turn::Open | Turn::Lingers { .. } | Turn::Closed { .. } | Turn::Stopped => {}
        }
    }

    /// The program has given a result. What waits for it in line begins another turn.
    async fn turn_over(&mut self, now: Duration) {
        if !matches!(self.turn, Turn::Open | Turn::Lingers { .. }) {
            return;
        }
        self.deliver().await;
        if self.sent.is_empty() {
            self.close(now).await;
        } else {
            self.turn = Turn::Lingers { until: now + self.end_grace() };
        }
    }

    async fn close(&mut self, now: Duration) {
        if self.worker.dialect.is_live() {
            let dir = self.dispatch.runs.run_dir(self.worker.run);
            let closed = tokio::task::spawn_blocking(move || process::close_stdin(&dir)).await;
            // It has just ended, which is what was wanted.
            drop(closed);
        }
        self.turn = Turn::Closed { until: now + self.end_grace() };
    }

    async fn stop(&mut self) {
        self.turn = Turn::Stopped;
        let run = self.worker.run;
        warn!(run = run.0, "an agent hangs after its last word: ending it");
        if let Err(e) = self.dispatch.runs.stop(run, StopReason::TurnOver, None, "dispatch").await {
            error!(run = run.0, error = %e, "could not end an agent that hangs; its own limit will");
        }
    }

    fn end_grace(&self) -> Duration {
        self.dispatch.profile(&self.worker.agent).map_or(LOOK_MOST, |profile| profile.end_grace)
    }

    async fn show_life(&self, now_ms: i64) {
        let Some(id) = self.worker.ticket.clone() else { return };
        let minutes = (now_ms - self.worker.started_ms) / 60_000;
        let last: String = self.worker.heard.last_text.chars().take(200).collect();
        let text = match last.is_empty() {
            true => format!("{} is still at work after {minutes} min.", self.worker.agent),
            false => {
                format!("{} is still at work after {minutes} min. It said last: {last}", self.worker.agent)
            }
        };
        let tickets = self.dispatch.tickets.clone();
        let said = self
            .dispatch
            .store
            .write(move |tx| {
                let author = Author::Lucid("dispatch");
                tickets.comment_in(tx, &id, CommentKind::Notice, &text, &author, now_ms)?;
                Ok::<_, DispatchError>(())
            })
            .await;
        if let Err(e) = said {
            warn!(run = self.worker.run.0, error = %e, "could not say that a worker lives");
        }
    }
}

/// A batch with everything that is to be written of it.
struct Intake {
    before: u64,
    after: Worker,
    said: Vec<AgentEvent>,
    lines: Vec<NewEvent>,
}

impl Dispatch {
    async fn take_in(&self, intake: Arc<Intake>) -> Result<(), DispatchError> {
        let (tickets, now_ms) = (self.tickets.clone(), self.clock.wall_ms());
        self.store
            .write(move |tx| {
                failpoint::hit("dispatch.intake")?;
                let worker = &intake.after;
                if !table::advance(tx, worker.run, intake.before, worker.read_bytes, &worker.heard)? {
                    // Taken in before: an answer that was lost on its way.
                    return Ok(());
                }
                for (message, tokens) in intake.said.iter().filter_map(counted) {
                    table::count(tx, worker.run, message, tokens)?;
                }
                for error in intake.said.iter().filter_map(|event| refused(event, worker, now_ms)) {
                    ledger::table::refuse(tx, &error)?;
                }
                if let Some(id) = &worker.ticket {
                    let me = ticket::Worker { ticket: id.clone(), run: worker.run, fence: worker.fence };
                    tickets.hear(tx, &me, now_ms)?;
                    tickets.append_in(tx, id, Source::Worker, Some(worker.run), &intake.lines, now_ms)?;
                }
                Ok::<_, DispatchError>(())
            })
            .await
    }
}

fn counted(event: &AgentEvent) -> Option<(&String, crate::model::worker::Tokens)> {
    match event {
        AgentEvent::Usage { message: Some(message), tokens, .. } => Some((message, *tokens)),
        AgentEvent::Usage { message: None, .. }
        | AgentEvent::Session { .. }
        | AgentEvent::Text(_)
        | AgentEvent::Tool { .. }
        | AgentEvent::ToolResult { .. }
        | AgentEvent::Limit(_)
        | AgentEvent::Retry { .. }
        | AgentEvent::Trouble { .. }
        | AgentEvent::Echo { .. }
        | AgentEvent::Question(_)
        | AgentEvent::TurnOver(_)
        | AgentEvent::Raw => None,
    }
}

/// Requests that the program itself tries again; the one that ends a turn is recorded at the end.
fn refused(event: &AgentEvent, worker: &Worker, now_ms: i64) -> Option<ApiError> {
    let AgentEvent::Retry { status, error } = event else { return None };
    let kind = match status {
        Some(429) => "rate_limited",
        Some(401 | 403) => "auth",
        Some(500..=599) => "overloaded",
        Some(_) | None => "retry",
    };
    Some(ApiError {
        at_ms: now_ms,
        kind: kind.to_owned(),
        agent: Some(worker.agent.clone()),
        ticket: worker.ticket.as_ref().map(ToString::to_string),
        run: Some(worker.run),
        status: *status,
        message: error.clone(),
    })
}

/// An empty line says nothing; one too long to keep leaves its length.
fn event_of(line: &str) -> Option<NewEvent> {
    if line.trim().is_empty() {
        return None;
    }
    let cut = || serde_json::json!({"type": "line_cut", "bytes": line.len()}).to_string();
    NewEvent::line(line).or_else(|_| NewEvent::json(&cut())).ok()
}
