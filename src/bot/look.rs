//! How things stand, as messages: the same values as the API's and the commands', written for a phone.

use jiff::Timestamp;

use super::Bot;
use super::answer::Answer;
use super::press;
use crate::alert::compose::name;
use crate::alert::policy::Answered;
use crate::alert::words::{clip, passage, phrase};
use crate::alert::{AlertView, Query as AlertQuery};
use crate::daemon::problems::{Finding, Grave};
use crate::daemon::{Refused, StatusView, TaskView};
use crate::model::alert::{AlertId, AlertState};
use crate::model::ids::TicketId;
use crate::model::notice::{Button, Part, Shown};
use crate::model::run::RunState;
use crate::model::span::span;
use crate::model::ticket::{Ticket, TicketState};
use crate::ticket::board::Query as BoardQuery;

/// Lines of a list; the rest is counted.
const LINES_MAX: usize = 30;
/// Characters of a ticket's text.
const BODY_CHARS: usize = 600;
/// Characters of a button.
const OPTION_CHARS: usize = 24;
/// Answers of a question that become buttons.
const OPTIONS_MAX: usize = 6;
const DAY_MS: i64 = 24 * 3_600_000;
/// Rows that are looked at for what was used in a day.
const USAGE_ROWS: u32 = 5_000;

fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

fn bold(text: impl Into<String>) -> Part {
    Part::Bold(text.into())
}

/// An alert that fires.
pub(super) struct Firing {
    pub id: AlertId,
    pub subject: String,
    /// Somebody has been told of it.
    pub is_heard: bool,
}

impl Bot {
    /// A time of day in the zone of the settings, for where no markup is read.
    pub(super) fn clock(&self, ms: i64) -> String {
        let Ok(at) = Timestamp::from_millisecond(ms) else { return "some time".to_owned() };
        let zone = self.app.config.zone.tz().clone();
        let is_near = (ms - self.app.clock.wall_ms()).abs() < DAY_MS / 2;
        at.to_zoned(zone).strftime(if is_near { "%H:%M" } else { "%a %H:%M" }).to_string()
    }

    /// Alerts that fire, the newest first.
    pub(super) async fn firing(&self) -> Result<Vec<Firing>, Refused> {
        let query =
            AlertQuery { states: vec![AlertState::Firing, AlertState::Acked], before: None, limit: 200 };
        let views = self.app.alerts.list(query).await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        let one = |view: AlertView| Firing {
            id: view.alert.id,
            subject: view.alert.notice.subject,
            is_heard: view.is_heard,
        };
        Ok(views.into_iter().map(one).collect())
    }

    /// The alert about this subject that is not over.
    pub(super) async fn open_about(&self, subject: &str) -> Result<Option<AlertId>, Refused> {
        let query =
            AlertQuery { states: vec![AlertState::Firing, AlertState::Muted], before: None, limit: 200 };
        let views = self.app.alerts.list(query).await.map_err(|e| Refused::unavailable(&e.to_string()))?;
        Ok(views.iter().find(|view| view.alert.notice.subject == subject).map(|view| view.alert.id))
    }

    pub(super) async fn status(&self) -> Result<Vec<Part>, Refused> {
        let view = self.app.status().await?;
        let found = self.app.health(&view).await?.findings;
        let mutes = self.app.alerts.mutes().await?;
        let mut parts = status(&view, &found, &self.app.host);
        for (fingerprint, until_ms, _) in mutes.iter().take(LINES_MAX) {
            let subject = fingerprint.split('/').nth(1).unwrap_or(fingerprint);
            parts.extend([Part::Break, text(format!("🔕 {} muted until ", phrase(name(subject))))]);
            parts.push(Part::Time { ms: *until_ms, shown: Shown::Day });
        }
        Ok(parts)
    }

    pub(super) async fn problems(&self) -> Result<Vec<Part>, Refused> {
        let view = self.app.status().await?;
        Ok(problems(&self.app.health(&view).await?.findings))
    }

    pub(super) async fn tasks(&self) -> Result<Vec<Part>, Refused> {
        Ok(tasks(&self.app.tasks().await?))
    }

    pub(super) async fn tickets(&self) -> Result<Vec<Part>, Refused> {
        let states = TicketState::ALL.into_iter().filter(|state| !state.is_over()).collect();
        let query = BoardQuery { states, limit: 200, ..BoardQuery::default() };
        let mut open = self.app.tickets.list(query).await?;
        // Who waits for a person comes first.
        open.sort_by_key(|ticket| rank(ticket.state()));
        Ok(tickets(&open, self.app.clock.wall_ms()))
    }

