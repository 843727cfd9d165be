//! Tables of what is said.

use super::*;

const HOUR: i64 = 3_600_000;

fn notice(severity: Severity) -> Notice {
    let mut notice = Notice::new(NoticeKind::TaskFailed, "task:t".to_owned(), severity);
    notice.class = Some("exit 1".to_owned());
    notice
}

/// One that was told at 0.
fn told() -> Alert {
    let mut alert = Alert::begin(notice(Severity::Warning), 0, None);
    alert.id = AlertId(1);
    alert.told_ms = Some(0);
    alert
}

fn acked() -> Alert {
    let mut alert = told();
    alert.step(Step::Ack, 1).unwrap();
    alert
}

#[test]
fn a_question_is_never_one_of_many_nor_the_same_again() {
    let before = Before { fresh: 9, storm: Some(AlertId(9)), changes: 9, ..Before::default() };
    let ask = Notice::new(NoticeKind::TicketAsks, "ticket:MC-1".to_owned(), Severity::Warning);
    assert_eq!(raise(&before, ask, 5).1, Say::First);
    let before = Before { changes: 0, ..before };
    let health = Notice::new(NoticeKind::Condition, "condition:health".to_owned(), Severity::Critical);
    assert_eq!(raise(&before, health, 5).1, Say::First);
}

fn muted(until_ms: i64) -> Alert {
    let mut alert = told();
    alert.step(Step::Mute(until_ms), 1).unwrap();
    alert
}

