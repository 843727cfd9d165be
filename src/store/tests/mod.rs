//! The store against real files: each promise of its documentation with the test that breaks it.

mod backups;
mod crash;
mod damage;
mod full;
mod opening;
mod reading;
mod writing;

use std::path::Path;

use rusqlite::Connection;

use super::{DATABASE_FILE, Notice, Opened, Store, StoreError};

/// 2026-07-04T03:00:00Z
const NOW_MS: i64 = 1_783_134_000_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn open(dir: &Path) -> Opened {
    Store::open(dir, NOW_MS).unwrap()
}

/// A state directory with an open, empty store.
fn fresh() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.notices, []);
    (dir, opened.store)
}

fn put(conn: &Connection, key: &str) -> rusqlite::Result<usize> {
    conn.execute("INSERT INTO meta (key, value) VALUES (?1, 'x')", [key])
}

fn keys(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare("SELECT key FROM meta ORDER BY key")?.query_map([], |row| row.get(0))?.collect()
}

fn keys_of(store: &Store) -> Vec<String> {
    store.read_blocking(|conn| Ok::<_, StoreError>(keys(conn)?)).unwrap()
}

fn write_key(store: &Store, key: &str) -> Result<(), StoreError> {
    let key = key.to_owned();
    store.write_blocking(move |tx| {
        put(tx, &key)?;
        Ok(())
    })
}

/// Claims one run, as far as the store cares; its number.
fn give_run_number(store: &Store) -> i64 {
    store
        .write_blocking(|tx| {
            tx.execute(
                "INSERT INTO runs (task, attempt, trigger, state, flight_key, actor, claimed_ms, fence,
                                   definition_hash)
                 VALUES ('t', 1, 'manual', 'ok', 'task:t', 'test', 0, 0, '')",
                [],
            )?;
            Ok::<_, StoreError>(tx.last_insert_rowid())
        })
        .unwrap()
}

/// A closed database with `rows` rows, a backup of it made the day before, and one row after that.
fn with_backup(rows: usize) -> tempfile::TempDir {
    let (dir, store) = fresh();
    for n in 0..rows {
        write_key(&store, &format!("row-{n:05}")).unwrap();
    }
    give_run_number(&store);
    super::backup::backup(&store.path(), &dir.path().join("backups"), NOW_MS - DAY_MS).unwrap();
    write_key(&store, "after-the-backup").unwrap();
    store.close();
    dir
}

fn database(dir: &Path) -> std::path::PathBuf {
    dir.join(DATABASE_FILE)
}
