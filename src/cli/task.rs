//! `lucid task`: everything about one task.

use super::context::{Context, api, run_reference};
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean, span};
use super::{runs, tasks};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::model::schedule::format_size;
use crate::platform::client::Request;

/// Columns of the names on the left.
const NAME_COLUMNS: usize = 12;
/// Lines of the task's text that are shown.
const BODY_LINES: usize = 12;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: TaskId,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = api().segment("tasks").segment(args.task.as_str());
    let document = context.fetch::<wire::TaskDocument>(&Request::get(path))?;
    context.show(&document, render)
}

/// Lines of a name and what it stands for; empty ones are left out.
struct Facts<'a> {
    look: &'a Look,
    text: String,
}

impl Facts<'_> {
    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.add_painted(name, &clean(value));
        }
    }

    /// As `add`, for a value that is clean and may be in colour.
    fn add_painted(&mut self, name: &str, value: &str) {
        let name = self.look.paint(Tone::Faint, &format!("{name:<NAME_COLUMNS$}"));
        self.text.push_str(&format!("  {name} {value}\n"));
    }
}

fn render(document: &wire::TaskDocument, look: &Look) -> String {
    let task = &document.task;
    let (tone, mark) = tasks::mark(task.state);
    let mut facts = Facts { look, text: String::new() };
    facts.text = format!(
        "{} {}  {}\n",
        look.paint(tone, mark),
        look.paint(Tone::Strong, &clean(&task.id)),
        look.paint(tone, &clean(&tasks::last(task, look)))
    );
    if !task.description.is_empty() {
        facts.text.push_str(&format!("  {}\n", clean(&task.description)));
    }
    facts.text.push('\n');
    about(&mut facts, task);
    if let Some(settings) = &document.settings {
        about_settings(&mut facts, task, settings);
    }
    let recent: String = task.recent.iter().map(|state| runs::mark(*state).1).collect();
    facts.add("recent", &recent);
    if let Some(run) = &task.last_run {
        last_run(&mut facts, run);
    }
    let mut out = facts.text;
    if !task.problems.is_empty() {
        out.push('\n');
    }
    for problem in &task.problems {
        out.push_str(&format!("  {}\n", tasks::diagnostic_line(problem, look)));
    }
    if let Some(settings) = document.settings.as_ref().filter(|settings| !settings.body.is_empty()) {
        out.push_str(&body(&settings.body, &task.description, look));
    }
    out
}

fn about(facts: &mut Facts<'_>, task: &wire::Task) {
    let look = facts.look;
    facts.add("file", &task.definition.file);
    if task.definition.stale {
        facts.add_painted("", &look.paint(Tone::Warn, "has errors; its last good version counts for now"));
    }
    let words = if task.schedule_human == task.schedule || task.schedule_human.is_empty() {
        task.schedule.clone()
    } else {
        format!("{} ({})", task.schedule, task.schedule_human)
    };
    if !words.is_empty() {
        facts.add("schedule", &format!("{words} · {}", task.timezone));
    }
    if let Some(at) = task.next_at {
        facts.add("next", &format!("{} ({})", look.full_instant(at), look.until(at)));
    }
    if let Some(paused) = &task.paused {
        let end = paused
            .until
            .map_or_else(|| "until resumed".to_owned(), |at| format!("until {}", look.instant(at)));
        let reason = paused.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        facts.add("paused", &format!("{end} by {}{reason}", paused.actor));
    }
    facts.add("tags", &task.tags.join(", "));
}

fn about_settings(facts: &mut Facts<'_>, task: &wire::Task, settings: &wire::TaskSettings) {
    facts.add("owner", settings.owner.as_deref().unwrap_or_default());
    facts.add(&task.kind, &settings.command.join(" "));
    facts.add("folder", settings.working_dir.as_deref().unwrap_or_default());
    facts.add("env", &settings.env.join(" "));
    facts.add("secrets", &settings.secrets.join(" "));
    let mut limits =
        format!("timeout {} · kill grace {}", span(settings.timeout_ms), span(settings.kill_grace_ms));
    if let Some(idle) = settings.idle_timeout_ms {
        limits.push_str(&format!(" · idle {}", span(idle)));
    }
    limits.push_str(&format!(" · output {}", format_size(settings.log_max_bytes)));
    facts.add("limits", &limits);
    let mut rules = format!("overlap {} · catch up {}", settings.overlap, settings.catch_up);
    if settings.retries.max > 0 {
        let retries = &settings.retries;
        rules.push_str(&format!(" · up to {} retries after {}", retries.max, span(retries.delay_ms)));
    }
    facts.add("rules", &rules);
    facts.add("locks", &settings.locks.join(" "));
    facts.add("pool", settings.pool.as_deref().unwrap_or_default());
    facts.add("grants", &settings.grants.join(" "));
}

