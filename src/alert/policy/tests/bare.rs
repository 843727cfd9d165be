//! What is said of a run of which the database did not tell: what its event says, and never nothing.

use super::*;

fn judged(kind: EventKind, data: Value) -> Vec<Verdict> {
    let task = TaskId::parse("db-backup").unwrap();
    let recorded = recorded(Event::new(kind).task(&task).run(RunId(8123)).data(data));
    let mut settings = facts(run(RunState::Ok)).task;
    if let Some(task) = &mut settings {
        task.alerts.after = 3;
    }
    let bare = RunFacts::bare(&recorded, settings).unwrap();
    judge(&recorded, &Facts::Run(Box::new(bare)))
}

fn ended(state: &str, trigger: &str) -> Vec<Verdict> {
    let data =
        json!({"state": state, "reason": "exit", "exit_code": 3, "duration_ms": 4200, "trigger": trigger});
    judged(EventKind::RunFinished, data)
}

#[test]
fn it_is_told_with_less_and_ends_what_it_ends() {
    let told = [
        ended("failed", "schedule"),
        ended("timeout", "schedule"),
        ended("ok", "schedule"),
        judged(EventKind::RunMissed, json!({"to_ms": AT_MS, "count": 2})),
        judged(EventKind::RunKillFailed, json!({})),
    ];
    insta::assert_snapshot!(told.iter().map(|told| read_all(told)).collect::<Vec<_>>().join("---\n"));
}

#[test]
fn a_workers_end_is_left_to_its_ticket_and_a_settings_word_still_counts() {
    assert!(ended("failed", "event").iter().all(|verdict| matches!(verdict, Verdict::Clear(_))));
    let event = recorded(
        Event::new(EventKind::RunFinished)
            .task(&TaskId::parse("db-backup").unwrap())
            .run(RunId(1))
            .data(json!({"state": "failed"})),
    );
    let mut settings = facts(run(RunState::Ok)).task;
    if let Some(task) = &mut settings {
        task.alerts.events.clear();
    }
    let bare = RunFacts::bare(&event, settings).unwrap();
    assert_eq!(notice(&judge(&event, &Facts::Run(Box::new(bare)))), None);
}
