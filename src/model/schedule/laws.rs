//! Laws that hold for every schedule, zone and instant, and a slow matcher to check against.

use std::collections::HashSet;

use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;

use super::next::SECOND;
use super::{Context, Schedule, Zone};

/// Zones with every kind of clock change: an hour, half an hour, two hours, a whole day, at
/// midnight, four a year, and none.
const ZONES: [&str; 14] = [
    "UTC",
    "Africa/Johannesburg",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Asia/Gaza",
];

const PATTERNS: [&str; 16] = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1 * * *",
    "0,20,40 1-3 * * *",
    "59 23 * * *",
    "0 0-23 * * *",
    "30 2 * * 0",
    "0 3 * * 1-5",
    "10 1 1,15 * 0",
    "0 0 1 * *",
    "*/15 * * * *",
    "*/20 * * * *",
    "0 * * * *",
    "30 */2 * * *",
    "5,35 */3 * * 6,7",
    "0 * 25-31 3,10 *",
];

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

/// A cron expression as a reader of the manual would write it down: five sets, bit `n` is value `n`.
struct Slow {
    sets: [u64; 5],
    stars: [bool; 5],
    follows: bool,
}

/// What a person sees who looks at a clock once a minute.
struct Look {
    at: Timestamp,
    reading: DateTime,
    /// The clock has shown this before.
    again: bool,
    /// Readings that the clock left out since the last look.
    skipped: Vec<DateTime>,
}

fn watch(tz: &TimeZone, start: Timestamp, minutes: i64) -> Vec<Look> {
    let minute = SignedDuration::from_mins(1);
    let mut seen: HashSet<DateTime> = HashSet::new();
    let mut last = tz.to_datetime(start) - minute;
    (0..=minutes)
        .map(|n| {
            let at = start + minute * i32::try_from(n).expect("a few days");
            let reading = tz.to_datetime(at);
            let skipped = std::iter::successors(Some(last + minute), |skipped| Some(*skipped + minute))
                .take_while(|r| *r < reading);
            let look = Look { at, reading, again: !seen.insert(reading), skipped: skipped.collect() };
            last = reading;
            look
        })
        .collect()
}

impl Slow {
    fn new(text: &str) -> Self {
        let fields: Vec<&str> = text.split(' ').collect();
        let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        let set = |index: usize| -> u64 {
            let (min, max) = ranges[index];
            let values = fields[index].split(',').flat_map(|part| {
                let (base, step) = part.split_once('/').unwrap_or((part, "1"));
                let (from, to) = match base {
                    "*" => (min, max),
                    _ => {
                        let (a, b) = base.split_once('-').unwrap_or((base, base));
                        (a.parse().expect(text), b.parse().expect(text))
                    }
                };
                let step: usize = step.parse().expect(text);
                (from..=to).step_by(step).map(move |n: u32| if index == 4 { n % 7 } else { n })
            });
            values.fold(0, |set, value| set | 1 << value)
        };
        Self {
            sets: [set(0), set(1), set(2), set(3), set(4)],
            stars: std::array::from_fn(|index| fields[index] == "*"),
            follows: fields[1].starts_with('*') && !fields[1].contains(','),
        }
    }

    fn matches(&self, reading: DateTime) -> bool {
        let holds = |index: usize, value: i8| self.sets[index] >> value & 1 == 1;
        let day = holds(2, reading.day());
        let weekday = || holds(4, reading.weekday().to_sunday_zero_offset());
        holds(0, reading.minute())
            && holds(1, reading.hour())
            && holds(3, reading.month())
            && match (self.stars[2], self.stars[4]) {
                (true, true) => true,
                (true, false) => weekday(),
                (false, true) => day,
                (false, false) => day || weekday(),
            }
    }

    fn due(&self, looks: &[Look]) -> Vec<Timestamp> {
        let is_due = |look: &&Look| match self.follows {
            true => self.matches(look.reading),
            false => {
                self.matches(look.reading) && !look.again
                    || look.skipped.iter().any(|skipped| self.matches(*skipped))
            }
        };
        looks.iter().filter(is_due).map(|look| look.at).collect()
    }
}

fn turns(tz: &TimeZone) -> Vec<Timestamp> {
    tz.following(at("2000-01-01T00:00Z"))
        .map(|turn| turn.timestamp())
        .take_while(|turn| *turn < at("2038-01-01T00:00Z"))
        .collect()
}

