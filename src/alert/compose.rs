//! An alert as a message: which words stand around its notice, by what the message is for. Pure.

use super::outbox::Purpose;
use super::people::name_of;
use super::table::Members;
use super::words::phrase;
use crate::model::alert::{Alert, AlertState};
use crate::model::notice::{Again, Button, Notice, NoticeKind, Part, Shown};
use crate::model::span::span;
use crate::model::task::Severity;

/// Names that a message lists before it only counts.
pub const NAMED_MAX: u32 = 8;

/// The subject of how well the whole box is.
pub const HEALTH: &str = "condition:health";

/// What a message says besides its own alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// Subjects of what else goes on, and how much there is.
    pub others: (Vec<String>, i64),
    /// Of a fold.
    pub members: Option<Members>,
    /// What the message that is changed was for.
    pub changed: Option<Purpose>,
    /// An earlier attempt may have come through.
    pub is_doubtful: bool,
    pub now_ms: i64,
}

/// A text and what can be pressed below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    pub parts: Vec<Part>,
    pub buttons: Vec<Button>,
}

/// The name of what a subject is about: `backup` of `task:backup`.
#[must_use]
pub fn name(subject: &str) -> &str {
    subject.split_once(':').map_or(subject, |(_, name)| name)
}

/// The message of `purpose` about `alert`.
#[must_use]
pub fn compose(alert: &Alert, purpose: Purpose, around: &Around) -> Composed {
    let mut parts = match purpose {
        Purpose::Recovery => recovery(alert, around),
        Purpose::First
        | Purpose::Again
        | Purpose::Worse
        | Purpose::Flapping
        | Purpose::Edit
        | Purpose::Brief
        | Purpose::Test => trouble(alert, purpose, around),
    };
    if around.is_doubtful {
        parts.extend([Part::Break, Part::Italic("(may be a repeat)".to_owned())]);
    }
    let buttons = match purpose {
        Purpose::Recovery => Vec::new(),
        Purpose::First
        | Purpose::Again
        | Purpose::Worse
        | Purpose::Flapping
        | Purpose::Edit
        | Purpose::Brief
        | Purpose::Test => buttons(alert, around.now_ms),
    };
    Composed { parts, buttons }
}

fn trouble(alert: &Alert, purpose: Purpose, around: &Around) -> Vec<Part> {
    // An edit shows how it is; any other message how it was when it was made.
    let is_over = alert.is_over() && purpose == Purpose::Edit;
    let sign = if is_over { "🟢" } else { mark(&alert.notice, alert.severity) };
    let mut parts = vec![Part::Text(format!("{sign} "))];
    // A message that is changed keeps the word it began with, until it is over.
    let said = around.changed.filter(|_| !is_over).unwrap_or(purpose);
    match said {
        Purpose::Again if alert.notice.kind.is_of_task() => bold(&mut parts, "Still failing: "),
        Purpose::Again => bold(&mut parts, "Still so: "),
        Purpose::Worse => bold(&mut parts, "Now critical: "),
        Purpose::Flapping => bold(&mut parts, "Flapping: "),
        Purpose::First | Purpose::Edit | Purpose::Recovery | Purpose::Brief | Purpose::Test => {}
    }
    match &around.members {
        Some(members) => fold(&mut parts, alert, members),
        None => {
            let notice = &alert.notice;
            let meanwhile = if is_over { &[] } else { notice.meanwhile.as_slice() };
            lines(&mut parts, &notice.headline, [&notice.body, meanwhile]);
        }
    }
    if said == Purpose::Flapping {
        line(&mut parts, "It comes and goes: said once an hour.");
    }
    // What lasts is found again every few minutes; that says nothing.
    if alert.count > 1 && around.members.is_none() && alert.notice.again == Again::Happening {
        line(&mut parts, &format!("{} times since ", alert.count));
        parts.push(Part::Time { ms: alert.first_ms, shown: Shown::Day });
        parts.push(Part::Text(".".to_owned()));
    }
    standing(&mut parts, alert, around.now_ms);
    parts
}

