//! Messages as they read, snapshot by snapshot.

use jiff::tz::TimeZone;

use super::super::render::{VISIBLE_MAX, render};
use super::*;
use crate::model::alert::Step;

/// 02:00 UTC.
const AT_MS: i64 = 1_795_226_400_000;

fn notice() -> Notice {
    let mut notice = Notice::new(NoticeKind::TaskFailed, "task:db-backup".to_owned(), Severity::Warning);
    notice.headline = vec![Part::Bold("db-backup failed".into()), Part::Text(" · exit 1 · 4.2s".into())];
    notice.body = vec![
        Part::Text("Run ".into()),
        Part::Code("#8123".into()),
        Part::Text(".".into()),
        Part::Quote(vec!["Error: <disk> image is malformed".into()]),
    ];
    notice.meanwhile = vec![Part::Italic("Reply to this message.".into())];
    notice.buttons = vec![Button::data("Retry", "r:retry:8123".into())];
    notice
}

fn alert() -> Alert {
    let mut alert = Alert::begin(notice(), AT_MS, None);
    alert.id = crate::model::alert::AlertId(7);
    alert
}

fn read(alert: &Alert, purpose: Purpose, around: &Around) -> String {
    let composed = compose(alert, purpose, around);
    let text = render(&composed.parts, &TimeZone::UTC, VISIBLE_MAX).plain;
    let buttons: Vec<&str> = composed.buttons.iter().map(|button| button.text.as_str()).collect();
    format!("{text}\n[{}]\n", buttons.join("] ["))
}

#[test]
fn a_failure_from_beginning_to_end() {
    let around = Around { now_ms: AT_MS, ..Around::default() };
    let mut told = Vec::new();
    let mut alert = alert();
    told.push(read(&alert, Purpose::First, &around));
    alert.step(Step::Repeat, AT_MS + 60_000).unwrap();
    told.push(read(&alert, Purpose::Edit, &around));
    told.push(read(&alert, Purpose::Again, &Around { is_doubtful: true, ..around.clone() }));
    told.push(read(&alert, Purpose::Worse, &around));
    told.push(read(&alert, Purpose::Flapping, &around));
    let flapping = Around { changed: Some(Purpose::Flapping), ..around.clone() };
    told.push(read(&alert, Purpose::Edit, &flapping));
    let mut acked = alert.clone();
    acked.step(Step::Ack, AT_MS).unwrap();
    acked.actor = Some("Alice (A.) (telegram:7)".to_owned());
    told.push(read(&acked, Purpose::Edit, &around));
    let mut muted = alert.clone();
    muted.step(Step::Mute(AT_MS + 3_600_000), AT_MS).unwrap();
    muted.actor = Some("user:alice".to_owned());
    told.push(read(&muted, Purpose::Edit, &around));
    alert.step(Step::Resolve, AT_MS + 26 * 60_000).unwrap();
    alert.ending = vec![Part::Text("Run #8140 ok in 4.1s.".into())];
    told.push(read(&alert, Purpose::Edit, &flapping));
    told.push(read(&alert, Purpose::Recovery, &around));
    let others = (vec!["task:git-sync".to_owned(), "slot:main-1".to_owned()], 5);
    told.push(read(&alert, Purpose::Recovery, &Around { others, ..around }));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_fold_lists_what_it_holds() {
    let mut storm = Alert::begin(
        Notice::new(NoticeKind::Storm, "storm:warning".to_owned(), Severity::Warning),
        AT_MS,
        None,
    );
    storm.count = 12;
    let members = Members {
        total: 9,
        open: 9,
        subjects: vec!["task:a".into(), "task:b<".into()],
        distinct: 8,
        cause: Some("No space left on device".into()),
    };
    let around = Around { members: Some(members.clone()), now_ms: AT_MS, ..Around::default() };
    let some_well =
        Around { members: Some(Members { open: 4, cause: None, ..members.clone() }), ..around.clone() };
    let mut told = vec![read(&storm, Purpose::First, &around), read(&storm, Purpose::Edit, &some_well)];
    storm.step(Step::Resolve, AT_MS + 60_000).unwrap();
    told.push(read(&storm, Purpose::Recovery, &around));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_box_that_is_only_less_ill_is_not_called_well() {
    let mut alert =
        Alert::begin(Notice::new(NoticeKind::Condition, HEALTH.to_owned(), Severity::Critical), AT_MS, None);
    alert.step(Step::Resolve, AT_MS + 3_600_000).unwrap();
    let mut told = Vec::new();
    for (title, others) in [
        ("lucid on atlas is degraded, no longer critical", (vec![HEALTH.to_owned()], 1)),
        ("lucid on atlas is degraded, no longer critical", (vec![HEALTH.to_owned(), "task:a".to_owned()], 2)),
        ("lucid on atlas is healthy", (Vec::new(), 0)),
    ] {
        alert.ending = vec![Part::Text(title.to_owned())];
        told.push(read(&alert, Purpose::Recovery, &Around { others, now_ms: AT_MS, ..Around::default() }));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    🟢 lucid on atlas is degraded, no longer critical · after 1h
    []

    🟢 lucid on atlas is degraded, no longer critical · after 1h
    Not healthy yet: health, a.
    []

    🟢 lucid on atlas is healthy · after 1h
    []
    ");
}

#[test]
fn a_question_that_is_asked_again_says_all_that_it_said_first() {
    let mut ask = Notice::new(NoticeKind::TicketAsks, "ticket:MC-1".to_owned(), Severity::Warning);
    ask.headline = vec![Part::Bold("MC-1 needs you".to_owned())];
    ask.meanwhile = vec![Part::Italic("Reply to this message.".to_owned())];
    let text = |ask: &Notice| {
        let alert = Alert::begin(ask.clone(), 0, None);
        let composed = compose(&alert, Purpose::Again, &Around::default());
        render(&composed.parts, &TimeZone::UTC, VISIBLE_MAX).plain
    };
    assert_eq!(text(&ask), "🙋 Still so: MC-1 needs you\nReply to this message.");
    ask.body = vec![Part::Text("A token".to_owned())];
    assert_eq!(text(&ask), "🙋 Still so: MC-1 needs you\nA token\nReply to this message.");
}
