//! What the configuration says now against what the daemon was started with: settings take effect at a
//! start, and a restart costs no run, so what differs is told and never half applied.

use crate::config::{self, ConfigErrors, Setting};

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
        let differs = differences(self.config.effective(), now.effective());
        if differs.is_empty() { Drift::None } else { Drift::Settings(differs) }
    }
}

/// One line for each value that differs, and one for each entry that only one of both has.
fn differences(old: &[Setting], now: &[Setting]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut told: Vec<&str> = Vec::new();
    let mut is_first = |entry| {
        let is_first = !told.contains(&entry);
        told.push(entry);
        is_first
    };
    for new in now {
        let Some(old) = old.iter().find(|old| old.key == new.key) else {
            let entry = entry(&new.key, old);
            if is_first(entry) {
                lines.push(format!("{entry}: {} names it, and it is not in force", new.source));
            }
            continue;
        };
        if old.value != new.value {
            let (was, is) = (old.shown(), new.shown());
            lines.push(match was == is {
                true => format!("{}: {} says something else than is in force", new.key, new.source),
                false => format!("{}: {was} is in force, {} says {is}", new.key, new.source),
            });
        }
    }
    for old in old.iter().filter(|old| !now.iter().any(|new| new.key == old.key)) {
        let entry = entry(&old.key, now);
        if is_first(entry) {
            lines.push(format!("{entry}: it is in force, and nothing names it any more"));
        }
    }
    lines
}

/// What `key` belongs to as a whole that `others` have nothing of: a pool, an agent; else the key itself.
fn entry<'a>(key: &'a str, others: &[Setting]) -> &'a str {
    let Some((at, _)) = key.match_indices('.').nth(1) else { return key };
    let whole = &key[..at];
    let is_known =
        others.iter().any(|other| other.key.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.')));
    if is_known { key } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Origin, Place};

    fn settings(pairs: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |(key, value): &(&str, &str)| Setting {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            source: Origin::Default,
            place: Place::Embedded,
        };
        pairs.iter().map(setting).collect()
    }

    #[test]
    fn what_came_and_what_went_is_named_once_and_what_changed_by_its_values() {
        let old = settings(&[
            ("tick", "5s"),
            ("pools.main.slots", "2"),
            ("pools.gone.repo", "a"),
            ("pools.gone.slots", "1"),
        ]);
        let now = settings(&[
            ("tick", "6s"),
            ("pools.main.slots", "2"),
            ("pools.main.keep", "x"),
            ("agents.late.command", "y"),
            ("agents.late.dialect", "z"),
        ]);
        let source = Origin::Default;
        assert_eq!(differences(&old, &old), Vec::<String>::new());
        assert_eq!(
            differences(&old, &now),
            [
                format!("tick: 5s is in force, {source} says 6s"),
                format!("pools.main.keep: {source} names it, and it is not in force"),
                format!("agents.late: {source} names it, and it is not in force"),
                "pools.gone: it is in force, and nothing names it any more".to_owned(),
            ]
        );
    }
}
