//! `lucid runs`: the ledger, newest first, and the words for one row of it that other commands use too.

use jiff::Timestamp;
use serde_json::Value;

use super::context::{Context, Document, api, run_reference};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::instant::{Instant, since};
use super::look::{Look, Tone, span};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::model::run::{RunState, Waiting};
use crate::platform::client::Request;

/// Rows that one request may ask for.
const PAGE_MAX: u32 = 500;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this task's
    #[arg(value_name = "ID", value_parser = TaskId::parse)]
    task: Option<TaskId>,
    /// Only from this time on: `24h` before now, `02:00`, `2026-11-26`
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Instant>,
    /// Only those that failed, in whatever way
    #[arg(long, conflicts_with = "state")]
    failed: bool,
    /// Only these states, separated by commas; `live` stands for all that have not ended
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// How many
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
}

fn state(text: &str) -> Result<String, String> {
    if text == "live" || text == "failing" || RunState::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = RunState::ALL.into_iter().map(RunState::name).collect();
    Err(format!("there are: live, {}", names.join(", ")))
}

/// # Errors
/// As [`Context::fetch`] and [`Context::show`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let page = fetch(context, args)?;
    context.show(&page, |page, look| render(&page.runs, look))
}

/// As many pages as it takes, joined into one document.
fn fetch(context: &Context, args: &Args) -> Result<Document<wire::RunPage>, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = args.n.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let page = context.fetch::<Value>(&request(context, args, left.min(PAGE_MAX), cursor.as_deref())?)?;
        let mut document = page.value;
        let got =
            document.get_mut("runs").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        let is_last = got.is_empty();
        rows.extend(got);
        cursor = document.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || is_last || rows.len() >= args.n as usize {
            if let Some(place) = document.get_mut("runs") {
                *place = Value::Array(rows);
            }
            let bad = |error| anyhow::anyhow!("the daemon's answer does not read as expected: {error}");
            let raw = serde_json::to_vec(&document).map_err(bad)?;
            return Ok(Document { raw, value: serde_json::from_value(document).map_err(bad)? });
        }
    }
}

fn request(context: &Context, args: &Args, limit: u32, cursor: Option<&str>) -> Result<Request, Failure> {
    let mut target = api().segment("runs").query("limit", &limit.to_string());
    if let Some(task) = &args.task {
        target = target.query("task", task.as_str());
    }
    if args.failed {
        target = target.query("state", "failing");
    } else if !args.state.is_empty() {
        target = target.query("state", &args.state.join(","));
    }
    if let Some(since) = args.since {
        target = target.query("since", &context.resolve(since)?.to_string());
    }
    if let Some(cursor) = cursor {
        target = target.query("cursor", cursor);
    }
    Ok(Request::get(target))
}

fn render(runs: &[wire::Run], look: &Look) -> String {
    if runs.is_empty() {
        return "No runs.\n".to_owned();
    }
    let mut grid = Grid::new(&["", "RUN", "TASK", "STATE", "WHEN", "TOOK", "BY", "WHY"], &[7, 2, 3]);
    for run in runs {
        let (tone, mark) = mark(run.state);
        grid.row(vec![
            Cell::new(tone, mark),
            Cell::plain(&run_reference(run.id)),
            Cell::plain(&work(run)),
            Cell::new(tone, run.state.name()),
            Cell::plain(
                &run.started_at
                    .or(run.scheduled_at)
                    .or(run.ended_at)
                    .map_or(String::new(), |at| when(at, look)),
            ),
            Cell::plain(&took(run, look)).right(),
            Cell::plain(run.trigger.name()),
            Cell::plain(&join(why_so(run), again(run, look))),
        ]);
    }
    grid.render(look)
}

