//! Tests of a ticket's states.

use super::*;

fn ask() -> Ask {
    Ask { need: "a password".into(), why: None, how: None, options: Vec::new() }
}

fn steps() -> Vec<Step> {
    let text = || "x".to_owned();
    vec![
        Step::Start,
        Step::Ask(ask()),
        Step::Reply,
        Step::Resume,
        Step::Park { text: text(), until_ms: Some(9) },
        Step::Review,
        Step::Requeue,
        Step::GiveUp { code: text(), text: text() },
        Step::Done(GateAnswer::Merged),
        Step::Done(GateAnswer::NotMerged),
        Step::Done(GateAnswer::NoCommit),
        Step::Done(GateAnswer::Unreadable("no route".into())),
        Step::Close { text: text() },
    ]
}

fn ticket(state: TicketState) -> Ticket {
    Ticket::new("MC-1".parse().unwrap(), "t".into(), state, 1)
}

#[test]
fn every_state_by_every_step() {
    let mut table = String::new();
    for step in steps() {
        let cells: Vec<String> = TicketState::ALL
            .into_iter()
            .map(|from| {
                let mut ticket = ticket(from);
                let before = ticket.clone();
                match ticket.apply(step.clone(), 2) {
                    Ok(()) => ticket.state().name().to_owned(),
                    Err(illegal) => {
                        assert_eq!(ticket, before, "{illegal} has changed something");
                        if matches!(illegal, Illegal::Gate(_)) { "gate".into() } else { "-".into() }
                    }
                }
            })
            .collect();
        let name = format!("{step:?}");
        let name = name.split([' ', '{']).next().unwrap_or_default();
        table.push_str(&format!("{name:<28} {}\n", cells.join(" ")));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_question_goes_with_its_state() {
    let mut ticket = ticket(TicketState::InProgress);
    ticket.apply(Step::Ask(ask()), 5).unwrap();
    assert_eq!(ticket.ask, Some(ask()));
    assert_eq!(ticket.reason.as_ref().map(|r| (r.code.as_str(), r.since_ms)), Some(("asked", 5)));
    ticket.apply(Step::Reply, 6).unwrap();
    assert_eq!(
        (ticket.state(), ticket.ask.is_none(), ticket.reason.is_none()),
        (TicketState::Todo, true, true)
    );
    ticket.apply(Step::Park { text: "delivery".into(), until_ms: Some(99) }, 7).unwrap();
    ticket.apply(Step::Reply, 8).unwrap();
    assert_eq!(
        (ticket.state(), ticket.until_ms),
        (TicketState::Waiting, Some(99)),
        "a remark changes nothing"
    );
}

#[test]
fn a_closed_gate_says_why() {
    let mut ticket = ticket(TicketState::Review);
    let refused = ticket.apply(Step::Done(GateAnswer::Unreadable("no route".into())), 2).unwrap_err();
    assert!(refused.to_string().ends_with("cannot be read: no route"), "{refused}");
}