#[test]
fn a_slow_reader_of_the_clock_agrees_around_every_turn() {
    let patterns: Vec<(Schedule, Slow)> =
        PATTERNS.iter().map(|text| (Schedule::parse(&[text]).expect(text), Slow::new(text))).collect();
    let mut turns_seen = 0;
    for name in ZONES {
        let zone = Zone::parse(name).expect(name);
        let ctx = Context { zone: zone.clone(), anchor: Timestamp::UNIX_EPOCH };
        for turn in turns(zone.tz()) {
            turns_seen += 1;
            // Two whole days around every eighth turn, the hours that matter around the others.
            let hours = if turns_seen % 8 == 1 { 26 } else { 4 };
            let (start, end) = (turn - hours.hours(), turn + hours.hours());
            let looks = watch(zone.tz(), start, 2 * hours * 60);
            for (text, (schedule, slow)) in PATTERNS.iter().zip(&patterns) {
                let want: Vec<Timestamp> = slow.due(&looks).into_iter().filter(|at| *at > start).collect();
                let got: Vec<Timestamp> =
                    schedule.fires_between(start, end, &ctx, 10_000).iter().map(|fire| fire.at).collect();
                assert_eq!(got, want, "{name} `{text}` around {turn}");
                assert_eq!(
                    schedule.count_between(start, end, &ctx),
                    want.len() as u64,
                    "{name} `{text}` {turn}"
                );
                if turns_seen % 4 > 0 {
                    continue;
                }
                let mut backwards = Vec::new();
                let mut before = end + SECOND;
                while let Some(fire) = schedule.previous(before, &ctx).filter(|fire| fire.at > start) {
                    before = fire.at;
                    backwards.push(fire.at);
                }
                backwards.reverse();
                assert_eq!(backwards, want, "{name} `{text}` backwards around {turn}");
            }
        }
    }
    assert!(turns_seen > 500, "{turns_seen}");
}

fn instants() -> impl Strategy<Value = Timestamp> {
    // 1900 to 2200, with fractions of a second.
    (-2_208_988_800_i64..7_258_118_400, 0..1_000_i32)
        .prop_map(|(second, ms)| Timestamp::new(second, ms * 1_000_000).expect("in range"))
}

/// Anywhere, or within four hours of a turn of the zone.
fn question() -> impl Strategy<Value = (Zone, Timestamp)> {
    (0..ZONES.len(), instants(), any::<bool>(), -14_400_i64..14_400).prop_map(
        |(index, anywhere, near_turn, distance)| {
            let zone = Zone::parse(ZONES[index]).expect("a zone");
            let turn = zone.tz().following(anywhere).next().filter(|_| near_turn);
            let at = turn.map_or(anywhere, |turn| turn.timestamp() + SignedDuration::from_secs(distance));
            (zone, at)
        },
    )
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(&PATTERNS[..]).prop_map(str::to_owned),
        (0..60, 0..24).prop_map(|(m, h)| format!("{m} {h} * * *")),
        (0..60, 0..60, 0..24, 0..24).prop_map(|(a, b, c, d)| format!("{a},{b} {c},{d} * * *")),
        (1..60, 1..24).prop_map(|(m, h)| format!("*/{m} */{h} * * *")),
        (0..60, 1..29, 1..13).prop_map(|(s, d, m)| format!("{s} 0 1 {d} {m} *")),
        (0..60, 0..24, 0..7, 1..6).prop_map(|(m, h, d, n)| format!("{m} {h} * * {d}#{n}")),
        Just("0 12 LW * *".to_owned()),
        Just("0 2 L * *".to_owned()),
        Just("0 2 15W * *".to_owned()),
        Just("30 1 * * FRIL".to_owned()),
        (1..200_000).prop_map(|s| format!("every {s}s")),
        (1..40, 0..24, 0..60).prop_map(|(d, h, m)| format!("every {d}d at {h:02}:{m:02}")),
        (0..24, 0..60).prop_map(|(h, m)| format!("every weekday at {h:02}:{m:02}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn next_and_previous_are_each_others_inverse(
        (zone, now) in question(),
        anchor in instants(),
        items in proptest::collection::vec(texts(), 1..3),
    ) {
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        let schedule = Schedule::parse(&items).expect("only good texts are made");
        let ctx = Context { zone, anchor };
        let fires = schedule.fires_between(now, Timestamp::MAX, &ctx, 8);
        prop_assert_eq!(fires.len(), 8);
        let mut last = now;
        for (index, fire) in fires.iter().enumerate() {
            prop_assert!(fire.at > last, "{:?} is not after {}", fire, last);
            prop_assert_eq!(fire.at.subsec_nanosecond(), 0);
            // Nothing is due between the two.
            let before = schedule.previous(fire.at, &ctx).map(|fire| fire.at);
            if index == 0 {
                prop_assert!(before.is_none_or(|at| at <= now));
            } else {
                prop_assert_eq!(before, Some(last));
            }
            prop_assert_eq!(schedule.previous(fire.at + SECOND, &ctx), Some(*fire));
            prop_assert_eq!(schedule.next(fire.at - SECOND, &ctx), Some(*fire));
            prop_assert_eq!(schedule.count_between(now, fire.at, &ctx), index as u64 + 1);
            last = fire.at;
        }
    }

    #[test]
    fn no_text_and_no_instant_panics(
        text in prop_oneof!["\\PC{0,40}", "[0-9*/,LW#?a-z@: -]{0,40}", "(every|at|in) [0-9a-z:T+\\[\\]/ -]{0,24}"],
        second in prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()],
    ) {
        if let Err(finding) = Schedule::parse(&[&text]) {
            prop_assert!(finding.column + finding.len <= text.len(), "{:?} in {:?}", finding, text);
            prop_assert!(text.get(finding.column..finding.column + finding.len).is_some());
            return Ok(());
        }
        let schedule = Schedule::parse(&[&text]).expect("was good just now");
        let range = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
        let now = Timestamp::from_second(second.clamp(*range.start(), *range.end())).expect("clamped");
        for name in ZONES {
            let ctx = Context { zone: Zone::parse(name).expect("a zone"), anchor: now };
            prop_assert!(schedule.next(now, &ctx).is_none_or(|fire| fire.at > now));
            prop_assert!(schedule.previous(now, &ctx).is_none_or(|fire| fire.at < now));
            prop_assert_eq!(schedule.spent(&ctx, now), schedule.is_one_shot() && schedule.next(now, &ctx).is_none());
            prop_assert!(!schedule.describe(&ctx.zone).is_empty());
        }
    }
}

