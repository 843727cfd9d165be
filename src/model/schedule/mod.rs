//! When a task is due: a pure reading of cron, aliases, `every`, `at` and `in` over a time zone.
//!
//! [`Schedule::parse`] reads the text, [`Schedule::next`] and its kin answer from values alone: no
//! clock is read here, the caller says what time it is. The rule for clock changes is cron(8)'s and
//! lives in `next.rs`; the calendar of one cron expression lives in `cron.rs`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;

mod count;
mod cron;
mod describe;
mod duration;
mod every;
mod field;
mod next;
mod once;
mod parse;
mod preview;
mod readings;
mod size;
mod zone;

#[cfg(test)]
mod grammar;
#[cfg(test)]
mod laws;

pub use count::WALK_MAX as COUNT_WALK_MAX;
pub use duration::{DURATION_MAX_DAYS, DurationError, format_duration, parse_duration};
pub use preview::{Preview, preview};
pub use size::{SizeError, format_size, parse_size};
pub use zone::{Zone, ZoneError};

/// Most items that one schedule may list.
pub const SCHEDULE_ITEMS_MAX: usize = 64;

/// Longest text of one item, in bytes.
pub const SCHEDULE_ITEM_MAX_BYTES: usize = 1024;

/// Everything that makes one task due. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Empty for `manual`.
    items: Arc<[Item]>,
    warnings: Arc<[ScheduleWarning]>,
}

/// What is written says everything about it.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.texts().eq(other.texts())
    }
}

impl Eq for Schedule {}

/// One line of a schedule, as written and as understood.
#[derive(Debug)]
struct Item {
    text: String,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// A cron expression, or what was short for one.
    Cron(Box<cron::Pattern>),
    /// Every so many seconds of elapsed time, counted from the anchor.
    Elapsed { secs: i64 },
    /// A time of day on every n-th day, counted from the anchor's date.
    Days { days: i64, time: jiff::civil::Time },
    /// Once, at an instant.
    AtInstant(Timestamp),
    /// Once, when the task's local clock first reads this.
    AtReading(DateTime),
    /// Once, so many seconds after the anchor.
    In { secs: i64 },
    /// When the daemon starts; never by the clock.
    Startup,
}

/// What a schedule needs to know besides its text.
#[derive(Debug, Clone)]
pub struct Context {
    /// The task's zone.
    pub zone: Zone,
    /// When this schedule text was first seen; `every 45s` and `in 30m` count from here.
    pub anchor: Timestamp,
}

/// One due instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    /// A whole second.
    pub at: Timestamp,
    pub note: Option<Note>,
}

/// Why a due instant is not quite what its text says: the local clock was changed that day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The wanted reading is skipped by the clock; the fire is at the first instant after the gap.
    Gap { wanted: DateTime, landed: DateTime },
    /// The reading comes twice; this is the first time.
    FirstPass { reading: DateTime },
    /// The reading comes twice; this is the second time.
    SecondPass { reading: DateTime },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { wanted, landed } if wanted.date() == landed.date() => {
                write!(f, "{} does not exist on this day (clocks go forward)", clock_text(wanted.time()))
            }
            Self::Gap { wanted, landed: _ } => write!(
                f,
                "{} {} does not exist (clocks go forward)",
                wanted.strftime("%a %-d %b"),
                clock_text(wanted.time())
            ),
            Self::FirstPass { reading } => write!(
                f,
                "{} comes twice on this day (clocks go back); this is the first",
                clock_text(reading.time())
            ),
            Self::SecondPass { reading } => write!(
                f,
                "{} comes twice on this day (clocks go back); this is the second",
                clock_text(reading.time())
            ),
        }
    }
}

/// `HH:MM`, with seconds only where there are any.
fn clock_text(time: jiff::civil::Time) -> String {
    let pattern = if time.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    time.strftime(pattern).to_string()
}

/// What is wrong with, or doubtful about, one item of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Finding {
    /// `E2xx` or `W2xx`; see the constants in [`code`].
    pub code: &'static str,
    /// Which item of the list, from 0.
    pub item: usize,
    /// Where in the item's text, in bytes from 0.
    pub column: usize,
    /// How much of the text, in bytes.
    pub len: usize,
    pub message: String,
    /// What to write instead; may be empty.
    pub help: String,
}

/// A finding that keeps the schedule from being used.
pub type ScheduleError = Finding;
/// A finding that does not.
pub type ScheduleWarning = Finding;

