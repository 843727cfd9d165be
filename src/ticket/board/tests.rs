//! Tests of `board` on a real database.
