//! What every kind of schedule does when the clocks change, row by row.
//!
//! The table is written by hand from the zones' published rules, never from the program's output:
//! it is the promise, the program has to meet it. All instants are UTC.

use jiff::{SignedDuration, Timestamp};
use lucid::model::schedule::{Context, Schedule, Zone, preview};

/// One line of a table: `schedule | after | due`. A due instant without a year is in the year of
/// `after`.
struct Row {
    schedule: &'static str,
    after: Timestamp,
    due: Vec<Timestamp>,
}

fn rows(table: &'static str) -> impl Iterator<Item = Row> {
    table.lines().filter(|line| !line.is_empty()).map(|line| {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let (schedule, after, due) = (columns[0], columns[1], columns[2]);
        let due = due.split_whitespace().map(|text| match text.len() {
            11 | 14 => instant(&format!("{}{text}Z", &after[..5])),
            _ => instant(&format!("{text}Z")),
        });
        Row { schedule, after: instant(&format!("{after}Z")), due: due.collect() }
    })
}

const BERLIN: &str = "Europe/Berlin";
const NEW_YORK: &str = "America/New_York";
const JOHANNESBURG: &str = "Africa/Johannesburg";
const LORD_HOWE: &str = "Australia/Lord_Howe";
const APIA: &str = "Pacific/Apia";
const CAIRO: &str = "Africa/Cairo";

/// Sunday 28 March 2027, 01:00 UTC: 02:00 CET (+1) becomes 03:00 CEST (+2).
const BERLIN_SPRING: (&str, &str) = (
    BERLIN,
    "
30 2 * * *          | 2027-03-27T12:00 | 03-28T01:00 03-29T00:30 03-30T00:30
0 2 * * *           | 2027-03-27T12:00 | 03-28T01:00 03-29T00:00
59 2 * * *          | 2027-03-27T12:00 | 03-28T01:00 03-29T00:59
0 3 * * *           | 2027-03-27T12:00 | 03-28T01:00 03-29T01:00
30 1 * * *          | 2027-03-27T12:00 | 03-28T00:30 03-28T23:30
0,30 2 * * *        | 2027-03-27T12:00 | 03-28T01:00 03-29T00:00 03-29T00:30
0 2,3 * * *         | 2027-03-27T12:00 | 03-28T01:00 03-29T00:00 03-29T01:00
* 2 * * *           | 2027-03-27T12:00 | 03-28T01:00 03-29T00:00 03-29T00:01
15,45 1 * * *       | 2027-03-27T12:00 | 03-28T00:15 03-28T00:45 03-28T23:15 03-28T23:45
30 2 * * 0          | 2027-03-27T12:00 | 03-28T01:00 04-04T00:30
0 0 2 28 3 *        | 2027-03-27T12:00 | 03-28T01:00 2028-03-28T00:00
0 * * * *           | 2027-03-27T23:30 | 03-28T00:00 03-28T01:00 03-28T02:00
*/15 * * * *        | 2027-03-28T00:40 | 03-28T00:45 03-28T01:00 03-28T01:15
*/20 * * * *        | 2027-03-28T00:35 | 03-28T00:40 03-28T01:00 03-28T01:20
30 */2 * * *        | 2027-03-27T23:00 | 03-27T23:30 03-28T02:30 03-28T04:30
@hourly             | 2027-03-28T00:30 | 03-28T01:00 03-28T02:00
@daily              | 2027-03-27T12:00 | 03-27T23:00 03-28T22:00 03-29T22:00
every 1d at 02:30   | 2027-03-27T12:00 | 03-28T01:00 03-29T00:30
every 2d at 02:30   | 2027-03-28T00:00 | 03-28T01:00 03-30T00:30 04-01T00:30
every 90m           | 2027-03-28T00:00 | 03-28T01:30 03-28T03:00 03-28T04:30
every 2h            | 2027-03-27T22:00 | 03-27T23:00 03-28T02:00 03-28T04:00
at 2027-03-28T02:30 | 2027-03-27T12:00 | 03-28T01:00
in 24h              | 2027-03-27T12:00 | 03-28T12:00
",
);

