//! Any program: every line of its output is text, and its exit code is its result.

use crate::model::worker::AgentEvent;

pub(super) fn read(line: &str) -> Vec<AgentEvent> {
    vec![AgentEvent::Text(line.to_owned())]
}
