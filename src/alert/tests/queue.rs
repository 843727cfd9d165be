//! Rows of the outbox that get into each other's way, and that none of them stops the rest.

use super::*;
use crate::alert::outbox::{Queued, table};

impl Bench {
    /// Takes up the next row as if its call were made.
    async fn begin(&self) -> Queued {
        self.store
            .write(|tx| {
                let row = next(tx, i64::MAX)?.unwrap();
                assert!(table::begin(tx, row.id)?);
                Ok::<_, StoreError>(row)
            })
            .await
            .unwrap()
    }

    async fn deliver(&self, message: i32) -> Queued {
        let row = self.begin().await;
        self.store
            .write(move |tx| Ok::<_, StoreError>(table::delivered(tx, row.id, (5, message), 1)?))
            .await
            .unwrap();
        row
    }

    /// State of a row.
    async fn state(&self, id: i64) -> DeliveryState {
        let row = self.store.read(move |conn| Ok::<_, StoreError>(table::outcome(conn, id)?)).await;
        row.unwrap().unwrap().state
    }

    /// An edit that is being made, behind which another one waits; the first of them.
    async fn two_edits(&self, alerts: &Alerts) -> Queued {
        alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
        self.deliver(1).await;
        alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
        let edit = self.begin().await;
        assert_eq!(edit.purpose, Purpose::Edit);
        alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
        edit
    }
}

#[tokio::test]
async fn an_edit_that_failed_gives_way_to_a_newer_one() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let edit = bench.two_edits(&alerts).await;
    let row = edit.clone();
    bench
        .store
        .write(move |tx| Ok::<_, StoreError>(table::put_back(tx, &row, Some("no way"), (2, 2))?))
        .await
        .unwrap();
    assert_eq!(bench.state(edit.id).await, DeliveryState::Dropped);
    let next = bench.begin().await;
    assert_eq!((next.purpose, next.original), (Purpose::Edit, edit.original));
    assert_ne!(next.id, edit.id);
    // Alone it is tried again.
    let row = next.clone();
    bench.store.write(move |tx| Ok::<_, StoreError>(table::put_back(tx, &row, None, (2, 2))?)).await.unwrap();
    assert_eq!(bench.state(next.id).await, DeliveryState::Pending);
}

#[tokio::test]
async fn a_daemon_killed_in_an_edit_that_a_newer_one_waits_behind_starts_again() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let edit = bench.two_edits(&alerts).await;
    let _again = bench.alerts(None).await;
    assert_eq!(bench.state(edit.id).await, DeliveryState::Dropped);
    let newer = bench.begin().await;
    assert_eq!((newer.purpose, newer.original), (Purpose::Edit, edit.original));
    // Two of them at once, as nothing should leave them.
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let newest = bench.begin().await;
    let _again = bench.alerts(None).await;
    assert_eq!(bench.state(newer.id).await, DeliveryState::Dropped);
    assert_eq!(bench.state(newest.id).await, DeliveryState::Pending);
}

#[tokio::test]
async fn a_row_that_is_put_back_lets_the_others_pass() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok((1..3).try_for_each(|n| desk.raise(notice(n)))?)).await.unwrap();
    let now_ms = Clock::system().wall_ms();
    let first = bench.begin().await;
    let row = first.clone();
    bench
        .store
        .write(move |tx| {
            Ok::<_, StoreError>(table::put_back(tx, &row, Some("500"), (now_ms + 60_000, now_ms))?)
        })
        .await
        .unwrap();
    let at = |ms: i64| {
        let store = bench.store.clone();
        async move { store.read(move |conn| Ok::<_, StoreError>(table::next_id(conn, ms)?)).await.unwrap() }
    };
    let second = at(now_ms + 30_000).await.unwrap();
    assert!(second > first.id);
    assert_eq!(at(now_ms + 60_000).await, Some(first.id), "its time has come again");
}

#[tokio::test]
async fn an_end_answers_the_newest_message_that_arrived() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let first = bench.deliver(1).await;
    alerts
        .at_desk(|desk, _| {
            let mut worse = notice(1);
            worse.severity = Severity::Critical;
            desk.raise(worse)?;
            let lost = next(desk.conn, i64::MAX)?.unwrap();
            table::end(desk.conn, lost.id, DeliveryState::Dead, Some("refused"), desk.now_ms)?;
            desk.clear(&over(1, Tell::Reply))?;
            Ok(())
        })
        .await
        .unwrap();
    let recovery = loop {
        let row = bench.begin().await;
        if row.purpose == Purpose::Recovery {
            break row;
        }
    };
    assert_eq!(recovery.original, Some(first.id));
}

