//! The pickup watchdog: whether dispatch is held up by itself, and what of that passes by itself.
//!
//! A profile whose login works again is taken up again, a rest that is over is ended, and both are said. What
//! a person has written or paused it only tells of: disabled is absolute.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::{Ops, OpsError, PICKUP_WATCHDOG, Report};
use crate::dispatch::{AgentView, Login, Shown};
use crate::model::condition::{Condition, Mark};
use crate::model::ids::TaskId;
use crate::model::schedule::format_duration;
use crate::model::task::Severity;
use crate::model::ticket::Ticket;
use crate::model::time::millis;

/// The key of what it says.
pub const CONDITION: &str = "dispatch";
/// Begins the name of the condition of an agent whose `auth_check` does not answer.
pub const AUTH_CHECK: &str = "auth_check:";
/// Reasons for waiting that do not pass because somebody else gets done.
const HELD: [&str; 7] =
    ["dispatch_off", "agent_cooled", "agent_disabled", "agent_missing", "no_agent", "no_pool", "pool_broken"];
/// Reasons that pass by themselves.
const PASSING: [&str; 1] = ["agent_cooled"];
/// Different reasons that are told at once.
const LINES_MAX: usize = 8;

/// The task that switches dispatch on, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    On(TaskId),
    /// No task has the action.
    None,
    /// Its file has errors and nothing of it counts.
    Broken(TaskId),
    Disabled(TaskId),
    Paused {
        task: TaskId,
        by: String,
    },
    Draining(TaskId),
}

impl Switch {
    /// The task, if there is one.
    #[must_use]
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Self::On(task)
            | Self::Broken(task)
            | Self::Disabled(task)
            | Self::Paused { task, .. }
            | Self::Draining(task) => Some(task),
            Self::None => None,
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub switch: Switch,
    /// Profiles that are not logged in.
    pub logged_out: Vec<LoggedOut>,
    /// Tickets that nothing could take for long enough.
    pub held: Vec<Held>,
}

/// A profile whose login was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedOut {
    pub agent: String,
    /// What says so.
    pub why: String,
    /// It declares how to find out that it is logged in again.
    pub is_asked: bool,
}

/// A ticket that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub ticket: String,
    pub code: String,
    pub text: String,
    pub since_ms: i64,
}

/// What is to be said, if anything. Pure.
#[must_use]
pub fn judge(seen: &Seen, now_ms: i64) -> Option<Condition> {
    if seen.logged_out.is_empty() && seen.held.is_empty() {
        return None;
    }
    let waiting = match seen.held.len() {
        0 => String::new(),
        1 => "1 ticket waits".to_owned(),
        count => format!("{count} tickets wait"),
    };
    let names: Vec<&str> = seen.logged_out.iter().map(|out| out.agent.as_str()).collect();
    let title = match (names.is_empty(), waiting.is_empty()) {
        (false, true) => format!("not logged in: {}", names.join(", ")),
        (false, false) => format!("not logged in: {}; {waiting}", names.join(", ")),
        (true, _) => format!("dispatch is held up: {waiting}"),
    };
    let mut condition = Condition::new(CONDITION, severity(seen), title);
    for LoggedOut { agent, why, is_asked } in &seen.logged_out {
        let then = match is_asked {
            true => "it gets work again once it is logged in".to_owned(),
            false => format!("log it in, then: lucid agents enable {agent}"),
        };
        condition = condition.line(Mark::Bad, format!("{agent}: {why}")).line(Mark::Plain, then);
    }
    if let Some(line) = off(&seen.switch).filter(|_| !seen.held.is_empty()) {
        condition = condition.line(Mark::Bad, line);
    }
    let mut reasons: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
    for held in seen.held.iter().filter(|held| held.code != "dispatch_off") {
        reasons.entry(&held.text).or_default().push(held);
    }
    for (text, tickets) in reasons.iter().take(LINES_MAX) {
        let oldest = tickets.iter().min_by_key(|held| held.since_ms);
        let first = oldest.map_or("", |held| held.ticket.as_str());
        let more = if tickets.len() > 1 { format!(" and {} more", tickets.len() - 1) } else { String::new() };
        condition = condition.line(Mark::Doubtful, format!("{first}{more}: {text}"));
    }
    if let Some(oldest) = seen.held.iter().map(|held| held.since_ms).min() {
        let age =
            Duration::from_secs(u64::try_from(now_ms.saturating_sub(oldest) / 60_000).unwrap_or(0) * 60);
        condition = condition.line(Mark::Plain, format!("the oldest waits for {}", format_duration(age)));
    }
    Some(condition.line(Mark::Plain, "see: lucid agents; lucid tickets; lucid tasks".to_owned()))
}

