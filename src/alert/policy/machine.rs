//! What the box itself leads to: its database and disk, slots, agent profiles, and whatever a part of lucid has
//! found to be wrong for longer.

use super::{Before, Facts, Verdict, bold, code, plain, text};
use crate::alert::dedupe::{Over, Tell};
use crate::alert::words::{clip, passage, phrase};
use crate::model::condition::{Condition, Mark};
use crate::model::event::{Event, EventKind};
use crate::model::health::DAEMON;
use crate::model::notice::{Again, Button, Notice, NoticeKind, Part, Shown, Topic};
use crate::model::task::Severity;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// A full disk says so every minute; silence for so long means that it takes writes.
const DISK_FADES_MS: i64 = 10 * 60_000;
/// Characters of a reason.
const WHY_CHARS: usize = 400;
/// The key of the box's own health.
const HEALTH: &str = "health";
/// Begins the key of a login.
const LOGIN: &str = "token:";
/// Lines of a condition.
const LINES_MAX: usize = 20;

fn host(facts: &Facts) -> String {
    match facts {
        Facts::Machine(machine) => phrase(&machine.host),
        Facts::None
        | Facts::Run(_)
        | Facts::Ticket(_)
        | Facts::Message(_)
        | Facts::Start(_)
        | Facts::File(_) => "this box".to_owned(),
    }
}

/// Known, not told: the keepers have held everything meanwhile. A start after a good end ends it.
pub(super) fn started(facts: &Facts) -> Vec<Verdict> {
    let subject = "daemon:crash".to_owned();
    match facts {
        Facts::Start(Before::Crashed) => {}
        Facts::Start(Before::Stopped) => {
            let (kinds, ending) = (Vec::new(), vec![plain("The next daemon said goodbye.")]);
            return vec![Verdict::Clear(Over { subject, kinds, ending, tell: Tell::Never })];
        }
        Facts::None
        | Facts::Run(_)
        | Facts::Ticket(_)
        | Facts::Message(_)
        | Facts::File(_)
        | Facts::Machine(_) => return Vec::new(),
    }
    let mut notice = Notice::new(NoticeKind::DaemonCrashed, subject, Severity::Info);
    notice.headline = vec![bold("The daemon was started after one that had not said goodbye")];
    notice.body = vec![plain("Runs went on under their keepers and were taken up again.")];
    notice.fades_ms = Some(DAY_MS);
    vec![Verdict::raise(notice)]
}

pub(super) fn restored(facts: &Facts) -> Vec<Verdict> {
    let subject = "daemon:database".to_owned();
    let mut notice = Notice::new(NoticeKind::DatabaseRestored, subject, Severity::Critical);
    notice.headline = vec![bold(format!("Database replaced by a backup on {}", host(facts)))];
    notice.body = vec![
        plain("The file was broken or gone. What happened since the backup is not in it; runs that left a "),
        plain("result were taken up. The broken file is kept. See: "),
        code("lucid problems"),
    ];
    notice.fades_ms = Some(7 * DAY_MS);
    vec![Verdict::raise(notice)]
}

pub(super) fn disk_full(facts: &Facts) -> Vec<Verdict> {
    let mut notice = Notice::new(NoticeKind::DiskFull, "daemon:disk".to_owned(), Severity::Critical);
    notice.headline = vec![bold(format!("Disk full on {}", host(facts)))];
    notice.body = vec![plain(
        "The disk of the state directory took no write. The reserve was given up so that lucid goes on.",
    )];
    notice.meanwhile = vec![plain("Runs may fail. Free some space: "), code("df -h")];
    notice.repeat_ms = HOUR_MS;
    notice.fades_ms = Some(DISK_FADES_MS);
    vec![Verdict::raise(notice)]
}

pub(super) fn quarantined(event: &Event) -> Vec<Verdict> {
    let Some(slot) = text(event, "slot") else { return Vec::new() };
    let mut notice = Notice::new(NoticeKind::SlotQuarantined, format!("slot:{slot}"), Severity::Warning);
    notice.headline = vec![bold(format!("Slot {slot} is in quarantine"))];
    if let Some(why) = text(event, "why") {
        notice.body.push(plain(passage(why, WHY_CHARS)));
        notice.cause = Some(phrase(why));
    }
    notice.meanwhile.extend([
        plain("Nothing of it is lost. It is tried again every 10 min; the other slots go on. By hand: "),
        code(format!("lucid pool heal {slot}")),
    ]);
    vec![Verdict::raise(notice)]
}

pub(super) fn healed(event: &Event) -> Vec<Verdict> {
    let Some(slot) = text(event, "slot") else { return Vec::new() };
    vec![Verdict::Clear(Over {
        subject: format!("slot:{slot}"),
        kinds: Vec::new(),
        ending: Vec::new(),
        tell: Tell::Reply,
    })]
}

