//! Which runs are live, and which have failed, as the ledger's indexes say it.

pub mod table;
