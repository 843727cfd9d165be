//! Live streams of the real daemon under readers that do not read, and connections that come in thousands.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::socket::connect;
use crate::world::World;

/// A socket that takes nothing is closed after 20 s; the rest is for a machine that is busy.
const EVICTED_WITHIN: Duration = Duration::from_secs(60);
/// What a burst of events may add to the daemon's memory, in kB; what is sent is many times that.
const GROWTH_MAX_KB: u64 = 40_000;

fn board() -> (World, String) {
    let mut world = World::new();
    world.serve();
    let made = world.lucid(["ticket", "new", "--title", "Watched", "--json"]).expect(0).json();
    let id = made["ticket"]["id"].as_str().expect("an id").to_owned();
    (world, id)
}

/// A reader of the ticket's log, once the stream stands.
fn follow(world: &World, id: &str) -> BufReader<UnixStream> {
    let mut stream = connect(&world.state("lucid.sock"));
    let request = format!("GET /api/v1/tickets/{id}/stream HTTP/1.1\r\nHost: lucid\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("retry: ") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no stream");
    }
    reader
}

/// The next event's name and data.
fn next(reader: &mut BufReader<UnixStream>) -> Option<(String, Value)> {
    let (mut name, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.strip_prefix("event: ") {
            name = text.trim().to_owned();
        } else if let Some(text) = line.strip_prefix("data: ") {
            return Some((name, serde_json::from_str(text).expect("JSON")));
        }
    }
}

/// `count` events of about `bytes` each.
fn append(world: &World, id: &str, count: usize, bytes: usize) {
    let event = format!(r#"{{"type":"x","text":"{}"}}"#, "x".repeat(bytes));
    let body = format!("[{}]", vec![event; count].join(","));
    let mut stream = connect(&world.state("lucid.sock"));
    let head = format!(
        "POST /api/v1/tickets/{id}/events HTTP/1.1\r\nHost: lucid\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

fn resident_kb(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.daemon_pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn streams(world: &World) -> Option<u32> {
    let metrics = world.lucid(["api", "GET", "/metrics"]).stdout;
    let value = metrics.lines().find_map(|line| line.strip_prefix("lucid_sse_clients "))?;
    value.trim().parse().ok()
}

#[test]
fn readers_that_do_not_read_are_shown_out_and_cost_nothing() {
    const BATCHES: usize = 20;
    const BATCH: usize = 200;
    let (world, id) = board();
    let deaf = follow(&world, &id);
    let mut drip = follow(&world, &id);
    let mut good = follow(&world, &id);
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let reading = std::thread::spawn(move || {
        let mut resets = 0;
        while counted.load(Ordering::Acquire) < BATCHES * BATCH
            && let Some((name, _)) = next(&mut good)
        {
            counted.fetch_add(usize::from(name == "ticket_event"), Ordering::AcqRel);
            resets += u32::from(name == "reset");
        }
        resets
    });
    // One byte a second, for as long as it is let.
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let dripping = std::thread::spawn(move || {
        while !stop.load(Ordering::Acquire) && matches!(drip.read(&mut [0]), Ok(1)) {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let before = resident_kb(&world);
    for _ in 0..BATCHES {
        append(&world, &id, BATCH, 2_000);
    }
    assert_eq!(reading.join().expect("no panic"), 0, "who reads misses nothing");
    assert_eq!(seen.load(Ordering::Acquire), BATCHES * BATCH);
    let grown = resident_kb(&world).saturating_sub(before);
    println!("{grown} kB more for {BATCHES} batches of {BATCH} events of 2 kB under two that do not read");
    assert!(grown < GROWTH_MAX_KB, "{grown} kB more");
    let begun = Instant::now();
    world.until_within(EVICTED_WITHIN, "both are shown out", || (streams(&world) == Some(0)).then_some(()));
    println!("shown out after {:?}", begun.elapsed());
    over.store(true, Ordering::Release);
    dripping.join().expect("no panic");
    // What was on its way is there, then the end; never all.
    let mut deaf = deaf;
    let mut got = 0;
    while next(&mut deaf).is_some() {
        got += 1;
    }
    assert!(got < BATCHES * BATCH, "{got}");
    assert_eq!(world.lucid(["api", "GET", "/healthz"]).code, 0);
}

#[test]
fn a_reader_that_falls_far_behind_is_told_to_read_again_and_goes_on_from_there() {
    let (world, id) = board();
    let mut late = follow(&world, &id);
    for _ in 0..4 {
        append(&world, &id, 4_000, 20);
    }
    let mut last = 0;
    let from = loop {
        let (name, data) = next(&mut late).expect("the stream goes on");
        if name == "reset" {
            assert_eq!(data["reason"], "lagged", "{data}");
            break data["from"].as_i64().expect("a number");
        }
        let seq = data["seq"].as_i64().expect("a number");
        assert!(seq > last, "out of order");
        last = seq;
    };
    assert!(from > last);
    append(&world, &id, 1, 20);
    let (name, data) = next(&mut late).expect("the stream goes on");
    assert!(name == "ticket_event" && data["seq"].as_i64() > Some(from), "{name} {data}");
    // What it missed is there to be read by number.
    let page = world.lucid(["ticket", "events", &id, "--json", "--after", &last.to_string()]).expect(0);
    let events = page.json()["events"].as_array().expect("events").clone();
    assert!(events.first().is_some_and(|event| event["seq"].as_i64() > Some(last)), "{events:?}");
}

fn descriptors(world: &World) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", world.daemon_pid())).unwrap().count()
}

#[test]
fn five_thousand_connections_come_and_go_and_leave_nothing() {
    const ROUNDS: usize = 50;
    const EACH: usize = 100;
    let (world, _) = board();
    let socket = world.state("lucid.sock");
    let (fds, memory) = (descriptors(&world), resident_kb(&world));
    let mut answered = Vec::new();
    for _ in 0..ROUNDS {
        let mut many: Vec<UnixStream> = (0..EACH).map(|_| connect(&socket)).collect();
        for stream in many.iter_mut().step_by(2) {
            // Some are shown out to make room before they can say a word.
            let _ = stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: lucid\r\n");
        }
        let begun = Instant::now();
        let mut asked = connect(&socket);
        asked.write_all(b"GET /healthz HTTP/1.1\r\nHost: lucid\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        asked.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answered.push(begun.elapsed());
    }
    answered.sort_unstable();
    println!("/healthz meanwhile: median {:?}, longest {:?}", answered[ROUNDS / 2], answered[ROUNDS - 1]);
    world.until("the descriptors are back", || (descriptors(&world) <= fds + 8).then_some(()));
    let grown = resident_kb(&world).saturating_sub(memory);
    println!("{grown} kB more after {} connections", ROUNDS * EACH);
    assert!(grown < GROWTH_MAX_KB, "{grown} kB more");
}
