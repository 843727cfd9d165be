//! The calendar of one cron expression: which local readings it matches, and which come next.
//!
//! It knows readings (`2027-03-28 02:30`) and no zones; `next.rs` makes instants of them. The cron
//! library reads the expression and decides which days match (`L`, `W`, `#`, either-day); the time
//! of day is three bit masks here, because counting a day's matches must not walk them.

use croner::parser::{CronParser, Seconds, Year};
use croner::{CronComponent, CronPattern, Weekday};
use jiff::civil::{Date, DateTime, Time, date};

use super::field::{FIELDS, Token, normalise};
use super::{Finding, Zone, code};

/// One parsed expression.
#[derive(Debug)]
pub(super) struct Pattern {
    days: CronPattern,
    /// Bit `n` is month `n`.
    months: u64,
    hours: u64,
    minutes: u64,
    seconds: u64,
    pub(super) clock: Clock,
}

/// How the expression meets a change of the local clock; see `next.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The hour field is `*` or `*/n`: it follows the readings, in every pass of them.
    Follows,
    /// Anything else: fixed times, each once a day.
    Fixed,
}

/// Every pairing of weekday and leap year comes up in 28 years of one century.
const CALENDAR_CYCLE: (Date, Date) = (date(2000, 1, 1), date(2028, 1, 1));

/// `America/New_York`, `utc`, and what was meant to be one: no field looks like that.
fn is_zone(text: &str) -> bool {
    let is_word = |part: &str| part.len() > 2 && part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    Zone::parse(text).is_ok()
        || text.split_once('/').is_some_and(|(area, place)| is_word(area) && is_word(place))
}

impl Pattern {
    /// Reads five or six fields.
    pub(super) fn parse(text: &str) -> Result<Self, Finding> {
        let tokens = Token::words(text);
        let whole = Token { text, column: 0 };
        if let Some(quartz) = tokens.iter().find(|token| token.text.contains('?')) {
            return Err(quartz.finding(
                code::FIELD_COUNT,
                "`?` is Quartz, not cron".to_owned(),
                "write `*`; mind that Quartz counts Sunday as 1, cron as 0",
            ));
        }
        if let Some(zone) = tokens.last().filter(|last| tokens.len() > 5 && is_zone(last.text)) {
            let message = format!("`{}` is no part of a cron expression", zone.text);
            let help = format!("write `timezone: {}` beside `schedule:`", zone.text);
            return Err(zone.finding(code::CRON_FIELD, message, help));
        }
        if !(5..=6).contains(&tokens.len()) {
            let help = match tokens.len() {
                7 => "there is no year field; write `at 2027-01-31T09:00` for a single date",
                _ => "write five: minute hour day-of-month month day-of-week, or six with seconds first",
            };
            let message = format!("a cron expression has 5 or 6 fields, this has {}", tokens.len());
            return Err(whole.finding(code::FIELD_COUNT, message, help));
        }
        let skipped = FIELDS.len() - tokens.len();
        let mut fields = vec!["0".to_owned(); skipped];
        for (field, token) in FIELDS.iter().skip(skipped).zip(&tokens) {
            fields.push(normalise(field, *token)?);
        }
        let pattern = Self::read(&fields.join(" "))
            .map_err(|why| whole.finding(code::CRON_FIELD, format!("`{text}`: {why}"), ""))?;
        if pattern.matching_day(CALENDAR_CYCLE.0, CALENDAR_CYCLE.1).is_none() {
            let message = format!("`{text}` never fires: no month it names has such a day");
            let at = tokens.get(3 - skipped).copied().unwrap_or(whole);
            return Err(at.finding(code::NEVER_FIRES, message, "write `L` for the last day of a month"));
        }
        Ok(pattern)
    }

