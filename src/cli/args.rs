//! What may stand on the command line: the global options and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    action, agents, alert, alerts, api, api_errors, backup, completions, config, enable, health, kill, logs,
    man, message, messages, next, offline, pause, pool, reply, retry, run, runs, serve, stop, task, tasks,
    telegram, ticket, tickets, usage, why,
};

const CODES: &str = "\
Exit codes:
  0 yes, done       3 no daemon        6 the wait timed out
  1 no, failed      4 no such id       7 not permitted
  2 usage           5 conflict (already running, disabled, paused)
  run --wait and --follow give the run's own: 124 timed out, 125 could not run,
  126 not executable, 127 not found, 128+n signal n";

/// Supervisor for a box on which AI agents work around the clock.
#[derive(Debug, Parser)]
#[command(name = "lucid", version, after_help = CODES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Configuration file [else: LUCID_CONFIG, ./config/lucid.yaml, ./lucid.yaml, user, system]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The daemon's socket [else: LUCID_SOCKET, then the configuration]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print the daemon's JSON document
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour; NO_COLOR counts for `auto`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Times in UTC, not in the local zone
    #[arg(long, global = true)]
    pub utc: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    Serve(serve::Args),
    /// One screen: health, what runs, what fails, what waits
    Status,
    /// Only what is wrong, each with the command that mends it
    Problems,
    /// Look at everything now: disks, agents, failed runs, logins; exits 0, 1 degraded, 2 critical
    Health(health::Args),
    /// One look, without needing the daemon: writes the status file, tells a person when the daemon is dead
    Heartbeat,
    /// All tasks: how they stand, last and next run, the last 14 results
    Tasks(tasks::Args),
    /// Everything about one task
    Task(task::Args),
    /// When tasks are due next; needs no daemon
    Next(next::Args),
    /// Why a task did or did not run
    Why(why::Args),
    /// Find what is wrong in task files; needs no daemon
    Check(offline::CheckArgs),
    /// What a code of `check` means, or a key of a task file; needs no daemon
    Explain(offline::ExplainArgs),
    /// Run a task now
    Run(run::Args),
    /// End a run and everything it started
    Kill(kill::Args),
    /// Run the task of an ended run again
    Retry(retry::Args),
    /// The ledger: every due instant and what came of it
    Runs(runs::Args),
    /// The output of a run
    Logs(logs::Args),
    /// The board: tickets and how they stand
    Tickets(tickets::Args),
    /// One ticket: make, show, move, comment, ask, close, dispatch, follow, report
    Ticket(ticket::Args),
    /// Send a message to a ticket's worker
    Reply(reply::Args),
    /// What people sent to workers, and how far it got
    Messages(messages::Args),
    /// Put a message in line again, or take it out
    Message(message::Args),
    /// Write `enabled: true` into the task's file
    Enable(enable::Args),
    /// Write `enabled: false` into the task's file; a live run goes on
    Disable(enable::Args),
    /// Start nothing of a task for a while; touches no file
    Pause(pause::Args),
    /// End a pause
    Resume(pause::ResumeArgs),
    /// Worktree slots: who has them, and what git says
    Pool(pool::Args),
    /// Agent profiles: whether each answers, works or rests
    Agents(agents::Args),
    /// What is or was wrong, and what was sent about it
    Alerts(alerts::Args),
    /// Say that you know of an alert, or mute it
    Alert(alert::Args),
    /// Whether a message arrives
    Telegram(telegram::Args),
    /// Tokens and money that runs have used
    Usage(usage::Args),
    /// Requests that providers refused
    ApiErrors(api_errors::Args),
    /// Read configuration and tasks again
    Reload,
    /// Start nothing new; what runs goes on
    Drain,
    /// End a drain
    Undrain,
    /// End all runs, then the daemon
    Stop(stop::Args),
    /// What is set, and where
    Config(config::Args),
    /// Send one request to the daemon and print the answer
    Api(api::Args),
    /// Do what a task's `action: NAME` does
    Action(action::Args),
    /// Copy the daemon's database, or verify such a copy
    Backup(backup::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
    /// Print the manual page, or write one a command into a folder
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    fn parse_all(good: &[&str]) {
        for line in good {
            let words = line.split(' ').map(|word| word.replace('_', " "));
            let parsed = Cli::try_parse_from(std::iter::once("lucid".to_owned()).chain(words));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|e| e.to_string()).unwrap_or_default());
        }
    }

    fn refuse_all(bad: &[&str]) {
        for line in bad {
            let parsed = Cli::try_parse_from(std::iter::once("lucid").chain(line.split_whitespace()));
            let code = parsed.map_or_else(|e| e.exit_code(), |_| 0);
            assert_eq!(code, 2, "{line}");
        }
    }

    #[test]
    fn tickets_and_messages_parse_or_are_usage_errors() {
        parse_all(&[
            "tickets",
            "tickets --state todo,open --find x -n 5 --json",
            "ticket new --title T --body B --priority high --pool main --agent fake",
            "ticket new --title T --body-file -",
            "ticket show mc-1",
            "ticket move MC-1 done",
            "ticket move MC-1 waiting --reason delivery --until 2027-03-27",
            "ticket comment MC-1 -",
            "ticket ask MC-1 --need x --why y --how z --option a --option b",
            "ticket close MC-1 --reason duplicate",
            "ticket dispatch MC-1",
            "ticket events MC-1 -f --after 7",
            "ticket report MC-1 --status done --summary ok --commit abcdef1 --evidence e",
            "reply MC-1 yes",
            "reply MC-1 -",
            "messages --state dead,expired",
            "message retry 3",
            "message drop 3",
        ]);
        refuse_all(&[
            "ticket",
            "ticket new",
            "ticket new --title T --body B --body-file F",
            "ticket new --title T --priority urgent",
            "ticket move MC-1 nowhere",
            "ticket show 12",
            "ticket close MC-1",
            "reply MC-1",
            "messages --state lost",
            "message retry x",
        ]);
    }

    #[test]
    fn alerts_are_asked_for_and_answered() {
        parse_all(&[
            "alerts",
            "alerts --state firing,muted -n 5 --text",
            "alert ack 3",
            "alert mute 3",
            "alert mute 3 --for 2h",
            "alert unmute 3",
            "telegram test",
            "telegram setup",
        ]);
        refuse_all(&["alert", "alert ack", "alert mute 3 --for soon", "alerts --state gone", "telegram"]);
    }

    #[test]
    fn health_and_its_logs_parse() {
        parse_all(&[
            "health --nagios",
            "health --json",
            "heartbeat",
            "logs --daemon -f",
            "logs --heartbeat --tail 5",
            "action heartbeat",
            "action token-health",
        ]);
    }

    #[test]
    fn every_command_of_the_contract_parses() {
        let good = [
            "serve",
            "serve --config x.yaml",
            "status --json",
            "--json status",
            "problems --utc",
            "tasks --failing",
            "tasks --state paused --tag repo",
            "task sub/name",
            "next",
            "next backup -n 3",
            "next --cron */5_*_*_*_* --tz Europe/Berlin --at 2027-03-27 -n 4",
            "why backup --at 02:00",
            "check",
            "check a.md b.md --strict --json",
            "check --format github",
            "explain E301",
            "explain",
            "run backup",
            "run backup --wait --wait-timeout 5m",
            "run backup --follow --force --env A=1 --env B=x=y",
            "kill #8132",
            "kill 8132 --grace 5s",
            "retry 8132",
            "runs",
            "runs backup --since 24h --failed -n 100",
            "runs --state ok,failed",
            "logs 8132 -f",
            "logs backup --tail 20",
            "logs --daemon --tail 50",
            "enable backup",
            "disable backup",
            "pause backup --for 1h --reason maintenance",
            "pause --all",
            "resume backup",
            "resume --all",
            "pool",
            "pool heal",
            "agents",
            "agents enable claude",
            "usage --ticket MC-1",
            "api-errors -n 5",
            "pool heal main-0",
            "reload",
            "drain",
            "undrain",
            "stop",
            "stop --from-systemd",
            "config --effective",
            "api GET /api/v1/status",
            "api POST /api/v1/tasks/x/runs {}",
            "action db-backup",
            "backup",
            "backup verify FILE",
            "completions bash",
            "man",
            "man DIR",
            "status --color never -q -vv --socket /x",
        ];
        parse_all(&good);
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        let bad = [
            "",
            "nonsense",
            "run",
            "run backup --wait --follow",
            "run backup --env A",
            "run backup --env =x",
            "run Bad_ID!",
            "kill backup",
            "kill 0",
            "pause",
            "pause backup --all",
            "pause backup --for soon",
            "resume",
            "runs --since soon",
            "runs --state nope",
            "runs -n 0",
            "next --tz Europe/Berlin --cron x --at never",
            "why",
            "logs",
            "logs Nope!",
            "logs 1 --daemon",
            "logs --daemon --heartbeat",
            "completions tcsh2",
            "api FETCH /x",
            "api POST /x {",
            "action nonsense",
            "check --format pretty",
            "status --color sometimes",
        ];
        refuse_all(&bad);
    }
}