fn lines(parts: &mut Vec<Part>, headline: &[Part], below: [&[Part]; 2]) {
    parts.extend_from_slice(headline);
    for line in below.into_iter().filter(|line| !line.is_empty()) {
        parts.push(Part::Break);
        parts.extend_from_slice(line);
    }
}

/// What people did about it, and whether it is over.
fn standing(parts: &mut Vec<Part>, alert: &Alert, now_ms: i64) {
    let by = alert.actor.as_deref().map(|who| format!(" by {}", phrase(name_of(who)))).unwrap_or_default();
    match alert.state_at(now_ms) {
        AlertState::Firing => {}
        AlertState::Acked => {
            parts.push(Part::Break);
            parts.push(Part::Italic(format!("Acknowledged{by}.")));
        }
        AlertState::Muted => {
            parts.extend([Part::Break, Part::Italic("Muted until ".to_owned())]);
            let ms = alert.muted_until_ms.unwrap_or(now_ms);
            parts.push(Part::Time { ms, shown: Shown::Day });
            parts.push(Part::Italic(format!("{by}.")));
        }
        AlertState::Resolved => {
            parts.extend([Part::Break, Part::Italic("Over since ".to_owned())]);
            let ms = alert.resolved_ms.unwrap_or(now_ms);
            parts.push(Part::Time { ms, shown: Shown::Day });
            parts.push(Part::Italic(format!(", after {}.", span(ms - alert.first_ms))));
        }
    }
}

fn fold(parts: &mut Vec<Part>, alert: &Alert, members: &Members) {
    parts.push(Part::Bold(format!("{} things went wrong", alert.count)));
    parts.push(Part::Text(" within 2 minutes of each other".to_owned()));
    if let Some(cause) = &members.cause {
        line(parts, "Likely one cause: ");
        parts.push(Part::Code(phrase(cause)));
    }
    // Those before it had each a message of their own.
    let alone = alert.count - members.total;
    let alone = if alone > 0 { format!("{alone} told by themselves before, ") } else { String::new() };
    line(parts, &format!("{alone}{} folded into this message: ", members.total));
    parts.push(Part::Text(listed(&members.subjects, members.distinct)));
    if members.open < members.total {
        let well = members.total - members.open;
        line(parts, &format!("Of those {} folded, {well} are well again.", members.total));
    }
}

fn recovery(alert: &Alert, around: &Around) -> Vec<Part> {
    let lasted = span(alert.resolved_ms.unwrap_or(around.now_ms) - alert.first_ms);
    let name = phrase(name(&alert.notice.subject));
    let runs =
        if alert.count == 1 { "1 run failed".to_owned() } else { format!("{} runs failed", alert.count) };
    let (head, tail) = match alert.notice.kind {
        // It may have ended in another state than well; the end itself says in which.
        _ if alert.notice.subject == HEALTH && !alert.ending.is_empty() => {
            return health_over(alert, around, &lasted);
        }
        NoticeKind::TaskFailed | NoticeKind::TaskTimedOut | NoticeKind::TaskMissed => {
            (format!("{name} recovered"), format!(" · down {lasted}, {runs}"))
        }
        NoticeKind::FileBroken => (format!("{name}: its file is mended"), format!(" · after {lasted}")),
        NoticeKind::Storm => match &around.members {
            Some(members) => (
                format!("All {} that were folded are well again", members.total),
                format!(" · after {lasted}"),
            ),
            None => ("All are well again".to_owned(), format!(" · after {lasted}")),
        },
        NoticeKind::KillFailed => (format!("{name} has ended after all"), format!(" · after {lasted}")),
        NoticeKind::SlotQuarantined => (format!("{name} is clean again"), format!(" · after {lasted}")),
        NoticeKind::DiskFull => ("The disk takes writes again".to_owned(), format!(" · after {lasted}")),
        NoticeKind::TicketAsks | NoticeKind::TicketStuck => {
            (format!("{name} no longer needs you"), format!(" · after {lasted}"))
        }
        NoticeKind::Condition
        | NoticeKind::DatabaseRestored
        | NoticeKind::WorkerKilled
        | NoticeKind::MessageExpired
        | NoticeKind::MessageDead
        | NoticeKind::AgentCooled
        | NoticeKind::AgentDisabled
        | NoticeKind::DaemonCrashed => (format!("{name} is well again"), format!(" · after {lasted}")),
    };
    let mut parts = vec![Part::Text("🟢 ".to_owned()), Part::Bold(head), Part::Text(tail)];
    if !alert.ending.is_empty() {
        parts.push(Part::Break);
        parts.extend(alert.ending.iter().cloned());
    }
    others(&mut parts, around);
    parts
}

