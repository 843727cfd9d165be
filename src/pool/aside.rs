//! Worktrees that were set aside whole, because they could not be cleaned: they go when they are too old or
//! too many. What is unsaved in one is put into a ref first; what cannot be looked at stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tracing::{info, warn};

use crate::model::time::millis;
use crate::platform::git::{Budget, Found, GitError, Rescue};
use crate::platform::process;

use super::base::{Ground, blocking};
use super::{Pool, Pools};

/// Where they lie in a pool's folder.
pub(super) const FOLDER: &str = ".aside";
/// When it was set aside, at the end of its name.
pub(super) const STAMP: &str = "%Y%m%dT%H%M%SZ";
/// The longest that one of them is worked on.
const WORK_MAX: Duration = Duration::from_secs(120);

/// What of them is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAside {
    pub age: Duration,
    /// Of each pool.
    pub count: usize,
}

/// One of them, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Aside {
    path: PathBuf,
    /// When it was set aside, milliseconds since the epoch.
    at_ms: i64,
}

impl Pools {
    /// One round over all pools at `now_ms`; how many are gone.
    pub async fn sweep_aside(&self, keep: KeepAside, now_ms: i64) -> usize {
        let mut gone = 0;
        for pool in &self.0.pools {
            gone += self.sweep_pool(pool, keep, now_ms).await;
        }
        gone
    }

    async fn sweep_pool(&self, pool: &Pool, keep: KeepAside, now_ms: i64) -> usize {
        let found = list(&pool.config.dir.join(FOLDER));
        let over = over(found, keep, now_ms);
        if over.is_empty() {
            return 0;
        }
        let ground = match super::base::ground(pool, Budget::new(WORK_MAX)).await {
            Ok(ground) => ground,
            Err(e) => {
                warn!(pool = pool.config.name, error = %e, "worktrees that were set aside stay: no look at the repository");
                return 0;
            }
        };
        let stamp = self.0.clock.wall().strftime(STAMP).to_string();
        let mut gone = 0;
        for aside in over {
            let (ground, stamp, path) = (ground.clone(), stamp.clone(), aside.path.clone());
            match blocking(move || discard(&ground, &path, &stamp)).await {
                Ok(Some(rescued)) => {
                    gone += 1;
                    info!(path = %aside.path.display(), ?rescued, "deleted a worktree that had been set aside");
                }
                Ok(None) => {}
                Err(e) => {
                    warn!(path = %aside.path.display(), error = %e, "a worktree that was set aside stays");
                }
            }
        }
        gone
    }
}

/// Deletes one; the ref of what was unsaved in it. `None` where it stays because nobody can say what it holds.
fn discard(ground: &Ground, path: &Path, stamp: &str) -> Result<Option<Option<String>>, GitError> {
    let budget = Budget::new(WORK_MAX);
    let folder = ground.dir.join(FOLDER);
    let path = folder.join(path.file_name().unwrap_or_default());
    let Found::Ours(tree) = ground.repo.find(&path)? else { return Ok(None) };
    tree.assert_identity(budget)?;
    if !process::processes_inside(&[&path]).is_empty() {
        return Ok(None);
    }
    let state = tree.inspect(&ground.keep, budget)?;
    let name: String = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = Rescue {
        reference: format!("refs/lucid/rescue/aside/{}/{stamp}", in_a_ref(&name)),
        base: ground.base.clone(),
        message: format!("Rescued from {name}, which had been set aside"),
    };
    let rescued = tree.rescue(&state, &ground.keep, &to, budget)?;
    ground.repo.remove(&tree, budget)?;
    Ok(Some(rescued))
}

fn in_a_ref(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

fn list(folder: &Path) -> Vec<Aside> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    // A name that tells no time is nobody's but a person's.
    let aside = |entry: fs::DirEntry| {
        let at_ms = set_aside_at(entry.file_name().to_str()?)?;
        entry.file_type().ok()?.is_dir().then(|| Aside { path: entry.path(), at_ms })
    };
    entries.flatten().filter_map(aside).collect()
}

/// `SLOT-20260704T030000Z`
fn set_aside_at(name: &str) -> Option<i64> {
    let (_, stamp) = name.rsplit_once('-')?;
    let at = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(at.timestamp().as_millisecond())
}

/// Those that are too old, and the oldest of those that are too many.
fn over(mut found: Vec<Aside>, keep: KeepAside, now_ms: i64) -> Vec<Aside> {
    let age_ms = millis(keep.age);
    found.sort_by_key(|aside| std::cmp::Reverse(aside.at_ms));
    let is_over =
        |(n, aside): &(usize, Aside)| *n >= keep.count || now_ms.saturating_sub(aside.at_ms) > age_ms;
    found.into_iter().enumerate().filter(is_over).map(|(_, aside)| aside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_age_and_by_count() {
        let aside = |name: &str, at_ms| Aside { path: PathBuf::from(name), at_ms };
        let found = || vec![aside("b", 900), aside("a", 100), aside("d", 990), aside("c", 950)];
        let names = |count, age| {
            let keep = KeepAside { age: Duration::from_millis(age), count };
            over(found(), keep, 1000)
                .into_iter()
                .map(|aside| aside.path.display().to_string())
                .collect::<String>()
        };
        assert_eq!(names(9, 9_999), "");
        assert_eq!(names(9, 500), "a");
        assert_eq!(names(2, 9_999), "ba");
        assert_eq!(names(0, 9_999), "dcba");
        assert_eq!(set_aside_at("main-0-19700101T000001Z"), Some(1_000));
        assert_eq!(set_aside_at("my own copy"), None);
    }
}
