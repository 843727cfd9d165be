//! What must hold whatever happened: read from the database, /proc and the files that tasks wrote.

use std::collections::BTreeMap;

use crate::ledger::Row;
use crate::processes;
use crate::world::World;

/// Beyond timeout and grace, in milliseconds.
const KILL_SLACK_MS: i64 = 2_000;

/// A task's limits, as the checks need them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Milliseconds between its instants, which are multiples of it; none for a manual task.
    pub every_ms: Option<i64>,
    pub timeout_ms: i64,
    pub grace_ms: i64,
}

/// Every due instant between a task's first row and the mark it is covered up to has exactly one row.
#[track_caller]
pub fn each_instant_has_one_row(world: &World, task: &str, every_ms: i64) {
    // Before the rows, which come with it in one transaction.
    let covered_ms = world.number(&format!("SELECT covered_ms FROM tasks WHERE id = '{task}'"));
    let rows: Vec<Row> = world.rows_where(&format!(
        "task = '{task}' AND trigger IN ('schedule', 'catch_up') AND scheduled_ms IS NOT NULL"
    ));
    let Some(first_ms) = rows.iter().filter_map(|row| row.scheduled_ms).min() else { return };
    let mut covers: BTreeMap<i64, u32> = BTreeMap::new();
    for row in &rows {
        let from = row.scheduled_ms.expect("an instant");
        let to = row.missed_to_ms.unwrap_or(from);
        assert!(from % every_ms == 0 && to % every_ms == 0, "no instant of {task}: {row:?}");
        let count = (to - from) / every_ms + 1;
        assert_eq!(row.missed_count.unwrap_or(1), count, "{row:?}");
        for step in 0..count {
            *covers.entry(from + step * every_ms).or_default() += 1;
        }
    }
    let mut at = first_ms;
    while at <= covered_ms {
        let rows = covers.get(&at).copied().unwrap_or(0);
        assert_eq!(rows, 1, "{task}: the instant {at} has {rows} rows\n{}", world.picture());
        at += every_ms;
    }
}

/// No process without its live row, no running row without its keeper. For a world at rest.
#[track_caller]
pub fn processes_and_rows_agree(world: &World) {
    let live = world.rows_where("state IN ('running', 'stopping', 'kill_failed')");
    let numbers: Vec<i64> = live.iter().map(|row| row.id).collect();
    for process in world.of_runs() {
        let owner = live.iter().any(|row| world.of_run(row.id).iter().any(|own| own.pid == process.pid));
        assert!(owner, "{process:?} belongs to none of {numbers:?}\n{}", world.picture());
    }
    for row in &live {
        let keeper = row.keeper_pid.expect("a keeper");
        assert!(processes::lives(keeper), "no keeper: {row:?}\n{}", world.picture());
    }
}

/// A run's tree is gone within its timeout, its grace and a little.
#[track_caller]
pub fn no_run_outlived_its_limits(world: &World, task: &str, limits: Limits) {
    for row in world.rows(task) {
        if let Some(took_ms) = row.duration_ms {
            let most_ms = limits.timeout_ms + limits.grace_ms + KILL_SLACK_MS;
            assert!(took_ms <= most_ms, "took {took_ms} ms of {most_ms}: {row:?}");
        }
    }
}

#[track_caller]
pub fn database_is_sound(world: &World) {
    let connection = world.database();
    let integrity: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a verdict");
    assert_eq!(integrity, "ok");
    let mut statement = connection.prepare("PRAGMA foreign_key_check").expect("SQL");
    assert!(!statement.exists([]).expect("a verdict"), "a foreign key leads nowhere");
}

/// Ended rows hold nothing: no lock, no place, and nothing of theirs is live twice.
#[track_caller]
pub fn ended_runs_hold_nothing(world: &World) {
    let held = "SELECT count(*) FROM locks JOIN runs ON runs.id = locks.run \
                WHERE runs.state NOT IN ('claimed', 'running', 'stopping', 'kill_failed')";
    assert_eq!(world.number(held), 0, "a lock of an ended run\n{}", world.picture());
    let twice = "SELECT count(*) FROM (SELECT flight_key FROM runs \
                 WHERE state IN ('claimed', 'running', 'stopping', 'kill_failed') \
                 AND (waiting IS NULL OR waiting <> 'overlap') GROUP BY flight_key HAVING count(*) > 1)";
    assert_eq!(world.number(twice), 0, "two live runs of one key\n{}", world.picture());
}

/// Nothing started of `task` that was claimed at or after the moment it was switched off.
#[track_caller]
pub fn nothing_started_since(world: &World, task: &str, off_ms: i64) {
    let late: Vec<Row> = world
        .rows(task)
        .into_iter()
        .filter(|row| row.claimed_ms >= off_ms && row.started_ms.is_some())
        .collect();
    assert!(late.is_empty(), "started although disabled at {off_ms}: {late:?}");
}
