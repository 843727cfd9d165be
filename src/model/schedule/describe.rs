//! A schedule in a few words, short enough for a column.

use std::time::Duration;

use super::cron::Parts;
use super::preview::human;
use super::{Item, Rule, Schedule, Zone, clock_text, format_duration};

/// Most times of one day that are listed; more are shown as the expression.
const TIMES_MAX: usize = 3;

const DAY_NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

pub(super) fn schedule(schedule: &Schedule, zone: &Zone) -> String {
    if schedule.is_manual() {
        return "manual".to_owned();
    }
    let words: Vec<String> = schedule.items.iter().map(|item| words(item, zone)).collect();
    words.join(" + ")
}

fn words(item: &Item, zone: &Zone) -> String {
    match &item.rule {
        Rule::Cron(pattern) => cron(&pattern.parts(), zone).unwrap_or_else(|| item.text.clone()),
        Rule::Elapsed { secs } => format!("every {}", length(*secs)),
        Rule::Days { days, time } => format!("every {days}d {} {}", clock_text(*time), zone.label()),
        Rule::AtInstant(at) => format!("once {}", human(*at, zone)),
        Rule::AtReading(reading) => format!(
            "once {} {} {}",
            reading.strftime("%a %-d %b %Y"),
            clock_text(reading.time()),
            zone.label()
        ),
        Rule::In { secs } => format!("once, after {}", length(*secs)),
        Rule::Startup => "at startup".to_owned(),
    }
}

fn length(secs: i64) -> String {
    format_duration(Duration::from_secs(secs.unsigned_abs()))
}

/// `None` when the expression itself says it best.
fn cron(parts: &Parts, zone: &Zone) -> Option<String> {
    if !parts.every_month {
        return None;
    }
    let every_day = parts.every_day_of_month && parts.every_day_of_week;
    if every_day && let Some(step) = interval(parts) {
        return Some(step);
    }
    let (&[second], &[minute]) = (&parts.seconds[..], &parts.minutes[..]) else { return None };
    if second != 0 {
        return None;
    }
    if every_day && parts.hours.len() == 24 {
        return Some(format!("hourly :{minute:02}"));
    }
    if parts.hours.len() > TIMES_MAX {
        return None;
    }
    let times: Vec<String> = parts.hours.iter().map(|hour| format!("{hour:02}:{minute:02}")).collect();
    let times = times.join(", ");
    let label = zone.label();
    if every_day {
        return Some(format!("daily {times} {label}"));
    }
    if parts.every_day_of_month {
        return days(&parts.days_of_week).map(|days| format!("{times} {days} {label}"));
    }
    match parts.days_of_month[..] {
        [day] if parts.every_day_of_week => Some(format!("monthly, day {day}, {times} {label}")),
        _ => None,
    }
}

/// `every 5m` where the values are the multiples of one step.
fn interval(parts: &Parts) -> Option<String> {
    let (hours, minutes, seconds) = (&parts.hours[..], &parts.minutes[..], &parts.seconds[..]);
    if hours.len() == 24 && minutes.len() == 60 {
        return step(seconds, 60)
            .map(|n| if n == 60 { "every 1m".to_owned() } else { format!("every {n}s") });
    }
    if hours.len() == 24 && seconds == [0] {
        return step(minutes, 60).filter(|n| *n < 60).map(|n| format!("every {n}m"));
    }
    if minutes == [0] && seconds == [0] {
        return step(hours, 24).filter(|n| *n > 1 && *n < 24).map(|n| format!("every {n}h"));
    }
    None
}

/// The step when `values` are `0, n, 2n, …` with `n` dividing `size`.
fn step(values: &[u16], size: u16) -> Option<u16> {
    let count = u16::try_from(values.len()).ok().filter(|count| *count > 0 && size.is_multiple_of(*count))?;
    let step = size / count;
    values.iter().zip(0..).all(|(value, index)| *value == index * step).then_some(step)
}

/// `Mon-Fri`, `Mon, Thu`.
fn days(numbers: &[u16]) -> Option<String> {
    let name = |n: &u16| DAY_NAMES.get(usize::from(*n)).copied();
    let (first, last) = (numbers.first()?, numbers.last()?);
    let is_run = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    if is_run && numbers.len() > 2 {
        return Some(format!("{}-{}", name(first)?, name(last)?));
    }
    Some(numbers.iter().map(name).collect::<Option<Vec<_>>>()?.join(", "))
}