fn severity(seen: &Seen) -> Severity {
    if !seen.logged_out.is_empty() {
        return Severity::Critical;
    }
    // A person has said so, or it passes.
    let is_meant = matches!(seen.switch, Switch::Paused { .. } | Switch::Draining(_));
    let passes = seen.held.iter().all(|held| PASSING.contains(&held.code.as_str()));
    if is_meant || passes { Severity::Info } else { Severity::Warning }
}

fn off(switch: &Switch) -> Option<String> {
    Some(match switch {
        Switch::On(_) => return None,
        Switch::None => "no task has `action: ticket-pickup`".to_owned(),
        Switch::Broken(task) => format!("the file of {task} has errors: lucid check"),
        Switch::Disabled(task) => format!("{task} is disabled: lucid enable {task}"),
        Switch::Paused { task, by } => format!("{task} is paused by {by}: lucid resume {task}"),
        Switch::Draining(_) => "the daemon is draining: lucid undrain".to_owned(),
    })
}

impl Ops {
    /// One look, and what follows from it.
    ///
    /// # Errors
    /// Only what the database says.
    pub async fn watch_pickup(&self, switch: Switch) -> Result<Report, OpsError> {
        let _turn = self.turns.watchdog.lock().await;
        let mut report = Report::counting(&["profiles", "logged out", "taken up again", "tickets held up"]);
        self.ask_logins(&mut report).await?;
        for agent in self.dispatch.end_rests().await? {
            report.count("taken up again", 1);
            report.lines.push(format!("{agent} has rested long enough and gets work again"));
        }
        self.dispatch.forget_probes();
        let agents = self.dispatch.agents().await?;
        report.count("profiles", agents.len());
        self.dispatch.pass(switch.task().cloned()).await?;
        let seen = Seen { switch, logged_out: self.logged_out(&agents), held: self.held().await? };
        report.count("logged out", seen.logged_out.len());
        report.count("tickets held up", seen.held.len());
        match judge(&seen, self.clock.wall_ms()) {
            Some(condition) => {
                report.lines.push(condition.title.clone());
                report.lines.extend(condition.lines.iter().map(|line| format!("  {}", line.text)));
                self.raise(condition, PICKUP_WATCHDOG).await?;
            }
            None => {
                if self.clear(CONDITION, "dispatch goes on again", PICKUP_WATCHDOG).await? {
                    report.lines.push("dispatch goes on again".to_owned());
                }
            }
        }
        Ok(report)
    }

    /// Asks each profile that declares how: one that is logged out gets no work, one that is logged in again
    /// gets some.
    async fn ask_logins(&self, report: &mut Report) -> Result<(), OpsError> {
        let before = self.dispatch.agents().await?;
        let is_off = |name: &str| before.iter().any(|a| a.name == name && a.shown == Shown::Disabled);
        for (agent, answer) in self.dispatch.ask_logins().await {
            self.tell_of_check(&agent, &answer, report).await?;
            match answer {
                Login::In if is_off(&agent) => {
                    self.dispatch.enable(&agent).await?;
                    info!(agent, "is logged in again and gets work again");
                    report.count("taken up again", 1);
                    report.lines.push(format!("{agent} is logged in again and gets work again"));
                }
                Login::In => {}
                Login::Out(why) => {
                    warn!(agent, why, "is not logged in");
                    self.dispatch.disable(&agent, &format!("auth: {why}")).await?;
                }
                Login::Unknown(_) => {}
            }
        }
        Ok(())
    }

