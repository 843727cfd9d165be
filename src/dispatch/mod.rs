//! A ticket or an agent task, a slot and a profile make a worker: who goes where, how it is told, what it
//! says, and what its end means. Decisions are pure; the daemon owns the one pass that carries them out.

pub mod classify;
pub mod dialect;
pub mod prompt;
