//! Backups: whole, private, proved; made while the writer is at work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::super::backup::{self, BackupError};
use super::*;

#[test]
fn a_backup_is_private_named_by_its_time_and_described() {
    let (dir, store) = fresh();
    write_key(&store, "a").unwrap();
    let dest = dir.path().join("backups");
    let first = backup::backup(&store.path(), &dest, NOW_MS).unwrap();
    assert_eq!(first.path, dest.join("lucid-20260704T030000Z.db"));
    let bytes = fs::read(&first.path).unwrap();
    assert_eq!(first.bytes, bytes.len() as u64);
    assert_eq!(first.sha256, format!("{:x}", Sha256::digest(&bytes)));
    assert_eq!(first.verified_at_ms, NOW_MS);
    assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o700);
    let second = backup::backup(&store.path(), &dest, NOW_MS).unwrap();
    assert_eq!(second.path, dest.join("lucid-20260704T030001Z.db"), "never over another backup");
    assert_eq!(backup::verify(&first.path, NOW_MS + 1).unwrap().sha256, first.sha256);
    let names: Vec<_> = fs::read_dir(&dest).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing is left beside them: {names:?}");
}

#[test]
fn every_backup_under_load_is_a_whole_snapshot() {
    const BACKUPS: usize = 15;
    let (dir, store) = fresh();
    let stop = AtomicBool::new(false);
    let dest = dir.path().join("backups");
    std::thread::scope(|scope| {
        for producer in 0..3 {
            let (store, stop) = (&store, &stop);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    // Two rows a commit: a copy with an odd number of them has torn one.
                    let (a, b) = (format!("{producer}-{n}-a"), format!("{producer}-{n}-b"));
                    let both = move |tx: &super::super::Tx<'_>| {
                        put(tx, &a)?;
                        put(tx, &b)?;
                        Ok::<_, StoreError>(())
                    };
                    store.write_blocking(both).unwrap();
                    n += 1;
                }
            });
        }
        let mut last = 0;
        for _ in 0..BACKUPS {
            let acknowledged = store.metrics().writes;
            let made = backup::backup(&store.path(), &dest, NOW_MS).unwrap();
            backup::verify(&made.path, NOW_MS).unwrap();
            let rows = keys(&Connection::open(&made.path).unwrap()).unwrap().len();
            assert_eq!(rows % 2, 0);
            assert!(rows as u64 / 2 >= acknowledged, "{rows} rows, {acknowledged} writes were acknowledged");
            assert!(rows >= last);
            last = rows;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(backup::list(&dest).unwrap().len(), BACKUPS);
}

#[test]
fn a_backup_of_a_closed_database_folds_nothing() {
    let dir = with_backup(10);
    let before = fs::read(database(dir.path())).unwrap();
    let made = backup::backup(&database(dir.path()), &dir.path().join("backups"), NOW_MS).unwrap();
    assert_eq!(keys(&Connection::open(made.path).unwrap()).unwrap().len(), 11);
    assert_eq!(fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn verify_tells_what_is_wrong() {
    let dir = with_backup(500);
    let good = dir.path().join("backups/lucid-20260703T030000Z.db");
    backup::verify(&good, NOW_MS).unwrap();
    let bad = dir.path().join("bad.db");
    let damaged = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        match backup::verify(&bad, NOW_MS) {
            Err(BackupError::Damaged { because, .. }) => because,
            other => panic!("{other:?}"),
        }
    };
    let whole = fs::read(&good).unwrap();
    assert!(damaged(b"").contains("no tables"));
    assert!(damaged(b"not SQLite at all, but long enough to be looked at").contains("not a database"));
    damaged(&whole[..whole.len() / 2]);
    let mut scribbled = whole.clone();
    scribbled[5 * 4_096..6 * 4_096].fill(0xA5);
    damaged(&scribbled);
    let mut foreign = whole;
    foreign[68..72].copy_from_slice(&7_i32.to_be_bytes());
    assert!(damaged(&foreign).contains("another program"));
    assert!(matches!(backup::verify(&dir.path().join("gone.db"), NOW_MS), Err(BackupError::Sqlite { .. })));
}

#[test]
fn a_damaged_database_yields_no_backup() {
    let dir = with_backup(2_000);
    let mut bytes = fs::read(database(dir.path())).unwrap();
    let middle = bytes.len() / 4_096 / 2 * 4_096;
    bytes[middle..middle + 4_096].fill(0xA5);
    fs::write(database(dir.path()), bytes).unwrap();
    let dest = dir.path().join("other");
    assert!(backup::backup(&database(dir.path()), &dest, NOW_MS).is_err());
    assert_eq!(fs::read_dir(&dest).unwrap().count(), 0, "no half-made file stays either");
}

#[test]
fn rotation_deletes_what_it_names_and_nothing_else() {
    let (dir, store) = fresh();
    let dest = dir.path().join("backups");
    for day in 0..4 {
        backup::backup(&store.path(), &dest, NOW_MS - day * DAY_MS).unwrap();
    }
    fs::write(dest.join("notes.txt"), b"mine").unwrap();
    let gone = backup::rotate(&dest, NOW_MS, 2, 0).unwrap();
    assert_eq!(gone, [dest.join("lucid-20260702T030000Z.db"), dest.join("lucid-20260701T030000Z.db")]);
    assert_eq!(backup::list(&dest).unwrap().len(), 2);
    assert!(dest.join("notes.txt").exists());
}

#[test]
fn an_abandoned_copy_is_cleared_away_and_a_young_one_is_not() {
    let (dir, store) = fresh();
    let dest = dir.path().join("backups");
    fs::create_dir(&dest).unwrap();
    let partial = dest.join("lucid-20260101T000000Z.db.1.partial");
    fs::write(&partial, b"half").unwrap();
    let modified = fs::metadata(&partial).unwrap().modified().unwrap();
    let modified_ms =
        i64::try_from(modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let rehearsal = |pid: &str| {
        let folder = dest.join(format!(".rehearsal-{pid}"));
        fs::create_dir_all(folder.join("backups")).unwrap();
        fs::write(folder.join("lucid.db"), b"whole").unwrap();
        folder
    };
    // No process has so high a number; this one has ours.
    let (killed, at_work) = (rehearsal("99999999"), rehearsal(&std::process::id().to_string()));
    backup::backup(&store.path(), &dest, modified_ms + DAY_MS / 2).unwrap();
    assert!(partial.exists() && at_work.exists() && !killed.exists());
    backup::backup(&store.path(), &dest, modified_ms + 2 * DAY_MS).unwrap();
    assert!(!partial.exists() && !at_work.exists());
}
