//! A full disk, on a real file system of 40 MB where the machine lets us mount one, and by
//! `max_page_count` everywhere.

use std::fs;
use std::io::Write;
use std::process::Command;

use super::super::ballast::{BALLAST_BYTES, Ballast};
use super::super::open::OpenError;
use super::*;

const TENANT_DIR: &str = "LUCID_TEST_TENANT_DIR";

/// Runs one ignored test of this file inside a private mount namespace, with `mount` done first; false
/// when this machine has no such namespaces for us.
fn as_tenant(test: &str, dir: &Path, mount: &str) -> bool {
    let script = format!("{mount} || exit 77; exec \"$0\" --exact {test} --ignored --nocapture");
    let ran = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(TENANT_DIR, dir)
        .output();
    match ran {
        Ok(output) if output.status.success() => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(said.contains("1 passed"), "{said}");
            true
        }
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Ok(_) | Err(_) => false,
    }
}

fn tenant_dir() -> std::path::PathBuf {
    std::env::var_os(TENANT_DIR).unwrap().into()
}

/// Writes a file until nothing more fits.
fn fill_up(path: &Path) {
    let mut filler = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    for size in [1 << 20, 4_096, 1] {
        while filler.write_all(&vec![1_u8; size]).is_ok() {}
    }
}

fn write_much(store: &Store, key: &str, bytes: usize) -> Result<usize, StoreError> {
    let key = key.to_owned();
    store.write_blocking(move |tx| {
        Ok(tx.execute("INSERT INTO meta VALUES (?1, ?2)", (key.clone(), "v".repeat(bytes)))?)
    })
}

#[test]
#[ignore = "run as a child inside a mount namespace"]
fn tenant_of_a_small_disk() {
    let dir = tenant_dir();
    let opened = open(&dir);
    assert_eq!(opened.notices, []);
    let store = opened.store;
    let mut notices = store.notices();
    write_key(&store, "before").unwrap();
    fill_up(&dir.join("filler"));

    // More than the last page of the log may still hold, less than the ballast.
    assert_eq!(write_much(&store, "on ballast", 1 << 20).unwrap(), 1);
    assert_eq!(notices.try_recv().unwrap(), Notice::DiskFull { ballast_spent: true });
    assert_eq!(keys_of(&store), ["before", "on ballast"]);

    fill_up(&dir.join("filler"));
    let refused = write_much(&store, "too much", 1 << 20);
    assert!(matches!(refused, Err(StoreError::DiskFull)), "{refused:?}");
    assert_eq!(notices.try_recv().unwrap(), Notice::DiskFull { ballast_spent: false });
    assert_eq!(keys_of(&store), ["before", "on ballast"], "reads go on");
    assert!(matches!(store.restore_ballast().unwrap(), Ballast::NoRoom { .. }));

    fs::remove_file(dir.join("filler")).unwrap();
    write_key(&store, "after").unwrap();
    assert_eq!(keys_of(&store), ["after", "before", "on ballast"]);
    assert_eq!(store.restore_ballast().unwrap(), Ballast::Restored);
    assert_eq!(fs::metadata(dir.join("ballast")).unwrap().len(), BALLAST_BYTES);

    // More than the page cache holds, so that the statement itself meets the full disk.
    fill_up(&dir.join("filler"));
    let many = store.write_blocking(|tx| {
        let sql = "INSERT INTO meta
                   WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 150)
                   SELECT 'many-' || x, hex(zeroblob(20000)) FROM n";
        Ok::<_, StoreError>(tx.execute(sql, [])?)
    });
    assert_eq!(many.unwrap(), 150);
    assert_eq!(notices.try_recv().unwrap(), Notice::DiskFull { ballast_spent: true });
    fs::remove_file(dir.join("filler")).unwrap();
    store.close();
    assert_eq!(open(&dir).notices, []);
    // A start on a full disk has the reserve as well; without it, it says what to do.
    assert!(dir.join("ballast").exists());
    fill_up(&dir.join("filler"));
    let up = open(&dir);
    assert!(up.notices.contains(&Notice::DiskFull { ballast_spent: true }), "{:?}", up.notices);
    write_key(&up.store, "up").unwrap();
    up.store.close();
    fill_up(&dir.join("filler"));
    if let Err(error) = Store::open(&dir, NOW_MS) {
        assert!(matches!(error, OpenError::Full { .. }) && error.to_string().contains("df -h"), "{error}");
    }
}

#[test]
#[ignore = "run as a child inside a mount namespace"]
fn tenant_of_a_read_only_disk() {
    let error = Store::open(&tenant_dir(), NOW_MS).err().unwrap();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains("set state_dir to another folder"), "{error}");
}

#[test]
fn a_full_disk_spends_the_ballast_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=40m,mode=700 lucid-test \"${TENANT_DIR}\"");
    let ran = as_tenant("store::tests::full::tenant_of_a_small_disk", dir.path(), &mount);
    println!("full disk on a real file system: {}", if ran { "ran" } else { "not possible here" });
    page_limit_stands_in();
}

#[test]
fn a_read_only_disk_is_named() {
    let (dir, store) = fresh();
    store.close();
    let mount = format!(
        "mount --bind \"${TENANT_DIR}\" \"${TENANT_DIR}\" && mount -o remount,ro,bind \"${TENANT_DIR}\""
    );
    let ran = as_tenant("store::tests::full::tenant_of_a_read_only_disk", dir.path(), &mount);
    println!("read-only file system: {}", if ran { "ran" } else { "not possible here" });
    assert!(open(dir.path()).notices.is_empty(), "the refusal changed nothing");
}

/// The same error code from a limit on the file, without the ballast helping.
fn page_limit_stands_in() {
    let (dir, store) = fresh();
    write_key(&store, "before").unwrap();
    let limit = |pages: &'static str| {
        store.write_blocking(move |tx| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            Ok::<_, StoreError>(tx.query_row(&sql, [], |row| row.get::<_, i64>(0))?)
        })
    };
    limit("1").unwrap();
    let refused = write_much(&store, "too much", 1 << 20);
    assert!(matches!(refused, Err(StoreError::DiskFull)), "{refused:?}");
    assert_eq!(keys_of(&store), ["before"]);
    assert!(dir.path().join("ballast").exists(), "the disk is not full, so the reserve stays");
    limit("1000000").unwrap();
    write_much(&store, "fits", 1 << 20).unwrap();
    assert_eq!(keys_of(&store), ["before", "fits"]);
}
