//! What the ledger remembers, for those who ask.

pub mod table;

pub use table::Query;
