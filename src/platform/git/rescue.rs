//! Work that only a worktree has, put into a ref before anything of it is destroyed.
//!
//! Nothing here changes the worktree or its index: files are read into an index of our own. What is saved:
//! changed and untracked files, what was staged and differs, repositories within as plain files, and every
//! commit that HEAD or a half-done operation is the only one to know.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::clean::bytes;
use super::{Budget, Call, GitError, Keep, Repo, State, Tree, line};
use crate::platform::failpoint;

/// Our own index, in the worktree's git directory.
const INDEX: &str = "lucid-rescue-index";
/// What is not to be added to it, beside it.
const EXCLUDE: &str = "lucid-rescue-exclude";
/// Files whose commits nothing else may know, an id a line.
const TIPS: [&str; 8] = [
    "MERGE_HEAD",
    "MERGE_AUTOSTASH",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "rebase-merge/orig-head",
    "rebase-merge/autostash",
    "rebase-apply/orig-head",
    "rebase-apply/autostash",
];
/// Refs of one second that are tried before giving up.
const SAME_SECOND_MAX: u32 = 100;

/// Where a rescue goes and what need not be rescued.
#[derive(Debug, Clone)]
pub struct Rescue {
    /// Full name of the ref; a number is added when it is taken.
    pub reference: String,
    /// A commit whose history is safe, beside all remote-tracking branches.
    pub base: String,
    pub message: String,
}

impl Tree {
    /// Saves what a reset and a clean would destroy, and gives the ref; `None` when there is nothing.
    ///
    /// # Errors
    /// What git or the file system says; then nothing may be destroyed.
    pub fn rescue(
        &self,
        state: &State,
        keep: &Keep,
        to: &Rescue,
        budget: Budget,
    ) -> Result<Option<String>, GitError> {
        let saver = Saver { repo: &self.repo, admin: &self.admin, call: self.call(), to, budget };
        let tips = saver.tips()?;
        if !state.changes.has_work() && state.flagged == 0 && !state.is_broken {
            return saver.save_tips(&tips);
        }
        let index = self.admin.join(INDEX);
        let _ = fs::remove_file(&index);
        failpoint::hit("rescue.snapshot")?;
        let shot = self.snapshot(&index, state, keep, &tips, budget);
        for file in [INDEX, EXCLUDE] {
            let _ = fs::remove_file(self.admin.join(file));
        }
        let shot = shot?;
        saver.save(&tips, &shot)
    }

    fn snapshot(
        &self,
        index: &Path,
        state: &State,
        keep: &Keep,
        tips: &Tips,
        budget: Budget,
    ) -> Result<Snapshot, GitError> {
        let call = Call { index: Some(index), ..self.call() };
        let own = self.admin.join("index");
        // A copy knows which files are unchanged; but not where some hide it, or where it cannot be read.
        if state.flagged == 0 && !state.is_broken && own.exists() {
            copy_index(&own, index).map_err(GitError::io("copying the index"))?;
        } else if let Some(head) = &tips.head {
            call.write(["read-tree", head], budget)?;
        }
        let staged = if state.changes.staged > 0 {
            // With conflicts there is no such tree; the files with their markers are saved all the same.
            call.write(["write-tree"], budget).ok().map(|out| line(&out))
        } else {
            None
        };
        // An excluding pathspec makes git complain where the path is ignored; a list of ignored ones does not.
        let ignored = self.admin.join(EXCLUDE);
        fs::write(&ignored, keep.as_ignored(&state.changes.nested))
            .map_err(GitError::io("writing a list"))?;
        let mut setting = OsString::from("core.excludesFile=");
        setting.push(&ignored);
        // In a sparse checkout what is not there was not deleted.
        let which = if state.is_sparse { "--ignore-removal" } else { "--all" };
        let args = ["add", "--sparse", which, "--", "."].map(OsString::from);
        call.write([OsString::from("-c"), setting].into_iter().chain(args), budget)?;
        for path in &state.changes.nested {
            self.add_nested(call, path, budget)?;
        }
        Ok(Snapshot { tree: line(&call.write(["write-tree"], budget)?), staged })
    }

