//! What the grammar takes, what it refuses, and the words it has for both.

use jiff::Timestamp;

use super::{Context, Finding, SCHEDULE_ITEM_MAX_BYTES, SCHEDULE_ITEMS_MAX, Schedule, Zone};

fn parsed(text: &str) -> Schedule {
    Schedule::parse(&[text]).unwrap_or_else(|finding| panic!("`{text}`: {finding} ({})", finding.help))
}

fn refused(text: &str) -> Finding {
    Schedule::parse(&[text]).expect_err(text)
}

/// The first three fires after New Year's Eve 2027 at noon, UTC, without seconds of zero.
fn fires(text: &str) -> String {
    let anchor: Timestamp = "2026-12-31T12:00:00Z".parse().expect("an instant");
    let ctx = Context { zone: Zone::UTC, anchor };
    let fires = parsed(text).fires_between(anchor, Timestamp::MAX, &ctx, 3);
    let texts: Vec<String> = fires
        .iter()
        .map(|fire| fire.at.to_string().trim_end_matches(":00Z").trim_end_matches('Z').to_owned())
        .collect();
    texts.join(" ")
}

#[test]
fn every_form_is_due_when_it_says() {
    let table = [
        ("0 9 * * 1-5", "2027-01-01T09:00 2027-01-04T09:00 2027-01-05T09:00"),
        ("0 9 * JAN MON-WED", "2027-01-04T09:00 2027-01-05T09:00 2027-01-06T09:00"),
        ("0 9 * * fri-sun", "2027-01-01T09:00 2027-01-02T09:00 2027-01-03T09:00"),
        ("0 9 * * 6-7", "2027-01-02T09:00 2027-01-03T09:00 2027-01-09T09:00"),
        ("10-20/5 14 * * *", "2026-12-31T14:10 2026-12-31T14:15 2026-12-31T14:20"),
        ("*/30 * * * * *", "2026-12-31T12:00:30 2026-12-31T12:01 2026-12-31T12:01:30"),
        ("0 0 L * *", "2027-01-31T00:00 2027-02-28T00:00 2027-03-31T00:00"),
        ("0 0 LW * *", "2027-01-29T00:00 2027-02-26T00:00 2027-03-31T00:00"),
        ("0 0 16w * *", "2027-01-15T00:00 2027-02-16T00:00 2027-03-16T00:00"),
        ("0 0 * * MON#2", "2027-01-11T00:00 2027-02-08T00:00 2027-03-08T00:00"),
        ("0 0 * * 5L", "2027-01-29T00:00 2027-02-26T00:00 2027-03-26T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00 2032-02-29T00:00 2036-02-29T00:00"),
        ("@hourly", "2026-12-31T13:00 2026-12-31T14:00 2026-12-31T15:00"),
        ("@Daily", "2027-01-01T00:00 2027-01-02T00:00 2027-01-03T00:00"),
        ("@midnight", "2027-01-01T00:00 2027-01-02T00:00 2027-01-03T00:00"),
        ("@weekly", "2027-01-03T00:00 2027-01-10T00:00 2027-01-17T00:00"),
        ("@monthly", "2027-01-01T00:00 2027-02-01T00:00 2027-03-01T00:00"),
        ("@yearly", "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
        ("@annually", "2027-01-01T00:00 2028-01-01T00:00 2029-01-01T00:00"),
        ("every 15m", "2026-12-31T12:15 2026-12-31T12:30 2026-12-31T12:45"),
        ("every 7m", "2026-12-31T12:07 2026-12-31T12:14 2026-12-31T12:21"),
        ("every 90", "2026-12-31T12:01:30 2026-12-31T12:03 2026-12-31T12:04:30"),
        ("every 5h", "2026-12-31T17:00 2026-12-31T22:00 2027-01-01T03:00"),
        ("every 6h", "2026-12-31T18:00 2027-01-01T00:00 2027-01-01T06:00"),
        ("every 24h", "2027-01-01T00:00 2027-01-02T00:00 2027-01-03T00:00"),
        ("every hour", "2026-12-31T13:00 2026-12-31T14:00 2026-12-31T15:00"),
        ("every 1w", "2027-01-07T12:00 2027-01-14T12:00 2027-01-21T12:00"),
        ("every 1d at 09:00", "2027-01-01T09:00 2027-01-02T09:00 2027-01-03T09:00"),
        ("every 3d at 13:30", "2026-12-31T13:30 2027-01-03T13:30 2027-01-06T13:30"),
        ("every 3d at 09:00", "2027-01-03T09:00 2027-01-06T09:00 2027-01-09T09:00"),
        ("every weekday at 08:30", "2027-01-01T08:30 2027-01-04T08:30 2027-01-05T08:30"),
        ("every monday at 9:00", "2027-01-04T09:00 2027-01-11T09:00 2027-01-18T09:00"),
        ("every Mon, Thu at 9:00", "2027-01-04T09:00 2027-01-07T09:00 2027-01-11T09:00"),
        ("every sat and sunday at 9:00:15", "2027-01-02T09:00:15 2027-01-03T09:00:15 2027-01-09T09:00:15"),
        ("every weekend", "2027-01-02T00:00 2027-01-03T00:00 2027-01-09T00:00"),
        ("at 2027-01-31T09:00:00+02:00", "2027-01-31T07:00"),
        ("at 2027-01-31T09:00[Africa/Johannesburg]", "2027-01-31T07:00"),
        ("at 2027-01-31 09:00", "2027-01-31T09:00"),
        ("at 2027-01-31", "2027-01-31T00:00"),
        ("at 2020-01-01T00:00Z", ""),
        ("in 30m", "2026-12-31T12:30"),
        ("@startup", ""),
        ("@reboot", ""),
        ("manual", ""),
    ];
    for (text, want) in table {
        assert_eq!(fires(text), want, "{text}");
    }
}

/// Text, code, what is marked, a part of the help.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("", "E201", "", "@daily"),
    ("whenever", "E201", "whenever", "every 5m"),
    ("@dayly", "E201", "@dayly", "@daily"),
    ("@every 5m", "E201", "@every 5m", "`every 5m`"),
    ("weekday at 09:00", "E201", "weekday at 09:00", "`every weekday at 09:00`"),
    ("2027-01-31T09:00", "E201", "2027-01-31T09:00", "`at 2027-01-31T09:00`"),
    ("CRON_TZ=Europe/Berlin 0 9 * * *", "E201", "CRON_TZ=Europe/Berlin", "`timezone: Europe/Berlin`"),
    ("60 * * * *", "E202", "60", "0 to 59"),
    ("* 24 * * *", "E202", "24", "0 to 23"),
    ("* * 0 * *", "E202", "0", "1 to 31"),
    ("* * * foo *", "E202", "foo", "jan to dec"),
    ("* * * * monday", "E202", "monday", "`MON`"),
    ("* * * * 1-9", "E202", "9", "0 to 7"),
    ("30-10 * * * *", "E202", "30-10", "`30-59,0-10`"),
    ("5/15 * * * *", "E202", "5/15", "`5-59/15`"),
    ("/15 * * * *", "E202", "/15", "`*/15`"),
    ("*/0 * * * *", "E202", "0", "1 to 59"),
    ("* */24 * * *", "E202", "24", "1 to 23"),
    ("1,,2 * * * *", "E202", "", "0 to 59"),
    ("0 0 L-3 * *", "E202", "L-3", "`LW`"),
    ("0 0 * * L", "E202", "L", "`6L`"),
    ("0 0 * * 1#6", "E202", "1#6", "`1#5`"),
    ("H * * * *", "E202", "H", "`jitter:`"),
    ("0 0 31 2 *", "E203", "31", "`L`"),
    ("0 0 30,31 2 *", "E203", "30,31", "`L`"),
    ("0 0 31W 4,6 *", "E203", "31W", "`L`"),
    ("30m", "E204", "30m", "`every 30m` or `in 30m`"),
    ("5 minutes", "E204", "5 minutes", "`every 5m`"),
    ("90", "E204", "90", "`every 90`"),
    ("daily", "E204", "daily", "`@daily`"),
    ("startup", "E204", "startup", "`@startup`"),
    ("09:00", "E204", "09:00", "`every day at 09:00`"),
    ("every", "E205", "every", "every 5m"),
    ("every 0s", "E205", "0s", "`1s`"),
    ("every 500ms", "E205", "500ms", "`1s`"),
    ("every 5 minutes", "E205", "5 minutes", "`every 5m`"),
    ("every month", "E205", "month", "`@monthly`"),
    ("every blue moon", "E205", "blue moon", "every 5m"),
    ("every 90m at 09:00", "E205", "90m", "every 1d at 09:00"),
    ("in", "E205", "in", "in 30m"),
    ("in 0s", "E205", "0s", "`1s`"),
    ("in 1:30", "E205", "1:30", "`1h30m`"),
    ("every day at 25:00", "E206", "25:00", "23:59"),
    ("every day at 9am", "E206", "9am", "23:59"),
    ("every day at 9:5", "E206", "9:5", "23:59"),
    ("every day at", "E206", "every day at", "at 09:00"),
    ("every day at 09:00 UTC", "E206", "UTC", "list"),
    ("at", "E206", "at", "at 2027"),
    ("at 09:00", "E206", "09:00", "`every day at 09:00`"),
    ("at 2027-02-30T09:00Z", "E206", "2027-02-30T09:00Z", "at 2027"),
    ("at 2027-01-31T09:00[Europe/Berln]", "E207", "Europe/Berln", "`Europe/Berlin`"),
    ("at 2027-01-31T09:00+05:00[Europe/Berlin]", "E206", "2027-01-31T09:00+05:00[Europe/Berlin]", "offset"),
    ("0 0 * * 7-2", "E202", "7-2", "`0-2`"),
    ("0 0 * * 7/2", "E202", "7/2", "`0-6/2`"),
    ("0 0 L/2 * *", "E202", "L/2", "1 to 31"),
    ("0 0 * * MON#2/2", "E202", "MON#2/2", "0 to 7"),
    ("0 22-6/2 * * *", "E202", "22-6/2", "`22,0-6/2`"),
    ("0 21-6/2 * * *", "E202", "21-6/2", "`21-23/2,1-6/2`"),
    ("0 23-1/5 * * *", "E202", "23-1/5", "`23`"),
    ("/99 * * * *", "E202", "/99", "0 to 59"),
    ("0 9 * * mon-fri#2", "E202", "mon-fri#2", "`MON#2,TUE#2`"),
    ("1:30", "E204", "1:30", "`at <date>T01:30`"),
    ("at 9:00 tomorrow", "E206", "9:00 tomorrow", "`every day at 9:00`"),
    ("0 9 * * *\n30 17 * * *", "E201", "0 9 * * *\n30 17 * * *", "list"),
    ("* * * *", "E208", "* * * *", "write five"),
    ("0 0 9 * * 1 2027", "E208", "0 0 9 * * 1 2027", "no year"),
    ("0 9 ? * MON", "E208", "?", "`*`"),
];

