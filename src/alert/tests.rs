//! The way from an event to a row, on a real database: what one transaction writes, and what a restart keeps.

use std::time::Duration;

use super::*;
use crate::model::event::{Event, EventKind};
use crate::model::notice::{Notice, NoticeKind, Quiet};
use crate::model::task::Severity;
use dedupe::{Over, Tell};
use outbox::Purpose;

#[path = "tests/folds.rs"]
mod folds;
#[path = "tests/held.rs"]
mod held;
#[path = "tests/lost.rs"]
mod lost;
#[path = "tests/queue.rs"]
mod queue;
#[path = "tests/stumbles.rs"]
mod stumbles;

struct Bench {
    _dir: tempfile::TempDir,
    store: Store,
    journal: Journal,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 0).unwrap().store;
        let journal = Journal::new(store.clone());
        Self { _dir: dir, store, journal }
    }

    async fn alerts(&self, quiet: Option<QuietHours>) -> Alerts {
        let bot = Telegram::new("1:x".to_owned().into(), "http://127.0.0.1:9").unwrap();
        let settings = Settings {
            bot: Some(bot),
            chat: Some(5),
            topics: Topics::default(),
            has_users: true,
            quiet,
            zone: TimeZone::UTC,
            pace: Pace::default(),
        };
        let clock = Clock::system();
        Alerts::open(self.store.clone(), self.journal.clone(), clock, settings).await.unwrap()
    }
}

/// The row that goes next.
fn next(conn: &rusqlite::Connection, now_ms: i64) -> rusqlite::Result<Option<outbox::Queued>> {
    outbox::table::next_id(conn, now_ms)?.map(|id| outbox::table::get(conn, id)).transpose()
}

fn notice(n: usize) -> Notice {
    let mut notice = Notice::new(NoticeKind::TaskFailed, format!("task:t{n}"), Severity::Warning);
    notice.cause = Some("No space left on device".to_owned());
    notice
}

fn over(n: usize, tell: Tell) -> Over {
    Over { subject: format!("task:t{n}"), kinds: Vec::new(), ending: Vec::new(), tell }
}

async fn all(alerts: &Alerts) -> Vec<AlertView> {
    alerts.list(Query { limit: 500, ..Query::default() }).await.unwrap()
}

/// Every message that is to be sent, oldest first: purpose and state.
fn messages(views: &[AlertView]) -> Vec<(i64, Purpose, DeliveryState)> {
    let mut rows: Vec<_> = views
        .iter()
        .flat_map(|view| view.deliveries.iter().map(|d| (view.alert.id.0, d.purpose, d.state)))
        .collect();
    rows.sort_by_key(|(id, _, _)| *id);
    rows
}

#[tokio::test]
async fn two_thousand_troubles_of_one_cause_are_four_messages() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            for n in 0..2_000 {
                desk.raise(notice(n))?;
                desk.raise(notice(n))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let waiting = alerts.waiting().await.unwrap();
    assert_eq!(waiting.pending, 4, "three by themselves and one for the rest");
    let newest = alerts.list(Query { limit: 500, ..Query::default() }).await.unwrap();
    let folded = newest.iter().filter(|view| view.alert.storm.is_some()).count();
    assert!(folded >= 499, "{folded}");
    let storm = alerts.get(newest[0].alert.storm.unwrap()).await.unwrap().unwrap();
    assert!(storm.text.contains("2000 things went wrong"), "{}", storm.text);
    assert!(storm.text.contains("No space left on device") && storm.text.contains("more"), "{}", storm.text);
    alerts
        .at_desk(|desk, _| {
            for n in 0..2_000 {
                desk.clear(&over(n, Tell::Reply))?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let waiting = alerts.waiting().await.unwrap();
    assert_eq!(waiting.pending, 8, "as many words of their end");
    let open = alerts.list(Query { states: vec![AlertState::Firing], before: None, limit: 9 }).await.unwrap();
    assert!(open.is_empty(), "the fold ends with its last: {open:?}");
}

#[tokio::test]
async fn critical_ones_are_folded_apart_and_go_first() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            (0..3).try_for_each(|n| desk.raise(notice(n)))?;
            let mut grave = notice(9);
            grave.severity = Severity::Critical;
            Ok(desk.raise(grave)?)
        })
        .await
        .unwrap();
    let next = bench.store.read(|conn| Ok::<_, StoreError>(next(conn, i64::MAX)?.unwrap())).await.unwrap();
    assert_eq!(next.severity, Severity::Critical);
}

