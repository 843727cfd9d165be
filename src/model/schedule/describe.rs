//! A schedule in a few words.
use super::{Schedule, Zone};

pub(super) fn schedule(_schedule: &Schedule, _zone: &Zone) -> String {
    String::new()
}
