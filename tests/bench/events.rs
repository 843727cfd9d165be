//! What workers print, taken in durably: batches from several at once, each on its own ticket.

use std::sync::Arc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::figures::{Pace, rollup_kb, spread};
use crate::world::{Line, World};

const WORKERS: usize = 4;
/// Of one event, as an agent's line of text is.
const EVENT_BYTES: usize = 200;
const BATCHES: [usize; 3] = [10, 100, 1000];
const TARGET: u32 = 10_000;

/// Tickets, one a worker.
pub fn tickets(world: &World, count: usize) -> Vec<String> {
    let mut line = world.line();
    (0..count)
        .map(|n| {
            let made = line.post("/api/v1/tickets", &format!(r#"{{"title":"Bench {n}"}}"#));
            let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
            made["ticket"]["id"].as_str().expect("an id").to_owned()
        })
        .collect()
}

/// Sends batches until the time is up; how many, and how long each took in ms.
fn send(mut line: Line, path: &str, batch: usize, span: Duration) -> Vec<f64> {
    let text = "x".repeat(EVENT_BYTES - 60);
    let event =
        format!(r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#);
    let body = format!("[{}]", vec![event; batch].join(","));
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < span {
        let asked = Instant::now();
        line.post(path, &body);
        took.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    took
}

pub fn events(pace: Pace) {
    let span = pace.of(Duration::from_secs(10), Duration::from_secs(2));
    for batch in BATCHES {
        let mut world = World::with("scheduler:\n  housekeeping: false\n");
        world.serve();
        let (before, commits) = (rollup_kb(world.pid(), "Rss"), world.metric("lucid_db_commits_total"));
        let start = Arc::new(Barrier::new(WORKERS));
        let begun = Instant::now();
        let sending: Vec<_> = tickets(&world, WORKERS)
            .into_iter()
            .map(|id| {
                let (line, start) = (world.line(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    send(line, &format!("/api/v1/tickets/{id}/events"), batch, span)
                })
            })
            .collect();
        let took: Vec<f64> =
            sending.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect();
        let seconds = begun.elapsed().as_secs_f64();
        let sent = took.len() * batch;
        let kept = world.number("SELECT count(*) FROM ticket_events WHERE type = 'assistant'");
        assert!(usize::try_from(kept).is_ok_and(|kept| kept >= sent), "{kept} of {sent} are kept");
        println!(
            "{WORKERS} workers, batches of {batch} events of {EVENT_BYTES} bytes: {:.0} events/s \
             (target ≥ {TARGET}), a batch ms {}, {:.1} batches a commit; RSS {:.1} MB before, {:.1} after",
            sent as f64 / seconds,
            spread(took.clone()),
            took.len() as f64 / (world.metric("lucid_db_commits_total") - commits),
            before as f64 / 1e3,
            rollup_kb(world.pid(), "Rss") as f64 / 1e3,
        );
    }
}
