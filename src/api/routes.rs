//! The table of routes.

/// Answered whatever else is going on.
pub const HEALTHZ: &str = "/healthz";
