//! `lucid next`: when tasks are due, or when a schedule would be; needs no daemon.
//!
//! Where there is one it is asked, because it knows of pauses and keeps the instants that `every 45s` and
//! `in 30m` count from. Without it the files have to do, and such schedules count from now.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Context, Document, accepted, api, out_of_range};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::instant::{Instant, instant};
use super::look::{Look, Tone, clean};
use super::{config, files};
use crate::api::wire;
use crate::model::ids::TaskId;
use crate::model::schedule::{Preview, Schedule, Zone, preview};
use crate::model::task::Task;
use crate::platform::client::{ClientError, Request, Target};

/// How long the daemon may take before the files answer, in seconds.
const ANSWER_SECS: u64 = 3;
/// Most instants that one call shows.
const SHOWN_MAX: u32 = 500;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this task [else: the next instant of every task]
    #[arg(value_name = "ID", value_parser = TaskId::parse, conflicts_with = "cron")]
    task: Option<TaskId>,
    /// How many [default: 5, of a list of tasks all]
    #[arg(short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SHOWN_MAX)))]
    n: Option<u32>,
    /// A schedule to try: `30 2 * * *`, `@daily`, `every 15m`
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// The zone it is read in [default: the configuration's, else this machine's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    tz: Option<String>,
    /// Count from this instant, or from the beginning of this day [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Instant>,
}

/// How many instants of one schedule are shown where no number is given.
const SHOWN_DEFAULT: u32 = 5;

/// # Errors
/// A schedule or zone that is none (exit 2), a task that does not exist, files that cannot be read.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if let Some(expression) = &args.cron {
        let fires = try_out(context, args, expression)?;
        return show(context, &written(&fires)?, |fires, look| render_one(fires, look, Countdown::Without));
    }
    if let Some(task) = &args.task {
        let fires = of_task(context, args, task)?;
        return show(context, &fires, |fires, look| render_one(fires, look, Countdown::With));
    }
    let mut fires = of_all(context, args)?;
    fires.fires.sort_by(|a, b| (a.at, &a.task).cmp(&(b.at, &b.task)));
    if let Some(n) = args.n {
        fires.fires.truncate(n as usize);
    }
    show(context, &written(&fires)?, render_all)
}

fn show<T>(
    context: &Context,
    document: &Document<T>,
    render: impl FnOnce(&T, &Look) -> String,
) -> Result<Exit, Failure> {
    context.show(document, render)
}

fn written<T: Serialize + Clone>(value: &T) -> Result<Document<T>, Failure> {
    let raw =
        serde_json::to_vec(value).map_err(|error| anyhow::anyhow!("cannot write the document: {error}"))?;
    Ok(Document { raw, value: value.clone() })
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    /// What `every 90m` counts from where nobody knows better.
    anchor: Timestamp,
    /// Fires are wanted after this.
    after: Timestamp,
}

/// A day counts from its first moment, that moment included.
fn start(at: Option<Instant>, zone: &Zone, now: Timestamp) -> Result<Start, Failure> {
    let Some(written) = at else { return Ok(Start { anchor: now, after: now }) };
    let start = written.resolve(zone.tz(), now).and_then(|anchor| {
        let after = match written {
            Instant::Day(_) => anchor.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?,
            Instant::At(_) | Instant::Civil(_) | Instant::Today(_) | Instant::Ago(_) => anchor,
        };
        Some(Start { anchor, after })
    });
    start.ok_or_else(out_of_range)
}

fn try_out(context: &Context, args: &Args, expression: &str) -> Result<wire::Fires, Failure> {
    let zone = match &args.tz {
        Some(name) => {
            Zone::parse(name).map_err(|error| Failure::usage(clean(&error.to_string()), error.help))?
        }
        None => config::load(context).map_or_else(|_| machine_zone(), |config| config.zone),
    };
    let schedule = Schedule::parse(&[expression]).map_err(|error| {
        Failure::usage(format!("{}\n{}", clean(&error.message), pointer(expression, &error)), error.help)
    })?;
    for warning in schedule.warnings() {
        context.note(&format!("warning[{}]: {}", warning.code, clean(&warning.message)));
    }
    let now = context.clock.wall();
    let start = start(args.at, &zone, now)?;
    let n = args.n.unwrap_or(SHOWN_DEFAULT);
    let coming = preview(&schedule, &zone, start.anchor, start.after, n as usize);
    Ok(fires(coming, &schedule, &zone, schedule.remark()))
}

