//! The working copies that are kept in step with a remote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::Reader;

const SECTION: &str = "syncs";
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// A working copy and what of it goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub name: String,
    pub repo: PathBuf,
    pub action: SyncAction,
    pub remote: String,
    /// None is the one that is checked out.
    pub branch: Option<String>,
    /// Patterns; empty is everything.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Commits of the remote are taken over.
    pub pull: bool,
    pub ssh_key: Option<PathBuf>,
    /// Of the commits.
    pub message: String,
    pub timeout: Duration,
}

/// Which of the built-in actions does it: they differ in their tasks' schedules and in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncAction {
    WorkspaceBackup,
    GitSync,
    SkillsSync,
}

impl SyncAction {
    pub const ALL: [Self; 3] = [Self::WorkspaceBackup, Self::GitSync, Self::SkillsSync];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WorkspaceBackup => "workspace-backup",
            Self::GitSync => "git-sync",
            Self::SkillsSync => "skills-sync",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// Every sync, in the order of the file.
pub(super) fn read(reader: &mut Reader<'_>, root: &Path) -> Vec<Sync> {
    reader.members(SECTION).iter().map(|name| sync(reader, name, root)).collect()
}

fn sync(reader: &mut Reader<'_>, name: &str, root: &Path) -> Sync {
    let key = |field: &str| format!("{SECTION}.{name}.{field}");
    let [first, others @ ..] = SyncAction::ALL.map(|action| (action.name(), action));
    let ssh_key = key("ssh_key");
    let has_key = reader.optional(&ssh_key).is_some();
    let sync = Sync {
        repo: reader.path(&key("repo"), root),
        action: reader.choice(&key("action"), first, &others),
        remote: reader.checked(&key("remote"), check_remote),
        branch: Some(reader.checked(&key("branch"), check_branch)).filter(|branch| !branch.is_empty()),
        include: reader.list(&key("include"), check_pattern),
        exclude: reader.list(&key("exclude"), check_pattern),
        pull: reader.boolean(&key("pull")),
        ssh_key: has_key.then(|| reader.path(&ssh_key, root)),
        message: reader.text(&key("message")),
        timeout: reader.duration(&key("timeout"), TIMEOUT_MIN..=TIMEOUT_MAX),
        name: name.to_owned(),
    };
    if let Some(path) = sync.ssh_key.as_ref().filter(|path| !is_plain(path)) {
        let message = format!(
            "{ssh_key}: git gives {} to a shell: only letters, digits and `/._-` can stand in it",
            path.display()
        );
        reader.contradiction([&ssh_key, &ssh_key], &message);
    }
    sync
}

/// Nothing that a shell would take for more than a letter.
fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
}

/// The name of a remote: a URL belongs into the repository's own settings.
fn check_remote(remote: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if remote.is_empty() || remote.starts_with(['-', '.']) || !remote.chars().all(good) {
        return Err(format!("`{remote}` is no name of a remote such as origin"));
    }
    Ok(())
}

fn check_branch(branch: &str) -> Result<(), String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\+".contains(c);
    if branch.starts_with(['-', '/']) || branch.contains("..") || branch.contains(odd) {
        return Err(format!("`{branch}` is no name of a branch such as main"));
    }
    Ok(())
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    let part = |part: &str| part == ".." || part == ".";
    if pattern.trim_matches('/').is_empty() || pattern.split('/').any(part) || pattern.starts_with('!') {
        return Err(format!("`{pattern}` is no path or pattern below the top, such as scripts/ or *.bak"));
    }
    Ok(())
}
