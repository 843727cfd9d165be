//! `lucid ticket show`: a ticket with its conversation.

use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::{Look, Tone, clean};
use super::ticket::path;
use super::tickets::mark;
use crate::api::wire;
use crate::model::ids::TicketId;
use crate::platform::client::Request;

/// Columns of the names on the left.
const NAME_COLUMNS: usize = 9;

/// # Errors
/// As [`Context::fetch`].
pub fn show(context: &Context, id: &TicketId) -> Result<Exit, Failure> {
    let document = context.fetch::<wire::TicketDocument>(&Request::get(path(id)))?;
    if context.globals.json {
        context.print_json(&document.raw)?;
        return Ok(Exit::Done);
    }
    let comments = context.fetch::<wire::Comments>(&Request::get(path(id).segment("comments")))?;
    context.print(&render(&document.value.ticket, &comments.value.comments, &context.look()))?;
    Ok(Exit::Done)
}

fn render(ticket: &wire::Ticket, comments: &[wire::Comment], look: &Look) -> String {
    let (tone, letter) = mark(ticket.state);
    let mut out = format!(
        "{} {}  {}  {}\n",
        look.paint(tone, letter),
        look.paint(Tone::Strong, &clean(&ticket.id)),
        look.paint(tone, ticket.state.name()),
        clean(&ticket.title)
    );
    for (name, value) in facts(ticket, look) {
        let name = look.paint(Tone::Faint, &format!("{name:<NAME_COLUMNS$}"));
        out.push_str(&format!("  {name} {}\n", clean(&value)));
    }
    if let Some(ask) = &ticket.ask {
        out.push_str(&question(&ticket.id, ask, look));
    }
    if !ticket.body.is_empty() {
        out.push_str(&format!("\n{}", paragraph(&ticket.body)));
    }
    for comment in comments {
        let head =
            format!("{} {} {}", look.instant(comment.at), clean(&comment.author), clean(&comment.kind));
        out.push_str(&format!("\n{}\n{}", look.paint(Tone::Faint, &head), paragraph(&comment.body)));
    }
    out
}

fn facts(ticket: &wire::Ticket, look: &Look) -> Vec<(&'static str, String)> {
    let mut facts = vec![("priority", ticket.priority.name().to_owned())];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    let dated = |reason: &wire::TicketReason| format!("{} ({})", reason.text, look.since(reason.since));
    add("why", ticket.reason.as_ref().map(dated));
    add("until", ticket.until.map(|at| look.full_instant(at)));
    add("assignee", ticket.assignee.clone());
    add("agent", ticket.agent.clone());
    add("pool", ticket.pool.clone());
    if ticket.attempt > 0 {
        let most = ticket.max_attempts.map(|max| format!(" of {max}")).unwrap_or_default();
        add("attempt", Some(format!("{}{most}", ticket.attempt)));
    }
    let run = |run| format!("{} · lucid logs {run}", super::context::run_reference(run));
    add("run", ticket.run.map(run));
    add("slot", ticket.slot.clone());
    add("branch", ticket.branch.clone());
    add("commit", ticket.commit.clone());
    add("check-in", ticket.check_in_at.map(|at| look.instant(at)));
    if let Some(report) = &ticket.report {
        add("report", Some(format!("{}: {}", report.status, report.summary)));
        add("evidence", report.evidence.clone());
    }
    add("created", Some(look.full_instant(ticket.created_at)));
    facts
}

fn question(id: &str, ask: &crate::model::ticket::Ask, look: &Look) -> String {
    let mut out = format!("\n{}\n", look.paint(Tone::Warn, "It asks:"));
    out.push_str(&paragraph(&ask.need));
    for part in [&ask.why, &ask.how].into_iter().flatten() {
        out.push_str(&paragraph(part));
    }
    for option in &ask.options {
        out.push_str(&format!("  - {}\n", clean(option)));
    }
    out.push_str(&format!("  Answer: lucid reply {} TEXT\n", clean(id)));
    out
}

/// Text of many lines, each cleaned and set in.
fn paragraph(text: &str) -> String {
    text.lines().map(|line| format!("  {}\n", clean(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::look::Paint;
    use super::super::look::tests::{HOSTILE, look};
    use super::super::tickets::tests::ticket;
    use super::*;
    use crate::model::ticket::{Ask, Report, TicketState};

    #[test]
    fn a_ticket_with_all_there_is_cannot_move_the_cursor() {
        let mut full = ticket("MC-7", TicketState::NeedsInput);
        full.body = format!("Line one\n{HOSTILE}\nlast");
        full.ask = Some(Ask {
            need: "Which database?".into(),
            why: Some(HOSTILE.into()),
            how: None,
            options: vec!["prod".into(), HOSTILE.into()],
        });
        full.report = Some(Report {
            status: "partial".into(),
            summary: "half".into(),
            commit: None,
            evidence: Some(HOSTILE.into()),
        });
        (full.attempt, full.max_attempts, full.run) = (2, Some(3), Some(81));
        full.branch = Some("cr/MC-7-fix-2".into());
        let comment = wire::Comment {
            id: 1,
            at: "2026-11-26T11:00:00Z".parse().unwrap(),
            kind: "message".into(),
            author: HOSTILE.into(),
            run: None,
            body: format!("{HOSTILE}\nok"),
        };
        let text = render(&full, &[comment], &look(Paint::Plain));
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']));
        insta::assert_snapshot!(text);
    }
}
