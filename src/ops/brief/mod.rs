//! The briefs: what a person should know in the morning and at the end of a week, as plain text. The text is
//! made from values alone.

pub mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Zoned;

use crate::model::run::RunState;
use crate::model::schedule::{format_duration, format_size};
use crate::model::text::clean;

/// Entries of one list that are told; the rest is counted.
const ENTRIES_MAX: usize = 10;
/// Longest title that is told, in characters.
const TITLE_MAX_CHARS: usize = 80;
/// Money is counted in millionths of a dollar.
const MICROS: i128 = 1_000_000;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Morning,
    Weekly,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Morning, Self::Weekly];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Morning => "morning",
            Self::Weekly => "weekly",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How far back it looks where nobody had one before.
    #[must_use]
    pub fn reach(self) -> Duration {
        match self {
            Self::Morning => Duration::from_secs(24 * 3600),
            Self::Weekly => Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// What a brief is made of.
#[derive(Debug, Clone)]
pub struct Facts {
    pub kind: Kind,
    pub host: String,
    /// In the zone of whoever reads it.
    pub now: Zoned,
    /// In a word: `healthy`, `degraded`, `critical`.
    pub health: &'static str,
    pub since_ms: i64,
    /// Oldest first.
    pub needs_you: Vec<Need>,
    pub in_review: u64,
    pub waiting: u64,
    pub todo: u64,
    pub failing: Vec<Failing>,
    /// What else stands: titles.
    pub standing: Vec<String>,
    pub runs: Runs,
    pub done: u64,
    pub closed: u64,
    pub created: u64,
    pub money: Money,
    /// Of the state directory's file system, percent.
    pub disk_free: Option<u32>,
    pub backup: Option<Backup>,
    /// What the janitor has done since, by verdict.
    pub janitor: BTreeMap<String, u64>,
}

/// A ticket that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub ticket: String,
    pub title: String,
    pub since_ms: i64,
}

/// A task whose last run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    pub task: String,
    /// How the last run ended.
    pub how: String,
    /// Failures in a row.
    pub runs: usize,
    pub since_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub at_ms: i64,
    pub bytes: u64,
}

/// Runs counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// That ran.
    pub total: u64,
    pub ok: u64,
    pub failed: u64,
    /// Of the failed, those of tasks whose last run was well.
    pub recovered: u64,
    pub missed: u64,
    pub skipped: u64,
}

impl Runs {
    /// From counts by task and state; `failing` are the tasks that still fail.
    #[must_use]
    pub fn of(counts: &[(String, RunState, u64)], failing: &[Failing]) -> Self {
        let mut runs = Self::default();
        for (task, state, n) in counts {
            match state {
                RunState::Ok => (runs.ok, runs.total) = (runs.ok + n, runs.total + n),
                RunState::Failed
                | RunState::Timeout
                | RunState::Lost
                | RunState::Blocked
                | RunState::KillFailed => {
                    (runs.failed, runs.total) = (runs.failed + n, runs.total + n);
                    if failing.iter().all(|failing| failing.task != *task) {
                        runs.recovered += n;
                    }
                }
                RunState::Killed => runs.total += n,
                RunState::Missed => runs.missed += n,
                RunState::Skipped => runs.skipped += n,
                RunState::Claimed | RunState::Running | RunState::Stopping | RunState::NotStarted => {}
            }
        }
        runs
    }
}

/// What was spent, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money {
    /// Millionths of a dollar.
    pub micros: i128,
    /// Runs whose cost nobody knows.
    pub unknown: u64,
    pub known: u64,
}

impl Money {
    #[must_use]
    pub fn of(costs: &[Option<String>]) -> Self {
        let mut money = Self::default();
        for cost in costs {
            match cost.as_deref().and_then(micros) {
                Some(micros) => {
                    money.micros = money.micros.saturating_add(micros);
                    money.known += 1;
                }
                None => money.unknown += 1,
            }
        }
        money
    }

    fn text(self) -> Option<String> {
        let unknown = |n: u64| format!("{n} {} of unknown cost", if n == 1 { "run" } else { "runs" });
        let cents = (self.micros + MICROS / 200) / (MICROS / 100);
        let known = format!("${}.{:02}", cents / 100, cents % 100);
        match (self.known, self.unknown) {
            (0, 0) => None,
            (0, n) => Some(unknown(n)),
            (_, 0) => Some(known),
            (_, n) => Some(format!("{known} and {}", unknown(n))),
        }
    }
}

/// A decimal text as millionths; what lies below them is cut.
fn micros(text: &str) -> Option<i128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    whole.parse::<i128>().ok()?.checked_mul(MICROS)?.checked_add(part.parse().ok()?)
}

impl Facts {
    /// Nothing that a person has to hear.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.needs_you.is_empty()
            && self.failing.is_empty()
            && self.standing.is_empty()
            && self.runs.missed == 0
            && self.health == "healthy"
    }
}

