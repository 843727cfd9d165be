//! `lucid reply`: a message to a ticket's worker, this one or the next.

use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::clean;
use super::ticket::{body, path, text_or_input};
use crate::api::wire;
use crate::model::ids::TicketId;
use crate::model::message::MessageState;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "ID")]
    id: TicketId,
    /// The message; `-` reads it from standard input
    #[arg(value_name = "TEXT|-", allow_hyphen_values = true)]
    text: String,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let wish = wire::SendMessage { text: text_or_input(&args.text)?, via: Some("cli".to_owned()) };
    let request = Request::post(path(&args.id).segment("messages")).json(body(&wish)?);
    let document = context.fetch::<wire::MessageDocument>(&request)?;
    let mut said = sent(&document.value.message);
    if document.value.message.state == MessageState::Acked {
        // Nobody reads so fast: something was looked at, and its ticket says what was found.
        let ticket = context.fetch::<wire::TicketDocument>(&Request::get(path(&args.id)))?;
        said = found(&ticket.value.ticket);
    }
    context.show(&document, |_, _| said)
}

fn found(ticket: &wire::Ticket) -> String {
    let why = match (&ticket.ask, &ticket.reason) {
        (Some(ask), _) => ask.why.as_deref().unwrap_or(&ask.need),
        (None, Some(reason)) => &reason.text,
        (None, None) => "",
    };
    format!("{} is {}: {}\n", clean(&ticket.id), ticket.state.name(), clean(why))
}

fn sent(message: &wire::Message) -> String {
    let (id, ticket) = (message.id, clean(&message.ticket));
    match (message.state, &message.error) {
        (MessageState::Expired, Some(why)) => {
            format!("message {id} to {ticket} is a comment on it, and in the next prompt: {}\n", clean(why))
        }
        (state, _) => format!("message {id} to {ticket} is {}\n", state.name()),
    }
}
