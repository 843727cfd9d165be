//! What each event leads to, as it would read; and that nothing strange breaks it.

use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::alert::dedupe::Tell;
use crate::alert::render::{VISIBLE_MAX, render, units};
use crate::alert::words::{Tail, tail};
use crate::model::condition::{Condition, Mark};
use crate::model::event::Event;
use crate::model::ids::{RunId, TaskId};
use crate::model::notice::Press;
use crate::model::run::{Run, RunState, Trigger};
use crate::model::task::{AlertEvent, Alerts, Deliver, Severity};

#[path = "tests/bare.rs"]
mod bare;
#[path = "tests/causes.rs"]
mod causes;
#[path = "tests/files.rs"]
mod files;
#[path = "tests/missed.rs"]
mod missed;

/// 02:00 UTC.
const AT_MS: i64 = 1_795_226_400_000;

fn recorded(event: Event) -> Recorded {
    Recorded { seq: 1, at_ms: AT_MS, event }
}

fn alerts() -> Alerts {
    Alerts {
        events: vec![AlertEvent::Failure, AlertEvent::Timeout, AlertEvent::Missed, AlertEvent::Recovery],
        after: 1,
        severity: Severity::Warning,
        repeat: Duration::from_secs(6 * 3600),
        mute_until: None,
    }
}

fn run(state: RunState) -> Run {
    let mut run = Run::new(RunId(8123), TaskId::parse("db-backup").unwrap(), Trigger::Schedule, state);
    (run.scheduled_ms, run.started_ms) = (Some(AT_MS), Some(AT_MS + 1000));
    (run.ended_ms, run.duration_ms) = (Some(AT_MS + 5200), Some(4200));
    (run.exit_code, run.reason) = (Some(1), Some("exit".to_owned()));
    run
}

fn facts(run: Run) -> RunFacts {
    let task = TaskFacts {
        alerts: alerts(),
        deliver: Deliver::None,
        timeout_ms: 180_000,
        retries_max: 2,
        next_ms: Some(AT_MS + 86_400_000),
    };
    let (missed, tail) = (Missed::default(), Tail::default());
    RunFacts {
        run,
        task: Some(task),
        missed,
        failures: 1,
        oks: 9,
        tail,
        end: None,
        answer: None,
        is_bare: false,
    }
}

fn finished(facts: RunFacts) -> Vec<Verdict> {
    let state = facts.run.state().name();
    let event = Event::new(EventKind::RunFinished)
        .task(&facts.run.task)
        .run(facts.run.id)
        .data(json!({"state": state}));
    judge(&recorded(event), &Facts::Run(Box::new(facts)))
}

fn read(verdict: &Verdict) -> String {
    let parts = match verdict {
        Verdict::Raise(notice) => {
            let buttons: Vec<String> =
                notice.buttons.iter().map(|button| format!("[{} {:?}]", button.text, button.press)).collect();
            let mut parts = vec![plain(format!("{} ({:?}) ", notice.fingerprint(), notice.severity))];
            parts.extend(notice.headline.iter().cloned());
            parts.push(Part::Break);
            parts.extend(notice.body.iter().chain([&Part::Break]).chain(&notice.meanwhile).cloned());
            parts.extend([Part::Break, plain(buttons.join(" "))]);
            parts
        }
        Verdict::Clear(over) => {
            let mut parts = vec![plain(format!("over: {} {:?} {:?} ", over.subject, over.kinds, over.tell))];
            parts.extend(over.ending.iter().cloned());
            parts
        }
        Verdict::Brief { text, .. } => text.clone(),
    };
    render(&parts, &TimeZone::UTC, usize::MAX).plain
}

fn read_all(verdicts: &[Verdict]) -> String {
    verdicts.iter().map(|verdict| format!("{}\n\n", read(verdict))).collect()
}

fn notice(verdicts: &[Verdict]) -> Option<&Notice> {
    verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Raise(notice) => Some(notice.as_ref()),
        Verdict::Clear(_) | Verdict::Brief { .. } => None,
    })
}

