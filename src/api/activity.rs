//! What happened: the journal as pages and live, and the logs of the daemon and of heartbeats.

use std::str::FromStr as _;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Json as Answer};
use tracing::Level;

use super::convert;
use super::cursor::{self, List};
use super::error::ApiError;
use super::extract::Query;
use super::limits::{LOG_LINES_DEFAULT, LOG_LINES_MAX, PAGE_DEFAULT, PAGE_MAX, STREAM_REPLAY_MAX};
use super::listener::Origin;
use super::sse::{self, Gone, Reset, Sender};
use super::state::Api;
use super::wire::{Activity, ActivityQuery, LogLines, LogsQuery, SchemaVersion, StreamQuery};
use crate::daemon::logs::{self, Wanted};
use crate::daemon::ring::Line;
use crate::health::files::HEARTBEAT_LOG;
use crate::journal::{FeedError, Filter};
use crate::model::event::{EventKind, Recorded};
use crate::model::ids::{RunId, TaskId, TicketId};

/// The journal: newest first, or with `after` what came after a number, oldest first.
#[utoipa::path(get, path = "/api/v1/activity", tag = "activity", params(ActivityQuery),
    responses((status = 200, body = Activity)))]
pub async fn activity(
    State(api): State<Api>,
    Query(query): Query<ActivityQuery>,
) -> Result<Answer<Activity>, ApiError> {
    let limit = cursor::page_size(query.limit, PAGE_DEFAULT, PAGE_MAX, "limit")?;
    let filter = Filter {
        task: query.task.as_deref().map(task_id).transpose()?,
        run: query.run.map(RunId),
        ticket: query.ticket.as_deref().map(ticket_id).transpose()?,
        kinds: query.kind.as_deref().map(kinds).transpose()?,
    };
    let at = query.cursor.as_deref().map(|word| cursor::decode_number(List::Activity, word)).transpose()?;
    // One more than asked for tells whether there is a next page.
    let wanted = limit as usize + 1;
    let mut found = match query.after {
        Some(after) => api.app.journal.after(at.unwrap_or(after), wanted, filter).await,
        None => api.app.journal.before(at.unwrap_or(i64::MAX), wanted, filter).await,
    }
    .map_err(anyhow::Error::from)?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = match found.last() {
        Some(last) if has_more => Some(cursor::encode(List::Activity, &last.seq.to_string())),
        Some(_) | None => None,
    };
    let events = found.iter().map(convert::event).collect();
    Ok(Answer(Activity { schema_version: SchemaVersion::default(), events, next_cursor }))
}

fn task_id(text: &str) -> Result<TaskId, ApiError> {
    TaskId::parse(text).map_err(|cause| ApiError::invalid("invalid_query", cause.to_string()))
}

/// In the one spelling in which tickets are kept.
fn ticket_id(text: &str) -> Result<String, ApiError> {
    let id = text.parse::<TicketId>();
    id.map(|id| id.to_string()).map_err(|cause| ApiError::invalid("invalid_query", cause.why))
}

fn kinds(text: &str) -> Result<Vec<EventKind>, ApiError> {
    let read = |name: &str| {
        EventKind::parse(name.trim()).ok_or_else(|| {
            ApiError::invalid("invalid_query", format!("`{}` is no kind of event", name.trim()))
        })
    };
    text.split(',').map(read).collect()
}

/// What a reader of the live journal wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Topic {
    All,
    Tasks,
    Runs,
    Task(TaskId),
    Run(RunId),
    Ticket(String),
}

impl Topic {
    fn parse(text: &str) -> Result<Self, ApiError> {
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            None if text == "tasks" => Ok(Self::Tasks),
            None if text == "runs" => Ok(Self::Runs),
            Some(("task", id)) => task_id(id).map(Self::Task),
            Some(("ticket", id)) => ticket_id(id).map(Self::Ticket),
            Some(("run", id)) => RunId::from_str(id)
                .map(Self::Run)
                .map_err(|cause| ApiError::invalid("invalid_query", cause.to_string())),
            Some(_) | None => Err(ApiError::invalid("invalid_query", format!("`{text}` is no topic"))
                .help("topics are all, tasks, runs, task:ID, run:N, ticket:ID")),
        }
    }

    fn covers(&self, recorded: &Recorded) -> bool {
        let event = &recorded.event;
        match self {
            Self::All => true,
            Self::Tasks => event.task.is_some() && event.run.is_none(),
            Self::Runs => event.run.is_some(),
            Self::Task(id) => event.task.as_ref() == Some(id),
            Self::Run(id) => event.run == Some(*id),
            Self::Ticket(id) => event.ticket.as_ref() == Some(id),
        }
    }
}

/// The journal live, from a number on or from now on: events `event`, and `reset` where some are
/// not sent.
#[utoipa::path(get, path = "/api/v1/stream", tag = "activity",
    params(StreamQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event that was read")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub async fn stream(
    State(api): State<Api>,
    origin: Option<Extension<Origin>>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let topics = query.topics.as_deref().unwrap_or("all").split(',');
    let topics = topics.map(|text| Topic::parse(text.trim())).collect::<Result<Vec<_>, _>>()?;
    let last = sse::last_event_id(&headers)?.map(|id| i64::try_from(id).unwrap_or(i64::MAX));
    let latest = api.app.journal.latest_seq().await.map_err(anyhow::Error::from)?;
    let from = last.or(query.after).unwrap_or(latest);
    let connection = origin.as_ref().map(|origin| &origin.connection);
    let stop = api.closing.clone();
    sse::respond(connection, stop, move |to| tell(api, topics, from, to))
}