/// The expression with a caret under the place that is wrong.
fn pointer(expression: &str, error: &crate::model::schedule::ScheduleError) -> String {
    let before = expression.get(..error.column).unwrap_or_default();
    let wrong = expression.get(error.column..error.column + error.len).unwrap_or_default();
    let (indent, carets) = (super::look::columns(&clean(before)), super::look::columns(&clean(wrong)).max(1));
    format!("  {}\n  {}{}", clean(expression), " ".repeat(indent), "^".repeat(carets))
}

fn machine_zone() -> Zone {
    let name = jiff::tz::TimeZone::system().iana_name().map(str::to_owned);
    name.and_then(|name| Zone::parse(&name).ok()).unwrap_or(Zone::UTC)
}

fn fires(coming: Vec<Preview>, schedule: &Schedule, zone: &Zone, note: Option<String>) -> wire::Fires {
    let fire = |fire: Preview| wire::Fire { at: fire.at, local: fire.local, note: fire.note };
    wire::Fires {
        schema_version: wire::SchemaVersion::default(),
        fires: coming.into_iter().map(fire).collect(),
        human: Some(schedule.describe(zone)),
        timezone: Some(zone.name().to_owned()),
        note,
    }
}

/// The daemon's answer; `None` when there is none or it is slow, as the files can answer too.
fn ask<T: DeserializeOwned>(context: &Context, path: Target) -> Result<Option<Document<T>>, Failure> {
    let answer = context.client()?.send_within(&Request::get(path), Duration::from_secs(ANSWER_SECS));
    let answer = match answer {
        Err(ClientError::NoListener { .. } | ClientError::TimedOut { .. }) => return Ok(None),
        answer => accepted(answer?)?,
    };
    let raw = answer.bytes()?;
    let value = serde_json::from_slice(&raw)
        .map_err(|error| anyhow::anyhow!("the daemon's answer does not read as expected: {error}"))?;
    Ok(Some(Document { raw, value }))
}

fn of_task(context: &Context, args: &Args, id: &TaskId) -> Result<Document<wire::Fires>, Failure> {
    let n = args.n.unwrap_or(SHOWN_DEFAULT);
    let mut path = api().segment("tasks").segment(id.as_str()).segment("next").query("n", &n.to_string());
    if args.at.is_some() {
        // A day begins in the task's own zone.
        let after = start(args.at, &files::task(context, id)?.settings.zone, context.clock.wall())?.after;
        path = path.query("at", &after.to_string());
    }
    if let Some(document) = ask(context, path)? {
        return Ok(document);
    }
    let task = files::task(context, id)?;
    let start = start(args.at, &task.settings.zone, context.clock.wall())?;
    if task.schedule.counts_from_anchor() {
        let from = if args.at.is_some() { "the given time" } else { "now" };
        context.note(&format!(
            "lucid: no daemon answers, so this counts from {from}, not from when it first saw the task"
        ));
    }
    let coming = task.coming(start.anchor, start.after, n as usize);
    written(&fires(coming, &task.schedule, &task.settings.zone, task.remark(task.enabled, false)))
}

/// A coming instant and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TaskFire {
    task: String,
    at: Timestamp,
    local: String,
    note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TaskFires {
    schema_version: wire::SchemaVersion,
    fires: Vec<TaskFire>,
}

