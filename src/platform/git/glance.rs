//! Whether something looks like a repository at all, without asking git: for settings that name one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why `path` is not the top of a working copy; none where it looks like one, or may not be looked at.
#[must_use]
pub fn no_working_copy(path: &Path) -> Option<String> {
    let shown = path.display();
    match path.metadata() {
        Err(e) if is_absent(&e) => return Some(format!("there is no folder {shown}")),
        Err(_) => return None,
        Ok(found) if !found.is_dir() => return Some(format!("{shown} is no folder")),
        Ok(_) => {}
    }
    let dot = path.join(".git");
    let admin: PathBuf = match dot.metadata() {
        Err(e) if is_absent(&e) => {
            return Some(format!("{shown} is no working copy of git: it has no .git of its own"));
        }
        Err(_) => return None,
        Ok(found) if found.is_dir() => dot,
        // A worktree or submodule says where its git directory is.
        Ok(_) => match fs::read_to_string(&dot) {
            Ok(text) => path.join(text.trim_start_matches("gitdir:").trim()),
            Err(_) => return None,
        },
    };
    let head = admin.join("HEAD");
    match head.symlink_metadata() {
        Err(e) if is_absent(&e) => {
            Some(format!("{shown} is no working copy of git: {} is missing", head.display()))
        }
        Err(_) | Ok(_) => None,
    }
}

/// As [`no_working_copy`] where a bare repository will do.
#[must_use]
pub fn no_repository(path: &Path) -> Option<String> {
    let wrong = no_working_copy(path)?;
    let is_bare = path.join("HEAD").is_file() && path.join("objects").is_dir();
    (!is_bare).then(|| wrong.replace("no working copy of git", "no git repository"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_copies_bare_ones_and_what_is_neither() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            dir.path().join(name)
        };
        let (copy, bare, plain, broken) = (make("copy"), make("bare"), make("plain"), make("broken/.git"));
        for head in [make("copy/.git"), bare.clone()] {
            fs::write(head.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        }
        make("bare/objects");
        let worktree = make("worktree");
        fs::write(worktree.join(".git"), format!("gitdir: {}\n", copy.join(".git").display())).unwrap();
        for good in [&copy, &worktree] {
            assert_eq!((no_working_copy(good), no_repository(good)), (None, None), "{}", good.display());
        }
        assert_eq!(no_repository(&bare), None);
        assert!(no_working_copy(&bare).is_some_and(|why| why.contains("no .git of its own")));
        assert!(no_repository(&plain).is_some_and(|why| why.contains("is no git repository")));
        assert!(no_working_copy(broken.parent().unwrap()).is_some_and(|why| why.contains("HEAD is missing")));
        let gone = no_working_copy(&dir.path().join("gone"));
        assert!(gone.is_some_and(|why| why.starts_with("there is no folder")));
        assert!(no_working_copy(&copy.join(".git/HEAD")).is_some_and(|why| why.contains("is no folder")));
    }
}