#[test]
fn what_is_refused_says_where_and_what_to_write() {
    for &(text, code, marked, help) in REFUSED {
        let finding = refused(text);
        let got = &text[finding.column..finding.column + finding.len];
        assert_eq!((finding.code, got), (code, marked), "`{text}`: {finding}");
        assert!(finding.help.contains(help), "`{text}`: {} does not say {help}", finding.help);
        assert!(!finding.message.is_empty());
    }
}

#[test]
fn what_is_offered_instead_is_taken() {
    for &(text, code, marked, _) in REFUSED {
        let finding = refused(text);
        let offers = finding.help.split('`').skip(1).step_by(2);
        for offer in offers.filter(|_| finding.help.starts_with("write `") && !finding.help.contains("zone"))
        {
            let dated = offer.replace("<date>", "2027-01-31");
            let in_place = text.replacen(marked, &dated, 1);
            let of_a_day = format!("every day {dated}");
            let is_taken = [dated, in_place, of_a_day].iter().any(|text| Schedule::parse(&[text]).is_ok());
            assert!(is_taken, "`{text}` ({code}): {offer}");
        }
    }
}

#[test]
fn a_list_says_which_item_is_wrong() {
    let finding = Schedule::parse(&["@daily", "  0 99 * * *"]).expect_err("99 is no hour");
    assert_eq!((finding.item, finding.column, finding.len), (1, 4, 2));
    assert_eq!(Schedule::parse(&["@daily", "manual"]).expect_err("it stands alone").code, "E201");
    assert_eq!(Schedule::parse(&[]).expect_err("an empty list").code, "E201");
    assert!(Schedule::parse(&vec!["@daily"; SCHEDULE_ITEMS_MAX + 1]).is_err());
    assert!(Schedule::parse(&[&"1,".repeat(SCHEDULE_ITEM_MAX_BYTES)]).is_err());
}

