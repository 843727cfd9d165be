#![doc = include_str!("ARCHITECTURE.md")]

// Reading order is layering: a module uses only modules above it, and only those that its row in
// ARCHITECTURE.md names. `tests/tidy.rs` holds this list and that table to each other.
pub mod platform;
pub mod model;
pub mod store;
pub mod config;
pub mod journal;
pub mod task;
pub mod run;
pub mod pool;
pub mod ticket;
pub mod alert;
pub mod dispatch;
pub mod health;
pub mod ops;
pub mod daemon;
pub mod api;
pub mod bot;
pub mod cli;
