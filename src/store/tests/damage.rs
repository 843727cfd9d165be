//! Broken, lost and replaced files: restored from a backup with a notice, or refused; never empty.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::super::RESTORE_ID_MARGIN;
use super::super::connection::beside;
use super::super::open::OpenError;
use super::*;

const PAGE_BYTES: u64 = 4_096;
const PAGE: usize = 4_096;

fn scribble(path: &Path, at: u64, bytes: usize) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0xA5; bytes], at).unwrap();
}

/// Opens `dir`, which must take a backup; where the broken file went, and why.
fn restored(dir: &Path) -> (Store, Option<std::path::PathBuf>, String) {
    let opened = open(dir);
    match &opened.notices[..] {
        [Notice::Restored { backup, set_aside, because }] => {
            assert!(backup.exists());
            recorded(&opened.store);
            (opened.store, set_aside.clone(), because.clone())
        }
        other => panic!("{other:?}"),
    }
}

/// As the daemon does once it has written down that this is a backup.
fn recorded(store: &Store) {
    store.write_blocking(|tx| Ok::<_, StoreError>(crate::store::restore_recorded(tx)?)).unwrap();
}

fn assert_is_the_backup(store: &Store, rows: usize) {
    let keys = keys_of(store);
    assert_eq!(keys.len(), rows);
    assert!(!keys.contains(&"after-the-backup".to_owned()));
}

#[test]
fn garbage_for_a_header() {
    let dir = with_backup(10);
    scribble(&database(dir.path()), 0, 100);
    let (store, aside, because) = restored(dir.path());
    assert_is_the_backup(&store, 10);
    assert!(because.contains("not a database"), "{because}");
    let aside = aside.unwrap();
    assert_eq!(aside.file_name().unwrap(), "lucid.db.broken-20260704T030000Z");
    assert_eq!(fs::read(aside).unwrap()[..16], [0xA5; 16]);
    // And it is the database from now on.
    write_key(&store, "new").unwrap();
    store.close();
    let again = open(dir.path());
    assert_eq!(again.notices, []);
    assert_eq!(keys_of(&again.store).len(), 11);
}

#[test]
fn every_page_in_turn() {
    let dir = with_backup(2_000);
    let whole = fs::read(database(dir.path())).unwrap();
    let pages = whole.len() as u64 / PAGE_BYTES;
    assert!(pages > 20, "{pages}");
    let mut restores = 0;
    for page in 1..pages {
        fs::write(database(dir.path()), &whole).unwrap();
        scribble(&database(dir.path()), page * PAGE_BYTES, PAGE);
        let (store, aside, _) = restored(dir.path());
        assert_is_the_backup(&store, 2_000);
        assert!(aside.is_some());
        store.close();
        restores += 1;
    }
    assert_eq!(restores, pages - 1);
}

#[test]
fn a_file_cut_in_half() {
    let dir = with_backup(2_000);
    let length = fs::metadata(database(dir.path())).unwrap().len();
    OpenOptions::new().write(true).open(database(dir.path())).unwrap().set_len(length / 2).unwrap();
    let (store, ..) = restored(dir.path());
    assert_is_the_backup(&store, 2_000);
}

#[test]
fn a_row_whose_parent_is_gone() {
    let dir = with_backup(3);
    let conn = Connection::open(database(dir.path())).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF; INSERT INTO locks (name, run) VALUES ('l', 4711);")
        .unwrap();
    drop(conn);
    let (store, _, because) = restored(dir.path());
    assert_is_the_backup(&store, 3);
    assert!(because.contains("`locks`"), "{because}");
}

#[test]
fn a_deleted_file_with_its_log_left_behind() {
    let dir = with_backup(5);
    fs::remove_file(database(dir.path())).unwrap();
    fs::write(beside(&database(dir.path()), "-wal"), b"left behind").unwrap();
    let (store, aside, because) = restored(dir.path());
    assert_is_the_backup(&store, 5);
    assert!(because.contains("gone"), "{because}");
    let log = beside(&aside.unwrap(), "-wal");
    assert_eq!(fs::read(log).unwrap(), b"left behind");
}

