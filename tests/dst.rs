//! What every kind of schedule does when the clocks change, row by row.
//!
//! The table is written by hand from the zones' published rules, never from the program's output:
//! it is the promise, the program has to meet it. All instants are UTC.

use jiff::Timestamp;
use lucid::model::schedule::{Context, Schedule, Zone, preview};

struct Row {
    zone: &'static str,
    schedule: &'static str,
    after: &'static str,
    due: &'static [&'static str],
}

const fn row(
    zone: &'static str,
    schedule: &'static str,
    after: &'static str,
    due: &'static [&'static str],
) -> Row {
    Row { zone, schedule, after, due }
}

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
const JOHANNESBURG: &str = "Africa/Johannesburg";
const LORD_HOWE: &str = "Australia/Lord_Howe";
const APIA: &str = "Pacific/Apia";
const CAIRO: &str = "Africa/Cairo";

/// Sunday 28 March 2027, 01:00 UTC: 02:00 CET (+1) becomes 03:00 CEST (+2).
const BERLIN_SPRING: &[Row] = &[
    row(
        BERLIN,
        "30 2 * * *",
        "2027-03-27T12:00Z",
        &["2027-03-28T01:00Z", "2027-03-29T00:30Z", "2027-03-30T00:30Z"],
    ),
    row(BERLIN, "0 2 * * *", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2027-03-29T00:00Z"]),
    row(BERLIN, "59 2 * * *", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2027-03-29T00:59Z"]),
    row(BERLIN, "0 3 * * *", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2027-03-29T01:00Z"]),
    row(BERLIN, "30 1 * * *", "2027-03-27T12:00Z", &["2027-03-28T00:30Z", "2027-03-28T23:30Z"]),
    row(
        BERLIN,
        "0,30 2 * * *",
        "2027-03-27T12:00Z",
        &["2027-03-28T01:00Z", "2027-03-29T00:00Z", "2027-03-29T00:30Z"],
    ),
    row(
        BERLIN,
        "0 2,3 * * *",
        "2027-03-27T12:00Z",
        &["2027-03-28T01:00Z", "2027-03-29T00:00Z", "2027-03-29T01:00Z"],
    ),
    row(
        BERLIN,
        "* 2 * * *",
        "2027-03-27T12:00Z",
        &["2027-03-28T01:00Z", "2027-03-29T00:00Z", "2027-03-29T00:01Z"],
    ),
    row(
        BERLIN,
        "15,45 1 * * *",
        "2027-03-27T12:00Z",
        &["2027-03-28T00:15Z", "2027-03-28T00:45Z", "2027-03-28T23:15Z", "2027-03-28T23:45Z"],
    ),
    row(BERLIN, "30 2 * * 0", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2027-04-04T00:30Z"]),
    row(BERLIN, "0 0 2 28 3 *", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2028-03-28T00:00Z"]),
    row(
        BERLIN,
        "0 * * * *",
        "2027-03-27T23:30Z",
        &["2027-03-28T00:00Z", "2027-03-28T01:00Z", "2027-03-28T02:00Z"],
    ),
    row(
        BERLIN,
        "*/15 * * * *",
        "2027-03-28T00:40Z",
        &["2027-03-28T00:45Z", "2027-03-28T01:00Z", "2027-03-28T01:15Z"],
    ),
    row(
        BERLIN,
        "*/20 * * * *",
        "2027-03-28T00:35Z",
        &["2027-03-28T00:40Z", "2027-03-28T01:00Z", "2027-03-28T01:20Z"],
    ),
    row(
        BERLIN,
        "30 */2 * * *",
        "2027-03-27T23:00Z",
        &["2027-03-27T23:30Z", "2027-03-28T02:30Z", "2027-03-28T04:30Z"],
    ),
    row(BERLIN, "@hourly", "2027-03-28T00:30Z", &["2027-03-28T01:00Z", "2027-03-28T02:00Z"]),
    row(
        BERLIN,
        "@daily",
        "2027-03-27T12:00Z",
        &["2027-03-27T23:00Z", "2027-03-28T22:00Z", "2027-03-29T22:00Z"],
    ),
    row(BERLIN, "every 1d at 02:30", "2027-03-27T12:00Z", &["2027-03-28T01:00Z", "2027-03-29T00:30Z"]),
    row(
        BERLIN,
        "every 2d at 02:30",
        "2027-03-28T00:00Z",
        &["2027-03-28T01:00Z", "2027-03-30T00:30Z", "2027-04-01T00:30Z"],
    ),
    row(
        BERLIN,
        "every 90m",
        "2027-03-28T00:00Z",
        &["2027-03-28T01:30Z", "2027-03-28T03:00Z", "2027-03-28T04:30Z"],
    ),
    row(
        BERLIN,
        "every 2h",
        "2027-03-27T22:00Z",
        &["2027-03-27T23:00Z", "2027-03-28T02:00Z", "2027-03-28T04:00Z"],
    ),
    row(BERLIN, "at 2027-03-28T02:30", "2027-03-27T12:00Z", &["2027-03-28T01:00Z"]),
    row(BERLIN, "in 24h", "2027-03-27T12:00Z", &["2027-03-28T12:00Z"]),
];

/// Sunday 31 October 2027, 01:00 UTC: 03:00 CEST (+2) becomes 02:00 CET (+1).
const BERLIN_AUTUMN: &[Row] = &[
    row(BERLIN, "30 2 * * *", "2027-10-30T12:00Z", &["2027-10-31T00:30Z", "2027-11-01T01:30Z"]),
    row(BERLIN, "30 2 * * *", "2027-10-31T01:10Z", &["2027-11-01T01:30Z"]),
    row(BERLIN, "0 2 * * *", "2027-10-30T12:00Z", &["2027-10-31T00:00Z", "2027-11-01T01:00Z"]),
    row(BERLIN, "59 2 * * *", "2027-10-31T00:59:30Z", &["2027-11-01T01:59Z"]),
    row(BERLIN, "0 3 * * *", "2027-10-30T12:00Z", &["2027-10-31T02:00Z", "2027-11-01T02:00Z"]),
    row(
        BERLIN,
        "15,45 1 * * *",
        "2027-10-30T12:00Z",
        &["2027-10-30T23:15Z", "2027-10-30T23:45Z", "2027-11-01T00:15Z", "2027-11-01T00:45Z"],
    ),
    row(
        BERLIN,
        "15,45 2 * * *",
        "2027-10-30T12:00Z",
        &["2027-10-31T00:15Z", "2027-10-31T00:45Z", "2027-11-01T01:15Z"],
    ),
    row(BERLIN, "* * 2 * * *", "2027-10-31T00:59:58Z", &["2027-10-31T00:59:59Z", "2027-11-01T01:00:00Z"]),
    row(
        BERLIN,
        "30 0-23 * * *",
        "2027-10-31T00:00Z",
        &["2027-10-31T00:30Z", "2027-10-31T02:30Z", "2027-10-31T03:30Z"],
    ),
    row(
        BERLIN,
        "0 * * * *",
        "2027-10-30T23:30Z",
        &["2027-10-31T00:00Z", "2027-10-31T01:00Z", "2027-10-31T02:00Z"],
    ),
    row(
        BERLIN,
        "*/15 * * * *",
        "2027-10-31T00:40Z",
        &["2027-10-31T00:45Z", "2027-10-31T01:00Z", "2027-10-31T01:15Z"],
    ),
    row(
        BERLIN,
        "*/20 * * * *",
        "2027-10-31T00:35Z",
        &["2027-10-31T00:40Z", "2027-10-31T01:00Z", "2027-10-31T01:20Z"],
    ),
    row(
        BERLIN,
        "30 */2 * * *",
        "2027-10-30T22:00Z",
        &["2027-10-30T22:30Z", "2027-10-31T00:30Z", "2027-10-31T01:30Z", "2027-10-31T03:30Z"],
    ),
    row(
        BERLIN,
        "@daily",
        "2027-10-30T12:00Z",
        &["2027-10-30T22:00Z", "2027-10-31T23:00Z", "2027-11-01T23:00Z"],
    ),
    row(BERLIN, "at 2027-10-31T02:30", "2027-10-30T12:00Z", &["2027-10-31T00:30Z"]),
    row(BERLIN, "at 2027-10-31T02:30+01:00[Europe/Berlin]", "2027-10-30T12:00Z", &["2027-10-31T01:30Z"]),
];

/// Sunday 14 March 2027, 07:00 UTC: 02:00 EST (-5) becomes 03:00 EDT (-4);
/// Sunday 7 November 2027, 06:00 UTC: 02:00 EDT becomes 01:00 EST.
const NEW_YORK_BOTH: &[Row] = &[
    row(NEW_YORK, "30 2 * * *", "2027-03-13T12:00Z", &["2027-03-14T07:00Z", "2027-03-15T06:30Z"]),
    row(NEW_YORK, "0 2 * * *", "2027-03-13T12:00Z", &["2027-03-14T07:00Z", "2027-03-15T06:00Z"]),
    row(NEW_YORK, "0 3 * * *", "2027-03-13T12:00Z", &["2027-03-14T07:00Z", "2027-03-15T07:00Z"]),
    row(
        NEW_YORK,
        "0 * * * *",
        "2027-03-14T05:30Z",
        &["2027-03-14T06:00Z", "2027-03-14T07:00Z", "2027-03-14T08:00Z"],
    ),
    row(
        NEW_YORK,
        "*/15 * * * *",
        "2027-03-14T06:40Z",
        &["2027-03-14T06:45Z", "2027-03-14T07:00Z", "2027-03-14T07:15Z"],
    ),
    row(NEW_YORK, "@daily", "2027-03-13T12:00Z", &["2027-03-14T05:00Z", "2027-03-15T04:00Z"]),
    row(NEW_YORK, "@weekly", "2027-03-13T12:00Z", &["2027-03-14T05:00Z", "2027-03-21T04:00Z"]),
    row(NEW_YORK, "30 1 * * *", "2027-11-06T12:00Z", &["2027-11-07T05:30Z", "2027-11-08T06:30Z"]),
    row(NEW_YORK, "0 1 * * *", "2027-11-06T12:00Z", &["2027-11-07T05:00Z", "2027-11-08T06:00Z"]),
    row(
        NEW_YORK,
        "15,45 1 * * *",
        "2027-11-06T12:00Z",
        &["2027-11-07T05:15Z", "2027-11-07T05:45Z", "2027-11-08T06:15Z", "2027-11-08T06:45Z"],
    ),
    row(NEW_YORK, "30 2 * * *", "2027-11-06T12:00Z", &["2027-11-07T07:30Z", "2027-11-08T07:30Z"]),
    row(
        NEW_YORK,
        "0 * * * *",
        "2027-11-07T04:30Z",
        &["2027-11-07T05:00Z", "2027-11-07T06:00Z", "2027-11-07T07:00Z"],
    ),
    row(
        NEW_YORK,
        "*/15 * * * *",
        "2027-11-07T05:40Z",
        &["2027-11-07T05:45Z", "2027-11-07T06:00Z", "2027-11-07T06:15Z"],
    ),
    row(
        NEW_YORK,
        "*/20 * * * *",
        "2027-11-07T05:35Z",
        &[
            "2027-11-07T05:40Z",
            "2027-11-07T06:00Z",
            "2027-11-07T06:20Z",
            "2027-11-07T06:40Z",
            "2027-11-07T07:00Z",
        ],
    ),
    row(NEW_YORK, "@daily", "2027-11-06T12:00Z", &["2027-11-07T04:00Z", "2027-11-08T05:00Z"]),
];

/// +2 all year: Berlin's days are days like any other.
const JOHANNESBURG_ALWAYS: &[Row] = &[
    row(JOHANNESBURG, "30 2 * * *", "2027-03-27T12:00Z", &["2027-03-28T00:30Z", "2027-03-29T00:30Z"]),
    row(JOHANNESBURG, "@daily", "2027-03-27T12:00Z", &["2027-03-27T22:00Z", "2027-03-28T22:00Z"]),
    row(JOHANNESBURG, "0 * * * *", "2027-03-28T00:30Z", &["2027-03-28T01:00Z", "2027-03-28T02:00Z"]),
    row(
        JOHANNESBURG,
        "*/15 * * * *",
        "2027-10-31T00:40Z",
        &["2027-10-31T00:45Z", "2027-10-31T01:00Z", "2027-10-31T01:15Z"],
    ),
    row(
        JOHANNESBURG,
        "15,45 1 * * *",
        "2027-10-30T12:00Z",
        &["2027-10-30T23:15Z", "2027-10-30T23:45Z", "2027-10-31T23:15Z"],
    ),
];

/// Half an hour. 2 October 2027, 15:30 UTC: 02:00 (+10:30) becomes 02:30 (+11);
/// 3 April 2027, 15:00 UTC: 02:00 (+11) becomes 01:30 (+10:30).
const LORD_HOWE_BOTH: &[Row] = &[
    row(LORD_HOWE, "15 2 * * *", "2027-10-02T00:00Z", &["2027-10-02T15:30Z", "2027-10-03T15:15Z"]),
    row(LORD_HOWE, "0 2 * * *", "2027-10-02T00:00Z", &["2027-10-02T15:30Z", "2027-10-03T15:00Z"]),
    row(LORD_HOWE, "30 2 * * *", "2027-10-02T00:00Z", &["2027-10-02T15:30Z", "2027-10-03T15:30Z"]),
    row(
        LORD_HOWE,
        "10,20 2 * * *",
        "2027-10-02T00:00Z",
        &["2027-10-02T15:30Z", "2027-10-03T15:10Z", "2027-10-03T15:20Z"],
    ),
    row(
        LORD_HOWE,
        "0 * * * *",
        "2027-10-02T14:00Z",
        &["2027-10-02T14:30Z", "2027-10-02T16:00Z", "2027-10-02T17:00Z"],
    ),
    row(
        LORD_HOWE,
        "*/15 * * * *",
        "2027-10-02T15:10Z",
        &["2027-10-02T15:15Z", "2027-10-02T15:30Z", "2027-10-02T15:45Z"],
    ),
    row(LORD_HOWE, "@daily", "2027-10-02T00:00Z", &["2027-10-02T13:30Z", "2027-10-03T13:00Z"]),
    row(LORD_HOWE, "45 1 * * *", "2027-04-03T00:00Z", &["2027-04-03T14:45Z", "2027-04-04T15:15Z"]),
    row(LORD_HOWE, "30 1 * * *", "2027-04-03T00:00Z", &["2027-04-03T14:30Z", "2027-04-04T15:00Z"]),
    row(LORD_HOWE, "0 2 * * *", "2027-04-03T00:00Z", &["2027-04-03T15:30Z", "2027-04-04T15:30Z"]),
    row(
        LORD_HOWE,
        "15,45 1 * * *",
        "2027-04-03T00:00Z",
        &["2027-04-03T14:15Z", "2027-04-03T14:45Z", "2027-04-04T14:45Z", "2027-04-04T15:15Z"],
    ),
    row(
        LORD_HOWE,
        "0 * * * *",
        "2027-04-03T13:30Z",
        &["2027-04-03T14:00Z", "2027-04-03T15:30Z", "2027-04-03T16:30Z"],
    ),
    row(
        LORD_HOWE,
        "*/15 * * * *",
        "2027-04-03T14:40Z",
        &["2027-04-03T14:45Z", "2027-04-03T15:00Z", "2027-04-03T15:15Z", "2027-04-03T15:30Z"],
    ),
    row(LORD_HOWE, "@daily", "2027-04-03T00:00Z", &["2027-04-03T13:00Z", "2027-04-04T13:30Z"]),
];

/// The whole of Friday 30 December 2011 is skipped: at 10:00 UTC on the 30th, 30 December 00:00
/// (-10) becomes 31 December 00:00 (+14).
const APIA_DAY: &[Row] = &[
    row(
        APIA,
        "0 9 * * *",
        "2011-12-29T12:00Z",
        &["2011-12-29T19:00Z", "2011-12-30T10:00Z", "2011-12-30T19:00Z", "2011-12-31T19:00Z"],
    ),
    row(
        APIA,
        "@daily",
        "2011-12-29T00:00Z",
        &["2011-12-29T10:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z"],
    ),
    row(
        APIA,
        "0 6,18 * * *",
        "2011-12-29T12:00Z",
        &["2011-12-29T16:00Z", "2011-12-30T04:00Z", "2011-12-30T10:00Z", "2011-12-30T16:00Z"],
    ),
    row(APIA, "0 9 * * 5", "2011-12-29T00:00Z", &["2011-12-30T10:00Z", "2012-01-05T19:00Z"]),
    row(APIA, "0 9,17 30 12 *", "2011-12-29T00:00Z", &["2011-12-30T10:00Z", "2012-12-29T19:00Z"]),
    row(
        APIA,
        "0 * * * *",
        "2011-12-30T08:30Z",
        &["2011-12-30T09:00Z", "2011-12-30T10:00Z", "2011-12-30T11:00Z"],
    ),
    row(
        APIA,
        "*/15 * * * *",
        "2011-12-30T09:40Z",
        &["2011-12-30T09:45Z", "2011-12-30T10:00Z", "2011-12-30T10:15Z"],
    ),
    row(APIA, "at 2011-12-30T12:00", "2011-12-29T00:00Z", &["2011-12-30T10:00Z"]),
];

/// At midnight. 29 April 2027, 22:00 UTC: Friday 00:00 (+2) becomes 01:00 (+3);
/// 28 October 2027, 21:00 UTC: Thursday 24:00 (+3) becomes 23:00 (+2).
const CAIRO_BOTH: &[Row] = &[
    row(CAIRO, "@daily", "2027-04-29T00:00Z", &["2027-04-29T22:00Z", "2027-04-30T21:00Z"]),
    row(CAIRO, "30 0 * * *", "2027-04-29T00:00Z", &["2027-04-29T22:00Z", "2027-04-30T21:30Z"]),
    row(CAIRO, "0 1 * * *", "2027-04-29T00:00Z", &["2027-04-29T22:00Z", "2027-04-30T22:00Z"]),
    row(CAIRO, "0 0 30 4 *", "2027-04-29T00:00Z", &["2027-04-29T22:00Z", "2028-04-29T21:00Z"]),
    row(
        CAIRO,
        "0 * * * *",
        "2027-04-29T20:30Z",
        &["2027-04-29T21:00Z", "2027-04-29T22:00Z", "2027-04-29T23:00Z"],
    ),
    row(
        CAIRO,
        "*/15 * * * *",
        "2027-04-29T21:40Z",
        &["2027-04-29T21:45Z", "2027-04-29T22:00Z", "2027-04-29T22:15Z"],
    ),
    row(CAIRO, "30 23 * * *", "2027-10-28T00:00Z", &["2027-10-28T20:30Z", "2027-10-29T21:30Z"]),
    row(
        CAIRO,
        "15,45 23 * * *",
        "2027-10-28T00:00Z",
        &["2027-10-28T20:15Z", "2027-10-28T20:45Z", "2027-10-29T21:15Z"],
    ),
    row(CAIRO, "@daily", "2027-10-28T00:00Z", &["2027-10-28T22:00Z", "2027-10-29T22:00Z"]),
    row(CAIRO, "0 0 29 10 *", "2027-10-28T00:00Z", &["2027-10-28T22:00Z", "2028-10-28T22:00Z"]),
    row(
        CAIRO,
        "0 * * * *",
        "2027-10-28T19:30Z",
        &["2027-10-28T20:00Z", "2027-10-28T21:00Z", "2027-10-28T22:00Z"],
    ),
    row(
        CAIRO,
        "*/15 * * * *",
        "2027-10-28T20:40Z",
        &["2027-10-28T20:45Z", "2027-10-28T21:00Z", "2027-10-28T21:15Z"],
    ),
];

const TABLES: [&[Row]; 7] =
    [BERLIN_SPRING, BERLIN_AUTUMN, NEW_YORK_BOTH, JOHANNESBURG_ALWAYS, LORD_HOWE_BOTH, APIA_DAY, CAIRO_BOTH];

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_row_forwards_backwards_and_counted() {
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in TABLES.into_iter().flatten() {
        rows += 1;
        let after = instant(row.after);
        let due: Vec<Timestamp> = row.due.iter().map(|text| instant(text)).collect();
        let last = *due.last().expect("a row expects something");
        let schedule = Schedule::parse(&[row.schedule]).expect(row.schedule);
        let ctx = Context { zone: Zone::parse(row.zone).expect(row.zone), anchor: after };

        let forwards: Vec<_> =
            schedule.fires_between(after, last, &ctx, 100).iter().map(|fire| fire.at).collect();
        let past_last = last.checked_add(jiff::SignedDuration::from_millis(1)).expect("in range");
        let mut backwards: Vec<_> = std::iter::successors(schedule.previous(past_last, &ctx), |fire| {
            schedule.previous(fire.at, &ctx)
        })
        .map(|fire| fire.at)
        .take_while(|at| *at > after)
        .collect();
        backwards.reverse();
        let counted = schedule.count_between(after, last, &ctx);

        let title = format!("{} `{}` after {}", row.zone, row.schedule, row.after);
        if forwards != due {
            wrong.push(format!("{title}\n  want {due:?}\n  got  {forwards:?}"));
        }
        if backwards != due {
            wrong.push(format!("{title}, backwards\n  want {due:?}\n  got  {backwards:?}"));
        }
        if counted != due.len() as u64 {
            wrong.push(format!("{title}: counted {counted}, want {}", due.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 60, "{rows} rows");
}

#[test]
fn two_items_that_meet_after_a_gap_are_one_run() {
    let schedule = Schedule::parse(&["30 2 * * *", "0 3 * * *", "0 5 28 3 *"]).expect("a schedule");
    let ctx = Context { zone: Zone::parse(BERLIN).expect("a zone"), anchor: Timestamp::UNIX_EPOCH };
    let (after, up_to) = (instant("2027-03-27T12:00Z"), instant("2027-03-28T12:00Z"));
    let fires: Vec<_> = schedule.fires_between(after, up_to, &ctx, 10).iter().map(|fire| fire.at).collect();
    assert_eq!(fires, [instant("2027-03-28T01:00Z"), instant("2027-03-28T03:00Z")]);
    assert_eq!(schedule.count_between(after, up_to, &ctx), 2);
}

#[test]
fn the_preview_says_why_a_day_is_different() {
    let show = |text: &str, zone: &str, from: &str, n: usize| -> Vec<String> {
        let schedule = Schedule::parse(&[text]).expect(text);
        let zone = Zone::parse(zone).expect(zone);
        preview(&schedule, &zone, instant(from), instant(from), n)
            .into_iter()
            .map(|row| {
                let note = row.note.map(|note| format!(" | {note}")).unwrap_or_default();
                format!("{} | {}{note}", row.human, row.local)
            })
            .collect()
    };
    assert_eq!(
        show("30 2 * * *", BERLIN, "2027-03-27T00:00Z", 3),
        [
            "Sat 27 Mar 2027 02:30 CET | 2027-03-27T02:30:00+01:00",
            "Sun 28 Mar 2027 03:00 CEST | 2027-03-28T03:00:00+02:00 | 02:30 does not exist on this day (clocks go forward)",
            "Mon 29 Mar 2027 02:30 CEST | 2027-03-29T02:30:00+02:00",
        ]
    );
    assert_eq!(
        show("30 2 * * *", BERLIN, "2027-10-31T00:00Z", 1),
        [
            "Sun 31 Oct 2027 02:30 CEST | 2027-10-31T02:30:00+02:00 | 02:30 comes twice on this day (clocks go back); this is the first"
        ]
    );
    assert_eq!(
        show("0 * * * *", BERLIN, "2027-10-31T00:30Z", 2),
        [
            "Sun 31 Oct 2027 02:00 CET | 2027-10-31T02:00:00+01:00 | 02:00 comes twice on this day (clocks go back); this is the second",
            "Sun 31 Oct 2027 03:00 CET | 2027-10-31T03:00:00+01:00",
        ]
    );
    assert_eq!(
        show("0 9 * * *", APIA, "2011-12-30T00:00Z", 1),
        [
            "Sat 31 Dec 2011 00:00 +14 | 2011-12-31T00:00:00+14:00 | Fri 30 Dec 09:00 does not exist (clocks go forward)"
        ]
    );
}
