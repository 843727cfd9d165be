//! Which key or word a wrong name was meant to be.

use crate::config::nearest;

/// What other programs call it.
const SYNONYMS: &[(&str, &str)] = &[
    ("cron", "schedule"),
    ("every", "schedule"),
    ("when", "schedule"),
    ("tz", "timezone"),
    ("retry", "retries"),
    ("cwd", "working_dir"),
    ("workdir", "working_dir"),
    ("cmd", "command"),
    ("run", "command"),
    ("script", "command"),
    ("exec", "command"),
    ("environment", "env"),
    ("concurrency", "overlap"),
];

/// The top-level key that `name` stands for in other programs.
#[must_use]
pub fn synonym(name: &str) -> Option<&'static str> {
    SYNONYMS.iter().find(|(foreign, _)| foreign.eq_ignore_ascii_case(name)).map(|(_, own)| *own)
}

/// Longer names are near to nothing; bounds the work of a hostile key.
const NEAR_MAX_BYTES: usize = 64;

/// The known name that `name` is most likely meant to be.
#[must_use]
pub fn near<'k>(names: impl IntoIterator<Item = &'k str>, name: &str) -> Option<&'k str> {
    if name.len() > NEAR_MAX_BYTES {
        return None;
    }
    nearest(name, names)
}

#[cfg(test)]
mod tests {
    use super::super::keys::{KEYS, Key};
    use super::*;

    #[test]
    fn near_misses_are_found_and_strangers_are_not() {
        let names = || KEYS.iter().map(|key| key.name);
        for (given, meant) in [
            ("timout", "timeout"),
            ("Timeout", "timeout"),
            ("shedule", "schedule"),
            ("schedules", "schedule"),
            ("time-zone", "timezone"),
            ("catchUp", "catch_up"),
            ("enable", "enabled"),
            ("comand", "command"),
            ("retires", "retries"),
            ("work_dir", "working_dir"),
        ] {
            assert_eq!(near(names(), given), Some(meant), "{given}");
        }
        for stranger in ["aliases", "cssclasses", "on", "id", "x", "", "permissionMode"] {
            assert_eq!(near(names(), stranger), None, "{stranger}");
        }
        assert_eq!(near(names(), &"timeout".repeat(1000)), None);
    }

    #[test]
    fn foreign_names_stand_for_keys_that_there_are() {
        for (foreign, own) in SYNONYMS {
            assert!(Key::find(KEYS, own).is_some() && Key::find(KEYS, foreign).is_none(), "{foreign}");
            assert_eq!(synonym(foreign), Some(*own));
        }
        assert_eq!((synonym("TZ"), synonym("on")), (Some("timezone"), None));
    }
}
