//! How many instants a span of time holds, without walking them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::next::{Plan, SECOND, floor_second, plan};
use super::readings::{Readings, second_pass_end, turns_after};
use super::{Context, Rule, Schedule};

/// Most instants that a list of items is walked through for an exact count.
pub const WALK_MAX: u64 = 50_000;

/// How many fires are in `(after, up_to]`.
pub(super) fn between(schedule: &Schedule, after: Timestamp, up_to: Timestamp, ctx: &Context) -> u64 {
    let (after, up_to) = (floor_second(after), floor_second(up_to));
    if after >= up_to {
        return 0;
    }
    let sum = schedule.items.iter().map(|item| of_rule(&item.rule, after, up_to, ctx)).sum();
    if schedule.items.len() < 2 || sum > WALK_MAX {
        return sum;
    }
    let first = schedule.next(after, ctx);
    let walk = std::iter::successors(first, |fire| schedule.next(fire.at, ctx));
    u64::try_from(walk.take_while(|fire| fire.at <= up_to).count()).unwrap_or(sum)
}

fn of_rule(rule: &Rule, after: Timestamp, up_to: Timestamp, ctx: &Context) -> u64 {
    let tz = ctx.zone.tz();
    match plan(rule, ctx) {
        Plan::Fixed(readings) => fixed(readings, after, up_to, tz),
        Plan::Follows(readings) => following(readings, after, up_to, tz),
        Plan::Elapsed { anchor, secs } => {
            let steps = |at: Timestamp| (at.as_second() - anchor).div_euclid(secs).max(0);
            u64::try_from(steps(up_to) - steps(after)).unwrap_or(0)
        }
        Plan::Once(fire) => u64::from(after < fire.at && fire.at <= up_to),
        Plan::Never => 0,
    }
}

/// The readings that had their turn, less those that a gap merged into one.
fn fixed(readings: Readings<'_>, after: Timestamp, up_to: Timestamp, tz: &TimeZone) -> u64 {
    let had_turn = |at: Timestamp| match second_pass_end(tz, at) {
        Some(end) => end.saturating_sub(SECOND),
        None => tz.to_datetime(at),
    };
    let all = readings.count(second_after(had_turn(after)), had_turn(up_to));
    let merged: u64 = turns_after(tz, after)
        .take_while(|turn| turn.at <= up_to)
        .filter(|turn| turn.after > turn.before)
        .map(|turn| {
            let landing = readings.count(turn.before.to_datetime(turn.at), turn.after.to_datetime(turn.at));
            landing.saturating_sub(1)
        })
        .sum();
    all.saturating_sub(merged)
}

/// Between two turns readings and instants run in step.
fn following(readings: Readings<'_>, after: Timestamp, up_to: Timestamp, tz: &TimeZone) -> u64 {
    let mut offset = tz.to_offset(after);
    let mut from = second_after(offset.to_datetime(after));
    let mut total = 0;
    for turn in turns_after(tz, after).take_while(|turn| turn.at <= up_to) {
        total += readings.count(from, offset.to_datetime(turn.at).saturating_sub(SECOND));
        offset = turn.after;
        from = offset.to_datetime(turn.at);
    }
    total + readings.count(from, offset.to_datetime(up_to))
}

fn second_after(reading: DateTime) -> DateTime {
    reading.saturating_add(SECOND)
}
