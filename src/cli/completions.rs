//! `lucid completions`: a shell's completion script, generated from the definition of the arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::args::Cli;
use super::context::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// # Errors
/// [`Failure::Output`].
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    context.print_bytes(&script(args.shell))?;
    Ok(Exit::Done)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lucid", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(script(shell)).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