fn of_all(context: &Context, args: &Args) -> Result<TaskFires, Failure> {
    if args.at.is_none()
        && let Some(page) = ask::<wire::TaskPage>(context, api().segment("tasks"))?
    {
        return Ok(all(page.value.tasks.iter().filter_map(of_wire)));
    }
    let now = context.clock.wall();
    let tasks: Vec<Arc<Task>> = files::tasks(context)?;
    let mut found = Vec::new();
    for task in tasks {
        let start = start(args.at, &task.settings.zone, now)?;
        let next = task.coming(start.anchor, start.after, 1).into_iter().next();
        let of = |fire: Preview| TaskFire {
            task: task.id.to_string(),
            at: fire.at,
            local: fire.local,
            note: fire.note,
        };
        found.extend(next.map(of));
    }
    Ok(all(found.into_iter()))
}

fn all(fires: impl Iterator<Item = TaskFire>) -> TaskFires {
    TaskFires { schema_version: wire::SchemaVersion::default(), fires: fires.collect() }
}

fn of_wire(task: &wire::Task) -> Option<TaskFire> {
    let at = task.next_at?;
    let zone = Zone::parse(&task.timezone).unwrap_or(Zone::UTC);
    let local = at.to_zoned(zone.tz().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    Some(TaskFire { task: task.id.clone(), at, local, note: None })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Countdown {
    With,
    Without,
}

fn render_one(fires: &wire::Fires, look: &Look, countdown: Countdown) -> String {
    let note = fires.note.as_deref().map(|note| format!("{}\n", look.paint(Tone::Warn, &clean(note))));
    if fires.fires.is_empty() {
        return note.unwrap_or_else(|| "Never again by itself.\n".to_owned());
    }
    let zone = fires.timezone.as_deref().and_then(|name| Zone::parse(name).ok());
    let zone = zone.map_or_else(|| look.zone.clone(), |zone| zone.tz().clone());
    // A remark on the clocks is what the line is read for: it is never cut.
    let mut grid = Grid::new(&["", "", "", ""], &[]);
    for fire in &fires.fires {
        let left = match countdown {
            Countdown::With => look.until(fire.at),
            Countdown::Without => String::new(),
        };
        let local = fire.at.to_zoned(zone.clone());
        let in_utc = local.with_time_zone(jiff::tz::TimeZone::UTC);
        let utc = if in_utc.date() == local.date() { "%H:%M UTC" } else { "%-d %b %H:%M UTC" };
        let utc = in_utc.strftime(utc).to_string();
        let utc = if local.strftime("%Z").to_string() == "UTC" { String::new() } else { utc };
        grid.row(vec![
            Cell::plain(&in_zone(fire.at, &zone)),
            Cell::new(Tone::Faint, &utc),
            Cell::new(Tone::Live, &left),
            Cell::new(Tone::Warn, fire.note.as_deref().unwrap_or_default()),
        ]);
    }
    note.unwrap_or_default() + &grid.render(look)
}

fn in_zone(at: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let format = if local.second() == 0 { "%a %-d %b %Y %H:%M %Z" } else { "%a %-d %b %Y %H:%M:%S %Z" };
    local.strftime(format).to_string()
}

fn render_all(fires: &TaskFires, look: &Look) -> String {
    if fires.fires.is_empty() {
        return "Nothing is due.\n".to_owned();
    }
    let mut grid = Grid::new(&["", "", "", ""], &[0, 3]);
    for fire in &fires.fires {
        grid.row(vec![
            Cell::new(Tone::Strong, &fire.task),
            Cell::plain(&in_zone(fire.at, &look.zone)),
            Cell::new(Tone::Live, &look.until(fire.at)),
            Cell::new(Tone::Warn, fire.note.as_deref().unwrap_or_default()),
        ]);
    }
    grid.render(look)
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::*;

    fn berlin() -> wire::Fires {
        let fire = |at: &str, note: Option<&str>| wire::Fire {
            at: at.parse().unwrap(),
            local: String::new(),
            note: note.map(str::to_owned),
        };
        wire::Fires {
            schema_version: wire::SchemaVersion::default(),
            fires: vec![
                fire("2027-03-27T01:30:00Z", None),
                fire("2027-03-28T01:00:00Z", Some("02:30 does not exist on this day (clocks go forward)")),
                fire("2027-03-29T00:30:05Z", Some(HOSTILE)),
            ],
            human: None,
            timezone: Some("Europe/Berlin".to_owned()),
            note: None,
        }
    }

    #[test]
    fn instants_in_their_zone_with_what_the_clocks_do() {
        let look = look(Paint::Plain);
        insta::assert_snapshot!(render_one(&berlin(), &look, Countdown::Without));
        insta::assert_snapshot!(render_one(&berlin(), &look, Countdown::With));
    }

    #[test]
    fn a_task_that_does_not_run_is_not_shown_as_one_that_does() {
        let task = crate::task::testing::named("off", "enabled: false\nschedule: '@daily'");
        let shown =
            |note| render_one(&wire::Fires { note, ..berlin() }, &look(Paint::Plain), Countdown::Without);
        let off = shown(task.remark(task.enabled, false));
        assert!(off.starts_with("off is disabled: it does not run by itself (lucid enable off)\n"), "{off}");
        assert!(shown(task.remark(true, true)).starts_with("off is paused"), "{off}");
        let start = Schedule::parse(&["@startup"]).unwrap();
        let none = fires(Vec::new(), &start, &Zone::UTC, start.remark());
        let text = render_one(&none, &look(Paint::Plain), Countdown::Without);
        assert_eq!(text, "it runs whenever the daemon starts\n");
    }

    #[test]
    fn the_next_of_every_task() {
        let fires = all(["git-sync", HOSTILE].into_iter().map(|task| TaskFire {
            task: task.to_owned(),
            at: "2026-11-26T11:45:00Z".parse().unwrap(),
            local: String::new(),
            note: None,
        }));
        insta::assert_snapshot!(render_all(&fires, &look(Paint::Plain)));
        assert_eq!(render_all(&all(std::iter::empty()), &look(Paint::Plain)), "Nothing is due.\n");
    }

    #[test]
    fn a_day_includes_its_first_moment_and_an_instant_not_itself() {
        let (zone, now) = (Zone::parse("Europe/Berlin").unwrap(), "2026-11-26T11:30:00Z".parse().unwrap());
        let from = |text: &str| start(Some(instant(text).unwrap()), &zone, now).unwrap();
        let midnight: Timestamp = "2027-03-26T23:00:00Z".parse().unwrap();
        let day = from("2027-03-27");
        assert!(day.anchor == midnight && day.after < midnight, "{day:?}");
        assert_eq!(from("2027-03-27T00:00"), Start { anchor: midnight, after: midnight });
        assert_eq!(start(None, &zone, now).unwrap(), Start { anchor: now, after: now });
        let every = Schedule::parse(&["every 90m"]).unwrap();
        let first = preview(&every, &zone, day.anchor, day.after, 1);
        assert_eq!(first[0].local, "2027-03-27T01:30:00+01:00");
        let daily = Schedule::parse(&["@daily"]).unwrap();
        assert_eq!(preview(&daily, &zone, day.anchor, day.after, 1)[0].at, midnight);
    }

    #[test]
    fn utc_has_its_date_where_it_is_another_day() {
        let mut fires = berlin();
        fires.fires = vec![wire::Fire {
            at: "2027-01-05T23:30:00Z".parse().unwrap(),
            local: String::new(),
            note: None,
        }];
        let text = render_one(&fires, &look(Paint::Plain), Countdown::Without);
        assert_eq!(text.trim_end(), "Wed 6 Jan 2027 00:30 CET  5 Jan 23:30 UTC");
    }

    #[test]
    fn instants_are_put_off_by_the_tasks_own_jitter() {
        let task = crate::task::testing::named("spread", "schedule: '@hourly'\njitter: 30m");
        let now: Timestamp = "2026-11-26T11:30:00Z".parse().unwrap();
        let hour: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let coming = task.coming(now, now, 2);
        let put_off = coming[0].at.duration_since(hour).unsigned_abs();
        assert_eq!((put_off, put_off.is_zero()), (task.jitter_offset(), false));
        assert_eq!(coming[1].at.duration_since(coming[0].at), jiff::SignedDuration::from_hours(1));
    }
}
