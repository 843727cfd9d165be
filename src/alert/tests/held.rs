//! What was held back, and when it is told after all.

use super::*;
use crate::model::notice::Again;

fn health(cause: Option<&str>) -> Notice {
    let mut notice = Notice::new(NoticeKind::Condition, "condition:health".into(), Severity::Critical);
    notice.again = Again::Lasting;
    notice.cause = cause.map(str::to_owned);
    notice
}

fn well() -> Over {
    Over { subject: "condition:health".into(), ..over(0, Tell::Reply) }
}

/// Purposes of messages of their own about `task:t{n}`.
async fn said(alerts: &Alerts, n: usize) -> Vec<Purpose> {
    let subject = format!("task:t{n}");
    let views = all(alerts).await;
    let of = views.iter().filter(|view| view.alert.notice.subject == subject);
    let purposes = of.flat_map(|view| view.deliveries.iter().map(|delivery| delivery.purpose));
    purposes.filter(|purpose| *purpose != Purpose::Edit).collect()
}

async fn sweep(alerts: &Alerts) -> usize {
    alerts.at_desk(|desk, _| Ok(desk.sweep()?)).await.unwrap()
}

#[tokio::test]
async fn a_sick_disk_silences_tasks_until_it_is_well_and_no_other_trouble_does() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            desk.raise(health(None))?;
            Ok(desk.raise(notice(1))?)
        })
        .await
        .unwrap();
    assert_eq!(said(&alerts, 1).await, [Purpose::First], "failed runs explain no failure");
    alerts
        .at_desk(|desk, _| {
            desk.raise(health(Some("2% free on /")))?;
            Ok(desk.raise(notice(2))?)
        })
        .await
        .unwrap();
    assert!(said(&alerts, 2).await.is_empty(), "explained");
    assert_eq!(sweep(&alerts).await, 0, "still explained");
    alerts
        .at_desk(|desk, _| {
            desk.clear(&well())?;
            desk.clear(&over(1, Tell::Never))?;
            assert!(desk.is_due()?);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(sweep(&alerts).await, 1);
    assert_eq!(said(&alerts, 2).await, [Purpose::First], "it goes on, and nothing explains it any more");
    assert_eq!(sweep(&alerts).await, 0, "told once");
}

#[tokio::test]
async fn a_sick_disk_that_somebody_took_note_of_explains_nothing() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            desk.raise(health(Some("2% free on /")))?;
            Ok(desk.raise(notice(1))?)
        })
        .await
        .unwrap();
    assert!(said(&alerts, 1).await.is_empty());
    alerts.ack(AlertId(1), "cli:a").await.unwrap();
    sweep(&alerts).await;
    assert_eq!(said(&alerts, 1).await, [Purpose::First]);
}

#[tokio::test]
async fn what_began_muted_is_told_when_the_mute_has_run_out() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, tx| {
            let what = (notice(1).fingerprint(), Severity::Warning);
            mutes::table::mute(tx, (what.0.as_str(), what.1), desk.now_ms + 60_000, "cli:a")?;
            desk.raise(notice(1))?;
            assert!(!desk.is_due()? && desk.sweep()? == 0);
            let late = Desk { now_ms: desk.now_ms + 60_000, ..*desk };
            assert!(late.is_due()?);
            late.sweep()?;
            assert!(!late.is_due()?);
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(said(&alerts, 1).await, [Purpose::First]);
}

#[tokio::test]
async fn a_snooze_ends_with_its_question_and_a_mute_does_not() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let snoozed = alerts.snooze(AlertId(1), Duration::from_secs(3600), "telegram:7").await.unwrap();
    assert_eq!(snoozed.state, AlertState::Muted);
    alerts
        .at_desk(|desk, _| {
            desk.clear(&over(1, Tell::Never))?;
            Ok(desk.raise(notice(1))?)
        })
        .await
        .unwrap();
    let newest = &all(&alerts).await[0];
    assert_eq!((newest.alert.id, newest.state), (AlertId(2), AlertState::Firing));
    assert!(matches!(
        alerts.snooze(AlertId(1), Duration::from_secs(1), "telegram:7").await,
        Err(AlertError::Illegal(_))
    ));
}

#[tokio::test]
async fn what_comes_and_goes_is_not_told_by_the_time_alone() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let flap = || {
        let mut flap = Notice::new(NoticeKind::Condition, "condition:x".into(), Severity::Warning);
        flap.again = Again::Lasting;
        flap
    };
    let gone = Over { subject: "condition:x".into(), ..over(0, Tell::Reply) };
    alerts
        .at_desk(move |desk, _| {
            for _ in 0..3 {
                desk.raise(flap())?;
                desk.clear(&gone)?;
                assert!(table::open_about(desk.conn, "condition:x", &[])?.is_empty(), "a word ends it");
            }
            desk.raise(flap())?;
            assert!(!desk.is_due()?, "said once an hour");
            let late = Desk { now_ms: desk.now_ms + dedupe::FLAP_WINDOW_MS + 1, ..*desk };
            assert!(late.is_due()?, "it has lasted for an hour now");
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(sweep(&alerts).await, 0);
}

#[tokio::test]
async fn what_was_put_off_is_said_again_once_and_not_over_a_mute() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    folds::deliver(&alerts).await;
    let (id, now_ms) = (AlertId(1), Clock::system().wall_ms());
    alerts.mute(id, Duration::from_secs(3_600), "telegram:7").await.unwrap();
    // Whoever puts it off after that does not end the mute of the trouble.
    alerts.snooze(id, Duration::ZERO, "telegram:7").await.unwrap();
    let until_ms = alerts.remind(id, i64::MAX).await.unwrap().unwrap();
    assert!((3_500_000..3_700_000).contains(&(until_ms - now_ms)), "{until_ms}");
    assert_eq!(said(&alerts, 1).await, [Purpose::First]);
    alerts.unmute(id, "telegram:7").await.unwrap();
    assert_eq!(alerts.remind(id, now_ms - 3_600_000).await.unwrap(), None);
    assert_eq!(said(&alerts, 1).await, [Purpose::First], "it was said since then");
    alerts.snooze(id, Duration::ZERO, "telegram:7").await.unwrap();
    assert_eq!(alerts.remind(id, i64::MAX).await.unwrap(), None);
    assert_eq!(said(&alerts, 1).await, [Purpose::First, Purpose::Again]);
    assert_eq!(all(&alerts).await[0].state, AlertState::Firing);
}