#[test]
fn the_ends_of_time_are_answered() {
    for text in PATTERNS.iter().chain(&["every 7s", "every 3d at 04:00", "at 2027-01-01T00:00Z", "in 1h"]) {
        let schedule = Schedule::parse(&[text]).expect(text);
        for name in ZONES {
            for now in [Timestamp::MIN, Timestamp::MAX] {
                let ctx = Context { zone: Zone::parse(name).expect(name), anchor: now };
                assert!(schedule.next(now, &ctx).is_none_or(|fire| fire.at > now), "{text} {name}");
                assert!(schedule.previous(now, &ctx).is_none_or(|fire| fire.at < now), "{text} {name}");
                assert_eq!(schedule.count_between(now, now, &ctx), 0);
            }
        }
    }
}

#[test]
fn a_long_downtime_is_counted_at_once() {
    let ctx =
        Context { zone: Zone::parse("Europe/Berlin").expect("a zone"), anchor: at("2027-03-01T00:00Z") };
    let (from, to) = (at("2027-03-10T00:00Z"), at("2027-04-19T00:00Z"));
    for (text, want) in [
        ("every 1s", 40 * 86_400),
        ("every 7s", 40 * 86_400 / 7),
        ("* * * * * *", 40 * 86_400),
        // Fixed: the hour that spring skips is one run.
        ("* * 0-23 * * *", 40 * 86_400),
        ("* * 2 * * *", 39 * 3_600 + 1),
    ] {
        let schedule = Schedule::parse(&[text]).expect(text);
        let got = schedule.count_between(from, to, &ctx);
        assert!(got.abs_diff(want) <= 1, "{text}: {got}, want {want}");
    }
    let list = Schedule::parse(&["every 1s", "every 2s"]).expect("a list");
    assert_eq!(list.count_between(from, to, &ctx), 40 * 86_400 * 3 / 2);
    assert_eq!(list.count_between(from, from + SignedDuration::from_mins(10), &ctx), 600);
}

#[test]
fn one_shots_are_spent_when_nothing_is_left() {
    let ctx = Context { zone: Zone::UTC, anchor: at("2027-01-01T12:00:00.7Z") };
    let schedule = Schedule::parse(&["in 30m", "at 2027-01-02T09:00"]).expect("a list");
    assert!(schedule.is_one_shot());
    let fires = schedule.fires_between(ctx.anchor, Timestamp::MAX, &ctx, 9);
    assert_eq!(
        fires.iter().map(|fire| fire.at).collect::<Vec<_>>(),
        [at("2027-01-01T12:30:01Z"), at("2027-01-02T09:00Z")],
        "half an hour is over, not nearly over"
    );
    assert!(!schedule.spent(&ctx, at("2027-01-02T08:59:59Z")));
    assert!(schedule.spent(&ctx, at("2027-01-02T09:00Z")));
    let endless = Schedule::parse(&["in 30m", "@daily"]).expect("a list");
    assert!(!endless.is_one_shot() && !endless.spent(&ctx, at("2028-01-01T00:00Z")));
}

#[test]
fn a_reading_is_found_where_the_library_finds_it() {
    use croner::parser::{CronParser, Seconds};
    let parser = CronParser::builder().seconds(Seconds::Optional).build();
    for text in PATTERNS.iter().chain(&[
        "0 12 LW * *",
        "0 2 L 2 *",
        "0 2 15W,1W * *",
        "7 1 * * 5L",
        "9 9 29 2 *",
        "0 0 * 2 1#5",
    ]) {
        let cron = parser.parse(text).expect(text);
        let ours = super::cron::Pattern::parse(text).expect(text);
        let mut reading = date(2024, 1, 1).at(0, 0, 0, 0);
        for _ in 0..300 {
            let want: DateTime = cron.find_next_occurrence(&reading, false).expect(text);
            assert_eq!(ours.reading_from(reading + SECOND), Some(want), "`{text}` after {reading}");
            let back: Option<DateTime> = cron.find_previous_occurrence(&want, false).ok();
            assert_eq!(ours.reading_to(want - SECOND), back, "`{text}` before {want}");
            if want.year() > 2500 {
                break;
            }
            reading = want;
        }
    }
}
