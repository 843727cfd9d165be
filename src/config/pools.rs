//! The worktree pools of the config.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::reader::Reader;

const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Slots that one pool may have.
const SLOTS_MAX: u32 = 64;
const SECTION: &str = "pools";

/// A repository with a fixed number of worktrees that runs and tickets get one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    pub repo: PathBuf,
    /// Folder of the worktrees, outside `repo`.
    pub dir: PathBuf,
    pub slots: u32,
    /// A remote-tracking name, `origin/main`.
    pub base: String,
    /// Paths from a worktree's top that cleaning leaves alone where git ignores or does not know them.
    pub keep: Vec<String>,
    /// How long a run waits for a slot.
    pub claim_wait: Duration,
}

/// Every pool, in the order of the file.
pub(super) fn read(reader: &mut Reader<'_>, root: &Path, state_dir: &Path) -> Vec<Pool> {
    reader.members(SECTION).iter().map(|name| pool(reader, name, root, state_dir)).collect()
}

fn pool(reader: &mut Reader<'_>, name: &str, root: &Path, state_dir: &Path) -> Pool {
    let key = |field: &str| format!("{SECTION}.{name}.{field}");
    let pool = Pool {
        repo: reader.path(&key("repo"), root),
        dir: reader.path_or_auto(&key("dir"), root, state_dir.join(SECTION).join(name)),
        slots: reader.count(&key("slots"), 1..=SLOTS_MAX),
        base: reader.checked(&key("base"), remote_branch),
        keep: reader.list(&key("keep"), check_keep),
        claim_wait: reader.duration(&key("claim_wait"), WAIT_MIN..=WAIT_MAX),
        name: name.to_owned(),
    };
    if pool.dir.starts_with(&pool.repo) {
        let message = format!(
            "{} lies inside {}: a worktree there that loses its .git would be taken for it",
            key("dir"),
            key("repo")
        );
        reader.contradiction([&key("dir"), &key("repo")], &message);
    }
    pool
}

/// Whether `base` is a remote-tracking branch by its form, `REMOTE/BRANCH`.
///
/// # Errors
/// That it is none.
pub fn remote_branch(base: &str) -> Result<(), String> {
    let has_both =
        base.split_once('/').is_some_and(|(remote, branch)| !remote.is_empty() && !branch.is_empty());
    let odd = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
    if !has_both || base.starts_with('-') || base.contains("..") || base.contains(odd) {
        return Err(format!("`{base}` is no remote-tracking branch such as origin/main"));
    }
    Ok(())
}

/// A path below the worktree's top that is not git's own.
fn check_keep(keep: &str) -> Result<(), String> {
    let path = Path::new(keep);
    let is_below = path.components().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    if keep.is_empty() || !is_below {
        return Err(format!(
            "`{keep}` is no path below a worktree's top, such as target or web/node_modules"
        ));
    }
    Ok(())
}
