//! What alerts have to know of the daemon: their settings, and what belongs to an event that its own row does not
//! tell.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use crate::alert::pace::Pace;
use crate::alert::policy::{
    Before, EndFacts, Facts, FileFacts, MachineFacts, MessageFacts, Missed, RunFacts, TaskFacts, TicketFacts,
};
use crate::alert::quiet::QuietHours;
use crate::alert::telegram::Telegram;
use crate::alert::words::{self, Tail};
use crate::alert::{Alerts, Gather, Settings, Topics, Unread};
use crate::config::{self, Config};
use crate::journal::{Filter, Journal};
use crate::model::event::{Event, EventKind, Recorded};
use crate::model::ids::{RunId, TaskId, TicketId};
use crate::model::message::MessageId;
use crate::model::run::{Run, RunState};
use crate::model::task::{Deliver, Task};
use crate::model::ticket::Priority;
use crate::model::time::millis;
use crate::platform::clock::Clock;
use crate::platform::process::output;
use crate::platform::process::spec::Exit;
use crate::run::history;
use crate::store::{Store, StoreError};
use crate::task::Severity;
use crate::ticket::TicketError;

use super::App;
use super::problems::{Finding, Grave};
use super::said::{self, on_disk};

/// Runs of a task that are looked at for failures in a row.
const HISTORY: u32 = 100;
/// Dead letters are told for so long, milliseconds.
const DEAD_SHOWN_MS: i64 = 24 * 3_600_000;

/// Alerts as the settings want them; and why no way to people is open although one is named.
pub(super) async fn open(
    config: &Config,
    store: &Store,
    journal: &Journal,
    clock: Clock,
) -> Result<(Alerts, Option<String>), StoreError> {
    let (settings, mute) = settings(config);
    Ok((Alerts::open(store.clone(), journal.clone(), clock, settings).await?, mute))
}

/// Settings of alerts; and why there is no way to people although one is named.
fn settings(config: &Config) -> (Settings, Option<String>) {
    let telegram = &config.telegram;
    let (bot, trouble) = match bot(telegram) {
        Ok(bot) => (bot, None),
        Err(why) => {
            warn!(why, "no alert can be sent");
            (None, Some(why))
        }
    };
    let settings = Settings {
        bot,
        chat: telegram.chat_id,
        topics: Topics {
            alerts: telegram.topics.alerts,
            tickets: telegram.topics.tickets,
            briefs: telegram.topics.briefs,
        },
        has_users: !telegram.allowed_users.is_empty(),
        quiet: telegram.quiet_hours.map(|(from, to)| QuietHours { from, to }),
        zone: config.zone.tz().clone(),
        pace: Pace::default(),
    };
    (settings, trouble)
}

fn bot(telegram: &config::Telegram) -> Result<Option<Telegram>, String> {
    telegram.token_file.as_ref().map(|path| Telegram::from_file(path, &telegram.api_url)).transpose()
}

/// Looks up what belongs to events of this daemon.
pub(super) fn gather(app: App) -> Gather {
    Arc::new(move |recorded| {
        let app = app.clone();
        Box::pin(async move { facts(&app, recorded).await })
    })
}

async fn facts(app: &App, recorded: Recorded) -> Result<Facts, Unread> {
    let event = &recorded.event;
    let found = match event.kind {
        EventKind::RunFinished | EventKind::RunMissed | EventKind::RunKillFailed => {
            run_facts(app, event).await.map(|facts| facts.map(|facts| Facts::Run(Box::new(facts))))
        }
        EventKind::TicketAsked | EventKind::TicketMoved | EventKind::AttemptEnded => {
            ticket_facts(app, event).await.map(|facts| facts.map(|facts| Facts::Ticket(Box::new(facts))))
        }
        EventKind::MessageExpired | EventKind::MessageDead => message_facts(app, event).await,
        EventKind::DaemonStarted => before(app, recorded.seq).await.map(|before| Some(Facts::Start(before))),
        EventKind::TaskBroken => Ok(event.task.as_ref().map(|task| Facts::File(file_facts(app, task)))),
        EventKind::DatabaseRestored | EventKind::DiskFull | EventKind::ConditionRaised => {
            Ok(Some(Facts::Machine(MachineFacts { host: app.host.clone() })))
        }
        _ => Ok(None),
    };
    found
        .map(Option::unwrap_or_default)
        .map_err(|e| Unread { why: e.to_string(), left: left(app, &recorded).unwrap_or_default() })
}

/// What is known where the database does not answer.
fn left(app: &App, recorded: &Recorded) -> Option<Facts> {
    match recorded.event.kind {
        EventKind::RunFinished | EventKind::RunMissed | EventKind::RunKillFailed => {
            let task = app.snapshot().definition(recorded.event.task.as_ref()?);
            let task = task.map(|task| task_facts(&task, None));
            RunFacts::bare(recorded, task).map(|facts| Facts::Run(Box::new(facts)))
        }
        _ => None,
    }
}

