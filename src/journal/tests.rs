//! The journal on a real store: feeds without gap or double, cursors, retention.

use std::time::Duration;

use serde_json::json;

use super::*;

const NOW_MS: i64 = 1_783_134_000_000;

fn fresh() -> (tempfile::TempDir, Store, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), NOW_MS).unwrap().store;
    let journal = Journal::new(store.clone());
    (dir, store, journal)
}

fn event(n: i64) -> Event {
    Event::new(EventKind::RunStarted).run(RunId(n)).data(json!({ "n": n }))
}

async fn record(journal: &Journal, at_ms: i64, event: Event) -> i64 {
    let writer = journal.clone();
    journal.store.write(move |tx| writer.record(tx, at_ms, event.clone())).await.unwrap()
}

async fn record_many(journal: &Journal, range: std::ops::Range<i64>) {
    for n in range {
        record(journal, NOW_MS + n, event(n)).await;
    }
}

async fn next(feed: &mut Feed) -> Recorded {
    tokio::time::timeout(Duration::from_secs(20), feed.next()).await.expect("the feed is silent").unwrap()
}

async fn is_silent(feed: &mut Feed) -> bool {
    tokio::time::timeout(Duration::from_millis(100), feed.next()).await.is_err()
}

async fn numbers(journal: &Journal) -> Vec<i64> {
    let all = journal.after(0, PAGE_MAX, Filter::default()).await.unwrap();
    all.iter().map(|recorded| recorded.seq).collect()
}

#[tokio::test]
async fn an_event_comes_back_as_it_went() {
    let (_dir, _store, journal) = fresh();
    let task = TaskId::parse("db/backup").unwrap();
    let mut whole =
        event(7).task(&task).actor("cli:someone").data(json!({ "text": "ünï\u{0}\n", "list": [1, null] }));
    whole.ticket = Some("MC-1".to_owned());
    let bare = Event::new(EventKind::Drained);
    assert_eq!(record(&journal, NOW_MS, whole.clone()).await, 1);
    assert_eq!(record(&journal, NOW_MS + 1, bare.clone()).await, 2);
    let expected = [
        Recorded { seq: 1, at_ms: NOW_MS, event: whole },
        Recorded { seq: 2, at_ms: NOW_MS + 1, event: bare },
    ];
    assert_eq!(journal.after(0, 10, Filter::default()).await.unwrap(), expected);
    let backwards = journal.before(i64::MAX, 10, Filter::default()).await.unwrap();
    assert_eq!(backwards, [expected[1].clone(), expected[0].clone()]);
    assert_eq!(journal.after(1, 10, Filter::default()).await.unwrap(), expected[1..]);
    assert_eq!(journal.after(0, 1, Filter::default()).await.unwrap(), expected[..1]);
}

