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
    context.show(&document, |document, _| sent(&document.message))
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
