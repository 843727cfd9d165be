//! Settings that read well and name something on this machine that cannot be used as it is. The daemon starts
//! with them: a disk may come later, and whatever else it does goes on meanwhile. They are told all the same.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{Config, Place, Problem, Setting, file};
use crate::platform::git;

/// The most of a token's file that is looked at, in bytes.
const TOKEN_MAX_BYTES: u64 = 4096;

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

/// Looks at everything that the settings name. Blocks as long as the file systems do.
#[must_use]
pub fn doubts(config: &Config) -> Vec<Doubt> {
    let mut look = Look {
        config,
        text: config.file.as_deref().and_then(|path| file::read(path).ok()),
        found: Vec::new(),
    };
    if let Some(path) = &config.telegram.token_file {
        let help = "lucid telegram setup writes it; by hand it holds the token of BotFather and nothing else";
        look.at("telegram.token_file", path, token(path), help);
    } else if let Some(chat) = config.telegram.chat_id {
        let wrong = Some("the chat is named and telegram.token_file is not: nothing is sent".to_owned());
        look.at("telegram.chat_id", Path::new(&chat.to_string()), wrong, "lucid telegram setup sets both");
    }
    for sync in &config.syncs {
        let help = "name the top of a clone, or make one there: git clone URL PATH";
        look.at(&format!("syncs.{}.repo", sync.name), &sync.repo, git::no_working_copy(&sync.repo), help);
        if let Some(key) = &sync.ssh_key {
            let help = "name the private key that ssh is to use, or leave it out";
            look.at(&format!("syncs.{}.ssh_key", sync.name), key, missing(key, "file"), help);
        }
    }
    for pool in &config.pools {
        let help = "name a clone of the repository, or make one there: git clone URL PATH";
        look.at(&format!("pools.{}.repo", pool.name), &pool.repo, git::no_repository(&pool.repo), help);
    }
    for disk in &config.health.disks {
        let help = "name a path on the file system that is to be looked at, / say, or leave it out";
        look.at("health.disks", disk, missing(disk, "file or folder"), help);
    }
    let shell = Path::new(&config.defaults.shell);
    if shell.is_absolute() {
        let help = "name a shell that is there, or leave it out";
        look.at("defaults.shell", shell, missing(shell, "file"), help);
    }
    look.found
}

struct Look<'a> {
    config: &'a Config,
    /// Of the file, as it is now.
    text: Option<String>,
    found: Vec<Doubt>,
}

impl Look<'_> {
    fn at(&mut self, key: &str, path: &Path, wrong: Option<String>, help: &str) {
        let Some(wrong) = wrong else { return };
        let setting = self.config.effective().iter().find(|setting: &&Setting| setting.key == key);
        let place = setting.map_or(Place::Embedded, |setting| setting.place.clone());
        let problem = Problem::new(place, format!("{key}: {wrong}")).help(Some(help.to_owned()));
        let problem = match &self.text {
            Some(text) => problem.quoting(text),
            None => problem,
        };
        self.found.push(Doubt { key: key.to_owned(), path: path.to_owned(), wrong, problem });
    }
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
