//! The gate before a run, and what is said of how it ended.

use std::path::Path;

use lucid::platform::process::{Cause, End, ForkError, Found, Keeper, Private, Spec};

use crate::world::*;

#[tokio::test]
async fn without_go_the_command_never_runs() {
    let world = world();
    let marker = world.marker("gate");
    let spec = sh("gate", &format!("touch {}", marker.display()));
    spec.write(&world.dir("gate")).unwrap();
    let gate = world.fork("gate").await.unwrap();
    let (pid, start) = (gate.pid, gate.start_ticks);
    assert!(Keeper::is_same(pid, start));
    assert!(matches!(world.examine("gate"), Found::Alive(keeper) if keeper.pid == pid));
    drop(gate);
    all_die(&[pid], PATIENCE).await;
    assert!(matches!(world.examine("gate"), Found::NotStarted));
    assert!(!marker.exists() && !world.dir("gate").join("started").exists());

    // The same directory may be used once more.
    world.run("gate", &spec).await;
    assert!(marker.exists());
    assert!(matches!(world.examine("gate"), Found::Exited(_)));
    assert!(matches!(world.fork("gate").await, Err(ForkError::Refused(_))));
}

#[tokio::test]
async fn one_run_has_one_keeper() {
    let world = world();
    let spec = sh("twice", "true");
    spec.write(&world.dir("twice")).unwrap();
    let gate = world.fork("twice").await.unwrap();
    let Err(ForkError::Refused(why)) = world.fork("twice").await else {
        panic!("a second keeper for one run")
    };
    assert!(why.contains(&gate.pid.to_string()), "{why}");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_refused() {
    let world = world();
    assert!(matches!(world.fork("nothing").await, Err(ForkError::Refused(_))));
}

#[tokio::test]
async fn codes_and_signals_are_told_apart() {
    let world = world();
    let exit = world.run("code", &sh("code", "echo out; echo err >&2; exit 7")).await;
    assert_eq!((exit.end, exit.cause), (End::Code(7), Cause::Itself));
    assert_eq!(world.log("code"), "out\nerr\n");
    assert_eq!((exit.log_bytes, exit.log_cut_bytes, exit.killed, exit.leftovers), (8, 0, 0, 0));
    assert!(exit.ended_ms >= exit.started_ms);
    let exit = world.run("signal", &sh("signal", "kill -9 $$")).await;
    assert_eq!((exit.end, exit.cause), (End::Signal(9), Cause::Itself));
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let world = world();
    let script = world.root.path().join("no-x");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    let start = async |id: &str, argv: &[&str], cwd: &Path| {
        let argv = argv.iter().map(|a| (*a).to_owned()).collect();
        let exit = world.run(id, &Spec { argv, cwd: cwd.to_owned(), ..sh(id, "") }).await;
        match exit.end {
            End::Spawn { code, error } => (code, error),
            other => panic!("{id}: {other:?}"),
        }
    };
    let root = Path::new("/");
    assert_eq!(start("s1", &["/no/such/program"], root).await.0, 127);
    assert_eq!(start("s2", &["no-such-program"], root).await.0, 127);
    assert_eq!(start("s3", &[script.to_str().unwrap()], root).await.0, 126);
    assert_eq!(start("s4", &["/"], root).await.0, 126);
    let (code, error) = start("s5", &["true"], Path::new("/no/such/dir")).await;
    assert_eq!(code, 126);
    assert!(error.contains("/no/such/dir"), "{error}");
    assert!(world.log("s5").contains("/no/such/dir"));
}

#[tokio::test]
async fn the_environment_is_exactly_what_was_given() {
    let world = world();
    let spec = Spec { argv: vec!["/usr/bin/env".to_owned()], ..sh("env", "") };
    let private = Private { env: vec![("TOKEN".to_owned(), "t".to_owned())], masks: Vec::new() };
    let keeper = world.start("env", &spec, &private).await;
    world.end_of("env", &keeper).await;
    let log = world.log("env");
    let mut names: Vec<&str> = log.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LUCID_RUN_ID", "PATH", "TOKEN"]);
    let exit = world.run("fds", &sh("fds", "ls /proc/self/fd | tr '\\n' ' '; umask")).await;
    assert_eq!(exit.end, End::Code(0));
    assert_eq!(world.log("fds"), "0 1 2 3 0022\n", "3 is the directory that ls reads");
}

#[tokio::test]
async fn a_preflight_that_says_no_ends_the_run() {
    let world = world();
    let preflight = |script: &str| Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec());
    let spec = Spec { preflight: preflight("echo no disk; exit 3"), ..sh("pf", "echo ran") };
    assert_eq!(world.run("pf", &spec).await.end, End::Preflight { code: 3 });
    assert_eq!(world.log("pf"), "no disk\n");
    let spec = Spec { preflight: preflight("echo fine"), ..sh("pf2", "echo ran; exit 4") };
    assert_eq!(world.run("pf2", &spec).await.end, End::Code(4));
    assert_eq!(world.log("pf2"), "fine\nran\n");
    let spec = Spec { preflight: preflight("exec sleep 60"), timeout_ms: 300, ..sh("pf3", "echo ran") };
    let exit = world.run("pf3", &spec).await;
    assert_eq!((exit.end, exit.cause), (End::Preflight { code: 143 }, Cause::Timeout));
    assert_eq!(world.log("pf3"), "");
}