type Row = (&'static str, Before, Severity, i64, Say);

fn open(alert: Alert) -> Before {
    Before { open: Some(alert), ..Before::default() }
}

fn one_by_one() -> Vec<Row> {
    vec![
        ("new", Before::default(), Severity::Warning, 5, Say::First),
        ("new, info", Before::default(), Severity::Info, 5, Say::Nothing(Silence::Info)),
        (
            "new, fingerprint muted",
            Before { muted_until_ms: Some(6), ..Before::default() },
            Severity::Critical,
            5,
            Say::Nothing(Silence::Muted),
        ),
        (
            "new, mute has run out",
            Before { muted_until_ms: Some(5), ..Before::default() },
            Severity::Warning,
            5,
            Say::First,
        ),
        ("again soon", open(told()), Severity::Warning, 5, Say::Update),
        ("again just before the time", open(told()), Severity::Warning, 6 * HOUR - 1, Say::Update),
        ("again after the time", open(told()), Severity::Warning, 6 * HOUR, Say::Again),
        ("worse", open(told()), Severity::Critical, 5, Say::Worse),
        ("acked", open(acked()), Severity::Warning, 9 * HOUR, Say::Update),
        ("acked and worse", open(acked()), Severity::Critical, 5, Say::Worse),
        ("muted", open(muted(100)), Severity::Warning, 5, Say::Nothing(Silence::Muted)),
        ("muted and worse", open(muted(100)), Severity::Critical, 5, Say::Worse),
        ("mute is over", open(muted(100)), Severity::Warning, 101, Say::Update),
        ("mute is over, late", open(muted(100)), Severity::Warning, 7 * HOUR, Say::Again),
    ]
}

fn among_others() -> Vec<Row> {
    let fold = AlertId(9);
    let mut folded = told();
    (folded.told_ms, folded.storm) = (None, Some(AlertId(7)));
    let among_its_like = Before { fold: Some(Severity::Warning), ..open(folded.clone()) };
    let mut graver = folded.clone();
    graver.severity = Severity::Critical;
    let mut untold = told();
    untold.told_ms = None;
    vec![
        ("the third", Before { fresh: 2, ..Before::default() }, Severity::Warning, 5, Say::First),
        ("the fourth", Before { fresh: 3, ..Before::default() }, Severity::Warning, 5, Say::Fold),
        (
            "the fifth",
            Before { fresh: 3, storm: Some(fold), ..Before::default() },
            Severity::Warning,
            5,
            Say::Join(fold),
        ),
        ("folded, again", among_its_like, Severity::Warning, 5, Say::Join(AlertId(7))),
        ("folded and worse", open(folded), Severity::Critical, 5, Say::Worse),
        (
            "folded and worse, and that word was lost",
            Before { fold: Some(Severity::Warning), ..open(graver) },
            Severity::Critical,
            5,
            Say::Worse,
        ),
        (
            "explained",
            Before { is_explained: true, ..Before::default() },
            Severity::Warning,
            5,
            Say::Nothing(Silence::Explained),
        ),
        (
            "critical in spite of it",
            Before { is_explained: true, ..Before::default() },
            Severity::Critical,
            5,
            Say::First,
        ),
        (
            "no longer explained",
            Before { open: Some(untold), ..Before::default() },
            Severity::Warning,
            5,
            Say::First,
        ),
        ("three changes", Before { changes: 3, ..Before::default() }, Severity::Warning, 5, Say::First),
        ("four changes", Before { changes: 4, ..Before::default() }, Severity::Warning, 5, Say::Flapping),
        (
            "four changes, told",
            Before { changes: 9, flap_told_ms: Some(4), ..Before::default() },
            Severity::Warning,
            5,
            Say::Nothing(Silence::Flapping),
        ),
        (
            "told an hour ago",
            Before { changes: 9, flap_told_ms: Some(5), ..Before::default() },
            Severity::Warning,
            HOUR + 5,
            Say::Flapping,
        ),
    ]
}

#[test]
fn what_is_said_of_a_trouble() {
    for (name, before, severity, now_ms, wanted) in one_by_one().into_iter().chain(among_others()) {
        let (alert, say) = raise(&before, notice(severity), now_ms);
        assert_eq!(say, wanted, "{name}");
        let counted = before.open.map_or(1, |open| open.count + 1);
        assert_eq!((alert.count, alert.last_ms), (counted, now_ms), "{name}: silence counts all the same");
    }
}

#[test]
fn what_is_said_of_an_end() {
    let over = |tell| Over {
        subject: "task:t".to_owned(),
        kinds: Vec::new(),
        ending: vec![Part::Text("ok".to_owned())],
        tell,
    };
    let mut untold = told();
    untold.told_ms = None;
    let mut folded = untold.clone();
    folded.storm = Some(AlertId(7));
    let rows = [
        ("told", told(), Tell::Reply, 1, None, Farewell::Reply),
        ("told, quietly", told(), Tell::Edit, 1, None, Farewell::Edit),
        ("told, never", told(), Tell::Never, 1, None, Farewell::Nothing),
        ("acked", acked(), Tell::Reply, 1, None, Farewell::Reply),
        ("muted", muted(HOUR), Tell::Reply, 1, None, Farewell::Edit),
        ("untold", untold, Tell::Reply, 1, None, Farewell::Nothing),
        ("folded", folded, Tell::Reply, 1, None, Farewell::Storm(AlertId(7))),
        ("flapping, once well", told(), Tell::Reply, 4, None, Farewell::NotYet),
    ];
    for (name, alert, tell, changes, flap, wanted) in rows {
        let (after, farewell) = clear(alert, &over(tell), changes, flap, 10);
        assert_eq!(farewell, wanted, "{name}");
        assert_eq!(after.is_over(), wanted != Farewell::NotYet, "{name}");
    }
    let (once, _) = clear(told(), &over(Tell::Reply), 4, None, 10);
    let (again, farewell) = clear(once.clone(), &over(Tell::Reply), 4, Some(9), 11);
    assert_eq!((again.is_over(), farewell), (true, Farewell::Edit), "one message an hour");
    let before = Before { open: Some(once), changes: 4, ..Before::default() };
    let (failed, _) = raise(&before, notice(Severity::Warning), 12);
    assert_eq!(clear(failed, &over(Tell::Reply), 4, None, 13).1, Farewell::NotYet, "counted anew");
}
