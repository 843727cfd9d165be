//! What an event alone does not tell, looked up by whoever knows runs, tasks and tickets.

use super::{number, text};
use crate::alert::words::Tail;
use crate::model::event::{EventKind, Recorded};
use crate::model::run::{Run, RunState, Trigger};
use crate::model::task::{Alerts, Deliver};

/// What belongs to one event.
#[derive(Debug, Clone, Default)]
pub enum Facts {
    #[default]
    None,
    Run(Box<RunFacts>),
    Ticket(Box<TicketFacts>),
    Message(MessageFacts),
    /// A daemon started; whether the one before it had said goodbye.
    Start(Before),
    File(FileFacts),
    Machine(MachineFacts),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Stopped,
    Crashed,
}

/// Why nothing ran when something was due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missed {
    /// No daemon was there, or no machine.
    #[default]
    Down,
    /// The daemon was there: the machine slept, its clock was set, or the task was off.
    Passed,
    /// The task's file was read only after that.
    Unseen,
}

/// The run of an event, as it stood when it ended.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub run: Run,
    /// None when its task is gone.
    pub task: Option<TaskFacts>,
    /// Why instants were missed, where they were.
    pub missed: Missed,
    /// Failures in a row up to this run.
    pub failures: u32,
    /// Good ends in a row before them.
    pub oks: u32,
    pub tail: Tail,
    pub end: Option<EndFacts>,
    /// What it has to say where it is to be delivered.
    pub answer: Option<String>,
    /// The run is what its event says of it, and nothing else is known: the database did not answer.
    pub is_bare: bool,
}

impl RunFacts {
    /// As much of a run as its event says; `task` is known without the database.
    #[must_use]
    pub fn bare(recorded: &Recorded, task: Option<TaskFacts>) -> Option<Self> {
        let event = &recorded.event;
        let trigger = text(event, "trigger").and_then(Trigger::parse).unwrap_or(Trigger::Schedule);
        let state = match event.kind {
            EventKind::RunMissed => RunState::Missed,
            EventKind::RunKillFailed => RunState::KillFailed,
            _ => text(event, "state").and_then(RunState::parse)?,
        };
        let small = |field| number(event, field).and_then(|n| i32::try_from(n).ok());
        let mut run = Run::new(event.run?, event.task.clone()?, trigger, state);
        run.reason = text(event, "reason").map(str::to_owned);
        (run.exit_code, run.signal) = (small("exit_code"), small("signal"));
        run.duration_ms = number(event, "duration_ms");
        run.ended_ms = Some(recorded.at_ms);
        let (missed, tail) = (Missed::default(), Tail::default());
        Some(Self { run, task, missed, failures: 0, oks: 0, tail, end: None, answer: None, is_bare: true })
    }

    /// A worker's end is told by its ticket. No other run begins with an event.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.run.ticket.is_some() || (self.is_bare && self.run.trigger == Trigger::Event)
    }
}

/// Of its task, as its file says now.
#[derive(Debug, Clone)]
pub struct TaskFacts {
    pub alerts: Alerts,
    pub deliver: Deliver,
    pub timeout_ms: i64,
    pub retries_max: u32,
    /// When it next runs by itself, milliseconds since the epoch.
    pub next_ms: Option<i64>,
}

/// How the keeper ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndFacts {
    /// From its start to SIGTERM and to its end.
    pub lasted_ms: i64,
    pub killed: u32,
    /// SIGTERM was not enough.
    pub is_escalated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketFacts {
    pub title: String,
    pub is_critical: bool,
    pub attempt: u32,
    pub max_attempts: Option<u32>,
    pub agent: Option<String>,
    pub branch: Option<String>,
    pub state: String,
    /// Longest time of one worker of its profile.
    pub max_runtime_ms: Option<i64>,
    pub answered: Answered,
}

/// Who acts on an answer to a ticket's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    ByWorker,
    /// The ticket is a person's own.
    ByPerson,
    /// A login that is looked at again; and where it is renewed.
    ByLook {
        portal: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    pub text: String,
    pub created_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The first thing that is wrong, with its place.
    pub wrong: Option<String>,
    /// It goes on as it last was.
    pub is_stale: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFacts {
    pub host: String,
}
