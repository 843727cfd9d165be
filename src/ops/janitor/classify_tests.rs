//! The whole table of verdicts, and its edges to the millisecond.

use super::*;

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_000_000 * MINUTE;
const LIMITS: Limits =
    Limits { silent_after: Duration::from_secs(30 * 60), unanswered_after: Duration::from_secs(24 * 3600) };

/// Where it is since `ago` minutes.
fn facts(state: TicketState, ago: i64) -> Facts {
    Facts {
        ticket: TicketId::new("MC", 1).unwrap(),
        state,
        assignee: None,
        since_ms: NOW - ago * MINUTE,
        until_ms: None,
        attempts: 1,
        max_attempts: 5,
        worker: None,
        gate: None,
    }
}

/// Started and last heard so many minutes ago.
fn worker(started: i64, heard: i64, run_state: RunNow) -> AtWork {
    AtWork {
        run: RunId(7),
        fence: Fence(3),
        agent: "claude".to_owned(),
        started_ms: NOW - started * MINUTE,
        heard_ms: NOW - heard * MINUTE,
        max_runtime: Some(Duration::from_secs(60 * 60)),
        run_state,
    }
}

fn with(mut facts: Facts, worker: AtWork) -> Facts {
    facts.worker = Some(worker);
    facts
}

#[test]
fn every_verdict() {
    use TicketState::{Closed, Done, InProgress, NeedsInput, Review, Todo, Waiting};
    let live = RunNow::Live;
    let gate = |answer| Facts { gate: Some(answer), ..facts(Review, 9999) };
    let rows = [
        ("todo, for long", facts(Todo, 9999)),
        ("at work, heard", with(facts(InProgress, 50), worker(50, 1, live))),
        ("at work, silent 29", with(facts(InProgress, 50), worker(50, 29, live))),
        ("at work, silent 30", with(facts(InProgress, 50), worker(50, 30, live))),
        ("at work, heard before it was started", with(facts(InProgress, 5), worker(5, 99, live))),
        ("at work, over its limit", with(facts(InProgress, 64), worker(64, 1, live))),
        ("at work, 5 min over its limit", with(facts(InProgress, 65), worker(65, 1, live))),
        ("at work, unkillable", with(facts(InProgress, 99), worker(99, 99, RunNow::Unkillable))),
        ("in progress, run just over", with(facts(InProgress, 9), worker(9, 9, RunNow::Over(NOW - 1)))),
        ("in progress, run over", with(facts(InProgress, 9), worker(9, 9, RunNow::Over(NOW - MINUTE)))),
        ("in progress, run unknown", with(facts(InProgress, 9), worker(9, 9, RunNow::Unknown))),
        ("in progress, nobody, just now", facts(InProgress, 0)),
        ("in progress, nobody", facts(InProgress, 1)),
        ("asked, still at work", with(facts(NeedsInput, 99), worker(120, 1, live))),
        ("asked just now, silent", with(facts(NeedsInput, 29), worker(50, 40, live))),
        ("asked, silent", with(facts(NeedsInput, 30), worker(50, 40, live))),
        ("parked, silent worker", with(facts(Waiting, 40), worker(50, 40, live))),
        ("review, silent worker", with(facts(Review, 40), worker(50, 40, live))),
        ("todo, silent worker", with(facts(Todo, 40), worker(50, 40, live))),
        ("done, silent worker", with(facts(Done, 40), worker(50, 40, live))),
        ("asked, 23:59", facts(NeedsInput, 24 * 60 - 1)),
        ("asked, 24:00", facts(NeedsInput, 24 * 60)),
        ("asked, assigned", Facts { assignee: Some("ann".into()), ..facts(NeedsInput, 9999) }),
        ("attempts used up", Facts { attempts: 5, ..facts(NeedsInput, 9999) }),
        ("parked without a date", facts(Waiting, 9999)),
        ("parked until later", Facts { until_ms: Some(NOW + 1), ..facts(Waiting, 9999) }),
        ("parked until now", Facts { until_ms: Some(NOW), ..facts(Waiting, 9999) }),
        ("review, not asked", facts(Review, 9999)),
        ("review, merged", gate(GateAnswer::Merged)),
        ("review, not merged", gate(GateAnswer::NotMerged)),
        ("review, no commit", gate(GateAnswer::NoCommit)),
        ("review, unreadable", gate(GateAnswer::Unreadable("down".into()))),
        ("closed", facts(Closed, 9999)),
    ];
    let mut table = String::new();
    for (name, facts) in &rows {
        table.push_str(&format!("{name:<38} {:?}\n", classify(facts, LIMITS, NOW)));
    }
    insta::assert_snapshot!(table);
    for name in Verdict::NAMES {
        let reached = rows.iter().any(|(_, facts)| classify(facts, LIMITS, NOW).name() == name);
        assert!(reached, "no row comes to {name}");
    }
}

/// Whatever the facts, a worker that was just heard is not ended, and a clock that jumped back ends nobody.
#[test]
fn the_living_are_left_alone() {
    for state in TicketState::ALL {
        for max_runtime in [None, Some(Duration::MAX)] {
            let lively = AtWork { max_runtime, ..worker(i64::from(i32::MAX), 0, RunNow::Live) };
            assert_eq!(classify(&with(facts(state, 9999), lively), LIMITS, NOW), Verdict::Healthy);
            let ahead = AtWork { max_runtime, ..worker(-99_999, -99_999, RunNow::Live) };
            assert_eq!(classify(&with(facts(state, -99_999), ahead), LIMITS, NOW), Verdict::Healthy);
        }
    }
}
