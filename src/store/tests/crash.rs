//! kill -9 in the middle of the load: what was acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::super::{Depth, Integrity};
use super::*;

const VICTIM_DIR: &str = "LUCID_TEST_VICTIM_DIR";
const PRODUCERS: usize = 4;
const ROUNDS: usize = 20;

/// Not a test: the process that [`acknowledged_writes_survive_kill_9`] kills.
#[test]
#[ignore = "run as a child of the crash test"]
fn victim() {
    let dir = std::env::var_os(VICTIM_DIR).unwrap();
    let store = open(Path::new(&dir)).store;
    let round = keys_of(&store).len();
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let store = &store;
            scope.spawn(move || {
                for n in 0.. {
                    let key = format!("{round}-{producer}-{n}");
                    write_key(store, &key).unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {key}").unwrap();
                    out.flush().unwrap();
                }
            });
        }
    });
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::victim", "--ignored", "--nocapture"])
            .env(VICTIM_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut killed_after = 0;
        for line in lines.by_ref() {
            acknowledged.extend(line.strip_prefix("acknowledged ").map(str::to_owned));
            killed_after += 1;
            if killed_after == 20 + 37 * round {
                break;
            }
        }
        victim.kill().unwrap();
        // What it said before the kill is still in the pipe; the last line may be torn.
        let rest: Vec<String> = lines.collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged.extend(
            rest[..whole].iter().filter_map(|line| line.strip_prefix("acknowledged ").map(str::to_owned)),
        );
        victim.wait().unwrap();
    }
    assert!(acknowledged.len() > ROUNDS * 100, "{}", acknowledged.len());
    let opened = open(dir.path());
    assert_eq!(opened.notices, []);
    let kept: std::collections::HashSet<String> = keys_of(&opened.store).into_iter().collect();
    let lost: Vec<&String> = acknowledged.iter().filter(|key| !kept.contains(*key)).collect();
    println!("{ROUNDS} kills, {} acknowledged, {} kept, {} lost", acknowledged.len(), kept.len(), lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    let conn = Connection::open(opened.store.path()).unwrap();
    let whole = super::super::maintain::integrity(&conn, Depth::Full).unwrap();
    assert_eq!(whole, Integrity::Sound);
}
