//! Ten thousand failing runs and what becomes of them on a phone: how many messages, how long, how much memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid::alert::pace::Pace as Limits;
use lucid::alert::policy::{Facts, Missed, RunFacts, TaskFacts};
use lucid::alert::telegram::Telegram;
use lucid::alert::words::tail;
use lucid::alert::{Alerts, Gather, Query, Settings, Topics};
use lucid::journal::Journal;
use lucid::model::event::{Event, EventKind, Recorded};
use lucid::model::ids::{RunId, TaskId};
use lucid::model::run::{Run, RunState, Trigger};
use lucid::model::task::{self, AlertEvent, Deliver, Severity};
use lucid::platform::clock::Clock;
use lucid::store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::fake_telegram::{CHAT, FakeTelegram, TOKEN};
use crate::figures::{Pace, rollup_kb};

const RUNS: i64 = 10_000;
const TASKS: i64 = 1_000;
/// Written together.
const BATCH: i64 = 100;
const PATIENCE: Duration = Duration::from_secs(300);

/// What each event's run looked like.
fn gather() -> Gather {
    Arc::new(|recorded: Recorded| {
        Box::pin(async move {
            let event = recorded.event;
            let (Some(task), Some(id)) = (event.task, event.run) else { return Ok(Facts::None) };
            let mut run = Run::new(id, task, Trigger::Schedule, RunState::Failed);
            (run.exit_code, run.reason) = (Some(1), Some("exit".to_owned()));
            let alerts = task::Alerts {
                events: vec![AlertEvent::Failure, AlertEvent::Recovery],
                after: 1,
                severity: Severity::Warning,
                repeat: Duration::from_secs(6 * 3600),
                mute_until: None,
            };
            let task =
                TaskFacts { alerts, deliver: Deliver::None, timeout_ms: 1000, retries_max: 0, next_ms: None };
            let tail = tail(b"working\nNo space left on device\n");
            let (failures, oks) = (1, 0);
            let missed = Missed::default();
            let (task, end, answer) = (Some(task), None, None);
            let facts = RunFacts { run, task, missed, failures, oks, tail, end, answer, is_bare: false };
            Ok(Facts::Run(Box::new(facts)))
        })
    })
}

async fn record(store: &Store, journal: &Journal) {
    for from in (0..RUNS).step_by(usize::try_from(BATCH).expect("small")) {
        let journal = journal.clone();
        store
            .write(move |tx| {
                for n in from..from + BATCH {
                    let task = TaskId::parse(&format!("task-{}", n % TASKS)).expect("an id");
                    let data = serde_json::json!({"state": "failed"});
                    let event = Event::new(EventKind::RunFinished).task(&task).run(RunId(n + 1)).data(data);
                    journal.record(tx, n, event)?;
                }
                Ok::<_, StoreError>(())
            })
            .await
            .expect("recorded");
    }
}

async fn story() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), 0).expect("a store").store;
    let journal = Journal::new(store.clone());
    let fake = FakeTelegram::start();
    let settings = Settings {
        bot: Some(Telegram::new(TOKEN.to_owned().into(), &fake.url()).expect("a bot")),
        chat: Some(CHAT),
        topics: Topics::default(),
        has_users: true,
        quiet: None,
        zone: jiff::tz::TimeZone::UTC,
        // The limits of Telegram would be all that is measured.
        pace: Limits { every: Duration::from_millis(1), ..Limits::default() },
    };
    let clock = Clock::system();
    let alerts = Alerts::open(store.clone(), journal.clone(), clock, settings).await.expect("alerts");
    let stop = CancellationToken::new();
    let following = tokio::spawn(alerts.clone().follow(gather(), stop.clone()));
    let sending = tokio::spawn(alerts.clone().deliver(stop.clone()));
    let before = rollup_kb(std::process::id(), "Rss");
    let begun = Instant::now();
    record(&store, &journal).await;
    let recorded = begun.elapsed();
    let latest = journal.latest_seq().await.expect("a number");
    while journal.cursor("alert").await.expect("a cursor") != Some(latest) {
        assert!(begun.elapsed() < PATIENCE, "alerts do not keep up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let taken_in = begun.elapsed();
    while alerts.waiting().await.expect("an answer").pending > 0 {
        assert!(begun.elapsed() < PATIENCE, "the outbox does not empty");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sent = begun.elapsed();
    let after = rollup_kb(std::process::id(), "Rss");
    let (mut counted, mut troubles, mut cursor) = (0, 0, None);
    loop {
        let page =
            alerts.list(Query { before: cursor, limit: 500, ..Query::default() }).await.expect("a page");
        let Some(last) = page.last() else { break };
        cursor = Some(last.alert.id);
        let own: Vec<i64> = page
            .iter()
            .filter(|view| view.alert.notice.subject.starts_with("task:"))
            .map(|view| view.alert.count)
            .collect();
        counted += own.iter().sum::<i64>();
        troubles += own.len();
    }
    assert_eq!(counted, RUNS, "every failure is counted somewhere");
    stop.cancel();
    for task in [following, sending] {
        task.await.expect("ended");
    }
    let per_second = |took: Duration| f64::from(u32::try_from(RUNS).unwrap_or(0)) / took.as_secs_f64();
    println!(
        "{RUNS} failing runs of {TASKS} tasks: {troubles} troubles, {} messages, {} calls; written in {:.2} s, \
         taken in after {:.2} s ({:.0}/s), sent after {:.2} s; RSS {:.1} MB before, {:.1} MB after",
        fake.chat().len(),
        fake.calls().len(),
        recorded.as_secs_f64(),
        taken_in.as_secs_f64(),
        per_second(taken_in),
        sent.as_secs_f64(),
        before as f64 / 1e3,
        after as f64 / 1e3,
    );
}

pub fn alerts(_: Pace) {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(story());
}
