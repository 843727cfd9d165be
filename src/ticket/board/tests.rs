//! Tests of the board on a real database.

use super::super::conversation::CommentKind;
use super::super::events::NewEvent;
use super::super::testing::table::{fingerprint, forget_tickets};
use super::super::testing::{World, alice, world};
use super::super::{Author, MessageRules, TicketError, Tickets, Worker};
use super::*;
use crate::model::event::EventKind;
use crate::model::ticket::{Ask, GateAnswer, Illegal, Report};
use crate::platform::clock::Clock;
use crate::store::StoreError;
use std::time::Duration;

fn titled(title: &str) -> NewTicket {
    NewTicket { title: title.into(), ..NewTicket::default() }
}

async fn step(world: &World, id: &TicketId, step: Step) -> Result<Ticket, TicketError> {
    world.tickets.change(id, Edit::default(), Some(step), None, &alice()).await
}

fn ending(worker: &Worker, then: Step) -> Ending {
    Ending {
        run: worker.run,
        fence: worker.fence,
        outcome: "ok".into(),
        commit: Some("abcdef1".into()),
        then,
        again: true,
    }
}

async fn end(world: &World, worker: &Worker, then: Step) -> Result<Ticket, TicketError> {
    let (tickets, id, ending) = (world.tickets.clone(), worker.ticket.clone(), ending(worker, then));
    world.store.write(move |tx| tickets.end_attempt(tx, &id, &ending, 9_000)).await
}

#[tokio::test]
async fn numbers_are_never_given_twice_and_old_names_stay() {
    let world = world();
    let first = world.tickets.create(titled("a"), &alice()).await.unwrap();
    assert_eq!((first.id.to_string().as_str(), first.state(), first.version), ("MC-1", TicketState::Todo, 1));
    world.store.write(|tx| Ok::<_, StoreError>(forget_tickets(tx)?)).await.unwrap();
    let rules = MessageRules { expire_after: Duration::from_secs(60), max_attempts: 3 };
    let renamed = Tickets::new(world.store.clone(), world.journal.clone(), Clock::system(), "OPS", rules);
    let second = world.tickets.create(titled("b"), &alice()).await.unwrap();
    let third = renamed.create(titled("c"), &alice()).await.unwrap();
    assert_eq!((second.id.to_string(), third.id.to_string()), ("MC-2".into(), "OPS-3".into()));
    assert_eq!(renamed.get(&second.id).await.unwrap(), Some(second));
    assert_eq!(renamed.get(&"OPS-2".parse().unwrap()).await.unwrap(), None, "a number alone is no name");
}

#[tokio::test]
async fn what_is_no_title_is_refused() {
    let world = world();
    for bad in [String::new(), " \n".into(), "x".repeat(TITLE_MAX_BYTES + 1), "a\nb".into(), "a\0b".into()] {
        let refused = world.tickets.create(titled(&bad), &alice()).await.unwrap_err();
        assert!(matches!(refused, TicketError::Invalid { field: "title", .. }), "{refused}");
    }
    let edit = Edit { title: Some("a\rb".into()), ..Edit::default() };
    let refused = world.tickets.change(&world.ticket().await, edit, None, None, &alice()).await.unwrap_err();
    assert!(matches!(refused, TicketError::Invalid { field: "title", .. }), "{refused}");
    let refused = step(&world, &world.ticket().await, Step::Close { text: " ".into() }).await.unwrap_err();
    assert!(matches!(refused, TicketError::Invalid { field: "reason", .. }), "{refused}");
}