fn of_runs() -> Vec<Vec<Verdict>> {
    let mut told = Vec::new();
    let mut failed = facts(run(RunState::Failed));
    failed.tail = tail(b"1\n2\n3\n4\nError: <malformed>\nbackups/x.db: quick_check failed\n");
    failed.run.retry_ms = Some(AT_MS + 35_000);
    told.push(finished(failed));
    let mut killed = facts(run(RunState::Failed));
    (killed.run.exit_code, killed.run.signal, killed.failures) = (None, Some(9), 3);
    if let Some(task) = &mut killed.task {
        task.next_ms = None;
    }
    told.push(finished(killed));
    let mut gone = facts(run(RunState::Failed));
    (gone.run.exit_code, gone.run.reason) = (Some(127), Some("spawn".to_owned()));
    (gone.run.trigger, gone.run.actor) = (Trigger::Manual, "cli:alice".to_owned());
    told.push(finished(gone));
    let mut late = facts(run(RunState::Timeout));
    late.end = Some(EndFacts { lasted_ms: 190_000, killed: 4, is_escalated: true });
    late.failures = 3;
    late.tail = tail(b"pool: waiting for a free slot (3 of 3 busy)\n");
    told.push(finished(late));
    let mut lost = facts(run(RunState::Lost));
    (lost.run.exit_code, lost.run.reason) = (None, Some("reboot".to_owned()));
    told.push(finished(lost));
    let mut blocked = facts(run(RunState::Blocked));
    blocked.run.reason = Some("preflight".to_owned());
    told.push(finished(blocked));
    told.push(finished(facts(run(RunState::Ok))));
    told
}

#[test]
fn what_runs_lead_to() {
    let told: Vec<String> = of_runs().iter().map(|verdicts| read_all(verdicts)).collect();
    insta::assert_snapshot!(told.join("---\n"));
}

#[test]
fn what_a_task_wants_to_hear_decides() {
    let with = |change: &dyn Fn(&mut RunFacts)| {
        let mut facts = facts(run(RunState::Failed));
        change(&mut facts);
        notice(&finished(facts)).is_some()
    };
    let settings =
        |change: &dyn Fn(&mut Alerts)| with(&|facts| change(&mut facts.task.as_mut().unwrap().alerts));
    assert!(with(&|_| {}));
    assert!(!settings(&|alerts| alerts.events.clear()), "off");
    assert!(!settings(&|alerts| alerts.events = vec![AlertEvent::Timeout]));
    assert!(!settings(&|alerts| alerts.after = 2));
    assert!(!settings(&|alerts| alerts.mute_until = Some("2027-01-01T00:00:00Z".parse().unwrap())));
    assert!(settings(&|alerts| alerts.mute_until = Some("2026-01-01T00:00:00Z".parse().unwrap())));
    assert!(with(&|facts| {
        facts.task.as_mut().unwrap().alerts.after = 2;
        facts.failures = 2;
    }));
    assert!(!with(&|facts| facts.task = None), "its file is gone");
    assert!(!with(&|facts| facts.run.ticket = Some("MC-1".to_owned())), "a worker's end is its ticket's");
    let mut quiet = facts(run(RunState::Ok));
    quiet.task.as_mut().unwrap().alerts.events = vec![AlertEvent::Failure];
    let tells: Vec<Tell> = finished(quiet)
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Clear(over) if over.subject.starts_with("task:") => Some(over.tell),
            Verdict::Clear(_) | Verdict::Raise(_) | Verdict::Brief { .. } => None,
        })
        .collect();
    assert_eq!(tells, [Tell::Edit, Tell::Edit], "without `recovery` the message only changes");
}

#[test]
fn what_is_delivered() {
    let brief = |deliver, answer: Option<&str>| {
        let mut facts = facts(run(RunState::Ok));
        facts.task.as_mut().unwrap().deliver = deliver;
        facts.answer = answer.map(str::to_owned);
        finished(facts).iter().find_map(|verdict| match verdict {
            Verdict::Brief { .. } => Some(read(verdict)),
            Verdict::Raise(_) | Verdict::Clear(_) => None,
        })
    };
    let telegram = Deliver::Telegram;
    assert_eq!(brief(telegram, Some("\u{1b}[1mTwo\u{1b}[0m <tickets>\n")), Some("Two <tickets>".to_owned()));
    for silent in ["", " \n ", "[SILENT]", "\n[SILENT]\n", "\u{1b}[0m"] {
        assert_eq!(brief(telegram, Some(silent)), None, "{silent:?}");
    }
    assert_eq!(brief(telegram, None), None);
    assert_eq!(brief(Deliver::None, Some("x")), None);
    let long = brief(telegram, Some(&"x".repeat(200_000))).unwrap();
    assert!(units(&long) < 3_900 && long.ends_with("(3600 of 200000 characters; the rest: lucid logs 8123)"));
}

