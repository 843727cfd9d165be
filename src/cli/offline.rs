//! `lucid check` and `lucid explain` from the command line: their arguments, and where their output goes.

use std::io;
use std::path::PathBuf;

use clap::ValueEnum;

use super::context::Context;
use super::failure::{Exit, Failure};
use super::look::Paint;
use super::{check, config, explain, refusal};
use crate::daemon;
use crate::task::diagnose::Color;
use crate::task::{Here, Rules};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Task files or folders [default: the tasks folder]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    /// `file:line:col: severity[code]: message`
    Short,
    /// Annotations of a workflow
    Github,
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Such as E301 or catch_up [default: list them]
    #[arg(value_name = "CODE|KEY")]
    word: Option<String>,
}

/// # Errors
/// A path that cannot be looked at, a configuration that is refused, output that cannot be written.
pub fn check(context: &Context, args: &CheckArgs) -> Result<Exit, Failure> {
    let config = config::load_or_defaults(context)?;
    config::startable(&config)?;
    let doubts = refusal::warn(context, &config);
    let look = context.look();
    let here = Here {
        root: config.root.clone(),
        home: config::sources(context)?.home,
        secrets: daemon::secret_names(&config),
    };
    let request = check::Request {
        paths: args.files.clone(),
        tasks_dir: config.tasks_dir.clone(),
        rules: Rules { here: Some(here), ..daemon::rules(&config) },
        format: match (context.globals.json, args.format) {
            (true, _) => check::Format::Json,
            (false, Format::Short) => check::Format::Short,
            (false, Format::Github) => check::Format::Github,
            (false, Format::Human) => check::Format::Human(match look.paint {
                Paint::Ansi => Color::Always,
                Paint::Plain => Color::Never,
            }),
        },
        fails: if args.strict { check::Fails::OnWarnings } else { check::Fails::OnErrors },
        now: context.clock.wall(),
    };
    let mut out = Vec::new();
    let code = check::run(&request, &mut out)?;
    context.print_bytes(&out)?;
    // What the settings name is a warning as any other.
    exit(if args.strict && doubts > 0 { code.max(1) } else { code })
}

/// # Errors
/// Output that cannot be written.
pub fn explain(context: &Context, args: &ExplainArgs) -> Result<Exit, Failure> {
    let format = if context.globals.json { explain::Format::Json } else { explain::Format::Text };
    let mut out = Vec::new();
    let code = explain::run(args.word.as_deref(), format, &mut out, &mut io::stderr())?;
    context.print_bytes(&out)?;
    exit(code)
}

fn exit(code: i32) -> Result<Exit, Failure> {
    let code = u8::try_from(code).map_err(|_| anyhow::anyhow!("{code} is no exit code"))?;
    Ok(Exit::Code(code))
}
