//! What panics ends nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::alert::keep::unharmed;
use crate::alert::policy::{Facts, MachineFacts};
use crate::journal::broken;

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
            Ok(Facts::None)
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

/// Follows what `kinds` tell until all of it is taken in.
async fn followed(bench: &Bench, alerts: &Alerts, kinds: &'static [EventKind], gather: Gather) {
    let journal = bench.journal.clone();
    let record =
        move |tx: &Tx<'_>| kinds.iter().try_fold(0, |_, kind| journal.record(tx, 1, Event::new(*kind)));
    let last = bench.store.write(record).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let follower = tokio::spawn(alerts.clone().follow(gather, stop.clone()));
    while bench.journal.cursor(CURSOR).await.unwrap() < Some(last) {
        assert!(!follower.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    follower.await.unwrap();
}

/// Fails the first `failures` times.
fn failing(failures: usize) -> (Gather, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let gather: Gather = Arc::new(move |_| {
        let is_busy = count.fetch_add(1, Ordering::Relaxed) < failures;
        let machine = |host: &str| Facts::Machine(MachineFacts { host: host.to_owned() });
        Box::pin(async move {
            if is_busy {
                return Err(Unread { why: "database is locked".to_owned(), left: machine("some box") });
            }
            Ok(machine("atlas"))
        })
    });
    (gather, asked)
}

async fn texts(alerts: &Alerts) -> Vec<String> {
    all(alerts).await.into_iter().map(|view| view.text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_busy_for_a_moment_costs_no_alert_a_word() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let (gather, asked) = failing(2);
    followed(&bench, &alerts, &[EventKind::DiskFull], gather).await;
    let told = texts(&alerts).await;
    assert!(told.len() == 1 && told[0].contains("Disk full on atlas"), "{told:?}");
    assert_eq!((asked.load(Ordering::Relaxed), alerts.mishaps().len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_costs_a_word_and_never_the_alert() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let (gather, asked) = failing(usize::MAX);
    followed(&bench, &alerts, &[EventKind::DiskFull, EventKind::DatabaseRestored], gather).await;
    let told = texts(&alerts).await;
    assert!(told.len() == 2 && told.iter().all(|text| text.contains("some box")), "{told:?}");
    // Five looks for the first, and one for what came with it.
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    assert!(alerts.mishaps()[0].why.ends_with("database is locked"), "{:?}", alerts.mishaps());
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_read_is_a_trouble_that_people_see() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    bench.store.write(|tx| Ok::<_, StoreError>(broken::hide(tx)?)).await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let (gather, _) = failing(0);
    let follower = tokio::spawn(alerts.clone().follow(gather, stop.clone()));
    while alerts.mishaps().is_empty() {
        assert!(!follower.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mishap = &alerts.mishaps()[0];
    assert!(mishap.count == 1 && mishap.why.contains("no such table"), "{mishap:?}");
    bench.store.write(|tx| Ok::<_, StoreError>(broken::bring_back(tx)?)).await.unwrap();
    let journal = bench.journal.clone();
    bench.store.write(move |tx| journal.record(tx, 1, Event::new(EventKind::DiskFull))).await.unwrap();
    while all(&alerts).await.is_empty() {
        assert!(!follower.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    follower.await.unwrap();
}
