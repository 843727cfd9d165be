//! What panics ends nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::alert::keep::unharmed;
use crate::alert::policy::Facts;

#[tokio::test]
async fn a_part_that_panics_is_started_again_and_people_see_it() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let starts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&starts);
    alerts
        .clone()
        .keep("courier", stop, move || {
            let start = count.fetch_add(1, Ordering::Relaxed);
            async move { assert!(start > 0, "the first one\u{1b}[2J") }
        })
        .await;
    assert_eq!(starts.load(Ordering::Relaxed), 2);
    let mishaps = alerts.mishaps();
    assert_eq!((mishaps.len(), mishaps[0].part, mishaps[0].count), (1, "courier", 1));
    assert!(mishaps[0].why.starts_with("the first one") && !mishaps[0].why.contains('\u{1b}'));
    assert_eq!(unharmed(async { 5 }).await, Ok(5));
}

#[tokio::test]
async fn an_event_that_panics_is_passed_over_and_the_next_is_told() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let journal = bench.journal.clone();
    bench
        .store
        .write(move |tx| {
            journal.record(tx, 1, Event::new(EventKind::DatabaseRestored))?;
            journal.record(tx, 2, Event::new(EventKind::DiskFull))
        })
        .await
        .unwrap();
    let gather: Gather = Arc::new(|recorded| {
        Box::pin(async move {
            assert!(recorded.event.kind != EventKind::DatabaseRestored, "no way");
            Facts::None
        })
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let follower = tokio::spawn(alerts.clone().follow(gather, stop.clone()));
    while bench.journal.cursor(CURSOR).await.unwrap() < Some(2) {
        assert!(!follower.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    follower.await.unwrap();
    let subjects: Vec<String> =
        all(&alerts).await.into_iter().map(|view| view.alert.notice.subject).collect();
    assert_eq!(subjects, ["daemon:disk"]);
    assert_eq!(alerts.mishaps()[0].part, "follower");
}