    /// A check that says nothing changes nothing but that somebody is told.
    async fn tell_of_check(&self, agent: &str, answer: &Login, report: &mut Report) -> Result<(), OpsError> {
        let key = format!("{AUTH_CHECK}{agent}");
        match answer {
            Login::Unknown(why) => {
                warn!(agent, why, "the auth_check does not answer");
                let title = format!("The auth_check of {agent} does not answer");
                report.lines.push(format!("{title}: {why}"));
                let condition = Condition::new(&key, Severity::Warning, title).line(Mark::Bad, why.clone());
                self.raise(condition, PICKUP_WATCHDOG).await
            }
            Login::In | Login::Out(_) => {
                let title = format!("The auth_check of {agent} answers again");
                self.clear(&key, &title, PICKUP_WATCHDOG).await.map(drop)
            }
        }
    }

    /// A profile is disabled only because its login was refused.
    fn logged_out(&self, agents: &[AgentView]) -> Vec<LoggedOut> {
        let off = agents.iter().filter(|agent| agent.shown == Shown::Disabled);
        let out = off.map(|agent| LoggedOut {
            agent: agent.name.clone(),
            why: agent.reason.clone().unwrap_or_default(),
            is_asked: self.dispatch.profile(&agent.name).is_some_and(|own| !own.auth_check.is_empty()),
        });
        out.collect()
    }

    async fn held(&self) -> Result<Vec<Held>, OpsError> {
        let limit = millis(self.held_after);
        let now_ms = self.clock.wall_ms();
        let held = |ticket: Ticket| {
            let reason = ticket.reason?;
            let is_held = HELD.contains(&reason.code.as_str());
            (is_held && now_ms.saturating_sub(reason.since_ms) >= limit).then(|| Held {
                ticket: ticket.id.to_string(),
                code: reason.code,
                text: reason.text,
                since_ms: reason.since_ms,
            })
        };
        Ok(self.dispatch.waiting().await?.into_iter().filter_map(held).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 100 * 60_000;

    fn held(ticket: &str, code: &str, text: &str) -> Held {
        Held { ticket: ticket.into(), code: code.into(), text: text.into(), since_ms: NOW - 25 * 60_000 }
    }

    #[test]
    fn what_is_said_of_what_is_seen() {
        let task = || TaskId::parse("ticket-pickup").unwrap();
        let why = "auth: exit 1: Not logged in <b>".to_owned();
        let of = |is_asked| LoggedOut { agent: "claude".to_owned(), why: why.clone(), is_asked };
        let out = || vec![of(true)];
        let off =
            || vec![held("MC-1", "dispatch_off", "dispatch is off"), held("MC-2", "dispatch_off", "off")];
        let rests = || vec![held("MC-3", "agent_cooled", "claude rests: limit")];
        let gone = || vec![held("MC-4", "agent_missing", "codex cannot be started"), rests().remove(0)];
        let paused = || Switch::Paused { task: task(), by: "user:ann".to_owned() };
        let rows = [
            ("all is well", Switch::On(task()), vec![], vec![]),
            ("off, nobody waits", Switch::Disabled(task()), vec![], vec![]),
            ("logged out, nobody waits", Switch::On(task()), out(), vec![]),
            ("logged out, never asked", Switch::On(task()), vec![of(false)], vec![]),
            ("logged out, one waits", Switch::On(task()), out(), rests()),
            ("disabled", Switch::Disabled(task()), vec![], off()),
            ("paused", paused(), vec![], off()),
            ("draining", Switch::Draining(task()), vec![], off()),
            ("broken", Switch::Broken(task()), vec![], off()),
            ("no task", Switch::None, vec![], off()),
            ("rests", Switch::On(task()), vec![], rests()),
            ("gone and rests", Switch::On(task()), vec![], gone()),
        ];
        let mut table = String::new();
        for (name, switch, logged_out, held) in rows {
            table.push_str(&format!("{name}\n"));
            match judge(&Seen { switch, logged_out, held }, NOW) {
                None => table.push_str("  -\n"),
                Some(condition) => {
                    table.push_str(&format!("  {:?}: {}\n", condition.severity, condition.title));
                    for line in condition.lines {
                        table.push_str(&format!("    {:?} {}\n", line.mark, line.text));
                    }
                }
            }
        }
        insta::assert_snapshot!(table);
    }
}
