//! A thousand people who watch one ticket: from the POST of an event to the reader of its stream.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::events::tickets;
use crate::figures::{Pace, cpu_seconds, quantile, rollup_kb, spread};
use crate::world::World;

const READERS: usize = 1_000;
const EVENTS_PER_SECOND: u32 = 20;
const TARGET_P99_MS: f64 = 50.0;
/// What stands before the instant at which an event was sent, in its text.
const MARK: &str = "\"sent_us\":";

pub fn readers(pace: Pace) {
    let seconds = pace.of(Duration::from_secs(30), Duration::from_secs(5));
    let mut world = World::with("");
    world.serve();
    let id = tickets(&world, 1).remove(0);
    let path = format!("/api/v1/tickets/{id}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let count = EVENTS_PER_SECOND as usize * usize::try_from(seconds.as_secs()).expect("seconds");
    let begun = Instant::now();
    let before = rollup_kb(world.pid(), "Rss");
    let reading: Vec<_> = (0..READERS)
        .map(|_| {
            let stream = runtime.block_on(open(&world, &path));
            runtime.spawn(read(stream, begun, count))
        })
        .collect();
    let connected = rollup_kb(world.pid(), "Rss");
    let spent = cpu_seconds(world.pid());
    let mut line = world.line();
    let first = Instant::now();
    let mut posted = Vec::with_capacity(count);
    for n in 0..count {
        let due = first + Duration::from_secs(1) / EVENTS_PER_SECOND * u32::try_from(n).expect("few");
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        line.post(&format!("{path}/events"), &format!(r#"{{"type":"x",{MARK}{}}}"#, micros(begun)));
        posted.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    let mut late: Vec<f64> = Vec::with_capacity(READERS * count);
    for reader in reading {
        late.extend(runtime.block_on(reader).expect("no panic"));
    }
    assert_eq!(late.len(), READERS * count, "an event was not read by all");
    let spent = cpu_seconds(world.pid()) - spent;
    let after = rollup_kb(world.pid(), "Rss");
    println!(
        "{READERS} readers, {EVENTS_PER_SECOND} events/s for {} s: POST to reader ms {} (target p99 ≤ \
         {TARGET_P99_MS}), longest {:.1}; the POST itself ms {}",
        seconds.as_secs(),
        spread(late.clone()),
        quantile(&mut late, 1.0),
        spread(posted),
    );
    println!(
        "  RSS {:.1} MB before, {:.1} with all connected ({:.1} kB a reader), {:.1} after; {spent:.1} s of processor",
        before as f64 / 1e3,
        connected as f64 / 1e3,
        (connected.saturating_sub(before)) as f64 / READERS as f64,
        after as f64 / 1e3,
    );
}

fn micros(begun: Instant) -> u128 {
    begun.elapsed().as_micros()
}

async fn open(world: &World, path: &str) -> BufReader<UnixStream> {
    let socket = world.path("state/lucid.sock");
    let mut stream = UnixStream::connect(socket).await.expect("a connection");
    let request = format!("GET {path}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut reader = BufReader::with_capacity(1024, stream);
    let mut line = String::new();
    while !line.starts_with("retry: ") {
        line.clear();
        assert!(reader.read_line(&mut line).await.expect("a line") > 0, "no stream");
    }
    reader
}

/// How late each event came, in ms.
async fn read(mut reader: BufReader<UnixStream>, begun: Instant, count: usize) -> Vec<f64> {
    let mut late = Vec::with_capacity(count);
    let mut line = String::new();
    while late.len() < count {
        line.clear();
        if reader.read_line(&mut line).await.expect("a line") == 0 {
            break;
        }
        let Some((_, rest)) = line.split_once(MARK) else { continue };
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let sent: u128 = digits.parse().expect("an instant");
        late.push((micros(begun).saturating_sub(sent)) as f64 / 1e3);
    }
    late
}
