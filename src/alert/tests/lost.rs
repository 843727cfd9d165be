//! Messages that died, rows that are damaged, mutes that were said of something lesser: what is told all the same.

use super::*;
use crate::alert::outbox::{Channel, table as rows};
use crate::model::ids::RunId;
use crate::model::notice::Part;

impl Bench {
    /// The next message is taken, and no number is told of it: it dies of itself.
    async fn die_alone(&self) {
        self.store
            .write(|tx| {
                let row = next(tx, i64::MAX)?.unwrap();
                assert!(rows::begin(tx, row.id)?);
                Ok::<_, StoreError>(rows::end(tx, row.id, DeliveryState::Dead, Some("no number"), 9)?)
            })
            .await
            .unwrap();
    }

    /// The next message meets a way to people that is shut.
    async fn die(&self) -> i64 {
        self.store
            .write(|tx| {
                let row = next(tx, i64::MAX)?.unwrap();
                assert!(rows::begin(tx, row.id)?);
                rows::end(tx, row.id, DeliveryState::Dead, Some("bot was blocked"), 9)?;
                rows::untell(tx, row.id)?;
                Ok::<_, StoreError>(row.id)
            })
            .await
            .unwrap()
    }

    async fn set_broken(&self, why: Option<&str>) {
        let channel =
            Channel { broken: why.map(str::to_owned), since_ms: why.map(|_| 1), ..Channel::default() };
        self.store.write(move |tx| Ok::<_, StoreError>(rows::set_channel(tx, &channel)?)).await.unwrap();
    }

    async fn arrive(&self, message: i32) {
        self.store
            .write(move |tx| {
                let row = next(tx, i64::MAX)?.unwrap();
                rows::begin(tx, row.id)?;
                rows::delivered(tx, row.id, (5, message), 1)?;
                Ok::<_, StoreError>(rows::untell_dead(tx)?)
            })
            .await
            .unwrap();
    }
}

async fn raise(alerts: &Alerts, notice: Notice) {
    alerts.at_desk(move |desk, _| Ok(desk.raise(notice.clone())?)).await.unwrap();
}

async fn end(alerts: &Alerts, n: usize) {
    alerts.at_desk(move |desk, _| Ok(desk.clear(&over(n, Tell::Reply))?)).await.unwrap();
}

async fn sweep(alerts: &Alerts) -> usize {
    alerts.at_desk(|desk, _| Ok(desk.sweep()?)).await.unwrap()
}

fn grave(n: usize) -> Notice {
    Notice { severity: Severity::Critical, ..notice(n) }
}

#[tokio::test]
async fn what_died_while_nothing_got_through_is_told_once_when_something_does() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    raise(&alerts, notice(2)).await;
    bench.die().await;
    bench.die().await;
    bench.set_broken(Some("bot was blocked")).await;
    assert_eq!(sweep(&alerts).await, 0, "nothing gets through yet");
    // The second is over by then: it is left to whoever looks.
    end(&alerts, 2).await;
    bench.set_broken(None).await;
    assert!(alerts.at_desk(|desk, _| Ok(desk.is_due()?)).await.unwrap());
    assert_eq!(sweep(&alerts).await, 1);
    assert_eq!(sweep(&alerts).await, 0, "once");
    assert_eq!(
        messages(&all(&alerts).await),
        [
            (1, Purpose::First, DeliveryState::Dead),
            (1, Purpose::First, DeliveryState::Pending),
            (2, Purpose::First, DeliveryState::Dead),
        ]
    );
    assert_eq!(alerts.channel(0).await.unwrap().1.alerts, 1, "what is over matters no more");
    bench.arrive(1).await;
    let (_, outbox::lost::Lost { alerts: lost, why, .. }) = alerts.channel(0).await.unwrap();
    assert_eq!((lost, why), (0, None), "all is told");
}

#[tokio::test]
async fn who_read_the_first_word_hears_again_and_of_the_end() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    bench.arrive(1).await;
    raise(&alerts, grave(1)).await;
    bench.die().await;
    assert_eq!(sweep(&alerts).await, 1);
    let last = |views: &[AlertView]| messages(views).last().map(|(_, purpose, state)| (*purpose, *state));
    assert_eq!(last(&all(&alerts).await), Some((Purpose::Again, DeliveryState::Pending)));
    bench.die().await;
    end(&alerts, 1).await;
    assert_eq!(last(&all(&alerts).await), Some((Purpose::Recovery, DeliveryState::Pending)));
}