/// The codes a schedule's text can earn; each has its page in `lucid explain`.
pub mod code {
    /// Not a schedule at all.
    pub const NOT_A_SCHEDULE: &str = "E201";
    /// A cron field that cannot be read or is out of range.
    pub const CRON_FIELD: &str = "E202";
    /// A date that no calendar has.
    pub const NEVER_FIRES: &str = "E203";
    /// A bare duration or word that could mean two things.
    pub const AMBIGUOUS: &str = "E204";
    /// An `every` or `in` whose length makes no sense.
    pub const BAD_EVERY: &str = "E205";
    /// A time of day or an instant that cannot be read.
    pub const BAD_TIME: &str = "E206";
    /// A time zone that does not exist.
    pub const UNKNOWN_ZONE: &str = "E207";
    /// Not five or six fields, or another program's dialect.
    pub const FIELD_COUNT: &str = "E208";
    /// Day of month and day of week are both set: either matches.
    pub const EITHER_DAY: &str = "W210";
    /// An `at` whose time has passed.
    pub const PASSED: &str = "W211";
}

impl Schedule {
    /// Reads the items of a `schedule:` key; a single text is a list of one, `manual` stands alone.
    ///
    /// # Errors
    /// The first finding that makes an item unusable, with its place.
    pub fn parse(items: &[&str]) -> Result<Self, ScheduleError> {
        parse::schedule(items)
    }

    /// A task that nothing but a request starts.
    #[must_use]
    pub fn manual() -> Self {
        Self { items: Arc::from([]), warnings: Arc::from([]) }
    }

    #[must_use]
    pub fn warnings(&self) -> &[ScheduleWarning] {
        &self.warnings
    }

    /// The items as they were written, trimmed; empty for `manual`.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.text.as_str())
    }

    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.items.is_empty()
    }

    /// Becomes due when the daemon starts.
    #[must_use]
    pub fn has_startup(&self) -> bool {
        self.items.iter().any(|item| matches!(item.rule, Rule::Startup))
    }

    /// When it is due besides its instants.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        self.has_startup().then(|| "it runs whenever the daemon starts".to_owned())
    }

    /// Whether its instants depend on when the task was first seen.
    #[must_use]
    pub fn counts_from_anchor(&self) -> bool {
        self.items.iter().any(|item| match item.rule {
            Rule::Elapsed { .. } | Rule::Days { .. } | Rule::In { .. } => true,
            Rule::Cron(_) | Rule::AtInstant(_) | Rule::AtReading(_) | Rule::Startup => false,
        })
    }

    /// Every item is `at` or `in`, so there is a last run.
    #[must_use]
    pub fn is_one_shot(&self) -> bool {
        !self.is_manual()
            && self
                .items
                .iter()
                .all(|item| matches!(item.rule, Rule::AtInstant(_) | Rule::AtReading(_) | Rule::In { .. }))
    }

    /// The `at` items whose instant is not after `now`: as written, and when that was.
    pub fn passed(&self, ctx: &Context, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
        let at =
            self.items.iter().filter(|item| matches!(item.rule, Rule::AtInstant(_) | Rule::AtReading(_)));
        at.filter_map(move |item| {
            let fire = next::next(&item.rule, Timestamp::MIN, ctx)?;
            (fire.at <= now).then_some((item.text.as_str(), fire.at))
        })
    }

    /// A one-shot with nothing left to come after `now`.
    #[must_use]
    pub fn spent(&self, ctx: &Context, now: Timestamp) -> bool {
        self.is_one_shot() && self.next(now, ctx).is_none()
    }

    /// The first due instant strictly after `after`.
    #[must_use]
    pub fn next(&self, after: Timestamp, ctx: &Context) -> Option<Fire> {
        self.items.iter().filter_map(|item| next::next(&item.rule, after, ctx)).reduce(next::earlier)
    }

    /// The last due instant strictly before `before`.
    #[must_use]
    pub fn previous(&self, before: Timestamp, ctx: &Context) -> Option<Fire> {
        let at = self.items.iter().filter_map(|item| next::previous(&item.rule, before, ctx)).max()?;
        // Going over `next` gives the same note whichever way an instant was found.
        self.next(at.checked_sub(next::SECOND).ok()?, ctx)
    }

    /// The due instants in `(after, up_to]`, oldest first, at most `limit` of them.
    #[must_use]
    pub fn fires_between(
        &self,
        after: Timestamp,
        up_to: Timestamp,
        ctx: &Context,
        limit: usize,
    ) -> Vec<Fire> {
        let first = self.next(after, ctx);
        std::iter::successors(first, |fire| self.next(fire.at, ctx))
            .take_while(|fire| fire.at <= up_to)
            .take(limit)
            .collect()
    }

    /// How many instants are due in `(after, up_to]`.
    ///
    /// Counted, not walked: a day costs the same whether it holds one instant or 86,400. Exact for
    /// one item; for a list exact up to [`COUNT_WALK_MAX`] instants, and beyond that an instant
    /// that two items share counts twice.
    #[must_use]
    pub fn count_between(&self, after: Timestamp, up_to: Timestamp, ctx: &Context) -> u64 {
        count::between(self, after, up_to, ctx)
    }

    /// For people: `every 2m`, `daily 02:00 SAST`, `hourly :29`.
    #[must_use]
    pub fn describe(&self, zone: &Zone) -> String {
        describe::schedule(self, zone)
    }
}
