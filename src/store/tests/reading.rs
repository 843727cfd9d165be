//! Readers: read-only, one snapshot, under a deadline, and never in the log's way for long.

use std::time::{Duration, Instant};

use super::super::reader::{READ_MAX_MS, READERS};
use super::super::{Checkpoint, Depth, Integrity};
use super::*;

const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";

fn endless(conn: &Connection) -> Result<i64, StoreError> {
    Ok(conn.query_row(ENDLESS, [], |row| row.get(0))?)
}

#[test]
fn a_reader_cannot_write() {
    let (_dir, store) = fresh();
    let written = store.read_blocking(|conn| Ok::<_, StoreError>(put(conn, "a")?));
    assert!(matches!(written, Err(StoreError::Sqlite(_))), "{written:?}");
    assert_eq!(keys_of(&store), Vec::<String>::new());
}

#[test]
fn a_read_sees_one_snapshot() {
    let (_dir, store) = fresh();
    write_key(&store, "before").unwrap();
    let writer = store.clone();
    let seen = store.read_blocking(|conn| {
        let first = keys(conn)?;
        write_key(&writer, "meanwhile")?;
        Ok::<_, StoreError>((first, keys(conn)?))
    });
    let (first, second) = seen.unwrap();
    assert_eq!(first, second);
    assert_eq!(keys_of(&store).len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_read_ends_and_its_connection_is_good_again() {
    let (_dir, store) = fresh();
    let begun = Instant::now();
    let all = (0..READERS).map(|_| store.read(endless));
    for result in futures_util::future::join_all(all).await {
        assert!(matches!(result, Err(StoreError::ReadTooLong { limit_ms: READ_MAX_MS })), "{result:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    for _ in 0..2 * READERS {
        store.read(|conn| Ok::<_, StoreError>(keys(conn)?)).await.unwrap();
    }
}

#[test]
fn readers_that_are_all_out_are_waited_for_but_not_for_ever() {
    let (_dir, store) = fresh();
    let (done, finish) = std::sync::mpsc::channel::<()>();
    let finish = std::sync::Mutex::new(finish);
    let barrier = std::sync::Barrier::new(READERS + 1);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                store.read_blocking(|_conn| {
                    barrier.wait();
                    assert!(finish.lock().unwrap().recv().is_err());
                    Ok::<_, StoreError>(())
                })
            });
        }
        barrier.wait();
        let refused = store.read_blocking(|_conn| Ok::<_, StoreError>(()));
        assert!(matches!(refused, Err(StoreError::ReadersBusy { connections: READERS, .. })), "{refused:?}");
        drop(done);
    });
    store.read_blocking(|_conn| Ok::<_, StoreError>(())).unwrap();
}

#[tokio::test]
async fn a_panicking_read_costs_no_connection() {
    let (_dir, store) = fresh();
    for _ in 0..2 * READERS {
        let read = store.read(|_conn| -> Result<(), StoreError> { panic!("on purpose") }).await;
        assert!(matches!(read, Err(StoreError::Panicked)), "{read:?}");
    }
    store.read(|conn| Ok::<_, StoreError>(keys(conn)?)).await.unwrap();
}

#[tokio::test]
async fn the_log_is_folded_and_free_pages_go_back() {
    let (_dir, store) = fresh();
    store
        .write(|tx| {
            for n in 0..2_000 {
                tx.execute("INSERT INTO meta VALUES (?1, ?2)", (n.to_string(), "v".repeat(500)))?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    assert!(store.wal_size().unwrap() > 1_000_000);
    assert_eq!(store.checkpoint().await.unwrap(), Checkpoint::Whole);
    assert_eq!(store.wal_size().unwrap(), 0);
    let full = store.size().unwrap();
    store.write(|tx| Ok::<_, StoreError>(tx.execute("DELETE FROM meta", [])?)).await.unwrap();
    for _ in 0..5 {
        store.incremental_vacuum().await.unwrap();
    }
    store.checkpoint().await.unwrap();
    assert!(store.size().unwrap() < full / 2, "{} of {full}", store.size().unwrap());
    assert_eq!(store.integrity(Depth::Quick).await.unwrap(), Integrity::Sound);
    assert_eq!(store.integrity(Depth::Full).await.unwrap(), Integrity::Sound);
}