fn last_run(facts: &mut Facts<'_>, run: &wire::Run) {
    let (look, (tone, _)) = (facts.look, runs::mark(run.state));
    let mut words = vec![format!("{} {}", run_reference(run.id), look.paint(tone, run.state.name()))];
    if let Some(at) = run.ended_at.or(run.started_at) {
        words.push(look.instant(at));
    }
    let took = runs::took(run, look);
    if !took.is_empty() {
        words.push(took);
    }
    let why = runs::why_so(run);
    if !why.is_empty() {
        words.push(clean(&why).into_owned());
    }
    words.extend(runs::again(run, look));
    words.push(look.paint(Tone::Live, &format!("lucid logs {}", run.id)));
    facts.add_painted("last run", &words.join(" · "));
    if run.retry_at.is_some() {
        facts.add_painted("", &look.paint(Tone::Faint, &format!("no more tries: lucid kill {}", run.id)));
    }
}

/// The text below the front-matter, without a first line that stands above as the description.
fn body(body: &str, description: &str, look: &Look) -> String {
    let whole = body.trim();
    let (first, rest) = whole.split_once('\n').unwrap_or((whole, ""));
    let is_said = first.trim_start_matches('#').trim() == description;
    let lines: Vec<&str> = if is_said { rest.trim() } else { whole }.lines().collect();
    if lines.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n");
    for line in lines.iter().take(BODY_LINES) {
        out.push_str(format!("  {}", clean(line)).trim_end());
        out.push('\n');
    }
    if lines.len() > BODY_LINES {
        let more = format!("  … {} more lines in the file", lines.len() - BODY_LINES);
        out.push_str(&look.paint(Tone::Faint, &more));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look, visible};
    use super::super::runs::tests::run;
    use super::super::tasks::tests::{diagnostic, task};
    use super::*;
    use crate::model::run::RunState;

    fn settings() -> wire::TaskSettings {
        wire::TaskSettings {
            command: vec!["git".to_owned(), "fetch".to_owned()],
            through_shell: false,
            jitter_ms: 0,
            overlap: "skip".to_owned(),
            locks: vec!["repo".to_owned()],
            catch_up: "latest".to_owned(),
            catch_up_window_ms: 21_600_000,
            timeout_ms: 600_000,
            kill_grace_ms: 10_000,
            idle_timeout_ms: Some(60_000),
            retries: wire::Retries {
                max: 2,
                delay_ms: 30_000,
                backoff_milli: 2_000,
                max_delay_ms: 600_000,
                when: vec!["exit".to_owned()],
            },
            on_interrupt: "fail".to_owned(),
            success_codes: vec![0],
            working_dir: Some("~/workspace".to_owned()),
            env: vec!["RUST_BACKTRACE".to_owned()],
            env_file: None,
            secrets: vec!["GITHUB_TOKEN".to_owned()],
            pool: None,
            log_max_bytes: 10_000_000,
            keep_runs: 200,
            keep_for_ms: 7_776_000_000,
            deliver: "none".to_owned(),
            grants: Vec::new(),
            owner: Some("ops".to_owned()),
            body: (1..=14).map(|n| format!("Line {n}\n")).collect(),
            more: std::collections::BTreeMap::new(),
        }
    }

    fn document() -> wire::TaskDocument {
        let mut task = task("git-sync", wire::TaskState::Failing);
        task.last_run = Some(run(8100, RunState::Failed));
        task.problems =
            vec![diagnostic("tasks/git-sync.md", "unknown key \"timout\", did you mean \"timeout\"?")];
        task.definition.stale = true;
        wire::TaskDocument {
            schema_version: wire::SchemaVersion::default(),
            task,
            settings: Some(settings()),
        }
    }

    #[test]
    fn the_whole_task() {
        insta::assert_snapshot!(render(&document(), &look(Paint::Plain)));
    }

    #[test]
    fn the_bodys_first_line_is_not_told_twice() {
        let look = look(Paint::Plain);
        assert_eq!(body("# Fetches\n\nMore.\n", "Fetches", &look), "\n  More.\n");
        assert_eq!(body("Fetches\n", "Fetches", &look), "");
        assert_eq!(body("Fetches\nMore.\n", "Other", &look), "\n  Fetches\n  More.\n");
    }

    #[test]
    fn the_whole_task_in_colour() {
        insta::assert_snapshot!(visible(&render(&document(), &look(Paint::Ansi))));
    }

    #[test]
    fn a_hostile_one_without_settings() {
        let mut document = document();
        document.settings = None;
        document.task.id = HOSTILE.to_owned();
        document.task.description = HOSTILE.to_owned();
        document.task.schedule = HOSTILE.to_owned();
        document.task.problems = vec![diagnostic(HOSTILE, HOSTILE)];
        insta::assert_snapshot!(render(&document, &look(Paint::Plain)));
    }
}
