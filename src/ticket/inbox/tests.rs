//! Tests of messages to workers on a real database.

use std::time::Duration;

use super::super::MessageRules;
use super::super::board::{Edit, Ending, NewTicket};
use super::super::testing::{World, alice, world, world_with};
use super::*;
use crate::model::ticket::{Ask, Step as TicketStep};

fn ask() -> Ask {
    Ask { need: "Which?".into(), why: None, how: None, options: Vec::new() }
}

async fn end(world: &World, worker: &Worker) -> Ticket {
    end_in(world, worker, TicketStep::Requeue, true).await
}

async fn end_in(world: &World, worker: &Worker, then: TicketStep, again: bool) -> Ticket {
    let (tickets, worker) = (world.tickets.clone(), worker.clone());
    let ending =
        Ending { run: worker.run, fence: worker.fence, outcome: "x".into(), commit: None, then, again };
    world.store.write(move |tx| tickets.end_attempt(tx, &worker.ticket, &ending, 5)).await.unwrap()
}

async fn notices(world: &World, id: &TicketId) -> Vec<String> {
    let said = world.tickets.comments(id, 0, 100).await.unwrap();
    said.into_iter().filter(|c| c.kind == CommentKind::Notice).map(|c| c.body).collect()
}

#[tokio::test]
async fn an_answer_goes_back_in_line_with_its_ticket() {
    let world = world();
    let id = world.ticket().await;
    world.tickets.ask(&id, ask(), &alice()).await.unwrap();
    let (message, ticket) = world.reply(&id, "the first", "telegram", &alice()).await.unwrap();
    assert_eq!(
        (message.state(), ticket.state(), ticket.ask),
        (MessageState::Queued, TicketState::Todo, None)
    );
    let said = world.tickets.comments(&id, 0, 10).await.unwrap();
    assert_eq!(said.last().map(|c| (c.kind, c.body.as_str())), Some((CommentKind::Message, "the first")));

    let worker = world.work(&id, 11, 70).await.unwrap();
    let claimed = world.tickets.claim_all(&worker).await.unwrap();
    assert_eq!(claimed.iter().map(|m| (m.id, m.fence)).collect::<Vec<_>>(), [(message.id, Some(Fence(70)))]);
    assert_eq!(world.tickets.claim_all(&worker).await.unwrap(), []);
    world.tickets.deliver(message.id, &worker).await.unwrap();
    let acked = world.tickets.ack(message.id, &worker).await.unwrap();
    assert_eq!(acked.state(), MessageState::Acked);
    assert!(acked.delivered_ms.is_some() && acked.acked_ms.is_some());
    end(&world, &worker).await;
    assert_eq!(world.tickets.message(message.id).await.unwrap().unwrap().state(), MessageState::Acked);
}

#[tokio::test]
async fn a_worker_answered_while_it_is_there_goes_on() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 11, 70).await.unwrap();
    world.tickets.ask(&id, ask(), &Author::Worker(worker.clone())).await.unwrap();
    let (message, ticket) = world.reply(&id, "this one", "cli", &alice()).await.unwrap();
    assert_eq!(ticket.state(), TicketState::Todo);
    assert_eq!(world.tickets.ready().await.unwrap(), [], "its worker still lives");
    world.tickets.claim(message.id, &worker).await.unwrap();
    world.tickets.deliver(message.id, &worker).await.unwrap();
    assert_eq!(world.tickets.get(&id).await.unwrap().unwrap().state(), TicketState::InProgress);
}

#[tokio::test]
async fn work_that_ends_without_having_read_its_messages_is_not_done() {
    let world = world();
    let cases = [
        // delivered, read, may be tried again: where it goes, and what becomes of the message
        (true, true, true, TicketState::Review, MessageState::Acked),
        (true, false, true, TicketState::Todo, MessageState::Queued),
        (false, false, true, TicketState::Todo, MessageState::Queued),
        (true, false, false, TicketState::Review, MessageState::Expired),
    ];
    for (number, (delivered, read, again, to, becomes)) in (1_i64..).zip(cases) {
        let id = world.ticket().await;
        let worker = world.work(&id, number, number).await.unwrap();
        world.tickets.ask(&id, ask(), &Author::Worker(worker.clone())).await.unwrap();
        let (message, _) = world.reply(&id, "this one", "cli", &alice()).await.unwrap();
        world.tickets.claim(message.id, &worker).await.unwrap();
        if delivered {
            world.tickets.deliver(message.id, &worker).await.unwrap();
        }
        if read {
            world.tickets.ack(message.id, &worker).await.unwrap();
        }
        let ended = end_in(&world, &worker, TicketStep::Review, again).await;
        let message = world.tickets.message(message.id).await.unwrap().unwrap();
        assert_eq!((ended.state(), message.state()), (to, becomes), "case {number}");
        let told = notices(&world, &id).await.iter().any(|said| said.contains("the next one will"));
        assert_eq!(told, to == TicketState::Todo && delivered, "case {number}");
    }
}

