//! Settings that read well and keep the daemon from starting all the same, for what they name is not there.

use std::path::Path;

use nix::unistd::Group;

use super::doubts::missing;
use super::{Config, ConfigErrors, SecretsFile};
use crate::platform::glimpse::{self, LOOK_MAX, Look};

/// Whether the daemon would start with `config` as this machine is. A file system that hangs is waited for no longer
/// than [`LOOK_MAX`].
///
/// # Errors
/// What it would refuse, each with the place of its setting.
pub fn bars(config: &Config) -> Result<(), ConfigErrors> {
    let mut problems = Vec::new();
    if let SecretsFile::Path(path) = &config.secrets.file
        && let Some(wrong) = absent(path)
    {
        let help = "write it, NAME=value on each line, or leave secrets.file out";
        problems.push(config.problem("secrets.file", &wrong, help));
    }
    if let Some(group) = &config.control.group
        && !may_be_group(group)
    {
        let help = "name one that is there (getent group), make it (groupadd), or leave control.group out";
        problems.push(config.problem("control.group", &format!("there is no group `{group}`"), help));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let refused = ConfigErrors::Refused { problems };
    match config.text() {
        Some(text) => Err(refused.quoting(&text)),
        None => Err(refused),
    }
}

/// Elsewhere than in the service nobody knows what systemd hands over, which has no place yet.
fn absent(path: &Path) -> Option<String> {
    if !path.is_absolute() {
        return None;
    }
    let named = path.to_owned();
    let look = Look::new(path, move || missing(&named, "file"));
    // One on a file system that hangs may be there.
    glimpse::within(LOOK_MAX, vec![look]).into_iter().flatten().flatten().next()
}

/// A number needs no name, and where nobody can be asked it is for the daemon to find out.
fn may_be_group(name: &str) -> bool {
    name.parse::<u32>().is_ok() || !matches!(Group::from_name(name), Ok(None))
}