#[tokio::test]
async fn a_question_waits_for_the_morning_and_one_that_is_answered_is_never_sent() {
    let bench = Bench::new();
    // All day but a minute: whenever this runs, it is quiet or about to be.
    let now = Clock::system().wall().to_zoned(TimeZone::UTC).time();
    let to = now.wrapping_sub(jiff::Span::new().hours(1));
    let alerts =
        bench.alerts(Some(QuietHours { from: now.wrapping_sub(jiff::Span::new().minutes(1)), to })).await;
    alerts
        .at_desk(|desk, _| {
            for (n, severity) in [(1, Severity::Warning), (2, Severity::Critical)] {
                let mut ask = Notice::new(NoticeKind::TicketAsks, format!("ticket:MC-{n}"), severity);
                ask.quiet = Quiet::Wait;
                desk.raise(ask)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let now_ms = Clock::system().wall_ms();
    let due = |store: Store| async move {
        store.read(move |conn| Ok::<_, StoreError>(next(conn, now_ms + 1000)?)).await.unwrap()
    };
    let next = due(bench.store.clone()).await.expect("the critical one goes at once");
    assert_eq!(next.severity, Severity::Critical);
    bench
        .store
        .write(move |tx| {
            outbox::table::begin(tx, next.id)?;
            Ok::<_, StoreError>(outbox::table::delivered(tx, next.id, (5, 1), 1)?)
        })
        .await
        .unwrap();
    assert_eq!(due(bench.store.clone()).await, None, "the other waits");
    alerts
        .at_desk(|desk, _| {
            desk.clear(&Over { subject: "ticket:MC-1".into(), ..over(0, Tell::Edit) })
                .map_err(AlertError::from)
        })
        .await
        .unwrap();
    let views = all(&alerts).await;
    let first = views.iter().find(|view| view.alert.notice.subject == "ticket:MC-1").unwrap();
    assert_eq!(first.deliveries[0].state, DeliveryState::Dropped);
}

#[tokio::test]
async fn a_restart_neither_repeats_nor_forgets() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let row = bench
        .store
        .write(|tx| {
            let row = next(tx, i64::MAX)?.unwrap();
            outbox::table::begin(tx, row.id)?;
            Ok::<_, StoreError>(row)
        })
        .await
        .unwrap();
    assert!(!row.is_doubtful);
    // Killed in the middle of the call.
    let again = bench.alerts(None).await;
    let row = bench.store.read(|conn| Ok::<_, StoreError>(next(conn, i64::MAX)?.unwrap())).await.unwrap();
    assert!(row.is_doubtful, "it may have come through");
    again.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let views = all(&again).await;
    assert_eq!((views.len(), views[0].alert.count), (1, 2));
    assert_eq!(messages(&views), [(1, Purpose::First, DeliveryState::Pending)]);
}

#[tokio::test]
async fn people_take_note_mute_and_unmute() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let id = AlertId(1);
    assert_eq!(alerts.ack(id, "cli:a").await.unwrap().state, AlertState::Acked);
    assert_eq!(alerts.ack(id, "cli:a").await.unwrap().state, AlertState::Acked, "twice is once");
    let muted = alerts.mute(id, Duration::from_secs(3600), "cli:b").await.unwrap();
    assert_eq!((muted.state, muted.alert.actor.as_deref()), (AlertState::Muted, Some("cli:b")));
    // It ends and begins again: the mute is about the trouble, not about this row.
    alerts.at_desk(|desk, _| Ok(desk.clear(&over(1, Tell::Reply))?)).await.unwrap();
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let views = all(&alerts).await;
    assert_eq!((views[0].alert.id, views[0].state), (AlertId(2), AlertState::Muted));
    assert!(views[0].deliveries.is_empty());
    assert_eq!(alerts.mutes().await.unwrap().len(), 1);
    assert!(matches!(alerts.ack(id, "cli:a").await, Err(AlertError::Illegal(_))), "it is over");
    alerts.unmute(AlertId(2), "cli:b").await.unwrap();
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    assert_eq!(all(&alerts).await[0].deliveries.len(), 1, "said at the next chance");
    assert!(matches!(alerts.ack(AlertId(99), "x").await, Err(AlertError::NoAlert(_))));
    let kinds: Vec<EventKind> = bench
        .journal
        .after(0, 100, crate::journal::Filter::default())
        .await
        .unwrap()
        .into_iter()
        .map(|recorded| recorded.event.kind)
        .collect();
    assert_eq!(
        kinds,
        [EventKind::AlertAcked, EventKind::AlertAcked, EventKind::AlertMuted, EventKind::AlertUnmuted]
    );
}

#[tokio::test]
async fn what_lasts_is_said_again_and_what_fades_is_over() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            let mut lasting = Notice::new(NoticeKind::Condition, "condition:x".into(), Severity::Warning);
            (lasting.again, lasting.repeat_ms) = (crate::model::notice::Again::Lasting, 0);
            desk.raise(lasting)?;
            // Before the first has gone there is nothing to be said again.
            desk.sweep()?;
            let first = next(desk.conn, i64::MAX)?.unwrap();
            outbox::table::begin(desk.conn, first.id)?;
            outbox::table::delivered(desk.conn, first.id, (5, 1), desk.now_ms)?;
            let mut fading = Notice::new(NoticeKind::DiskFull, "daemon:disk".into(), Severity::Critical);
            fading.fades_ms = Some(0);
            desk.raise(fading)?;
            desk.sweep()?;
            Ok(())
        })
        .await
        .unwrap();
    let views = all(&alerts).await;
    let purposes: Vec<Purpose> = messages(&views).into_iter().map(|(_, purpose, _)| purpose).collect();
    assert_eq!(purposes.iter().filter(|purpose| **purpose == Purpose::Again).count(), 1);
    let disk = views.iter().find(|view| view.alert.notice.kind == NoticeKind::DiskFull).unwrap();
    assert_eq!(disk.state, AlertState::Resolved);
    assert!(disk.deliveries.iter().any(|delivery| delivery.purpose == Purpose::Recovery));
}

#[tokio::test]
async fn old_rows_go_and_nothing_that_is_open() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            (0..9).try_for_each(|n| desk.raise(notice(n)))?;
            (1..9).try_for_each(|n| desk.clear(&over(n, Tell::Reply)))?;
            Ok(())
        })
        .await
        .unwrap();
    bench
        .store
        .write(|tx| Ok::<_, StoreError>(outbox::stale::table::expire(tx, i64::MAX, i64::MAX - 1)?))
        .await
        .unwrap();
    while alerts.trim(i64::MAX).await.unwrap() > 0 {}
    let left = all(&alerts).await;
    let subjects: Vec<&str> = left.iter().map(|view| view.alert.notice.subject.as_str()).collect();
    assert_eq!(subjects, ["task:t0"], "only the open one stays");
}

#[tokio::test]
async fn a_fresh_database_begins_with_what_happens_now() {
    let bench = Bench::new();
    let journal = bench.journal.clone();
    bench.store.write(move |tx| journal.record(tx, 1, Event::new(EventKind::DiskFull))).await.unwrap();
    let _alerts = bench.alerts(None).await;
    assert_eq!(bench.journal.cursor(CURSOR).await.unwrap(), Some(1));
}