#[tokio::test]
async fn receipts_share_the_transaction_of_whatever_shows_them() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 1, 1).await.unwrap();
    for text in ["one", "two", "three"] {
        world.reply(&id, text, "cli", &alice()).await.unwrap();
    }
    let ids: Vec<MessageId> = world.tickets.claim_all(&worker).await.unwrap().iter().map(|m| m.id).collect();
    world.tickets.deliver(ids[1], &worker).await.unwrap();
    let (tickets, me, read) = (world.tickets.clone(), worker.clone(), ids.clone());
    let receipts = move |tx: &Tx<'_>| {
        let refused = tickets.ack_in(tx, MessageId(99), &me, 5);
        assert!(matches!(refused, Err(TicketError::NoMessage(_))));
        let late = Worker { fence: Fence(9), ..me.clone() };
        assert!(matches!(tickets.ack_in(tx, read[0], &late, 5), Err(TicketError::Stale { .. })));
        tickets.ack_in(tx, read[1], &me, 5)
    };
    world.store.write(receipts).await.unwrap();
    let mine = world.tickets.in_hand(&worker).await.unwrap();
    assert_eq!(mine.iter().map(|m| m.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
    let acked = world.tickets.message(ids[1]).await.unwrap().unwrap();
    assert_eq!((acked.state(), acked.acked_ms), (MessageState::Acked, Some(5)));
}

#[tokio::test]
async fn work_for_a_person_is_not_put_back_for_a_worker_that_never_comes() {
    let mut world = world();
    world.tickets = world.tickets.with_human("human");
    let id = world.ticket().await;
    let worker = world.work(&id, 1, 1).await.unwrap();
    world.reply(&id, "one thing more", "cli", &alice()).await.unwrap();
    let edit = Edit { assignee: Some("human".into()), ..Edit::default() };
    world.tickets.change(&id, edit, None, None, &alice()).await.unwrap();
    assert_eq!(end_in(&world, &worker, TicketStep::Review, true).await.state(), TicketState::Review);
}

#[tokio::test]
async fn what_did_not_get_through_is_in_line_when_its_worker_is_gone() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 1, 1).await.unwrap();
    let (message, _) = world.reply(&id, "hello", "cli", &alice()).await.unwrap();
    world.tickets.claim(message.id, &worker).await.unwrap();
    let failed = world.tickets.fail(message.id, &worker, "no such pipe").await.unwrap();
    assert_eq!(failed.state(), MessageState::Failed);
    end(&world, &worker).await;
    let next = world.work(&id, 2, 2).await.unwrap();
    let claimed = world.tickets.claim_all(&next).await.unwrap();
    assert_eq!(claimed.iter().map(|m| (m.id, m.attempts)).collect::<Vec<_>>(), [(message.id, 1)]);
}

#[tokio::test]
async fn what_a_dead_worker_had_in_hand_is_tried_three_times_and_its_author_told() {
    let world = world();
    let id = world.ticket().await;
    let (message, _) = world.reply(&id, "hello", "cli", &alice()).await.unwrap();
    for attempt in 1..=3 {
        let worker = world.work(&id, attempt, attempt + 70).await.unwrap();
        assert_eq!(world.tickets.claim_all(&worker).await.unwrap().len(), 1);
        if attempt == 2 {
            world.tickets.deliver(message.id, &worker).await.unwrap();
        }
        end(&world, &worker).await;
        let message = world.tickets.message(message.id).await.unwrap().unwrap();
        assert_eq!(i64::from(message.attempts), attempt);
        let wanted = if attempt < 3 { MessageState::Queued } else { MessageState::Dead };
        assert_eq!(message.state(), wanted);
    }
    let told = notices(&world, &id).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("Message 1 of user:alice failed 3 times and is given up"), "{told:?}");
    let again = world.tickets.retry_message(message.id, &alice()).await.unwrap();
    assert_eq!((again.state(), again.attempts), (MessageState::Queued, 0));
    let dropped = world.tickets.drop_message(message.id, &alice()).await.unwrap();
    assert_eq!(
        (dropped.state(), dropped.error.as_deref()),
        (MessageState::Dead, Some("dropped by user:alice"))
    );
    assert_eq!(notices(&world, &id).await.len(), 1, "who drops it knows");
}

