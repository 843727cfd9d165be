//! `lucid run`: starts a task now; waits for its end or follows its output where that is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::{Context, Document, accepted, api, quoted, run_reference};
use super::failure::{Exit, Failure, Problem};
use super::follow::{Follower, Output, detach_on_interrupt, exit_of};
use super::instant::duration;
use super::look::{Look, Tone, clean, span};
use super::{runs, screen};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::model::run::Waiting;
use crate::platform::client::{ClientError, Request};

/// Bytes of randomness in an idempotency key.
const KEY_BYTES: usize = 16;
/// How often a request whose answer was lost is sent again, with the same key.
const SENDS_MAX: u32 = 3;
/// Pause between two of them, in milliseconds.
const RESEND_MS: u64 = 300;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: TaskId,
    /// Wait for the end of this attempt; the exit code is its own, a retry is another run
    #[arg(long, group = "to_the_end", conflicts_with = "follow")]
    wait: bool,
    /// Show the output as it comes; the exit code as with --wait
    #[arg(long, short, group = "to_the_end")]
    follow: bool,
    /// Wait or follow no longer than this; the run goes on
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "to_the_end")]
    wait_timeout: Option<Duration>,
    /// Run although the task is disabled or paused
    #[arg(long)]
    force: bool,
    /// Add to the run's environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

/// # Errors
/// As [`Context::fetch`]; a task that is running already is a conflict that names the run.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.follow && context.globals.json {
        return Err(Failure::usage(
            "`--follow` shows the run's output, `--json` a document",
            "use `--wait --json`",
        ));
    }
    let wanted =
        wire::StartRun { env: args.env.iter().cloned().collect::<BTreeMap<_, _>>(), force: args.force };
    let path = api().segment("tasks").segment(args.task.as_str()).segment("runs");
    let started =
        start(context, path.into(), &wanted).map_err(|failure| named(context, &args.task, failure))?;
    if args.wait || args.follow {
        return to_the_end(context, &started, args);
    }
    show_started(context, &started)
}

/// Tells of a run that goes on by itself; that it does is no result, so `--quiet` keeps it back.
///
/// # Errors
/// As [`Context::show`].
pub fn show_started(context: &Context, started: &Document<wire::RunDocument>) -> Result<Exit, Failure> {
    if context.globals.quiet && !context.globals.json {
        return Ok(Exit::Done);
    }
    context.show(started, |started, look| render_started(&started.run, look))
}

/// Asks for a run, again when the answer is lost: the key makes it one run however often it is asked for.
///
/// # Errors
/// As [`Context::fetch`].
pub fn start(
    context: &Context,
    path: String,
    body: &impl serde::Serialize,
) -> Result<Document<wire::RunDocument>, Failure> {
    let body =
        serde_json::to_vec(body).map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?;
    let request = Request::post(path).json(body).header("Idempotency-Key", key()?);
    let mut sends = 1;
    loop {
        match context.fetch::<wire::RunDocument>(&request) {
            Err(Failure::Client(ClientError::Broken(_) | ClientError::TimedOut { .. }))
                if sends < SENDS_MAX =>
            {
                sends += 1;
                std::thread::sleep(Duration::from_millis(RESEND_MS));
            }
            done => return done,
        }
    }
}

fn key() -> Result<String, Failure> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    Ok(crate::model::text::hex(&bytes))
}

/// A conflict with a live run is told with that run's number, as what the person wants next is to see it.
fn named(context: &Context, task: &TaskId, failure: Failure) -> Failure {
    let Failure::Refused(problem) = failure else { return failure };
    if problem.code.as_deref() == Some("bad_env") {
        return Failure::usage(problem.to_string(), problem.help.unwrap_or_default());
    }
    match live_run(context, task, &problem) {
        Some(live) => Failure::Ended {
            exit: Exit::Conflict,
            message: already_running(&live, &context.error_look()),
            help: None,
        },
        None => Failure::Refused(problem),
    }
}

fn live_run(context: &Context, task: &TaskId, problem: &Problem) -> Option<wire::Run> {
    if problem.status != 409 || problem.code.as_deref() != Some("already_running") {
        return None;
    }
    let path = api().segment("runs").query("task", task.as_str()).query("state", "live").query("limit", "1");
    let page = context.fetch::<wire::RunPage>(&Request::get(path)).ok()?;
    page.value.runs.into_iter().next()
}