#[tokio::test]
async fn a_message_in_a_chat_that_is_no_more_is_left_alone() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let first = bench.begin().await;
    let id = first.id;
    // The settings name chat 5 now.
    bench.store.write(move |tx| Ok::<_, StoreError>(table::delivered(tx, id, (99, 1), 1)?)).await.unwrap();
    alerts.at_desk(|desk, _| Ok(desk.clear(&over(1, Tell::Edit))?)).await.unwrap();
    let edit = bench.store.read(|conn| Ok::<_, StoreError>(next(conn, i64::MAX)?.unwrap())).await.unwrap();
    assert_eq!((edit.purpose, edit.original), (Purpose::Edit, Some(id)));
    let stop = tokio_util::sync::CancellationToken::new();
    let courier = tokio::spawn(alerts.clone().deliver(stop.clone()));
    while !bench.state(edit.id).await.is_ended() {
        assert!(!courier.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    courier.await.unwrap();
    // There is no way out of here: had it been called, it would have been put back.
    assert_eq!(bench.state(edit.id).await, DeliveryState::Dropped);
    assert_eq!(alerts.channel(0).await.unwrap().0.broken, None);
}

#[tokio::test]
async fn nothing_is_said_again_before_the_first_word_has_gone() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts
        .at_desk(|desk, _| {
            let mut often = notice(1);
            often.repeat_ms = 0;
            desk.raise(often.clone())?;
            Ok(desk.raise(often)?)
        })
        .await
        .unwrap();
    assert_eq!(messages(&all(&alerts).await), [(1, Purpose::First, DeliveryState::Pending)]);
    bench.deliver(1).await;
    alerts
        .at_desk(|desk, _| {
            let mut often = notice(1);
            often.repeat_ms = 0;
            Ok(desk.raise(often)?)
        })
        .await
        .unwrap();
    let purposes: Vec<Purpose> =
        messages(&all(&alerts).await).iter().map(|(_, purpose, _)| *purpose).collect();
    assert_eq!(purposes, [Purpose::First, Purpose::Again]);
}

#[tokio::test]
async fn what_is_marked_as_being_sent_is_taken_up_while_nobody_sends() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    alerts.at_desk(|desk, _| Ok(desk.raise(notice(1))?)).await.unwrap();
    let row = bench.begin().await;
    {
        let _turn = alerts.0.calling.lock().await;
        alerts.mend_line().await;
        assert_eq!(bench.state(row.id).await, DeliveryState::Sending, "somebody is at it");
    }
    for _ in 0..3 {
        alerts.mend_line().await;
        assert_eq!(bench.state(row.id).await, DeliveryState::Pending);
        assert!(bench.begin().await.is_doubtful);
    }
    alerts.mend_line().await;
    assert_eq!(bench.state(row.id).await, DeliveryState::Sending, "not for ever");
}

#[tokio::test]
async fn what_is_in_line_neither_dies_of_a_clock_that_is_set_nor_waits_for_it() {
    const YEAR_MS: i64 = 365 * 24 * 3_600_000;
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    for step_ms in [YEAR_MS, -YEAR_MS] {
        alerts
            .at_desk(move |desk, tx| {
                let text = || vec![crate::model::notice::Part::Text("x".to_owned())];
                let before = Desk { now_ms: desk.now_ms - step_ms, ..*desk };
                let old = before.text(Purpose::Brief, crate::model::notice::Topic::Briefs, text())?;
                let new = desk.text(Purpose::Brief, crate::model::notice::Topic::Briefs, text())?;
                desk.shift(step_ms)?;
                assert_eq!(desk.sweep()?, 0);
                for row in [old, new] {
                    let created_ms = table::get(tx, row)?.created_ms;
                    assert!((created_ms - desk.now_ms).abs() < 1_000, "{created_ms} {step_ms}");
                    assert_eq!(table::next_id(tx, desk.now_ms)?, Some(row));
                    table::end(tx, row, DeliveryState::Dropped, None, desk.now_ms)?;
                }
                Ok(())
            })
            .await
            .unwrap();
    }
}
