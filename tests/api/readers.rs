//! Many who follow one ticket live, over real sockets.

use std::time::{Duration, Instant};

use serde_json::json;

use super::tickets::new;
use super::world::{World, event, line, stream_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_get_each_event_soon_and_a_slow_one_delays_none() {
    const READERS: usize = 200;
    const EVENTS: usize = 40;
    let world = World::start().await;
    let id = new(&world, json!({"title": "Watched"})).await;
    let path = format!("tickets/{id}/stream");
    let deaf = world.stream(&stream_of(&path, None)).await;
    let begun = Instant::now();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = world.stream(&stream_of(&path, None)).await;
        while line(&mut reader).await != "retry: 2000\n" {}
        readers.push(tokio::spawn(async move {
            let mut seen = Vec::with_capacity(EVENTS);
            let mut last = None;
            while seen.len() < EVENTS {
                let (id, _, data) = event(&mut reader).await;
                assert!(id > last, "out of order");
                last = id;
                let sent = data["data"]["sent_us"].as_u64().expect("a number");
                seen.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX) - sent);
            }
            seen
        }));
    }
    for _ in 0..EVENTS {
        let sent = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (status, _) =
            world.ask("POST", &format!("tickets/{id}/events"), json!({"type": "x", "sent_us": sent})).await;
        assert_eq!(status, 201);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut late = Vec::new();
    for reader in readers {
        late.extend(reader.await.expect("all its events"));
    }
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    eprintln!("{READERS} readers, 20 events a second: p50 {} us, p99 {p99} us", late[late.len() / 2]);
    assert_eq!(late.len(), READERS * EVENTS);
    assert!(p99 < 2_000_000, "p99 {p99} us, far from what even a busy machine takes");
    drop(deaf);
    world.end().await;
}