/// Sunday 31 October 2027, 01:00 UTC: 03:00 CEST (+2) becomes 02:00 CET (+1).
const BERLIN_AUTUMN: (&str, &str) = (
    BERLIN,
    "
30 2 * * *                               | 2027-10-30T12:00    | 10-31T00:30 11-01T01:30
30 2 * * *                               | 2027-10-31T01:10    | 11-01T01:30
0 2 * * *                                | 2027-10-30T12:00    | 10-31T00:00 11-01T01:00
59 2 * * *                               | 2027-10-31T00:59:30 | 11-01T01:59
0 3 * * *                                | 2027-10-30T12:00    | 10-31T02:00 11-01T02:00
15,45 1 * * *                            | 2027-10-30T12:00    | 10-30T23:15 10-30T23:45 11-01T00:15 11-01T00:45
15,45 2 * * *                            | 2027-10-30T12:00    | 10-31T00:15 10-31T00:45 11-01T01:15
* * 2 * * *                              | 2027-10-31T00:59:58 | 10-31T00:59:59 11-01T01:00:00
30 0-23 * * *                            | 2027-10-31T00:00    | 10-31T00:30 10-31T02:30 10-31T03:30
0 * * * *                                | 2027-10-30T23:30    | 10-31T00:00 10-31T01:00 10-31T02:00
*/15 * * * *                             | 2027-10-31T00:40    | 10-31T00:45 10-31T01:00 10-31T01:15
*/20 * * * *                             | 2027-10-31T00:35    | 10-31T00:40 10-31T01:00 10-31T01:20
30 */2 * * *                             | 2027-10-30T22:00    | 10-30T22:30 10-31T00:30 10-31T01:30 10-31T03:30
@daily                                   | 2027-10-30T12:00    | 10-30T22:00 10-31T23:00 11-01T23:00
at 2027-10-31T02:30                      | 2027-10-30T12:00    | 10-31T00:30
at 2027-10-31T02:30+01:00[Europe/Berlin] | 2027-10-30T12:00    | 10-31T01:30
",
);

/// Sunday 14 March 2027, 07:00 UTC: 02:00 EST (-5) becomes 03:00 EDT (-4);
/// Sunday 7 November 2027, 06:00 UTC: 02:00 EDT becomes 01:00 EST.
const NEW_YORK_BOTH: (&str, &str) = (
    NEW_YORK,
    "
30 2 * * *    | 2027-03-13T12:00 | 03-14T07:00 03-15T06:30
0 2 * * *     | 2027-03-13T12:00 | 03-14T07:00 03-15T06:00
0 3 * * *     | 2027-03-13T12:00 | 03-14T07:00 03-15T07:00
0 * * * *     | 2027-03-14T05:30 | 03-14T06:00 03-14T07:00 03-14T08:00
*/15 * * * *  | 2027-03-14T06:40 | 03-14T06:45 03-14T07:00 03-14T07:15
@daily        | 2027-03-13T12:00 | 03-14T05:00 03-15T04:00
@weekly       | 2027-03-13T12:00 | 03-14T05:00 03-21T04:00
30 1 * * *    | 2027-11-06T12:00 | 11-07T05:30 11-08T06:30
0 1 * * *     | 2027-11-06T12:00 | 11-07T05:00 11-08T06:00
15,45 1 * * * | 2027-11-06T12:00 | 11-07T05:15 11-07T05:45 11-08T06:15 11-08T06:45
30 2 * * *    | 2027-11-06T12:00 | 11-07T07:30 11-08T07:30
0 * * * *     | 2027-11-07T04:30 | 11-07T05:00 11-07T06:00 11-07T07:00
*/15 * * * *  | 2027-11-07T05:40 | 11-07T05:45 11-07T06:00 11-07T06:15
*/20 * * * *  | 2027-11-07T05:35 | 11-07T05:40 11-07T06:00 11-07T06:20 11-07T06:40 11-07T07:00
@daily        | 2027-11-06T12:00 | 11-07T04:00 11-08T05:00
",
);

/// +2 all year: Berlin's days are days like any other.
const JOHANNESBURG_ALWAYS: (&str, &str) = (
    JOHANNESBURG,
    "
30 2 * * *    | 2027-03-27T12:00 | 03-28T00:30 03-29T00:30
@daily        | 2027-03-27T12:00 | 03-27T22:00 03-28T22:00
0 * * * *     | 2027-03-28T00:30 | 03-28T01:00 03-28T02:00
*/15 * * * *  | 2027-10-31T00:40 | 10-31T00:45 10-31T01:00 10-31T01:15
15,45 1 * * * | 2027-10-30T12:00 | 10-30T23:15 10-30T23:45 10-31T23:15
",
);

/// Half an hour. 2 October 2027, 15:30 UTC: 02:00 (+10:30) becomes 02:30 (+11);
/// 3 April 2027, 15:00 UTC: 02:00 (+11) becomes 01:30 (+10:30).
const LORD_HOWE_BOTH: (&str, &str) = (
    LORD_HOWE,
    "
15 2 * * *    | 2027-10-02T00:00 | 10-02T15:30 10-03T15:15
0 2 * * *     | 2027-10-02T00:00 | 10-02T15:30 10-03T15:00
30 2 * * *    | 2027-10-02T00:00 | 10-02T15:30 10-03T15:30
10,20 2 * * * | 2027-10-02T00:00 | 10-02T15:30 10-03T15:10 10-03T15:20
0 * * * *     | 2027-10-02T14:00 | 10-02T14:30 10-02T16:00 10-02T17:00
*/15 * * * *  | 2027-10-02T15:10 | 10-02T15:15 10-02T15:30 10-02T15:45
@daily        | 2027-10-02T00:00 | 10-02T13:30 10-03T13:00
45 1 * * *    | 2027-04-03T00:00 | 04-03T14:45 04-04T15:15
30 1 * * *    | 2027-04-03T00:00 | 04-03T14:30 04-04T15:00
0 2 * * *     | 2027-04-03T00:00 | 04-03T15:30 04-04T15:30
15,45 1 * * * | 2027-04-03T00:00 | 04-03T14:15 04-03T14:45 04-04T14:45 04-04T15:15
0 * * * *     | 2027-04-03T13:30 | 04-03T14:00 04-03T15:30 04-03T16:30
*/15 * * * *  | 2027-04-03T14:40 | 04-03T14:45 04-03T15:00 04-03T15:15 04-03T15:30
@daily        | 2027-04-03T00:00 | 04-03T13:00 04-04T13:30
",
);