pub(super) fn agent_rests(event: &Event) -> Vec<Verdict> {
    let Some(agent) = text(event, "agent").map(phrase) else { return Vec::new() };
    let is_disabled = event.kind == EventKind::AgentDisabled;
    // One that rests comes back by itself.
    let (kind, severity) = match is_disabled {
        true => (NoticeKind::AgentDisabled, Severity::Warning),
        false => (NoticeKind::AgentCooled, Severity::Info),
    };
    let mut notice = Notice::new(kind, format!("agent:{agent}"), severity);
    notice.topic = Topic::Tickets;
    notice.headline = vec![bold(format!(
        "Agent {agent} {}",
        if is_disabled { "gets no work until you mend it" } else { "rests" }
    ))];
    if let Some(why) = text(event, "reason") {
        notice.body.push(plain(passage(why, WHY_CHARS)));
        notice.cause = Some(phrase(why));
    }
    match super::number(event, "until_ms") {
        Some(ms) => {
            notice.meanwhile.extend([plain("Until "), Part::Time { ms, shown: Shown::Day }, plain(".")]);
            notice.fades_ms = Some(DAY_MS);
        }
        None => notice.meanwhile.extend([
            plain("Tickets go to its fallbacks, else they wait. When it is mended: "),
            code(format!("lucid agents enable {agent}")),
        ]),
    }
    vec![Verdict::raise(notice)]
}

/// Whatever a part of lucid found to be wrong, said by it again and again or once.
pub(super) fn condition(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(condition) = Condition::of(event) else { return Vec::new() };
    let subject = format!("condition:{}", condition.key);
    if let Some(ticket) = condition.ticket.as_deref().filter(|_| condition.key.starts_with(LOGIN)) {
        // Its ticket asks the person: one trouble is one message.
        let ending = vec![plain(format!("{} asks for it.", phrase(ticket)))];
        return vec![Verdict::Clear(Over { subject, kinds: Vec::new(), ending, tell: Tell::Edit })];
    }
    let is_health = condition.key == HEALTH;
    let mut notice = Notice::new(NoticeKind::Condition, subject, condition.severity);
    notice.again = Again::Lasting;
    if condition.severity == Severity::Critical {
        notice.repeat_ms = HOUR_MS;
    }
    notice.headline = match (is_health, condition.severity) {
        (true, Severity::Critical) => vec![bold(format!("CRITICAL: lucid on {}", host(facts)))],
        (true, Severity::Warning | Severity::Info) => {
            vec![bold(format!("Degraded: lucid on {}", host(facts)))]
        }
        (false, _) => vec![bold(phrase(&condition.title))],
    };
    if is_health && condition.severity == Severity::Critical {
        notice.cause = explanation(&condition);
    }
    notice.body = lines(&condition, is_health.then(|| phrase(&condition.title)));
    if is_health && condition.severity == Severity::Critical {
        notice.meanwhile.push(plain("Repeats every 1h until it clears or you press Ack."));
        notice.buttons.push(Button::data("Status", "s:status".to_owned()));
    }
    if let Some(link) = &condition.link {
        match Button::link("Open", link) {
            Some(open) => notice.buttons.push(open),
            None => notice.body.extend([Part::Break, plain(phrase(link))]),
        }
    }
    if let Some(ticket) = &condition.ticket {
        if !notice.body.is_empty() {
            notice.body.push(Part::Break);
        }
        notice.body.extend([plain("Ticket: "), code(phrase(ticket))]);
    }
    vec![Verdict::raise(notice)]
}

/// What of the box's health makes its tasks fail: a disk without room, a database that takes nothing. Failed runs
/// explain no failed run, and what the database has been through explains none of today.
fn explanation(condition: &Condition) -> Option<String> {
    let explains = |id: &str| id.starts_with("disk:") || id == DAEMON;
    let bad = condition.lines.iter().filter(|line| line.mark == Mark::Bad);
    bad.filter(|line| line.check.as_deref().is_some_and(explains))
        .map(|line| clip(&phrase(&line.text), WHY_CHARS).into_owned())
        .next()
}

/// What is bad a line each; what is well together on one.
fn lines(condition: &Condition, title: Option<String>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let begin = |parts: &mut Vec<Part>| {
        if !parts.is_empty() {
            parts.push(Part::Break);
        }
    };
    let bad = condition.lines.iter().filter(|line| line.mark != Mark::Good);
    for line in bad.take(LINES_MAX) {
        begin(&mut parts);
        let sign = match line.mark {
            Mark::Bad => "✗ ",
            Mark::Doubtful => "! ",
            Mark::Good | Mark::Plain => "",
        };
        parts.extend([plain(sign), plain(phrase(&line.text))]);
    }
    if let (true, Some(title)) = (parts.is_empty(), title) {
        parts.push(plain(title));
    }
    let good: Vec<String> = condition
        .lines
        .iter()
        .filter(|line| line.mark == Mark::Good)
        .take(LINES_MAX)
        .map(|line| format!("✓ {}", phrase(&line.text)))
        .collect();
    if !good.is_empty() {
        begin(&mut parts);
        parts.push(plain(good.join(" · ")));
    }
    parts
}

pub(super) fn condition_over(event: &Event) -> Vec<Verdict> {
    let Some(key) = text(event, "key") else { return Vec::new() };
    let ending = text(event, "title").map(|title| vec![plain(phrase(title))]).unwrap_or_default();
    vec![Verdict::Clear(Over {
        subject: format!("condition:{key}"),
        kinds: Vec::new(),
        ending,
        tell: Tell::Reply,
    })]
}
