//! Tests of `events` on a real database.