/// The whole of Friday 30 December 2011 is skipped: at 10:00 UTC on the 30th, 30 December 00:00
/// (-10) becomes 31 December 00:00 (+14).
const APIA_DAY: (&str, &str) = (
    APIA,
    "
0 9 * * *           | 2011-12-29T12:00 | 12-29T19:00 12-30T10:00 12-30T19:00 12-31T19:00
@daily              | 2011-12-29T00:00 | 12-29T10:00 12-30T10:00 12-31T10:00
0 6,18 * * *        | 2011-12-29T12:00 | 12-29T16:00 12-30T04:00 12-30T10:00 12-30T16:00
0 9 * * 5           | 2011-12-29T00:00 | 12-30T10:00 2012-01-05T19:00
0 9,17 30 12 *      | 2011-12-29T00:00 | 12-30T10:00 2012-12-29T19:00
0 * * * *           | 2011-12-30T08:30 | 12-30T09:00 12-30T10:00 12-30T11:00
*/15 * * * *        | 2011-12-30T09:40 | 12-30T09:45 12-30T10:00 12-30T10:15
at 2011-12-30T12:00 | 2011-12-29T00:00 | 12-30T10:00
",
);

/// At midnight. 29 April 2027, 22:00 UTC: Friday 00:00 (+2) becomes 01:00 (+3);
/// 28 October 2027, 21:00 UTC: Thursday 24:00 (+3) becomes 23:00 (+2).
const CAIRO_BOTH: (&str, &str) = (
    CAIRO,
    "
@daily         | 2027-04-29T00:00 | 04-29T22:00 04-30T21:00
30 0 * * *     | 2027-04-29T00:00 | 04-29T22:00 04-30T21:30
0 1 * * *      | 2027-04-29T00:00 | 04-29T22:00 04-30T22:00
0 0 30 4 *     | 2027-04-29T00:00 | 04-29T22:00 2028-04-29T21:00
0 * * * *      | 2027-04-29T20:30 | 04-29T21:00 04-29T22:00 04-29T23:00
*/15 * * * *   | 2027-04-29T21:40 | 04-29T21:45 04-29T22:00 04-29T22:15
30 23 * * *    | 2027-10-28T00:00 | 10-28T20:30 10-29T21:30
15,45 23 * * * | 2027-10-28T00:00 | 10-28T20:15 10-28T20:45 10-29T21:15
@daily         | 2027-10-28T00:00 | 10-28T22:00 10-29T22:00
0 0 29 10 *    | 2027-10-28T00:00 | 10-28T22:00 2028-10-28T22:00
0 * * * *      | 2027-10-28T19:30 | 10-28T20:00 10-28T21:00 10-28T22:00
*/15 * * * *   | 2027-10-28T20:40 | 10-28T20:45 10-28T21:00 10-28T21:15
",
);

/// Zone and rows.
const TABLES: [(&str, &str); 7] =
    [BERLIN_SPRING, BERLIN_AUTUMN, NEW_YORK_BOTH, JOHANNESBURG_ALWAYS, LORD_HOWE_BOTH, APIA_DAY, CAIRO_BOTH];

#[expect(clippy::expect_used, reason = "a table that cannot be read is a failed test")]
fn instant(text: &str) -> Timestamp {
    text.parse().expect(text)
}

#[test]
fn every_row_forwards_backwards_and_counted() {
    let mut total = 0;
    let mut wrong = Vec::new();
    for (name, table) in TABLES {
        for Row { schedule: text, after, due } in rows(table) {
            total += 1;
            let last = *due.last().expect("a row expects something");
            let schedule = Schedule::parse(&[text]).expect(text);
            let ctx = Context { zone: Zone::parse(name).expect(name), anchor: after };

            let fires = schedule.fires_between(after, last, &ctx, 100);
            let forwards: Vec<_> = fires.iter().map(|fire| fire.at).collect();
            let just_past = last + SignedDuration::from_millis(1);
            let mut backwards: Vec<_> = std::iter::successors(schedule.previous(just_past, &ctx), |fire| {
                schedule.previous(fire.at, &ctx)
            })
            .map(|fire| fire.at)
            .take_while(|at| *at > after)
            .collect();
            backwards.reverse();
            let counted = schedule.count_between(after, last, &ctx);

            let title = format!("{name} `{text}` after {after}");
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
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(total >= 90, "{total} rows");
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
