//! A run's own cgroup (v2), where a writable tree is found: one write ends everything in it.
//!
//! An aid, never a condition: whatever fails here, the run goes on without.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of a cgroup.
#[derive(Debug, Clone)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A cgroup that somebody else made.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes one at `path`.
    pub fn create(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).ok()?;
        Some(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SIGKILL to everything in it, forks in progress included. Says whether the kernel took the order.
    pub fn kill(&self) -> bool {
        fs::write(self.path.join("cgroup.kill"), "1").is_ok()
    }

    /// Removes it with what the run made below it; what still lives keeps its place. Says whether it is gone.
    pub fn remove(&self) -> bool {
        // Most runs make none below it, and nothing needs to be looked for.
        if fs::remove_dir(&self.path).is_ok() {
            return true;
        }
        remove_below(&self.path);
        !self.path.exists()
    }
}

/// The directory of this process's own cgroup, where there is a v2 tree.
pub fn home() -> Option<PathBuf> {
    own_directory(
        &fs::read_to_string("/proc/self/cgroup").ok()?,
        &fs::read_to_string("/proc/self/mountinfo").ok()?,
    )
}

/// Cgroups nest at most this deep for us; a run could make more, which then stay.
const NESTING_MAX: usize = 16;

fn remove_below(path: &Path) {
    fn walk(path: &Path, depth: usize) {
        if depth < NESTING_MAX
            && let Ok(entries) = fs::read_dir(path)
        {
            for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                walk(&entry.path(), depth + 1);
            }
        }
        let _ = fs::remove_dir(path);
    }
    walk(path, 0);
}

/// Where the v2 hierarchy is mounted, joined with our place in it. The mount may show only a part of the tree.
fn own_directory(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        if right.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = left.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        let inside = Path::new(own).strip_prefix(root).ok()?;
        Some(Path::new(mount).join(inside))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn finds_the_v2_tree_among_others() {
        let found = |cgroup| own_directory(cgroup, HYBRID);
        assert_eq!(found("4:memory:/x\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(
            found("0::/system.slice/lucid.service\n"),
            Some("/sys/fs/cgroup/unified/system.slice/lucid.service".into())
        );
        assert_eq!(found("4:memory:/x\n"), None);
        assert_eq!(own_directory("0::/\n", ""), None);
        let part = "41 31 0:38 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(own_directory("0::/a/b\n", part), Some("/sys/fs/cgroup/b".into()));
        assert_eq!(own_directory("0::/elsewhere\n", part), None);
    }
}