    /// Adds the files of a repository within, which `git add` would take for a mere pointer.
    fn add_nested(&self, call: Call<'_>, within: &Path, budget: Budget) -> Result<(), GitError> {
        let mut files = Vec::new();
        walk(&self.path.join(within), &mut files).map_err(GitError::io("reading a repository within"))?;
        let mut entries: Vec<u8> = format!("0 {:040}\t", 0).into_bytes();
        entries.extend_from_slice(bytes(within));
        entries.push(0);
        for file in files {
            let relative = file.strip_prefix(&self.path).unwrap_or(&file);
            let metadata =
                fs::symlink_metadata(&file).map_err(GitError::io(format!("reading {}", file.display())))?;
            let (mode, content) = if metadata.is_symlink() {
                let target =
                    fs::read_link(&file).map_err(GitError::io(format!("reading {}", file.display())))?;
                ("120000", bytes(&target).to_vec())
            } else {
                let content = fs::read(&file).map_err(GitError::io(format!("reading {}", file.display())))?;
                (if metadata.permissions().mode() & 0o111 == 0 { "100644" } else { "100755" }, content)
            };
            let id = line(&call.feed(["hash-object", "-w", "--stdin"], &content, budget)?);
            entries.extend_from_slice(format!("{mode} {id}\t").as_bytes());
            entries.extend_from_slice(bytes(relative));
            entries.push(0);
        }
        call.feed(["update-index", "-z", "--index-info"], &entries, budget).map(drop)
    }
}

impl Repo {
    /// As [`Tree::rescue`] for a worktree whose folder is gone or is another's: commits and what was staged.
    ///
    /// # Errors
    /// What git or the file system says.
    pub fn rescue_remains(
        &self,
        admin: &Path,
        to: &Rescue,
        budget: Budget,
    ) -> Result<Option<String>, GitError> {
        let call =
            Call { mark: None, dir: Some(admin), tree: None, index: None, cwd: &self.common, ceiling: None };
        let saver = Saver { repo: self, admin, call, to, budget };
        let tips = saver.tips()?;
        match call.write(["write-tree"], budget) {
            Ok(out) if admin.join("index").exists() => {
                saver.save(&tips, &Snapshot { tree: line(&out), staged: None })
            }
            Ok(_) | Err(GitError::Failed { .. }) => saver.save_tips(&tips),
            Err(e) => Err(e),
        }
    }
}

/// Commits that a worktree is at.
struct Tips {
    head: Option<String>,
    /// HEAD among them, of which no safe branch knows.
    unkept: Vec<String>,
}

struct Snapshot {
    /// The files as they are.
    tree: String,
    /// The files as they were staged.
    staged: Option<String>,
}

struct Saver<'a> {
    repo: &'a Repo,
    admin: &'a Path,
    call: Call<'a>,
    to: &'a Rescue,
    budget: Budget,
}

