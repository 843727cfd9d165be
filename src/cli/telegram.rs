//! `lucid telegram`: whether a message arrives.

use clap::Subcommand;

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::clean;
use crate::alert::TEST_PATIENCE;
use crate::api::wire;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Send a message to the chat of the settings and say whether it arrived
    Test,
    /// Make a chat known: reads the bot's token from standard input, waits for a code, writes the settings
    Setup,
}

/// # Errors
/// As [`Context::fetch`]; a message that does not arrive is an exit with 1.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Test => {}
        Verb::Setup => return super::setup::run(context),
    }
    context.note(&format!(
        "sending a message to the chat of the settings; waiting {} s at most",
        TEST_PATIENCE.as_secs()
    ));
    let path = api().segment("alerts").segment("test");
    let tested = context.fetch::<wire::AlertTest>(&Request::post(path).json(b"{}".to_vec()))?;
    context.show(&tested, |tested, _| render(tested))?;
    Ok(if tested.value.state == "delivered" { Exit::Done } else { Exit::No })
}

fn render(tested: &wire::AlertTest) -> String {
    let why = tested.error.as_deref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
    match (tested.state.as_str(), tested.message_id) {
        ("delivered", Some(id)) => format!("delivered, message {id}\n"),
        ("pending" | "sending", _) => format!("not delivered yet, it is tried again{why}\n"),
        (_, _) => format!("not delivered{why}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_in_a_line() {
        let told = |state: &str, message_id, error: Option<&str>| {
            render(&wire::AlertTest {
                schema_version: wire::SchemaVersion::default(),
                state: state.into(),
                message_id,
                error: error.map(str::to_owned),
            })
        };
        assert_eq!(told("delivered", Some(7), None), "delivered, message 7\n");
        assert_eq!(told("dead", None, Some("x\u{1b}[1m")), "not delivered: x\\x1b[1m\n");
        assert_eq!(told("pending", None, None), "not delivered yet, it is tried again\n");
    }
}
