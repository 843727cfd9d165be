//! `lucid message`: puts a message back in line, or takes it out.

use clap::Subcommand;

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::api::wire;
use crate::platform::client::{Method, Request};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Put an expired or dead message in line again
    Retry(Which),
    /// Take a message out of the line; its text stays on the ticket
    Drop(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = |which: &Which| api().segment("messages").segment(&which.id.to_string());
    let request = match &args.verb {
        Verb::Retry(which) => Request::post(path(which).segment("retry")).json(b"{}".to_vec()),
        Verb::Drop(which) => Request::new(Method::Delete, path(which)),
    };
    let document = context.fetch::<wire::MessageDocument>(&request)?;
    context.show(&document, |document, _| {
        let message = &document.message;
        format!("message {} to {} is {}\n", message.id, clean(&message.ticket), message.state.name())
    })
}