/// The brief as it is sent. A quiet morning is one line.
#[must_use]
pub fn text(facts: &Facts) -> String {
    if facts.kind == Kind::Morning && facts.is_quiet() {
        return format!("All quiet, {} ok", counted(facts.runs.ok, "run"));
    }
    let mut lines = vec![heading(facts)];
    let now_ms = facts.now.timestamp().as_millisecond();
    let needs = facts
        .needs_you
        .iter()
        .map(|need| format!("{} {} · {}", need.ticket, short(&need.title), age(now_ms - need.since_ms)));
    list(&mut lines, "Needs you", &needs.collect::<Vec<_>>());
    let failing = facts.failing.iter().map(|failing| {
        let since =
            failing.since_ms.map_or_else(String::new, |since| format!(" since {}", when(facts, since)));
        format!("{} · {} · {}{since}", failing.task, short(&failing.how), counted(failing.runs as u64, "run"))
    });
    let standing = facts.standing.iter().map(|title| short(title));
    list(&mut lines, "Failing now", &failing.chain(standing).collect::<Vec<_>>());
    lines.push(match facts.kind {
        Kind::Morning => "Overnight".to_owned(),
        Kind::Weekly => "This week".to_owned(),
    });
    lines.push(ran(facts.runs));
    lines.push(worked(facts));
    if facts.kind == Kind::Weekly && !facts.janitor.is_empty() {
        let did = facts.janitor.iter().map(|(verdict, n)| format!("{n} {verdict}"));
        lines.push(format!("Janitor: {}", did.collect::<Vec<_>>().join(", ")));
    }
    lines.push(box_of(facts));
    lines.join("\n")
}

fn heading(facts: &Facts) -> String {
    let date = facts.now.strftime("%a %-d %b");
    match facts.kind {
        Kind::Morning => format!("{date} · {} · {}", clean(&facts.host), facts.health),
        Kind::Weekly => format!("Week to {date} · {} · {}", clean(&facts.host), facts.health),
    }
}

/// A list with its count, unless it is empty.
fn list(lines: &mut Vec<String>, title: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    lines.push(format!("{title} ({})", entries.len()));
    lines.extend(entries.iter().take(ENTRIES_MAX).map(|entry| format!("• {entry}")));
    if entries.len() > ENTRIES_MAX {
        lines.push(format!("• and {} more", entries.len() - ENTRIES_MAX));
    }
}

fn ran(runs: Runs) -> String {
    let mut parts = vec![counted(runs.total, "run"), format!("{} ok", runs.ok)];
    if runs.failed > 0 {
        let recovered = match runs.recovered {
            0 => String::new(),
            n if n == runs.failed => " and recovered".to_owned(),
            n => format!(" ({n} recovered)"),
        };
        parts.push(format!("{} failed{recovered}", runs.failed));
    }
    for (n, what) in [(runs.missed, "missed"), (runs.skipped, "skipped")] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    parts.join(", ")
}

fn worked(facts: &Facts) -> String {
    let mut parts = vec![format!("{} done", counted(facts.done, "ticket"))];
    for (n, what) in [
        (facts.created, "new"),
        (facts.closed, "closed"),
        (facts.in_review, "in review"),
        (facts.waiting, "waiting"),
        (facts.todo, "to do"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let mut text = parts.join(", ");
    if let Some(money) = facts.money.text() {
        text.push_str(&format!(" · {money}"));
    }
    text
}

fn box_of(facts: &Facts) -> String {
    let disk = facts.disk_free.map_or_else(|| "Disk unknown".to_owned(), |free| format!("Disk {free}% free"));
    match &facts.backup {
        Some(backup) => {
            format!("{disk} · last backup {}, {}", when(facts, backup.at_ms), format_size(backup.bytes))
        }
        None => format!("{disk} · no backup yet"),
    }
}

/// A time of today, or with its day.
fn when(facts: &Facts, at_ms: i64) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(at_ms) else { return "long ago".to_owned() };
    let at = at.to_zoned(facts.now.time_zone().clone());
    let days = facts.now.date().since(at.date()).map_or(0, |span| span.get_days());
    match days {
        0 => at.strftime("%H:%M").to_string(),
        1 => at.strftime("yesterday %H:%M").to_string(),
        2..=6 => at.strftime("%a %H:%M").to_string(),
        _ => at.strftime("%-d %b").to_string(),
    }
}

/// In its largest unit.
fn age(ms: i64) -> String {
    let seconds = u64::try_from(ms / 1000).unwrap_or(0);
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= *unit).unwrap_or(1);
    format_duration(Duration::from_secs(seconds / unit * unit))
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A text of anybody's on one line, not too long.
fn short(text: &str) -> String {
    let mut short: String = text.chars().take(TITLE_MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    clean(&short).into_owned()
}

#[cfg(test)]
mod tests;