impl Saver<'_> {
    fn tips(&self) -> Result<Tips, GitError> {
        let head = match self.call.read(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], self.budget) {
            Ok(out) => Some(line(&out)),
            Err(GitError::Failed { .. }) => None,
            Err(e) => return Err(e),
        };
        let mut all: BTreeSet<String> = head.iter().cloned().collect();
        for name in TIPS {
            let text = fs::read_to_string(self.admin.join(name)).unwrap_or_default();
            let is_id =
                |word: &&str| matches!(word.len(), 40 | 64) && word.bytes().all(|b| b.is_ascii_hexdigit());
            all.extend(text.split_whitespace().filter(is_id).map(str::to_owned));
        }
        all.remove(&self.to.base);
        let mut unkept: Vec<String> = Vec::new();
        let every: Vec<&str> = all.iter().map(String::as_str).collect();
        if every.is_empty() || self.is_kept(&every)? {
            return Ok(Tips { head, unkept });
        }
        for tip in every {
            if !self.is_kept(&[tip])? {
                unkept.push(tip.to_owned());
            }
        }
        // HEAD comes first among the parents.
        unkept.sort_by_key(|tip| Some(tip) != head.as_ref());
        Ok(Tips { head, unkept })
    }

    /// Commits that do not exist, because somebody has written nonsense, have nothing to save.
    fn is_kept(&self, tips: &[&str]) -> Result<bool, GitError> {
        match self.repo.are_kept(tips, &self.to.base, self.budget) {
            Err(GitError::Failed { .. }) => Ok(tips.len() == 1),
            other => other,
        }
    }

    fn save_tips(&self, tips: &Tips) -> Result<Option<String>, GitError> {
        match &tips.unkept[..] {
            [] => Ok(None),
            [tip] => self.put(tip).map(Some),
            [first, ..] => {
                let tree = line(&self.call.read(["rev-parse", &format!("{first}^{{tree}}")], self.budget)?);
                let commit = self.commit(&tree, tips.unkept.iter())?;
                self.put(&commit).map(Some)
            }
        }
    }

    fn save(&self, tips: &Tips, shot: &Snapshot) -> Result<Option<String>, GitError> {
        let head_tree = match &tips.head {
            Some(head) => {
                Some(line(&self.call.read(["rev-parse", &format!("{head}^{{tree}}")], self.budget)?))
            }
            None => None,
        };
        let staged =
            shot.staged.as_ref().filter(|tree| **tree != shot.tree && Some(*tree) != head_tree.as_ref());
        let is_as_head = match &head_tree {
            Some(tree) => *tree == shot.tree,
            None => shot.tree == self.empty_tree()?,
        };
        if is_as_head && staged.is_none() {
            return self.save_tips(tips);
        }
        let staged = staged.map(|tree| self.commit(tree, tips.head.iter())).transpose()?;
        let others = tips.unkept.iter().filter(|tip| Some(*tip) != tips.head.as_ref());
        let commit = self.commit(&shot.tree, tips.head.iter().chain(others).chain(&staged))?;
        self.put(&commit).map(Some)
    }

    fn empty_tree(&self) -> Result<String, GitError> {
        Ok(line(&self.call.feed(["hash-object", "-t", "tree", "--stdin"], b"", self.budget)?))
    }

    fn commit<'t>(&self, tree: &str, parents: impl Iterator<Item = &'t String>) -> Result<String, GitError> {
        let mut args = vec!["commit-tree".to_owned(), "--no-gpg-sign".to_owned(), tree.to_owned()];
        for parent in parents {
            args.extend(["-p".to_owned(), parent.clone()]);
        }
        args.extend(["-m".to_owned(), self.to.message.clone()]);
        Ok(line(&self.call.write(args, self.budget)?))
    }

    /// Makes the ref; never moves one that is there.
    fn put(&self, commit: &str) -> Result<String, GitError> {
        failpoint::hit("rescue.ref.before")?;
        let mut name = self.to.reference.clone();
        for count in 2..=SAME_SECOND_MAX {
            match self.repo.call().write(["update-ref", &name, commit, ""], self.budget) {
                Ok(_) => return Ok(name),
                Err(GitError::Failed { complaint, .. }) if complaint.contains("already exists") => {
                    name = format!("{}-{count}", self.to.reference);
                }
                Err(e) => return Err(e),
            }
        }
        Err(GitError::NoSuchRef(format!("free name for {}", self.to.reference)))
    }
}

/// With its time: by that git knows which files may have changed in the very moment they were listed in, and
/// looks into them. A copy that seems younger would pass such a change over.
pub(super) fn copy_index(from: &Path, to: &Path) -> std::io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    fs::copy(from, to)?;
    fs::File::options().write(true).open(to)?.set_modified(modified)
}

/// All files and links below `dir`, git's own directories left out.
fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.file_name().as_bytes() == b".git" {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() || kind.is_symlink() {
            files.push(entry.path());
        }
    }
    Ok(())
}