#[test]
fn a_file_replaced_by_an_empty_one() {
    let dir = with_backup(5);
    fs::write(database(dir.path()), b"").unwrap();
    let (store, ..) = restored(dir.path());
    assert_is_the_backup(&store, 5);
}

#[test]
fn a_file_whose_tables_were_dropped() {
    let dir = with_backup(5);
    let (other, empty) = fresh();
    empty.close();
    drop(empty);
    let conn = Connection::open(database(other.path())).unwrap();
    conn.execute_batch(
        "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema; PRAGMA writable_schema = OFF; VACUUM;",
    )
    .unwrap();
    drop(conn);
    fs::copy(database(other.path()), database(dir.path())).unwrap();
    let (store, ..) = restored(dir.path());
    assert_is_the_backup(&store, 5);
}

#[test]
fn a_damaged_backup_is_passed_over_for_an_older_one() {
    let dir = with_backup(300);
    let newer = dir.path().join("backups/lucid-20260703T120000Z.db");
    fs::copy(dir.path().join("backups/lucid-20260703T030000Z.db"), &newer).unwrap();
    scribble(&newer, 3 * PAGE_BYTES, PAGE);
    fs::write(dir.path().join("backups/lucid-20260703T130000Z.db"), b"").unwrap();
    scribble(&database(dir.path()), 0, 100);
    let opened = open(dir.path());
    recorded(&opened.store);
    match &opened.notices[..] {
        [Notice::Restored { backup, .. }] => {
            assert_eq!(backup.file_name().unwrap(), "lucid-20260703T030000Z.db");
        }
        other => panic!("{other:?}"),
    }
    assert_is_the_backup(&opened.store, 300);
}

