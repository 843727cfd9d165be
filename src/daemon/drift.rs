//! What the configuration says now against what the daemon was started with: settings take effect at a
//! start, and a restart costs no run, so what differs is told and never half applied.

use crate::config::{self, ConfigErrors};

use super::App;

/// Settings that differ, or why the configuration cannot be read as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    None,
    /// One line a setting: key, what is in force, what the file or environment says and where.
    Settings(Vec<String>),
    /// The daemon would refuse to start with it.
    Refused(ConfigErrors),
}

impl App {
    /// Reads the configuration again and compares; blocking.
    #[must_use]
    pub fn config_drift(&self) -> Drift {
        match config::load(&self.sources) {
            Ok(now) => config::bars(&now).map_or_else(Drift::Refused, |()| self.drift_to(&now)),
            Err(errors) => Drift::Refused(errors),
        }
    }

    fn drift_to(&self, now: &config::Config) -> Drift {
        let old = self.config.effective();
        let differs: Vec<String> = now
            .effective()
            .iter()
            .filter_map(|new| {
                let old = old.iter().find(|old| old.key == new.key)?;
                let (was, is) = (old.shown(), new.shown());
                (old.value != new.value).then(|| match was == is {
                    true => format!("{}: {} says something else than is in force", new.key, new.source),
                    false => format!("{}: {was} is in force, {} says {is}", new.key, new.source),
                })
            })
            .collect();
        if differs.is_empty() { Drift::None } else { Drift::Settings(differs) }
    }
}
