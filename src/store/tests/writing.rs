//! Batches, savepoints, replay, and what runs after a commit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::super::writer::QUEUE_MAX;
use super::*;

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no")]
    No,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Holds the writer until told to go on, so that what is sent meanwhile becomes one batch.
fn hold(store: &Store) -> (Sender<()>, std::thread::JoinHandle<()>) {
    let (release, released) = channel::<()>();
    let (held, holding) = channel();
    let store = store.clone();
    let thread = std::thread::spawn(move || {
        store
            .write_blocking(move |_tx| {
                held.send(()).unwrap();
                released.recv().unwrap();
                Ok::<_, StoreError>(())
            })
            .unwrap();
    });
    holding.recv().unwrap();
    (release, thread)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn drained<T>(channel: &Receiver<T>) -> Vec<T> {
    channel.try_iter().collect()
}

#[test]
fn a_refusal_costs_its_batch_nothing() {
    let (_dir, store) = fresh();
    let (release, held) = hold(&store);
    let results = runtime().block_on(async {
        let first = store.write(|tx| {
            put(tx, "first")?;
            Ok::<_, Refusal>(1)
        });
        let domain = store.write(|tx| {
            put(tx, "refused")?;
            Err::<i32, _>(Refusal::No)
        });
        let constraint = store.write(|tx| {
            put(tx, "first")?;
            Ok::<_, Refusal>(3)
        });
        let panicking = store.write(|tx| -> Result<i32, Refusal> {
            put(tx, "panicked")?;
            panic!("on purpose");
        });
        let last = store.write(|tx| {
            put(tx, "last")?;
            Ok::<_, Refusal>(5)
        });
        let go = async { release.send(()).unwrap() };
        let (a, b, c, d, e, ()) = tokio::join!(first, domain, constraint, panicking, last, go);
        (a, b, c, d, e)
    });
    held.join().unwrap();
    assert!(matches!(results.0, Ok(1)));
    assert!(matches!(results.1, Err(Refusal::No)));
    match results.2 {
        Err(Refusal::Sqlite(error)) => {
            assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ConstraintViolation));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(results.3, Err(Refusal::Store(StoreError::Panicked))));
    assert!(matches!(results.4, Ok(5)));
    assert_eq!(keys_of(&store), ["first", "last"]);
    let metrics = store.metrics();
    assert_eq!((metrics.commits, metrics.writes, metrics.largest_batch), (2, 3, 2));
    assert_eq!((metrics.replays, metrics.queued), (0, 0));
}

#[test]
fn a_job_that_spoils_the_commit_is_found_by_replay() {
    let (_dir, store) = fresh();
    let (release, held) = hold(&store);
    let attempts = Arc::new(AtomicUsize::new(0));
    let (told, telling) = channel();
    let results = runtime().block_on(async {
        let counted = Arc::clone(&attempts);
        let good = store.write(move |tx| {
            counted.fetch_add(1, Ordering::Relaxed);
            put(tx, "good")?;
            let told = told.clone();
            tx.after_commit(move || told.send("good is durable").unwrap());
            Ok::<_, StoreError>(())
        });
        // Its violation is only seen at COMMIT.
        let spoiler = store.write(|tx| {
            tx.execute_batch("PRAGMA defer_foreign_keys = ON")?;
            tx.execute("INSERT INTO locks (name, run) VALUES ('l', 4711)", [])?;
            Ok::<_, StoreError>(())
        });
        let go = async { release.send(()).unwrap() };
        let (good, spoiler, ()) = tokio::join!(good, spoiler, go);
        (good, spoiler)
    });
    held.join().unwrap();
    assert!(results.0.is_ok());
    assert!(matches!(results.1, Err(StoreError::Sqlite(_))), "{:?}", results.1);
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    assert_eq!(drained(&telling), ["good is durable"], "once, though it was attempted twice");
    assert_eq!(keys_of(&store), ["good"]);
    assert_eq!(store.metrics().replays, 1);
    write_key(&store, "and on it goes").unwrap();
}

