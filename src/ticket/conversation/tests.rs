//! Tests of the conversation on a real database: every text comes out as it went in.

use super::super::brief::brief;
use super::super::context::{LinkSource, Linked, NewLink};
use super::super::testing::{alice, world};
use super::*;
use crate::model::ticket::TicketState;

#[tokio::test]
async fn a_conversation_keeps_who_said_what_in_order() {
    let world = world();
    let id = world.ticket().await;
    world.tickets.comment(&id, "first", &alice()).await.unwrap();
    let ask = Ask {
        need: "A key".into(),
        why: Some("to push".into()),
        how: None,
        options: vec!["yes".into(), "no".into()],
    };
    let asked = world.tickets.ask(&id, ask.clone(), &alice()).await.unwrap();
    assert_eq!((asked.state(), asked.ask), (TicketState::NeedsInput, Some(ask)));
    let report = Report {
        status: "partial".into(),
        summary: "half".into(),
        commit: Some("abcdef12".into()),
        evidence: Some("12 tests".into()),
    };
    let reported = world.tickets.report(&id, report.clone(), &alice()).await.unwrap();
    assert_eq!((&reported.report, reported.state()), (&Some(report), TicketState::NeedsInput));
    let said = world.tickets.comments(&id, 0, 10).await.unwrap();
    let said: Vec<(&str, &str)> = said.iter().map(|c| (c.kind.name(), c.body.as_str())).collect();
    let wanted =
        [("comment", "first"), ("ask", "A key\n\nWhy: to push\n- yes\n- no"), ("report", "partial: half")];
    assert_eq!(said, wanted);
    assert_eq!(world.tickets.comments(&id, 1, 1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_a_long_conversation_the_end_is_kept() {
    let world = world();
    let id = world.ticket().await;
    let other = world.ticket().await;
    assert_eq!(world.tickets.last_comments(&id, 3).await.unwrap(), (Vec::new(), 0));
    for number in 1..=5 {
        world.tickets.comment(&id, &format!("{number}"), &alice()).await.unwrap();
        world.tickets.comment(&other, "elsewhere", &alice()).await.unwrap();
    }
    for (limit, want, before) in [(3, "3 4 5", 2), (5, "1 2 3 4 5", 0), (9, "1 2 3 4 5", 0)] {
        let (said, older) = world.tickets.last_comments(&id, limit).await.unwrap();
        let said: Vec<&str> = said.iter().map(|comment| comment.body.as_str()).collect();
        assert_eq!((said.join(" ").as_str(), older), (want, before));
    }
}

#[tokio::test]
async fn texts_out_of_bounds_are_refused_by_their_field() {
    let world = world();
    let id = world.ticket().await;
    let field = |refused: TicketError| match refused {
        TicketError::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    let long = "x".repeat(COMMENT_MAX_BYTES + 1);
    assert_eq!(field(world.tickets.comment(&id, &long, &alice()).await.unwrap_err()), "body");
    let ask = Ask { need: "x".into(), why: None, how: None, options: vec!["a".into(); OPTIONS_MAX + 1] };
    assert_eq!(field(world.tickets.ask(&id, ask, &alice()).await.unwrap_err()), "options");
    for (bad, wanted) in [
        (Report { status: "s".into(), summary: "a\nb".into(), commit: None, evidence: None }, "summary"),
        (
            Report { status: "s".into(), summary: "a".into(), commit: Some("--help".into()), evidence: None },
            "commit",
        ),
    ] {
        assert_eq!(field(world.tickets.report(&id, bad, &alice()).await.unwrap_err()), wanted);
    }
    let report = Report { status: "s".into(), summary: "a".into(), commit: None, evidence: None };
    let step = crate::model::ticket::Step::Close { text: "enough".into() };
    world
        .tickets
        .change(&id, super::super::board::Edit::default(), Some(step), None, &alice())
        .await
        .unwrap();
    let late = world.tickets.report(&id, report, &alice()).await.unwrap_err();
    assert_eq!(late.to_string(), "a ticket that is closed cannot be reported on");
    let nowhere = "MC-99".parse().unwrap();
    assert!(matches!(world.tickets.comment(&nowhere, "x", &alice()).await, Err(TicketError::NoTicket(_))));
}

#[tokio::test]
async fn files_are_linked_once_and_a_path_is_only_text() {
    let world = world();
    let id = world.ticket().await;
    let new = |path: &str, source| NewLink { path: path.into(), title: None, source };
    let Linked::New(link) =
        world.tickets.link(&id, new("../../etc/passwd", LinkSource::Manual), &alice()).await.unwrap()
    else {
        panic!("not new")
    };
    let named = NewLink { title: Some("notes".into()), ..new("../../etc/passwd", LinkSource::Auto) };
    let Linked::Known(known) = world.tickets.link(&id, named, &alice()).await.unwrap() else {
        panic!("linked twice")
    };
    assert_eq!(
        (known.id, known.title.as_deref(), known.source),
        (link.id, Some("notes"), LinkSource::Manual)
    );
    let bad = world.tickets.link(&id, new("a\0b", LinkSource::Manual), &alice()).await.unwrap_err();
    assert!(matches!(bad, TicketError::Invalid { field: "path", .. }));
    let other = world.ticket().await;
    assert!(matches!(world.tickets.unlink(&other, link.id, &alice()).await, Err(TicketError::NoLink)));
    world.tickets.unlink(&id, link.id, &alice()).await.unwrap();
    assert_eq!(world.tickets.links(&id).await.unwrap(), []);
}

#[tokio::test]
async fn the_brief_says_everything_word_for_word() {
    let world = world();
    let id = world.ticket().await;
    world.reply(&id, "use $(rm -rf /)\n`x`", "cli", &alice()).await.unwrap();
    let link = NewLink { path: "notes/a b.md".into(), title: Some("Notes".into()), source: LinkSource::Auto };
    world.tickets.link(&id, link, &alice()).await.unwrap();
    let mut ticket = world.tickets.get(&id).await.unwrap().unwrap();
    ticket.body = "Line\r\n\u{202e}two".into();
    let comments = world.tickets.comments(&id, 0, 10).await.unwrap();
    let text = brief(&ticket, &comments, &world.tickets.links(&id).await.unwrap());
    assert_eq!(
        text,
        "# MC-1: Fix the login\n\nLine\r\n\u{202e}two\n\n## Files\n- notes/a b.md (Notes)\n\n\
         ## Conversation, oldest first\n\n### user:alice wrote to you\nuse $(rm -rf /)\n`x`\n"
    );
}
