//! `lucid action`: does what a task's `action: NAME` does. A keeper runs it like any command.

use std::fmt::Write as _;
use std::time::Duration;

use clap::builder::PossibleValuesParser;

use super::config;
use super::context::{Context, api};
use super::failure::{Exit, Failure};
use super::look::clean;
use super::{heartbeat, token_health};
use crate::api::wire;
use crate::daemon::actions::{self, Doer};
use crate::daemon::upkeep::SyncResult;
use crate::platform::client::Request;

/// The longest that the daemon may take for an action.
const UPKEEP_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(actions::ACTIONS))]
    name: String,
}

/// # Errors
/// What kept the action from being done.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match actions::doer(&args.name) {
        Doer::Pass => pick_up(context),
        Doer::Daemon => upkeep(context, &args.name),
        Doer::Brief(kind) => brief(context, kind.name()),
        Doer::Heartbeat => heartbeat::run(context, heartbeat::By::Task),
        Doer::TokenHealth => token_health::run(context),
        Doer::Syncs(action) => syncs(context, args, actions::syncs(action, &config::load(context)?)?),
        Doer::Here => {
            let said = actions::run(&args.name, &config::load(context)?, context.clock)?;
            context.print(&format!("{}\n", clean(&said)))?;
            Ok(Exit::Done)
        }
    }
}

/// A pass happens inside the daemon; this asks for one.
fn pick_up(context: &Context) -> Result<Exit, Failure> {
    let request = Request::post(api().segment("dispatch").segment("pass")).json(b"{}".to_vec());
    let passed = context.fetch::<wire::PassDocument>(&request)?;
    context.show(&passed, |passed, _| match &passed.held {
        Some(held) => format!("nothing is dispatched: {held}\n"),
        None => format!("{} placed, {} waiting\n", passed.placed, passed.waiting),
    })
}

fn upkeep(context: &Context, name: &str) -> Result<Exit, Failure> {
    let request = Request::post(api().segment("upkeep").segment(name)).json(b"{}".to_vec());
    // The run's own timeout is the one that counts.
    let done = context.fetch_within::<wire::UpkeepDocument>(&request, UPKEEP_MAX)?;
    context.show(&done, |done, _| {
        let mut text = format!("{}\n", clean(&done.summary));
        for line in &done.lines {
            // A String takes any text.
            let _ = writeln!(text, "{}", clean(line));
        }
        text
    })
}

fn brief(context: &Context, kind: &str) -> Result<Exit, Failure> {
    let request = Request::get(api().segment("brief").query("kind", kind));
    let brief = context.fetch::<wire::BriefDocument>(&request)?;
    context.show(&brief, |brief, _| {
        let lines: Vec<String> = brief.text.lines().map(|line| clean(line).into_owned()).collect();
        format!("{}\n", lines.join("\n"))
    })
}

/// Tells what became of each, here and to the daemon.
fn syncs(context: &Context, args: &Args, results: Vec<SyncResult>) -> Result<Exit, Failure> {
    if results.is_empty() {
        context.print(&format!("no sync in the config has `action: {}`; see syncs: there\n", args.name))?;
        return Ok(Exit::Done);
    }
    let syncs: Vec<wire::SyncOutcome> = results
        .into_iter()
        .map(|result| {
            let (ok, detail) = match result.outcome {
                Ok(detail) => (true, detail),
                Err(detail) => (false, detail),
            };
            wire::SyncOutcome { name: result.name, ok, detail }
        })
        .collect();
    let document = wire::SyncsDocument { schema_version: wire::SchemaVersion::default(), syncs };
    if context.globals.json {
        let raw = serde_json::to_vec(&document).map_err(anyhow::Error::from)?;
        context.print_json(&raw)?;
    } else {
        for sync in &document.syncs {
            let mark = if sync.ok { "ok" } else { "failed" };
            context.print(&format!("{} {mark}: {}\n", clean(&sync.name), clean(&sync.detail)))?;
        }
    }
    let failed = document.syncs.iter().filter(|sync| !sync.ok).count();
    let body =
        serde_json::to_vec(&wire::WriteSyncs { syncs: document.syncs }).map_err(anyhow::Error::from)?;
    if let Err(unheard) = context.ask(&Request::post(api().segment("syncs")).json(body)) {
        // The sync is what was asked for; without a daemon nobody raises or ends an alert.
        context.note(&format!("the daemon was not told: {unheard}"));
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::No })
}
