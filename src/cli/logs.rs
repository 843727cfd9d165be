//! `lucid logs`: a run's output, in a pipe byte for byte; `-f` follows it to its end. The logs that are no
//! run's are in `log_lines`.

use std::io::{Read as _, Write};

use super::context::{Context, accepted, api, quoted, run_reference};
use super::failure::{Exit, Failure};
use super::follow::{Follower, Output, detach_on_interrupt};
use super::{log_lines, screen};
use crate::api::wire;
use crate::model::ids::{RunId, TaskId};
use crate::platform::client::{ClientError, Request};

/// Most lines that the daemon looks back for.
const TAIL_MAX: u32 = 100_000;
/// Bytes that are carried at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The header in which the daemon says how long the whole log is.
const SIZE_HEADER: &str = "x-log-size";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (`8132` or `#8132`), or a task for its latest run
    #[arg(value_name = "RUN|ID", value_parser = subject, required_unless_present_any = ["daemon", "heartbeat"])]
    of: Option<Subject>,
    /// Follow until the run has ended; Ctrl-C ends the following, not the run
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last N lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(TAIL_MAX)))]
    tail: Option<u32>,
    /// The daemon's own log, not a run's; read from its file where the daemon is not there
    #[arg(long, conflicts_with = "of")]
    daemon: bool,
    /// The log of heartbeats
    #[arg(long, conflicts_with_all = ["of", "daemon"])]
    heartbeat: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Run(RunId),
    Task(TaskId),
}

/// A text that is a number is a run's: no command is needed to tell them apart.
fn subject(text: &str) -> Result<Subject, String> {
    match (text.parse(), TaskId::parse(text)) {
        (Ok(run), _) => Ok(Subject::Run(run)),
        (Err(_), Ok(task)) => Ok(Subject::Task(task)),
        (Err(error), Err(_)) if text.starts_with('#') => Err(error.to_string()),
        (Err(_), Err(error)) => Err(error.to_string()),
    }
}

/// # Errors
/// No such run, no daemon, or nobody who reads the output.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let run = match &args.of {
        Some(Subject::Run(run)) => run.0,
        Some(Subject::Task(task)) => latest(context, task)?,
        None => return log_lines::run(context, source(args), args.tail, following(args)),
    };
    let mut out = screen::standard(context);
    if !args.follow {
        if copy(context, run, args.tail, &mut out)? == 0 {
            drop(out);
            // An empty answer would leave open whether it was one.
            context.note(&format!("lucid: nothing was written by run {}", run_reference(run)));
        }
        return Ok(Exit::Done);
    }
    detach_on_interrupt(run)?;
    let from = match args.tail {
        Some(_) => copy(context, run, args.tail, &mut out)?,
        None => 0,
    };
    let ended = Follower::new(context, run, Output::From(from))?.follow(&mut out)?;
    drop(out);
    context.note(&super::run::last_line(&ended, None, &context.error_look()));
    Ok(Exit::Done)
}

/// The latest run of a task that has, or will have, output.
fn latest(context: &Context, task: &TaskId) -> Result<i64, Failure> {
    let path =
        api().segment("runs").query("task", task.as_str()).query("state", WITH_OUTPUT).query("limit", "1");
    let page = context.fetch::<wire::RunPage>(&Request::get(path))?;
    if let Some(run) = page.value.runs.first() {
        return Ok(run.id);
    }
    // Tells a task without runs from one that does not exist.
    context.ask(&Request::get(api().segment("tasks").segment(task.as_str())))?;
    Err(Failure::Ended {
        exit: Exit::NoSuchId,
        message: format!("{} has not run yet", quoted(task.as_str())),
        help: Some(format!("run it with `lucid run {task} --follow`")),
    })
}

/// Not those that never started anything.
const WITH_OUTPUT: &str = "live,ok,failed,timeout,killed,lost,blocked";

/// Copies the log to `out`; gives the offset after the last byte.
fn copy(context: &Context, run: i64, tail: Option<u32>, out: &mut dyn Write) -> Result<u64, Failure> {
    let mut path = api().segment("runs").segment(&run.to_string()).segment("log");
    path = match tail {
        None => path,
        // Nothing of what there is, only how much.
        Some(0) => path.query("offset", &u64::MAX.to_string()),
        Some(lines) => path.query("tail", &lines.to_string()),
    };
    let mut answer = accepted(context.client()?.send(&Request::get(path))?)?;
    let whole = answer.header(SIZE_HEADER).and_then(|size| size.parse().ok());
    let mut piece = vec![0; PIECE_BYTES];
    let mut copied = 0;
    loop {
        let read = answer.read(&mut piece).map_err(ClientError::Broken)?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        out.write_all(bytes).map_err(Failure::Output)?;
        copied += read as u64;
    }
    out.flush().map_err(Failure::Output)?;
    Ok(whole.unwrap_or(copied))
}

fn source(args: &Args) -> log_lines::Source {
    if args.heartbeat { log_lines::Source::Heartbeat } else { log_lines::Source::Daemon }
}

fn following(args: &Args) -> log_lines::Following {
    if args.follow { log_lines::Following::On } else { log_lines::Following::Off }
}

#[cfg(test)]
mod tests {
    use super::super::args::Globals;
    use super::super::runs::tests::run as some_run;
    use super::*;
    use crate::model::run::RunState;
    use crate::platform::client::played::{Daemon, Play, ok_json, problem};

    fn latest_of(plays: Vec<Play>) -> Result<i64, Failure> {
        let daemon = Daemon::play(plays);
        let context = Context::new(Globals { socket: Some(daemon.socket()), ..Globals::default() });
        latest(&context, &TaskId::parse("git-sync").unwrap())
    }

    #[test]
    fn a_tasks_log_is_its_latest_runs() {
        let page =
            |runs: &[wire::Run]| ok_json(&serde_json::json!({"runs": runs, "next_cursor": null}).to_string());
        assert_eq!(latest_of(vec![page(&[some_run(8132, RunState::Ok)])]).unwrap(), 8132);
        let none = latest_of(vec![page(&[]), ok_json("{}")]).unwrap_err();
        assert_eq!((none.exit(), none.to_string().as_str()), (Exit::NoSuchId, "`git-sync` has not run yet"));
        let unknown = latest_of(vec![page(&[]), problem(404, "no_such_task", "there is no task git-sync")]);
        assert_eq!(unknown.unwrap_err().to_string(), "there is no task git-sync");
    }

    #[test]
    fn a_number_is_a_run_and_a_name_a_task() {
        assert_eq!(subject("8132"), Ok(Subject::Run(RunId(8132))));
        assert_eq!(subject("#8132"), Ok(Subject::Run(RunId(8132))));
        assert_eq!(subject("0day"), Ok(Subject::Task(TaskId::parse("0day").unwrap())));
        assert!(subject("#x").unwrap_err().contains("a run is a number"));
        assert!(subject("No").unwrap_err().contains("no task id"));
    }
}