fn ticket_facts() -> Facts {
    Facts::Ticket(Box::new(TicketFacts {
        title: "Rotate the mail token".to_owned(),
        is_critical: false,
        attempt: 2,
        max_attempts: Some(3),
        agent: Some("claude".to_owned()),
        branch: Some("cr/mc-4-rotate-2".to_owned()),
        state: "todo".to_owned(),
        max_runtime_ms: Some(3_600_000),
        answered: Answered::ByWorker,
    }))
}

fn of_tickets() -> Vec<(Recorded, Facts)> {
    let on = |kind, data: Value| recorded(Event::new(kind).ticket("MC-4").actor("run:#7").data(data));
    let ask = json!({"need": "A new <token>", "why": "It was revoked.", "how": "Open the portal.",
        "options": ["Done", "Skip it", "a very long option that does not fit on any button"]});
    let message = Facts::Message(MessageFacts { text: "yes, go ahead".to_owned(), created_ms: AT_MS });
    vec![
        (on(EventKind::TicketAsked, ask), ticket_facts()),
        (
            on(EventKind::TicketMoved, json!({"from": "in_progress", "to": "needs_input", "code": "asked"})),
            ticket_facts(),
        ),
        (
            on(
                EventKind::TicketMoved,
                json!({"from": "in_progress", "to": "needs_input", "code": "attempts_spent", "reason": "5 attempts were made"}),
            ),
            ticket_facts(),
        ),
        (on(EventKind::TicketMoved, json!({"from": "needs_input", "to": "todo"})), ticket_facts()),
        (on(EventKind::TicketMoved, json!({"from": "todo", "to": "in_progress"})), ticket_facts()),
        (on(EventKind::AttemptStarted, json!({"agent": "claude", "attempt": 2, "run": 7})), Facts::None),
        (
            on(
                EventKind::AttemptEnded,
                json!({"run": 7, "outcome": "timeout", "commit": "0123456789abcdef"}),
            ),
            ticket_facts(),
        ),
        (on(EventKind::AttemptEnded, json!({"run": 7, "outcome": "ok", "commit": null})), ticket_facts()),
        (
            on(
                EventKind::MessageDead,
                json!({"message": 5, "author": "user:alice", "attempts": 3, "error": "its worker is gone"}),
            ),
            message.clone(),
        ),
        (
            on(
                EventKind::MessageExpired,
                json!({"message": 6, "author": "user:alice", "attempts": 0, "error": "not taken within 30m: pool full"}),
            ),
            message.clone(),
        ),
        (
            on(
                EventKind::MessageDead,
                json!({"message": 5, "attempts": 0, "error": "dropped by user:alice"}),
            ),
            message,
        ),
        (on(EventKind::MessageQueued, json!({"message": 5})), Facts::None),
    ]
}

#[test]
fn what_tickets_lead_to() {
    let told: Vec<String> = of_tickets()
        .iter()
        .map(|(event, facts)| format!("{}\n{}", event.event.kind.name(), read_all(&judge(event, facts))))
        .collect();
    insta::assert_snapshot!(told.join("---\n"));
}

fn of_the_box() -> Vec<(Recorded, Facts)> {
    let task = TaskId::parse("nightly").unwrap();
    let event = |kind, data: Value| recorded(Event::new(kind).data(data));
    let health = Condition::new("health", Severity::Critical, "critical: disk".to_owned())
        .line(Mark::Bad, "Disk 7% free on / (critical below 10%)".to_owned())
        .line(Mark::Doubtful, "Backup 2d old".to_owned())
        .line(Mark::Good, "CLI".to_owned())
        .line(Mark::Good, "API".to_owned());
    let mut token = Condition::new("token:mail", Severity::Warning, "mail needs a login".to_owned());
    (token.link, token.ticket) = (Some("https://portal.example".to_owned()), Some("MC-4".to_owned()));
    let machine = Facts::Machine(MachineFacts { host: "atlas".to_owned() });
    let file = Facts::File(FileFacts {
        wrong: Some("tasks/nightly.md:5: E101 unknown key \"timout\"".to_owned()),
        is_stale: true,
    });
    let broken = recorded(Event::new(EventKind::TaskBroken).task(&task));
    let mended = recorded(Event::new(EventKind::TaskMended).task(&task));
    let removed = recorded(Event::new(EventKind::TaskRemoved).task(&task));
    let kill = recorded(Event::new(EventKind::RunKillFailed).task(&task).run(RunId(7)));
    let mut missed = facts(run(RunState::Missed));
    missed.run.missed_to_ms = Some(AT_MS + 7_200_000);
    let missed = Facts::Run(Box::new(missed));
    vec![
        (event(EventKind::DaemonStarted, json!({})), Facts::Start(Before::Stopped)),
        (event(EventKind::DaemonStarted, json!({})), Facts::Start(Before::Crashed)),
        (event(EventKind::DatabaseRestored, Value::Null), machine.clone()),
        (event(EventKind::DiskFull, Value::Null), machine.clone()),
        (broken, file),
        (event(EventKind::TaskBroken, json!({"count": 120})), Facts::None),
        (mended, Facts::None),
        (removed, Facts::None),
        (kill, Facts::None),
        (event(EventKind::RunMissed, json!({"to_ms": AT_MS + 7_200_000, "count": 3})), missed),
        (event(EventKind::SlotQuarantined, json!({"slot": "main-1", "why": "no <space>"})), Facts::None),
        (event(EventKind::SlotLeased, json!({"slot": "main-1"})), Facts::None),
        (
            event(
                EventKind::AgentCooled,
                json!({"agent": "claude", "reason": "rate_limited", "until_ms": AT_MS}),
            ),
            Facts::None,
        ),
        (event(EventKind::AgentDisabled, json!({"agent": "claude", "reason": "auth: log in"})), Facts::None),
        (recorded(health.raised()), machine.clone()),
        (recorded(token.raised()), machine),
        (recorded(Condition::cleared("token:mail", "well again")), Facts::None),
    ]
}

