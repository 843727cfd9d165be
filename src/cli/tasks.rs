//! `lucid tasks`: all tasks, a line each: how they stand, last and next run, the last results.

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean, count, fit};
use super::runs;
use crate::api::wire;
use crate::api::wire::TaskState;
use crate::model::run::RunState;
use crate::platform::client::Request;

/// Before a task whose file is broken and whose last good version stands in for it.
const STALE_MARK: &str = "E";
/// Columns of a pause's reason; `lucid task` shows all of it.
const REASON_COLUMNS: usize = 60;
const LEGEND: &str = ". ok  x failed  t timeout  k killed  l lost  s skipped  m missed";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only those whose last run failed or whose file is broken
    #[arg(long, conflicts_with = "state")]
    failing: bool,
    /// Only these states, separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

const STATES: [TaskState; 9] = [
    TaskState::Running,
    TaskState::Broken,
    TaskState::Off,
    TaskState::Paused,
    TaskState::Failing,
    TaskState::Done,
    TaskState::Manual,
    TaskState::New,
    TaskState::Ok,
];

fn state(text: &str) -> Result<String, String> {
    let names = STATES.map(name);
    if names.contains(&text) { Ok(text.to_owned()) } else { Err(format!("there are: {}", names.join(", "))) }
}

fn name(state: TaskState) -> &'static str {
    match state {
        TaskState::Running => "running",
        TaskState::Broken => "broken",
        TaskState::Off => "off",
        TaskState::Paused => "paused",
        TaskState::Failing => "failing",
        TaskState::Done => "done",
        TaskState::Manual => "manual",
        TaskState::New => "new",
        TaskState::Ok => "ok",
    }
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut path = api().segment("tasks");
    if args.failing {
        path = path.query("state", "failing,broken");
    } else if !args.state.is_empty() {
        path = path.query("state", &args.state.join(","));
    }
    if let Some(tag) = &args.tag {
        path = path.query("tag", tag);
    }
    let page = context.fetch::<wire::TaskPage>(&Request::get(path))?;
    context.show(&page, |page, look| render(&page.tasks, page.files_with_errors as usize, look))
}

fn render(tasks: &[wire::Task], files_with_errors: usize, look: &Look) -> String {
    let broken = tasks.iter().filter(|task| task.state == TaskState::Broken || task.definition.stale).count();
    let footer = match broken.max(files_with_errors) {
        0 => String::new(),
        files => {
            let files = format!("{} with errors: lucid check", count(files, "file"));
            format!("{}\n", look.paint(Tone::Bad, &files))
        }
    };
    if tasks.is_empty() {
        return format!("No tasks.\n{footer}");
    }
    let mut grid = Grid::new(&["", "TASK", "SCHEDULE", "LAST", "TOOK", "NEXT", "14 RUNS"], &[2, 1, 3, 6]);
    for task in tasks {
        // It goes on as it last was, while its file says something else.
        let (tone, mark) = if task.definition.stale { (Tone::Warn, STALE_MARK) } else { mark(task.state) };
        let took = task.last_run.as_ref().map(|run| runs::took(run, look)).unwrap_or_default();
        let mut last = last(task, look);
        if task.definition.stale {
            last.push_str(", stale: BROKEN file");
        }
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&task.id),
            Cell::new(Tone::Faint, &task.schedule_human),
            Cell::new(tone, &last),
            Cell::plain(&took).right(),
            Cell::plain(&task.next_at.map(|at| look.until(at)).unwrap_or_default()),
            Cell::plain(&task.recent.iter().map(|state| runs::mark(*state).1).collect::<String>()),
        ]);
    }
    let mut out = grid.render(look);
    out.push_str(&format!("\n{} · {}\n", count(tasks.len(), "task"), look.paint(Tone::Faint, LEGEND)));
    out.push_str(&footer);
    out
}

/// The letter before a task, and its tone.
#[must_use]
pub fn mark(state: TaskState) -> (Tone, &'static str) {
    match state {
        TaskState::Running => (Tone::Live, ">"),
        TaskState::Broken => (Tone::Bad, "E"),
        TaskState::Off => (Tone::Faint, "-"),
        TaskState::Paused => (Tone::Warn, "‖"),
        TaskState::Failing => (Tone::Bad, "x"),
        TaskState::Done => (Tone::Faint, "*"),
        TaskState::Manual | TaskState::New | TaskState::Ok => (Tone::Good, "o"),
    }
}

/// How the task stands and what came of its last run, in a few words.
#[must_use]
pub fn last(task: &wire::Task, look: &Look) -> String {
    let run = task.last_run.as_ref();
    let ended = || {
        let Some(run) = run else { return "never ran".to_owned() };
        let word = if run.state.is_failure() {
            run.state.name().to_uppercase()
        } else {
            run.state.name().to_owned()
        };
        let at = run.ended_at.or(run.started_at).or(run.scheduled_at);
        let at = at.map(|at| format!(" {}", look.instant(at))).unwrap_or_default();
        let why = match run.state {
            RunState::Ok => String::new(),
            _ => runs::why_so(run),
        };
        format!("{word}{at} {why}").trim_end().to_owned()
    };
    match task.state {
        TaskState::Running => {
            let took = run.map(|run| runs::took(run, look)).unwrap_or_default();
            format!("running {took}").trim_end().to_owned()
        }
        TaskState::Broken => "BROKEN file".to_owned(),
        TaskState::Off => "off (file)".to_owned(),
        TaskState::Paused => {
            let paused = task.paused.as_ref();
            let left =
                paused.and_then(|p| p.until).map(|at| format!(" {} left", look.left(at))).unwrap_or_default();
            let reason =
                paused.and_then(|p| p.reason.as_ref()).map(|r| format!(" \"{}\"", fit(r, REASON_COLUMNS)));
            format!("paused{left}{}", reason.unwrap_or_default())
        }
        TaskState::Done => "done".to_owned(),
        TaskState::Failing | TaskState::Manual | TaskState::New | TaskState::Ok => ended(),
    }
}