fn health_over(alert: &Alert, around: &Around, lasted: &str) -> Vec<Part> {
    let mut parts = vec![Part::Text("🟢 ".to_owned())];
    parts.extend(alert.ending.iter().map(|part| match part {
        Part::Text(text) => Part::Bold(text.clone()),
        other => other.clone(),
    }));
    parts.push(Part::Text(format!(" · after {lasted}")));
    if around.others.0 != [HEALTH] {
        others(&mut parts, around);
    }
    parts
}

/// What else is not well. That all is well is not for alerts to say: not all that is amiss is one.
fn others(parts: &mut Vec<Part>, around: &Around) {
    let (names, total) = &around.others;
    if *total > 0 {
        line(parts, &format!("Not healthy yet: {}.", listed(names, *total)));
    }
}

/// Names, and how many more there are.
fn listed(subjects: &[String], total: i64) -> String {
    let names: Vec<String> = subjects.iter().map(|subject| phrase(name(subject))).collect();
    let more = total - i64::try_from(names.len()).unwrap_or(total);
    match more {
        ..=0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn buttons(alert: &Alert, now_ms: i64) -> Vec<Button> {
    let id = alert.id.0;
    let ack = || Button::data("Ack", format!("a:ack:{id}"));
    let mute = || Button::data("Mute 1h", format!("a:mute:{id}:1h"));
    let own = alert.notice.buttons.iter().cloned();
    let usual = match alert.state_at(now_ms) {
        AlertState::Resolved => return Vec::new(),
        AlertState::Firing if has_own_way(alert.notice.kind) => Vec::new(),
        AlertState::Firing => vec![mute(), ack()],
        AlertState::Acked => vec![mute()],
        AlertState::Muted => vec![Button::data("Unmute", format!("a:unmute:{id}"))],
    };
    own.chain(usual).collect()
}

/// What a person answers instead of acknowledging.
fn has_own_way(kind: NoticeKind) -> bool {
    matches!(
        kind,
        NoticeKind::TicketAsks
            | NoticeKind::TicketStuck
            | NoticeKind::WorkerKilled
            | NoticeKind::MessageExpired
            | NoticeKind::MessageDead
    )
}

fn mark(notice: &Notice, severity: Severity) -> &'static str {
    match notice.kind {
        NoticeKind::TaskFailed => "🔴",
        NoticeKind::TaskTimedOut | NoticeKind::FileBroken | NoticeKind::SlotQuarantined => "🟠",
        NoticeKind::TaskMissed => "⏰",
        NoticeKind::KillFailed | NoticeKind::DatabaseRestored | NoticeKind::DiskFull => "🆘",
        NoticeKind::TicketAsks | NoticeKind::TicketStuck => "🙋",
        NoticeKind::WorkerKilled => "⛔",
        NoticeKind::MessageExpired | NoticeKind::MessageDead => "📪",
        NoticeKind::AgentDisabled => "🟠",
        NoticeKind::AgentCooled | NoticeKind::DaemonCrashed => "🔵",
        NoticeKind::Condition | NoticeKind::Storm => match severity {
            Severity::Critical => "🆘",
            Severity::Warning => "🟠",
            Severity::Info => "🔵",
        },
    }
}

fn bold(parts: &mut Vec<Part>, text: &str) {
    parts.push(Part::Bold(text.to_owned()));
}

fn line(parts: &mut Vec<Part>, text: &str) {
    parts.extend([Part::Break, Part::Text(text.to_owned())]);
}

#[cfg(test)]
#[path = "compose_tests.rs"]
mod tests;