    /// Takes six fields in numbers.
    fn read(numbers: &str) -> Result<Self, croner::errors::CronError> {
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
        let mut days = parser.parse(numbers)?.pattern;
        // Nine tenths of a parsed pattern is a table of years, which nothing here asks for.
        days.years = CronComponent::new(0, 0, 0, 0);
        let hour = numbers.split(' ').nth(2).unwrap_or_default();
        let clock = match hour.strip_prefix('*') {
            Some(rest) if !rest.contains(',') => Clock::Follows,
            Some(_) | None => Clock::Fixed,
        };
        Ok(Self {
            months: mask(&days.months),
            hours: mask(&days.hours),
            minutes: mask(&days.minutes),
            seconds: mask(&days.seconds),
            days,
            clock,
        })
    }

    /// The first match at or after `from`.
    pub(super) fn reading_from(&self, from: DateTime) -> Option<DateTime> {
        if self.is_day(from.date())
            && let Some(time) = self.time_from(from.time())
        {
            return Some(from.date().to_datetime(time));
        }
        let day = self.matching_day(from.date().tomorrow().ok()?, Date::MAX)?;
        Some(day.to_datetime(self.time_from(Time::midnight())?))
    }

    /// The last match at or before `to`.
    pub(super) fn reading_to(&self, to: DateTime) -> Option<DateTime> {
        let mut day = to.date();
        let mut latest = to.time();
        loop {
            if !has(self.months, day.month()) {
                day = day.first_of_month();
            } else if self.is_day(day)
                && let Some(time) = self.time_to(latest)
            {
                return Some(day.to_datetime(time));
            }
            day = day.yesterday().ok()?;
            latest = END_OF_DAY;
        }
    }

    /// How many readings match in `[from, to]`.
    pub(super) fn count(&self, from: DateTime, to: DateTime) -> u64 {
        if from > to {
            return 0;
        }
        let before_from = self.rank(from.time()) - u64::from(self.is_time(from.time()));
        let skipped = |day: Date| if day == from.date() { before_from } else { 0 };
        let whole_day = self.rank(END_OF_DAY);
        let mut total = 0;
        let mut day = from.date();
        while let Some(found) = self.matching_day(day, to.date()) {
            total += whole_day - skipped(found);
            let Ok(next) = found.tomorrow() else { break };
            day = next;
        }
        if self.is_day(to.date()) {
            total += self.rank(to.time()) - skipped(to.date());
        }
        total
    }

