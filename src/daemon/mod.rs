//! daemon

pub mod answers;
