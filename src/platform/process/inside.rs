//! Which processes work in a folder: their current one, or a file they hold open, lies in it.
//!
//! Looks only. Processes that we may not look into are not seen.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree;

/// Processes but this one that have their current folder or an open file at or below one of `dirs`, which
/// are given without symbolic links.
#[must_use]
pub fn processes_inside(dirs: &[&Path]) -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap_or(0);
    let within = |path: &Path| dirs.iter().any(|dir| path.starts_with(dir));
    tree::all()
        .into_iter()
        .filter(|process| process.pid != me && !process.is_zombie)
        .map(|process| process.pid)
        .filter(|pid| places(*pid).any(|path| within(&path)))
        .collect()
}

fn places(pid: i32) -> impl Iterator<Item = PathBuf> {
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).ok();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    cwd.into_iter().chain(open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn by_current_folder_and_by_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir(dir.join("a")).unwrap();
        fs::create_dir(dir.join("b")).unwrap();
        let mut sits = Command::new("/bin/sleep").arg("60").current_dir(dir.join("a")).spawn().unwrap();
        let file = fs::File::create(dir.join("b/file")).unwrap();
        let mut holds = Command::new("/bin/sleep").arg("60").stdout(file).spawn().unwrap();
        // The first look may fall between fork and exec.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let pid = |child: &std::process::Child| i32::try_from(child.id()).unwrap();
        assert_eq!(processes_inside(&[&dir.join("a")]), [pid(&sits)]);
        assert_eq!(processes_inside(&[&dir.join("b")]), [pid(&holds)]);
        assert_eq!(processes_inside(&[&dir.join("a"), &dir.join("b")]).len(), 2);
        assert!(processes_inside(&[&dir.join("c")]).is_empty());
        for child in [&mut sits, &mut holds] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
