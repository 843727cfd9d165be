//! From rules to instants: what is due after, or before, a given one.
//!
//! The rule for clock changes is cron(8)'s, and the hour field decides. A `*` or `*/n` hour follows
//! the readings of the local clock: it runs in both passes of a repeated hour, and a skipped reading
//! is skipped, so that every 20 minutes stays every 20 real minutes. Any other hour names fixed
//! times: a skipped one runs once, at the first instant after the gap; a repeated one runs once, in
//! the first pass; two that land on one instant are one. Every answer is strictly later (or
//! earlier) than the question, at every change of every zone.

use jiff::{SignedDuration, Timestamp};

use super::cron::Clock;
use super::readings::{Place, Readings, place, second_pass_end, turns_after, turns_back};
use super::{Context, Fire, Note, Rule};

/// The grain of all schedules.
pub(super) const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The earlier of two; of two at one instant, the one with something to say.
pub(super) fn earlier(a: Fire, b: Fire) -> Fire {
    match b.at.cmp(&a.at) {
        std::cmp::Ordering::Less => b,
        std::cmp::Ordering::Greater => a,
        std::cmp::Ordering::Equal => Fire { at: a.at, note: a.note.or(b.note) },
    }
}

/// What a rule comes down to in one context.
pub(super) enum Plan<'a> {
    /// Readings, each once.
    Fixed(Readings<'a>),
    /// Readings, whenever the clock shows them.
    Follows(Readings<'a>),
    /// `anchor + k * secs` for `k >= 1`.
    Elapsed {
        anchor: i64,
        secs: i64,
    },
    Once(Fire),
    Never,
}

pub(super) fn plan<'a>(rule: &'a Rule, ctx: &Context) -> Plan<'a> {
    let anchor = floor_second(ctx.anchor);
    match rule {
        Rule::Cron(pattern) => match pattern.clock {
            Clock::Fixed => Plan::Fixed(Readings::Cron(pattern)),
            Clock::Follows => Plan::Follows(Readings::Cron(pattern)),
        },
        Rule::Days { days, time } => {
            let first = ctx.zone.tz().to_datetime(anchor).date();
            Plan::Fixed(Readings::Days { first, days: *days, time: *time })
        }
        Rule::Elapsed { secs } => Plan::Elapsed { anchor: anchor.as_second(), secs: *secs },
        Rule::AtInstant(at) => not_before(Some(*at)),
        Rule::AtReading(reading) => place(ctx.zone.tz(), *reading)
            .map_or(Plan::Never, |place| Plan::Once(fixed_fire(place, *reading))),
        Rule::In { secs } => not_before(ctx.anchor.checked_add(SignedDuration::from_secs(*secs)).ok()),
        Rule::Startup => Plan::Never,
    }
}

/// Once, and never too early: at the next whole second.
fn not_before<'a>(at: Option<Timestamp>) -> Plan<'a> {
    at.and_then(ceil_second).map_or(Plan::Never, |at| Plan::Once(Fire { at, note: None }))
}

/// The first fire strictly after `after`.
pub(super) fn next(rule: &Rule, after: Timestamp, ctx: &Context) -> Option<Fire> {
    // All fires are whole seconds: what is later than the floor is later than `after`.
    let after = floor_second(after);
    match plan(rule, ctx) {
        Plan::Fixed(readings) => next_fixed(readings, after, ctx),
        Plan::Follows(readings) => next_following(readings, after, ctx),
        Plan::Elapsed { anchor, secs } => {
            let steps = (after.as_second() - anchor).div_euclid(secs).max(0) + 1;
            elapsed(anchor, secs, steps)
        }
        Plan::Once(fire) => (fire.at > after).then_some(fire),
        Plan::Never => None,
    }
}

/// The last fire strictly before `before`, without its note.
pub(super) fn previous(rule: &Rule, before: Timestamp, ctx: &Context) -> Option<Timestamp> {
    let before = ceil_second(before)?;
    match plan(rule, ctx) {
        Plan::Fixed(readings) => previous_fixed(readings, before, ctx),
        Plan::Follows(readings) => previous_following(readings, before, ctx),
        Plan::Elapsed { anchor, secs } => {
            let steps = (before.as_second() - anchor - 1).div_euclid(secs);
            if steps < 1 { None } else { elapsed(anchor, secs, steps).map(|fire| fire.at) }
        }
        Plan::Once(fire) => (fire.at < before).then_some(fire.at),
        Plan::Never => None,
    }
}

fn elapsed(anchor: i64, secs: i64, steps: i64) -> Option<Fire> {
    let at = steps.checked_mul(secs)?.checked_add(anchor)?;
    Some(Fire { at: Timestamp::from_second(at).ok()?, note: None })
}

