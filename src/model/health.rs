//! How well the box is: what was looked at, and the worst of it. No state here remembers another.

use serde::{Deserialize, Serialize};

use super::text::clean;

/// The check of whether the daemon itself does its work.
pub const DAEMON: &str = "daemon";
/// The most characters that a check says about itself.
pub const TEXT_MAX_CHARS: usize = 300;

/// The order is that of gravity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    #[default]
    Healthy,
    /// Something that is not urgent.
    Degraded,
    /// A service that everything needs is down, or much fails at once.
    Critical,
}

impl HealthState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }

    /// What a command that tells it exits with, as plugins of monitoring systems do.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Degraded => 1,
            Self::Critical => 2,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stays the same for the same thing: `disk:/`, `agent:claude`, `failed_runs`.
    pub id: String,
    pub state: HealthState,
    /// What was measured, with its unit.
    #[serde(default)]
    pub value: Option<String>,
    /// From where on it is degraded.
    #[serde(default)]
    pub warn_at: Option<String>,
    #[serde(default)]
    pub critical_at: Option<String>,
    pub detail: String,
    /// The command that mends it, or where to look.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Check {
    /// `detail` may hold what a foreign program has said.
    #[must_use]
    pub fn new(id: impl Into<String>, state: HealthState, detail: &str) -> Self {
        Self {
            id: id.into(),
            state,
            value: None,
            warn_at: None,
            critical_at: None,
            detail: one_line(detail),
            hint: None,
        }
    }

    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    #[must_use]
    pub fn limits(mut self, warn_at: Option<String>, critical_at: Option<String>) -> Self {
        (self.warn_at, self.critical_at) = (warn_at, critical_at);
        self
    }

    /// Kept only where there is something to mend.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = (self.state != HealthState::Healthy).then(|| hint.into());
        self
    }
}

/// The worst of `checks`; nothing is well.
#[must_use]
pub fn worst(checks: &[Check]) -> HealthState {
    checks.iter().map(|check| check.state).max().unwrap_or_default()
}

/// The beginning of a text, on one line that cannot move a cursor.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut cut: String = text.chars().take(TEXT_MAX_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    let words: Vec<&str> = cut.split_whitespace().collect();
    clean(&words.join(" ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_nothing_is_well() {
        let check = |state| Check::new("x", state, "y");
        assert_eq!(worst(&[]), HealthState::Healthy);
        let all = [HealthState::Degraded, HealthState::Critical, HealthState::Healthy].map(check);
        assert_eq!(worst(&all), HealthState::Critical);
        assert_eq!(worst(&all[..1]), HealthState::Degraded);
    }

    #[test]
    fn what_a_program_said_stays_one_short_line() {
        let hostile = format!("a\u{1b}[2J\nb <b>&\u{202e} {}", "é".repeat(200_000));
        let check = Check::new("x", HealthState::Degraded, &hostile).hint("h");
        assert!(check.detail.starts_with("a\\x1b[2J b <b>&\\u{202e} é"), "{}", check.detail);
        assert!(check.detail.chars().count() < TEXT_MAX_CHARS + 20 && check.detail.ends_with('…'));
        assert_eq!(Check::new("x", HealthState::Healthy, "y").hint("h").hint, None);
    }
}
