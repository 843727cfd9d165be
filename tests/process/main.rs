//! Real keepers, real `/bin/sh`: the limits of a run hold whoever dies, and nothing of it is left behind.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod cost;
mod limits;
mod outcomes;
mod reuse;
mod streams;
mod survivors;
mod world;