    pub(super) async fn ticket(&self, id: &TicketId) -> Result<Answer, Refused> {
        let found = self.app.ticket(id).await?;
        let buttons: Option<Vec<Button>> = found.ask.as_ref().map(|ask| {
            let option = |(place, option): (usize, &String)| {
                let data = press::option_data(id, place, ask);
                Button::data(&clip(&phrase(option), OPTION_CHARS), data)
            };
            ask.options.iter().take(OPTIONS_MAX).enumerate().map(option).collect()
        });
        let read_by = match (self.app.answered(&found).await?, self.app.tickets.unread(&found)) {
            (_, None) => "write to its worker",
            (Answered::ByLook { .. }, Some(_)) => "have the login looked at again",
            (Answered::ByWorker | Answered::ByPerson, Some(_)) => "comment on it; no worker reads it now",
        };
        Ok(Answer::say(ticket(&found, read_by)).with_buttons(&buttons.unwrap_or_default()).about(id))
    }

    pub(super) async fn usage(&self) -> Result<Vec<Part>, Refused> {
        let since_ms = self.app.clock.wall_ms() - DAY_MS;
        let used = self.app.usage(None, since_ms, USAGE_ROWS).await?;
        if used.is_empty() {
            return Ok(vec![text("No agent has used anything in the last day.")]);
        }
        let mut by_agent: std::collections::BTreeMap<&str, (u64, u64, u64, f64, u64)> =
            std::collections::BTreeMap::new();
        for usage in &used {
            let sum = by_agent.entry(&usage.agent).or_default();
            sum.0 += 1;
            sum.1 = sum.1.saturating_add(u64::try_from(usage.tokens.input).unwrap_or(0));
            sum.2 = sum.2.saturating_add(u64::try_from(usage.tokens.output).unwrap_or(0));
            match usage.cost_usd.as_deref().and_then(|cost| cost.parse::<f64>().ok()) {
                Some(cost) => sum.3 += cost,
                None => sum.4 += 1,
            }
        }
        let mut parts = vec![bold("The last 24 hours")];
        for (agent, (runs, input, output, cost, unknown)) in by_agent {
            let unknown = if unknown > 0 { format!(", {unknown} of unknown cost") } else { String::new() };
            parts.extend([
                Part::Break,
                text(format!(
                    "{}: {runs} runs, {input} tokens in, {output} out, ${cost:.2}{unknown}",
                    phrase(agent)
                )),
            ]);
        }
        Ok(parts)
    }
}

fn mark(grave: Grave) -> &'static str {
    match grave {
        Grave::Critical => "🆘",
        Grave::Warning => "🟠",
        Grave::Info => "🔵",
    }
}

fn status(view: &StatusView, found: &[Finding], host: &str) -> Vec<Part> {
    let worst = found.iter().map(|finding| finding.grave).min();
    let (sign, word) = match worst {
        Some(Grave::Critical) => ("🆘", "critical"),
        Some(Grave::Warning) => ("🟠", "degraded"),
        Some(Grave::Info) | None => ("🟢", "healthy"),
    };
    let mut parts = vec![text(format!("{sign} ")), bold(format!("{}: {word}", phrase(host)))];
    parts.extend([
        Part::Break,
        text(format!(
            "{} tasks, {} on, {} paused, {} running",
            view.tasks,
            view.enabled,
            view.paused,
            view.live.len()
        )),
    ]);
    if let Some((at, task)) = &view.next {
        parts.extend([Part::Break, text(format!("Next: {task} at "))]);
        parts.push(Part::Time { ms: at.as_millisecond(), shown: Shown::Day });
    }
    if let Some(pool) = view.pool {
        parts.extend([Part::Break, text(format!("Slots: {} of {} free", pool.free, pool.slots))]);
    }
    let shown = found.iter().filter(|finding| finding.grave != Grave::Info);
    for finding in shown.clone().take(LINES_MAX) {
        let line = format!("{} {}: {}", mark(finding.grave), phrase(&finding.subject), phrase(&finding.text));
        parts.extend([Part::Break, text(line)]);
    }
    more(&mut parts, shown.count());
    parts
}

fn problems(found: &[Finding]) -> Vec<Part> {
    if found.is_empty() {
        return vec![text("🟢 Nothing is wrong.")];
    }
    let mut parts = Vec::new();
    for finding in found.iter().take(LINES_MAX) {
        if !parts.is_empty() {
            parts.push(Part::Break);
        }
        parts.push(text(format!("{} ", mark(finding.grave))));
        parts.push(bold(phrase(&finding.subject)));
        parts.push(text(format!(": {}", phrase(&finding.text))));
        if let Some(fix) = &finding.fix {
            parts.extend([Part::Break, Part::Code(phrase(fix))]);
        }
    }
    more(&mut parts, found.len());
    parts
}

