//! A named time zone.
//!
//! The name is looked up in the machine's zone database once, when it is parsed; after that a zone
//! is a value like any other. Offsets and POSIX strings are no zones here: a task is due by the
//! rules of a place.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::text::shown;

/// A zone of the IANA database. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    tz: TimeZone,
}

/// Why a text is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{}`", shown(.name))]
pub struct ZoneError {
    pub name: String,
    /// What to write instead.
    pub help: String,
}

/// Most edits between a wrong name and the one that is offered for it.
const NEAR_EDITS_MAX: usize = 3;

/// A zone without clock changes after this has one abbreviation for good (2026-01-01).
const STEADY_SINCE: Timestamp = Timestamp::constant(1_767_225_600, 0);

impl Zone {
    pub const UTC: Self = Self { tz: TimeZone::UTC };

    /// Looks up an IANA name, in any case: `Europe/Berlin`, `utc`.
    ///
    /// # Errors
    /// [`ZoneError`] with the nearest name there is.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let name = name.trim();
        match TimeZone::get(name) {
            Ok(tz) if tz.iana_name().is_some() && !tz.is_unknown() => Ok(Self { tz }),
            Ok(_) | Err(_) => Err(ZoneError { name: name.to_owned(), help: suggestion(name) }),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.tz.iana_name().unwrap_or("UTC")
    }

    #[must_use]
    pub fn tz(&self) -> &TimeZone {
        &self.tz
    }

    /// What to put behind a time of day that holds all year: the abbreviation where it never
    /// changes (`SAST`), else the place (`Berlin`), because `CET` would be wrong in summer.
    #[must_use]
    pub fn label(&self) -> String {
        let abbreviation = self.tz.to_offset_info(STEADY_SINCE).abbreviation().to_owned();
        let is_steady = self.tz.following(STEADY_SINCE).next().is_none();
        if is_steady && abbreviation.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return abbreviation;
        }
        let place = self.name().rsplit('/').next().unwrap_or_default();
        place.replace('_', " ")
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn suggestion(name: &str) -> String {
    const GENERAL: &str = "write an IANA name such as `Europe/Berlin` or `UTC`";
    let wanted: String = name.to_lowercase().chars().take(64).collect();
    let wanted = wanted.replace(' ', "_");
    if wanted.is_empty() {
        return GENERAL.to_owned();
    }
    if let Some(signed) = signed(&wanted) {
        return offset(signed).unwrap_or_else(|| GENERAL.to_owned());
    }
    let near = jiff::tz::db()
        .available()
        .map(|known| {
            let known = known.as_str().to_owned();
            let lower = known.to_lowercase();
            let place = lower.rsplit('/').next().unwrap_or_default();
            let distance = edits(&wanted, &lower).min(if lower.contains('/') {
                edits(&wanted, place)
            } else {
                usize::MAX
            });
            (distance, known)
        })
        .min();
    match near {
        Some((distance, known)) if distance <= NEAR_EDITS_MAX.min(wanted.len() / 3) => {
            format!("did you mean `{known}`?")
        }
        Some(_) | None => GENERAL.to_owned(),
    }
}

/// The `+2` of `gmt+2`.
fn signed(wanted: &str) -> Option<&str> {
    let rest = wanted.strip_prefix("etc/").unwrap_or(wanted);
    let rest = rest.strip_prefix("gmt").or_else(|| rest.strip_prefix("utc")).unwrap_or(rest);
    rest.starts_with(['+', '-']).then_some(rest)
}

/// What an offset was meant to be: the database has it with its sign turned round.
fn offset(signed: &str) -> Option<String> {
    let (turned, side) = if signed.starts_with('+') { ('-', "ahead of") } else { ('+', "behind") };
    let hours = signed.get(1..)?;
    let hours = hours.strip_suffix(":00").unwrap_or(hours).parse::<u8>().ok()?;
    let name = format!("Etc/GMT{turned}{hours}");
    TimeZone::get(&name).ok()?;
    Some(format!("write the place, such as `Europe/Berlin`; `{name}` is {hours} h {side} UTC all year round"))
}

/// Levenshtein distance over characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_keep_their_spelling() {
        assert_eq!(Zone::parse("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(Zone::parse("UTC").unwrap(), Zone::UTC);
    }

    #[test]
    fn near_misses_are_named() {
        for (wrong, right) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("Africa/Johanesburg", "Africa/Johannesburg"),
            ("America/New York", "America/New_York"),
        ] {
            let error = Zone::parse(wrong).unwrap_err();
            assert_eq!(error.help, format!("did you mean `{right}`?"), "{wrong}");
        }
        for hopeless in
            ["", "   ", "+02:00", "Mars/Olympus_Mons", "CET-1CEST", "../../etc/passwd", "\0", "Etc/Unknown"]
        {
            let error = Zone::parse(hopeless).unwrap_err();
            assert!(!error.help.is_empty(), "{hopeless}");
        }
    }

    #[test]
    fn an_offset_is_not_told_as_its_opposite() {
        for (wrong, right) in [("GMT+2", "Etc/GMT-2"), ("UTC-05:00", "Etc/GMT+5"), ("+02:00", "Etc/GMT-2")] {
            let help = Zone::parse(wrong).unwrap_err().help;
            assert!(help.contains(&format!("`{right}`")), "{wrong}: {help}");
            Zone::parse(right).unwrap();
        }
        assert!(!Zone::parse("GMT+99").unwrap_err().help.contains("Etc"));
    }

    #[test]
    fn labels_never_lie_in_summer() {
        for (name, label) in [
            ("Africa/Johannesburg", "SAST"),
            ("UTC", "UTC"),
            ("Europe/Berlin", "Berlin"),
            ("America/New_York", "New York"),
            ("Asia/Dubai", "Dubai"),
        ] {
            assert_eq!(Zone::parse(name).unwrap().label(), label, "{name}");
        }
    }
}