#[test]
fn either_day_is_taken_with_a_warning() {
    let schedule = parsed(" 0 8 1 * MON");
    let [warning] = schedule.warnings() else { panic!("one warning: {:?}", schedule.warnings()) };
    assert_eq!((warning.code, warning.column, warning.len), ("W210", 5, 7));
    assert_eq!(warning.message, "day of month `1` *or* day of week `MON`: it is due when either matches");
    assert_eq!(fires("0 8 2 * MON"), "2027-01-02T08:00 2027-01-04T08:00 2027-01-11T08:00");
    for quiet in ["0 8 1 * *", "0 8 * * 1", "@weekly", "every monday at 09:00"] {
        assert!(parsed(quiet).warnings().is_empty(), "{quiet}");
    }
}

#[test]
fn kinds_are_told_apart() {
    assert!(parsed("manual").is_manual() && Schedule::manual().is_manual());
    assert!(!parsed("@daily").is_manual());
    assert!(parsed("@reboot").has_startup() && !parsed("@daily").has_startup());
    assert!(
        parsed("in 5m").is_one_shot() && !parsed("every 5m").is_one_shot() && !parsed("manual").is_one_shot()
    );
    assert_eq!(parsed("  in 5m ").texts().collect::<Vec<_>>(), ["in 5m"]);
}