/// How much a list does not show.
fn more(parts: &mut Vec<Part>, total: usize) {
    if total > LINES_MAX {
        parts.extend([Part::Break, text(format!("and {} more", total - LINES_MAX))]);
    }
}

fn tasks(views: &[TaskView]) -> Vec<Part> {
    if views.is_empty() {
        return vec![text("There are no tasks.")];
    }
    let mut parts = Vec::new();
    for view in views.iter().take(LINES_MAX) {
        if !parts.is_empty() {
            parts.push(Part::Break);
        }
        let (sign, told) = standing(view);
        parts.push(text(format!("{sign} ")));
        parts.push(bold(view.id.to_string()));
        parts.push(text(told));
        if let Some(at) = view.next_at {
            parts.push(text(", next "));
            parts.push(Part::Time { ms: at.as_millisecond(), shown: Shown::Day });
        }
    }
    more(&mut parts, views.len());
    parts
}

fn standing(view: &TaskView) -> (&'static str, String) {
    if view.live.is_some() {
        return ("▶️", " is running".to_owned());
    }
    if view.entry.is_broken() {
        return ("🟠", ": its file has errors".to_owned());
    }
    if !view.entry.enabled {
        return ("⚪️", " is off".to_owned());
    }
    if view.pause.is_some() {
        return ("⏸", " is paused".to_owned());
    }
    match view.last_ended() {
        None => ("⚪️", " has not run".to_owned()),
        Some(run) if run.state() == RunState::Ok => ("🟢", String::new()),
        Some(run) => ("🔴", format!(" {} in {}", run.state().name().replace('_', " "), run.id)),
    }
}

fn rank(state: TicketState) -> u8 {
    match state {
        TicketState::NeedsInput => 0,
        TicketState::Review => 1,
        TicketState::InProgress => 2,
        TicketState::Todo => 3,
        TicketState::Waiting => 4,
        TicketState::Done | TicketState::Closed => 5,
    }
}

fn tickets(open: &[Ticket], now_ms: i64) -> Vec<Part> {
    if open.is_empty() {
        return vec![text("No ticket is open.")];
    }
    let mut parts = Vec::new();
    for ticket in open.iter().take(LINES_MAX) {
        if !parts.is_empty() {
            parts.push(Part::Break);
        }
        let state = ticket.state().name().replace('_', " ");
        let age = span(now_ms - ticket.updated_ms);
        parts.push(text(if ticket.state() == TicketState::NeedsInput { "🙋 " } else { "" }));
        parts.push(bold(ticket.id.to_string()));
        parts.push(text(format!(" {} · {state} · {age}", clip(&phrase(&ticket.title), 60))));
    }
    more(&mut parts, open.len());
    parts
}

fn ticket(ticket: &Ticket, what_a_reply_does: &str) -> Vec<Part> {
    let state = ticket.state().name().replace('_', " ");
    let mut parts = vec![bold(format!("{} {}", ticket.id, phrase(&ticket.title)))];
    let mut line = format!("{state} · {} priority · attempt {}", ticket.priority.name(), ticket.attempt);
    if let Some(agent) = &ticket.agent {
        line.push_str(&format!(" · {}", phrase(agent)));
    }
    parts.extend([Part::Break, text(line)]);
    if let Some(branch) = &ticket.branch {
        parts.extend([Part::Break, text("Branch "), Part::Code(phrase(branch))]);
    }
    if let Some(reason) = &ticket.reason {
        parts.extend([Part::Break, text(passage(&reason.text, BODY_CHARS))]);
    }
    if let Some(ask) = &ticket.ask {
        for (name, said) in [("Why: ", &ask.why), ("How: ", &ask.how)] {
            if let Some(said) = said {
                parts.extend([Part::Break, bold(name), text(passage(said, BODY_CHARS))]);
            }
        }
    }
    if let Some(report) = &ticket.report {
        parts.extend([Part::Break, bold("Report: "), text(passage(&report.summary, BODY_CHARS))]);
    }
    if !ticket.body.trim().is_empty() {
        let lines = passage(&ticket.body, BODY_CHARS).lines().map(str::to_owned).collect();
        parts.extend([Part::Break, Part::Quote(lines)]);
    }
    if !ticket.state().is_over() {
        parts.extend([Part::Break, Part::Italic(format!("Reply to this message to {what_a_reply_does}."))]);
    }
    parts
}
