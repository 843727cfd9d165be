//! Tests of `inbox` on a real database.
