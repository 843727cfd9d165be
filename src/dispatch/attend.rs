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
use super::{Attendance, Dispatch, DispatchError, dialect, lock, messages};
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

/// What is to be done about a worker that has had its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    Close,
    Stop,
}

impl Turn {
    /// `speaks`: another turn is under way. It takes the time that it takes, whether its input is closed or not.
    fn due(self, now: Duration, speaks: bool) -> Due {
        match self {
            Self::Lingers { until } if now >= until && !speaks => Due::Close,
            Self::Closed { until } if now >= until && !speaks => Due::Stop,
            Self::Open | Self::Lingers { .. } | Self::Closed { .. } | Self::Stopped => Due::Nothing,
        }
    }
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
    /// Those whose end has been acted on: none after a restart, so that what an earlier daemon heard and did
    /// not act on is.
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
        let read = tokio::task::spawn_blocking(move || match writer {
            Writer::Alive => tail::read(&path, from, writer),
            Writer::Gone => tail::read_rest(&path, from),
        });
        let read = read.await;
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
        let read = self.shown_read(&said);
        let intake = Intake { before: self.worker.read_bytes, after: after.clone(), said, lines, read };
        let intake = Arc::new(intake);
        let mut told = false;
        while let Err(e) = self.dispatch.take_in(Arc::clone(&intake)).await {
            if !std::mem::replace(&mut told, true) {
                error!(run = self.worker.run.0, error = %e, "could not record what a worker printed; trying again");
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.worker = after;
        self.prompted.retain(|id| !intake.read.contains(id));
        self.sent.retain(|id| !intake.read.contains(id));
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
        let (turns, speaks) = (self.worker.heard.turns, self.worker.heard.speaks);
        if turns > self.turns_seen && !speaks {
            self.turns_seen = turns;
            self.turn_over(now).await;
        } else if had_lines && matches!(self.turn, Turn::Lingers { .. }) {
            self.turn = Turn::Open;
        }
        match self.turn.due(now, speaks) {
            Due::Close => self.close(now).await,
            Due::Stop => self.stop().await,
            Due::Nothing => {}
        }
    }

    /// The program has given a result. What waits for it in line begins another turn.
    async fn turn_over(&mut self, now: Duration) {
        let until = now + self.end_grace();
        match self.turn {
            Turn::Open | Turn::Lingers { .. } => {
                self.deliver().await;
                if self.sent.is_empty() {
                    self.close(now).await;
                } else {
                    self.turn = Turn::Lingers { until };
                }
            }
            Turn::Closed { .. } => self.turn = Turn::Closed { until },
            Turn::Stopped => {}
        }
    }

    async fn close(&mut self, now: Duration) {
        failpoint::pass("dispatch.close");
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
    /// Messages that it has thereby shown to have read.
    read: Vec<MessageId>,
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
                    for message in &intake.read {
                        messages::acknowledge(&tickets, tx, *message, &me, now_ms)?;
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_under_way_is_not_cut_off() {
        let (early, until) = (Duration::from_secs(1), Duration::from_secs(2));
        let table = [
            (Turn::Open, Due::Nothing),
            (Turn::Lingers { until }, Due::Close),
            (Turn::Closed { until }, Due::Stop),
            (Turn::Stopped, Due::Nothing),
        ];
        for (turn, due) in table {
            assert_eq!(turn.due(until, false), due, "{turn:?}");
            assert_eq!(turn.due(until, true), Due::Nothing, "{turn:?}");
            assert_eq!(turn.due(early, false), Due::Nothing, "{turn:?}");
        }
    }
}
