//! The daemon's values as wire documents. Pure: what it needs of the present comes in as a value.

use std::path::Path;

use jiff::Timestamp;

use super::wire;
use crate::config::{ConfigErrors, Place};
use crate::daemon::TaskView;
use crate::daemon::ring::Line;
use crate::model::event::Recorded;
use crate::model::run::{Run, RunState};
use crate::model::schedule::Preview;
use crate::model::task::{CatchUp, Command, Deliver, Kind, OnInterrupt, Overlap, RetryWhen, Task};
use crate::model::time::millis;
use crate::task::diagnose;

/// Milliseconds since the epoch as an instant; what no calendar holds is its nearest end.
#[must_use]
pub fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A row of the ledger; `now_ms` gives a live run its age.
#[must_use]
pub fn run(run: &Run, now_ms: i64) -> wire::Run {
    let state = run.state();
    let age_ms = match (state, run.started_ms) {
        (RunState::Running | RunState::Stopping | RunState::KillFailed, Some(started)) => {
            Some(now_ms.saturating_sub(started).max(0))
        }
        _ => None,
    };
    wire::Run {
        id: run.id.0,
        task: run.task.to_string(),
        ticket: run.ticket.clone(),
        attempt: run.attempt,
        trigger: run.trigger,
        state,
        reason: run.reason.clone(),
        exit_code: run.exit_code,
        signal: run.signal,
        actor: run.actor.clone(),
        scheduled_at: run.scheduled_ms.map(instant),
        started_at: run.started_ms.map(instant),
        ended_at: run.ended_ms.map(instant),
        duration_ms: run.duration_ms.or(age_ms),
        late_ms: late_ms(run),
        log_bytes: run.log_bytes,
        waiting: run.waiting,
        stop_reason: run.stop_reason,
        retry_at: run.retry_ms.map(instant),
        missed_to: run.missed_to_ms.map(instant),
        missed_count: run.missed_count,
    }
}

/// From the due instant to the start. A retry keeps the instant of its first attempt and is not late.
fn late_ms(run: &Run) -> Option<i64> {
    let late = run.started_ms?.saturating_sub(run.scheduled_ms?);
    (run.attempt == 1).then_some(late.max(0))
}

#[must_use]
pub fn log_line(line: Line) -> wire::LogLine {
    wire::LogLine {
        seq: line.seq,
        at: instant(line.at_ms),
        level: line.level.as_str().to_lowercase(),
        target: line.target,
        message: line.message,
        fields: line.fields,
    }
}

#[must_use]
pub fn event(recorded: &Recorded) -> wire::Event {
    wire::Event {
        seq: recorded.seq,
        at: instant(recorded.at_ms),
        kind: recorded.event.kind.name(),
        task: recorded.event.task.as_ref().map(ToString::to_string),
        run: recorded.event.run.map(|run| run.0),
        ticket: recorded.event.ticket.clone(),
        actor: recorded.event.actor.clone(),
        data: recorded.event.data.clone(),
    }
}

#[must_use]
pub fn diagnostic(found: &diagnose::Diagnostic) -> wire::Diagnostic {
    let place = (found.place.line > 0).then_some(found.place);
    wire::Diagnostic {
        file: found.file.display().to_string(),
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        end_line: place.map(|place| place.line),
        end_column: place.map(|place| place.end_column),
        severity: match found.severity {
            diagnose::Severity::Error => wire::Severity::Error,
            diagnose::Severity::Warning => wire::Severity::Warning,
            diagnose::Severity::Info => wire::Severity::Info,
        },
        code: found.code.to_owned(),
        message: found.message.clone(),
        help: found.help.clone(),
    }
}

/// What is wrong with the settings, as what is wrong with a task's file.
#[must_use]
pub fn refused_settings(errors: &ConfigErrors) -> Vec<wire::Diagnostic> {
    let one = |place: &Place, message: String, help: Option<String>| {
        let (file, line, column) = match place {
            Place::Line { path, line, column } => (path.display().to_string(), Some(*line), Some(*column)),
            other @ (Place::Path(_) | Place::Env(_) | Place::Embedded) => (other.to_string(), None, None),
        };
        let number = |n: Option<u64>| n.and_then(|n| u32::try_from(n).ok());
        wire::Diagnostic {
            file,
            line: number(line),
            column: number(column),
            end_line: None,
            end_column: None,
            severity: wire::Severity::Error,
            code: wire::SETTINGS_CODE.to_owned(),
            message,
            help,
        }
    };
    match errors {
        ConfigErrors::NotFound { .. } => {
            vec![one(&Place::Embedded, errors.to_string(), Some("write the settings' file anew".to_owned()))]
        }
        ConfigErrors::Refused { problems } => problems
            .iter()
            .map(|problem| one(&problem.place, problem.message.clone(), problem.help.clone()))
            .collect(),
    }
}

