//! Input and output: whole, bounded, masked, readable at any time.

use std::time::{Duration, Instant};

use lucid::platform::process::output::Reader;
use lucid::platform::process::{End, Private, Spec, Stdin, Stdout, append_stdin, close_stdin, stop};

use crate::world::*;

#[tokio::test]
async fn a_flood_keeps_head_and_tail() {
    let world = world();
    let script = "echo first; yes 0123456789abcdef | head -c 100000000; echo; echo last";
    let spec = Spec { log_max: 100_000, ..sh("flood", script) };
    let keeper = world.start("flood", &spec, &Private::default()).await;
    let exit = world.end_of("flood", &keeper).await;
    assert_eq!(exit.end, End::Code(0));
    assert_eq!((exit.log_bytes, exit.log_cut_bytes), (100_000_012, 99_900_012));
    let log = world.log("flood");
    assert!(log.starts_with("first\n0123") && log.ends_with("\nlast\n"));
    assert!(log.contains("[lucid: 99900012 bytes cut here]"));
    assert!(!world.dir("flood").join("output.tail").exists());

    let reader = Reader::open(&world.dir("flood")).unwrap();
    let head = reader.read_from(0, 1 << 20).unwrap();
    assert_eq!((head.offset, head.next, head.complete), (0, 50_000, false));
    let tail = reader.read_from(head.next, 1 << 20).unwrap();
    assert_eq!((tail.offset, tail.cut_bytes), (99_950_012, 99_900_012));
    assert_eq!((tail.next, tail.complete), (100_000_012, true));
    assert!(tail.bytes.ends_with(b"\nlast\n"));
    assert_eq!(reader.tail(1).unwrap().bytes, b"last\n");
}