fn already_running(live: &wire::Run, look: &Look) -> String {
    let took = runs::took(live, look);
    let took = if took.is_empty() { String::new() } else { format!(" ({took})") };
    let does = match live.waiting {
        None => "is already running",
        Some(Waiting::Overlap) => "is waiting for the run before it",
        Some(Waiting::Lock) => "is waiting for a lock",
        Some(Waiting::Parallel) => "is waiting for a place",
    };
    format!("{} {does}{took}. Follow it: lucid logs -f {}", run_reference(live.id), live.id)
}

/// Stays until the run has ended; the first and the last line go to standard error.
fn to_the_end(
    context: &Context,
    started: &Document<wire::RunDocument>,
    args: &Args,
) -> Result<Exit, Failure> {
    let run = &started.value.run;
    detach_on_interrupt(run.id)?;
    let speaks = !context.globals.quiet && !context.globals.json;
    if speaks {
        let limit = task_of(context, &run.task).map(|task| task.timeout_ms);
        context.note(&first_line(run, limit, &context.error_look()));
    }
    let output = if args.follow { Output::From(0) } else { Output::Unwanted };
    let follower = Follower::new(context, run.id, output)?.within(args.wait_timeout);
    let mut out = screen::standard(context);
    let ended = follower.follow(&mut out)?;
    drop(out);
    if context.globals.json {
        let path = api().segment("runs").segment(&ended.id.to_string());
        context.print_json(&accepted(context.client()?.send(&Request::get(path))?)?.bytes()?)?;
    } else if speaks {
        let next = task_of(context, &run.task).and_then(|task| task.next_at);
        context.note(&last_line(&ended, next, &context.error_look()));
    }
    Ok(exit_of(&ended))
}

/// The task of a run, for the words around its output; they do without when it cannot be had.
fn task_of(context: &Context, id: &str) -> Option<wire::Task> {
    let path = api().segment("tasks").segment(id);
    context.fetch::<wire::TaskDocument>(&Request::get(path)).ok().map(|document| document.value.task)
}

fn render_started(run: &wire::Run, look: &Look) -> String {
    let what = runs::why_so(run);
    let waits = if run.waiting.is_some() { format!(" ({})", clean(&what)) } else { String::new() };
    format!(
        "{} {}{waits}. Follow it: {}\n",
        run_reference(run.id),
        quoted(&run.task),
        look.paint(Tone::Live, &format!("lucid logs -f {}", run.id))
    )
}

fn first_line(run: &wire::Run, limit_ms: Option<i64>, look: &Look) -> String {
    let limit = limit_ms.map(|ms| format!(" · limit {}", span(ms))).unwrap_or_default();
    look.paint(Tone::Faint, &format!("run {} {}{limit}", run_reference(run.id), clean(&run.task)))
}

