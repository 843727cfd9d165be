//! A linked worktree: making one, telling whether what lies at a path is it, setting one aside.
//!
//! Identity comes from git's own two pointers, which must agree: the worktree's `.git` names its directory
//! below the repository's `worktrees/`, and that directory names the worktree.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Budget, Call, GitError, Repo, line_path};
use crate::platform::files;

/// Most things that are set aside under one name.
const SAME_NAME_MAX: u32 = 100;

/// What lies at a worktree's path.
#[derive(Debug)]
pub enum Found {
    Ours(Tree),
    /// Nothing; git may still know it by the directory given.
    Missing {
        admin: Option<PathBuf>,
    },
    /// Something else, which is not to be touched but by [`Repo::set_aside`].
    Strange {
        why: String,
        admin: Option<PathBuf>,
    },
}

/// A worktree whose identity has been established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub(super) repo: Repo,
    pub(super) path: PathBuf,
    /// Its own git directory, below the repository's `worktrees/`.
    pub(super) admin: PathBuf,
}

impl Tree {
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A call that can reach this worktree and no other, whatever lies in it.
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            mark: Some(&self.path),
            dir: Some(&self.admin),
            tree: Some(&self.path),
            index: None,
            cwd: &self.path,
            ceiling: self.path.parent(),
        }
    }

    /// Has git itself say where it would work from here, as anybody who types `git` there would find.
    ///
    /// # Errors
    /// [`GitError::NotOurs`] when that is another worktree or another repository.
    pub fn assert_identity(&self, budget: Budget) -> Result<(), GitError> {
        let bad = |why: String| GitError::NotOurs { path: self.path.clone(), why };
        let found = Call {
            mark: None,
            dir: None,
            tree: None,
            index: None,
            cwd: &self.path,
            ceiling: self.path.parent(),
        };
        let top = found.read(["rev-parse", "--show-toplevel"], budget)?;
        let common = found.read(["rev-parse", "--path-format=absolute", "--git-common-dir"], budget)?;
        for (out, wanted) in [(&top, &self.path), (&common, &self.repo.common)] {
            let path = line_path(out);
            if path.canonicalize().ok().as_ref() != Some(wanted) {
                return Err(bad(format!("belongs to {}, not to {}", path.display(), wanted.display())));
            }
        }
        Ok(())
    }

    /// Marks it so that no `git worktree prune`, in whatever container, takes it away.
    ///
    /// # Errors
    /// What the file system says.
    pub fn lock(&self, reason: &str) -> Result<(), GitError> {
        let file = self.admin.join("locked");
        if fs::read_to_string(&file).is_ok_and(|held| held.trim_end() == reason) {
            return Ok(());
        }
        files::replace(&file, format!("{reason}\n").as_bytes(), 0o644)
            .map_err(GitError::io(format!("writing {}", file.display())))
    }
}