    /// The first matching day in `[from, until)`.
    fn matching_day(&self, from: Date, until: Date) -> Option<Date> {
        let mut day = from;
        while day < until {
            if !has(self.months, day.month()) {
                day = day.last_of_month();
            } else if self.is_day(day) {
                return Some(day);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    pub(super) fn is_day(&self, day: Date) -> bool {
        let weekday = Weekday::from_days_from_sunday(number(day.weekday().to_sunday_zero_offset()));
        has(self.months, day.month())
            && self
                .days
                .day_match(i32::from(day.year()), number(day.month()), number(day.day()), weekday)
                .unwrap_or(false)
    }

    fn is_time(&self, time: Time) -> bool {
        has(self.hours, time.hour()) && has(self.minutes, time.minute()) && has(self.seconds, time.second())
    }

    /// The first matching time of day at or after `from`.
    fn time_from(&self, from: Time) -> Option<Time> {
        let (h, m, s) = (number(from.hour()), number(from.minute()), number(from.second()));
        let first_minute = at_or_after(self.minutes, 0)?;
        let first_second = at_or_after(self.seconds, 0)?;
        let hour = at_or_after(self.hours, h)?;
        if hour > h {
            return time(hour, first_minute, first_second);
        }
        if has_bit(self.minutes, m)
            && let Some(second) = at_or_after(self.seconds, s)
        {
            return time(hour, m, second);
        }
        if let Some(minute) = at_or_after(self.minutes, m + 1) {
            return time(hour, minute, first_second);
        }
        time(at_or_after(self.hours, h + 1)?, first_minute, first_second)
    }

    /// The last matching time of day at or before `to`.
    fn time_to(&self, to: Time) -> Option<Time> {
        let (h, m, s) = (number(to.hour()), number(to.minute()), number(to.second()));
        let last_minute = before(self.minutes, 64)?;
        let last_second = before(self.seconds, 64)?;
        let hour = before(self.hours, h + 1)?;
        if hour < h {
            return time(hour, last_minute, last_second);
        }
        if has_bit(self.minutes, m)
            && let Some(second) = before(self.seconds, s + 1)
        {
            return time(hour, m, second);
        }
        if let Some(minute) = before(self.minutes, m) {
            return time(hour, minute, last_second);
        }
        time(before(self.hours, h)?, last_minute, last_second)
    }

    /// How many times of a matching day are at or before `to`.
    fn rank(&self, to: Time) -> u64 {
        let (h, m, s) = (number(to.hour()), number(to.minute()), number(to.second()));
        let seconds_each = u64::from(self.seconds.count_ones());
        let minutes_each = u64::from(self.minutes.count_ones()) * seconds_each;
        let in_hour = bits_below(self.minutes, m) * seconds_each
            + u64::from(has_bit(self.minutes, m)) * bits_below(self.seconds, s + 1);
        bits_below(self.hours, h) * minutes_each + u64::from(has_bit(self.hours, h)) * in_hour
    }

    /// The values that `describe.rs` puts into words.
    pub(super) fn parts(&self) -> Parts {
        let plain = |component: &CronComponent| {
            if component.has_modifiers() { Vec::new() } else { component.values() }
        };
        Parts {
            seconds: self.days.seconds.values(),
            minutes: self.days.minutes.values(),
            hours: self.days.hours.values(),
            every_day_of_month: self.days.is_dom_wildcard(),
            days_of_month: plain(&self.days.days),
            every_month: self.days.months.values().len() == 12,
            every_day_of_week: self.days.is_dow_wildcard(),
            days_of_week: plain(&self.days.days_of_week),
        }
    }

    /// Day of month and day of week are both set, so that either matches.
    pub(super) fn is_either_day(&self) -> bool {
        !self.days.is_dom_wildcard() && !self.days.is_dow_wildcard()
    }
}

/// A pattern's values; a field with `L`, `W` or `#` has none.
#[derive(Debug)]
pub(super) struct Parts {
    pub seconds: Vec<u16>,
    pub minutes: Vec<u16>,
    pub hours: Vec<u16>,
    pub every_day_of_month: bool,
    pub days_of_month: Vec<u16>,
    pub every_month: bool,
    pub every_day_of_week: bool,
    /// Sunday is 0.
    pub days_of_week: Vec<u16>,
}

const END_OF_DAY: Time = Time::constant(23, 59, 59, 0);

fn time(hour: u32, minute: u32, second: u32) -> Option<Time> {
    let small = |n: u32| i8::try_from(n).ok();
    Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()
}

/// Calendar numbers are never negative.
fn number(n: i8) -> u32 {
    u32::from(n.unsigned_abs())
}

fn mask(component: &CronComponent) -> u64 {
    component.values().into_iter().fold(0, |mask, bit| mask | 1 << bit)
}

fn has(mask: u64, n: i8) -> bool {
    has_bit(mask, number(n))
}

fn has_bit(mask: u64, bit: u32) -> bool {
    mask >> bit & 1 == 1
}

/// The bits `0..bit` of `mask`.
fn below(mask: u64, bit: u32) -> u64 {
    if bit >= 64 { mask } else { mask & ((1 << bit) - 1) }
}

fn bits_below(mask: u64, bit: u32) -> u64 {
    u64::from(below(mask, bit).count_ones())
}

/// The lowest set bit that is not below `bit`.
fn at_or_after(mask: u64, bit: u32) -> Option<u32> {
    let rest = mask & !below(u64::MAX, bit);
    (rest != 0).then(|| rest.trailing_zeros())
}

/// The highest set bit below `bit`.
fn before(mask: u64, bit: u32) -> Option<u32> {
    below(mask, bit).checked_ilog2()
}