#[tokio::test]
async fn what_dies_again_and_again_is_left_to_whoever_looks() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    let mut deaths = 0;
    loop {
        bench.die().await;
        deaths += 1;
        if sweep(&alerts).await == 0 {
            break;
        }
    }
    assert_eq!(deaths, 5);
}

#[tokio::test]
async fn what_nobody_could_be_told_within_a_day_is_told_after_it() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    alerts
        .at_desk(|desk, _| {
            let late = Desk { now_ms: desk.now_ms + outbox::GIVE_UP_MS + 1, ..*desk };
            assert_eq!(late.sweep()?, 2, "one is given up, one is made");
            Ok(())
        })
        .await
        .unwrap();
    let told = messages(&all(&alerts).await);
    assert_eq!(told, [(1, Purpose::First, DeliveryState::Dead), (1, Purpose::First, DeliveryState::Pending)]);
}

#[tokio::test]
async fn what_gets_worse_breaks_the_mute_of_the_lesser_thing() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    bench.arrive(1).await;
    let muted = alerts.mute(AlertId(1), Duration::from_secs(3600), "user:a").await.unwrap();
    assert!(muted.is_heard);
    raise(&alerts, notice(1)).await;
    assert_eq!(all(&alerts).await[0].state, AlertState::Muted, "the same thing again");
    raise(&alerts, grave(1)).await;
    let views = all(&alerts).await;
    assert_eq!((views[0].state, alerts.mutes().await.unwrap().len()), (AlertState::Firing, 0));
    assert_eq!(messages(&views).last().unwrap().1, Purpose::Worse);
    // Muted, over, and begun anew in a graver way; and what was muted as grave stays so.
    raise(&alerts, notice(2)).await;
    alerts.mute(AlertId(2), Duration::from_secs(3600), "user:a").await.unwrap();
    end(&alerts, 2).await;
    raise(&alerts, grave(2)).await;
    assert_eq!(all(&alerts).await[0].state, AlertState::Firing);
    alerts.mute(AlertId(3), Duration::from_secs(3600), "user:a").await.unwrap();
    end(&alerts, 2).await;
    raise(&alerts, grave(2)).await;
    assert_eq!(all(&alerts).await[0].state, AlertState::Muted);
}

#[tokio::test]
async fn what_gets_worse_in_a_fold_is_told_by_itself_and_its_end_ends_the_fold() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    for n in 1..6 {
        raise(&alerts, notice(n)).await;
    }
    for message in 1..5 {
        bench.arrive(message).await;
    }
    raise(&alerts, grave(5)).await;
    let told = |views: &[AlertView]| {
        let five = views.iter().find(|view| view.alert.notice.subject == "task:t5").unwrap();
        five.deliveries.iter().map(|delivery| delivery.purpose).collect::<Vec<_>>()
    };
    assert_eq!(told(&all(&alerts).await), [Purpose::Worse]);
    end(&alerts, 4).await;
    let is_over = |views: &[AlertView]| {
        views.iter().find(|view| view.alert.notice.kind == NoticeKind::Storm).unwrap().alert.is_over()
    };
    assert!(!is_over(&all(&alerts).await), "one of it goes on");
    end(&alerts, 5).await;
    let views = all(&alerts).await;
    assert_eq!(told(&views), [Purpose::Worse, Purpose::Edit, Purpose::Recovery]);
    assert!(is_over(&views));
}