#[test]
fn backups_that_are_kept_elsewhere_count_and_the_newest_of_all_is_taken() {
    let dir = with_backup(300);
    let elsewhere = tempfile::tempdir().unwrap();
    let newest = elsewhere.path().join("lucid-20260703T120000Z.db");
    fs::copy(dir.path().join("backups/lucid-20260703T030000Z.db"), &newest).unwrap();
    fs::copy(&newest, elsewhere.path().join("lucid-20260702T120000Z.db")).unwrap();
    fs::remove_file(database(dir.path())).unwrap();
    for left in [2, 1, 0] {
        let opened = Store::open_beside(dir.path(), elsewhere.path(), NOW_MS).unwrap();
        recorded(&opened.store);
        assert!(matches!(&opened.notices[..], [Notice::Restored { .. }]), "{:?}", opened.notices);
        assert_is_the_backup(&opened.store, 300);
        opened.store.close();
        let tried = match &opened.notices[..] {
            [Notice::Restored { backup, .. }] => backup.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(tried == newest, left == 2, "{}", tried.display());
        fs::remove_file(&tried).unwrap();
        fs::remove_file(database(dir.path())).unwrap();
    }
    assert!(fs::read_dir(elsewhere.path()).unwrap().next().is_none());
}

#[test]
fn a_backup_that_is_dated_in_the_future_is_the_last_to_be_tried() {
    let dir = with_backup(300);
    let backups = dir.path().join("backups");
    fs::copy(backups.join("lucid-20260703T030000Z.db"), backups.join("lucid-20400101T000000Z.db")).unwrap();
    let newest = crate::store::backup::newest(&backups, NOW_MS).unwrap().unwrap();
    assert_eq!(newest.file_name(), "lucid-20260703T030000Z.db");
    for expected in ["lucid-20260703T030000Z.db", "lucid-20400101T000000Z.db"] {
        fs::remove_file(database(dir.path())).unwrap();
        let opened = open(dir.path());
        opened.store.close();
        let [Notice::Restored { backup, .. }] = &opened.notices[..] else { panic!("{:?}", opened.notices) };
        assert_eq!(backup.file_name().unwrap(), expected);
        fs::remove_file(backup).unwrap();
    }
}

#[test]
fn broken_without_a_backup_is_refused_and_nothing_is_moved() {
    let (dir, store) = fresh();
    store.close();
    scribble(&database(dir.path()), 0, 100);
    let before = fs::read(database(dir.path())).unwrap();
    for _ in 0..2 {
        let error = Store::open(dir.path(), NOW_MS).err().unwrap();
        assert!(matches!(error, OpenError::NoBackup { .. }), "{error}");
        assert!(error.to_string().contains("start empty on purpose"), "{error}");
    }
    assert_eq!(fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn gone_without_a_backup_but_with_runs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("runs/17")).unwrap();
    let error = Store::open(dir.path(), NOW_MS).err().unwrap();
    assert!(matches!(error, OpenError::NoBackup { .. }), "{error}");
    assert!(!database(dir.path()).exists());
}

#[test]
fn a_restore_is_told_at_each_start_until_it_is_recorded() {
    let dir = with_backup(1);
    scribble(&database(dir.path()), 0, 100);
    let first = open(dir.path());
    let Notice::Restored { set_aside: Some(aside), .. } = &first.notices[0] else {
        panic!("{:?}", first.notices)
    };
    assert!(aside.exists());
    first.store.close();
    // As after a crash before anybody wrote it down.
    let again = open(dir.path());
    assert_eq!(again.notices, first.notices);
    recorded(&again.store);
    again.store.close();
    assert_eq!(open(dir.path()).notices, []);
}

#[test]
fn numbers_never_repeat_after_a_restore() {
    let dir = with_backup(1);
    fs::remove_file(database(dir.path())).unwrap();
    // A number given after the backup, far above it, and things that are no run of ours.
    for name in ["3000000", "9223372036854775807", "x17", "-5"] {
        fs::create_dir_all(dir.path().join("runs").join(name)).unwrap();
    }
    let (store, ..) = restored(dir.path());
    assert_eq!(give_run_number(&store), 3_000_000 + RESTORE_ID_MARGIN + 1);
    store.close();

    let dir = with_backup(1);
    let store = open(dir.path()).store;
    let fence = "INSERT INTO meta (key, value) VALUES ('fence', '7')";
    store.write_blocking(|tx| Ok::<_, StoreError>(tx.execute(fence, [])?)).unwrap();
    crate::store::backup::backup(&store.path(), &dir.path().join("backups"), NOW_MS).unwrap();
    store.close();
    fs::remove_file(database(dir.path())).unwrap();
    let (store, ..) = restored(dir.path());
    assert_eq!(give_run_number(&store), 1 + RESTORE_ID_MARGIN + 1);
    let fence = store.read_blocking(|conn| {
        let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'fence'";
        Ok::<i64, StoreError>(conn.query_row(sql, [], |row| row.get(0))?)
    });
    assert_eq!(fence.unwrap(), 7 + RESTORE_ID_MARGIN);
    let seq = store.read_blocking(|conn| {
        Ok::<i64, StoreError>(conn.query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
            [],
            |row| row.get(0),
        )?)
    });
    assert_eq!(seq.unwrap(), RESTORE_ID_MARGIN);
}

/// A directory as a power cut leaves it: the log not yet folded into the database.
fn with_log() -> tempfile::TempDir {
    let (live, store) = fresh();
    for n in 0..50 {
        write_key(&store, &format!("row-{n:05}")).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        fs::copy(beside(&store.path(), suffix), beside(&database(dir.path()), suffix)).unwrap();
    }
    drop(live);
    dir
}

#[test]
fn a_log_that_was_not_folded_counts() {
    let dir = with_log();
    assert_eq!(keys_of(&open(dir.path()).store).len(), 50);
}

#[test]
fn a_scribbled_log_gives_back_whole_commits_and_the_run_folders_tell_of_the_rest() {
    let dir = with_log();
    let log = beside(&database(dir.path()), "-wal");
    let length = fs::metadata(&log).unwrap().len();
    // Among the rows: the schema stands at the beginning.
    scribble(&log, length - length / 8, 64);
    fs::create_dir_all(dir.path().join("runs/41")).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.notices, [Notice::CommitsLost { highest_known: 0, highest_on_disk: 41 }]);
    let keys = keys_of(&opened.store);
    assert!(!keys.is_empty() && keys.len() < 50, "{}", keys.len());
    // A prefix: nothing from the middle is missing.
    let expected: Vec<String> = (0..keys.len()).map(|n| format!("row-{n:05}")).collect();
    assert_eq!(keys, expected);
    assert_eq!(give_run_number(&opened.store), 41 + RESTORE_ID_MARGIN + 1);
}