#[tokio::test]
async fn of_twenty_who_move_one_version_one_is_first() {
    let world = world();
    let id = world.ticket().await;
    let moves = (0..20).map(|n| {
        let (tickets, id) = (world.tickets.clone(), id.clone());
        tokio::spawn(async move {
            let park = Step::Park { text: format!("for {n}"), until_ms: None };
            tickets.change(&id, Edit::default(), Some(park), Some(1), &alice()).await
        })
    });
    let mut won = 0;
    for moved in futures_util::future::join_all(moves).await {
        match moved.unwrap() {
            Ok(ticket) => {
                assert_eq!(ticket.version, 2);
                won += 1;
            }
            Err(TicketError::Changed { version: 2, state: TicketState::Waiting }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_change_and_a_step_happen_together_or_not_at_all() {
    let world = world();
    let id = world.ticket().await;
    let edit = Edit { title: Some("New".into()), agent: Some("fake".into()), ..Edit::default() };
    let refused = world
        .tickets
        .change(&id, edit.clone(), Some(Step::Done(GateAnswer::NotMerged)), None, &alice())
        .await
        .unwrap_err();
    assert!(matches!(refused, TicketError::Illegal(Illegal::Gate(GateAnswer::NotMerged))), "{refused}");
    assert_eq!(world.tickets.get(&id).await.unwrap().unwrap().title, "Fix the login");
    let done = world.tickets.change(&id, edit, Some(Step::Done(GateAnswer::Merged)), None, &alice()).await;
    let done = done.unwrap();
    assert_eq!(
        (done.title.as_str(), done.agent.as_deref(), done.state()),
        ("New", Some("fake"), TicketState::Done)
    );
    let kinds: Vec<EventKind> = world
        .journal
        .after(0, 100, crate::journal::Filter { ticket: Some(id.to_string()), ..Default::default() })
        .await
        .unwrap()
        .into_iter()
        .map(|recorded| recorded.event.kind)
        .collect();
    assert_eq!(kinds, [EventKind::TicketCreated, EventKind::TicketChanged, EventKind::TicketMoved]);
}

#[tokio::test]
async fn one_worker_lives_on_a_ticket_and_the_rest_of_the_world_waits_for_its_end() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 11, 70).await.unwrap();
    let ticket = world.tickets.get(&id).await.unwrap().unwrap();
    assert_eq!((ticket.state(), ticket.attempt, ticket.live), (TicketState::InProgress, 1, true));
    assert_eq!(ticket.slot.as_deref(), Some("main-1"));
    assert!(matches!(world.work(&id, 12, 71).await, Err(TicketError::AtWork { .. })));
    for forbidden in [Step::Requeue, Step::Close { text: "x".into() }, Step::Done(GateAnswer::Merged)] {
        let refused = step(&world, &id, forbidden).await.unwrap_err();
        assert!(matches!(refused, TicketError::AtWork { run: RunId(11), .. }), "{refused}");
    }
    assert_eq!(world.tickets.ready().await.unwrap(), []);
    let over = end(&world, &worker, Step::Requeue).await.unwrap();
    assert_eq!((over.state(), over.live, over.slot), (TicketState::Todo, false, None));
    assert_eq!(over.commit.as_deref(), Some("abcdef1"));
    assert!(matches!(end(&world, &worker, Step::Review).await, Err(TicketError::Stale { .. })));
    let again = world.work(&id, 12, 71).await.unwrap();
    let ticket = end(&world, &again, Step::Review).await.unwrap();
    assert_eq!((ticket.attempt, ticket.state(), ticket.run), (2, TicketState::Review, Some(RunId(12))));
}

/// The index itself, with every check in code passed by.
#[tokio::test]
async fn the_database_too_lets_one_attempt_live() {
    let world = world();
    let id = world.ticket().await;
    world.work(&id, 11, 70).await.unwrap();
    let new = NewAttempt {
        run: RunId(12),
        fence: Fence(71),
        agent: "x".into(),
        branch: None,
        slot: None,
        lease: None,
        check_in_ms: None,
    };
    let second = world.store.write(move |tx| -> Result<(), TicketError> {
        table::insert_attempt(tx, &id, 2, &new, 1)?;
        Ok(())
    });
    assert!(second.await.unwrap_err().to_string().contains("UNIQUE"));
}

#[tokio::test]
async fn a_late_worker_writes_nothing_at_all() {
    let world = world();
    let id = world.ticket().await;
    let old = world.work(&id, 11, 70).await.unwrap();
    end(&world, &old, Step::Requeue).await.unwrap();
    world.reply(&id, "hello", "cli", &alice()).await.unwrap();
    let new = world.work(&id, 12, 71).await.unwrap();
    let message = world.tickets.claim_all(&new).await.unwrap().remove(0).id;
    let count = || world.store.read(|conn| Ok::<_, StoreError>(fingerprint(conn)?));
    let before = count().await.unwrap();
    let forged = Worker { fence: Fence(70), ..new.clone() };
    let elsewhere = Worker { ticket: "MC-99".parse().unwrap(), ..new.clone() };
    for late in [old, forged, elsewhere] {
        let (author, tickets) = (Author::Worker(late.clone()), &world.tickets);
        let ask = Ask { need: "x".into(), why: None, how: None, options: Vec::new() };
        let report = Report { status: "done".into(), summary: "x".into(), commit: None, evidence: None };
        let link = super::super::context::NewLink {
            path: "x".into(),
            title: None,
            source: super::super::context::LinkSource::Auto,
        };
        let refused = [
            tickets.append(&id, vec![NewEvent::line("x").unwrap()], &author).await.err(),
            tickets.comment(&id, "x", &author).await.err(),
            tickets.ask(&id, ask, &author).await.err(),
            tickets.report(&id, report, &author).await.err(),
            tickets.link(&id, link, &author).await.err(),
            tickets.claim_all(&late).await.err(),
            tickets.claim(message, &late).await.err(),
            tickets.deliver(message, &late).await.err(),
            tickets.ack(message, &late).await.err(),
            tickets.fail(message, &late, "x").await.err(),
        ];
        for (at, refused) in refused.into_iter().enumerate() {
            assert!(matches!(refused, Some(TicketError::Stale { .. })), "write {at}: {refused:?}");
        }
    }
    assert_eq!(count().await.unwrap(), before);
    let comment = world.tickets.comment(&id, "here", &Author::Worker(new)).await.unwrap();
    assert_eq!((comment.kind, comment.run), (CommentKind::Comment, Some(RunId(12))));
}

#[tokio::test]
async fn a_question_stands_whatever_the_worker_ends_with() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 11, 70).await.unwrap();
    let ask = Ask { need: "Which one?".into(), why: None, how: None, options: vec!["a".into()] };
    world.tickets.ask(&id, ask.clone(), &Author::Worker(worker.clone())).await.unwrap();
    let ended = end(&world, &worker, Step::Review).await.unwrap();
    assert_eq!((ended.state(), ended.ask, ended.live), (TicketState::NeedsInput, Some(ask), false));
}

