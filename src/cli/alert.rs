//! `lucid alert`: a person knows, or wants to hear nothing of it for a while.

use std::time::Duration;

use clap::Subcommand;

use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::instant::duration;
use super::look::{Look, clean};
use crate::api::wire;
use crate::platform::client::Request;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say that you know: nothing more is sent until it is over or gets worse
    Ack(Which),
    /// Send nothing about the same trouble for a while
    Mute(Mute),
    /// End a mute
    Unmute(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    id: i64,
}

#[derive(Debug, clap::Args)]
struct Mute {
    #[command(flatten)]
    which: Which,
    /// For how long
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    length: Duration,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let path = |which: &Which, verb: &'static str| {
        Request::post(api().segment("alerts").segment(&which.id.to_string()).segment(verb))
    };
    let request = match &args.verb {
        Verb::Ack(which) => path(which, "ack").json(b"{}".to_vec()),
        Verb::Unmute(which) => path(which, "unmute").json(b"{}".to_vec()),
        Verb::Mute(mute) => {
            let for_ms = u64::try_from(mute.length.as_millis()).unwrap_or(u64::MAX);
            let body = serde_json::to_vec(&wire::MuteAlert { for_ms: Some(for_ms) })
                .map_err(|error| anyhow::anyhow!("cannot write the request: {error}"))?;
            path(&mute.which, "mute").json(body)
        }
    };
    let document = context.fetch::<wire::AlertDocument>(&request)?;
    context.show(&document, |document, look| render(&document.alert, look))
}

fn render(alert: &wire::Alert, look: &Look) -> String {
    let until = alert.muted_until.map(|at| format!(" until {} ({})", look.instant(at), look.until(at)));
    let what = clean(alert.text.lines().next().unwrap_or_default());
    format!("alert {} is {}{}: {what}\n", alert.id, alert.state.name(), until.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::alerts::tests::alert;
    use super::super::look::Paint;
    use super::super::look::tests::look;
    use super::*;
    use crate::model::alert::AlertState;

    #[test]
    fn what_became_of_it() {
        let look = look(Paint::Plain);
        let mut muted = alert(3, AlertState::Muted);
        muted.muted_until = Some("2026-11-26T12:30:00Z".parse().unwrap());
        let lines = [render(&alert(2, AlertState::Acked), &look), render(&muted, &look)];
        assert!(lines[0].starts_with("alert 2 is acked: 🔴 backup failed"), "{}", lines[0]);
        assert!(lines[1].starts_with("alert 3 is muted until "), "{}", lines[1]);
    }
}
