//! What tickets, their workers and the messages to those lead to.

use super::{Answered, Facts, Verdict, bold, code, number, ordinal, plain, text};
use crate::alert::dedupe::{Over, Tell};
use crate::alert::words::{clip, passage, phrase};
use crate::model::event::{Event, EventKind};
use crate::model::notice::{Button, Notice, NoticeKind, Part, Quiet, Shown, Topic};
use crate::model::span::span;
use crate::model::task::Severity;
use crate::model::ticket::{Ask, TicketState};

/// Characters of each part of a question.
const ASK_CHARS: usize = 400;
/// Characters of a button.
const OPTION_CHARS: usize = 24;
/// Options that become buttons.
const OPTIONS_MAX: usize = 6;
/// What tells no end of itself is over after this, milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;

fn new(kind: NoticeKind, subject: String, facts: &Facts) -> Notice {
    let is_critical = matches!(facts, Facts::Ticket(ticket) if ticket.is_critical);
    let severity = if is_critical { Severity::Critical } else { Severity::Warning };
    let mut notice = Notice::new(kind, subject, severity);
    notice.topic = Topic::Tickets;
    notice
}

/// A worker needs a person.
pub(super) fn asked(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(ticket) = &event.ticket else { return Vec::new() };
    let Ok(ask) = serde_json::from_value::<Ask>(event.data.clone()) else { return Vec::new() };
    let mut notice = new(NoticeKind::TicketAsks, format!("ticket:{ticket}"), facts);
    notice.headline = vec![bold(format!("{ticket} needs you"))];
    if let Facts::Ticket(facts) = facts {
        notice.body.extend([plain(phrase(&facts.title)), Part::Break]);
    }
    for (name, said) in
        [("Asks: ", Some(&ask.need)), ("Why: ", ask.why.as_ref()), ("How: ", ask.how.as_ref())]
    {
        let Some(said) = said.map(|said| passage(said, ASK_CHARS)).filter(|said| !said.is_empty()) else {
            continue;
        };
        notice.body.extend([bold(name), plain(said), Part::Break]);
    }
    let answered = match facts {
        Facts::Ticket(facts) => &facts.answered,
        Facts::None
        | Facts::Run(_)
        | Facts::Message(_)
        | Facts::Start(_)
        | Facts::File(_)
        | Facts::Machine(_) => &Answered::ByWorker,
    };
    notice.meanwhile = vec![Part::Italic(what_a_reply_does(answered).to_owned())];
    notice.buttons = ask
        .options
        .iter()
        .take(OPTIONS_MAX)
        .enumerate()
        .map(|(n, option)| {
            Button::data(&clip(&phrase(option), OPTION_CHARS), format!("t:option:{ticket}:{n}"))
        })
        .collect();
    notice.buttons.push(Button::data("Snooze 3h", format!("t:snooze:{ticket}:3h")));
    if let Answered::ByLook { portal: Some(portal) } = answered {
        notice.buttons.extend(Button::link("Open", portal));
    }
    notice.quiet = Quiet::Wait;
    // Another question, or the same once more, is a message of its own: nobody reads an old one again.
    let earlier = Verdict::Clear(Over {
        subject: format!("ticket:{ticket}"),
        kinds: vec![NoticeKind::TicketAsks],
        ending: vec![plain("Asked anew.")],
        tell: Tell::Edit,
    });
    vec![earlier, Verdict::raise(notice)]
}

fn what_a_reply_does(answered: &Answered) -> &'static str {
    match answered {
        Answered::ByWorker => "Reply to this message. Your text goes to the ticket and the worker resumes.",
        Answered::ByPerson => "Reply to this message. Your text goes to the ticket; no worker is put on it.",
        Answered::ByLook { .. } => {
            "Reply to this message when it is done, with any word: the login is looked at again at once."
        }
    }
}

