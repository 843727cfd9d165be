//! What a brief says, word for word.

use super::*;

const HOUR: i64 = 3_600_000;

fn quiet() -> Facts {
    let now: Zoned = "2026-11-21T07:00:00+01:00[Europe/Vienna]".parse().unwrap();
    let now_ms = now.timestamp().as_millisecond();
    Facts {
        kind: Kind::Morning,
        host: "atlas".to_owned(),
        now,
        health: "healthy",
        since_ms: now_ms - 24 * HOUR,
        needs_you: Vec::new(),
        in_review: 0,
        waiting: 0,
        todo: 0,
        failing: Vec::new(),
        standing: Vec::new(),
        runs: Runs { total: 412, ok: 412, ..Runs::default() },
        done: 0,
        closed: 0,
        created: 0,
        money: Money::default(),
        disk_free: Some(41),
        backup: Some(Backup { at_ms: now_ms - 5 * HOUR, bytes: 96_000_000 }),
        janitor: BTreeMap::new(),
    }
}

fn busy() -> Facts {
    let facts = quiet();
    let now_ms = facts.now.timestamp().as_millisecond();
    let need = |ticket: &str, title: &str, hours: i64| Need {
        ticket: ticket.to_owned(),
        title: title.to_owned(),
        since_ms: now_ms - hours * HOUR,
    };
    Facts {
        health: "degraded",
        needs_you: vec![
            need("MC-4888", "Approve the price list", 26),
            need("MC-4901", &format!("Rotate\u{202e} the <b>token</b>\n{}", "x".repeat(200)), 3),
        ],
        in_review: 1,
        todo: 2,
        failing: vec![Failing {
            task: "git-sync".to_owned(),
            how: "exit 128".to_owned(),
            runs: 14,
            since_ms: Some(now_ms - 12 * HOUR),
        }],
        standing: vec!["not logged in: claude; 2 tickets wait".to_owned()],
        runs: Runs { total: 412, ok: 396, failed: 16, recovered: 2, missed: 1, skipped: 0 },
        done: 4,
        money: Money::of(&[Some("3.1799".to_owned()), Some("0.0049".to_owned()), None]),
        ..facts
    }
}

#[test]
fn a_quiet_morning_is_one_line() {
    assert_eq!(text(&quiet()), "All quiet, 412 runs ok");
    assert_eq!(
        text(&Facts { runs: Runs { ok: 1, total: 1, ..Runs::default() }, ..quiet() }),
        "All quiet, 1 run ok"
    );
}

#[test]
fn a_morning_with_something_to_say() {
    insta::assert_snapshot!(text(&busy()));
}

#[test]
fn a_week() {
    let janitor = [("stale_in_progress".to_owned(), 3), ("auto_close".to_owned(), 2)].into();
    insta::assert_snapshot!(text(&Facts {
        kind: Kind::Weekly,
        janitor,
        backup: None,
        disk_free: None,
        ..busy()
    }));
}

#[test]
fn what_is_left_out_is_counted() {
    let mut facts = busy();
    facts.needs_you =
        (0..25).map(|n| Need { ticket: format!("MC-{n}"), title: "x".into(), since_ms: 0 }).collect();
    let text = text(&facts);
    assert!(text.contains("Needs you (25)") && text.contains("• and 15 more"), "{text}");
    assert_eq!(text.matches("• MC-").count(), ENTRIES_MAX);
}

#[test]
fn runs_are_counted_by_what_became_of_them() {
    let counts = [
        ("a".to_owned(), RunState::Ok, 5),
        ("a".to_owned(), RunState::Failed, 2),
        ("b".to_owned(), RunState::Timeout, 3),
        ("b".to_owned(), RunState::Missed, 7),
        ("b".to_owned(), RunState::Skipped, 1),
        ("b".to_owned(), RunState::Running, 1),
        ("b".to_owned(), RunState::Killed, 1),
    ];
    let failing = [Failing { task: "b".into(), how: String::new(), runs: 3, since_ms: None }];
    let wanted = Runs { total: 11, ok: 5, failed: 5, recovered: 2, missed: 7, skipped: 1 };
    assert_eq!(Runs::of(&counts, &failing), wanted);
}

#[test]
fn money_is_decimal_and_unknown_is_not_nothing() {
    let all = |costs: &[Option<&str>]| {
        Money::of(&costs.iter().map(|cost| cost.map(str::to_owned)).collect::<Vec<_>>()).text()
    };
    assert_eq!(all(&[]), None);
    assert_eq!(all(&[Some("0.1"), Some("0.2")]).as_deref(), Some("$0.30"));
    assert_eq!(all(&[Some("0.0123")]).as_deref(), Some("$0.01"));
    assert_eq!(all(&[Some("1e9"), Some("-1"), Some(""), None]).as_deref(), Some("4 runs of unknown cost"));
    assert_eq!(all(&[Some("19.999999999"), None]).as_deref(), Some("$20.00 and 1 run of unknown cost"));
    let huge = "9".repeat(99);
    assert_eq!(all(&[Some(&huge)]).as_deref(), Some("1 run of unknown cost"));
}