#[tokio::test]
async fn what_got_worse_in_a_fold_and_died_is_told_by_itself_when_something_gets_through() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    for n in 1..6 {
        raise(&alerts, notice(n)).await;
    }
    for message in 1..5 {
        bench.arrive(message).await;
    }
    raise(&alerts, grave(5)).await;
    bench.die().await;
    bench.set_broken(Some("bot was blocked")).await;
    assert_eq!(sweep(&alerts).await, 0);
    bench.set_broken(None).await;
    assert_eq!(sweep(&alerts).await, 1);
    let told = |views: &[AlertView]| {
        let five = views.iter().find(|view| view.alert.notice.subject == "task:t5").unwrap();
        five.deliveries.iter().map(|delivery| (delivery.purpose, delivery.state)).collect::<Vec<_>>()
    };
    let twice = [(Purpose::Worse, DeliveryState::Dead), (Purpose::Worse, DeliveryState::Pending)];
    assert_eq!(told(&all(&alerts).await), twice);
    assert_eq!(sweep(&alerts).await, 0, "once");
    // The same where it happens again before anybody looks.
    bench.die().await;
    raise(&alerts, grave(5)).await;
    assert_eq!(told(&all(&alerts).await)[2], (Purpose::Worse, DeliveryState::Pending));
}

#[tokio::test]
async fn a_mute_holds_for_what_was_muted_though_it_was_less_in_between() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let info = |n| Notice { severity: Severity::Info, ..notice(n) };
    raise(&alerts, grave(1)).await;
    bench.arrive(1).await;
    alerts.mute(AlertId(1), Duration::from_secs(3600), "user:a").await.unwrap();
    end(&alerts, 1).await;
    raise(&alerts, info(1)).await;
    raise(&alerts, grave(1)).await;
    let views = all(&alerts).await;
    let newest = &views[0];
    assert_eq!((newest.alert.severity, newest.state), (Severity::Critical, AlertState::Muted));
    assert!(newest.deliveries.is_empty() && alerts.mutes().await.unwrap().len() == 1);
    // What was muted as little is not muted as much.
    raise(&alerts, info(2)).await;
    let lesser = all(&alerts).await[0].alert.id;
    alerts.mute(lesser, Duration::from_secs(3600), "user:a").await.unwrap();
    end(&alerts, 2).await;
    raise(&alerts, grave(2)).await;
    assert_eq!(all(&alerts).await[0].state, AlertState::Firing);
}

#[tokio::test]
async fn only_what_arrived_was_heard() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    assert!(!all(&alerts).await[0].is_heard, "in line");
    bench.arrive(1).await;
    assert!(all(&alerts).await[0].is_heard);
    for n in 2..6 {
        raise(&alerts, notice(n)).await;
    }
    let folded = |views: &[AlertView]| views.iter().any(|view| view.alert.storm.is_some() && view.is_heard);
    assert!(!folded(&all(&alerts).await));
    for message in 2..5 {
        bench.arrive(message).await;
    }
    assert!(folded(&all(&alerts).await));
}

#[tokio::test]
async fn a_damaged_row_hides_no_other_and_mends_itself() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    raise(&alerts, notice(1)).await;
    raise(&alerts, notice(2)).await;
    bench.store.write(|tx| Ok::<_, StoreError>(table::damage(tx, AlertId(1))?)).await.unwrap();
    let views = all(&alerts).await;
    assert_eq!(views.len(), 2);
    assert!(views[1].text.contains("task:t1: the text of this alert is damaged"), "{}", views[1].text);
    assert!(views[1].text.contains("Row 1 of the table alerts"), "{}", views[1].text);
    let said = Notice { headline: vec![Part::Bold("as new".to_owned())], ..notice(1) };
    raise(&alerts, said).await;
    let views = all(&alerts).await;
    assert!(views[1].text.contains("as new") && views[1].alert.count == 2, "{}", views[1].text);
}

#[tokio::test]
async fn what_waits_is_asked_anew_when_the_quiet_hours_are_others() {
    let bench = Bench::new();
    let now = Clock::system().wall().to_zoned(TimeZone::UTC).time();
    let around = QuietHours {
        from: now.wrapping_sub(jiff::Span::new().hours(1)),
        to: now.wrapping_add(jiff::Span::new().hours(1)),
    };
    let alerts = bench.alerts(Some(around)).await;
    let mut ask = Notice::new(NoticeKind::TicketAsks, "ticket:MC-1".to_owned(), Severity::Warning);
    ask.quiet = Quiet::Wait;
    raise(&alerts, ask).await;
    let due = || async {
        let now_ms = Clock::system().wall_ms();
        bench.store.read(move |conn| Ok::<_, StoreError>(next(conn, now_ms)?)).await.unwrap()
    };
    assert_eq!(due().await, None, "it waits for the end of the quiet hours");
    let _again = bench.alerts(Some(around)).await;
    assert_eq!(due().await, None, "over a restart too");
    let _without = bench.alerts(None).await;
    assert!(due().await.is_some(), "there are none any more");
}