/// It waits for a person, or no longer does.
pub(super) fn moved(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(ticket) = &event.ticket else { return Vec::new() };
    let state = |field| text(event, field).and_then(TicketState::parse);
    let (from, to) = (state("from"), state("to"));
    let code_of = text(event, "code").unwrap_or_default();
    if to == Some(TicketState::NeedsInput) {
        return match code_of {
            // The question tells it; whoever stopped the worker knows.
            "asked" | "stopped" => Vec::new(),
            _ => vec![Verdict::raise(stuck(ticket, event, facts))],
        };
    }
    if from != Some(TicketState::NeedsInput) {
        return Vec::new();
    }
    let word = to.map_or("moved", TicketState::name).replace('_', " ");
    // Parts of lucid have no `:` in their names, people and runs do. What people do they know.
    let by_lucid = event.actor.as_deref().is_some_and(|actor| !actor.contains(':'));
    let (ending, tell) = match text(event, "reason").filter(|_| by_lucid && to == Some(TicketState::Closed)) {
        Some(why) => (passage(why, ASK_CHARS), Tell::Reply),
        None => (format!("Now {word}."), Tell::Edit),
    };
    vec![Verdict::Clear(Over {
        subject: format!("ticket:{ticket}"),
        kinds: vec![NoticeKind::TicketAsks, NoticeKind::TicketStuck],
        ending: vec![plain(ending)],
        tell,
    })]
}

fn stuck(ticket: &str, event: &Event, facts: &Facts) -> Notice {
    let mut notice = new(NoticeKind::TicketStuck, format!("ticket:{ticket}"), facts);
    let reason = text(event, "code").unwrap_or("no reason is known").replace('_', " ");
    notice.headline = vec![bold(format!("{ticket} waits for you")), plain(format!(" · {}", phrase(&reason)))];
    if let Facts::Ticket(facts) = facts {
        notice.body.extend([plain(phrase(&facts.title)), Part::Break]);
        let of = facts.max_attempts.map(|max| format!(" of {max}")).unwrap_or_default();
        notice.body.extend([plain(format!("{} attempt{of}. ", ordinal(facts.attempt)))]);
    }
    if let Some(why) = text(event, "reason") {
        notice.body.push(plain(passage(why, ASK_CHARS)));
    }
    notice.meanwhile.extend([
        plain("No worker is put on it until you reply, or: "),
        code(format!("lucid ticket move {ticket} todo")),
    ]);
    notice.buttons = vec![
        Button::data("Run again", format!("t:todo:{ticket}")),
        Button::data("Close ticket", format!("t:close:{ticket}")),
        Button::data("Snooze 3h", format!("t:snooze:{ticket}:3h")),
    ];
    notice.quiet = Quiet::Wait;
    notice
}

/// Whoever works again is no longer down.
pub(super) fn started(event: &Event) -> Vec<Verdict> {
    let over = |subject: String| {
        Verdict::Clear(Over { subject, kinds: Vec::new(), ending: Vec::new(), tell: Tell::Edit })
    };
    let agent = text(event, "agent").map(|agent| over(format!("agent:{agent}")));
    let worker = event.ticket.as_ref().map(|ticket| over(format!("worker:{ticket}")));
    agent.into_iter().chain(worker).collect()
}