/// What every button says that anything leads to.
pub(crate) fn buttons() -> Vec<String> {
    let rows = of_tickets().into_iter().chain(of_the_box());
    let verdicts = of_runs().into_iter().chain(rows.map(|(event, facts)| judge(&event, &facts)));
    let notices = verdicts.flatten().filter_map(|verdict| match verdict {
        Verdict::Raise(notice) => Some(notice),
        Verdict::Clear(_) | Verdict::Brief { .. } => None,
    });
    let pressed = notices.flat_map(|notice| notice.buttons).filter_map(|button| match button.press {
        Press::Data(data) => Some(data),
        Press::Link(_) => None,
    });
    pressed.collect()
}

#[test]
fn what_the_box_leads_to() {
    let told: Vec<String> = of_the_box()
        .iter()
        .map(|(event, facts)| format!("{}\n{}", event.event.kind.name(), read_all(&judge(event, facts))))
        .collect();
    insta::assert_snapshot!(told.join("---\n"));
}

#[test]
fn every_kind_that_leads_to_something_is_followed() {
    for kind in KINDS {
        assert_eq!(KINDS.iter().filter(|other| **other == kind).count(), 1, "{kind:?}");
    }
    for silent in [EventKind::RunStarted, EventKind::BackupMade, EventKind::TicketCommented] {
        assert!(!KINDS.contains(&silent));
        assert_eq!(judge(&recorded(Event::new(silent)), &Facts::None), []);
    }
}

proptest! {
    /// Whatever stands in an event, its message stays within the limit and nothing panics.
    #[test]
    fn no_text_is_too_hostile(text in "\\PC{0,60}|[<>&\"\u{1b}\u{202e}\n]{0,30}|x{3000}", n in any::<i64>()) {
        let data = json!({
            "need": text, "why": text, "options": [text, text], "slot": text, "agent": text, "reason": text,
            "key": text, "severity": "critical", "title": text, "lines": [{"mark": "bad", "text": text}],
            "link": text, "count": n, "message": n, "until_ms": n, "to_ms": n, "error": text, "outcome": "timeout",
            "from": "needs_input", "to": "needs_input", "code": text, "commit": text, "state": "failed",
        });
        let mut failed = facts(run(RunState::Failed));
        (failed.tail, failed.run.reason) = (tail(text.as_bytes()), Some(text.clone()));
        let some = [Facts::None, ticket_facts(), Facts::Run(Box::new(failed))];
        for kind in KINDS {
            for facts in &some {
                let task = TaskId::parse("t").unwrap();
                let event = Event::new(kind).task(&task).run(RunId(n)).ticket("MC-1").data(data.clone());
                for verdict in judge(&recorded(event), facts) {
                    if let Verdict::Raise(notice) = &verdict {
                        let mut parts = notice.headline.clone();
                        parts.extend(notice.body.iter().chain(&notice.meanwhile).cloned());
                        let text = render(&parts, &TimeZone::UTC, VISIBLE_MAX);
                        prop_assert!(units(&text.plain) <= VISIBLE_MAX);
                        prop_assert!(!text.plain.contains(['\u{1b}', '\u{202e}']), "{}", text.plain);
                    }
                }
            }
        }
    }
}
