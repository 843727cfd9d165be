//! What the start accepts, refuses and sets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::super::open::OpenError;
use super::*;

fn refusal(dir: &Path) -> OpenError {
    match Store::open(dir, NOW_MS) {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[test]
fn a_new_database_has_every_setting() {
    let (dir, store) = fresh();
    let settings = |conn: &Connection, names: &[&str]| -> Vec<String> {
        let read = |name: &&str| {
            conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
                .map(|value| format!("{name}={value:?}"))
        };
        names.iter().map(|name| read(name).unwrap()).collect()
    };
    let common =
        ["journal_mode", "synchronous", "foreign_keys", "trusted_schema", "cell_size_check", "mmap_size"];
    let expected = [
        "journal_mode=Text(\"wal\")",
        "synchronous=Integer(2)",
        "foreign_keys=Integer(1)",
        "trusted_schema=Integer(0)",
        "cell_size_check=Integer(1)",
        "mmap_size=Integer(0)",
    ];
    let more = ["temp_store", "auto_vacuum", "application_id", "query_only", "wal_autocheckpoint"];
    let of_writer = store
        .write_blocking(move |tx| {
            let double_quoted = tx.prepare("SELECT \"no such column\"").is_err();
            let all: Vec<String> = settings(tx, &common).into_iter().chain(settings(tx, &more)).collect();
            Ok::<_, StoreError>((all, double_quoted))
        })
        .unwrap();
    assert_eq!(of_writer.0[..6], expected);
    assert_eq!(
        of_writer.0[6..],
        [
            "temp_store=Integer(2)",
            "auto_vacuum=Integer(2)",
            "application_id=Integer(1280656196)",
            "query_only=Integer(0)",
            "wal_autocheckpoint=Integer(1000)"
        ]
    );
    assert!(of_writer.1, "a double-quoted string passes for a value");
    let of_reader = store
        .read_blocking(|conn| Ok::<_, StoreError>((settings(conn, &common), settings(conn, &more[3..]))))
        .unwrap();
    assert_eq!(of_reader.0, expected);
    assert_eq!(of_reader.1, ["query_only=Integer(1)", "wal_autocheckpoint=Integer(0)"]);
    assert_eq!(1_280_656_196, super::super::connection::APPLICATION_ID);
    drop(dir);
}

#[test]
fn the_files_are_private_even_when_found_open() {
    let (dir, store) = fresh();
    write_key(&store, "a").unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    for name in ["lucid.db", "lucid.db-wal", "lucid.db-shm", "ballast"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    store.close();
    fs::set_permissions(database(dir.path()), fs::Permissions::from_mode(0o644)).unwrap();
    let again = open(dir.path()).store;
    write_key(&again, "b").unwrap();
    assert_eq!(mode("lucid.db"), 0o600);
    assert_eq!(mode("lucid.db-wal"), 0o600);
}

#[test]
fn what_is_written_is_there_after_a_new_start() {
    let (dir, store) = fresh();
    write_key(&store, "a").unwrap();
    store.close();
    assert!(matches!(write_key(&store, "late"), Err(StoreError::Closed)));
    let again = open(dir.path());
    assert_eq!(again.notices, []);
    assert_eq!(keys_of(&again.store), ["a"]);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let conn = Connection::open(database(dir.path())).unwrap();
    conn.execute_batch("PRAGMA application_id = 7; CREATE TABLE theirs (x);").unwrap();
    drop(conn);
    let before = fs::read(database(dir.path())).unwrap();
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Foreign { application_id: 7, .. }), "{error}");
    assert_eq!(fs::read(database(dir.path())).unwrap(), before);
}

#[test]
fn tables_without_an_application_id_are_another_programs_too() {
    let dir = tempfile::tempdir().unwrap();
    Connection::open(database(dir.path())).unwrap().execute_batch("CREATE TABLE theirs (x);").unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Foreign { application_id: 0, .. }));
}

#[test]
fn a_newer_schema_is_refused() {
    let (dir, store) = fresh();
    store.close();
    let conn = Connection::open(database(dir.path())).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("install the newer lucid"), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    // Not even root makes files there.
    let error = refusal(Path::new("/proc/self/lucid"));
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("/proc/self/lucid"), "{error}");
}

#[test]
fn an_empty_run_folder_is_no_former_life() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("runs")).unwrap();
    fs::create_dir(dir.path().join("backups")).unwrap();
    fs::write(database(dir.path()), b"").unwrap();
    assert_eq!(open(dir.path()).notices, []);
}

#[test]
fn the_library_is_new_enough() {
    assert!(rusqlite::version_number() >= super::super::connection::LIBRARY_MIN);
}

#[test]
fn a_migration_makes_a_backup_first_and_tells() {
    let next = [super::super::migrate::MIGRATIONS, &["CREATE TABLE later (x INTEGER) STRICT;"]].concat();
    let (from, to) = (super::super::migrate::NEWEST, super::super::migrate::NEWEST + 1);
    let (dir, store) = fresh();
    write_key(&store, "a").unwrap();
    store.close();
    let mut conn = Connection::open(database(dir.path())).unwrap();
    let notice = super::super::open::migrate(&mut conn, dir.path(), NOW_MS, &next).unwrap();
    let backup = dir.path().join(format!("backups/lucid-20260704T030000Z-before-v{to}.db"));
    assert_eq!(notice, Some(Notice::Migrated { from, to, backup: Some(backup.clone()) }));
    assert_eq!(super::super::migrate::version(&conn).unwrap(), to);
    assert_eq!(keys(&conn).unwrap(), ["a"]);
    let before = Connection::open(backup).unwrap();
    assert_eq!(super::super::migrate::version(&before).unwrap(), from);
    assert_eq!(keys(&before).unwrap(), ["a"]);
    assert_eq!(super::super::open::migrate(&mut conn, dir.path(), NOW_MS, &next).unwrap(), None);
}

#[test]
fn a_failed_migration_names_the_way_back() {
    let next =
        [super::super::migrate::MIGRATIONS, &["CREATE TABLE later (x INTEGER) STRICT; nonsense;"]].concat();
    let (dir, store) = fresh();
    write_key(&store, "a").unwrap();
    store.close();
    let mut conn = Connection::open(database(dir.path())).unwrap();
    let error = super::super::open::migrate(&mut conn, dir.path(), NOW_MS, &next).unwrap_err();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    drop(conn);
    let again = open(dir.path());
    assert_eq!(again.notices, [], "the schema of before opens as if nothing had been");
    assert_eq!(keys_of(&again.store), ["a"]);
}