/// All remarks of a look at `files` files.
#[must_use]
pub fn checked<'a>(found: impl IntoIterator<Item = &'a diagnose::Diagnostic>, files: usize) -> wire::Checked {
    let diagnostics: Vec<wire::Diagnostic> = found.into_iter().map(diagnostic).collect();
    let count = |severity| {
        let n = diagnostics.iter().filter(|d| d.severity == severity).count();
        u32::try_from(n).unwrap_or(u32::MAX)
    };
    wire::Checked {
        schema_version: wire::SchemaVersion::default(),
        errors: count(wire::Severity::Error),
        warnings: count(wire::Severity::Warning),
        files: u32::try_from(files).unwrap_or(u32::MAX),
        diagnostics,
    }
}

#[must_use]
pub fn fire(preview: Preview) -> wire::Fire {
    wire::Fire { at: preview.at, local: preview.local, note: preview.note }
}

/// A task as lists show it.
#[must_use]
pub fn task(view: &TaskView, now_ms: i64) -> wire::Task {
    let entry = &view.entry;
    let task = view.definition();
    // What a run is doing now tells more than how the one before it ended.
    let last = view.live.as_ref().filter(|run| run.waiting.is_none()).or_else(|| view.last_ended());
    wire::Task {
        id: view.id.to_string(),
        name: task.map_or_else(|| view.id.to_string(), |task| task.name.to_string()),
        description: task.map(|task| task.description.to_string()).unwrap_or_default(),
        tags: task.map(|task| task.settings.tags.clone()).unwrap_or_default(),
        enabled: entry.enabled,
        state: task_state(view),
        kind: task.map(|task| kind(&task.kind).to_owned()).unwrap_or_default(),
        schedule: task.map(|task| schedule_text(task)).unwrap_or_default(),
        schedule_human: task.map(|task| task.schedule.describe(&task.settings.zone)).unwrap_or_default(),
        timezone: task.map(|task| task.settings.zone.name().to_owned()).unwrap_or_default(),
        next_at: view.next_at,
        last_run: last.map(|last| run(last, now_ms)),
        recent: view.recent.iter().rev().map(Run::state).collect(),
        timeout_ms: task.map_or(0, |task| millis(task.settings.timeout)),
        paused: view.pause.as_ref().map(|pause| wire::Paused {
            since: instant(pause.at_ms),
            until: pause.until_ms.map(instant),
            reason: pause.reason.clone(),
            actor: pause.actor.clone(),
        }),
        definition: wire::Definition {
            file: path(&entry.file),
            hash: entry.hash().map(|hash| hash.to_string()).unwrap_or_default(),
            stale: entry.definition.is_some() && entry.stale_since.is_some(),
        },
        problems: entry.diagnostics.iter().map(diagnostic).collect(),
    }
}

/// As in the file; the items of a list in a row.
fn schedule_text(task: &Task) -> String {
    if task.schedule.is_manual() {
        return "manual".to_owned();
    }
    task.schedule.texts().collect::<Vec<_>>().join("; ")
}

/// The first that fits; see [`wire::TaskState`].
fn task_state(view: &TaskView) -> wire::TaskState {
    let Some(task) = view.definition() else { return wire::TaskState::Broken };
    let last = view.last_ended();
    if view.live.as_ref().is_some_and(|run| run.waiting.is_none()) {
        wire::TaskState::Running
    } else if !view.entry.enabled {
        wire::TaskState::Off
    } else if view.pause.is_some() {
        wire::TaskState::Paused
    } else if last.is_some_and(|run| run.state().is_failure()) {
        wire::TaskState::Failing
    } else if view.spent {
        wire::TaskState::Done
    } else if task.schedule.is_manual() {
        wire::TaskState::Manual
    } else if last.is_none() {
        wire::TaskState::New
    } else {
        wire::TaskState::Ok
    }
}

/// `command`, `agent` or `action`.
#[must_use]
pub fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Command(_) => "command",
        Kind::Agent(_) => "agent",
        Kind::Action(_) => "action",
    }
}