pub fn last_line(run: &wire::Run, next: Option<jiff::Timestamp>, look: &Look) -> String {
    let (tone, _) = runs::mark(run.state);
    let mut line = look.paint(tone, run.state.name());
    let took = runs::took(run, look);
    if !took.is_empty() {
        line.push_str(&format!(" in {took}"));
    }
    if run.exit_code == Some(0) {
        line.push_str(" · exit 0");
    }
    let why = runs::why_so(run);
    if !why.is_empty() {
        line.push_str(&format!(" · {}", clean(&why)));
    }
    if let Some(again) = runs::again(run, look) {
        line.push_str(&format!(" · {again}"));
    }
    if let Some(at) = next {
        line.push_str(&format!(" · next {} ({})", look.instant(at), look.until(at)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::runs::tests::run;
    use super::*;
    use clap::Parser as _;

    use super::super::args::{Cli, Command, Globals};
    use crate::model::run::RunState;
    use crate::platform::client::played::{Daemon, ok_json, problem, raw};

    #[test]
    fn the_words_around_a_run() {
        let look = look(Paint::Plain);
        let mut hostile = run(8133, RunState::Failed);
        (hostile.task, hostile.reason) = (HOSTILE.to_owned(), Some("line\nbreak".to_owned()));
        let mut waiting = run(8134, RunState::Claimed);
        (waiting.waiting, waiting.started_at) = (Some(Waiting::Parallel), None);
        let next = Some("2026-11-29T02:00:00Z".parse().unwrap());
        let lines = [
            first_line(&run(8133, RunState::Running), Some(600_000), &look),
            first_line(&hostile, None, &look),
            last_line(&run(8133, RunState::Ok), next, &look),
            last_line(&hostile, None, &look),
            last_line(&run(8133, RunState::Timeout), next, &look),
            already_running(&run(8132, RunState::Running), &look),
            already_running(&waiting, &look),
            render_started(&run(8133, RunState::Running), &look).trim_end().to_owned(),
            render_started(&waiting, &look).trim_end().to_owned(),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn keys_differ() {
        let (a, b) = (key().unwrap(), key().unwrap());
        assert_eq!(a.len(), 2 * KEY_BYTES);
        assert_ne!(a, b);
    }

    fn context(daemon: &Daemon) -> Context {
        Context::new(Globals { socket: Some(daemon.socket()), quiet: true, ..Globals::default() })
    }

    fn header<'a>(request: &'a str, name: &str) -> &'a str {
        request.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_with_the_same_key() {
        let document = serde_json::json!({"schema_version": 1, "run": run(8133, RunState::Claimed)});
        let daemon = Daemon::play(vec![raw(""), raw("HTTP/1.1 202 Acc"), ok_json(&document.to_string())]);
        let started = start(&context(&daemon), "/x".to_owned(), &wire::StartRun::default()).unwrap();
        assert_eq!(started.value.run.id, 8133);
        let keys: Vec<String> =
            daemon.requests().iter().map(|r| header(r, "Idempotency-Key: ").to_owned()).collect();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 2 * KEY_BYTES));
    }

    #[test]
    fn a_task_that_runs_already_is_a_conflict_that_names_the_run() {
        let page = serde_json::json!({"runs": [run(8132, RunState::Running)], "next_cursor": null});
        let plays = vec![problem(409, "already_running", "busy"), ok_json(&page.to_string())];
        let daemon = Daemon::play(plays);
        let cli = Cli::parse_from(["lucid", "run", "nightly-tidy", "--env", "A=b=c", "--force"]);
        let Command::Run(args) = cli.command else { panic!("not run") };
        let failure = super::run(&context(&daemon), &args).unwrap_err();
        assert_eq!(failure.exit(), Exit::Conflict);
        let text = failure.to_string();
        assert!(text.starts_with("#8132 is already running ("), "{text}");
        assert!(text.ends_with("). Follow it: lucid logs -f 8132"), "{text}");
        let requests = daemon.requests();
        assert!(
            requests[0].starts_with("POST /api/v1/tasks/nightly-tidy/runs HTTP/1.1\r\n"),
            "{}",
            requests[0]
        );
        assert!(requests[0].ends_with(r#"{"env":{"A":"b=c"},"force":true}"#), "{}", requests[0]);
        assert!(requests[1].starts_with("GET /api/v1/runs?task=nightly-tidy&state=live&limit=1 "));
    }

    #[test]
    fn what_cannot_be_meant_is_a_usage_error() {
        let daemon = Daemon::play(vec![problem(422, "bad_env", "`1A` is no variable name")]);
        let Command::Run(args) = Cli::parse_from(["lucid", "run", "x", "--env", "1A=b"]).command else {
            panic!("not run")
        };
        let failure = super::run(&context(&daemon), &args).unwrap_err();
        assert_eq!((failure.exit(), failure.help().as_deref()), (Exit::Usage, Some("do this")));
        let parses = |args: &[&str]| Cli::try_parse_from(["lucid", "run", "x"].iter().chain(args)).is_ok();
        assert!(!parses(&["--wait-timeout", "5s"]) && !parses(&["--wait", "--follow"]));
        assert!(parses(&["--wait-timeout", "5s", "--wait"]) && parses(&["--wait-timeout", "5s", "-f"]));
    }

    #[test]
    fn other_conflicts_keep_the_daemons_words() {
        let daemon = Daemon::play(vec![problem(409, "disabled", "nightly-tidy is disabled")]);
        let cli = Cli::parse_from(["lucid", "run", "nightly-tidy"]);
        let Command::Run(args) = cli.command else { panic!("not run") };
        let failure = super::run(&context(&daemon), &args).unwrap_err();
        assert_eq!(
            (failure.exit(), failure.to_string().as_str()),
            (Exit::Conflict, "nightly-tidy is disabled")
        );
        assert_eq!(failure.help().as_deref(), Some("do this"));
    }
}
