//! What a task names on this machine and is not there: worth a warning to whoever checks the file where it is to run.
//! Its runs would end `blocked` or fail at their start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnose::Severity;
use super::fields::{Fields, Reader};
use super::scalars::shown;
use crate::model::task::{Task, located};

/// Where tasks are to run.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Where relative paths start.
    pub root: PathBuf,
    pub home: Option<PathBuf>,
    /// `None` where nobody can tell.
    pub secrets: Option<Secrets>,
}

/// What there is of secrets, without their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrets {
    /// The config names no file.
    NoFile,
    File {
        names: BTreeSet<String>,
        /// Those of them that are too short to be masked.
        short: BTreeSet<String>,
    },
}

/// Says what is missing; of a task that is switched off nothing has to be there.
pub fn missing(reader: &mut Reader<'_>, fields: &Fields, task: &Task, here: &Here) {
    if !task.enabled {
        return;
    }
    let settings = &task.settings;
    let at = |path: &Path| located(&here.root, here.home.as_deref(), path);
    let mut say = |key: &str, code, message: String, help: &str| {
        if let Some(field) = fields.get(key) {
            reader.say(Severity::Warning, field.place, code, message, help);
        }
    };
    // A task with a pool runs in its slot.
    let dir = settings.working_dir.as_deref().filter(|_| settings.pool.is_none()).map(at);
    if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
        let message = format!("there is no folder {}", shown(&dir.display().to_string()));
        say("working_dir", "W304", message, "make it, or name one that is there");
    }
    if let Some(file) = settings.env_file.as_deref().map(at).filter(|file| !file.exists()) {
        let message = format!("there is no file {}", shown(&file.display().to_string()));
        say("env_file", "W305", message, "without it every run ends `blocked`");
    }
    // One without a slash is looked for in the PATH of its run.
    let shell = settings.shell.as_deref().map(Path::new);
    if let Some(shell) = shell.filter(|shell| shell.is_absolute() && !shell.exists()) {
        let message = format!("there is no shell {}", shown(&shell.display().to_string()));
        say("shell", "W306", message, "name one that is there");
    }
    let Some(secrets) = &here.secrets else { return };
    for name in &settings.secrets {
        match secrets {
            Secrets::NoFile => {
                let message = format!("there is no secrets file that could have `{}`", shown(name));
                say("secrets", "W307", message, "set `secrets.file` in the config, and write it there");
            }
            Secrets::File { names, .. } if !names.contains(name) => {
                let message = format!("the secrets file has no `{}`", shown(name));
                say("secrets", "W307", message, "add it to the file that `secrets.file` of the config names");
            }
            Secrets::File { short, .. } if short.contains(name) => {
                let message = format!("the secret `{}` is too short to be masked in output", shown(name));
                say("secrets", "W308", message, "every run ends `blocked` until it has 8 characters or more");
            }
            Secrets::File { .. } => {}
        }
    }
}