#[must_use]
pub fn settings(task: &Task) -> wire::TaskSettings {
    let (command, through_shell) = match &task.kind {
        Kind::Command(Command::Shell(text)) => (vec![text.clone()], true),
        Kind::Command(Command::Argv(argv)) => (argv.clone(), false),
        Kind::Agent(agent) => (vec![agent.profile.clone()], false),
        Kind::Action(name) => (vec![name.clone()], false),
    };
    wire::TaskSettings {
        command,
        through_shell,
        jitter_ms: millis(task.settings.jitter),
        overlap: match task.settings.overlap {
            Overlap::Skip => "skip",
            Overlap::Queue => "queue",
            Overlap::Replace => "replace",
        }
        .to_owned(),
        locks: task.settings.locks.clone(),
        catch_up: match task.settings.catch_up {
            CatchUp::Latest => "latest",
            CatchUp::Skip => "skip",
            CatchUp::All => "all",
        }
        .to_owned(),
        catch_up_window_ms: millis(task.settings.catch_up_window),
        timeout_ms: millis(task.settings.timeout),
        kill_grace_ms: millis(task.settings.kill_grace),
        idle_timeout_ms: task.settings.idle_timeout.map(millis),
        retries: retries(task),
        on_interrupt: match task.settings.on_interrupt {
            OnInterrupt::Fail => "fail",
            OnInterrupt::Rerun => "rerun",
        }
        .to_owned(),
        success_codes: task.settings.success_codes.to_vec(),
        working_dir: task.settings.working_dir.as_deref().map(path),
        env: task.settings.env.keys().cloned().collect(),
        env_file: task.settings.env_file.as_deref().map(path),
        secrets: task.settings.secrets.clone(),
        pool: task.settings.pool.clone(),
        log_max_bytes: task.settings.log_max,
        keep_runs: task.settings.keep_runs,
        keep_for_ms: millis(task.settings.keep_for),
        deliver: match task.settings.deliver {
            Deliver::None => "none",
            Deliver::Telegram => "telegram",
        }
        .to_owned(),
        grants: task.settings.grants.clone(),
        owner: task.settings.owner.clone(),
        body: task.body.to_string(),
        more: std::collections::BTreeMap::new(),
    }
}

fn retries(task: &Task) -> wire::Retries {
    let name = |when: &RetryWhen| match when {
        RetryWhen::Exit => "exit",
        RetryWhen::Spawn => "spawn",
        RetryWhen::Timeout => "timeout",
        RetryWhen::RateLimit => "rate_limit",
    };
    wire::Retries {
        max: task.settings.retries.max,
        delay_ms: millis(task.settings.retries.delay),
        backoff_milli: task.settings.retries.backoff_milli,
        max_delay_ms: millis(task.settings.retries.max_delay),
        when: task.settings.retries.when.iter().map(|when| name(when).to_owned()).collect(),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{RunId, TaskId};
    use crate::model::run::Trigger;

    fn row(state: RunState) -> Run {
        let task = TaskId::parse("db-backup").unwrap();
        let mut row = Run::new(RunId(8132), task, Trigger::Schedule, state);
        row.actor = "scheduler".to_owned();
        row.scheduled_ms = Some(1_795_219_200_000);
        row.started_ms = Some(1_795_219_200_250);
        row
    }

    #[test]
    fn a_run_has_the_names_of_the_contract() {
        let mut ended = row(RunState::Failed);
        ended.ended_ms = Some(1_795_219_204_250);
        ended.duration_ms = Some(4000);
        ended.exit_code = Some(1);
        ended.log_bytes = Some(77);
        ended.retry_ms = Some(1_795_219_234_250);
        insta::assert_json_snapshot!(run(&ended, 0), @r#"
        {
          "id": 8132,
          "task": "db-backup",
          "ticket": null,
          "attempt": 1,
          "trigger": "schedule",
          "state": "failed",
          "reason": null,
          "exit_code": 1,
          "signal": null,
          "actor": "scheduler",
          "scheduled_at": "2026-11-21T00:00:00Z",
          "started_at": "2026-11-21T00:00:00.25Z",
          "ended_at": "2026-11-21T00:00:04.25Z",
          "duration_ms": 4000,
          "late_ms": 250,
          "log_bytes": 77,
          "waiting": null,
          "stop_reason": null,
          "retry_at": "2026-11-21T00:00:34.25Z",
          "missed_to": null,
          "missed_count": null
        }
        "#);
    }

    #[test]
    fn a_live_run_has_its_age_and_an_ended_one_what_it_took() {
        let now = 1_795_219_260_250;
        assert_eq!(run(&row(RunState::Running), now).duration_ms, Some(60_000));
        assert_eq!(run(&row(RunState::Running), 0).duration_ms, Some(0), "the clock went back");
        assert_eq!(run(&row(RunState::Lost), now).duration_ms, None);
        assert_eq!(run(&row(RunState::Claimed), now).duration_ms, None);
    }

    #[test]
    fn a_retry_is_not_late() {
        let mut second = row(RunState::Running);
        second.attempt = 2;
        assert_eq!(run(&second, 0).late_ms, None);
    }

    #[test]
    fn instants_beyond_the_calendar_do_no_harm() {
        assert_eq!(instant(i64::MAX), Timestamp::MAX);
        assert_eq!(instant(i64::MIN), Timestamp::MIN);
    }
}
