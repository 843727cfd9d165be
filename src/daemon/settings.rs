//! What is wrong with the settings while the daemon runs: what they name and is not there, and what the file says
//! by now. Looked at beside whoever asks, for file systems may hang.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::{self, Doubt, Placement};

use super::App;
use super::drift::Drift;
use super::problems::{Finding, Grave};
use super::refused::Refused;

/// A look that is younger than this is good enough.
const FRESH: Duration = Duration::from_secs(5);
/// Whoever asks waits so long for a new one, then takes the last: longer than a file system that hangs is waited
/// for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Whoever has changed them waits so long.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// Settings that a look from outside goes by begin so.
const MEASURES: [&str; 5] = ["health.", "agents.", "backup.", "state_dir", "root"];
/// Settings that are named where several wait for a restart.
const NAMED_MAX: usize = 3;

/// The last look, and who has the next.
#[derive(Debug)]
pub struct SettingsLook {
    last: Mutex<Seen>,
    turn: Arc<Semaphore>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    /// By a clock that nobody sets.
    at: Option<Duration>,
    doubts: Vec<Doubt>,
    drift: Option<Drift>,
}

impl Default for SettingsLook {
    fn default() -> Self {
        Self { last: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl App {
    /// Adds what is wrong with the settings.
    pub(super) async fn misled(&self, findings: &mut Vec<Finding>) {
        let seen = self.settings_seen(FRESH).await;
        findings.extend(seen.drift.as_ref().and_then(|drift| drifted(drift, self.config.placement)));
        for doubt in &seen.doubts {
            match doubt.key.as_str() {
                // Told with what comes of it.
                "telegram.token_file" if self.mute.is_some() => {}
                _ => findings.push(doubted(doubt)),
            }
        }
    }

    /// Whether the settings of what is seen from outside have changed since the start.
    pub(super) async fn measures_otherwise(&self) -> bool {
        match self.settings_seen(Duration::ZERO).await.drift {
            Some(Drift::Settings(lines)) => {
                lines.iter().any(|line| MEASURES.iter().any(|key| line.starts_with(key)))
            }
            Some(Drift::None | Drift::Refused(_)) | None => false,
        }
    }

    /// What differs now, for whoever has just changed it: everybody else sees it from here on too.
    ///
    /// # Errors
    /// The look hangs or has ended badly.
    pub async fn drift_now(&self) -> Result<Drift, Refused> {
        let app = self.clone();
        let look = tokio::task::spawn_blocking(move || app.look_at_settings());
        let seen = tokio::time::timeout(RELOAD_PATIENCE, look).await;
        let seen = seen.map_err(|_| Refused::unavailable("reading the settings takes too long"))?;
        let seen = seen.map_err(|e| Refused::unavailable(&e.to_string()))?;
        Ok(seen.drift.unwrap_or(Drift::None))
    }

    /// Blocks.
    fn look_at_settings(&self) -> Seen {
        let seen = Seen {
            at: Some(self.clock.boot()),
            doubts: config::doubts(&self.config),
            drift: Some(self.config_drift()),
        };
        *self.settings.last.lock().unwrap_or_else(PoisonError::into_inner) = seen.clone();
        seen
    }

    async fn settings_seen(&self, max_age: Duration) -> Seen {
        let now = self.clock.boot();
        let last = || self.settings.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_fresh = last().at.is_some_and(|at| now.saturating_sub(at) < max_age);
        if !is_fresh && let Ok(turn) = Arc::clone(&self.settings.turn).try_acquire_owned() {
            let app = self.clone();
            let look = tokio::task::spawn_blocking(move || {
                app.look_at_settings();
                drop(turn);
            });
            // One that hangs is waited for by nobody; it answers when it can.
            let _ = tokio::time::timeout(PATIENCE, look).await;
        }
        last()
    }
}

fn doubted(doubt: &Doubt) -> Finding {
    let (id, subject) = match doubt.key.as_str() {
        // As a heartbeat calls the same.
        "health.disks" => (format!("disk:{}", doubt.path.display()), doubt.key.clone()),
        key => (format!("setting:{key}"), key.to_owned()),
    };
    Finding {
        id,
        grave: Grave::Warning,
        subject,
        text: format!("{} ({})", doubt.wrong, doubt.problem.place),
        since_ms: None,
        fix: Some("lucid check".to_owned()),
    }
}

fn drifted(drift: &Drift, placement: Placement) -> Option<Finding> {
    let (id, grave, text, fix) = match drift {
        Drift::None => return None,
        Drift::Settings(lines) => {
            let named = lines.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
            let more = lines.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let text = format!("they have changed and wait for a restart: {named}{more}");
            ("settings:changed", Grave::Info, text, placement.replace(std::process::id()))
        }
        Drift::Refused(why) => {
            let why = why.to_string();
            let first = why.lines().next().unwrap_or_default();
            let text = format!("lucid would not start with them as they are now: {first}");
            ("settings:refused", Grave::Warning, text, "lucid check".to_owned())
        }
    };
    Some(Finding {
        id: id.to_owned(),
        grave,
        subject: "settings".to_owned(),
        text,
        since_ms: None,
        fix: Some(fix.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigErrors;

    #[test]
    fn what_waits_for_a_restart_is_named_and_not_all_of_it() {
        assert_eq!(drifted(&Drift::None, Placement::User), None);
        let lines = (0..5).map(|n| format!("k{n}: a is in force, f:{n} says b")).collect();
        let finding = drifted(&Drift::Settings(lines), Placement::User).unwrap();
        assert_eq!(finding.grave, Grave::Info);
        assert_eq!(finding.fix.as_deref(), Some("systemctl --user restart lucid"));
        assert!(finding.text.contains("k2: ") && finding.text.ends_with("; and 2 more"), "{}", finding.text);
        let refused =
            drifted(&Drift::Refused(ConfigErrors::NotFound { looked: Vec::new() }), Placement::User).unwrap();
        assert_eq!((refused.grave, refused.fix.as_deref()), (Grave::Warning, Some("lucid check")));
        assert!(refused.text.ends_with(": no config found; looked at"), "{}", refused.text);
    }
}
