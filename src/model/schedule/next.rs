//! From rules to instants.
use jiff::{SignedDuration, Timestamp};

use super::{Context, Fire, Rule};

pub(super) const SECOND: SignedDuration = SignedDuration::from_secs(1);

pub(super) fn earlier(a: Fire, b: Fire) -> Fire {
    if b.at < a.at { b } else { a }
}

pub(super) fn next(_rule: &Rule, _after: Timestamp, _ctx: &Context) -> Option<Fire> {
    None
}

pub(super) fn previous(_rule: &Rule, _before: Timestamp, _ctx: &Context) -> Option<Timestamp> {
    None
}
