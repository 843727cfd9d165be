//! The daemon's settings: found, read, checked, and each with its origin.
//!
//! Three layers make a value: the embedded default (`config/lucid.yaml` of the repository, word for
//! word), the file that was found, the environment. The embedded file *is* the list of keys; `typed`
//! gives each its type and bounds. A key or a `LUCID_*` variable that is not in that list is refused,
//! and all problems are reported at once. No key holds a secret: `secrets.file` names where they are.
//!
//! Only [`Sources::from_process`] looks at the process; the rest works on what it is given.

mod agents;
mod bars;
mod doubts;
pub mod edit;
mod environment;
mod family;
mod file;
mod health;
mod layers;
mod pools;
mod problem;
mod reader;
mod remark;
mod sources;
mod suggest;
mod syncs;
mod telegram;
mod typed;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

pub use agents::{Agent, Dispatch};
pub use bars::bars;
pub use doubts::{Doubt, doubts};
pub use health::{Health, TokenCheck, TokenSource};
pub use pools::{Pool, remote_branch};
pub use problem::{ConfigErrors, Place, Problem};
pub use sources::{Placement, Sources};
pub use suggest::nearest;
pub use syncs::{Sync, SyncAction};
pub use telegram::{Telegram, TelegramTopics};
pub use typed::{
    Backup, CgroupUse, Config, Control, Defaults, Janitor, Limits, Log, LogFormat, LogLevel, Messages,
    Retention, Scheduler, Secrets, SecretsFile, Tickets,
};

use file::Entry;
use layers::{Layers, items_of};
use reader::Reader;

/// The file of the repository: every key, its default, one comment.
pub const EMBEDDED: &str = include_str!("../../config/lucid.yaml");

/// A key, what it is set to, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted path, `scheduler.tick`.
    pub key: String,
    /// As it takes effect: paths absolute, `auto` resolved.
    pub value: String,
    pub source: Origin,
    /// Where its value stands.
    pub place: Place,
}

impl Setting {
    /// The value as it is shown: of a program's variables the names alone, since what they hold may be a secret.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, str> {
        if !self.key.starts_with("agents.") || !self.key.ends_with(".env") {
            return Cow::Borrowed(&self.value);
        }
        let masked = |item: &String| match item.split_once('=') {
            Some((name, _)) => format!("{name}=***"),
            None => "***".to_owned(),
        };
        Cow::Owned(items_of(&self.value).iter().map(masked).collect::<Vec<_>>().join(","))
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: u64 },
    Env { name: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env { name } => write!(f, "env {name}"),
        }
    }
}

/// Finds the config and reads it.
///
/// # Errors
/// [`ConfigErrors::NotFound`] when there is no file in any of the usual places, else
/// [`ConfigErrors::Refused`] with everything that is wrong.
pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
    let file = sources.find()?;
    let shown = sources.shown(&file);
    let text = file::read(&file).map_err(|why| ConfigErrors::one(Place::Path(shown.clone()), why))?;
    let (entries, problems) = file::parse(&text, &shown);
    assemble(sources, Some(file), entries, problems, environment::read(&sources.env))
        .map_err(|e| e.quoting(&text))
}

/// The embedded defaults and the environment, for commands that do without a file; relative paths
/// start at the current folder.
///
/// # Errors
/// [`ConfigErrors::Refused`] when the environment names a key that does not exist or a bad value.
pub fn without_file(sources: &Sources) -> Result<Config, ConfigErrors> {
    assemble(sources, None, Vec::new(), Vec::new(), environment::read(&sources.env))
}

/// The control socket that a configuration names although something else in it is refused: a slip in a
/// setting must not keep anybody from `lucid stop`.
#[must_use]
pub fn socket_despite(sources: &Sources) -> Option<PathBuf> {
    let (config, is_unread) = only(sources, &PLACES)?;
    // A text that is no YAML may name any socket: only one that is there can be meant.
    Some(config.control.socket).filter(|socket| !is_unread || socket.exists())
}

/// What a heartbeat needs of a configuration that is refused: where the state is, and the way to a person as far as
/// that part is sound. Everything else has its default.
#[must_use]
pub fn heartbeat_despite(sources: &Sources) -> Option<Config> {
    let (config, is_unread) = HEARTBEAT_PARTS.iter().find_map(|wanted| only(sources, wanted))?;
    Some(config).filter(|config| !is_unread || config.state_dir.is_dir())
}

/// Settings that say where things are.
const PLACES: [&str; 3] = ["root", "state_dir", "control.socket"];
/// From the most that a heartbeat can use to the least that it needs; a section ends in a dot.
const HEARTBEAT_PARTS: [&[&str]; 3] = [
    &["root", "state_dir", "control.socket", "timezone", "log.file_max", "telegram."],
    &["root", "state_dir", "control.socket", "telegram."],
    &PLACES,
];

/// The settings of `wanted` alone, and whether the file's text could not be read at all.
fn only(sources: &Sources, wanted: &[&str]) -> Option<(Config, bool)> {
    let file = sources.find().ok()?;
    let text = file::read(&file).ok()?;
    let (entries, problems) = file::parse(&text, &sources.shown(&file));
    let is_unread = entries.is_empty() && !problems.is_empty();
    let is_wanted =
        |key: &str| wanted.iter().any(|part| key == *part || (part.ends_with('.') && key.starts_with(part)));
    let entries = entries.into_iter().filter(|entry| is_wanted(&entry.key)).collect();
    let variables = environment::read(&sources.env).into_iter();
    let variables =
        variables.filter(|set| is_wanted(&environment::key_of(&set.name.to_uppercase()))).collect();
    let config = assemble(sources, Some(file), entries, Vec::new(), variables).ok()?;
    Some((config, is_unread))
}

fn assemble(
    sources: &Sources,
    file: Option<PathBuf>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    variables: Vec<environment::Variable>,
) -> Result<Config, ConfigErrors> {
    let placement = file.as_ref().map_or(Placement::Anywhere, |file| sources.placement(file));
    let folder = file.as_deref().and_then(Path::parent).unwrap_or(&sources.cwd).to_owned();
    let mut layers = Layers::embedded(|key| sources.placed_default(key, placement));
    layers.problems.extend(problems);
    layers.add_file(entries);
    layers.add_environment(variables);
    let mut reader = Reader::new(layers, sources, placement);
    let mut config = typed::build(&mut reader, &folder, file);
    config.placement = placement;
    config.settings = reader.finish()?;
    Ok(config)
}

#[cfg(test)]
mod tests;