#[tokio::test]
async fn what_is_rolled_back_was_never_said() {
    let (_dir, store, journal) = fresh();
    let mut feed = journal.subscribe(0, Filter::default());
    let writer = journal.clone();
    let refused = store.write(move |tx| {
        writer.record(tx, NOW_MS, event(1))?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(refused.await.is_err());
    assert!(is_silent(&mut feed).await);
    assert_eq!(record(&journal, NOW_MS, event(2)).await, 1);
    assert_eq!(next(&mut feed).await.event, event(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_has_no_gap_and_no_double_however_slow() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 800;
    const LAST: i64 = WRITERS * EACH;
    assert!(usize::try_from(LAST).unwrap() > 2 * LIVE_MAX, "a stalled reader must fall behind");
    let (_dir, _store, journal) = fresh();
    let start = |reader: u64| {
        let mut feed = journal.subscribe(0, Filter::default());
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.last() != Some(&LAST) {
                seen.push(next(&mut feed).await.seq);
                if reader > 0 && seen.len() == 100 {
                    // Long enough for the channel to overflow behind it.
                    tokio::time::sleep(Duration::from_millis(600 * reader)).await;
                }
            }
            seen
        })
    };
    let mut readers = vec![start(0), start(1)];
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let journal = journal.clone();
            tokio::spawn(async move {
                // Eight at a time, so that commits are shared.
                for n in (0..EACH).step_by(8) {
                    let eight = (n..n + 8).map(|n| record(&journal, NOW_MS, event(writer * EACH + n)));
                    futures_util::future::join_all(eight).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    readers.push(start(0));
    readers.push(start(2));
    for writer in writers {
        writer.await.unwrap();
    }
    readers.push(start(0));
    let expected: Vec<i64> = (1..=LAST).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_feed_that_fell_behind_reads_the_table_again() {
    let (_dir, _store, journal) = fresh();
    record_many(&journal, 1..3).await;
    let mut feed = journal.subscribe(0, Filter::default());
    assert_eq!(next(&mut feed).await.seq, 1);
    assert_eq!(next(&mut feed).await.seq, 2);
    assert!(is_silent(&mut feed).await, "it is live now");
    let many = i64::try_from(LIVE_MAX).unwrap() + 500;
    let writer = journal.clone();
    let all = journal.store.write(move |tx| {
        for n in 3..=many {
            writer.record(tx, NOW_MS, event(n))?;
        }
        Ok::<_, StoreError>(())
    });
    all.await.unwrap();
    for expected in 3..=many {
        assert_eq!(next(&mut feed).await.seq, expected);
    }
    assert!(is_silent(&mut feed).await);
    assert_eq!(feed.seq(), many);
}

#[tokio::test]
async fn filters_mean_the_same_in_the_table_and_live() {
    let (_dir, _store, journal) = fresh();
    let tasks = ["a", "b"].map(|id| TaskId::parse(id).unwrap());
    let kinds = [EventKind::RunStarted, EventKind::RunFinished, EventKind::Drained];
    let mut all = Vec::new();
    let mut filters = vec![Filter::default(), Filter { kinds: Some(vec![]), ..Filter::default() }];
    for (index, kind) in kinds.iter().enumerate() {
        filters.push(Filter { kinds: Some(vec![*kind, kinds[(index + 1) % 3]]), ..Filter::default() });
        for task in [None, Some(&tasks[0]), Some(&tasks[1])] {
            for (run, ticket) in [(None, None), (Some(1), Some("MC-1")), (Some(2), None)] {
                let event = Event {
                    task: task.cloned(),
                    run: run.map(RunId),
                    ticket: ticket.map(str::to_owned),
                    ..Event::new(*kind)
                };
                filters.push(Filter {
                    task: event.task.clone(),
                    run: event.run,
                    ticket: event.ticket.clone(),
                    kinds: (index > 0).then(|| vec![*kind]),
                });
                all.push(event);
            }
        }
    }
    let mut live: Vec<Feed> = filters.iter().map(|filter| journal.subscribe(0, filter.clone())).collect();
    for feed in &mut live {
        assert!(is_silent(feed).await);
    }
    for event in &all {
        record(&journal, NOW_MS, event.clone()).await;
    }
    for (filter, feed) in filters.iter().zip(&mut live) {
        let expected: Vec<&Event> = all.iter().filter(|event| filter.matches(event)).collect();
        let read = journal.after(0, PAGE_MAX, filter.clone()).await.unwrap();
        assert_eq!(read.iter().map(|recorded| &recorded.event).collect::<Vec<_>>(), expected, "{filter:?}");
        for event in expected {
            assert_eq!(&next(feed).await.event, event, "{filter:?}");
        }
    }
    assert!(filters.iter().any(|filter| all.iter().filter(|event| filter.matches(event)).count() == 1));
}

#[tokio::test]
async fn a_reader_whose_place_is_gone_is_told() {
    let (_dir, _store, journal) = fresh();
    record_many(&journal, 1..11).await;
    let keep = Keep { age_ms: i64::MAX, events: 4, bytes: u64::MAX };
    assert_eq!(journal.trim(NOW_MS, keep).await.unwrap().deleted, 6);
    let reset = |result: Result<Recorded, FeedError>| match result {
        Err(FeedError::Reset { at, oldest, latest }) => (at, oldest, latest),
        other => panic!("{other:?}"),
    };
    let all = Filter::default;
    assert_eq!(reset(journal.subscribe(5, all()).next().await), (5, 7, 10));
    assert_eq!(reset(journal.subscribe(11, all()).next().await), (11, 7, 10), "from before a reset");
    assert_eq!(next(&mut journal.subscribe(6, all())).await.seq, 7, "nothing after 6 is missing");
    assert_eq!(next(&mut journal.subscribe(0, all())).await.seq, 7, "0 asks for what there is");
    // All gone: the place behind the last one is still a place, any other is not.
    let keep = Keep { age_ms: 0, events: 0, bytes: 0 };
    journal.trim(NOW_MS + 1_000, keep).await.unwrap();
    assert_eq!((journal.oldest_seq().await.unwrap(), journal.latest_seq().await.unwrap()), (None, 10));
    assert_eq!(reset(journal.subscribe(9, all()).next().await), (9, 11, 10));
    let mut feed = journal.subscribe(10, all());
    assert!(is_silent(&mut feed).await);
    assert_eq!(record(&journal, NOW_MS, event(11)).await, 11, "numbers are never given twice");
    assert_eq!(next(&mut feed).await.seq, 11);
}

#[tokio::test]
async fn a_feed_of_rare_events_survives_retention_of_the_others() {
    let (_dir, _store, journal) = fresh();
    let rare = Filter { kinds: Some(vec![EventKind::Drained]), ..Filter::default() };
    record(&journal, NOW_MS, Event::new(EventKind::Drained)).await;
    record_many(&journal, 1..20).await;
    let mut feed = journal.subscribe(0, rare);
    assert_eq!(next(&mut feed).await.seq, 1);
    assert_eq!(feed.seq(), 20, "it has passed what it does not want");
    let keep = Keep { age_ms: i64::MAX, events: 2, bytes: u64::MAX };
    journal.trim(NOW_MS, keep).await.unwrap();
    // Falls behind, so that it looks at the table again.
    let writer = journal.clone();
    let all = journal.store.write(move |tx| {
        for n in 0..i64::try_from(LIVE_MAX).unwrap() + 10 {
            writer.record(tx, NOW_MS, event(n))?;
        }
        writer.record(tx, NOW_MS, Event::new(EventKind::Drained))
    });
    let seq = all.await.unwrap();
    assert_eq!(next(&mut feed).await.seq, seq);
}

#[tokio::test]
async fn cursors_move_forward_with_their_work_or_not_at_all() {
    let (_dir, store, journal) = fresh();
    assert_eq!(journal.cursor("alert").await.unwrap(), None);
    let advance = |seq: i64, outcome: fn() -> Result<(), StoreError>| {
        let writer = journal.clone();
        store.write(move |tx| {
            writer.advance(tx, "alert", seq)?;
            outcome()
        })
    };
    advance(5, || Ok(())).await.unwrap();
    assert_eq!(journal.cursor("alert").await.unwrap(), Some(5));
    assert!(advance(9, || Err(StoreError::Closed)).await.is_err());
    assert_eq!(journal.cursor("alert").await.unwrap(), Some(5), "rolled back with the work");
    advance(3, || Ok(())).await.unwrap();
    assert_eq!(journal.cursor("alert").await.unwrap(), Some(5), "never back");
}

#[tokio::test]
async fn retention_never_passes_a_cursor() {
    let (_dir, store, journal) = fresh();
    record_many(&journal, 1..1_301).await;
    for (name, seq) in [("alert", 700), ("digest", 900)] {
        let writer = journal.clone();
        store.write(move |tx| writer.advance(tx, name, seq)).await.unwrap();
    }
    let keep = Keep { age_ms: i64::MAX, events: 10, bytes: u64::MAX };
    let trimmed = journal.trim(NOW_MS, keep).await.unwrap();
    assert_eq!(trimmed, Trimmed { deleted: 700, held_at: Some(700) });
    assert_eq!(journal.oldest_seq().await.unwrap(), Some(701));
    let writer = journal.clone();
    store.write(move |tx| writer.forget_cursor(tx, "alert")).await.unwrap();
    let trimmed = journal.trim(NOW_MS, keep).await.unwrap();
    assert_eq!(trimmed, Trimmed { deleted: 200, held_at: Some(900) });
    let writer = journal.clone();
    store.write(move |tx| writer.advance(tx, "digest", 1_300)).await.unwrap();
    assert_eq!(journal.trim(NOW_MS, keep).await.unwrap(), Trimmed { deleted: 390, held_at: None });
    assert_eq!(numbers(&journal).await, (1_291..=1_300).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_limit_cuts_the_oldest_end() {
    let (_dir, _store, journal) = fresh();
    record_many(&journal, 1..101).await;
    let all = Keep { age_ms: i64::MAX, events: u32::MAX, bytes: u64::MAX };
    assert_eq!(journal.trim(NOW_MS, all).await.unwrap(), Trimmed { deleted: 0, held_at: None });
    // Event n was recorded at NOW_MS + n.
    let by_age = Keep { age_ms: 50, ..all };
    assert_eq!(journal.trim(NOW_MS + 60, by_age).await.unwrap().deleted, 9);
    assert_eq!(numbers(&journal).await[0], 10);
    assert_eq!(journal.trim(NOW_MS, Keep { events: 50, ..all }).await.unwrap().deleted, 41);
    assert_eq!(numbers(&journal).await[0], 51);
    // `{"n":51}` is 8 bytes, `{"n":100}` 9, each with 128 for its row.
    let by_bytes = Keep { bytes: 137 + 136 * 4, ..all };
    assert_eq!(journal.trim(NOW_MS, by_bytes).await.unwrap().deleted, 45);
    assert_eq!(numbers(&journal).await, (96..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn feeds_end_when_the_journal_does() {
    let (_dir, _store, journal) = fresh();
    let mut feed = journal.subscribe(0, Filter::default());
    record(&journal, NOW_MS, event(1)).await;
    assert_eq!(next(&mut feed).await.seq, 1);
    drop(journal);
    assert!(matches!(feed.next().await, Err(FeedError::Closed)));
}

/// A page and one of it: what does not read is neither an end nor an error, to readers of pages and of feeds.
#[tokio::test]
async fn events_that_do_not_read_are_passed_over_and_the_rest_is_told() {
    let (_dir, store, journal) = fresh();
    record_many(&journal, 1..601).await;
    // More than a feed reads at a time, the first and the last of all among the bad ones.
    store
        .write(|tx| {
            broken::spoil(tx, "data", "{", 1, 300)?;
            broken::spoil(tx, "data", "{", 600, 600)?;
            broken::spoil(tx, "task", "../x", 400, 400)?;
            broken::spoil(tx, "kind", "unheard_of", 500, 500)?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let good: Vec<i64> = (301..600).filter(|seq| ![400, 500].contains(seq)).collect();
    assert_eq!(numbers(&journal).await, good);
    let first = journal.after(0, 2, Filter::default()).await.unwrap();
    assert_eq!(first.iter().map(|recorded| recorded.seq).collect::<Vec<_>>(), [301, 302]);
    let last = journal.before(i64::MAX, 1, Filter::default()).await.unwrap();
    assert_eq!(last[0].seq, 599);
    let mut feed = journal.subscribe(0, Filter::default());
    for seq in good {
        assert_eq!(next(&mut feed).await.seq, seq);
    }
    assert!(is_silent(&mut feed).await);
    assert_eq!(feed.seq(), 600, "the reader has passed the last too");
    record(&journal, NOW_MS, event(601)).await;
    assert_eq!(next(&mut feed).await.seq, 601);
}