async fn tell(api: Api, topics: Vec<Topic>, from: i64, to: Sender) -> Result<(), Gone> {
    let journal = &api.app.journal;
    let mut from = from;
    'anew: loop {
        let mut feed = journal.subscribe(from, Filter::default());
        let mut until_look = 0;
        loop {
            if until_look == 0 {
                until_look = LAG_LOOK_EVERY;
                // A store that cannot be read now is found out below.
                if journal.is_behind(feed.seq(), STREAM_REPLAY_MAX).await.unwrap_or(false) {
                    from = journal.latest_seq().await.unwrap_or(from);
                    to.reset(Reset::Lagged, id(from)).await?;
                    continue 'anew;
                }
            }
            until_look -= 1;
            match feed.next().await {
                Ok(recorded) if topics.iter().any(|topic| topic.covers(&recorded)) => {
                    to.event(Some(id(recorded.seq)), "event", &convert::event(&recorded)).await?;
                }
                Ok(_) => {}
                Err(FeedError::Reset { at, latest, .. }) => {
                    from = latest;
                    let reason = if at > latest { Reset::UnknownId } else { Reset::TooOld };
                    to.reset(reason, id(from)).await?;
                    continue 'anew;
                }
                Err(FeedError::Closed) => return Ok(()),
                Err(FeedError::Store(cause)) => {
                    // The reader comes back with its last id, by then the database may answer again.
                    tracing::warn!(%cause, "a stream could not read the journal");
                    return Ok(());
                }
            }
        }
    }
}

/// Events after which a stream looks how far it is behind.
const LAG_LOOK_EVERY: u32 = 256;

fn id(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

/// Log lines, oldest first: the daemon's own, those of earlier daemons among them, or a line a heartbeat.
#[utoipa::path(get, path = "/api/v1/logs", tag = "activity", params(LogsQuery),
    responses((status = 200, body = LogLines)))]
pub async fn logs(
    State(api): State<Api>,
    Query(query): Query<LogsQuery>,
) -> Result<Answer<LogLines>, ApiError> {
    let tail = cursor::page_size(query.tail, LOG_LINES_DEFAULT, LOG_LINES_MAX, "tail")?;
    let level = Level::from_str(query.level.as_deref().unwrap_or("info"))
        .map_err(|_| ApiError::invalid("invalid_query", "levels are error, warn, info, debug, trace"))?;
    let after = query.after.unwrap_or(0);
    let source = Source::parse(query.source.as_deref())?;
    let look = move || -> std::io::Result<Vec<Line>> {
        let part = query.q.as_deref().unwrap_or_default();
        let wanted = Wanted { after, before: u64::MAX, level, part, tail: tail as usize };
        let state_dir = &api.app.config.state_dir;
        match source {
            Source::Heartbeat => logs::read(&state_dir.join(HEARTBEAT_LOG), wanted),
            Source::Daemon => {
                let mut lines = api.app.log.lines(after, level, part, wanted.tail);
                // What this daemon no longer has in memory, and what earlier ones have said.
                if let Some(missing) = wanted.tail.checked_sub(lines.len()).filter(|missing| *missing > 0) {
                    let before = lines.first().map_or(u64::MAX, |line| line.seq);
                    let path = state_dir.join(logs::DAEMON_LOG);
                    let older = logs::read(&path, Wanted { before, tail: missing, ..wanted })?;
                    lines.splice(0..0, older);
                }
                Ok(lines)
            }
        }
    };
    let lines = tokio::task::spawn_blocking(look).await.map_err(anyhow::Error::from)?;
    Ok(Answer(LogLines {
        schema_version: SchemaVersion::default(),
        lines: lines.map_err(anyhow::Error::from)?.into_iter().map(convert::log_line).collect(),
    }))
}

/// Whose log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Daemon,
    Heartbeat,
}

impl Source {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("daemon") => Ok(Self::Daemon),
            Some("heartbeat") => Ok(Self::Heartbeat),
            Some(_) => Err(ApiError::invalid("invalid_query", "sources are daemon and heartbeat")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;

    #[test]
    fn topics_are_read_and_cover_what_they_name() {
        let task = TaskId::parse("t").unwrap();
        let of_run = Event::new(EventKind::RunStarted).task(&task).run(RunId(7));
        let of_task = Event::new(EventKind::TaskPaused).task(&task);
        let recorded = |event: &Event| Recorded { seq: 1, at_ms: 0, event: event.clone() };
        for (topic, run, paused) in [
            ("all", true, true),
            ("tasks", false, true),
            ("runs", true, false),
            ("task:t", true, true),
            ("task:u", false, false),
            ("run:7", true, false),
            ("run:#8", false, false),
        ] {
            let topic = Topic::parse(topic).unwrap();
            assert_eq!((topic.covers(&recorded(&of_run)), topic.covers(&recorded(&of_task))), (run, paused));
        }
        for bad in ["", "task", "task:", "run:x"] {
            assert_eq!(Topic::parse(bad).unwrap_err().status(), 422, "{bad}");
        }
    }
}
