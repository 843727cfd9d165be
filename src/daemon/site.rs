//! Where runs find themselves: folders, environment, secrets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{CgroupUse, Config, SecretsFile};
use crate::platform::process::spec::Cgroups;
use crate::run::command::{INHERITED, SECRET_MIN_BYTES, Site, parse_env};
use crate::task::Secrets;

use super::boot::{BootError, Surroundings};

pub(super) fn site(config: &Config, surroundings: &Surroundings) -> Result<Site, BootError> {
    let named = |names: &dyn Fn(&str) -> bool| {
        surroundings.env.iter().filter(|(name, _)| names(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    let mut action_env: BTreeMap<String, String> = named(&|name| name.starts_with("LUCID_"));
    if let Some(file) = &config.file {
        action_env.insert("LUCID_CONFIG".to_owned(), file.to_string_lossy().into_owned());
    }
    Ok(Site {
        root: config.root.clone(),
        home: surroundings.home.clone(),
        exe: surroundings.exe.clone(),
        inherited: named(&|name| INHERITED.contains(&name)),
        action_env,
        secrets: read_secrets(config)?,
        worker_socket: config.state_dir.join(super::WORKER_SOCKET),
        default_shell: config.defaults.shell.clone(),
        cgroups: match config.limits.cgroup {
            CgroupUse::Auto => Cgroups::Auto,
            CgroupUse::Off => Cgroups::Off,
        },
    })
}

/// What the secrets file holds, by name; `None` where only the daemon can tell.
#[must_use]
pub fn secret_names(config: &Config) -> Option<Secrets> {
    match &config.secrets.file {
        SecretsFile::Stdin => None,
        SecretsFile::Nowhere => Some(Secrets::NoFile),
        SecretsFile::Path(_) => {
            let secrets = read_secrets(config).ok()?;
            let short = secrets.iter().filter(|(_, value)| value.len() < SECRET_MIN_BYTES);
            let short = short.map(|(name, _)| name.clone()).collect();
            Some(Secrets::File { short, names: secrets.into_keys().collect() })
        }
    }
}

/// The secrets by name.
///
/// # Errors
/// [`BootError::Secrets`].
pub(super) fn read_secrets(config: &Config) -> Result<BTreeMap<String, String>, BootError> {
    let (path, text) = match &config.secrets.file {
        SecretsFile::Nowhere => return Ok(BTreeMap::new()),
        SecretsFile::Stdin => (PathBuf::from("standard input"), std::io::read_to_string(std::io::stdin())),
        SecretsFile::Path(path) => (path.clone(), std::fs::read_to_string(path)),
    };
    let bad = |why: String| BootError::Secrets { path: path.clone(), why };
    parse_env(&text.map_err(|e| bad(e.to_string()))?).map_err(bad)
}