async fn run_facts(app: &App, event: &Event) -> Result<Option<RunFacts>, StoreError> {
    let Some(id) = event.run else { return Ok(None) };
    let Some(run) = app.run(id).await? else { return Ok(None) };
    let task = app.snapshot().definition(&run.task);
    let is_bad = run.state().is_failure();
    // A good run of a task that wants nothing delivered is most of what happens.
    let mut facts = RunFacts {
        task: task.as_deref().map(|task| task_facts(task, None)),
        missed: Missed::default(),
        failures: 0,
        oks: 0,
        tail: Tail::default(),
        end: None,
        answer: None,
        is_bare: false,
        run,
    };
    if run_is_worker(&facts.run) {
        return Ok(Some(facts));
    }
    if is_bad || event.kind == EventKind::RunMissed {
        let next = app.task(&facts.run.task).await?.and_then(|view| view.next_at);
        facts.task = task.as_deref().map(|task| task_facts(task, next.map(Timestamp::as_millisecond)));
    }
    if let (EventKind::RunMissed, Some(task)) = (event.kind, &task) {
        facts.missed = missed(app, task, &facts.run).await?;
    }
    if is_bad {
        (facts.failures, facts.oks) = in_a_row(app, &facts.run).await?;
        let dir = app.run_dir(id);
        let dialect = said::dialect_of(app, id).await;
        facts.tail = match app.tail_log(id, words::TAIL_LINES * 2).await {
            Ok(chunk) => {
                let is_cut = chunk.bytes.len() >= output::CHUNK_MAX_BYTES;
                words::tail(&said::spoken(chunk.bytes, dialect, is_cut))
            }
            // One that was never started has no log.
            Err(_) => Tail::default(),
        };
        facts.end = on_disk(move || Exit::read(&dir).ok().flatten()).await.map(|exit| EndFacts {
            lasted_ms: i64::try_from(exit.duration_ms).unwrap_or(i64::MAX),
            killed: exit.killed,
            is_escalated: exit.escalated,
        });
    }
    if task.is_some_and(|task| task.settings.deliver == Deliver::Telegram) && !is_bad {
        facts.answer = said::answer(app, id).await;
    }
    Ok(Some(facts))
}

/// Why nothing ran when something was due.
async fn missed(app: &App, task: &Task, run: &Run) -> Result<Missed, StoreError> {
    let from_ms = run.scheduled_ms.unwrap_or(run.claimed_ms);
    let to_ms = run.missed_to_ms.unwrap_or(from_ms);
    let seen_ms = app.anchor_of(task).await?.as_millisecond();
    Ok(if to_ms < seen_ms {
        Missed::Unseen
    } else if from_ms >= app.started.as_millisecond() {
        Missed::Passed
    } else {
        Missed::Down
    })
}

fn run_is_worker(run: &Run) -> bool {
    run.ticket.is_some()
}

fn task_facts(task: &Task, next_ms: Option<i64>) -> TaskFacts {
    TaskFacts {
        alerts: task.settings.alerts.clone(),
        deliver: task.settings.deliver,
        timeout_ms: millis(task.settings.timeout),
        retries_max: task.settings.retries.max,
        next_ms,
    }
}

/// Failures in a row up to `run`, and the good ends before them.
async fn in_a_row(app: &App, run: &Run) -> Result<(u32, u32), StoreError> {
    let query = history::Query {
        task: Some(run.task.clone()),
        own: true,
        states: vec![
            RunState::Ok,
            RunState::Failed,
            RunState::Timeout,
            RunState::Lost,
            RunState::Blocked,
            RunState::KillFailed,
        ],
        before: Some(RunId(run.id.0.saturating_add(1))),
        limit: HISTORY,
        ..history::Query::default()
    };
    let runs = app.store.read(move |conn| Ok::<_, StoreError>(history::table::query(conn, &query)?)).await?;
    let mut own = runs.iter().peekable();
    let mut count = |wanted: &dyn Fn(&Run) -> bool| {
        let mut n = 0;
        while own.next_if(|run| wanted(run)).is_some() {
            n += 1;
        }
        n
    };
    Ok((count(&|run| run.state().is_failure()), count(&|run| run.state() == RunState::Ok)))
}

async fn ticket_facts(app: &App, event: &Event) -> Result<Option<TicketFacts>, StoreError> {
    let Some(id) = event.ticket.as_deref().and_then(|id| id.parse::<TicketId>().ok()) else {
        return Ok(None);
    };
    let ticket = match app.tickets.get(&id).await.map_err(TicketError::database) {
        Ok(Some(ticket)) => ticket,
        Ok(None) => return Ok(None),
        Err(Ok(e)) => return Err(e),
        Err(Err(e)) => {
            warn!(ticket = %id, error = %e, "a ticket could not be read; its alert says less");
            return Ok(None);
        }
    };
    let agent = ticket.agent.clone().or_else(|| app.config.dispatch.agent.clone());
    let profile = app.config.agents.iter().find(|profile| Some(&profile.name) == agent.as_ref());
    let answered = app.answered(&ticket).await?;
    Ok(Some(TicketFacts {
        answered,
        is_critical: ticket.priority == Priority::Critical,
        attempt: ticket.attempt,
        max_attempts: Some(ticket.max_attempts.unwrap_or(app.config.dispatch.max_attempts)),
        max_runtime_ms: profile.and_then(|p| i64::try_from(p.max_runtime.as_millis()).ok()),
        agent,
        branch: ticket.branch.clone(),
        state: ticket.state().name().to_owned(),
        title: ticket.title,
    }))
}