#[test]
fn after_commit_means_after_commit_and_before_the_answer() {
    let (_dir, store) = fresh();
    let (told, telling) = channel();
    let reader = store.clone();
    let hook = told.clone();
    store
        .write_blocking(move |tx| {
            put(tx, "a")?;
            let (reader, hook) = (reader.clone(), hook.clone());
            tx.after_commit(move || hook.send(keys_of(&reader)).unwrap());
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(drained(&telling), [vec!["a".to_owned()]], "another connection saw it, before the answer");
    let refused = store.write_blocking(move |tx| {
        let told = told.clone();
        tx.after_commit(move || told.send(vec![]).unwrap());
        Err::<(), _>(Refusal::No)
    });
    assert!(matches!(refused, Err(Refusal::No)));
    assert_eq!(drained(&telling), Vec::<Vec<String>>::new());
}

#[test]
fn a_panicking_hook_stops_nothing() {
    let (_dir, store) = fresh();
    let (told, telling) = channel();
    store
        .write_blocking(move |tx| {
            tx.after_commit(|| panic!("on purpose"));
            let told = told.clone();
            tx.after_commit(move || told.send(()).unwrap());
            Ok::<_, StoreError>(())
        })
        .unwrap();
    assert_eq!(drained(&telling).len(), 1);
    write_key(&store, "a").unwrap();
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (_dir, store) = fresh();
    let (release, held) = hold(&store);
    let refused = runtime().block_on(async {
        let mut waiting = Vec::new();
        for _ in 0..QUEUE_MAX {
            let mut write = Box::pin(store.write(|_tx| Ok::<_, StoreError>(())));
            // Polled once, it is in the queue.
            assert!(futures_util::poll!(write.as_mut()).is_pending());
            waiting.push(write);
        }
        let begun = Instant::now();
        let refused = store.write(|_tx| Ok::<_, StoreError>(())).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert_eq!(store.metrics().queued, QUEUE_MAX as u64);
        release.send(()).unwrap();
        for write in waiting {
            write.await.unwrap();
        }
        refused
    });
    held.join().unwrap();
    assert!(matches!(refused, Err(StoreError::QueueFull { limit: QUEUE_MAX })));
    assert_eq!(store.metrics().queued, 0);
}

#[test]
fn a_write_whose_caller_left_still_commits() {
    let (_dir, store) = fresh();
    let (release, held) = hold(&store);
    runtime().block_on(async {
        let mut write = Box::pin(store.write(|tx| Ok::<_, StoreError>(put(tx, "left")?)));
        assert!(futures_util::poll!(write.as_mut()).is_pending());
    });
    release.send(()).unwrap();
    held.join().unwrap();
    write_key(&store, "next").unwrap();
    assert_eq!(keys_of(&store), ["left", "next"]);
}

#[test]
fn a_lock_held_by_another_process_is_busy_and_passes() {
    let (_dir, store) = fresh();
    let mut other = Connection::open(store.path()).unwrap();
    let lock = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let begun = Instant::now();
    assert!(matches!(write_key(&store, "a"), Err(StoreError::Busy)));
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(keys_of(&store), Vec::<String>::new(), "readers are not in its way");
    assert_eq!(store.metrics().busy, 1);
    drop(lock);
    write_key(&store, "a").unwrap();
}

#[test]
fn deletes_go_in_chunks_with_room_between() {
    let (_dir, store) = fresh();
    store
        .write_blocking(|tx| {
            for n in 0..1_234 {
                put(tx, &format!("{n:05}"))?;
            }
            Ok::<_, StoreError>(())
        })
        .unwrap();
    let commits = store.metrics().commits;
    let deleted = runtime().block_on(store.delete_in_chunks(|tx, limit| {
        let sql =
            "DELETE FROM meta WHERE key IN (SELECT key FROM meta WHERE key < '01200' ORDER BY key LIMIT ?1)";
        Ok::<_, StoreError>(tx.execute(sql, [i64::try_from(limit).unwrap()])?)
    }));
    assert_eq!(deleted.unwrap(), 1_200);
    assert_eq!(store.metrics().commits - commits, 3);
    assert_eq!(keys_of(&store).len(), 34);
}

/// Not a benchmark: bounds that only a store which lost its batching or its cache would miss.
#[test]
fn commits_are_quick_and_shared() {
    const PRODUCERS: usize = 8;
    const EACH: usize = 250;
    let (_dir, store) = fresh();
    let (mut single, mut alone_us) = (Vec::new(), Vec::new());
    for n in 0..300 {
        let begun = Instant::now();
        write_key(&store, &format!("single-{n}")).unwrap();
        single.push(begun.elapsed());
        // Of the write before this one at the latest: the answer comes before the figure.
        alone_us.push(store.metrics().last_commit_us);
    }
    single.sort();
    alone_us.sort_unstable();
    let before = store.metrics();
    let barrier = Arc::new(Barrier::new(PRODUCERS));
    let begun = Instant::now();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let (store, barrier) = (store.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                for n in 0..EACH {
                    write_key(&store, &format!("{producer}-{n}")).unwrap();
                }
            })
        })
        .collect();
    for producer in producers {
        producer.join().unwrap();
    }
    let took = begun.elapsed();
    let after = store.metrics();
    let (writes, commits) = (after.writes - before.writes, after.commits - before.commits);
    println!(
        "one writer: p50 {:?} p99 {:?}, of that BEGIN to COMMIT p50 {} us; \
         {PRODUCERS} producers: {writes} writes in {took:?} ({:.0}/s), {commits} commits",
        single[150],
        single[297],
        alone_us[150],
        writes as f64 / took.as_secs_f64()
    );
    assert_eq!(writes, (PRODUCERS * EACH) as u64);
    assert!(commits < writes / 2, "{commits} commits for {writes} writes");
    assert!(single[150] < Duration::from_millis(50), "{:?}", single[150]);
}