impl Repo {
    /// What lies at `path`, which has no symbolic link in its parents. A worktree that has merely lost its
    /// `.git` file gets it back.
    ///
    /// # Errors
    /// What the file system says.
    pub fn find(&self, path: &Path) -> Result<Found, GitError> {
        let admin = self.admin_of(path);
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing { admin }),
            Err(e) => return Err(GitError::io(format!("looking at {}", path.display()))(e)),
        };
        let strange = |why: &str| Found::Strange { why: why.to_owned(), admin: admin.clone() };
        if kind.is_symlink() {
            return Ok(strange("is a symbolic link"));
        }
        if !kind.is_dir() {
            return Ok(strange("is no folder"));
        }
        if path.canonicalize().ok().as_deref() != Some(path) {
            return Ok(strange("is reached by a symbolic link"));
        }
        if let Some(own) = self.pointed_to(path) {
            return Ok(Found::Ours(Tree { repo: self.clone(), path: path.to_owned(), admin: own }));
        }
        let pointer = path.join(".git");
        let replaceable = match fs::symlink_metadata(&pointer) {
            Ok(metadata) => metadata.is_file(),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        let Some(admin_dir) = admin.clone().filter(|_| replaceable) else {
            return Ok(strange(if replaceable {
                "has lost its .git, and the repository does not know it"
            } else {
                "has a repository of its own"
            }));
        };
        let text =
            [b"gitdir: ", std::os::unix::ffi::OsStrExt::as_bytes(admin_dir.as_os_str()), b"\n"].concat();
        files::replace(&pointer, &text, 0o644)
            .map_err(GitError::io(format!("writing {}", pointer.display())))?;
        Ok(match self.pointed_to(path) {
            Some(own) => Found::Ours(Tree { repo: self.clone(), path: path.to_owned(), admin: own }),
            None => strange("and the repository disagree about its git directory"),
        })
    }

    /// The directory that `path`'s `.git` names, where it names `path` in turn.
    fn pointed_to(&self, path: &Path) -> Option<PathBuf> {
        let pointer = path.join(".git");
        if !fs::symlink_metadata(&pointer).ok()?.is_file() {
            return None;
        }
        let named = line_path(fs::read(&pointer).ok()?.strip_prefix(b"gitdir: ")?);
        let admin = path.join(named).canonicalize().ok()?;
        let own = admin.parent() == Some(&self.common.join("worktrees")) && claims(&admin, path);
        own.then_some(admin)
    }

    /// The directory below `worktrees/` that says it is of `path`.
    fn admin_of(&self, path: &Path) -> Option<PathBuf> {
        let entries = fs::read_dir(self.common.join("worktrees")).ok()?;
        entries.filter_map(|entry| Some(entry.ok()?.path())).find(|admin| claims(admin, path))
    }

    /// A new worktree at `path`, detached at `commit`. Nothing may lie there.
    ///
    /// # Errors
    /// What git says; what is left of the attempt is found by the next look.
    pub fn add(&self, path: &Path, commit: &str, reason: &str, budget: Budget) -> Result<Tree, GitError> {
        // Twice forced: what git remembers of a worktree that is gone gives way, locked or not.
        let args = ["worktree", "add", "--force", "--force", "--detach", "--lock", "--reason", reason];
        let args = args.map(OsStr::new).into_iter().chain([path.as_os_str(), OsStr::new(commit)]);
        self.call().write(args, budget)?;
        match self.find(path)? {
            Found::Ours(tree) => Ok(tree),
            Found::Missing { .. } => {
                Err(GitError::NotOurs { path: path.to_owned(), why: "is gone again".to_owned() })
            }
            Found::Strange { why, .. } => Err(GitError::NotOurs { path: path.to_owned(), why }),
        }
    }

    /// Moves whatever lies at `path` to `aside`, or beside it when something is there already, and says where it is
    /// now. A worktree stays one there, with all that is in it; git then no longer knows `path`.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_aside(&self, path: &Path, aside: &Path) -> Result<PathBuf, GitError> {
        let doing = || format!("moving {} aside", path.display());
        if let Some(parent) = aside.parent() {
            fs::create_dir_all(parent).map_err(GitError::io(doing()))?;
        }
        let own = self.pointed_to(path);
        let mut aside = aside.to_owned();
        let name = aside.file_name().unwrap_or_default().to_owned();
        for number in 2..=SAME_NAME_MAX {
            match fs::rename(path, &aside) {
                Ok(()) => break,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(aside),
                Err(e) if is_taken(&e) && number < SAME_NAME_MAX => {
                    let mut other = OsString::from(format!("{number}-"));
                    other.push(&name);
                    aside.set_file_name(other);
                }
                Err(e) => return Err(GitError::io(doing())(e)),
            }
        }
        if let Some(admin) = own {
            let text =
                [std::os::unix::ffi::OsStrExt::as_bytes(aside.join(".git").as_os_str()), b"\n"].concat();
            files::replace(&admin.join("gitdir"), &text, 0o644).map_err(GitError::io(doing()))?;
        }
        Ok(aside)
    }
}

/// A folder with something in it, or a file, has the name.
fn is_taken(e: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        e.kind(),
        Kind::DirectoryNotEmpty | Kind::AlreadyExists | Kind::IsADirectory | Kind::NotADirectory
    )
}

impl Repo {
    /// Takes a worktree away with everything in it: whoever calls this has rescued what there is.
    ///
    /// # Errors
    /// What git or the file system says; what is left of it is found by the next look.
    pub fn remove(&self, tree: &Tree, budget: Budget) -> Result<(), GitError> {
        // Twice forced: it is locked. One with submodules git does not take away at all.
        let args = ["worktree", "remove", "--force", "--force"].map(OsStr::new);
        let removed = self.call().write(args.into_iter().chain([tree.path.as_os_str()]), budget);
        match removed {
            Err(GitError::Failed { .. }) => {}
            other => return other.map(drop),
        }
        let doing = || format!("deleting {}", tree.path.display());
        fs::remove_dir_all(&tree.path).map_err(GitError::io(doing()))?;
        fs::remove_dir_all(&tree.admin).map_err(GitError::io(doing()))
    }
}

/// Whether `admin`, a directory below `worktrees/`, is that of the worktree at `path`.
fn claims(admin: &Path, path: &Path) -> bool {
    fs::read(admin.join("gitdir")).is_ok_and(|bytes| admin.join(line_path(&bytes)) == path.join(".git"))
}
