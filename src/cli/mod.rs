//! The command line: one file a command, each with its arguments, what it asks and how the answer looks.
//!
//! Commands speak to the daemon over its socket with the wire types and start no runtime; those that need
//! no daemon read files. Renderers are pure functions, tested with hostile names and without a terminal.

mod action;
mod agents;
mod alert;
mod alerts;
mod api;
mod api_errors;
mod args;
mod backup;
mod check;
mod completions;
mod config;
mod context;
mod drain;
mod enable;
mod explain;
mod failure;
pub mod fake_agent;
mod files;
mod follow;
mod grid;
mod health;
mod heartbeat;
mod instant;
mod kill;
mod log_lines;
mod logs;
mod look;
mod man;
mod message;
mod messages;
mod next;
mod offline;
mod pause;
mod pool;
mod problems;
mod refusal;
mod reload;
mod reply;
mod retry;
mod run;
mod runs;
mod screen;
mod serve;
mod setup;
mod status;
mod stop;
mod task;
mod tasks;
mod telegram;
mod ticket;
mod ticket_log;
mod ticket_view;
mod tickets;
mod token_health;
mod usage;
mod why;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use context::Context;
use failure::{Exit, Failure};
use look::Tone;

/// Runs the command that the arguments name and gives the exit code of the contract.
#[must_use]
pub fn main() -> ExitCode {
    // Prints help and usage errors by itself, with 0 and 2.
    let cli = Cli::parse();
    let context = Context::new(cli.globals);
    let exit = match dispatch(&context, &cli.command) {
        Ok(exit) => exit,
        Err(failure) if failure.is_broken_pipe() => Exit::Done,
        Err(failure) => {
            tell(&context, &failure);
            failure.exit()
        }
    };
    ExitCode::from(exit.code())
}

fn dispatch(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => serve::run(context, args),
        Command::Status => status::run(context),
        Command::Problems => problems::run(context),
        Command::Health(args) => health::run(context, args),
        Command::Heartbeat => heartbeat::run(context, heartbeat::By::Itself),
        Command::Tasks(args) => tasks::run(context, args),
        Command::Task(args) => task::run(context, args),
        Command::Next(args) => next::run(context, args),
        Command::Why(args) => why::run(context, args),
        Command::Check(args) => offline::check(context, args),
        Command::Explain(args) => offline::explain(context, args),
        Command::Run(args) => run::run(context, args),
        Command::Kill(args) => kill::run(context, args),
        Command::Retry(args) => retry::run(context, args),
        Command::Runs(args) => runs::run(context, args),
        Command::Logs(args) => logs::run(context, args),
        Command::Tickets(args) => tickets::run(context, args),
        Command::Ticket(args) => ticket::run(context, args),
        Command::Reply(args) => reply::run(context, args),
        Command::Messages(args) => messages::run(context, args),
        Command::Message(args) => message::run(context, args),
        Command::Enable(args) => enable::run(context, args, enable::Wanted::Enabled),
        Command::Disable(args) => enable::run(context, args, enable::Wanted::Disabled),
        Command::Pause(args) => pause::run(context, args),
        Command::Resume(args) => pause::resume(context, args),
        Command::Pool(args) => pool::run(context, args),
        Command::Agents(args) => agents::run(context, args),
        Command::Alerts(args) => alerts::run(context, args),
        Command::Alert(args) => alert::run(context, args),
        Command::Telegram(args) => telegram::run(context, args),
        Command::Usage(args) => usage::run(context, args),
        Command::ApiErrors(args) => api_errors::run(context, args),
        Command::Reload => reload::run(context),
        Command::Drain => drain::run(context, drain::Wanted::Drain),
        Command::Undrain => drain::run(context, drain::Wanted::Undrain),
        Command::Stop(args) => stop::run(context, args),
        Command::Config(args) => config::run(context, args),
        Command::Api(args) => api::run(context, args),
        Command::Action(args) => action::run(context, args),
        Command::Backup(args) => backup::run(context, args),
        Command::Completions(args) => completions::run(context, args),
        Command::Man(args) => man::run(context, args),
    }
}

/// On standard error: what went wrong, for programs with its code, and what to do.
fn tell(context: &Context, failure: &Failure) {
    let look = context.error_look();
    let word = match context.globals.json {
        true => format!("error[{}]:", look::clean(failure.code())),
        false => "error:".to_owned(),
    };
    let mut text = match failure {
        Failure::Settings { errors, .. } => refusal::render(errors, &word, &look),
        _ => format!("{} {failure}\n", look.paint(Tone::Bad, &word)),
    };
    if let Some(help) = failure.help() {
        text.push_str(&format!("{} {}\n", look.paint(Tone::Live, " help:"), look::clean(&help)));
    }
    // With nobody to tell, the exit code still says it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
