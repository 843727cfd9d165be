//! The daemon as its users meet it: the real binary, real signals, `/bin/sh`, SQLite and files. One file a
//! story; `world` is the stage they share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what a failure needs, and figures, are printed"
)]

#[cfg(debug_assertions)]
mod anew;
mod bases;
mod board;
mod broken;
mod bot;
mod cli;
mod crash;
mod desks;
mod disk;
#[cfg(debug_assertions)]
mod failpoints;
mod fake_telegram;
mod files;
mod flight;
mod health;
mod heartbeat_alert;
mod invariants;
mod ledger;
mod limits;
mod messages;
mod ops;
mod peace;
mod phone;
mod processes;
mod secrets;
mod settings;
mod shut_out;
mod signals;
mod socket;
mod storm;
mod telegram;
mod telegram_calls;
mod streams;
mod sync_crash;
mod sync_secrets;
mod syncs;
mod time;
mod verdicts;
mod workers;
mod world;
