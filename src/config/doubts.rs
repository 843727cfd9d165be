//! Settings that read well and name something on this machine that cannot be used as it is. The daemon starts
//! with them: a disk may come later, and whatever else it does goes on meanwhile. They are told all the same.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, Problem};
use crate::model::schedule::format_duration;
use crate::platform::git;
use crate::platform::glimpse::{self, LOOK_MAX, Look};

/// The most of a token's file that is looked at, in bytes.
const TOKEN_MAX_BYTES: u64 = 4096;
const HANGS_HELP: &str = "see whether the file system that it lies on still answers: mount, df";

/// One such setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Dotted path of the setting.
    pub key: String,
    /// What it names.
    pub path: PathBuf,
    /// What is wrong with that.
    pub wrong: String,
    pub problem: Problem,
}

/// Looks at everything that the settings name, for [`LOOK_MAX`] at most: what hangs is told as such.
#[must_use]
pub fn doubts(config: &Config) -> Vec<Doubt> {
    told(config, looks(config), LOOK_MAX)
}

/// What a setting names, how to see what is wrong with that, and what to do about it.
struct Named {
    key: String,
    look: Look<Option<String>>,
    help: &'static str,
}

fn looks(config: &Config) -> Vec<Named> {
    let mut all = Vec::new();
    let mut look = |key: String, path: &Path, wrong: fn(&Path) -> Option<String>, help: &'static str| {
        let named = path.to_owned();
        all.push(Named { key, look: Look::new(path, move || wrong(&named)), help });
    };
    if let Some(path) = &config.telegram.token_file {
        let help = "lucid telegram setup writes it; by hand it holds the token of BotFather and nothing else";
        look("telegram.token_file".to_owned(), path, token, help);
    } else if let Some(chat) = config.telegram.chat_id {
        let wrong =
            |_: &Path| Some("the chat is named and telegram.token_file is not: nothing is sent".to_owned());
        let help = "lucid telegram setup sets both";
        look("telegram.chat_id".to_owned(), Path::new(&chat.to_string()), wrong, help);
    }
    for sync in &config.syncs {
        let help = "name the top of a clone, or make one there: git clone URL PATH";
        look(format!("syncs.{}.repo", sync.name), &sync.repo, git::no_working_copy, help);
        if let Some(key) = &sync.ssh_key {
            let help = "name the private key that ssh is to use, or leave it out";
            look(format!("syncs.{}.ssh_key", sync.name), key, |path| missing(path, "file"), help);
        }
    }
    for pool in &config.pools {
        let help = "name a clone of the repository, or make one there: git clone URL PATH";
        look(format!("pools.{}.repo", pool.name), &pool.repo, git::no_repository, help);
    }
    for disk in &config.health.disks {
        let help = "name a path on the file system that is to be looked at, / say, or leave it out";
        look("health.disks".to_owned(), disk, |path| missing(path, "file or folder"), help);
    }
    let shell = Path::new(&config.defaults.shell);
    if shell.is_absolute() {
        let help = "name a shell that is there, or leave it out";
        look("defaults.shell".to_owned(), shell, |path| missing(path, "file"), help);
    }
    all
}

fn told(config: &Config, all: Vec<Named>, limit: Duration) -> Vec<Doubt> {
    let (mut about, mut looks) = (Vec::new(), Vec::new());
    for Named { key, look, help } in all {
        about.push((key, look.path.clone(), help));
        looks.push(look);
    }
    let seen = glimpse::within(limit, looks);
    let text = config.text();
    let doubt = |((key, path, help), seen): ((String, PathBuf, &str), Option<Option<String>>)| {
        let (wrong, help) = match seen {
            Some(wrong) => (wrong?, help),
            None => (late(&path, limit), HANGS_HELP),
        };
        let problem = config.problem(&key, &wrong, help);
        let problem = match &text {
            Some(text) => problem.quoting(text),
            None => problem,
        };
        Some(Doubt { key, path, wrong, problem })
    };
    about.into_iter().zip(seen).filter_map(doubt).collect()
}

fn late(path: &Path, limit: Duration) -> String {
    format!("{} could not be looked at within {}", path.display(), format_duration(limit))
}

/// What only others may look at is for them to judge.
pub(super) fn missing(path: &Path, what: &str) -> Option<String> {
    let error = path.metadata().err()?;
    let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    is_absent.then(|| format!("there is no {what} {}", path.display()))
}

/// What is wrong with the file of a bot's token, of which nothing is repeated.
fn token(path: &Path) -> Option<String> {
    // Elsewhere than in the service nobody knows what systemd hands over.
    if !path.is_absolute() {
        return None;
    }
    let shown = path.display();
    if let Some(missing) = missing(path, "file") {
        return Some(missing);
    }
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Some(format!("{shown} is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(TOKEN_MAX_BYTES).read_to_end(&mut bytes)).ok()?;
    if bytes.contains(&0) {
        return Some(format!("{shown} holds NUL bytes; a token is one line of text"));
    }
    bytes.trim_ascii().is_empty().then(|| format!("{shown} is empty; a bot's token belongs there"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::config::tests::World;

    #[test]
    fn what_hangs_is_told_and_keeps_nothing_else_from_being_told() {
        let world = World::new();
        world.write("here/lucid.yaml", "health:\n  disks: [/, /nowhere/at/all]\n");
        let config = world.load(&[]).unwrap();
        let mut all = looks(&config);
        let (hold, held) = mpsc::channel::<()>();
        let dead = Path::new("/mnt/dead");
        let look = Look::new(dead, move || held.recv().err().map(|_| "late".to_owned()));
        all.insert(0, Named { key: "health.disks".to_owned(), look, help: "none" });
        let told = told(&config, all, Duration::from_secs(1));
        let told: Vec<String> = told.iter().map(|doubt| doubt.problem.to_string()).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].ends_with("2:10: health.disks: /mnt/dead could not be looked at within 1s"),
            "{told:?}"
        );
        assert!(told[1].ends_with("health.disks: there is no file or folder /nowhere/at/all"), "{told:?}");
        drop(hold);
    }
}