#[tokio::test]
async fn more_work_is_not_judged_by_the_commit_that_was_handed_in_before() {
    let world = world();
    let id = world.ticket().await;
    let attempt = async |n: i64, outcome: &str, commit: Option<&str>, then: Step| {
        let worker = world.work(&id, n, n).await.unwrap();
        let (outcome, commit) = (outcome.to_owned(), commit.map(str::to_owned));
        let ending = Ending { outcome, commit, ..ending(&worker, then) };
        let (tickets, id) = (world.tickets.clone(), id.clone());
        let ended = world.store.write(move |tx| tickets.end_attempt(tx, &id, &ending, 9_000)).await;
        ended.unwrap().commit
    };
    let first = Some("aaaaaaa".to_owned());
    assert_eq!(attempt(1, "crash", Some("aaaaaaa"), Step::Requeue).await, first);
    // The same work goes on: until there is something else, what a crash has left may be all there is.
    assert_eq!(attempt(2, "rate_limited", None, Step::Requeue).await, first);
    // So does what was handed in by a worker that had not read its last message.
    assert_eq!(attempt(3, "ok", Some("bbbbbbb"), Step::Requeue).await.as_deref(), Some("bbbbbbb"));
    assert_eq!(attempt(4, "ok", None, Step::Review).await.as_deref(), Some("bbbbbbb"));
    step(&world, &id, Step::Done(GateAnswer::Merged)).await.unwrap();
    step(&world, &id, Step::Requeue).await.unwrap();
    assert_eq!(
        attempt(5, "ok", None, Step::Review).await,
        None,
        "more work was wanted, and none was handed in"
    );
}

#[tokio::test]
async fn why_a_ticket_waits_is_written_without_a_version() {
    let world = world();
    let id = world.ticket().await;
    for (code, text, now_ms, since) in
        [("pool_full", "0 of 3 free", 100, 100), ("pool_full", "still", 200, 100), ("cooled", "x", 300, 300)]
    {
        let (tickets, ticket) = (world.tickets.clone(), id.clone());
        world
            .store
            .write(move |tx| tickets.set_reason(tx, &ticket, Some((code, text)), now_ms))
            .await
            .unwrap();
        let ticket = world.tickets.get(&id).await.unwrap().unwrap();
        let reason = ticket.reason.unwrap();
        assert_eq!((reason.text.as_str(), reason.since_ms, ticket.version), (text, since, 1));
    }
    let (tickets, ticket) = (world.tickets.clone(), id.clone());
    world.store.write(move |tx| tickets.set_reason(tx, &ticket, None, 400)).await.unwrap();
    assert_eq!(world.tickets.get(&id).await.unwrap().unwrap().reason, None);
}

#[tokio::test]
async fn a_ticket_that_has_just_been_parked_keeps_the_reason_that_it_was_given() {
    let world = world();
    let id = world.ticket().await;
    let parked = step(&world, &id, Step::Park { text: "the vendor".into(), until_ms: None }).await.unwrap();
    let (tickets, ticket) = (world.tickets.clone(), id.clone());
    let pool_full = Some(("pool_full", "0 of 3 free"));
    world.store.write(move |tx| tickets.set_reason(tx, &ticket, pool_full, 100)).await.unwrap();
    assert_eq!(world.tickets.get(&id).await.unwrap().unwrap().reason, parked.reason);
}

#[tokio::test]
async fn the_list_is_cut_by_key_and_the_ready_ones_come_by_urgency_and_age() {
    let world = world();
    for (n, priority) in
        [Priority::Low, Priority::Critical, Priority::Normal, Priority::Critical].into_iter().enumerate()
    {
        let new = NewTicket { priority, body: "100% _sure_".into(), ..titled(&format!("t{n}")) };
        world.tickets.create(new, &alice()).await.unwrap();
    }
    let ids = |tickets: Vec<Ticket>| tickets.iter().map(|t| t.id.number()).collect::<Vec<_>>();
    assert_eq!(ids(world.tickets.ready().await.unwrap()), [2, 4, 3, 1]);
    let list = async |query: Query| ids(world.tickets.list(Query { limit: 2, ..query }).await.unwrap());
    assert_eq!(list(Query::default()).await, [4, 3]);
    assert_eq!(list(Query { before: Some(3), ..Query::default() }).await, [2, 1]);
    assert_eq!(list(Query { text: Some("0% _S".into()), ..Query::default() }).await, [4, 3]);
    assert_eq!(list(Query { text: Some("%t".into()), ..Query::default() }).await, [] as [i64; 0]);
    assert_eq!(list(Query { states: vec![TicketState::Done], ..Query::default() }).await, [] as [i64; 0]);
}
