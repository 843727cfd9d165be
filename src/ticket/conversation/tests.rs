//! Tests of `conversation` on a real database.
