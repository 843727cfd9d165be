//! `lucid status`: one screen.

use std::fmt::Write as _;

use super::context::{Context, api, run_reference};
use super::failure::{Exit, Failure};
use super::grid::{Cell, Grid};
use super::look::{Look, Tone, clean, count, span};
use super::{problems, runs};
use crate::api::wire;
use crate::api::wire::HealthState;
use crate::model::schedule::format_size;
use crate::platform::client::Request;

/// Problems that are told on the one screen; `lucid problems` has them all.
const PROBLEMS_MAX: usize = 8;

/// # Errors
/// As [`Context::fetch`] and [`Context::show`].
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let status = context.fetch::<wire::Status>(&Request::get(api().segment("status")))?;
    context.show(&status, render)
}

fn render(status: &wire::Status, look: &Look) -> String {
    let mut out = headline(status, look);
    out.push('\n');
    out.push_str(&parts(status, look));
    let facts = facts(status, look);
    if !facts.is_empty() {
        out.push('\n');
        out.push_str(&facts.render_indented(look));
    }
    if !status.problems.is_empty() {
        let _ = writeln!(out, "\n{}: lucid problems", count(status.problems.len(), "problem"));
    }
    out
}

fn headline(status: &wire::Status, look: &Look) -> String {
    let (word, tone) = match status.health {
        HealthState::Healthy => ("healthy", Tone::Good),
        HealthState::Degraded => ("DEGRADED", Tone::Warn),
        HealthState::Critical => ("CRITICAL", Tone::Bad),
    };
    let since = match status.health_since.filter(|_| status.health != HealthState::Healthy) {
        Some(at) => format!(" since {} ({})", look.instant(at), look.since(at)),
        None => String::new(),
    };
    let mut line = format!(
        "{} {} on {} · up {} · {} · {}{since}",
        look.paint(Tone::Strong, "lucid"),
        clean(&status.version),
        clean(&status.host),
        span(status.uptime_ms),
        clean(&status.timezone),
        look.paint(tone, word),
    );
    if status.draining {
        line.push_str(" · ");
        line.push_str(&look.paint(Tone::Warn, "DRAINING"));
    }
    line.push('\n');
    line
}

/// The parts of the daemon and what is wrong, a line each.
fn parts(status: &wire::Status, look: &Look) -> String {
    let mut grid = Grid::new(&["", "", ""], &[2, 1]);
    let mut part = |tone: Tone, mark: &str, name: &str, text: &str| {
        grid.row(vec![Cell::new(tone, mark), Cell::plain(name), Cell::plain(text)]);
    };
    part(Tone::Good, "ok", "scheduler", &scheduler_text(&status.scheduler, look));
    part(Tone::Good, "ok", "database", &database_text(&status.database, look));
    if let Some(pool) = &status.pool {
        let (tone, mark) = if pool.quarantined > 0 { (Tone::Warn, "warn") } else { (Tone::Good, "ok") };
        let mut text =
            format!("{}: {} busy, {} free", count(pool.slots as usize, "slot"), pool.leased, pool.free);
        if pool.quarantined > 0 {
            let _ = write!(text, ", {} quarantined", pool.quarantined);
        }
        part(tone, mark, "pool", &text);
    }
    if let Some(outbox) = &status.outbox {
        let age = outbox.oldest_age_ms.map(|ms| format!(", oldest {}", span(ms))).unwrap_or_default();
        part(Tone::Good, "ok", "outbox", &format!("{} to send{age}", outbox.pending));
    }
    for problem in status.problems.iter().take(PROBLEMS_MAX) {
        let (tone, mark) = problems::mark(&problem.severity);
        part(tone, mark, &problem.subject, &problem.text);
    }
    if let Some(more) = status.problems.len().checked_sub(PROBLEMS_MAX).filter(|more| *more > 0) {
        part(Tone::Faint, "", "", &format!("and {more} more"));
    }
    grid.render_indented(look)
}

fn scheduler_text(scheduler: &wire::Scheduler, look: &Look) -> String {
    let off = scheduler.tasks.saturating_sub(scheduler.enabled).saturating_sub(scheduler.broken);
    let mut text = format!("{} on, {off} off", count(scheduler.enabled as usize, "task"));
    if scheduler.broken > 0 {
        let _ = write!(text, ", {} broken", scheduler.broken);
    }
    if scheduler.paused > 0 {
        let _ = write!(text, ", {} paused", scheduler.paused);
    }
    match (&scheduler.next_task, scheduler.next_at) {
        (Some(task), Some(at)) => {
            let _ = write!(text, " · next {}: {task}", look.until(at));
        }
        (None, Some(at)) => {
            let _ = write!(text, " · next {}", look.until(at));
        }
        (Some(_) | None, None) => text.push_str(" · nothing is due"),
    }
    text
}