/// Where and why a fixed time runs.
fn fixed_fire(place: Place, reading: jiff::civil::DateTime) -> Fire {
    match place {
        Place::Once(at) => Fire { at, note: None },
        Place::Gap { at, start: _, until } => {
            Fire { at, note: Some(Note::Gap { wanted: reading, landed: until }) }
        }
        Place::Twice { first, second: _ } => Fire { at: first, note: Some(Note::FirstPass { reading }) },
    }
}

fn next_fixed(readings: Readings<'_>, after: Timestamp, ctx: &Context) -> Option<Fire> {
    let tz = ctx.zone.tz();
    // In the second pass every repeated reading has had its turn.
    let mut from = match second_pass_end(tz, after) {
        Some(end) => end,
        None => tz.to_datetime(after).checked_add(SECOND).ok()?,
    };
    loop {
        let reading = readings.from(from)?;
        let place = place(tz, reading)?;
        let fire = fixed_fire(place, reading);
        if fire.at > after {
            return Some(fire);
        }
        from = match place {
            Place::Gap { until, .. } => until.max(reading.checked_add(SECOND).ok()?),
            Place::Once(_) | Place::Twice { .. } => reading.checked_add(SECOND).ok()?,
        };
    }
}

fn previous_fixed(readings: Readings<'_>, before: Timestamp, ctx: &Context) -> Option<Timestamp> {
    let tz = ctx.zone.tz();
    let mut to = match second_pass_end(tz, before) {
        Some(end) => end.checked_sub(SECOND).ok()?,
        None => tz.to_datetime(before).checked_sub(SECOND).ok()?,
    };
    loop {
        let reading = readings.to(to)?;
        let place = place(tz, reading)?;
        let at = fixed_fire(place, reading).at;
        if at < before {
            return Some(at);
        }
        to = match place {
            Place::Gap { start, .. } => start.min(reading).checked_sub(SECOND).ok()?,
            Place::Once(_) | Place::Twice { .. } => reading.checked_sub(SECOND).ok()?,
        };
    }
}

/// Goes from turn to turn: between two of them readings and instants run in step.
fn next_following(readings: Readings<'_>, after: Timestamp, ctx: &Context) -> Option<Fire> {
    let tz = ctx.zone.tz();
    let mut offset = tz.to_offset(after);
    let mut from = offset.to_datetime(after).checked_add(SECOND).ok()?;
    let mut reading = readings.from(from)?;
    for turn in turns_after(tz, after) {
        if let Ok(at) = offset.to_timestamp(reading)
            && at < turn.at
        {
            break;
        }
        offset = turn.after;
        let resumes = offset.to_datetime(turn.at);
        // `[from, reading)` holds no match, so a new search is needed only where the clock now
        // reads something outside of it.
        if resumes < from || reading < resumes {
            from = resumes;
            reading = readings.from(from)?;
        }
    }
    let at = offset.to_timestamp(reading).ok()?;
    let note = match place(tz, reading) {
        Some(Place::Twice { first, .. }) if first == at => Some(Note::FirstPass { reading }),
        Some(Place::Twice { .. }) => Some(Note::SecondPass { reading }),
        Some(Place::Once(_) | Place::Gap { .. }) | None => None,
    };
    Some(Fire { at, note })
}

fn previous_following(readings: Readings<'_>, before: Timestamp, ctx: &Context) -> Option<Timestamp> {
    let tz = ctx.zone.tz();
    let mut last = before.checked_sub(SECOND).ok()?;
    for turn in turns_back(tz, last) {
        let offset = turn.after;
        if let Some(reading) = readings.to(offset.to_datetime(last))
            && let Ok(at) = offset.to_timestamp(reading)
            && at >= turn.at
        {
            return Some(at);
        }
        last = turn.at.checked_sub(SECOND).ok()?;
    }
    let offset = tz.to_offset(last);
    offset.to_timestamp(readings.to(offset.to_datetime(last))?).ok()
}

/// The whole second at or before `at`.
pub(super) fn floor_second(at: Timestamp) -> Timestamp {
    let below_zero = i64::from(at.subsec_nanosecond() < 0);
    Timestamp::from_second(at.as_second() - below_zero).unwrap_or(Timestamp::MIN)
}

/// The whole second at or after `at`; none at the end of time.
fn ceil_second(at: Timestamp) -> Option<Timestamp> {
    let above_zero = i64::from(at.subsec_nanosecond() > 0);
    Timestamp::from_second(at.as_second() + above_zero).ok()
}
