//! Following, against a daemon that breaks off, repeats itself, goes and comes back.

use std::time::Duration;

use super::super::args::Globals;
use super::super::runs::tests::run;
use super::*;
use crate::platform::client::played::{Daemon, Play, bytes, events, problem, raw};

fn context(daemon: &Daemon) -> Context {
    Context::new(Globals { socket: Some(daemon.socket()), quiet: true, ..Globals::default() })
}

fn log(offset: u64, text: &str) -> String {
    let next = offset + text.len() as u64;
    let data = serde_json::json!({"offset": offset, "next": next, "text": text});
    format!("id: {next}\nevent: log\ndata: {data}\n\n")
}

fn end(log_bytes: u64) -> String {
    let data = serde_json::json!({"run": run(7, RunState::Ok), "log_bytes": log_bytes});
    format!("id: {log_bytes}\nevent: end\ndata: {data}\n\n")
}

/// What comes out, and what was asked for: the first line and the `Last-Event-ID` of each request.
fn followed(plays: Vec<Play>, output: Output) -> (Result<wire::Run, Failure>, Vec<u8>, Vec<String>) {
    let daemon = Daemon::play(plays);
    let mut out = Vec::new();
    let ended = Follower::new(&context(&daemon), 7, output).unwrap().follow(&mut out);
    let asked = daemon.requests();
    let line = |text: &String, name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
    let asked = asked.iter().map(|text| {
        let id = line(text, "Last-Event-ID: ").map(|id| format!(" {id}")).unwrap_or_default();
        let path = line(text, "GET ").unwrap_or_default();
        format!("{}{id}", path.trim_end_matches(" HTTP/1.1"))
    });
    (ended, out, asked.collect())
}

const STREAM: &str = "/api/v1/runs/7/stream";

#[test]
fn a_stream_that_breaks_off_goes_on_without_loss_or_repetition() {
    let cut = log(6, "two\n");
    let plays = vec![
        events(&format!("{}: ping\n\n{}", log(0, "one\nhe"), &cut[..cut.len() - 3])),
        raw("HTTP/1.1 200 OK\r\nContent-Le"),
        problem(503, "starting", "not ready yet"),
        events(&format!("{}{}{}", log(6, "llo\n"), log(10, "last"), end(14))),
    ];
    let (ended, out, asked) = followed(plays, Output::From(0));
    assert_eq!(ended.unwrap().state, RunState::Ok);
    assert_eq!(String::from_utf8(out).unwrap(), "one\nhello\nlast");
    assert_eq!(asked, ["0", "6", "6", "6"].map(|id| format!("{STREAM} {id}")));
}

#[test]
fn what_was_sent_twice_is_written_once() {
    let plays = vec![
        events(&format!("{}{}{}", log(0, "abc"), log(0, "abc"), log(1, "bcdef"))),
        bytes("200 OK", "text/plain", b"def and what came since"),
        events(&end(6)),
    ];
    let (_, out, _) = followed(plays, Output::From(0));
    assert_eq!(out, b"abcdef");
}

#[test]
fn bytes_that_are_no_text_come_out_as_they_are() {
    let replaced = serde_json::json!({"offset": 0, "next": 4, "text": "a\u{fffd}b"});
    let plays = vec![
        events(&format!("id: 4\nevent: log\ndata: {replaced}\n\n")),
        bytes("200 OK", "application/octet-stream", b"a\xff\xfeb and more"),
        events(&format!("{}{}", log(4, "\u{fffd}!"), end(8))),
        bytes("200 OK", "application/octet-stream", "\u{fffd}!".as_bytes()),
    ];
    let (ended, out, asked) = followed(plays, Output::From(0));
    assert!(ended.is_ok());
    assert_eq!(out, b"a\xff\xfeb\xef\xbf\xbd!");
    assert_eq!(asked[1], "/api/v1/runs/7/log?offset=0");
}

#[test]
fn a_reset_goes_on_where_the_server_says() {
    let reset = serde_json::json!({"reason": "too_old", "from": 100});
    let plays =
        vec![events(&format!("id: 100\nevent: reset\ndata: {reset}\n\n{}{}", log(100, "x"), end(101)))];
    let (_, out, asked) = followed(plays, Output::From(5));
    assert_eq!((out.as_slice(), asked), (&b"x"[..], vec![format!("{STREAM} 5")]));
}

#[test]
fn waiting_writes_nothing() {
    let (ended, out, _) = followed(vec![events(&format!("{}{}", log(0, "abc"), end(3)))], Output::Unwanted);
    assert!(ended.is_ok() && out.is_empty());
}

#[test]
fn no_such_run_is_not_waited_for() {
    let (ended, _, asked) =
        followed(vec![problem(404, "no_such_run", "there is no run #7")], Output::From(0));
    let failure = ended.unwrap_err();
    assert_eq!((failure.exit(), failure.to_string().as_str()), (Exit::NoSuchId, "there is no run #7"));
    assert_eq!(asked.len(), 1);
}

#[test]
fn the_time_to_wait_holds_in_silence_and_without_a_daemon() {
    let silent = vec![events(&format!("{}: ping\n\n", log(0, "a"))).held()];
    let cut = vec![events("")];
    for plays in [silent, cut, Vec::new()] {
        let daemon = Daemon::play(plays);
        let context = context(&daemon);
        let began = context.clock.boot();
        let limit = Duration::from_millis(150);
        let follower = Follower::new(&context, 7, Output::Unwanted).unwrap().within(Some(limit));
        let failure = follower.follow(&mut Vec::new()).unwrap_err();
        assert_eq!(failure.exit(), Exit::WaitTimedOut);
        let took = context.clock.boot() - began;
        assert!((limit..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
}

#[test]
fn a_reader_that_has_gone_ends_the_following() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let daemon = Daemon::play(vec![events(&log(0, "a"))]);
    let context = context(&daemon);
    let failure = Follower::new(&context, 7, Output::From(0)).unwrap().follow(&mut Gone).unwrap_err();
    assert!(failure.is_broken_pipe());
}

#[test]
fn the_exit_code_is_the_childs_where_it_has_one() {
    let ended = |state, exit_code, signal| {
        let mut run = run(1, state);
        (run.exit_code, run.signal) = (exit_code, signal);
        exit_of(&run).code()
    };
    let table = [
        (RunState::Ok, Some(0), None, 0),
        (RunState::Ok, Some(10), None, 10),
        (RunState::Failed, Some(3), None, 3),
        (RunState::Failed, Some(0), None, 1),
        (RunState::Failed, Some(126), None, 126),
        (RunState::Failed, Some(127), None, 127),
        (RunState::Failed, None, Some(9), 137),
        (RunState::Failed, None, None, 125),
        (RunState::Timeout, None, Some(15), 124),
        (RunState::Timeout, Some(0), None, 124),
        (RunState::Killed, None, Some(9), 137),
        (RunState::Killed, Some(0), None, 143),
        (RunState::Killed, Some(4), None, 4),
        (RunState::Lost, None, None, 125),
        (RunState::Blocked, Some(1), None, 125),
        (RunState::Skipped, None, None, 125),
        (RunState::NotStarted, None, None, 125),
    ];
    for (state, code, signal, exit) in table {
        assert_eq!(ended(state, code, signal), exit, "{state:?} {code:?} {signal:?}");
    }
}
