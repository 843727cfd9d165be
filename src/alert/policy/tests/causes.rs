//! What holds failures of tasks back, since it explains them.

use super::*;

#[test]
fn what_explains_failures_is_a_disk_and_no_failure() {
    let cause = |severity, mark, id: &str| {
        let condition = Condition::new("health", severity, "critical".to_owned())
            .check(Mark::Bad, "9 failed runs".to_owned(), "failed_runs")
            .check(mark, "2% free on /".to_owned(), id);
        notice(&judge(&recorded(condition.raised()), &Facts::None)).and_then(|notice| notice.cause.clone())
    };
    let critical = Severity::Critical;
    for explains in ["disk:/", "daemon"] {
        assert_eq!(cause(critical, Mark::Bad, explains).as_deref(), Some("2% free on /"));
    }
    for (mark, id) in [(Mark::Doubtful, "disk:/"), (Mark::Bad, "task:x")] {
        assert_eq!(cause(critical, mark, id), None);
    }
    assert_eq!(cause(Severity::Warning, Mark::Bad, "disk:/"), None);
}
