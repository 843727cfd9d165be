//! What is asked of a fold holds for what it holds.

use super::*;

/// Enough of them that the last is folded; the fold's number.
async fn folded(alerts: &Alerts) -> AlertId {
    alerts.at_desk(|desk, _| Ok((0..5).try_for_each(|n| desk.raise(notice(n)))?)).await.unwrap();
    let views = all(alerts).await;
    views.iter().find_map(|view| view.alert.storm).unwrap()
}

/// They all happen again, this long after the last time; what there is to send about the fold since then.
async fn again(alerts: &Alerts, after_ms: i64, fold: AlertId) -> Vec<Purpose> {
    let known = alerts.get(fold).await.unwrap().unwrap().deliveries.len();
    alerts
        .at_desk(move |desk, _| {
            let late = Desk { now_ms: desk.now_ms + after_ms, ..*desk };
            Ok((3..5).try_for_each(|n| late.raise(notice(n)))?)
        })
        .await
        .unwrap();
    let sent = alerts.get(fold).await.unwrap().unwrap().deliveries;
    sent[known..].iter().map(|sent| sent.purpose).filter(|purpose| *purpose != Purpose::Edit).collect()
}

pub(super) async fn deliver(alerts: &Alerts) {
    alerts
        .at_desk(|_, tx| {
            for (n, row) in (1..).zip(std::iter::repeat_with(|| next(tx, i64::MAX))) {
                let Some(row) = row? else { break };
                outbox::table::begin(tx, row.id)?;
                outbox::table::delivered(tx, row.id, (5, n), 1)?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_is_acknowledged_or_muted_says_nothing_again() {
    const DAY_MS: i64 = 24 * 3_600_000;
    for is_mute in [false, true] {
        let bench = Bench::new();
        let alerts = bench.alerts(None).await;
        let fold = folded(&alerts).await;
        deliver(&alerts).await;
        assert_eq!(again(&alerts, DAY_MS, fold).await, [Purpose::Again], "nobody has said a word");
        deliver(&alerts).await;
        if is_mute {
            alerts.mute(fold, Duration::from_secs(10 * 86_400), "cli:a").await.unwrap();
        } else {
            alerts.ack(fold, "cli:a").await.unwrap();
        }
        deliver(&alerts).await;
        assert_eq!(again(&alerts, 5 * DAY_MS, fold).await, []);
        let state = if is_mute { AlertState::Muted } else { AlertState::Acked };
        let members = all(&alerts).await.into_iter().filter(|view| view.alert.storm == Some(fold));
        assert!(members.map(|view| view.state).eq([state, state]));
        // What nobody has spoken of joins as ever, and still rings no bell.
        alerts
            .at_desk(move |desk, _| {
                let late = Desk { now_ms: desk.now_ms + 5 * DAY_MS, ..*desk };
                let mut joins = notice(9);
                joins.class = Some("new".to_owned());
                let mut alert = Alert::begin(joins, late.now_ms, None);
                alert.storm = Some(fold);
                Ok(late.say(alert, dedupe::Say::Join(fold), (0, false))?)
            })
            .await
            .unwrap();
        let sent = alerts.get(fold).await.unwrap().unwrap().deliveries;
        assert_eq!(sent.iter().filter(|sent| sent.purpose == Purpose::Again).count(), 1);
    }
}

#[tokio::test]
async fn a_mute_of_a_fold_holds_for_the_next_one_and_for_what_was_in_it() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let fold = folded(&alerts).await;
    deliver(&alerts).await;
    alerts.mute(fold, Duration::from_secs(3_600), "cli:a").await.unwrap();
    alerts
        .at_desk(|desk, _| {
            (0..5).try_for_each(|n| desk.clear(&over(n, Tell::Edit)))?;
            let late = Desk { now_ms: desk.now_ms + 600_000, ..*desk };
            late.raise(notice(3))?;
            Ok((10..15).try_for_each(|n| late.raise(notice(n)))?)
        })
        .await
        .unwrap();
    let views = all(&alerts).await;
    let newest = |n: usize| {
        let subject = format!("task:t{n}");
        views.iter().find(|view| view.alert.notice.subject == subject).unwrap()
    };
    assert_eq!(newest(3).state, AlertState::Muted);
    let next = newest(14).alert.storm.unwrap();
    assert_ne!(next, fold);
    let next = alerts.get(next).await.unwrap().unwrap();
    assert_eq!((next.state, next.deliveries.len()), (AlertState::Muted, 0));
    alerts
        .at_desk(|desk, _| {
            let late = Desk { now_ms: desk.now_ms + 3_700_000, ..*desk };
            Ok(late.sweep()?)
        })
        .await
        .unwrap();
    let next = alerts.get(next.alert.id).await.unwrap().unwrap();
    assert_eq!(next.deliveries.len(), 1, "its mute has run out and it goes on");
    // And back.
    alerts.unmute(fold, "cli:a").await.unwrap();
    assert!(alerts.mutes().await.unwrap().iter().all(|(key, ..)| !key.starts_with("storm")));
}
