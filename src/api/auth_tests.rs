//! The whole policy on one screen, and what it says to those it turns away.

use super::*;

fn peer(level: Level) -> Caller {
    Caller::Peer(Peer { uid: 1000, name: "alice".into(), pid: None, level })
}

fn run(grants: &[&str]) -> Caller {
    Caller::Run(RunCaller {
        run: RunId(7),
        task: TaskId::parse("t").unwrap(),
        grants: grants.iter().map(|&g| g.to_owned()).collect(),
        work: None,
    })
}

/// The whole policy on one screen: a right × a caller.
#[test]
fn rights_by_caller() {
    let callers = [
        ("stranger", peer(Level::None)),
        ("read", peer(Level::Read)),
        ("operate", peer(Level::Operate)),
        ("admin", peer(Level::Admin)),
        ("run", run(&[])),
        ("run+tasks:run", run(&["tasks:run"])),
        (
            "run+all",
            run(&[
                "tasks:run",
                "runs:stop",
                "tasks:pause",
                "pools:heal",
                "tasks:edit",
                "daemon:reload",
                "daemon:backup",
                "dispatch:pass",
            ]),
        ),
    ];
    let table: Vec<String> = Right::ALL
        .into_iter()
        .map(|right| {
            let may: Vec<&str> =
                callers.iter().filter(|(_, c)| c.may(right).is_ok()).map(|(name, _)| *name).collect();
            format!("{right:?}: {}", may.join(" "))
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    Alive: stranger read operate admin run run+tasks:run run+all
    Read: read operate admin run run+tasks:run run+all
    RunTasks: operate admin run+tasks:run run+all
    StopRuns: operate admin run+all
    PauseTasks: operate admin run+all
    HealPools: operate admin run+all
    Dispatch: operate admin run+all
    TendAlerts: operate admin
    EditTasks: admin run+all
    Reload: admin run+all
    Drain: admin
    Stop: admin
    ReadConfig: admin
    Backup: admin run+all
    ReadTicket: read operate admin run run+tasks:run run+all
    WorkOnTicket: operate admin
    WriteTickets: operate admin
    ReportHealth: operate admin
    Upkeep: operate admin
    TellErrors: operate admin run run+tasks:run run+all
    ");
}

#[test]
fn actors_are_named() {
    assert_eq!(peer(Level::Read).actor(), "user:alice");
    assert_eq!(run(&[]).actor(), "run:#7");
}

/// A task's file may name what a token can be asked for, and nothing else.
#[test]
fn the_names_of_grants_are_those_that_rights_ask_for() {
    let mut asked: Vec<&str> = Right::ALL
        .into_iter()
        .filter_map(|right| match right.grant() {
            Need::Grant(grant) => Some(grant),
            Need::Nothing | Need::Never => None,
        })
        .collect();
    asked.sort_unstable();
    asked.dedup();
    let mut known = grant::ALL.to_vec();
    known.sort_unstable();
    assert_eq!(asked, known);
}