/// A worker ran into its limit; every other end is told by where its ticket goes.
pub(super) fn ended(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let Some(ticket) = &event.ticket else { return Vec::new() };
    if text(event, "outcome") != Some("timeout") {
        return Vec::new();
    }
    let mut notice = new(NoticeKind::WorkerKilled, format!("worker:{ticket}"), facts);
    notice.severity = Severity::Warning;
    notice.headline = vec![bold(format!("{ticket} worker stopped at max run time"))];
    notice.fades_ms = Some(DAY_MS);
    let run = number(event, "run");
    if let Facts::Ticket(facts) = facts {
        if let Some(ms) = facts.max_runtime_ms {
            notice.headline.push(plain(format!(" · {}", span(ms))));
        }
        notice.body.extend([plain(phrase(&facts.title)), Part::Break]);
        if let Some(agent) = &facts.agent {
            notice.body.push(plain(format!("Agent {}", phrase(agent))));
        }
        if let Some(branch) = &facts.branch {
            notice.body.extend([plain(", branch "), code(phrase(branch))]);
        }
        notice.body.extend([plain("."), Part::Break]);
    }
    match text(event, "commit") {
        Some(commit) => notice.body.extend([
            plain("Its work is kept: commit "),
            code(commit.chars().take(12).collect::<String>()),
            plain("."),
        ]),
        None => notice.body.push(plain("It had committed nothing; what was changed is rescued.")),
    }
    if let Facts::Ticket(facts) = facts {
        let of = facts.max_attempts.map(|max| format!(" of {max}")).unwrap_or_default();
        notice.body.extend([
            Part::Break,
            plain("Ticket moved to "),
            bold(facts.state.replace('_', " ")),
            plain(format!(" (attempt {}{of}).", facts.attempt)),
        ]);
    }
    notice.buttons = run
        .map(|run| Button::data("Log", format!("r:log:{run}")))
        .into_iter()
        .chain([
            Button::data("Run again", format!("t:todo:{ticket}")),
            Button::data("Close ticket", format!("t:close:{ticket}")),
        ])
        .collect();
    vec![Verdict::raise(notice)]
}

/// What a person wrote has not reached the worker, and will not by itself.
pub(super) fn message_lost(event: &Event, facts: &Facts) -> Vec<Verdict> {
    let (Some(ticket), Some(id)) = (&event.ticket, number(event, "message")) else { return Vec::new() };
    let attempts = number(event, "attempts").unwrap_or(0);
    // Whoever wrote what no worker would read was told in the answer, and whoever dropped it knows.
    if event.data.get("told") == Some(&serde_json::Value::Bool(true)) {
        return Vec::new();
    }
    if event.kind == EventKind::MessageDead
        && text(event, "error").is_some_and(|why| why.starts_with("dropped by"))
    {
        return Vec::new();
    }
    let (kind, what) = match event.kind {
        EventKind::MessageExpired => (NoticeKind::MessageExpired, "not taken"),
        _ => (NoticeKind::MessageDead, "not delivered"),
    };
    let mut notice = new(kind, format!("message:{id}"), &Facts::None);
    notice.headline = vec![bold(format!("Message to {ticket} {what}"))];
    let author = text(event, "author").unwrap_or("somebody");
    notice.body = vec![plain(format!("From {}", phrase(author)))];
    if let Facts::Message(message) = facts {
        notice.body.extend([
            plain(" at "),
            Part::Time { ms: message.created_ms, shown: Shown::Clock },
            plain(": "),
            Part::Italic(passage(&message.text, ASK_CHARS)),
        ]);
    }
    notice.body.push(Part::Break);
    let why = text(event, "error").map_or_else(|| "no reason is known".to_owned(), phrase);
    notice.body.push(plain(match attempts {
        0 => format!("Why: {why}."),
        1 => format!("1 attempt failed. Last error: {why}."),
        n => format!("{n} attempts failed. Last error: {why}."),
    }));
    notice.meanwhile = vec![plain(
        "It is not tried again unless you say so; its text is on the ticket and in the next prompt.",
    )];
    notice.buttons = vec![
        Button::data("Try again", format!("m:retry:{id}")),
        Button::data("Put on ticket as comment", format!("m:comment:{id}")),
        Button::data("Drop", format!("m:drop:{id}")),
    ];
    notice.fades_ms = Some(DAY_MS);
    vec![Verdict::raise(notice)]
}

/// It is tried again.
pub(super) fn message_queued(event: &Event) -> Vec<Verdict> {
    let Some(id) = number(event, "message") else { return Vec::new() };
    vec![Verdict::Clear(Over {
        subject: format!("message:{id}"),
        kinds: Vec::new(),
        ending: vec![plain("It is tried again.")],
        tell: Tell::Edit,
    })]
}
