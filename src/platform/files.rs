//! Atomic replace, advisory locks.