/// A diagnostic of a task's file on one line.
#[must_use]
pub fn diagnostic_line(problem: &wire::Diagnostic, look: &Look) -> String {
    let (tone, word) = match problem.severity {
        wire::Severity::Error => (Tone::Bad, "error"),
        wire::Severity::Warning => (Tone::Warn, "warning"),
        wire::Severity::Info => (Tone::Plain, "info"),
    };
    let mut place = clean(&problem.file).into_owned();
    for number in [problem.line, problem.column].into_iter().flatten() {
        place.push_str(&format!(":{number}"));
    }
    let word = look.paint(tone, &format!("{word}[{}]", clean(&problem.code)));
    format!("{word} {place} {}", clean(&problem.message))
}

#[cfg(test)]
pub mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look, visible};
    use super::super::runs::tests::run;
    use super::*;

    pub fn task(id: &str, state: TaskState) -> wire::Task {
        wire::Task {
            id: id.to_owned(),
            name: id.to_owned(),
            description: "Fetches what is new".to_owned(),
            tags: vec!["repo".to_owned()],
            enabled: state != TaskState::Off,
            state,
            kind: "command".to_owned(),
            schedule: "*/15 * * * *".to_owned(),
            schedule_human: "every 15m".to_owned(),
            timezone: "Africa/Johannesburg".to_owned(),
            next_at: Some("2026-11-26T11:45:00Z".parse().unwrap()),
            last_run: Some(run(8132, RunState::Ok)),
            recent: vec![
                RunState::Ok,
                RunState::Failed,
                RunState::Timeout,
                RunState::Skipped,
                RunState::Missed,
            ],
            timeout_ms: 600_000,
            paused: None,
            definition: wire::Definition {
                file: format!("tasks/{id}.md"),
                hash: "ab".repeat(32),
                stale: false,
            },
            problems: Vec::new(),
        }
    }

    pub fn diagnostic(file: &str, message: &str) -> wire::Diagnostic {
        wire::Diagnostic {
            file: file.to_owned(),
            line: Some(5),
            column: Some(1),
            end_line: None,
            end_column: None,
            severity: wire::Severity::Error,
            code: "E101".to_owned(),
            message: message.to_owned(),
            help: None,
        }
    }

    fn all_states() -> Vec<wire::Task> {
        let mut tasks: Vec<wire::Task> = STATES.into_iter().map(|state| task(name(state), state)).collect();
        for task in &mut tasks {
            match task.state {
                TaskState::Running => task.last_run = Some(run(8132, RunState::Running)),
                TaskState::Failing => {
                    task.last_run = Some(run(8100, RunState::Failed));
                    task.recent = vec![RunState::Failed; 14];
                }
                TaskState::Off | TaskState::Done | TaskState::Manual | TaskState::Broken => {
                    task.next_at = None;
                }
                TaskState::New => (task.last_run, task.recent) = (None, Vec::new()),
                TaskState::Paused | TaskState::Ok => {}
            }
            if task.state == TaskState::Paused {
                task.paused = Some(wire::Paused {
                    since: "2026-11-26T11:00:00Z".parse().unwrap(),
                    until: Some("2026-11-26T12:08:00Z".parse().unwrap()),
                    reason: Some("phone off".to_owned()),
                    actor: "cli:a".to_owned(),
                });
            }
        }
        let mut hostile = task(&HOSTILE.repeat(2), TaskState::Failing);
        hostile.schedule_human = HOSTILE.to_owned();
        let mut failed = run(1, RunState::Failed);
        failed.reason = Some(HOSTILE.to_owned());
        hostile.last_run = Some(failed);
        tasks.push(hostile);
        tasks
    }

    #[test]
    fn every_state_has_its_line_of_80_columns() {
        let text = render(&all_states(), 0, &look(Paint::Plain));
        assert!(text.lines().all(|line| super::super::look::columns(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_stale_task_is_no_healthy_one_and_a_long_reason_is_cut() {
        let look = Look { width: 1000, ..look(Paint::Plain) };
        let mut stale = task("stale", TaskState::Ok);
        stale.definition.stale = true;
        let text = render(&[stale], 3, &look);
        let line = text.lines().find(|line| line.contains("stale")).unwrap();
        assert!(line.starts_with("E ") && line.contains("stale: BROKEN file"), "{text}");
        assert!(text.contains("3 files with errors"), "files that give no task count: {text}");

        let mut paused = task("held", TaskState::Paused);
        let reason = Some("x".repeat(500));
        paused.paused = Some(wire::Paused { since: look.now, until: None, reason, actor: String::new() });
        let text = render(&[paused], 0, &look);
        assert!(text.lines().all(|line| super::super::look::columns(line) < 200), "{text}");
    }

    #[test]
    fn a_wide_terminal_shows_it_all() {
        insta::assert_snapshot!(render(&all_states(), 0, &Look { width: 140, ..look(Paint::Plain) }));
    }

    #[test]
    fn letters_stay_under_colours() {
        insta::assert_snapshot!(visible(&render(&all_states(), 0, &look(Paint::Ansi))));
    }

    #[test]
    fn states_are_named_as_on_the_wire() {
        for state in STATES {
            assert_eq!(serde_json::to_value(state).unwrap(), name(state));
        }
    }
}
