//! The world outside: clock, files, git, processes. No word of lucid's own subject is spoken here.

pub mod client;
pub mod clock;
pub mod failpoint;
pub mod files;
pub mod filesystem;
pub mod git;
pub mod glimpse;
pub mod process;
pub mod rolling;
pub mod webhook;