#[tokio::test]
async fn a_fold_whose_message_died_takes_in_nothing_and_is_told_when_another_arrives() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    for n in 1..4 {
        raise(&alerts, notice(n)).await;
        bench.arrive(i32::try_from(n).unwrap()).await;
    }
    raise(&alerts, notice(4)).await;
    bench.die_alone().await;
    assert_eq!(sweep(&alerts).await, 0, "nothing says that another would arrive");
    assert_eq!(alerts.channel(0).await.unwrap().1.alerts, 1);
    raise(&alerts, notice(5)).await;
    let fold_of = |views: &[AlertView], n: usize| {
        let subject = format!("task:t{n}");
        views.iter().find(|view| view.alert.notice.subject == subject).unwrap().alert.storm.unwrap()
    };
    let views = all(&alerts).await;
    let (dead, fresh) = (fold_of(&views, 4), fold_of(&views, 5));
    assert_ne!(dead, fresh, "a dead fold takes in nothing");
    bench.arrive(5).await;
    assert_eq!(sweep(&alerts).await, 1);
    assert_eq!(sweep(&alerts).await, 0, "once");
    let of = |views: &[AlertView], id: AlertId| {
        let view = views.iter().find(|view| view.alert.id == id).unwrap();
        view.deliveries.iter().map(|one| (one.purpose, one.state)).collect::<Vec<_>>()
    };
    let views = all(&alerts).await;
    let twice = [(Purpose::First, DeliveryState::Dead), (Purpose::First, DeliveryState::Pending)];
    assert_eq!(of(&views, dead), twice);
    assert_eq!(of(&views, fresh), [(Purpose::First, DeliveryState::Delivered)]);
    // What nobody takes is not tried for ever.
    bench.die_alone().await;
    raise(&alerts, grave(1)).await;
    bench.arrive(6).await;
    assert_eq!(sweep(&alerts).await, 1);
    bench.die_alone().await;
    raise(&alerts, grave(2)).await;
    bench.arrive(7).await;
    assert_eq!(sweep(&alerts).await, 0);
}

#[tokio::test]
async fn a_mute_holds_for_the_same_task_that_fails_in_another_way() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    let exit = |code: i32| Notice { class: Some(format!("exit {code}")), ..notice(1) };
    raise(&alerts, exit(3)).await;
    bench.arrive(1).await;
    alerts.mute(AlertId(1), Duration::from_secs(3600), "user:a").await.unwrap();
    raise(&alerts, exit(4)).await;
    let other = &all(&alerts).await[0];
    assert_eq!((other.state, other.deliveries.len()), (AlertState::Muted, 0));
    let graver = Notice { severity: Severity::Critical, ..exit(5) };
    raise(&alerts, graver).await;
    assert_eq!(all(&alerts).await[0].state, AlertState::Firing, "that is worse");
    assert!(alerts.mutes().await.unwrap().is_empty());
}

#[tokio::test]
async fn output_that_was_given_up_is_known_for_a_while_with_its_run() {
    let bench = Bench::new();
    let alerts = bench.alerts(None).await;
    for run in [7, 8] {
        alerts
            .at_desk(move |desk, _| Ok(desk.output(RunId(run), vec![Part::Text("the plan".into())])?))
            .await
            .unwrap();
        bench.die_alone().await;
    }
    let lost = alerts.channel(0).await.unwrap().1;
    assert_eq!((lost.alerts, lost.outputs.count, lost.outputs.run), (0, 2, Some(RunId(8))));
    assert_eq!((lost.outputs.why.as_deref(), lost.outputs.at_ms), (Some("no number"), Some(9)));
    assert_eq!(alerts.channel(10).await.unwrap().1, outbox::lost::Lost::default(), "not for ever");
}
