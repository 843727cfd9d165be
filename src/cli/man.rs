//! `lucid man`: the manual pages, generated from the definition of the arguments.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;

use super::args::Cli;
use super::context::Context;
use super::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write lucid.1 and one page a command there
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// # Errors
/// [`Failure::Output`], or the folder cannot be written.
pub fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let pages = pages()?;
    match &args.folder {
        None => {
            if let Some((_, page)) = pages.first() {
                context.print_bytes(page)?;
            }
        }
        Some(folder) => {
            write(folder, &pages)?;
            context.note(&format!("lucid: {} pages in {}", pages.len(), folder.display()));
        }
    }
    Ok(Exit::Done)
}

/// File names and pages, `lucid.1` first.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut lucid = Cli::command();
    lucid.build();
    let mut pages = vec![("lucid.1".to_owned(), page(&lucid)?)];
    for command in lucid.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("lucid-{}", command.get_name());
        let named = command.clone().display_name(name.clone());
        pages.push((format!("{name}.1"), page(&named)?));
    }
    Ok(pages)
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| anyhow::anyhow!("cannot write the page of {}: {error}", command.get_name()))?;
    Ok(page)
}

fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let at = |path: &Path, error| anyhow::anyhow!("cannot write {}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
    for (name, page) in pages {
        let path = folder.join(name);
        fs::write(&path, page).map_err(|error| at(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_names_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &pages().unwrap()).unwrap();
        for command in Cli::command().get_subcommands() {
            let path = folder.path().join(format!("lucid-{}.1", command.get_name()));
            assert!(fs::read_to_string(&path).unwrap().contains(".SH NAME"), "{}", path.display());
        }
        let run = fs::read_to_string(folder.path().join("lucid-run.1")).unwrap();
        assert!(run.contains("\\-\\-wait\\-timeout"), "{run}");
        assert!(fs::read_to_string(folder.path().join("lucid.1")).unwrap().contains("Exit codes"));
    }
}
