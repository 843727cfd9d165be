//! Months of a box in seconds: crashes, edits, pauses, kills, suspends and clocks that jump, by the dice of a seed,
//! against the program's own decisions and its real database. What is simulated is time, the order in which things
//! happen, and the processes.
//!
//! `SIM_SEED=n cargo test --test sim one_seed -- --ignored` plays one seed again.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a seed that fails has to be named")]

mod cast;
mod daemon;
mod dice;
mod history;
mod machine;
mod month;
mod rules;

use std::sync::atomic::{AtomicU64, Ordering};

/// What every push plays, and what a night can.
const SEEDS: u64 = 40;
const SEEDS_OF_A_NIGHT: u64 = 2_000;
const PLAYERS: usize = 2;

fn play(seeds: std::ops::Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let instants = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match month::play(seed) {
                        Ok(decided) => instants.fetch_add(decided as u64, Ordering::Relaxed),
                        Err(why) => panic!("seed {seed}: {why}"),
                    };
                }
            });
        }
    });
    let instants = instants.into_inner();
    println!("{} months, {instants} due instants, each with its row", seeds.end - seeds.start);
    // A month in which nothing was due would keep every promise.
    assert!(instants > (seeds.end - seeds.start) * 200, "only {instants} instants were due");
}

#[test]
fn thirty_days_of_anything_keep_the_ledgers_promises() {
    play(0..SEEDS);
}

#[test]
#[ignore = "a quarter of an hour: cargo test --release --test sim -- --ignored a_night"]
fn a_night_of_months_keeps_the_ledgers_promises() {
    play(SEEDS..SEEDS + SEEDS_OF_A_NIGHT);
}

#[test]
#[ignore = "plays the seed in SIM_SEED"]
fn one_seed() {
    let seed = std::env::var("SIM_SEED").expect("SIM_SEED=n").parse().expect("a number");
    play(seed..seed + 1);
}
