//! What is said of an instant that brought no run: why, and when it was.

use super::*;

const DAY_MS: i64 = 24 * 3_600_000;

fn told(missed: Missed, ago_ms: i64) -> String {
    let mut facts = facts(run(RunState::Missed));
    facts.missed = missed;
    facts.run.scheduled_ms = Some(AT_MS - ago_ms);
    facts.run.ended_ms = Some(AT_MS);
    let event = Event::new(EventKind::RunMissed).data(json!({"count": 1}));
    read(&judge(&recorded(event), &Facts::Run(Box::new(facts)))[0])
}

#[test]
fn it_says_why_and_a_date_where_a_day_of_the_week_would_not_tell() {
    let rows = [
        (Missed::Down, DAY_MS, "the daemon or the machine was not up, and"),
        (Missed::Passed, DAY_MS, "the machine slept, its clock was set or the task was off, and"),
        (Missed::Unseen, DAY_MS, "lucid read the task's file only after that, and"),
    ];
    for (missed, ago_ms, why) in rows {
        let text = told(missed, ago_ms);
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("20"), "a day of the week is enough: {text}");
    }
    let text = told(Missed::Unseen, 700 * DAY_MS);
    assert!(text.contains(" 2024 "), "{text}");
}
