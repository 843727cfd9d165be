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
    /// Names that the secrets file holds; `None` where nobody can tell.
    pub secrets: Option<BTreeSet<String>>,
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
    let Some(known) = &here.secrets else { return };
    for name in settings.secrets.iter().filter(|name| !known.contains(*name)) {
        let message = format!("the secrets file has no `{}`", shown(name));
        say("secrets", "W307", message, "add it to the file that `secrets.file` of the config names");
    }
}
