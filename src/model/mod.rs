//! What exists: one file a noun, with every transition it can make.
//!
//! Nothing here does I/O, reads a clock or is async; time comes in as a value.

pub mod alert;
pub mod branch;
mod cause;
pub mod condition;
pub mod digest;
pub mod event;
pub mod grant;
pub mod health;
pub mod ids;
pub mod message;
pub mod notice;
pub mod run;
pub mod schedule;
pub mod slot;
pub mod span;
pub mod task;
pub mod text;
pub mod ticket;
pub mod time;
pub mod worker;
