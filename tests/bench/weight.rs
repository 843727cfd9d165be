//! What lucid weighs and how quick it is: the real binary, each figure beside a floor or a peer of the same run.
//!
//! `cargo bench --bench weight` runs everything (about eight minutes); `-- burst calls` only these stories:
//! `load` `memory` `idle` `calls` `status` `lateness` `burst` `commits` `events`
//! `readers` `alerts`. `-- quick` shortens what waits.
//! `BENCH_LUCID=…` weighs a binary that is there already. Worlds lie in `TMPDIR`: `TMPDIR=/dev/shm` shows what is lucid's own part and what is the disk's.
//!
//! Figures are for people. Nothing here fails but a daemon that does not do its work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench talks"
)]
#![allow(clippy::cast_precision_loss, reason = "figures are read with three digits")]

mod alerts;
mod burst;
mod calls;
#[allow(dead_code, reason = "the stories of the tests need more of it")]
#[path = "../it/fake_telegram/mod.rs"]
mod fake_telegram;
mod events;
mod figures;
mod load;
mod readers;
mod rest;
mod time;
mod world;

type Story = (&'static str, fn(figures::Pace));

const STORIES: [Story; 11] = [
    ("load", load::load),
    ("memory", rest::memory),
    ("idle", rest::idle),
    ("calls", calls::calls),
    ("status", calls::status),
    ("lateness", time::lateness),
    ("burst", burst::burst),
    ("commits", time::commits),
    ("alerts", alerts::alerts),
    ("events", events::events),
    ("readers", readers::readers),
];

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let pace =
        if words.iter().any(|word| word == "quick") { figures::Pace::Quick } else { figures::Pace::Whole };
    let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "quick").collect();
    figures::surroundings();
    for (name, story) in STORIES {
        if named.is_empty() || named.contains(&name) {
            println!("\n== {name}");
            story(pace);
        }
    }
}
