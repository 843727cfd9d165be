//! The files of the health in the state directory: the status that others read, and the log of heartbeats.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::model::health::{Check, HealthState};
use crate::platform::files;
use crate::platform::rolling::Rolling;

/// The heartbeat's file.
pub const STATUS_FILE: &str = "status.json";
/// Its log, a line of JSON a heartbeat.
pub const HEARTBEAT_LOG: &str = "logs/heartbeat.log";
/// Permissions of the status: whoever may enter the folder may read it.
const STATUS_MODE: u32 = 0o644;
/// Checks that a line of the log names.
const NAMED_MAX: usize = 20;

/// Replaces the status in one step: a reader sees the old one or the new one.
///
/// # Errors
/// What the file system says.
pub fn write_status(state_dir: &Path, status: &Value) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(status)?;
    bytes.push(b'\n');
    files::replace_unsynced(&state_dir.join(STATUS_FILE), &bytes, STATUS_MODE)
}

/// Adds a heartbeat to its log.
///
/// # Errors
/// What the file system says.
pub fn log(
    state_dir: &Path,
    max_bytes: u64,
    at: jiff::Timestamp,
    state: HealthState,
    checks: &[Check],
) -> io::Result<()> {
    let line = serde_json::to_vec(&line(at, state, checks))?;
    Rolling::open(&state_dir.join(HEARTBEAT_LOG), max_bytes)?.append(&line)
}

/// As the daemon writes lines of its own log.
fn line(at: jiff::Timestamp, state: HealthState, checks: &[Check]) -> Value {
    let bad: Vec<&Check> = checks.iter().filter(|check| check.state != HealthState::Healthy).collect();
    let level = match state {
        HealthState::Healthy => "info",
        HealthState::Degraded => "warn",
        HealthState::Critical => "error",
    };
    let fields: Map<String, Value> = bad
        .iter()
        .take(NAMED_MAX)
        .map(|check| (check.id.clone(), Value::from(format!("{}: {}", check.state.name(), check.detail))))
        .collect();
    let message = match bad.len() {
        0 => format!("{}, {} checks", state.name(), checks.len()),
        n => format!("{}, {n} of {} checks not well", state.name(), checks.len()),
    };
    json!({"at": at.to_string(), "level": level, "target": "heartbeat", "message": message, "fields": fields})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_one_line_whatever_a_check_says() {
        let dir = tempfile::tempdir().unwrap();
        let checks = [
            Check::new("disk:/", HealthState::Critical, "7% free\n\u{1b}[2J"),
            Check::new("api", HealthState::Healthy, "the daemon answers"),
        ];
        let at = "2026-11-26T11:30:00Z".parse().unwrap();
        log(dir.path(), 1_000_000, at, HealthState::Critical, &checks).unwrap();
        log(dir.path(), 1_000_000, at, HealthState::Healthy, &checks[1..]).unwrap();
        let text = std::fs::read_to_string(dir.path().join(HEARTBEAT_LOG)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["level"], "error");
        assert_eq!(lines[0]["message"], "critical, 1 of 2 checks not well");
        assert_eq!(lines[0]["fields"]["disk:/"], "critical: 7% free \\x1b[2J");
        assert_eq!(lines[1]["message"], "healthy, 1 checks");
    }

    #[test]
    fn the_status_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        write_status(dir.path(), &json!({"state": "healthy"})).unwrap();
        write_status(dir.path(), &json!({"state": "critical"})).unwrap();
        let text = std::fs::read_to_string(dir.path().join(STATUS_FILE)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["state"], "critical");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
