//! The daemon as its users meet it: the real binary, real signals, `/bin/sh`, SQLite and files. One file a
//! story; `world` is the stage they share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod crash;
mod files;
mod flight;
mod invariants;
mod limits;
mod processes;
mod signals;
mod storm;
mod workers;
mod world;