#[test]
fn schedules_are_described_as_people_say_them() {
    let table = [
        ("*/2 * * * *", "every 2m"),
        ("* * * * *", "every 1m"),
        ("every 1m", "every 1m"),
        ("*/10 * * * * *", "every 10s"),
        ("0 */6 * * *", "every 6h"),
        ("every 1s", "every 1s"),
        ("0 2 * * *", "daily 02:00 SAST"),
        ("every 1d at 02:00", "daily 02:00 SAST"),
        ("0 8,20 * * *", "daily 08:00, 20:00 SAST"),
        ("29 * * * *", "hourly :29"),
        ("@hourly", "hourly :00"),
        ("0 7 * * 1-5", "07:00 Mon-Fri SAST"),
        ("every monday at 9:00", "09:00 Mon SAST"),
        ("0 9 * * 1,4", "09:00 Mon, Thu SAST"),
        ("@monthly", "monthly, day 1, 00:00 SAST"),
        ("every 90m", "every 1h30m"),
        ("every 3d at 04:05", "every 3d 04:05 SAST"),
        ("in 30m", "once, after 30m"),
        ("at 2027-01-31T09:00", "once Sun 31 Jan 2027 09:00 SAST"),
        ("at 2027-01-31T09:00Z", "once Sun 31 Jan 2027 11:00 SAST"),
        ("@startup", "at startup"),
        ("manual", "manual"),
        ("*/7 * * * *", "*/7 * * * *"),
        ("0 2 L * *", "0 2 L * *"),
        ("0 8 1 * MON", "0 8 1 * MON"),
        ("@yearly", "@yearly"),
    ];
    let zone = Zone::parse("Africa/Johannesburg").expect("a zone");
    for (text, words) in table {
        assert_eq!(parsed(text).describe(&zone), words, "{text}");
    }
    let two = Schedule::parse(&["@startup", "0 2 * * *"]).expect("a list");
    assert_eq!(two.describe(&Zone::UTC), "at startup + daily 02:00 UTC");
    assert_eq!(
        two.describe(&Zone::parse("Europe/Berlin").expect("a zone")),
        "at startup + daily 02:00 Berlin"
    );
}

#[test]
fn a_zone_behind_the_fields_is_told_where_it_belongs() {
    for (text, zone) in [
        ("0 9 * * 1-5 America/New_York", "America/New_York"),
        ("0 9 * * 1-5 Europe/Nowhere", "Europe/Nowhere"),
        ("0 0 9 * * 1-5 UTC", "UTC"),
    ] {
        let error = Schedule::parse(&[text]).unwrap_err();
        assert_eq!((error.code, error.column), ("E202", text.len() - zone.len()));
        assert_eq!(error.help, format!("write `timezone: {zone}` beside `schedule:`"));
    }
    assert!(Schedule::parse(&["0 0 9 * * MON"]).is_ok());
}