fn database_text(database: &wire::Database, look: &Look) -> String {
    let mut text = format!("{} · WAL {}", format_size(database.bytes), format_size(database.wal_bytes));
    match database.last_backup_at {
        Some(at) => {
            let _ = write!(text, " · last backup {} ({} ago)", look.instant(at), look.since(at));
        }
        None => text.push_str(" · no backup yet"),
    }
    text
}

/// What runs and what keeps failing.
fn facts(status: &wire::Status, look: &Look) -> Grid {
    let mut grid = Grid::new(&["", "", "", ""], &[3, 2]);
    let mut heading = "Running";
    for run in &status.running {
        grid.row(vec![
            Cell::new(Tone::Live, heading),
            Cell::plain(&format!("{} {}", run_reference(run.id), run.task)),
            Cell::plain(&runs::took(run, look)).right(),
            Cell::plain(&runs::why_so(run)),
        ]);
        heading = "";
    }
    heading = "Failing";
    for failing in &status.failing {
        let since = failing.since.map(|at| format!(" since {}", look.instant(at))).unwrap_or_default();
        let last = failing.last_run.as_ref().map(runs::why_so).unwrap_or_default();
        let again = failing.last_run.as_ref().and_then(|run| runs::again(run, look));
        let again = again.map(|again| format!(", {again}")).unwrap_or_default();
        grid.row(vec![
            Cell::new(Tone::Bad, heading),
            Cell::plain(&failing.task),
            Cell::plain(&count(failing.failures as usize, "run")).right(),
            Cell::plain(format!("{since}  {last}{again}").trim()),
        ]);
        heading = "";
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look, visible};
    use super::super::runs::tests::run;
    use super::*;
    use crate::model::run::RunState;

    fn status() -> wire::Status {
        let mut hostile = run(8133, RunState::Running);
        hostile.task = HOSTILE.to_owned();
        wire::Status {
            schema_version: wire::SchemaVersion::default(),
            version: "0.1.0".to_owned(),
            pid: 7,
            host: "atlas".to_owned(),
            timezone: "Africa/Johannesburg".to_owned(),
            started_at: "2026-11-20T07:30:00Z".parse().unwrap(),
            uptime_ms: 534_000_000,
            health: HealthState::Degraded,
            health_since: Some("2026-11-26T11:05:00Z".parse().unwrap()),
            draining: true,
            scheduler: wire::Scheduler {
                tasks: 20,
                enabled: 17,
                broken: 1,
                paused: 1,
                running: 2,
                next_at: Some("2026-11-26T11:30:42Z".parse().unwrap()),
                next_task: Some("queue-reaper".to_owned()),
            },
            database: wire::Database {
                bytes: 96_000_000,
                wal_bytes: 2_100_000,
                last_backup_at: Some("2026-11-26T02:00:00Z".parse().unwrap()),
            },
            pool: Some(wire::PoolSummary { slots: 3, free: 1, leased: 1, quarantined: 1 }),
            outbox: Some(wire::OutboxSummary { pending: 2, oldest_age_ms: Some(72_000) }),
            running: vec![run(8132, RunState::Running), hostile],
            failing: vec![wire::Failing {
                task: "git-sync".to_owned(),
                failures: 14,
                since: Some("2026-11-20T18:15:00Z".parse().unwrap()),
                last_run: Some(run(8100, RunState::Failed)),
            }],
            problems: vec![super::super::problems::tests::finding("git-sync", "14 runs failed in a row")],
        }
    }

    #[test]
    fn a_full_screen() {
        insta::assert_snapshot!(render(&status(), &look(Paint::Plain)));
    }

    #[test]
    fn many_problems_do_not_push_out_what_runs() {
        let mut status = status();
        status.problems =
            (0..20).map(|n| super::super::problems::tests::finding(&format!("t{n}"), "x")).collect();
        let text = render(&status, &look(Paint::Plain));
        assert!(text.contains(" t7 ") && !text.contains(" t8 ") && text.contains("and 12 more"), "{text}");
        assert!(text.contains("#8132") && text.contains("20 problems: lucid problems"), "{text}");
    }

    #[test]
    fn the_same_in_colour() {
        insta::assert_snapshot!(visible(&render(&status(), &look(Paint::Ansi))));
    }

    #[test]
    fn a_fresh_daemon() {
        let mut status = status();
        status.health = HealthState::Healthy;
        status.health_since = None;
        status.draining = false;
        status.scheduler = wire::Scheduler {
            tasks: 0,
            enabled: 0,
            broken: 0,
            paused: 0,
            running: 0,
            next_at: None,
            next_task: None,
        };
        status.database.last_backup_at = None;
        (status.pool, status.outbox) = (None, None);
        (status.running, status.failing, status.problems) = (Vec::new(), Vec::new(), Vec::new());
        insta::assert_snapshot!(render(&status, &look(Paint::Plain)));
    }
}