#[tokio::test]
async fn what_nobody_takes_expires_with_a_word_and_its_text_stays() {
    let world = world_with(MessageRules { expire_after: Duration::ZERO, max_attempts: 3 });
    let id = world.ticket().await;
    let (tickets, ticket) = (world.tickets.clone(), id.clone());
    world
        .store
        .write(move |tx| tickets.set_reason(tx, &ticket, Some(("pool_full", "3 of 3 slots taken")), 1))
        .await
        .unwrap();
    let (message, _) = world.reply(&id, "hello", "cli", &alice()).await.unwrap();
    let reaped = world.tickets.reap_messages().await.unwrap();
    assert_eq!(reaped, Reaped { expired: 1, ..Reaped::default() });
    let expired = world.tickets.message(message.id).await.unwrap().unwrap();
    assert_eq!(expired.state(), MessageState::Expired);
    let told = notices(&world, &id).await;
    assert!(told[0].contains("the ticket waits for a worker (3 of 3 slots taken)"), "{told:?}");
    assert_eq!(world.tickets.reap_messages().await.unwrap(), Reaped::default(), "a second pass says nothing");
    assert_eq!(notices(&world, &id).await.len(), 1);
    let said = world.tickets.comments(&id, 0, 10).await.unwrap();
    assert!(said.iter().any(|comment| comment.body == "hello"));
}

#[tokio::test]
async fn a_ticket_that_is_over_takes_no_message() {
    let world = world();
    let id = world.ticket().await;
    let (message, _) = world.reply(&id, "x", "cli", &alice()).await.unwrap();
    let close = TicketStep::Close { text: "x".into() };
    world.tickets.change(&id, Default::default(), Some(close), None, &alice()).await.unwrap();
    assert!(matches!(world.reply(&id, "late", "cli", &alice()).await, Err(TicketError::Illegal(_))));
    world.tickets.drop_message(message.id, &alice()).await.unwrap();
    assert!(matches!(world.tickets.retry_message(message.id, &alice()).await, Err(TicketError::Illegal(_))));
    let told = notices(&world, &id).await;
    assert!(told.len() == 1 && told[0].contains("MC-1 is closed, where no worker is put on it"), "{told:?}");
    assert_eq!(world.tickets.comments(&id, 0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_no_worker_would_read_is_a_comment_and_does_not_wait() {
    let world = world();
    let id = world.ticket().await;
    for step in [TicketStep::Park { text: "parts".into(), until_ms: None }, TicketStep::Review] {
        world.tickets.change(&id, Default::default(), Some(step), None, &alice()).await.unwrap();
        let before = world.tickets.get(&id).await.unwrap().unwrap().state();
        let (message, ticket) = world.reply(&id, "read this", "cli", &alice()).await.unwrap();
        assert_eq!((message.state(), ticket.state()), (MessageState::Expired, before));
        assert!(message.error.unwrap().ends_with("to have one read it: lucid ticket move MC-1 todo"));
        let said = world.tickets.comments(&id, 0, 100).await.unwrap();
        let own = said.iter().rev().find(|comment| comment.body == "read this").unwrap();
        assert_eq!(own.kind, CommentKind::Comment);
        assert!(matches!(
            world.tickets.retry_message(message.id, &alice()).await,
            Err(TicketError::Unread(_))
        ));
    }
}

#[tokio::test]
async fn what_a_worker_left_unread_ends_with_it_when_no_other_comes() {
    let world = world();
    let id = world.ticket().await;
    let worker = world.work(&id, 11, 70).await.unwrap();
    let review = Some(TicketStep::Review);
    world.tickets.change(&id, Default::default(), review, None, &alice()).await.unwrap();
    let (message, _) = world.reply(&id, "wait", "cli", &alice()).await.unwrap();
    assert_eq!(message.state(), MessageState::Queued, "its worker lives");
    end(&world, &worker).await;
    assert_eq!(world.tickets.message(message.id).await.unwrap().unwrap().state(), MessageState::Expired);
    assert_eq!(notices(&world, &id).await.len(), 1);
}

#[tokio::test]
async fn a_persons_own_ticket_is_answered_without_a_worker() {
    let mut world = world();
    world.tickets = world.tickets.with_human("keeper");
    let new = NewTicket { title: "Log in".into(), assignee: Some("keeper".into()), ..Default::default() };
    let id = world.tickets.create(new, &alice()).await.unwrap().id;
    world.tickets.ask(&id, ask(), &alice()).await.unwrap();
    let (message, ticket) = world.reply(&id, "done", "cli", &alice()).await.unwrap();
    assert_eq!((message.state(), ticket.state()), (MessageState::Expired, TicketState::Todo));
    assert_eq!(message.error.as_deref(), Some("MC-1 is for keeper: no worker is put on it"));
}
