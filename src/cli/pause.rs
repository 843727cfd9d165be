//! `lucid pause` and `lucid resume`: kept in the database, may end by itself, touches no file.

use std::time::Duration;

use super::context::{Context, api, quoted};
use super::failure::{Exit, Failure};
use super::instant::duration;
use super::look::{Look, clean, count};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The pause ends by itself after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,
    /// Shown wherever the pause is
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: Option<TaskId>,
    /// Every task
    #[arg(long)]
    all: bool,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let for_ms = args.length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    let body = serde_json::to_vec(&wire::PauseTask { for_ms, reason: args.reason.clone() })
        .map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?;
    send(context, &args.which, "pause", body)
}

/// # Errors
/// As [`Context::fetch`].
pub fn resume(context: &Context, args: &ResumeArgs) -> Result<Exit, Failure> {
    let Some(task) = &args.which.task else { return send(context, &args.which, "resume", b"{}".to_vec()) };
    let path = api().segment("tasks").segment(task.as_str());
    let before = context.fetch::<wire::TaskDocument>(&Request::get(path))?.value.task.paused;
    let path = api().segment("tasks").segment(task.as_str()).segment("resume");
    let document = context.fetch::<wire::TaskDocument>(&Request::post(path).json(b"{}".to_vec()))?;
    if is_held_by_all(before.as_ref(), document.value.task.paused.as_ref()) {
        return Err(Failure::Ended {
            exit: Exit::Conflict,
            message: format!("the whole schedule is paused, and {} with it", quoted(task.as_str())),
            help: Some("end the pause of everything: lucid resume --all".to_owned()),
        });
    }
    context.confirm(&document, |document, look| render_resumed(&document.task, before.as_ref(), look))
}

/// Whether the task had no pause of its own that could have been ended.
fn is_held_by_all(before: Option<&wire::Paused>, after: Option<&wire::Paused>) -> bool {
    after.is_some() && after == before
}

/// The answer alone does not tell a pause that has been ended from one that never was.
fn render_resumed(task: &wire::Task, before: Option<&wire::Paused>, look: &Look) -> String {
    match (before, &task.paused) {
        (Some(before), None) => {
            let since = look.instant(before.since);
            format!("the pause since {since} has been ended; {}", render_one(task, look))
        }
        (Some(before), Some(_)) => format!(
            "the pause since {} has been ended; the whole schedule is paused until `lucid resume --all`\n",
            look.instant(before.since)
        ),
        (None, _) => render_one(task, look),
    }
}

fn send(context: &Context, which: &Which, verb: &'static str, body: Vec<u8>) -> Result<Exit, Failure> {
    if let Some(task) = &which.task {
        let path = api().segment("tasks").segment(task.as_str()).segment(verb);
        let document = context.fetch::<wire::TaskDocument>(&Request::post(path).json(body))?;
        return context.confirm(&document, |document, look| render_one(&document.task, look));
    }
    let changed = context.fetch::<wire::TasksChanged>(&Request::post(api().segment(verb)).json(body))?;
    context.confirm(&changed, |changed, _| render_all(&changed.changed, verb))
}

fn render_one(task: &wire::Task, look: &Look) -> String {
    let name = quoted(&task.id);
    let Some(paused) = &task.paused else {
        let next = task.next_at.map(|at| format!(", next {} ({})", look.instant(at), look.until(at)));
        return format!("{name} is not paused{}\n", next.unwrap_or_default());
    };
    let end = match paused.until {
        Some(at) => format!("until {} ({})", look.instant(at), look.until(at)),
        None => format!("until `lucid resume {}`", clean(&task.id)),
    };
    let reason = paused.reason.as_ref().map(|reason| format!(": {}", clean(reason))).unwrap_or_default();
    format!("{name} is paused {end}{reason}\n")
}

fn render_all(changed: &[String], verb: &str) -> String {
    let names: Vec<String> = changed.iter().map(|id| format!("  {}\n", clean(id))).collect();
    format!("{verb}d {}\n{}", count(changed.len(), "task"), names.concat())
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::tasks::tests::task;
    use super::*;

    #[test]
    fn how_long_and_why() {
        let look = look(Paint::Plain);
        let open = wire::Paused {
            since: look.now,
            until: None,
            reason: Some(HOSTILE.to_owned()),
            actor: "cli:a".to_owned(),
        };
        let ends = wire::Paused {
            until: Some("2026-11-26T12:08:00Z".parse().unwrap()),
            reason: None,
            ..open.clone()
        };
        let mut lines = Vec::new();
        for paused in [Some(open), Some(ends), None] {
            let mut task = task("git-sync", wire::TaskState::Paused);
            task.paused = paused;
            lines.push(render_one(&task, &look));
        }
        lines.push(render_all(&["a".to_owned(), HOSTILE.to_owned()], "pause"));
        lines.push(render_all(&[], "resume"));
        insta::assert_snapshot!(lines.concat());
    }

    #[test]
    fn a_pause_that_was_ended_is_told_from_one_that_never_was() {
        let look = look(Paint::Plain);
        let paused = wire::Paused { since: look.now, until: None, reason: None, actor: "cli:a".to_owned() };
        let mut resumed = task("git-sync", wire::TaskState::Ok);
        (resumed.paused, resumed.next_at) = (None, None);
        let ended = render_resumed(&resumed, Some(&paused), &look);
        assert_eq!(ended, "the pause since 11:30 has been ended; `git-sync` is not paused\n");
        assert_eq!(render_resumed(&resumed, None, &look), "`git-sync` is not paused\n");
        resumed.paused = Some(paused.clone());
        assert!(is_held_by_all(Some(&paused), resumed.paused.as_ref()));
        let own = wire::Paused { actor: "cli:b".to_owned(), ..paused };
        assert!(!is_held_by_all(Some(&own), resumed.paused.as_ref()));
        let held = render_resumed(&resumed, Some(&own), &look);
        assert!(held.ends_with("the whole schedule is paused until `lucid resume --all`\n"), "{held}");
    }
}
