//! `lucid why`: why a task did or did not run at an instant, answered from the ledger.

use super::context::{Context, api, quoted, run_reference};
use super::failure::{Exit, Failure};
use super::instant::{Instant, instant};
use super::look::{Look, Tone, clean};
use super::runs;
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: TaskId,
    /// The instant to ask about [default: now]: `02:00`, `2026-11-26 02:00`, RFC 3339
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Instant>,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut path = api().segment("tasks").segment(args.task.as_str()).segment("why");
    if let Some(at) = args.at {
        path = path.query("at", &context.resolve(at)?.to_string());
    }
    let why = context.fetch::<wire::Why>(&Request::get(path))?;
    context.show(&why, render)
}

fn render(why: &wire::Why, look: &Look) -> String {
    let mut out = format!(
        "{} at {}\n{}\n",
        look.paint(Tone::Strong, &quoted(&why.task)),
        look.full_instant(why.at),
        clean(&why.answer)
    );
    let Some(run) = &why.row else { return out };
    let (tone, _) = runs::mark(run.state);
    let mut facts = vec![look.paint(tone, run.state.name())];
    let took = runs::took(run, look);
    if !took.is_empty() {
        facts.push(format!("took {took}"));
    }
    let reason = runs::why_so(run);
    if !reason.is_empty() {
        facts.push(clean(&reason).into_owned());
    }
    if !run.actor.is_empty() {
        facts.push(format!("by {}", clean(&run.actor)));
    }
    out.push_str(&format!("{} {}\n", run_reference(run.id), facts.join(" · ")));
    if run.started_at.is_some() {
        out.push_str(&look.paint(Tone::Live, &format!("lucid logs {}", run.id)));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look, visible};
    use super::super::runs::tests::run;
    use super::*;
    use crate::model::run::RunState;

    #[test]
    fn an_answer_with_and_without_its_row() {
        let mut why = wire::Why {
            schema_version: wire::SchemaVersion::default(),
            task: "nightly-tidy".to_owned(),
            at: "2026-11-26T11:28:48Z".parse().unwrap(),
            answer: "It ran at 11:28:48 and failed with exit code 128.".to_owned(),
            row: Some(run(8132, RunState::Failed)),
        };
        let full = render(&why, &look(Paint::Plain));
        let painted = visible(&render(&why, &look(Paint::Ansi)));
        (why.task, why.answer, why.row) = (HOSTILE.to_owned(), HOSTILE.to_owned(), None);
        insta::assert_snapshot!([full, painted, render(&why, &look(Paint::Plain))].join("--\n"));
    }
}
