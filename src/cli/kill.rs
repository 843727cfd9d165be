//! `lucid kill`: ends a run and everything it started, or drops the retry that one which failed waits for.

use std::time::Duration;

use super::context::{Context, api, quoted, run_reference};
use super::failure::{Exit, Failure};
use super::instant::duration;
use super::look::{Look, Tone};
use super::runs;
use crate::api::wire;
use crate::model::ids::{IdError, RunId, TaskId};
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its number, as `lucid runs` shows it
    #[arg(value_name = "RUN", value_parser = a_run)]
    run: RunId,
    /// Time between SIGTERM and SIGKILL [else: the task's kill_grace]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<Duration>,
}

/// A task has a name, a run a number; the name is what people try first.
pub fn a_run(text: &str) -> Result<RunId, String> {
    text.parse().map_err(|error: IdError| match TaskId::parse(text) {
        Ok(task) => format!("{}; of the task `{task}`, `lucid runs {task}` shows them", error.why),
        Err(_) => error.why.to_owned(),
    })
}

/// # Errors
/// As [`Context::fetch`]; a run that has ended is a conflict.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let grace_ms = args.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let body = serde_json::to_vec(&wire::KillRun { grace_ms })
        .map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?;
    let path = api().segment("runs").segment(&args.run.0.to_string()).segment("kill");
    let killed = context.fetch::<wire::RunDocument>(&Request::post(path).json(body))?;
    context.confirm(&killed, |killed, look| render(&killed.run, look))
}

fn render(run: &wire::Run, look: &Look) -> String {
    let (tone, _) = runs::mark(run.state);
    let what = if run.state.is_live() {
        look.paint(Tone::Live, "is asked to end")
    } else {
        look.paint(tone, run.state.name())
    };
    let retry = if run.state.has_failed() { "; it is not tried again" } else { "" };
    format!("{} {} {what}{retry}\n", run_reference(run.id), quoted(&run.task))
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::look;
    use super::super::runs::tests::run;
    use super::*;
    use crate::model::run::RunState;

    #[test]
    fn a_tasks_name_is_explained() {
        assert_eq!(a_run("#7").unwrap(), RunId(7));
        assert!(a_run("long").unwrap_err().ends_with("`lucid runs long` shows them"));
        assert!(!a_run("#x").unwrap_err().contains("lucid runs"));
    }

    #[test]
    fn what_became_of_it_is_said() {
        let look = look(Paint::Plain);
        assert_eq!(render(&run(7, RunState::Stopping), &look), "#7 `nightly-tidy` is asked to end\n");
        assert_eq!(render(&run(7, RunState::Killed), &look), "#7 `nightly-tidy` killed\n");
        let failed = render(&run(7, RunState::Failed), &look);
        assert_eq!(failed, "#7 `nightly-tidy` failed; it is not tried again\n");
    }
}