async fn message_facts(app: &App, event: &Event) -> Result<Option<Facts>, StoreError> {
    let Some(id) = event.data.get("message").and_then(serde_json::Value::as_i64) else { return Ok(None) };
    match app.tickets.message(MessageId(id)).await.map_err(TicketError::database) {
        Ok(message) => Ok(message.map(|message| {
            Facts::Message(MessageFacts { text: message.text, created_ms: message.created_ms })
        })),
        Err(Ok(e)) => Err(e),
        Err(Err(e)) => {
            warn!(message = id, error = %e, "a message could not be read; its alert says less");
            Ok(None)
        }
    }
}

/// Whether the daemon before the one that recorded `seq` had said goodbye.
async fn before(app: &App, seq: i64) -> Result<Before, StoreError> {
    let kinds = vec![EventKind::DaemonStarted, EventKind::DaemonStopping];
    let last = app.journal.before(seq, 1, Filter { kinds: Some(kinds), ..Filter::default() }).await?;
    Ok(match last.first().map(|recorded| recorded.event.kind) {
        Some(EventKind::DaemonStarted) => Before::Crashed,
        Some(_) | None => Before::Stopped,
    })
}

fn file_facts(app: &App, task: &TaskId) -> FileFacts {
    let snapshot = app.snapshot();
    let Some(entry) = snapshot.get(task) else { return FileFacts { wrong: None, is_stale: false } };
    let first = entry.diagnostics.iter().find(|found| found.severity == Severity::Error);
    FileFacts {
        wrong: first.map(|found| {
            let line = if found.place.line == 0 { String::new() } else { format!(":{}", found.place.line) };
            format!("{}{line}: {} {}", found.file.display(), found.code, found.message)
        }),
        is_stale: entry.stale_since.is_some() && !entry.expired && entry.enabled,
    }
}

impl App {
    /// What is wrong with the way to people.
    pub(super) async fn unheard(&self, findings: &mut Vec<Finding>) -> Result<(), StoreError> {
        let mut find = |id: &str, grave, text, since_ms, fix: &str| {
            findings.push(Finding {
                id: id.to_owned(),
                grave,
                subject: id.replace(':', " "),
                text,
                since_ms,
                fix: Some(fix.to_owned()),
            });
        };
        if let Some(why) = &self.mute {
            let text = format!("no alert can be sent: {why}; a restart reads it again");
            find("telegram:token", Grave::Critical, text, None, "lucid telegram setup");
        }
        if self.config.telegram.token_file.is_some() && self.config.telegram.chat_id.is_none() {
            let text = "there is a token and no chat: nothing is sent".to_owned();
            find("telegram:chat", Grave::Warning, text, None, "lucid telegram setup");
        }
        let since_ms = self.clock.wall_ms() - DEAD_SHOWN_MS;
        for mishap in self.alerts.mishaps().into_iter().filter(|mishap| mishap.at_ms >= since_ms) {
            let times = if mishap.count == 1 { "once".to_owned() } else { format!("{} times", mishap.count) };
            let text = format!("the {} of alerts stumbled {times}, the last: {}", mishap.part, mishap.why);
            let id = format!("telegram:stumbled:{}", mishap.part);
            find(&id, Grave::Warning, text, Some(mishap.at_ms), "lucid logs --daemon");
        }
        let (channel, lost) = self.alerts.channel(since_ms).await?;
        if let Some(broken) = channel.broken {
            let text = format!("alerts do not get through: {broken}");
            find("telegram:channel", Grave::Critical, text, channel.since_ms, "lucid telegram test");
        }
        let because = |why: Option<String>| why.map(|why| format!(": {why}")).unwrap_or_default();
        if lost.alerts > 0 {
            let why = because(lost.why);
            let text = match lost.alerts {
                1 => format!("the message about 1 alert could not be delivered{why}"),
                n => format!("messages about {n} alerts could not be delivered, the last{why}"),
            };
            find("telegram:dead", Grave::Warning, text, None, "lucid alert ack ID (see: lucid alerts)");
        }
        let outputs = lost.outputs;
        if outputs.count > 0 {
            let why = because(outputs.why);
            let fix =
                outputs.run.map_or_else(|| "lucid runs".to_owned(), |run| format!("lucid logs {}", run.0));
            let text = match (outputs.count, outputs.run) {
                (1, Some(run)) => format!("the output of run {run} could not be delivered{why}"),
                (1, None) => format!("the output of a run could not be delivered{why}"),
                (n, _) => format!("the output of {n} runs could not be delivered, the last{why}"),
            };
            find("telegram:output", Grave::Warning, text, outputs.at_ms, &fix);
        }
        Ok(())
    }
}
