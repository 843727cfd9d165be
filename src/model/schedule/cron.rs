//! The calendar of one cron expression.

#[derive(Debug)]
pub(super) struct Pattern {}