#[tokio::test]
async fn a_log_is_readable_while_it_grows() {
    let world = world();
    let script = "printf %050d 1; printf %050d 2; printf '%040d\\nmarker\\n' 3; exec sleep 60";
    let spec = Spec { log_max: 60, ..sh("grow", script) };
    let keeper = world.start("grow", &spec, &Private::default()).await;
    let reader = Reader::open(&world.dir("grow")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !reader.tail(1).unwrap().bytes.ends_with(b"marker\n") {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let chunk = reader.read_from(30, 1000).unwrap();
    assert_eq!((chunk.offset, chunk.next, chunk.complete), (148 - 30, 148, false));
    kill(keeper.pid);
    keeper.ended().await;
    cgroup_goes(&world.dir("grow")).await;
    // A keeper that was killed folded nothing, and lost nothing either.
    let again = reader.read_from(30, 1000).unwrap();
    assert_eq!((again.bytes, again.complete), (chunk.bytes, true));
}

#[tokio::test]
async fn hostile_bytes_are_kept_as_they_are() {
    let world = world();
    let script = "head -c 3000000 /dev/zero; printf '\\377\\376\\033[31m'; exec >&-; echo err >&2";
    let spec = Spec { log_max: 10_000_000, ..sh("bytes", script) };
    assert_eq!(world.run("bytes", &spec).await.end, End::Code(0));
    let log = std::fs::read(world.dir("bytes").join("output.log")).unwrap();
    assert_eq!(log.len(), 3_000_000 + 7 + 4);
    assert!(log.ends_with(b"\x00\xff\xfe\x1b[31merr\n"));
}

#[tokio::test]
async fn a_secret_never_reaches_a_file() {
    let world = world();
    let secret = "s3cret-canary-value";
    let script = "printf %s \"${TOKEN%-*-*}\"; sleep 0.2; echo \"-${TOKEN#*-}\"; printf %s \"$TOKEN\" | base64; \
                  echo \"$TOKEN\" >&2; echo \"{\\\"k\\\":\\\"$TOKEN\\\"}\"";
    let private = Private { env: vec![("TOKEN".into(), secret.into())], masks: vec![secret.into()] };
    // What is kept as lines, of which three hold it, is in the log as well.
    for (id, stdout, wanted) in [("mask1", Stdout::Log, 4), ("mask2", Stdout::Lines { max_bytes: 10_000 }, 7)]
    {
        let spec = Spec { stdout, ..sh(id, script) };
        let keeper = world.start(id, &spec, &private).await;
        assert_eq!(world.end_of(id, &keeper).await.end, End::Code(0));
        let mut stars = 0;
        for entry in std::fs::read_dir(world.dir(id)).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("control") {
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains("canary") && !text.contains("Y2FuYXJ5"), "{}: {text}", path.display());
            stars += text.matches("***").count();
        }
        assert_eq!(stars, wanted, "{id}");
    }
}

#[tokio::test]
async fn lines_hold_what_was_printed_and_the_log_holds_everything() {
    let world = world();
    let script = "cat; echo '{\"a\":1}'; echo oops >&2; printf '{\"b\":2}'";
    let spec = Spec {
        stdout: Stdout::Lines { max_bytes: 1_000_000 },
        stdin: Stdin::Text("{\"prompt\":\"`id` $(id)\"}\n".to_owned()),
        ..sh("lines", script)
    };
    assert_eq!(world.run("lines", &spec).await.end, End::Code(0));
    let events = std::fs::read_to_string(world.dir("lines").join("events.jsonl")).unwrap();
    assert_eq!(events, "{\"prompt\":\"`id` $(id)\"}\n{\"a\":1}\n{\"b\":2}\n");
    // Two pipes: in which order they were read, nobody promises.
    let log = world.log("lines");
    for part in ["{\"prompt\":\"`id` $(id)\"}\n", "{\"a\":1}\n", "oops\n", "{\"b\":2}"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[tokio::test]
async fn a_large_prompt_does_not_deadlock() {
    let world = world();
    let prompt = "0123456789\n".repeat(200_000);
    let spec = Spec { stdin: Stdin::Text(prompt), log_max: 10_000_000, ..sh("prompt", "cat") };
    assert_eq!(world.run("prompt", &spec).await.log_bytes, 2_200_000);
    let spec = Spec { stdin: Stdin::Text("x".repeat(1_000_000)), ..sh("unread", "exit 0") };
    assert_eq!(world.run("unread", &spec).await.end, End::Code(0));
}

#[tokio::test]
async fn live_input_is_followed_until_it_is_closed() {
    let world = world();
    let spec = Spec { stdin: Stdin::Live, ..sh("live", "while read l; do echo got $l; done; echo eof") };
    spec.write(&world.dir("live")).unwrap();
    append_stdin(&world.dir("live"), "early").unwrap();
    let keeper = world.start("live", &spec, &Private::default()).await;
    append_stdin(&world.dir("live"), "two").unwrap();
    let reader = Reader::open(&world.dir("live")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while reader.read_from(0, 100).unwrap().bytes != b"got early\ngot two\n" {
        assert!(Instant::now() < deadline, "{}", world.log("live"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    append_stdin(&world.dir("live"), "three").unwrap();
    close_stdin(&world.dir("live")).unwrap();
    assert_eq!(world.end_of("live", &keeper).await.end, End::Code(0));
    assert_eq!(world.log("live"), "got early\ngot two\ngot three\neof\n");
}

/// Most memory that a process ever had, in kB.
/// The peak without the program's own pages, which a debug build has many of and all keepers share.
fn peak_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    field("VmHWM:").saturating_sub(field("RssFile:"))
}

#[tokio::test]
async fn one_line_of_100_mb_stays_flat_in_memory() {
    const PEAK_MAX_KB: u64 = 16 * 1024;
    let world = world();
    let script = "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo end; exec sleep 60";
    let private = Private { env: Vec::new(), masks: vec!["a-secret-to-look-for".to_owned()] };
    for (id, stdout, file) in
        [("wide1", Stdout::Log, "output.log"), ("wide2", Stdout::Lines { max_bytes: 10_000 }, "events.jsonl")]
    {
        let keeper = world.start(id, &Spec { log_max: 10_000, stdout, ..sh(id, script) }, &private).await;
        let deadline = Instant::now() + PATIENCE;
        let ends =
            |name: &str| std::fs::read(world.dir(id).join(name)).is_ok_and(|all| all.ends_with(b"end\n"));
        while !ends(file) && !Reader::open(&world.dir(id)).unwrap().tail(1).unwrap().bytes.ends_with(b"end\n")
        {
            assert!(Instant::now() < deadline, "{id}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let peak = peak_kb(keeper.pid);
        assert!(peak < PEAK_MAX_KB, "{id}: {peak} kB");
        stop(&world.dir(id), "enough", None).unwrap();
        world.end_of(id, &keeper).await;
    }
    let events = std::fs::read_to_string(world.dir("wide2").join("events.jsonl")).unwrap();
    assert!(events.starts_with("{\"") && events.contains("\"line_cut\"") && events.ends_with("\nend\n"));
}
