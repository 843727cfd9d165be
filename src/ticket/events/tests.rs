//! Tests of a ticket's log on a real database.

use std::time::{Duration, Instant};

use super::super::testing::{World, alice, world};
use super::*;
use crate::journal::Journal;
use crate::model::event::{Event, EventKind};

fn lines(from: usize, count: usize) -> Vec<NewEvent> {
    (from..from + count)
        .map(|n| NewEvent::json(&format!(r#"{{"type":"assistant","n":{n}}}"#)).unwrap())
        .collect()
}

async fn number(world: &World, journal: &Journal) -> i64 {
    let journal = journal.clone();
    world.store.write(move |tx| journal.record(tx, 1, Event::new(EventKind::DaemonStarted))).await.unwrap()
}

#[tokio::test]
async fn one_number_orders_the_log_and_the_journal() {
    let world = world();
    let id = world.ticket().await;
    let before = number(&world, &world.journal).await;
    let seqs = world.tickets.append(&id, lines(0, 3), &alice()).await.unwrap();
    assert_eq!(seqs, [before + 1, before + 2, before + 3]);
    assert_eq!(number(&world, &world.journal).await, before + 4);
    assert_eq!(world.journal.latest_seq().await.unwrap(), before + 4);
    assert!(!world.journal.is_behind(before, 1).await.unwrap(), "three lines of a worker are no facts");
    let page = world.tickets.events_after(&id, before, 2).await.unwrap();
    assert_eq!(page.iter().map(|event| event.seq).collect::<Vec<_>>(), seqs[..2]);
    assert_eq!(world.tickets.append(&id, Vec::new(), &alice()).await.unwrap(), [] as [i64; 0]);
}

#[tokio::test]
async fn what_came_is_kept_as_it_came() {
    let world = world();
    let id = world.ticket().await;
    let odd = [
        (r#"{"b":1.0,"a":12345678901234567890123,"type":"x"}"#, "x"),
        (r#"{"no":"type"}"#, RAW),
        (r#"{"type":7}"#, RAW),
        ("[1, 2]", RAW),
        ("not JSON at all \u{1b}[2J", RAW),
        ("", RAW),
    ];
    let events = odd.iter().map(|(line, _)| NewEvent::line(line).unwrap()).collect();
    let first = world.tickets.append(&id, events, &alice()).await.unwrap()[0];
    let kept = world.tickets.events_after(&id, first - 1, 100).await.unwrap();
    for (event, (line, kind)) in kept.iter().zip(odd) {
        assert_eq!(event.kind, kind, "{line}");
        match serde_json::from_str::<serde_json::Value>(line) {
            Ok(_) => assert_eq!(event.data, line),
            Err(_) => assert_eq!(serde_json::from_str::<String>(&event.data).unwrap(), line),
        }
    }
    assert!(NewEvent::line(&"x".repeat(EVENT_MAX_BYTES)).is_err());
}

/// The numbers of what a reader is given, until it has `count`.
async fn read(follow: &mut Follow, count: usize) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(10), follow.next()).await;
        seqs.push(next.expect("in time").unwrap().event.seq);
    }
    seqs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_gets_what_is_kept_then_what_comes_without_gap_or_double() {
    let world = world();
    let id = world.ticket().await;
    let other = world.ticket().await;
    let mut wanted = world.tickets.append(&id, lines(0, 600), &alice()).await.unwrap();
    let mut follow = world.tickets.follow(&id, wanted[0] - 1);
    let writer = {
        let (tickets, id) = (world.tickets.clone(), id.clone());
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for n in 0..60 {
                seqs.extend(tickets.append(&id, lines(n, 50), &alice()).await.unwrap());
                tickets.append(&other, lines(n, 7), &alice()).await.unwrap();
            }
            seqs
        })
    };
    let got = read(&mut follow, 3_600).await;
    wanted.extend(writer.await.unwrap());
    assert_eq!(got, wanted);
    let again = world.tickets.follow(&id, wanted[3_000]);
    assert_eq!(read(&mut { again }, 599).await, wanted[3_001..]);
}

#[tokio::test]
async fn a_position_that_means_nothing_is_reset_and_read_on_from() {
    let world = world();
    let id = world.ticket().await;
    let last = *world.tickets.append(&id, lines(0, 5), &alice()).await.unwrap().last().unwrap();
    let mut unknown = world.tickets.follow(&id, last + 1_000);
    assert!(matches!(unknown.next().await, Err(FollowError::UnknownId { latest }) if latest == last));
    let next = world.tickets.append(&id, lines(5, 1), &alice()).await.unwrap();
    assert_eq!(read(&mut unknown, 1).await, next);

    for batch in 0..3 {
        world.tickets.append(&id, lines(batch, REPLAY_MAX / 2), &alice()).await.unwrap();
    }
    let mut slow = world.tickets.follow(&id, last);
    let latest = world.tickets.last_seq(&id).await.unwrap();
    assert!(matches!(slow.next().await, Err(FollowError::Lagged { latest: told }) if told == latest));

    let close = crate::model::ticket::Step::Close { text: "x".into() };
    world.tickets.change(&id, Default::default(), Some(close), None, &alice()).await.unwrap();
    let gone = world.tickets.trim_events(i64::MAX).await.unwrap();
    assert_eq!(gone, 6 + 3 * (REPLAY_MAX / 2));
    let mut old = world.tickets.follow(&id, last);
    assert!(matches!(old.next().await, Err(FollowError::TooOld { .. })));
    let kept = world.tickets.events_after(&id, 0, 100).await.unwrap();
    assert!(kept.iter().all(|event| event.source == Source::Lucid), "what became of the ticket stays");
}

#[tokio::test]
async fn the_frame_is_made_once_for_all() {
    let world = world();
    let id = world.ticket().await;
    let last = world.tickets.last_seq(&id).await.unwrap();
    let mut readers: Vec<Follow> = (0..3).map(|_| world.tickets.follow(&id, last)).collect();
    for reader in &mut readers {
        // Brings it to the live channel.
        let waits = tokio::time::timeout(Duration::from_millis(100), reader.next()).await;
        assert!(waits.is_err());
    }
    world.tickets.append(&id, lines(0, 1), &alice()).await.unwrap();
    let mut made = 0;
    for reader in &mut readers {
        let live = reader.next().await.unwrap();
        live.frame(|_| {
            made += 1;
            vec![1]
        });
    }
    assert_eq!(made, 1);
}

/// Durable events a second, from four workers in batches of a hundred, on the machine the test runs on.
#[tokio::test(flavor = "multi_thread")]
async fn batches_of_several_workers_are_taken_fast_and_in_order() {
    const BATCHES: usize = 50;
    let world = world();
    let mut workers = Vec::new();
    for run in 1..=4 {
        let id = world.ticket().await;
        workers.push(world.work(&id, run, run + 100).await.unwrap());
    }
    let begun = Instant::now();
    let tasks = workers.into_iter().map(|worker| {
        let tickets = world.tickets.clone();
        tokio::spawn(async move {
            let author = Author::Worker(worker.clone());
            for batch in 0..BATCHES {
                tickets.append(&worker.ticket, lines(batch * 100, 100), &author).await.unwrap();
            }
            tickets.events_after(&worker.ticket, 0, PAGE_MAX).await.unwrap()
        })
    });
    let logs = futures_util::future::join_all(tasks).await;
    let spent = begun.elapsed();
    let rate = 4.0 * BATCHES as f64 * 100.0 / spent.as_secs_f64();
    for log in logs {
        let log = log.unwrap();
        assert!(log.is_sorted_by_key(|event| event.seq));
        assert_eq!(log.len(), PAGE_MAX);
    }
    assert!(rate > 1_000.0, "{rate:.0} events a second, which even a debug build on a busy machine exceeds");
    eprintln!("{rate:.0} durable events a second");
}
