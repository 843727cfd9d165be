//! `/metrics`: figures for Prometheus. Names are base units; no label holds a run's number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::error::ApiError;
use super::prometheus::{self, Family, Text, seconds};
use super::state::Api;
use crate::daemon::{App, StatusView, TaskView};
use crate::journal::{FeedError, Filter};
use crate::model::event::{EventKind, Recorded};
use crate::model::ids::TaskId;
use crate::model::run::RunState;

/// Ended rows of the ledger by task and state, counted since this daemon started.
#[derive(Debug, Clone, Default)]
pub struct Tallies(Arc<Mutex<BTreeMap<(TaskId, &'static str), u64>>>);

impl Tallies {
    /// Counts what the journal tells, until the daemon goes.
    pub async fn follow(self, app: App) {
        let kinds = vec![
            EventKind::RunFinished,
            EventKind::RunSkipped,
            EventKind::RunMissed,
            EventKind::RunKillFailed,
        ];
        let filter = Filter { kinds: Some(kinds), ..Filter::default() };
        let mut from = app.journal.latest_seq().await.unwrap_or(0);
        loop {
            let mut feed = app.journal.subscribe(from, filter.clone());
            loop {
                let told = tokio::select! {
                    told = feed.next() => told,
                    () = app.shutdown.closed.cancelled() => return,
                };
                match told {
                    Ok(recorded) => self.count(&recorded),
                    Err(FeedError::Closed) => return,
                    Err(FeedError::Reset { latest, .. }) => {
                        from = latest;
                        break;
                    }
                    Err(FeedError::Store(cause)) => {
                        tracing::warn!(%cause, "counting runs for the metrics");
                        tokio::time::sleep(super::limits::COUNT_RETRY_AFTER).await;
                    }
                }
            }
        }
    }

    fn count(&self, recorded: &Recorded) {
        let event = &recorded.event;
        let told = event.data.get("state").and_then(|state| state.as_str()).and_then(RunState::parse);
        let state = match event.kind {
            EventKind::RunSkipped => Some(RunState::Skipped),
            EventKind::RunMissed => Some(RunState::Missed),
            EventKind::RunKillFailed => Some(RunState::KillFailed),
            _ => told,
        };
        if let (Some(task), Some(state)) = (event.task.clone(), state) {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((task, state.name())).or_default() += 1;
        }
    }
}

/// Figures in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let status = api.app.status().await.map_err(anyhow::Error::from)?;
    let tasks = api.app.tasks().await.map_err(anyhow::Error::from)?;
    let mut text = Text::default();
    of_the_daemon(&api, &status, &mut text);
    of_alerts(&api, &mut text).await?;
    of_tasks(&tasks, &mut text);
    of_ended_runs(&api.tallies, &mut text);
    Ok(([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text.finish()).into_response())
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^53")]
fn of_the_daemon(api: &Api, status: &StatusView, text: &mut Text) {
    let app = &api.app;
    text.family("lucid_build_info", Family::Gauge, "1, labelled with the version");
    text.sample("lucid_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    gauge(text, "lucid_start_time_seconds", "Start of this daemon", seconds(app.started.as_millisecond()));
    let age_ms = app.tick_age_ms();
    gauge(
        text,
        "lucid_scheduler_tick_age_seconds",
        "Time since the scheduler last ticked",
        seconds(age_ms.max(0)),
    );
    gauge(text, "lucid_runs_in_progress", "Live runs", status.live.len() as f64);
    gauge(text, "lucid_tasks", "Task files", status.tasks as f64);
    gauge(text, "lucid_tasks_enabled", "Tasks that are switched on", status.enabled as f64);
    gauge(text, "lucid_tasks_paused", "Tasks that are paused", status.paused as f64);
    let draining = if app.runs.gates().draining { 1.0 } else { 0.0 };
    gauge(text, "lucid_draining", "1 while nothing new is started", draining);
    let counts = api.connections.iter().map(super::connections::Connections::counts);
    let (streams, requests) = counts.fold((0, 0), |(s, r), count| (s + count.streams, r + count.requests));
    gauge(text, "lucid_sse_clients", "Open event streams", streams as f64);
    gauge(text, "lucid_connections", "Open request connections", requests as f64);
    gauge(text, "lucid_db_size_bytes", "Size of the database", status.db_bytes as f64);
    gauge(text, "lucid_db_wal_bytes", "Size of the database's write-ahead log", status.wal_bytes as f64);
    of_the_writer(app, text);
    if let Some(at) = status.last_backup {
        let name = "lucid_last_backup_timestamp_seconds";
        gauge(text, name, "Newest backup", seconds(at.as_millisecond()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn of_the_writer(app: &App, text: &mut Text) {
    let writer = app.store.metrics();
    let mut counter = |name, help, value: u64| {
        text.family(name, Family::Counter, help);
        text.sample(name, &[], value as f64);
    };
    counter("lucid_db_commits_total", "Transactions committed since this daemon started", writer.commits);
    counter("lucid_db_writes_total", "Writes in them; several share a commit", writer.writes);
    counter("lucid_db_replays_total", "Commits that failed and were repeated write by write", writer.replays);
    gauge(text, "lucid_db_batch_max", "Most writes in one commit", writer.largest_batch as f64);
    gauge(text, "lucid_db_queue", "Writes that wait", writer.queued as f64);
    let name = "lucid_db_commit_seconds";
    gauge(text, name, "What the last commit took", writer.last_commit_us as f64 / 1e6);
    let name = "lucid_db_commit_max_seconds";
    gauge(text, name, "What the slowest commit took", writer.slowest_commit_us as f64 / 1e6);
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
async fn of_alerts(api: &Api, text: &mut Text) -> Result<(), ApiError> {
    let alerts = &api.app.alerts;
    let waiting = alerts.waiting().await.map_err(anyhow::Error::from)?;
    let sent = alerts.deliveries();
    let name = "lucid_alerts_deliveries_total";
    text.family(name, Family::Counter, "Calls to Telegram for alerts since this daemon started");
    let results =
        [("delivered", sent.delivered), ("failed", sent.failed), ("dead", sent.dead), ("plain", sent.plain)];
    for (result, count) in results {
        text.sample(name, &[("result", result)], count as f64);
    }
    let name = "lucid_bot_strangers_total";
    let help = "Messages and presses of people who are not on the list, ignored since this daemon started";
    text.family(name, Family::Counter, help);
    text.sample(name, &[], api.app.phone.ignored() as f64);
    gauge(text, "lucid_outbox_pending", "Messages that have still to go", waiting.pending as f64);
    let age_ms = waiting.oldest_ms.map_or(0, |at| api.app.clock.wall_ms() - at);
    let name = "lucid_outbox_oldest_age_seconds";
    gauge(text, name, "Age of the oldest message that has still to go", seconds(age_ms.max(0)));
    Ok(())
}

fn gauge(text: &mut Text, name: &str, help: &str, value: f64) {
    text.family(name, Family::Gauge, help);
    text.sample(name, &[], value);
}

fn of_tasks(tasks: &[TaskView], text: &mut Text) {
    let name = "lucid_task_next_run_timestamp_seconds";
    text.family(name, Family::Gauge, "When the task will next run by itself");
    for task in tasks {
        if let Some(at) = task.next_at {
            text.sample(name, &[("task", task.id.as_str())], seconds(at.as_millisecond()));
        }
    }
    let name = "lucid_task_last_success_timestamp_seconds";
    text.family(name, Family::Gauge, "End of the task's last run that was ok, among its latest runs");
    for task in tasks {
        let last = task.recent.iter().find(|run| run.state() == RunState::Ok);
        if let Some(ended_ms) = last.and_then(|run| run.ended_ms) {
            text.sample(name, &[("task", task.id.as_str())], seconds(ended_ms));
        }
    }
    let name = "lucid_task_consecutive_failures";
    text.family(name, Family::Gauge, "Failures in a row among the task's latest runs");
    for task in tasks {
        let failures = u32::try_from(task.failures_in_a_row().len()).unwrap_or(u32::MAX);
        text.sample(name, &[("task", task.id.as_str())], f64::from(failures));
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 runs are far away")]
fn of_ended_runs(tallies: &Tallies, text: &mut Text) {
    let counts = tallies.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let name = "lucid_task_runs_total";
    text.family(name, Family::Counter, "Ended, skipped and missed runs since this daemon started");
    let mut ticks: BTreeMap<&str, u64> = BTreeMap::new();
    let (skipped, missed) = (RunState::Skipped.name(), RunState::Missed.name());
    for ((task, result), n) in &counts {
        text.sample(name, &[("task", task.as_str()), ("result", result)], *n as f64);
        let outcome = if [skipped, missed].contains(result) { *result } else { "run" };
        *ticks.entry(outcome).or_default() += n;
    }
    let name = "lucid_ticks_total";
    text.family(name, Family::Counter, "Rows of the ledger since this daemon started");
    for (outcome, n) in ticks {
        text.sample(name, &[("outcome", outcome)], n as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use serde_json::json;

    #[test]
    fn ended_runs_are_counted_by_task_and_result() {
        let tallies = Tallies::default();
        let task = TaskId::parse("t").unwrap();
        let tell = |kind, data| {
            let event = Event::new(kind).task(&task).data(data);
            tallies.count(&Recorded { seq: 1, at_ms: 0, event });
        };
        tell(EventKind::RunFinished, json!({"state": "ok"}));
        tell(EventKind::RunFinished, json!({"state": "ok"}));
        tell(EventKind::RunFinished, json!({"state": "timeout"}));
        tell(EventKind::RunSkipped, json!({"reason": "overlap"}));
        let mut text = Text::default();
        of_ended_runs(&tallies, &mut text);
        insta::assert_snapshot!(text.finish(), @r#"
        # HELP lucid_task_runs_total Ended, skipped and missed runs since this daemon started
        # TYPE lucid_task_runs_total counter
        lucid_task_runs_total{task="t",result="ok"} 2
        lucid_task_runs_total{task="t",result="skipped"} 1
        lucid_task_runs_total{task="t",result="timeout"} 1
        # HELP lucid_ticks_total Rows of the ledger since this daemon started
        # TYPE lucid_ticks_total counter
        lucid_ticks_total{outcome="run"} 3
        lucid_ticks_total{outcome="skipped"} 1
        "#);
    }
}
