//! The names of backups and which of them to let go: pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const PREFIX: &str = "lucid-";
const SUFFIX: &str = ".db";
const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// A backup made before a migration is the way back to the older program; it stays this long, in days.
const BEFORE_MIGRATION_DAYS: i64 = 28;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// Backups of the last 24 hours that stay beside the newest of their day: somebody made them on purpose.
const YOUNG_MAX: usize = 10;

/// What a backup's name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupName {
    pub at_ms: i64,
    /// The version it was made to leave.
    pub before_version: Option<i32>,
}

impl BackupName {
    /// `lucid-20260704T030000Z.db`, or `lucid-20260704T030000Z-before-v2.db`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let stamp = stamp(self.at_ms);
        match self.before_version {
            None => format!("{PREFIX}{stamp}{SUFFIX}"),
            Some(version) => format!("{PREFIX}{stamp}-before-v{version}{SUFFIX}"),
        }
    }

    /// Whether a clock that was wrong has dated it. A day is left to clocks that are only set.
    #[must_use]
    pub fn is_future(&self, now_ms: i64) -> bool {
        self.at_ms.saturating_sub(now_ms) > DAY_MS
    }

    #[must_use]
    pub fn parse(file_name: &str) -> Option<Self> {
        let inner = file_name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (stamp, before_version) = match inner.split_once("-before-v") {
            None => (inner, None),
            Some((stamp, version)) => (stamp, Some(version.parse().ok()?)),
        };
        let at = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(Self { at_ms: at.timestamp().as_millisecond(), before_version })
    }
}

/// `20260704T030000Z`
pub(super) fn stamp(at_ms: i64) -> String {
    // Out of range only when the clock is off by millennia; the epoch then still makes a name.
    Timestamp::from_millisecond(at_ms).unwrap_or_default().strftime(STAMP).to_string()
}

/// Which of `file_names` to delete so that the newest of each of the last `daily` days and of each of
/// the last `weekly` ISO weeks stay. Only days and weeks that have a backup count, so nothing is lost
/// because backups stopped. Kept as well: the newest ten of the last 24 hours, names that are no backup's,
/// those dated after `now_ms` (their day comes), and for 28 days those made before a migration.
#[must_use]
pub fn to_delete(file_names: &[String], now_ms: i64, daily: usize, weekly: usize) -> Vec<String> {
    let mut dated: Vec<(BackupName, &String)> =
        file_names.iter().filter_map(|name| Some((BackupName::parse(name)?, name))).collect();
    dated.sort_by(|a, b| b.cmp(a));
    let mut days = BTreeSet::new();
    let mut weeks = BTreeSet::new();
    let mut doomed = Vec::new();
    let mut young = 0;
    for (name, file_name) in dated {
        let age_ms = now_ms.saturating_sub(name.at_ms);
        if age_ms < 0 || (name.before_version.is_some() && age_ms < BEFORE_MIGRATION_DAYS * DAY_MS) {
            continue;
        }
        let date = Timestamp::from_millisecond(name.at_ms).unwrap_or_default().to_zoned(TimeZone::UTC).date();
        let week = date.iso_week_date();
        let first_of_day = days.len() < daily && days.insert(date);
        let first_of_week = weeks.len() < weekly && weeks.insert((week.year(), week.week()));
        let is_young = age_ms < DAY_MS && young < YOUNG_MAX;
        young += usize::from(is_young);
        if !first_of_day && !first_of_week && !is_young {
            doomed.push(file_name.clone());
        }
    }
    doomed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn names(stamps: &[&str]) -> Vec<String> {
        stamps.iter().map(|stamp| format!("lucid-{stamp}.db")).collect()
    }

    #[test]
    fn names_read_as_they_are_written() {
        for name in [
            BackupName { at_ms: at("2026-07-04T03:00:00Z"), before_version: None },
            BackupName { at_ms: at("2026-07-04T03:00:01Z"), before_version: Some(2) },
        ] {
            assert_eq!(BackupName::parse(&name.file_name()), Some(name));
        }
        for other in ["lucid.db", "lucid-.db", "lucid-20260704T030000Z.db.partial", "lucid-2026.db", "x"] {
            assert_eq!(BackupName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn seven_days_and_four_weeks_stay() {
        let now = at("2026-07-31T12:00:00Z");
        let daily: Vec<String> = (1..=31).map(|day| format!("lucid-202607{day:02}T030000Z.db")).collect();
        let doomed = to_delete(&daily, now, 7, 4);
        let kept: Vec<&String> = daily.iter().filter(|name| !doomed.contains(name)).collect();
        // The last seven days, then the Sundays of the three weeks before this one.
        let days: Vec<&str> = kept.iter().map(|name| &name[12..14]).collect();
        assert_eq!(days, ["12", "19", "25", "26", "27", "28", "29", "30", "31"]);
    }

    #[test]
    fn the_rules_one_by_one() {
        let now = at("2026-07-31T12:00:00Z");
        /// Name, backups, days and weeks to keep, backups to delete.
        type Case = (&'static str, &'static [&'static str], usize, usize, &'static [&'static str]);
        let table: [Case; 9] = [
            ("nothing", &[], 7, 4, &[]),
            ("one stays", &["20260731T030000Z"], 7, 4, &[]),
            ("newest of a day", &["20260730T030000Z", "20260730T040000Z"], 7, 4, &["20260730T030000Z"]),
            ("both of the last 24 hours", &["20260731T030000Z", "20260731T040000Z"], 7, 4, &[]),
            ("old ones stay while there are no newer", &["20250101T030000Z"], 7, 4, &[]),
            ("the future is left alone", &["20270101T030000Z", "20260731T030000Z"], 1, 1, &[]),
            (
                "no weeks wanted",
                &["20260731T030000Z", "20260730T030000Z", "20260720T030000Z"],
                2,
                0,
                &["20260720T030000Z"],
            ),
            ("before a migration, young", &["20260731T030000Z", "20260731T020000Z-before-v2"], 1, 1, &[]),
            (
                "before a migration, old",
                &["20260731T030000Z", "20260730T030000Z", "20260601T020000Z-before-v2"],
                1,
                1,
                &["20260730T030000Z", "20260601T020000Z-before-v2"],
            ),
        ];
        for (case, given, days, weeks, expected) in table {
            assert_eq!(to_delete(&names(given), now, days, weeks), names(expected), "{case}");
        }
        let strangers = vec!["notes.txt".to_owned(), "lucid.db".to_owned()];
        assert!(to_delete(&strangers, now, 0, 0).is_empty());
    }
}