fn join(why: String, again: Option<String>) -> String {
    [Some(why).filter(|why| !why.is_empty()), again].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// When a run that waits for its retry has it.
#[must_use]
pub fn again(run: &wire::Run, look: &Look) -> Option<String> {
    run.retry_at.map(|at| format!("tried again {}", look.until(at)))
}

/// The task; for an attempt on a ticket, also that.
fn work(run: &wire::Run) -> String {
    run.ticket.as_ref().map_or_else(|| run.task.clone(), |ticket| format!("{} {ticket}", run.task))
}

/// The letter that stands for a state in a row of results, and its tone.
#[must_use]
pub fn mark(state: RunState) -> (Tone, &'static str) {
    match state {
        RunState::Ok => (Tone::Good, "."),
        RunState::Failed => (Tone::Bad, "x"),
        RunState::Timeout => (Tone::Bad, "t"),
        RunState::Killed => (Tone::Warn, "k"),
        RunState::Lost => (Tone::Bad, "l"),
        RunState::KillFailed => (Tone::Bad, "K"),
        RunState::Blocked => (Tone::Warn, "b"),
        RunState::NotStarted => (Tone::Warn, "n"),
        RunState::Skipped => (Tone::Faint, "s"),
        RunState::Missed => (Tone::Warn, "m"),
        RunState::Claimed => (Tone::Live, "w"),
        RunState::Running | RunState::Stopping => (Tone::Live, ">"),
    }
}

/// How long it took, or has taken; empty before the start.
#[must_use]
pub fn took(run: &wire::Run, look: &Look) -> String {
    let live = run.started_at.filter(|_| run.state.is_live()).map(|at| look.since(at));
    live.or_else(|| run.duration_ms.map(span)).unwrap_or_default()
}

/// What the state alone does not say: the code, the signal, the reason, what it waits for.
#[must_use]
pub fn why_so(run: &wire::Run) -> String {
    let mut facts = Vec::new();
    if let Some(waiting) = run.waiting {
        facts.push(match waiting {
            Waiting::Overlap => "waits for the run before it".to_owned(),
            Waiting::Lock => "waits for a lock".to_owned(),
            Waiting::Parallel => "waits for a place".to_owned(),
        });
    }
    if run.state == RunState::Timeout {
        // That lucid sent the signal is no news.
        facts.push("timed out".to_owned());
    } else if let Some(signal) = run.signal {
        facts.push(format!("signal {signal}"));
    } else if let Some(code) = run.exit_code.filter(|code| *code != 0) {
        facts.push(format!("exit {code}"));
    }
    if let Some(count) = run.missed_count {
        facts.push(super::look::count(usize::try_from(count).unwrap_or(usize::MAX), "time"));
    }
    let said = |reason: &&str| {
        (matches!(*reason, "exit" | "signal") && !facts.is_empty()) || *reason == run.state.name()
    };
    let reason = run.reason.as_deref().filter(|reason| !said(reason));
    facts.extend(reason.map(in_words).map(str::to_owned));
    if run.attempt > 1 {
        facts.push(format!("attempt {}", run.attempt));
    }
    facts.join(", ")
}

/// Words for the reasons that are names of lucid's own parts.
fn in_words(reason: &str) -> &str {
    match reason {
        "keeper_killed" => "its keeper was killed",
        "result_unreadable" => "its result cannot be read",
        "directory_gone" => "its directory was removed",
        "reboot" => "the machine restarted",
        other => other,
    }
}

/// An instant; with seconds while it is so near that they matter.
fn when(at: Timestamp, look: &Look) -> String {
    if look.now.duration_since(at).abs() < jiff::SignedDuration::from_hours(1) {
        return at.to_zoned(look.zone.clone()).strftime("%H:%M:%S").to_string();
    }
    look.instant(at)
}

#[cfg(test)]
pub mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;
    use clap::Parser as _;

    use super::super::args::{Cli, Command, Globals};
    use crate::model::run::Trigger;
    use crate::platform::client::played::{Daemon, ok_json};

    pub fn run(id: i64, state: RunState) -> wire::Run {
        let ended = !state.is_live();
        wire::Run {
            id,
            task: "nightly-tidy".to_owned(),
            ticket: None,
            attempt: 1,
            trigger: Trigger::Schedule,
            state,
            reason: None,
            exit_code: match state {
                RunState::Ok => Some(0),
                RunState::Failed => Some(128),
                _ => None,
            },
            signal: (state == RunState::Timeout).then_some(15),
            actor: "scheduler".to_owned(),
            scheduled_at: Some("2026-11-26T11:28:48Z".parse().unwrap()),
            started_at: Some("2026-11-26T11:28:48Z".parse().unwrap()),
            ended_at: ended.then(|| "2026-11-26T11:28:52Z".parse().unwrap()),
            duration_ms: ended.then_some(4_200),
            late_ms: Some(12),
            log_bytes: Some(96),
            waiting: None,
            stop_reason: None,
            retry_at: None,
            missed_to: None,
            missed_count: None,
        }
    }

    fn every_state() -> Vec<wire::Run> {
        let mut runs: Vec<wire::Run> =
            RunState::ALL.into_iter().zip(8100..).map(|(state, id)| run(id, state)).collect();
        let mut hostile = run(9000, RunState::Failed);
        (hostile.task, hostile.reason) = (HOSTILE.repeat(2), Some(HOSTILE.repeat(3)));
        hostile.trigger = Trigger::Retry;
        hostile.attempt = 2;
        let mut waiting = run(9001, RunState::Claimed);
        (waiting.waiting, waiting.started_at, waiting.trigger) = (Some(Waiting::Lock), None, Trigger::Manual);
        let mut missed = run(9002, RunState::Missed);
        (missed.missed_count, missed.started_at, missed.duration_ms) = (Some(14), None, None);
        runs.extend([hostile, waiting, missed]);
        runs
    }

    #[test]
    fn every_state_has_its_row_on_one_line_of_80_columns() {
        let text = render(&every_state(), &look(Paint::Plain));
        assert!(text.lines().all(|line| super::super::look::columns(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn colours_come_on_top_of_letters() {
        let painted = render(&[run(1, RunState::Ok), run(2, RunState::Failed)], &look(Paint::Ansi));
        insta::assert_snapshot!(super::super::look::tests::visible(&painted));
    }

    #[test]
    fn reasons_are_words_and_nothing_is_said_twice() {
        let mut lost = run(1, RunState::Lost);
        lost.reason = Some("keeper_killed".to_owned());
        assert_eq!(why_so(&lost), "its keeper was killed");
        let mut missed = run(2, RunState::Missed);
        (missed.reason, missed.missed_count) = (Some("missed".to_owned()), Some(1));
        assert_eq!(why_so(&missed), "1 time");
    }

    #[test]
    fn near_instants_have_seconds() {
        let look = look(Paint::Plain);
        assert_eq!(when("2026-11-26T11:28:48Z".parse().unwrap(), &look), "11:28:48");
        assert_eq!(when("2026-11-26T09:28:48Z".parse().unwrap(), &look), "09:28");
    }

    #[test]
    fn an_empty_ledger_says_so() {
        assert_eq!(render(&[], &look(Paint::Plain)), "No runs.\n");
    }

    #[test]
    fn pages_are_joined_until_there_are_enough() {
        let page = |ids: std::ops::Range<i64>, cursor: Option<&str>| {
            let runs: Vec<wire::Run> = ids.map(|id| run(id, RunState::Ok)).collect();
            ok_json(
                &serde_json::json!({"schema_version": 1, "runs": runs, "next_cursor": cursor, "x": 1})
                    .to_string(),
            )
        };
        let daemon =
            Daemon::play(vec![page(0..500, Some("a+b")), page(500..600, Some("c")), page(600..601, None)]);
        let context =
            Context::new(Globals { socket: Some(daemon.socket()), utc: true, ..Globals::default() });
        let line = ["lucid", "runs", "sub/t", "-n", "600", "--failed", "--since", "2026-11-26"];
        let Command::Runs(args) = Cli::parse_from(line).command else { panic!("not runs") };
        let joined = fetch(&context, &args).unwrap();
        assert_eq!((joined.value.runs.len(), joined.value.next_cursor.as_deref()), (600, Some("c")));
        let raw: Value = serde_json::from_slice(&joined.raw).unwrap();
        assert_eq!((raw["runs"].as_array().unwrap().len(), &raw["x"]), (600, &Value::from(1)));
        let asked = daemon.requests();
        assert!(asked[0].starts_with(
            "GET /api/v1/runs?limit=500&task=sub%2Ft&state=failing&since=2026-11-26T00%3A00%3A00Z HTTP"
        ));
        assert!(asked[1].contains("limit=100&") && asked[1].contains("&cursor=a%2Bb HTTP"), "{}", asked[1]);
        assert_eq!(asked.len(), 2);
    }
}
